//! What was denied lately, and to whom: `ACL LOG`. Bounded, and shared by all workers without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

/// Entries kept, as servers keep by default.
const KEPT: usize = 128;
/// Among so many of the latest entries a like one is looked for.
const SEARCHED: usize = 10;
/// Like events within this time count as one entry.
const GROUPED_MS: u64 = 60_000;
/// Bytes kept of a key, a channel or a name.
const SHOWN: usize = 512;

/// What was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Command,
    Key,
    Channel,
    Login,
}

impl Reason {
    /// The word of the servers.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
            Self::Login => "auth",
        }
    }
}

/// One denial.
pub(super) struct Event<'a> {
    pub(super) reason: Reason,
    /// `toplevel` or `multi`.
    pub(super) context: &'static str,
    /// The command, the key or the channel.
    pub(super) object: &'a [u8],
    pub(super) user: &'a [u8],
    /// The client's line in CLIENT LIST.
    pub(super) client: String,
}

/// One or more like denials.
#[derive(Clone, Debug)]
pub(super) struct Denial {
    pub(super) count: u64,
    pub(super) reason: Reason,
    pub(super) context: &'static str,
    pub(super) object: Vec<u8>,
    pub(super) user: Vec<u8>,
    /// Of the last one.
    pub(super) client: String,
    pub(super) id: u64,
    /// Milliseconds since 1970.
    pub(super) created: u64,
    pub(super) updated: u64,
}

/// The latest denials, newest first.
#[derive(Default)]
pub(super) struct Denials {
    entries: ArcSwap<Vec<Arc<Denial>>>,
    next: AtomicU64,
}

impl Denials {
    /// Notes what was denied to a user.
    pub(super) fn add(&self, event: Event<'_>) {
        let now = now_ms();
        let denial = Denial {
            count: 1,
            reason: event.reason,
            context: event.context,
            object: cut(event.object),
            user: cut(event.user),
            client: event.client,
            id: self.next.fetch_add(1, Ordering::Relaxed),
            created: now,
            updated: now,
        };
        self.entries.rcu(|entries| with(entries, &denial));
    }

    pub(super) fn entries(&self) -> Arc<Vec<Arc<Denial>>> {
        self.entries.load_full()
    }

    pub(super) fn clear(&self) {
        self.entries.store(Arc::default());
    }
}

fn with(entries: &[Arc<Denial>], new: &Denial) -> Vec<Arc<Denial>> {
    let like = entries.iter().take(SEARCHED).position(|old| old.is_like(new));
    let first = match like.and_then(|place| entries.get(place)) {
        Some(old) => Denial {
            count: old.count + 1,
            client: new.client.clone(),
            updated: new.updated,
            ..Denial::clone(old)
        },
        None => new.clone(),
    };
    let others = entries.iter().enumerate().filter(|(place, _)| Some(*place) != like);
    let others = others.map(|(_, entry)| entry.clone());
    std::iter::once(Arc::new(first)).chain(others).take(KEPT).collect()
}

impl Denial {
    fn is_like(&self, other: &Self) -> bool {
        self.reason == other.reason
            && self.context == other.context
            && self.updated.abs_diff(other.updated) <= GROUPED_MS
            && self.object == other.object
            && self.user == other.user
    }
}

pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn cut(text: &[u8]) -> Vec<u8> {
    text.get(..SHOWN).unwrap_or(text).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(denials: &Denials, reason: Reason, object: &[u8], user: &str) {
        let (context, user, client) = ("multi", user.as_bytes(), String::new());
        denials.add(Event { reason, context, object, user, client });
    }

    fn shown(denials: &Denials) -> Vec<(u64, String)> {
        let text = |entry: &Arc<Denial>| String::from_utf8(entry.object.clone()).unwrap();
        denials.entries().iter().map(|entry| (entry.count, text(entry))).collect()
    }

    #[test]
    fn like_denials_are_one_entry_that_comes_first() {
        let denials = Denials::default();
        for object in ["a", "b", "a", "c", "a"] {
            add(&denials, Reason::Key, object.as_bytes(), "user");
        }
        add(&denials, Reason::Key, b"c", "other");
        add(&denials, Reason::Command, b"c", "user");
        let expected = [(1, "c"), (1, "c"), (3, "a"), (1, "c"), (1, "b")];
        assert_eq!(shown(&denials), expected.map(|(count, text)| (count, text.to_owned())));
        denials.clear();
        assert_eq!(shown(&denials), []);
    }

    #[test]
    fn it_stays_small() {
        let denials = Denials::default();
        for number in 0..1000 {
            let object = [number.to_string().as_bytes(), &[b'x'; 10_000]].concat();
            add(&denials, Reason::Key, &object, "user");
        }
        let entries = denials.entries();
        assert_eq!(entries.len(), KEPT);
        assert!(entries.iter().all(|entry| entry.object.len() == SHOWN));
        assert!(entries[0].object.starts_with(b"999"));
    }
}
