//! What the status page shows, as JSON.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;

use super::State;
use super::events::Event;
use super::history::{NodeRates, Point};
use super::readiness::Verdict;
use crate::cluster::{Health, Node, Shard, Slot, Topology, Vitals};
use crate::metrics::{NodeOverview, Overview};
use crate::observe::{BigKey, HotKey, Slow};

/// Entries of each list.
const SHOWN: usize = 20;

#[derive(Serialize)]
struct Status<'a> {
    version: &'static str,
    ready: Verdict,
    topology: Cluster<'a>,
    totals: &'a Overview,
    history: &'a VecDeque<Point>,
    events: &'a VecDeque<Event>,
    hot_keys: Vec<HotKey>,
    big_keys: Vec<BigKey>,
    slow_log: Vec<&'a Slow>,
}

#[derive(Serialize)]
struct Cluster<'a> {
    version: u64,
    epoch: u64,
    /// First slot, last slot, and the number of the shard; without one nobody serves them.
    slots: Vec<(usize, usize, Option<usize>)>,
    /// Slots on their way: the slot, the node that gives it away, the one that gets it.
    moving: Vec<(u16, &'a str, &'a str)>,
    nodes: Vec<Member<'a>>,
}

#[derive(Serialize)]
struct Member<'a> {
    address: &'a str,
    id: &'a str,
    role: &'static str,
    /// The number of its shard; none for a node outside all of them.
    shard: Option<usize>,
    health: &'static str,
    #[serde(flatten)]
    counts: NodeOverview,
    lately: NodeRates,
    /// What it says of itself; none while it has not been asked.
    vitals: Option<Said>,
}

#[derive(Serialize)]
struct Said {
    memory: u64,
    /// 0 means that there is none.
    memory_limit: u64,
    operations: u64,
    evicted: u64,
    /// Bytes of its primary's writes that a replica lacks; none when it has no link to it.
    behind: Option<u64>,
}

/// The text of `/status.json`.
pub(super) fn status(state: &State) -> serde_json::Result<Vec<u8>> {
    state.looked_at.notify_one();
    let (history, topology) = (state.history.borrow(), state.topology.load());
    let (totals, vitals) = (state.metrics.overview(), state.vitals.borrow());
    let said = |node: &Node, shard| said(&vitals, node, topology.shards().get(shard?));
    let nodes = members(&topology).into_iter().map(|(node, role, shard)| Member {
        address: &node.address,
        id: &node.id,
        role,
        shard,
        health: health(node.health),
        counts: totals.nodes.get(&*node.address).copied().unwrap_or_default(),
        lately: history.rates(&node.address),
        vitals: said(node, shard),
    });
    let slow_log = state.sights.slow_log(SHOWN);
    serde_json::to_vec(&Status {
        version: env!("CARGO_PKG_VERSION"),
        ready: state.readiness.verdict(),
        topology: Cluster {
            version: topology.version,
            epoch: topology.epoch,
            slots: runs(&topology),
            moving: moving(&vitals, &topology),
            nodes: nodes.collect(),
        },
        totals: &totals,
        history: history.points(),
        events: history.events(),
        hot_keys: state.sights.hot_keys(SHOWN),
        big_keys: state.sights.big_keys(SHOWN),
        slow_log: slow_log.iter().map(AsRef::as_ref).collect(),
    })
}

/// Every node with its role and the number of its shard.
fn members(topology: &Topology) -> Vec<(&Node, &'static str, Option<usize>)> {
    let mut members = Vec::new();
    for (number, shard) in topology.numbered_shards() {
        let number = Some(number.index());
        members.push((&shard.primary, "primary", number));
        members.extend(shard.replicas.iter().map(|node| (node, "replica", number)));
    }
    members.extend(topology.idle().iter().map(|node| (node, "idle", None)));
    members
}

/// What a node says of itself, compared with what the primary of its shard says.
fn said(vitals: &HashMap<Arc<str>, Vitals>, node: &Node, shard: Option<&Shard>) -> Option<Said> {
    let own = vitals.get(&node.address)?;
    let primary = shard.and_then(|shard| vitals.get(&shard.primary.address));
    let primary = primary.and_then(|primary| primary.progress.as_ref());
    Some(Said {
        memory: own.memory,
        memory_limit: own.memory_limit,
        operations: own.operations,
        evicted: own.evicted,
        behind: own.progress.as_ref().and_then(|own| own.behind(primary?)),
    })
}

/// The slots that primaries are giving away, as they say themselves.
fn moving<'a>(
    vitals: &HashMap<Arc<str>, Vitals>,
    topology: &'a Topology,
) -> Vec<(u16, &'a str, &'a str)> {
    let mut moving = Vec::new();
    for shard in topology.shards() {
        let own = vitals.get(&shard.primary.address);
        for (slot, id) in own.into_iter().flat_map(|own| &own.moving) {
            let to = topology.nodes().find(|node| node.id == *id);
            let to = to.map_or("a node that is not known yet", |node| &*node.address);
            moving.push((*slot, &*shard.primary.address, to));
        }
    }
    moving
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Online => "online",
        Health::Suspected => "suspected",
        Health::Failed => "failed",
    }
}

/// Slots that follow each other and have the same shard.
fn runs(topology: &Topology) -> Vec<(usize, usize, Option<usize>)> {
    let mut runs: Vec<(usize, usize, Option<usize>)> = Vec::new();
    for slot in Slot::all() {
        let shard = topology.shard_of(slot).map(|shard| shard.index());
        match runs.last_mut() {
            Some((_, last, of)) if *of == shard => *last = slot.index(),
            _ => runs.push((slot.index(), slot.index(), shard)),
        }
    }
    runs
}
