//! Agreement: the views of several nodes become one topology, in which the newest word on each slot wins.
//!
//! The rules, in this order:
//!
//! 1. When a node that takes the cluster for working answered, the words of nodes that do not are left out:
//!    a node cut off with a minority says `fail`.
//! 2. A slot belongs to the claim with the highest config epoch. The cluster gives a new, higher epoch to every
//!    failover and to every slot that finished moving, so the higher is the newer. Between equal epochs the
//!    owner's own word counts more than another's, then the answer that came first.
//! 3. What is published already takes part as a memory, so that a stale view cannot undo a newer one. A memory of
//!    a slot with epoch `e` holds against silence and against claims with a lower epoch, until the owner itself
//!    gives the slot up, or somebody knows the owner with a higher epoch, or no working node knows the owner.
//! 4. Views without one node in common with the memory are of a new cluster. It replaces the old one once it works.

use std::collections::HashMap;

use super::{Health, Node, Role, Seen, Shard, ShardIndex, Slot, Topology, View};

/// The topology that `views`, the answers of one round in the order of their arrival, make of the one `published`
/// before. Its version is that of `published` when nothing changed, else one more. None when the views say nothing.
pub fn merge_views(views: &[View], published: &Topology) -> Option<Topology> {
    let working = views.iter().any(|view| view.healthy);
    let views: Vec<&View> = views.iter().filter(|view| view.healthy == working).collect();
    let roll = Roll::call(&views);
    let same_cluster = published.nodes().any(|node| roll.0.contains_key(node.id.as_str()));
    if roll.0.is_empty() || (published.nodes().next().is_some() && !same_cluster && !working) {
        return None;
    }

    let mut claims = claims_of(&views);
    if same_cluster {
        defend(&mut claims, published, |shard| Memory::of(shard, &views, &roll));
    }
    let mut next = assemble(&claims, &roll, published);
    next.epoch = views.iter().map(|view| view.current_epoch).max().unwrap_or_default();
    if same_cluster {
        next.epoch = next.epoch.max(published.epoch);
    }
    next.version = if next.same_as(published) { published.version } else { published.version + 1 };
    Some(next)
}

/// What all views together know of each node, by id.
struct Roll<'a>(HashMap<&'a str, Known<'a>>);

struct Known<'a> {
    /// The newest word on it.
    newest: &'a Seen,
    /// The newest word on it that has an address: one viewer may know it and another not.
    placed: Option<&'a Seen>,
    /// The worst opinion.
    health: Health,
}

impl<'a> Roll<'a> {
    fn call(views: &[&'a View]) -> Self {
        let mut roll = HashMap::new();
        for seen in
            views.iter().flat_map(|view| &view.nodes).filter(|seen| seen.role != Role::Unknown)
        {
            let known = roll.entry(seen.id.as_str()).or_insert(Known {
                newest: seen,
                placed: None,
                health: seen.health,
            });
            known.newest = newer(known.newest, seen);
            if seen.address.is_some() {
                known.placed = Some(known.placed.map_or(seen, |placed| newer(placed, seen)));
            }
            known.health = known.health.max(seen.health);
        }
        Self(roll)
    }

    /// The node as it goes into the topology; none when nobody knows or remembers where it is.
    fn node(&self, id: &str, published: &Topology) -> Option<Node> {
        let known = self.0.get(id);
        let place = known
            .and_then(|known| known.placed)
            .and_then(|seen| Some((seen.address.clone()?, seen)));
        let Some((address, seen)) = place else {
            return published.nodes().find(|node| node.id == id).cloned();
        };
        let announced =
            seen.announced.iter().filter(|&place| **place != *address).cloned().collect();
        Some(Node {
            id: id.to_owned(),
            address,
            announced,
            health: known.map_or(seen.health, |known| known.health),
        })
    }
}

/// The word with the higher epoch; of two equal ones the node's own, else the first.
fn newer<'a>(held: &'a Seen, seen: &'a Seen) -> &'a Seen {
    if (seen.epoch, seen.myself) > (held.epoch, held.myself) { seen } else { held }
}

/// Somebody's word on who owns a slot.
#[derive(Clone, Copy)]
struct Claim<'a> {
    owner: &'a str,
    epoch: u64,
    /// Told by the owner itself.
    own: bool,
}

/// The strongest claim to each slot, of [`Slot::COUNT`].
fn claims_of<'a>(views: &[&'a View]) -> Vec<Option<Claim<'a>>> {
    let mut claims: Vec<Option<Claim<'a>>> = vec![None; Slot::COUNT];
    for seen in views.iter().flat_map(|view| &view.nodes).filter(|seen| seen.role == Role::Primary)
    {
        let claim = Claim { owner: &seen.id, epoch: seen.epoch, own: seen.myself };
        for range in &seen.slots {
            let (first, last) = (usize::from(*range.start()), usize::from(*range.end()));
            for held in claims.get_mut(first..=last).into_iter().flatten() {
                if held.is_none_or(|held| (claim.epoch, claim.own) > (held.epoch, held.own)) {
                    *held = Some(claim);
                }
            }
        }
    }
    claims
}

/// How far a published shard may still be believed.
struct Memory {
    /// The config epoch under which its primary was published.
    epoch: u64,
    /// The highest epoch with which the views know that primary.
    known: Option<u64>,
    /// No longer to be believed at all: the primary spoke for itself, or working nodes have forgotten it.
    void: bool,
}

impl Memory {
    fn of(shard: &Shard, views: &[&View], roll: &Roll<'_>) -> Self {
        let id = shard.primary.id.as_str();
        let known = roll.0.get(id).map(|known| known.newest.epoch);
        let answered = views.iter().filter_map(|view| view.viewer()).any(|seen| seen.id == id);
        let working = views.iter().any(|view| view.healthy);
        Self { epoch: shard.epoch, known, void: answered || (working && known.is_none()) }
    }

    fn holds_against(&self, claim: Option<&Claim<'_>>) -> bool {
        let outdated = match claim {
            Some(claim) => claim.epoch >= self.epoch || self.known > Some(self.epoch),
            None => self.known >= Some(self.epoch),
        };
        !self.void && !outdated
    }
}

/// Puts the published owner back where the views only have older claims.
fn defend<'a>(
    claims: &mut [Option<Claim<'a>>],
    published: &'a Topology,
    memory_of: impl Fn(&Shard) -> Memory,
) {
    let memories: Vec<Memory> = published.shards.iter().map(memory_of).collect();
    for (claim, number) in claims.iter_mut().zip(published.slots.iter()) {
        let remembered = memories.get(number.index()).zip(published.shard(*number));
        if let Some((_, shard)) =
            remembered.filter(|(memory, _)| memory.holds_against(claim.as_ref()))
        {
            *claim = Some(Claim { owner: &shard.primary.id, epoch: shard.epoch, own: false });
        }
    }
}

/// Groups the owners of slots with their replicas.
fn assemble<'a>(claims: &[Option<Claim<'a>>], roll: &Roll<'_>, published: &Topology) -> Topology {
    let mut next = Topology::empty();
    let mut numbers: HashMap<&str, ShardIndex> = HashMap::new();
    let mut number_of = |claim: &Claim<'a>, shards: &mut Vec<Shard>| {
        *numbers.entry(claim.owner).or_insert_with(|| {
            let Some(primary) = roll.node(claim.owner, published) else {
                return ShardIndex::NOBODY;
            };
            shards.push(Shard { primary, replicas: Vec::new(), epoch: claim.epoch });
            u16::try_from(shards.len() - 1).map_or(ShardIndex::NOBODY, ShardIndex)
        })
    };
    // Neighbours mostly belong together.
    let mut latest = None;
    for (slot, claim) in next.slots.iter_mut().zip(claims) {
        let Some(claim) = claim else { continue };
        let same = latest.filter(|(owner, _)| *owner == claim.owner);
        let number = same.map_or_else(|| number_of(claim, &mut next.shards), |(_, number)| number);
        latest = Some((claim.owner, number));
        if let Some(shard) = next.shards.get_mut(number.index()) {
            shard.epoch = shard.epoch.max(claim.epoch);
            *slot = number;
        }
    }

    let mut others: Vec<&Seen> = roll.0.values().map(|known| known.newest).collect();
    others.retain(|seen| !numbers.contains_key(seen.id.as_str()));
    others.sort_unstable_by_key(|seen| &seen.id);
    for seen in others {
        let Some(node) = roll.node(&seen.id, published) else { continue };
        let number = match &seen.role {
            Role::ReplicaOf(primary) => numbers.get(primary.as_str()),
            Role::Primary | Role::Unknown => None,
        };
        let shard = number.and_then(|number| next.shards.get_mut(number.index()));
        shard.map_or(&mut next.idle, |shard| &mut shard.replicas).push(node);
    }
    next
}

#[cfg(test)]
mod tests;
