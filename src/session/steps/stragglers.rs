//! Keys that a scan would miss because they are being moved.
//!
//! While a slot migrates, its keys go over one by one, and the slot's owner stays the same until the last one
//! has gone. A key may go to a node that was scanned before it came, from one that is scanned after it left.
//! So when a node has been scanned, what has gone over from its migrating slots is looked up where it went.
//! And the node says itself which slots it has, and since when: if that is not what the topology says, the scan
//! has to go on under the new one.

use std::ops::RangeInclusive;

use crate::acl::glob::{self, Case};
use crate::cluster::{ShardIndex, Slot, Topology, given_away, own_line, slot_range};
use crate::resp::Value;
use crate::route::Visit;

use super::scan::Filter;
use super::{Steps, Stop, integer, request};

/// The wanted keys that the visited node has handed over from slots that it still owns. `None`: it does not own
/// what the topology says.
pub(super) async fn stragglers(
    steps: &Steps,
    filter: &Filter,
    visit: &Visit,
    topology: &Topology,
) -> Result<Option<Vec<Vec<u8>>>, Stop> {
    let source = visit.node(topology).ok_or(Stop::NotCovered)?;
    let question = request(&["CLUSTER", "NODES"]);
    let view =
        steps.one(steps.at_node(&source.address.as_ref().into(), question).repeatable()).await?;
    let view = Value::parse(&view)?;
    let own = Own::read(view.as_str().ok_or(Stop::Unexpected)?);
    if !own.is_whole_of(visit.shard(), topology) {
        return Ok(None);
    }
    let mut found = Vec::new();
    for (slot, to) in own.migrations {
        let Some(target) = topology.nodes().find(|node| node.id == to) else { return Ok(None) };
        let (slot, target) = (slot.to_string(), target.address.as_ref().into());
        let count = request(&["CLUSTER", "COUNTKEYSINSLOT", &slot]);
        let count = steps.one(steps.at_node(&target, count).repeatable()).await?;
        let count = integer(&count)?.to_string();
        let keys = request(&["CLUSTER", "GETKEYSINSLOT", &slot, &count]);
        found.extend(texts(&steps.one(steps.at_node(&target, keys).repeatable()).await?)?);
    }
    found.retain(|key| {
        // A server does not even look at a star alone, so the empty key matches it, too.
        let wanted = |pattern: &[u8]| pattern == b"*" || glob::matches(pattern, key, Case::Matters);
        filter.pattern.as_deref().is_none_or(wanted)
    });
    of_kind(steps, filter, found).await.map(Some)
}

/// The strings in an array.
fn texts(reply: &[u8]) -> Result<Vec<Vec<u8>>, Stop> {
    let list = Value::parse(reply)?;
    let list = list.as_array().ok_or(Stop::Unexpected)?;
    Ok(list.iter().filter_map(Value::bytes).map(<[u8]>::to_vec).collect())
}

/// Those of the wanted type.
async fn of_kind(steps: &Steps, filter: &Filter, keys: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Stop> {
    let Some(kind) = &filter.kind else { return Ok(keys) };
    let questions =
        keys.iter().map(|key| steps.step(Slot::of(key), &[b"TYPE".as_slice(), key]).repeatable());
    let kinds = steps.all(questions.collect()).await?;
    let is_wanted = |reply: &Vec<u8>| {
        Value::parse(reply)
            .is_ok_and(|it| it.bytes().is_some_and(|it| it.eq_ignore_ascii_case(kind)))
    };
    Ok(keys.into_iter().zip(kinds).filter(|(_, it)| is_wanted(it)).map(|(key, _)| key).collect())
}

/// What a node says of itself in CLUSTER NODES: its slots, and behind them `[93->-292f..]` for one on its way out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Own {
    epoch: u64,
    slots: Vec<RangeInclusive<u16>>,
    /// Those on their way, each with the id of the node that gets it.
    migrations: Vec<(u16, String)>,
}

impl Own {
    fn read(view: &str) -> Self {
        let mut words = own_line(view).unwrap_or_default().split(' ').skip(6);
        let epoch = words.next().and_then(|epoch| epoch.parse().ok()).unwrap_or_default();
        let slots = words.skip(1).filter_map(slot_range).collect();
        Self { epoch, slots, migrations: given_away(view).collect() }
    }

    /// Whether these are the slots that the topology gives this shard, from the same epoch.
    fn is_whole_of(&self, shard: ShardIndex, topology: &Topology) -> bool {
        let slots = || (0..Slot::COUNT as u16).filter_map(Slot::new);
        let given = slots().filter(|slot| topology.shard_of(*slot) == Some(shard));
        let own = self.slots.iter().cloned().flatten().filter_map(Slot::new);
        topology.shard(shard).is_some_and(|shard| shard.epoch == self.epoch) && own.eq(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_speaks_of_itself() {
        let view = "0a 127.0.0.1:1@2 master - 0 1 2 connected 0-99 [5->-ff]\n\
                    0b 127.0.0.1:3@4 myself,master - 0 1 2 connected 100-199 300 [150->-0a] [160-<-0a] [170->-0c]\n";
        let migration = |slot, to: &str| (slot, to.to_owned());
        assert_eq!(
            Own::read(view),
            Own {
                epoch: 2,
                slots: vec![100..=199, 300..=300],
                migrations: vec![migration(150, "0a"), migration(170, "0c")],
            }
        );
        for view in [
            "",
            "0b 127.0.0.1:3@4 myself,slave 0a 0 1 0 connected",
            "0a 127.0.0.1:1@2 master - 0 1 2 connected 0-99 [5->-ff]",
            "a b myself - 0 0 0 connected [x->-0a] [] [->-] - x-y 70000",
        ] {
            assert_eq!(Own::read(view), Own::default(), "{view}");
        }
    }
}
