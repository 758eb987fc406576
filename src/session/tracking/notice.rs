//! Word that keys have changed, and the way it takes to who relies on it.
//!
//! Invariant: word of a key leaves behind every reply that may have carried an older value of it. So it waits for
//! the places of those replies ([`Places`](super::super::places::Places)), and reaches another client only once
//! they have been written to their own.

use std::mem::take;

use bytes::Bytes;

use crate::resp::{Protocol, write};

use super::super::outgoing::Outgoing;
use super::redirect::Redirect;

/// Which keys have changed: an array of them, or any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) struct Notice(Option<Bytes>);

impl Notice {
    /// Any key may have changed.
    pub(in crate::session) const ALL: Self = Self(None);

    /// An array of keys as a node wrote it; `None`: any.
    pub(in crate::session) fn written(keys: Option<&[u8]>) -> Self {
        Self(keys.map(Bytes::copy_from_slice))
    }

    /// These keys.
    pub(in crate::session) fn of<'a>(keys: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let mut array = Vec::new();
        write::array(&mut array, keys.len());
        keys.for_each(|key| write::bulk(&mut array, key));
        Self(Some(array.into()))
    }

    /// Bytes that it holds.
    pub(in crate::session) fn size(&self) -> usize {
        self.0.as_ref().map_or(0, Bytes::len)
    }

    /// The message as a client gets it that speaks this protocol.
    pub(super) fn message(&self, protocol: Protocol) -> (&'static [u8], Bytes) {
        let head: &[u8] = match protocol {
            Protocol::Resp2 => b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n",
            Protocol::Resp3 => b">2\r\n$10\r\ninvalidate\r\n",
        };
        let keys = self.0.clone().unwrap_or_else(|| {
            let mut nil = Vec::new();
            write::null(&mut nil, protocol);
            nil.into()
        });
        (head, keys)
    }
}

/// Who is told.
#[derive(Default)]
pub(in crate::session) enum Way {
    /// Nobody: the client speaks a protocol that has no room for it, or does not want to know.
    #[default]
    Nobody,
    /// The client that has read.
    Here,
    /// Another one.
    There(Redirect),
}

/// What a session has to say of keys, once it is time.
#[derive(Default)]
pub(in crate::session) struct Teller {
    way: Way,
    /// For another client, once the replies before it are written.
    due: Vec<Notice>,
}

impl Teller {
    /// Whether somebody listens.
    pub(in crate::session) fn is_heard(&self) -> bool {
        !matches!(self.way, Way::Nobody)
    }

    /// Whether the client that was to be told has gone.
    pub(in crate::session) fn is_broken(&self) -> bool {
        matches!(&self.way, Way::There(redirect) if redirect.is_broken())
    }

    /// Whom to tell from now on; returns who was told before.
    pub(in crate::session) fn turn(&mut self, way: Way) -> Way {
        std::mem::replace(&mut self.way, way)
    }

    /// All replies that it waited for have been appended.
    pub(in crate::session) fn tell(&mut self, notice: Notice, outgoing: &mut Outgoing) {
        match &self.way {
            Way::Nobody => {}
            Way::Here => {
                let (head, keys) = notice.message(Protocol::Resp3);
                outgoing.push(head, &keys, false);
            }
            Way::There(_) => self.due.push(notice),
        }
    }

    /// The replies have been written. Returns what the client is told when the other one has gone.
    pub(in crate::session) fn send_due(&mut self) -> Vec<u8> {
        let Way::There(redirect) = &mut self.way else { return Vec::new() };
        let mut broken = Vec::new();
        for notice in take(&mut self.due) {
            if !redirect.send(notice) {
                redirect.write_broken(&mut broken);
            }
        }
        broken
    }

    pub(in crate::session) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let table: [(Notice, Protocol, &[u8]); 4] = [
            (
                Notice::of([&b"a"[..], b""].into_iter()),
                Protocol::Resp3,
                b">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$0\r\n\r\n",
            ),
            (
                Notice::written(Some(b"*1\r\n$1\r\nk\r\n")),
                Protocol::Resp2,
                b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n",
            ),
            (Notice::ALL, Protocol::Resp3, b">2\r\n$10\r\ninvalidate\r\n_\r\n"),
            (
                Notice::ALL,
                Protocol::Resp2,
                b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n",
            ),
        ];
        for (notice, protocol, expected) in table {
            let (head, tail) = notice.message(protocol);
            assert_eq!([head, &tail].concat(), expected, "{notice:?}");
        }
    }
}
