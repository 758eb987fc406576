//! Slot to node, as this worker knows it now: the last topology, and what redirections taught since.

use std::collections::HashMap;
use std::rc::Rc;

use crate::cluster::{Health, Shard, Slot, SlotSet, Topology};

use super::node::Node;

const NOBODY: u16 = u16::MAX;

/// The worker's own slot table. Its version changes whenever an owner does.
pub(super) struct Routes {
    version: u64,
    slots: Box<[u16]>,
    /// Nodes that own slots; `slots` points here.
    owners: Vec<Rc<Node>>,
    /// By address. In an order that is the same in every simulation of the same events.
    known: HashMap<Box<str>, Rc<Node>, foldhash::fast::FixedState>,
    /// The replicas of each owner, when they are read from.
    replicas: Vec<Vec<Rc<Node>>>,
    spreads_reads: bool,
    turn: usize,
}

impl Routes {
    /// Replicas are only of interest when they may be read from.
    pub(super) fn new(spreads_reads: bool) -> Self {
        Self {
            version: 0,
            slots: vec![NOBODY; Slot::COUNT].into_boxed_slice(),
            owners: Vec::new(),
            known: HashMap::default(),
            replicas: Vec::new(),
            spreads_reads,
            turn: 0,
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn owner(&self, slot: Slot) -> Option<&Rc<Node>> {
        let owner = *self.slots.get(slot.index())?;
        self.owners.get(usize::from(owner))
    }

    /// Whether the next topology's replicas are of interest.
    pub(super) fn spread_reads(&mut self, wanted: bool) {
        self.spreads_reads = wanted;
    }

    /// The replicas of the slot's owner that may be read from.
    pub(super) fn replicas(&self, slot: Slot) -> &[Rc<Node>] {
        let owner = self.slots.get(slot.index()).copied().unwrap_or(NOBODY);
        self.replicas.get(usize::from(owner)).map_or(&[], Vec::as_slice)
    }

    /// The lowest slot of every owner, ascending; `None` when a slot has no owner.
    pub(super) fn shards(&self) -> Option<Vec<Slot>> {
        let mut met = vec![false; self.owners.len()];
        let mut first = Vec::new();
        for (index, owner) in self.slots.iter().enumerate() {
            let met = met.get_mut(usize::from(*owner))?;
            if !std::mem::replace(met, true) {
                first.push(Slot::new(index as u16)?);
            }
        }
        Some(first)
    }

    /// A primary for a request without keys: the next one that is not known to be down.
    pub(super) fn any(&mut self, usable: impl Fn(&Node) -> bool) -> Option<&Rc<Node>> {
        let count = self.owners.len();
        let start = self.turn;
        self.turn = self.turn.wrapping_add(1);
        let at = (0..count)
            .map(|step| start.wrapping_add(step) % count)
            .find(|&at| self.owners.get(at).is_some_and(|node| usable(node)));
        self.owners.get(at.unwrap_or_default())
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Rc<Node>> {
        self.known.values()
    }

    /// Every node that owns slots.
    pub(super) fn primaries(&self) -> impl Iterator<Item = &Rc<Node>> {
        self.owners.iter()
    }

    /// How many slots the node owns.
    pub(super) fn count(&self, node: &Rc<Node>) -> usize {
        let at = self.owners.iter().position(|owner| Rc::ptr_eq(owner, node));
        at.map_or(0, |at| self.slots.iter().filter(|&&owner| usize::from(owner) == at).count())
    }

    /// The node at this address, known from now on.
    pub(super) fn node(&mut self, address: &str, new: impl FnOnce(&str) -> Node) -> Rc<Node> {
        if let Some(node) = self.known.get(address) {
            return node.clone();
        }
        let node = Rc::new(new(address));
        self.known.insert(address.into(), node.clone());
        node
    }

    /// A redirection said who owns the slot. Returns whether that was news.
    pub(super) fn learn(&mut self, slot: Slot, node: &Rc<Node>) -> bool {
        if self.owner(slot).is_some_and(|owner| Rc::ptr_eq(owner, node)) {
            return false;
        }
        let index = self.owner_index(node);
        if let Some(entry) = self.slots.get_mut(slot.index()) {
            *entry = index;
        }
        self.version += 1;
        true
    }

    fn owner_index(&mut self, node: &Rc<Node>) -> u16 {
        if let Some(at) = self.owners.iter().position(|owner| Rc::ptr_eq(owner, node)) {
            return at as u16;
        }
        node.owns.set(true);
        self.owners.push(node.clone());
        (self.owners.len() - 1) as u16
    }

    /// Takes over a topology. Returns the slots that have another owner.
    pub(super) fn adopt(&mut self, topology: &Topology, new: impl Fn(&str) -> Node) -> SlotSet {
        let owners: Vec<Rc<Node>> =
            topology.shards().iter().map(|shard| self.node(&shard.primary.address, &new)).collect();
        let read_from = if self.spreads_reads { topology.shards() } else { &[] };
        let mut replicas_of = |shard: &Shard| -> Vec<Rc<Node>> {
            let replicas = shard.replicas.iter().filter(|node| node.health == Health::Online);
            replicas.map(|node| self.node(&node.address, &new)).collect()
        };
        let replicas = read_from.iter().map(&mut replicas_of).collect();
        let mut slots = vec![NOBODY; Slot::COUNT].into_boxed_slice();
        let mut changed = SlotSet::default();
        for (index, entry) in slots.iter_mut().enumerate() {
            let Some(slot) = Slot::new(index as u16) else { continue };
            if let Some(shard) = topology.shard_of(slot) {
                *entry = shard.index() as u16;
            }
            let after = owners.get(usize::from(*entry));
            if self.owner(slot).map(Rc::as_ptr) != after.map(Rc::as_ptr) {
                changed.insert(slot);
            }
        }
        self.slots = slots;
        self.mark(false);
        self.owners = owners;
        self.replicas = replicas;
        self.mark(true);
        if !changed.is_empty() {
            self.version += 1;
        }
        changed
    }

    /// Writes down in each node what it is, for whoever asks one of thousands.
    fn mark(&self, is: bool) {
        self.owners.iter().for_each(|node| node.owns.set(is));
        self.replicas.iter().flatten().for_each(|node| node.copies.set(is));
    }

    /// Forgets nodes that serve nothing and have nothing under way.
    pub(super) fn forget_idle(&mut self) {
        self.known.retain(|_, node| {
            let serves = node.owns.get() || node.copies.get();
            if !serves {
                // They hold the node in turn, so it would never go.
                node.drop_kept();
            }
            serves || node.is_connected()
        });
    }
}
