//! What stands at each key: now, at the primaries, and as it was, which is what replicas know.

use std::collections::BTreeMap;

use super::ledger::Number;
use super::schedule::Key;

/// How much has changed so far. A node that has followed to some revision has all changes up to it.
pub(super) type Revision = usize;

/// All data of the cluster, with its past.
#[derive(Default)]
pub(super) struct Store {
    records: BTreeMap<Key, Record>,
    revision: Revision,
}

#[derive(Default)]
struct Record {
    writes: Vec<Number>,
    /// Which change each write was.
    made: Vec<Revision>,
    /// Which shards have had the key, and since which change.
    shards: Vec<(Revision, usize)>,
}

impl Store {
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.records.keys()
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.records.contains_key(key)
    }

    /// A shard's primary runs a write.
    pub(super) fn write(&mut self, key: Key, number: Number, shard: usize) {
        self.revision += 1;
        let record = self.records.entry(key).or_default();
        record.writes.push(number);
        record.made.push(self.revision);
        if record.shards.is_empty() {
            record.shards.push((self.revision, shard));
        }
    }

    /// The key goes from one shard to another.
    pub(super) fn pass_on(&mut self, key: Key, shard: usize) {
        self.revision += 1;
        self.records.entry(key).or_default().shards.push((self.revision, shard));
    }

    /// All writes to the key.
    pub(super) fn now(&self, key: Key) -> &[Number] {
        self.records.get(&key).map(|record| record.writes.as_slice()).unwrap_or_default()
    }

    /// What a node of the shard that has followed so far has of the key; `None`: it is missing there.
    pub(super) fn as_of(&self, revision: Revision, key: Key, shard: usize) -> Option<&[Number]> {
        let record = self.records.get(&key)?;
        let until = |changes: &[Revision]| changes.partition_point(|change| *change <= revision);
        let moves = record.shards.partition_point(|(change, _)| *change <= revision);
        let (_, holder) = record.shards.get(moves.checked_sub(1)?)?;
        (*holder == shard).then(|| record.writes.get(..until(&record.made))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_lags_has_the_past() {
        let key = Key { tag: 1, name: 0 };
        let mut store = Store::default();
        store.write(key, 5, 0);
        store.write(key, 6, 0);
        store.pass_on(key, 1);
        store.write(key, 7, 1);
        assert_eq!(store.now(key), [5, 6, 7]);
        let past = |shard| [0, 1, 2, 3, 4].map(|revision| store.as_of(revision, key, shard));
        assert_eq!(past(0), [None, Some(&[5][..]), Some(&[5, 6]), None, None]);
        assert_eq!(past(1), [None, None, None, Some(&[5, 6][..]), Some(&[5, 6, 7])]);
        assert_eq!(store.as_of(9, Key { tag: 2, name: 0 }, 0), None);
    }
}
