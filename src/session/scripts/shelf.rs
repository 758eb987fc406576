//! A bounded store of scripts by their digest.
//!
//! Some clients write values into their scripts, so that no two are alike. Such scripts push each other out, but
//! not those that a client asked to keep: each kind has half of the room.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;

use bytes::Bytes;
use foldhash::fast::RandomState;
use sha1_smol::Sha1;

use super::Digest;

/// What a script takes beside its bytes.
const OVERHEAD: usize = 128;

pub(super) struct Shelf {
    scripts: HashMap<Digest, Script, RandomState>,
    /// Of each script's bytes: quicker to compute than a digest.
    quick: HashSet<u64, RandomState>,
    hasher: RandomState,
    kept: Row,
    seen: Row,
    /// Most bytes in one row.
    most: usize,
}

struct Script {
    body: Bytes,
    quick: u64,
    kept: bool,
}

/// Scripts in the order in which they came; what has been moved to the other row since is passed over.
#[derive(Default)]
struct Row {
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Shelf {
    pub(super) fn new(most: usize) -> Self {
        Self {
            scripts: HashMap::default(),
            quick: HashSet::default(),
            hasher: RandomState::default(),
            kept: Row::default(),
            seen: Row::default(),
            most: most / 2,
        }
    }

    /// Keeps no more than so many bytes from now on.
    pub(super) fn limit_to(&mut self, most: usize) {
        self.most = most / 2;
        self.make_room(true);
        self.make_room(false);
    }

    /// Adds a script; `keep` when a client asked for that.
    pub(super) fn put(&mut self, body: &[u8], keep: bool) {
        let quick = self.hasher.hash_one(body);
        if (self.quick.contains(&quick) && !keep) || body.len() + OVERHEAD > self.most {
            return;
        }
        let digest = Sha1::from(body).digest().bytes();
        if let Some(known) = self.scripts.get_mut(&digest) {
            if known.kept || !keep {
                return;
            }
            known.kept = true;
            let size = known.size();
            self.seen.bytes -= size;
            self.kept.add(digest, size);
        } else {
            let script = Script { body: Bytes::copy_from_slice(body), quick, kept: keep };
            let row = if keep { &mut self.kept } else { &mut self.seen };
            row.add(digest, script.size());
            self.quick.insert(quick);
            self.scripts.insert(digest, script);
        }
        self.make_room(keep);
    }

    pub(super) fn body(&self, digest: &Digest) -> Option<Bytes> {
        self.scripts.get(digest).map(|script| script.body.clone())
    }

    /// Those that a client asked to keep.
    pub(super) fn kept(&self) -> Vec<Bytes> {
        let kept = self.scripts.values().filter(|script| script.kept);
        kept.map(|script| script.body.clone()).collect()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.most * 2);
    }

    /// Drops the oldest scripts of a row that is too full.
    fn make_room(&mut self, kept: bool) {
        let row = if kept { &mut self.kept } else { &mut self.seen };
        while row.bytes > self.most
            && let Some(oldest) = row.order.pop_front()
        {
            if self.scripts.get(&oldest).is_some_and(|script| script.kept == kept)
                && let Some(script) = self.scripts.remove(&oldest)
            {
                row.bytes -= script.size();
                self.quick.remove(&script.quick);
            }
        }
    }
}

impl Row {
    fn add(&mut self, digest: Digest, size: usize) {
        self.order.push_back(digest);
        self.bytes += size;
    }
}

impl Script {
    fn size(&self) -> usize {
        self.body.len() + OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knows(shelf: &Shelf, body: &[u8]) -> bool {
        shelf.body(&Sha1::from(body).digest().bytes()).is_some_and(|found| found == body)
    }

    #[test]
    fn scripts_are_found_by_digest() {
        let mut shelf = Shelf::new(10_000);
        shelf.put(b"return 1", false);
        shelf.put(b"return 2", true);
        shelf.put(b"return 1", false);
        let digest = super::super::digest(b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db").unwrap();
        assert_eq!(shelf.body(&digest).unwrap(), "return 1");
        assert!(knows(&shelf, b"return 2") && !knows(&shelf, b"return 3"));
        assert_eq!(shelf.kept(), ["return 2"]);
        shelf.put(b"return 1", true);
        assert_eq!(shelf.kept().len(), 2);
        shelf.clear();
        assert!(!knows(&shelf, b"return 1"));
        shelf.put(b"return 1", false);
        assert!(knows(&shelf, b"return 1"));
    }

    #[test]
    fn scripts_that_are_never_alike_do_not_grow_without_bound() {
        let mut shelf = Shelf::new(100_000);
        shelf.put(b"kept", true);
        shelf.put(b"seen first", false);
        shelf.put(b"kept later", false);
        shelf.put(b"kept later", true);
        let body = |number: usize| format!("return {number}").into_bytes();
        for number in 0..5_000 {
            shelf.put(&body(number), false);
            // The same again is not new.
            shelf.put(&body(number), false);
        }
        assert!(knows(&shelf, b"kept") && knows(&shelf, b"kept later"));
        assert!(!knows(&shelf, b"seen first") && !knows(&shelf, &body(0)));
        assert!(knows(&shelf, &body(4_999)) && knows(&shelf, &body(4_700)));
        assert!(shelf.seen.bytes <= 50_000);
        assert_eq!(shelf.seen.order.len() + 2, shelf.scripts.len());
        assert_eq!(shelf.quick.len(), shelf.scripts.len());
        shelf.put(&[b'x'; 60_000], true);
        assert!(!knows(&shelf, &[b'x'; 60_000]), "larger than the room");
        assert!(knows(&shelf, b"kept"));
    }
}
