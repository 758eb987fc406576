//! Commands for every primary, or for every node.

use crate::command::Class;
use crate::merge::{Merge, ResponsePolicy};

use super::{Call, Outcome, Step, Steps, Stop};

/// Sends the request as it came to everybody whom its row names, and merges the replies.
pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let replies = steps.ask_all(everybody(steps, call)?).await?;
    if call.spec().merge == ResponsePolicy::Special {
        return Err(Stop::Unsupported(call.spec().wire_name()));
    }
    Ok(merged(call.spec().merge, &replies))
}

fn everybody(steps: &Steps, call: &Call) -> Result<Vec<Step>, Stop> {
    if call.spec().class == Class::AllMasters {
        let shards = steps.shards()?;
        return Ok(shards.into_iter().map(|slot| steps.raw(slot, call.frame().to_vec())).collect());
    }
    let topology = steps.worker.pool.topology();
    let nodes = topology.nodes();
    Ok(nodes
        .map(|node| steps.at_node(&node.address.as_ref().into(), call.frame().to_vec()))
        .collect())
}

fn merged(policy: ResponsePolicy, replies: &[Vec<u8>]) -> Vec<u8> {
    let count = replies.len() as u32;
    let order = (0..count).collect();
    let mut merge = Merge::new(policy, order, std::iter::repeat_n(1, replies.len()));
    for (reply, part) in replies.iter().zip(0..) {
        merge.fold(part, reply);
    }
    let mut out = Vec::new();
    merge.write(&mut out);
    out
}
