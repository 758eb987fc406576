//! SCAN over all primaries with a cursor that holds everything there is to know.
//!
//! ```text
//! cursor = node cursor << 21 | mark of the primary that is being scanned
//! ```
//!
//! Primaries are visited by ascending lowest slot. A node takes any cursor, also one of another node, and then
//! skips keys in silence. So the mark says for what the node cursor is good: it is a hash of who the primary is,
//! of its slots and its epoch, and of the slots that the primaries before it had when they were visited. The
//! epoch is there because a slot may leave and come back; its owner then has a new one. When no primary has the
//! mark any more, because a replica took over or slots moved, the scan starts over. Keys then come twice, which
//! SCAN allows; none is left out.

use crate::cluster::{Node, Shard, ShardIndex, Slot, Topology};
use crate::resp::number;

const MARK_BITS: u32 = 21;
const MARK_MASK: u64 = (1 << MARK_BITS) - 1;
/// Bits for the node's own cursor: the whole stays positive as a signed number, which some clients read.
const NODE_BITS: u32 = 63 - MARK_BITS;

/// What a client hands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    node: u64,
    mark: u32,
}

/// Why there is no cursor. `Display` is the line that the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Not a number that this gateway gives out.
    #[error("ERR invalid cursor")]
    Invalid,
    /// The node's cursor has more bits than there is room for.
    #[error("ERR cursor too large")]
    TooLarge,
}

impl Cursor {
    /// Reads a cursor.
    ///
    /// # Errors
    /// It is no whole number, or larger than any that is given out.
    pub fn parse(text: &[u8]) -> Result<Self, CursorError> {
        let number = if text.is_empty() { Some(0) } else { number::integer(text) };
        let whole = number.and_then(|number| u64::try_from(number).ok());
        let whole = whole.ok_or(CursorError::Invalid)?;
        Ok(Self { node: whole >> MARK_BITS, mark: (whole & MARK_MASK) as u32 })
    }

    fn encode(self) -> Result<u64, CursorError> {
        if self.node >> NODE_BITS > 0 {
            return Err(CursorError::TooLarge);
        }
        Ok((self.node << MARK_BITS) | u64::from(self.mark))
    }
}

/// The primaries of one topology in the order in which they are scanned.
#[derive(Debug, Default)]
pub struct Itinerary {
    version: u64,
    legs: Vec<Leg>,
}

/// One primary's part of a scan.
#[derive(Clone, Copy, Debug)]
struct Leg {
    shard: ShardIndex,
    /// Of the primary and of the slots visited before.
    mark: u32,
    /// Of the primary alone: for a pattern that asks about one slot only.
    alone: u32,
}

/// What one call of SCAN does.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    shard: ShardIndex,
    mark: u32,
    /// The next primary's mark; `None` after the last one.
    next: Option<u32>,
    cursor: u64,
}

impl Itinerary {
    /// The order of this topology's primaries.
    pub fn of(topology: &Topology) -> Self {
        let mut owned = vec![Hash::new(); topology.shards().len()];
        for number in 0..Slot::COUNT as u16 {
            let shard = Slot::new(number).and_then(|slot| topology.shard_of(slot));
            if let Some(hash) = shard.and_then(|shard| owned.get_mut(shard.index())) {
                hash.add(&number.to_le_bytes());
            }
        }
        let mut visited = Hash::new();
        let mut legs = Vec::with_capacity(owned.len());
        for ((shard, is), owned) in topology.numbered_shards().zip(owned) {
            visited.add(&owned.0.to_le_bytes());
            legs.push(Leg { shard, mark: visited.mark(is), alone: owned.mark(is) });
        }
        Self { version: topology.version, legs }
    }

    /// Of which topology it is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Where a cursor goes on, or from where the scan starts over. `only` is the one shard that is asked about.
    /// `None`: no primary is known.
    pub fn visit(&self, cursor: Cursor, only: Option<ShardIndex>) -> Option<Visit> {
        if let Some(only) = only {
            let leg = self.legs.iter().find(|leg| leg.shard == only)?;
            let cursor = if cursor.mark == leg.alone { cursor.node } else { 0 };
            return Some(Visit { shard: only, mark: leg.alone, next: None, cursor });
        }
        let found = self.legs.iter().position(|leg| leg.mark == cursor.mark);
        let at = found.unwrap_or_default();
        let Leg { shard, mark, .. } = *self.legs.get(at)?;
        let next = self.legs.get(at + 1).map(|leg| leg.mark);
        let cursor = if found.is_some() { cursor.node } else { 0 };
        Some(Visit { shard, mark, next, cursor })
    }
}

impl Visit {
    /// The shard whose primary is asked.
    pub fn shard(&self) -> ShardIndex {
        self.shard
    }

    /// The primary to ask.
    pub fn node<'a>(&self, topology: &'a Topology) -> Option<&'a Node> {
        topology.shard(self.shard).map(|shard| &shard.primary)
    }

    /// The cursor to ask it with.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The cursor for the client when the node answered with this one of its own; 0 is the end.
    ///
    /// # Errors
    /// The node's cursor is too large.
    pub fn after(&self, node: u64) -> Result<u64, CursorError> {
        match (node, self.next) {
            (0, None) => Ok(0),
            (0, Some(mark)) => Cursor { node, mark }.encode(),
            (node, _) => Cursor { node, mark: self.mark }.encode(),
        }
    }
}

/// FNV-1a, which gives the same on every gateway and after every restart.
#[derive(Clone, Copy, Debug)]
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The mark of this shard, after what was added so far. It is never 0: that is where a scan begins.
    fn mark(mut self, shard: &Shard) -> u32 {
        self.add(shard.primary.id.as_bytes());
        self.add(&shard.epoch.to_le_bytes());
        let folded = self.0 ^ (self.0 >> MARK_BITS) ^ (self.0 >> (2 * MARK_BITS));
        ((folded & MARK_MASK) as u32).max(1)
    }
}

#[cfg(test)]
mod tests;
