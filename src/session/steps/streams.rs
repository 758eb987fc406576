//! `XREAD` and `XREADGROUP` over several slots, when they do not wait: each slot is asked for its streams.

use std::collections::HashSet;

use crate::command::Retry;
use crate::merge::streams;

use super::call::Call;
use super::gather::Group;
use super::{Outcome, Steps, Stop, is_error, request};

/// Merges what the slots have. A part that fails fails the whole; what `XREADGROUP` delivered elsewhere stays
/// pending there, and the client gets it with the ID 0.
pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let keys = call.sources();
    let first = keys.first().copied().unwrap_or_default();
    if !(call.len() - first).is_multiple_of(2) {
        return unbalanced(steps, call, first).await;
    }
    let reads = call.spec().retry == Retry::Read;
    let ask = |group: &Group| {
        let step = steps.raw(group.slot, part(call, first, &group.keys)).splittable();
        if reads { step.repeatable() } else { step }
    };
    let names: Vec<&[u8]> = keys.iter().map(|&at| call.arg(at)).collect();
    let answered = steps.ask_groups(groups(call, &keys, &names), ask).await?;
    if let Some((_, error)) = answered.iter().find(|(_, reply)| is_error(reply)) {
        return Err(Stop::Node(error.clone()));
    }
    let places = |group: Group| group.keys.iter().map(|at| at - first).collect();
    let parts: Vec<(Vec<usize>, Vec<u8>)> =
        answered.into_iter().map(|(group, reply)| (places(group), reply)).collect();
    Ok(streams::merge(&names, &parts, steps.manner.protocol)?)
}

/// One for every slot. A reply names its streams, so one that stands in the request twice is asked for twice.
fn groups(call: &Call, keys: &[usize], names: &[&[u8]]) -> Vec<Group> {
    let different: HashSet<&[u8]> = names.iter().copied().collect();
    if different.len() == names.len() {
        return Group::by_slot(call, keys);
    }
    keys.iter().map(|&at| Group { slot: call.slot(at), keys: vec![at] }).collect()
}

/// Everything up to `STREAMS`, then these keys, then their IDs.
fn part(call: &Call, first: usize, keys: &[usize]) -> Vec<u8> {
    let count = (call.len() - first) / 2;
    let ids = keys.iter().map(|at| at + count);
    let words = (0..first).chain(keys.iter().copied()).chain(ids);
    request(&words.map(|at| call.arg(at)).collect::<Vec<_>>())
}

/// A request that lacks an ID, with one key in all places: its text differs from version to version, and the
/// node that owns this key tells it.
async fn unbalanced(steps: &Steps, call: &Call, first: usize) -> Outcome {
    let words = (0..first).chain(std::iter::repeat_n(first, call.len() - first));
    let request = request(&words.map(|at| call.arg(at)).collect::<Vec<_>>());
    steps.one(steps.raw(call.slot(first), request)).await
}
