//! The simulated cluster: who owns which slot, what stands where, and what a node says to a request.
//!
//! A replica that takes over has all data of its shard, so a takeover loses nothing: what is lost or doubled here, the
//! gateway has lost or doubled. Until then a replica follows late, and what it is asked it answers by what it has.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::cluster::{Announced, Health, Progress, Role, Seen, Slot, View};
use crate::resp::write;

use super::ledger::Number;
use super::link::Link;
use super::schedule::{Key, Schedule, TAGS};
use super::store::{Revision, Store};

pub(super) type NodeId = usize;

/// A server.
pub(super) struct Node {
    pub(super) address: Arc<str>,
    pub(super) shard: usize,
    /// Takes connections.
    pub(super) up: bool,
    /// Takes them, and does nothing else.
    pub(super) frozen: bool,
    /// What it says to every request for data.
    pub(super) refusing: Option<&'static str>,
    /// The latest state of the cluster that it has heard of.
    heard: usize,
    /// As a replica: how much of its primary's data it has.
    followed: Revision,
    pub(super) links: Vec<Rc<Link>>,
}

/// A primary with its replicas.
pub(super) struct Shard {
    pub(super) primary: NodeId,
    epoch: u64,
    /// Something happens to it.
    pub(super) busy: bool,
}

/// The slot of one tag.
pub(super) struct Place {
    slot: Slot,
    shard: usize,
    /// It is on its way to another shard, and these keys are there.
    moving: Option<(usize, BTreeSet<Key>)>,
}

/// Who owned what at one time.
#[derive(Clone)]
struct Layout {
    primaries: Vec<NodeId>,
    epochs: Vec<u64>,
    places: Vec<usize>,
}

/// All of it.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    pub(super) shards: Vec<Shard>,
    places: Vec<Place>,
    /// Every state so far.
    history: Vec<Layout>,
    epoch: u64,
    store: Store,
}

impl Cluster {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let count = schedule.shards * (1 + schedule.replicas);
        let node = |number: usize| Node {
            address: format!("10.0.0.{}:7000", number + 1).into(),
            shard: number % schedule.shards,
            up: true,
            frozen: false,
            refusing: None,
            heard: 0,
            followed: 0,
            links: Vec::new(),
        };
        let shards = (0..schedule.shards)
            .map(|number| Shard { primary: number, epoch: number as u64 + 1, busy: false })
            .collect();
        let places = (0..TAGS).map(|tag| {
            let slot = Slot::of(Key { tag, name: 0 }.to_string().as_bytes());
            Place { slot, shard: slot.index() * schedule.shards / Slot::COUNT, moving: None }
        });
        let mut cluster = Self {
            nodes: (0..count).map(node).collect(),
            shards,
            places: places.collect(),
            history: Vec::new(),
            epoch: schedule.shards as u64,
            store: Store::default(),
        };
        cluster.changed(&[]);
        cluster
    }

    /// Who is involved knows at once; returns the number of the new state, for the others.
    fn changed(&mut self, involved: &[NodeId]) -> usize {
        self.history.push(Layout {
            primaries: self.shards.iter().map(|shard| shard.primary).collect(),
            epochs: self.shards.iter().map(|shard| shard.epoch).collect(),
            places: self.places.iter().map(|place| place.shard).collect(),
        });
        let latest = self.history.len() - 1;
        for node in involved {
            self.nodes[*node].heard = latest;
        }
        latest
    }

    /// Word of a state reaches a node.
    pub(super) fn hears(&mut self, node: NodeId, state: usize) {
        let node = &mut self.nodes[node];
        node.heard = node.heard.max(state);
    }

    pub(super) fn heard(&self, node: NodeId) -> usize {
        self.nodes[node].heard
    }

    /// The nodes that say something when they are asked.
    pub(super) fn answering(&self) -> Vec<NodeId> {
        let answers = |node: &NodeId| self.nodes[*node].up && !self.nodes[*node].frozen;
        (0..self.nodes.len()).filter(answers).collect()
    }

    pub(super) fn node_at(&self, address: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| *node.address == *address)
    }

    /// Another node of the shard that could take over.
    pub(super) fn replica_of(&self, shard: usize) -> Option<NodeId> {
        let primary = self.shards[shard].primary;
        (0..self.nodes.len()).find(|&number| {
            let node = &self.nodes[number];
            node.shard == shard && number != primary && node.up && !node.frozen
        })
    }

    /// The node has everything that its primary has, if it can have heard of it.
    pub(super) fn follow(&mut self, node: NodeId) {
        let revision = self.store.revision();
        let node = &mut self.nodes[node];
        if node.up && !node.frozen {
            node.followed = revision;
        }
    }

    fn is_primary(&self, node: NodeId) -> bool {
        self.shards[self.nodes[node].shard].primary == node
    }

    /// Whether the node, as far as it knows, copies the one that owns the tag's slot, and answers.
    pub(super) fn copies(&self, node: NodeId, tag: usize) -> bool {
        let seen = &self.nodes[node];
        let owner = self.history[seen.heard].places[tag];
        !self.is_primary(node) && seen.refusing.is_none() && owner == seen.shard
    }

    /// What a replica has of a key.
    pub(super) fn copy(&self, node: NodeId, key: Key) -> Option<&[Number]> {
        let Node { followed, shard, .. } = &self.nodes[node];
        self.store.as_of(*followed, key, *shard)
    }

    /// How far a node says that it is in its shard's history. A new primary begins a new one.
    pub(super) fn progress(&self, node: NodeId) -> Option<Progress> {
        let seen = &self.nodes[node];
        let history = format!("{:040}", self.shards[seen.shard].primary);
        let stands = match self.is_primary(node) {
            true => format!("role:master\r\nmaster_repl_offset:{}", self.store.revision()),
            false => format!(
                "role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:{}",
                seen.followed
            ),
        };
        let mut reply = Vec::new();
        write::bulk(&mut reply, format!("{stands}\r\nmaster_replid:{history}\r\n"));
        let answers = seen.up && !seen.frozen && seen.refusing.is_none();
        answers.then(|| Progress::from_reply(&reply)).flatten()
    }

    /// A replica becomes the primary.
    pub(super) fn promote(&mut self, shard: usize, node: NodeId) -> usize {
        self.epoch += 1;
        let before = std::mem::replace(&mut self.shards[shard].primary, node);
        self.shards[shard].epoch = self.epoch;
        self.follow(before);
        let alive = self.nodes[before].up && !self.nodes[before].frozen;
        let involved = [node, before];
        self.changed(if alive { &involved } else { &involved[..1] })
    }

    /// A tag's slot begins to move; false: it is there, or on its way somewhere.
    pub(super) fn begin_move(&mut self, tag: usize, to: usize) -> bool {
        let place = &mut self.places[tag];
        let begins = place.moving.is_none() && place.shard != to;
        if begins {
            place.moving = Some((to, BTreeSet::new()));
        }
        begins
    }

    /// The next key of a moving slot arrives; false: all are there.
    pub(super) fn move_key(&mut self, tag: usize) -> bool {
        let Some((to, there)) = &mut self.places[tag].moving else { return false };
        let next = self.store.keys().find(|key| key.tag == tag && !there.contains(key)).copied();
        if let Some(key) = next {
            there.insert(key);
            self.store.pass_on(key, *to);
        }
        next.is_some()
    }

    /// The moving slot has a new owner.
    pub(super) fn end_move(&mut self, tag: usize) -> Option<usize> {
        let (to, _) = self.places[tag].moving.take()?;
        let from = std::mem::replace(&mut self.places[tag].shard, to);
        self.epoch += 1;
        self.shards[to].epoch = self.epoch;
        let involved = [self.shards[to].primary, self.shards[from].primary];
        Some(self.changed(&involved))
    }

    /// Whether a node serves these keys, which are of one tag; else what it says.
    pub(super) fn serves(&self, node: NodeId, keys: &[Key], asking: bool) -> Result<(), String> {
        if let Some(words) = self.nodes[node].refusing {
            return Err(words.to_owned());
        }
        let Some(tag) = keys.first().map(|key| key.tag) else { return Ok(()) };
        let place = &self.places[tag];
        let is_primary_of = |shard: usize| self.shards[shard].primary == node;
        const TRY_AGAIN: &str = "TRYAGAIN Multiple keys request during rehashing of slot";
        match &place.moving {
            Some((to, there)) if is_primary_of(place.shard) => {
                let here = |key: &&Key| self.store.has(key) && !there.contains(key);
                match keys.iter().filter(here).count() {
                    0 => Err(self.redirection("ASK", place.slot, *to)),
                    count if count < keys.len() => Err(TRY_AGAIN.to_owned()),
                    _ => Ok(()),
                }
            }
            Some((to, there)) if asking && is_primary_of(*to) => {
                let all = keys.iter().all(|key| there.contains(key));
                if all || keys.len() == 1 { Ok(()) } else { Err(TRY_AGAIN.to_owned()) }
            }
            _ if is_primary_of(place.shard) => Ok(()),
            _ => Err(self.moved(node, tag)),
        }
    }

    /// Where the node thinks that the slot is; it knows at least that it does not have it.
    fn moved(&self, node: NodeId, tag: usize) -> String {
        let place = &self.places[tag];
        let layout = &self.history[self.nodes[node].heard];
        let heard = layout.primaries[layout.places[tag]];
        let shard = if heard == node { place.shard } else { layout.places[tag] };
        let owner = if heard == node { self.shards[shard].primary } else { heard };
        format!("MOVED {} {}", place.slot.index(), self.nodes[owner].address)
    }

    fn redirection(&self, word: &str, slot: Slot, shard: usize) -> String {
        let owner = self.shards[shard].primary;
        format!("{word} {} {}", slot.index(), self.nodes[owner].address)
    }

    /// Leaves a write's number at a key.
    pub(super) fn write(&mut self, key: Key, number: Number) {
        let Place { shard, moving, .. } = &mut self.places[key.tag];
        let holder = match moving {
            // What is new while its slot moves is made where it moves to.
            Some((to, there)) if !self.store.has(&key) || there.contains(&key) => {
                there.insert(key);
                *to
            }
            _ => *shard,
        };
        self.store.write(key, number, holder);
    }

    pub(super) fn read(&self, key: Key) -> &[Number] {
        self.store.now(key)
    }

    /// The cluster as a node sees it.
    pub(super) fn view(&self, node: NodeId) -> View {
        let layout = &self.history[self.nodes[node].heard];
        let nodes = self.nodes.iter().enumerate().map(|(number, seen)| {
            let primary = layout.primaries[seen.shard];
            let place = Announced::parse(&seen.address).map(|place| place.to_string());
            Seen {
                id: format!("{number:040}"),
                address: Some(seen.address.clone()),
                announced: place.into_iter().collect(),
                myself: number == node,
                role: if number == primary {
                    Role::Primary
                } else {
                    Role::ReplicaOf(format!("{primary:040}"))
                },
                health: if seen.up { Health::Online } else { Health::Suspected },
                epoch: layout.epochs[seen.shard],
                slots: if number == primary { self.ranges(layout, seen.shard) } else { vec![] },
            }
        });
        View { healthy: true, current_epoch: self.epoch, nodes: nodes.collect() }
    }

    /// A shard's slots: an equal share of all, but for those that have moved.
    fn ranges(&self, layout: &Layout, shard: usize) -> Vec<std::ops::RangeInclusive<u16>> {
        let count = self.shards.len();
        let first = (shard * Slot::COUNT).div_ceil(count) as u16;
        let last = (((shard + 1) * Slot::COUNT).div_ceil(count) - 1) as u16;
        let owner_of = |place: &Place, tag: usize| (place.slot.index() as u16, layout.places[tag]);
        let mut moved: Vec<(u16, usize)> =
            self.places.iter().enumerate().map(|(tag, place)| owner_of(place, tag)).collect();
        moved.sort_unstable();
        let mut ranges = Vec::new();
        let mut from = first;
        for (slot, owner) in moved {
            if owner == shard && !(first..=last).contains(&slot) {
                ranges.push(slot..=slot);
            } else if owner != shard && (first..=last).contains(&slot) {
                if from < slot {
                    ranges.push(from..=slot - 1);
                }
                from = slot + 1;
            }
        }
        if from <= last {
            ranges.push(from..=last);
        }
        ranges
    }
}
