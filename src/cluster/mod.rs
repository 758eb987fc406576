//! Topology: which shard serves a slot, as an immutable snapshot. No I/O here.
//!
//! A [`View`] is what one node says; [`merge_views`] turns the views of one round into a [`Topology`].

mod address;
mod agree;
mod progress;
mod slot;
mod slot_set;
mod software;
mod tags;
mod view;
mod vitals;
mod words;

pub use address::Announced;
pub use agree::merge_views;
pub use progress::{Course, Progress, zone_of};
pub use slot::Slot;
pub use slot_set::SlotSet;
pub use software::{Software, Version};
pub use tags::Tags;
pub use view::{Dialling, Preferred, Role, Seen, TopologyError, View};
pub use vitals::Vitals;
pub use words::{field, given_away, open_slots, own_line, slot_range, text_of};

use std::sync::Arc;

/// Number of a shard in one topology. It means nothing in another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ShardIndex(u16);

impl ShardIndex {
    /// What stands in a slot that nobody serves. There are at most as many shards as slots, so it names none.
    const NOBODY: Self = Self(u16::MAX);

    /// Its place in [`Topology::shards`].
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Who serves which slot, at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Topology {
    /// Grows whenever anything below changes; 0 is the empty topology that a gateway starts with.
    pub version: u64,
    /// The cluster's current epoch, the highest that any node told.
    pub epoch: u64,
    shards: Vec<Shard>,
    idle: Vec<Node>,
    slots: Box<[ShardIndex; Slot::COUNT]>,
}

/// One primary that owns slots, and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Serves the slots.
    pub primary: Node,
    /// Copy the primary; ordered by id.
    pub replicas: Vec<Node>,
    /// The primary's config epoch: of two claims to a slot, the one with the higher epoch is the newer.
    pub epoch: u64,
}

/// One server of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The name that the cluster gave it, 40 hexadecimal digits.
    pub id: String,
    /// `host:port` to dial, after the address map.
    pub address: Arc<str>,
    /// The other ways in which the cluster may write its `host:port`.
    pub announced: Vec<String>,
    /// What the cluster thinks of it.
    pub health: Health,
}

/// What the nodes asked think of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Answers.
    #[default]
    Online,
    /// One node at least misses its answers (`fail?`).
    Suspected,
    /// The majority of primaries gave it up (`fail`).
    Failed,
}

impl Topology {
    /// The topology before anything is known.
    pub fn empty() -> Self {
        Self {
            version: 0,
            epoch: 0,
            shards: Vec::new(),
            idle: Vec::new(),
            slots: Box::new([ShardIndex::NOBODY; Slot::COUNT]),
        }
    }

    /// The shard that serves `slot`, if any does.
    #[inline]
    pub fn shard_of(&self, slot: Slot) -> Option<ShardIndex> {
        self.slots.get(slot.index()).copied().filter(|&shard| shard != ShardIndex::NOBODY)
    }

    /// A shard by its number.
    #[inline]
    pub fn shard(&self, shard: ShardIndex) -> Option<&Shard> {
        self.shards.get(shard.index())
    }

    /// The primary that serves `slot`, if any does.
    pub fn primary_of(&self, slot: Slot) -> Option<&Node> {
        self.shard_of(slot).and_then(|shard| self.shard(shard)).map(|shard| &shard.primary)
    }

    /// Every shard that owns slots, in the order of their lowest slots.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Every shard with its number, in the order of [`Topology::shards`].
    pub fn numbered_shards(&self) -> impl Iterator<Item = (ShardIndex, &Shard)> {
        (0..).map(ShardIndex).zip(&self.shards)
    }

    /// Nodes outside the shards: primaries without slots, their replicas, primaries that were replaced.
    pub fn idle(&self) -> &[Node] {
        &self.idle
    }

    /// Every node that has an address.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        let shards = self
            .shards
            .iter()
            .flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas));
        shards.chain(&self.idle)
    }

    /// How many slots somebody serves, of [`Slot::COUNT`].
    pub fn covered(&self) -> usize {
        self.slots.iter().filter(|&&shard| shard != ShardIndex::NOBODY).count()
    }

    /// The node that the cluster, or the address map, calls `announced`, a `host:port` as in MOVED.
    pub fn find(&self, announced: &str) -> Option<&Node> {
        let place = Announced::parse(announced)?.to_string();
        self.nodes().find(|node| *node.address == place || node.announced.contains(&place))
    }

    /// Whether nothing but the version differs.
    pub fn same_as(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && self.shards == other.shards
            && self.idle == other.idle
            && self.slots == other.slots
    }
}

impl std::fmt::Debug for Topology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topology")
            .field("version", &self.version)
            .field("epoch", &self.epoch)
            .field("covered", &self.covered())
            .field("shards", &self.shards)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}
