//! What was denied lately, and to whom: `ACL LOG`. Bounded, and shared by all workers without a lock.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

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

/// The latest denials.
#[derive(Default)]
pub(super) struct Denials(ArcSwap<Log>);

/// They as they are at one moment.
#[derive(Debug, Default)]
struct Log {
    /// The newest first.
    entries: Vec<Arc<Denial>>,
    /// The number of the next entry. Like denials have one number together, and a reset starts none over.
    next: u64,
}

impl Denials {
    /// Notes what was denied to a user, and keeps so many entries.
    pub(super) fn add(&self, event: Event<'_>, kept: usize) {
        let now = now_ms();
        let denial = Denial {
            count: 1,
            reason: event.reason,
            context: event.context,
            object: cut(event.object),
            user: cut(event.user),
            client: event.client,
            id: 0,
            created: now,
            updated: now,
        };
        self.0.rcu(|log| log.with(&denial, kept));
    }

    /// The newest ones.
    pub(super) fn latest(&self, count: usize) -> Vec<Arc<Denial>> {
        self.0.load().entries.iter().take(count).cloned().collect()
    }

    pub(super) fn clear(&self) {
        self.0.rcu(|log| Log { entries: Vec::new(), next: log.next });
    }
}

impl Log {
    fn with(&self, new: &Denial, kept: usize) -> Self {
        let like = self.entries.iter().take(SEARCHED).position(|old| old.is_like(new));
        let (first, next) = match like.and_then(|place| self.entries.get(place)) {
            Some(old) => (old.repeated(new), self.next),
            None => (Denial { id: self.next, ..new.clone() }, self.next + 1),
        };
        let others = self.entries.iter().enumerate().filter(|(place, _)| Some(*place) != like);
        let others = others.map(|(_, entry)| entry.clone());
        let entries = std::iter::once(Arc::new(first)).chain(others).take(kept).collect();
        Self { entries, next }
    }
}

impl Denial {
    /// The same once more.
    fn repeated(&self, latest: &Self) -> Self {
        let client = latest.client.clone();
        Self { count: self.count + 1, client, updated: latest.updated, ..self.clone() }
    }

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

    const KEPT: usize = 128;

    fn add(denials: &Denials, reason: Reason, object: &[u8], user: &str) {
        let (context, user, client) = ("multi", user.as_bytes(), String::new());
        denials.add(Event { reason, context, object, user, client }, KEPT);
    }

    /// Counts, numbers and objects.
    fn shown(denials: &Denials) -> Vec<(u64, u64, String)> {
        let text = |entry: &Arc<Denial>| String::from_utf8(entry.object.clone()).unwrap();
        denials.latest(KEPT).iter().map(|entry| (entry.count, entry.id, text(entry))).collect()
    }

    #[test]
    fn like_denials_are_one_entry_that_comes_first() {
        let denials = Denials::default();
        for object in ["a", "b", "a", "c", "a"] {
            add(&denials, Reason::Key, object.as_bytes(), "user");
        }
        add(&denials, Reason::Key, b"c", "other");
        add(&denials, Reason::Command, b"c", "user");
        let expected = [(1, 4, "c"), (1, 3, "c"), (3, 0, "a"), (1, 2, "c"), (1, 1, "b")];
        let expected = expected.map(|(count, id, text)| (count, id, text.to_owned()));
        assert_eq!(shown(&denials), expected);
        denials.clear();
        assert_eq!(shown(&denials), []);
        add(&denials, Reason::Key, b"a", "user");
        assert_eq!(shown(&denials), [(1, 5, "a".to_owned())], "no number is given twice");
    }

    #[test]
    fn after_a_minute_it_is_another_entry() {
        let at = |time: u64| Denial {
            count: 1,
            reason: Reason::Login,
            context: "toplevel",
            object: b"AUTH".to_vec(),
            user: b"app".to_vec(),
            client: time.to_string(),
            id: 0,
            created: time,
            updated: time,
        };
        let mut log = Log::default();
        // Each time counts from the latest, not from the first.
        for time in [0, 60_000, 120_000, 180_001] {
            log = log.with(&at(time), KEPT);
        }
        let [new, old] = &log.entries[..] else { panic!("{log:?}") };
        assert_eq!((old.count, old.created, old.updated, &*old.client), (3, 0, 120_000, "120000"));
        assert_eq!((new.count, new.id, new.created, new.updated), (1, 1, 180_001, 180_001));
        assert!(log.with(&at(0), 0).entries.is_empty());
    }

    #[test]
    fn it_stays_small() {
        let denials = Denials::default();
        for number in 0..1000 {
            let object = [number.to_string().as_bytes(), &[b'x'; 10_000]].concat();
            add(&denials, Reason::Key, &object, "user");
        }
        let entries = denials.latest(usize::MAX);
        assert_eq!(entries.len(), KEPT);
        assert!(entries.iter().all(|entry| entry.object.len() == SHOWN));
        assert!(entries[0].object.starts_with(b"999"));
    }
}
