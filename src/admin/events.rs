//! What happened lately, in words: found by comparing what is with what was.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;

use crate::cluster::{Health, Node, Shard, Slot, Topology};
use crate::metrics::Overview;

/// Events that are remembered.
const REMEMBERED: usize = 100;
/// Redirections a second that are a storm.
const STORM: f64 = 100.0;

/// Something that people may want to know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Event {
    /// Seconds since 1970.
    pub(super) at: u64,
    /// What it is about: one of a few words.
    pub(super) kind: &'static str,
    /// One line.
    pub(super) text: String,
}

/// The latest events, the newest first.
#[derive(Debug, Default)]
pub(super) struct Events {
    latest: VecDeque<Event>,
    storm: bool,
}

impl Events {
    pub(super) fn latest(&self) -> &VecDeque<Event> {
        &self.latest
    }

    fn add(&mut self, at: u64, (kind, text): (&'static str, String)) {
        self.latest.push_front(Event { at, kind, text });
        self.latest.truncate(REMEMBERED);
    }

    /// The topology changed.
    pub(super) fn topology(&mut self, at: u64, before: &Topology, now: &Topology) {
        if before.version == 0 {
            return self.add(at, ("topology", format!("{} slots are covered", now.covered())));
        }
        let found = failovers(before, now)
            .chain(migrations(before, now))
            .chain(nodes(before, now))
            .chain(coverage(before, now));
        for event in found.collect::<Vec<_>>() {
            self.add(at, event);
        }
    }

    /// So many seconds have passed between the two.
    pub(super) fn counts(&mut self, at: u64, before: &Overview, now: &Overview, seconds: f64) {
        let rate = now.redirects.saturating_sub(before.redirects) as f64 / seconds;
        if (rate >= STORM) != self.storm {
            self.storm = !self.storm;
            let text = if self.storm {
                format!("{rate:.0} redirections a second")
            } else {
                "the redirections have ceased".to_owned()
            };
            self.add(at, ("redirects", text));
        }
        if now.reloads > before.reloads {
            self.add(at, ("reload", "settings loaded again".to_owned()));
        }
        if now.reload_failures > before.reload_failures {
            self.add(at, ("reload", "settings could not be loaded again: see the log".to_owned()));
        }
        for (address, node) in &now.nodes {
            let was = before.nodes.get(address).is_none_or(|before| before.up);
            match (was, node.up) {
                (true, false) => self.add(at, ("node", format!("{address} cannot be reached"))),
                (false, true) => self.add(at, ("node", format!("{address} is reached again"))),
                _ => {}
            }
        }
    }
}

type Found = (&'static str, String);

fn owners(topology: &Topology) -> HashMap<&str, &Shard> {
    topology.shards().iter().map(|shard| (&*shard.primary.id, shard)).collect()
}

/// Replicas that became primaries of slots.
fn failovers(before: &Topology, now: &Topology) -> impl Iterator<Item = Found> {
    let primaries = owners(before);
    let promoted: Vec<_> = now
        .shards()
        .iter()
        .filter(|shard| !primaries.contains_key(&*shard.primary.id))
        .filter_map(|shard| {
            let of = |old: &&Shard| old.replicas.iter().any(|node| node.id == shard.primary.id);
            let old = before.shards().iter().find(of)?;
            let (new, old) = (&shard.primary.address, &old.primary.address);
            Some(("failover", format!("{new} took over from {old}")))
        })
        .collect();
    promoted.into_iter()
}

/// Slots that went from one shard to another, both of which were there before.
fn migrations(before: &Topology, now: &Topology) -> impl Iterator<Item = Found> {
    let known = owners(before);
    let mut moved: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for slot in Slot::all() {
        if let (Some(old), Some(new)) = (before.primary_of(slot), now.primary_of(slot))
            && old.id != new.id
            && (known.contains_key(&*new.id) || !was_replica(before, new))
        {
            *moved.entry((&old.address, &new.address)).or_default() += 1;
        }
    }
    let lines = moved.into_iter().map(|((from, to), count)| {
        let slots = if count == 1 { "slot" } else { "slots" };
        ("slots", format!("{count} {slots} moved from {from} to {to}"))
    });
    lines.collect::<Vec<_>>().into_iter()
}

fn was_replica(before: &Topology, node: &Node) -> bool {
    before.shards().iter().any(|shard| shard.replicas.iter().any(|old| old.id == node.id))
}

/// Nodes that came, left, failed or recovered.
fn nodes(before: &Topology, now: &Topology) -> impl Iterator<Item = Found> {
    let old: HashMap<&str, &Node> = before.nodes().map(|node| (&*node.id, node)).collect();
    let new: HashMap<&str, &Node> = now.nodes().map(|node| (&*node.id, node)).collect();
    let mut found = Vec::new();
    for node in now.nodes() {
        let address = &node.address;
        match old.get(&*node.id).map(|old| old.health) {
            None => found.push(("node", format!("{address} joined"))),
            Some(health) if health != node.health && node.health == Health::Failed => {
                found.push(("node", format!("{address} is given up by the cluster")));
            }
            Some(Health::Failed) if node.health == Health::Online => {
                found.push(("node", format!("{address} is back in the cluster")));
            }
            Some(_) => {}
        }
    }
    let gone = before.nodes().filter(|node| !new.contains_key(&*node.id));
    found.extend(gone.map(|node| ("node", format!("{} left", node.address))));
    found.into_iter()
}

fn coverage(before: &Topology, now: &Topology) -> impl Iterator<Item = Found> {
    let (old, new) = (before.covered(), now.covered());
    let text = match Slot::COUNT - new {
        0 => "all slots are covered again".to_owned(),
        missing => format!("{missing} slots are not covered"),
    };
    (old != new).then_some(("coverage", text)).into_iter()
}
