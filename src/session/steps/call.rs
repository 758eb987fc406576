//! A request that outlives the buffer it came in.

use bytes::Bytes;

use crate::cluster::Slot;
use crate::command::{CommandSpec, Key, Role};
use crate::resp::{Limits, Parsed, Request, RequestParser};

/// A request with its command's row.
pub(in crate::session) struct Call {
    spec: CommandSpec,
    frame: Bytes,
    parser: RequestParser,
}

impl Call {
    /// A copy of the request; `None` is never the answer for one that was parsed with the same limits.
    pub(in crate::session) fn of(
        spec: &CommandSpec,
        request: &Request<'_>,
        limits: &Limits,
    ) -> Option<Self> {
        let frame = Bytes::copy_from_slice(request.frame());
        let mut parser = RequestParser::new();
        match parser.parse(&frame, limits, true) {
            Ok(Parsed::Request(_)) => Some(Self { spec: spec.clone(), frame, parser }),
            _ => None,
        }
    }

    pub(in crate::session) fn spec(&self) -> &CommandSpec {
        &self.spec
    }

    pub(in crate::session) fn request(&self) -> Request<'_> {
        self.parser.request(&self.frame)
    }

    /// The whole request as it can be sent.
    pub(in crate::session) fn frame(&self) -> &[u8] {
        self.request().frame()
    }

    /// An argument; empty when there is none at this place.
    pub(in crate::session) fn arg(&self, at: usize) -> &[u8] {
        self.request().arg(at).unwrap_or_default()
    }

    pub(in crate::session) fn len(&self) -> usize {
        self.request().len()
    }

    /// Every key with its role, part after part.
    pub(in crate::session) fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        // A request whose keys cannot be told takes no steps.
        let _ = self.spec.keys(&self.request(), |key| keys.push(key));
        keys
    }

    /// Where the keys stand that are read.
    pub(super) fn sources(&self) -> Vec<usize> {
        let read = |key: &Key| key.role != Role::Destination;
        self.keys().into_iter().filter(read).map(|key| key.at).collect()
    }

    /// Where the key stands that is written; 0 when there is none.
    pub(super) fn destination(&self) -> usize {
        let written = |key: &Key| key.role == Role::Destination;
        self.keys().into_iter().rfind(written).map_or(0, |key| key.at)
    }

    /// Whether the argument is this word, in any case.
    pub(super) fn says(&self, at: usize, word: &str) -> bool {
        self.arg(at).eq_ignore_ascii_case(word.as_bytes())
    }

    /// The slot of the key that stands there.
    pub(in crate::session) fn slot(&self, at: usize) -> Slot {
        Slot::of(self.arg(at))
    }
}
