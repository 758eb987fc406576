//! Commands for every primary, or for every node.
//!
//! A primary that does not answer is an error, never a hole in the reply. A replica is one too when it was to be
//! told something; where nodes are only asked, or told what they may forget anyway, a replica that does not
//! answer is passed over.

use std::sync::Arc;

use crate::cluster::{Health, Slot};
use crate::command::{Access, Retry, Target};
use crate::merge::report::{Part, Report};
use crate::merge::{Merge, ResponsePolicy};
use crate::resp::{Value, write};
use crate::route::pattern_slot;

use super::stage::{is_stage, without_stages};
use super::{Call, Outcome, Step, Steps, Stop, integer, is_error};

/// One node's share.
pub(super) struct Addressee {
    /// Where it is, for people.
    pub(super) name: Arc<str>,
    /// Passed over when it does not answer.
    spare: bool,
    step: Step,
}

/// What one node answered.
pub(super) struct Answer {
    pub(super) name: Arc<str>,
    pub(super) reply: Vec<u8>,
}

/// Sends the request as it came to everybody whom its row names, and merges the replies.
pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    match &*call.spec().name {
        "RANDOMKEY" => return random_key(steps).await,
        "KEYS" => return Ok(without_stages(steps, keys(steps, call).await?)),
        "CONFIG SET" => keep_credentials(call)?,
        _ => {}
    }
    let answers = everybody(steps, call).await?;
    if call.spec().merge == ResponsePolicy::Special {
        return special(steps, call, &answers);
    }
    let reply = merged(steps, call, &answers);
    if call.spec().name == "CONFIG RESETSTAT" && !is_error(&reply) {
        steps.worker.gateway.count_anew();
    }
    Ok(reply)
}

/// What the gateway and the nodes know each other by. If a client changed it at the nodes, they would let the gateway
/// in no more.
const CREDENTIALS: &[&str] =
    &["requirepass", "masterauth", "masteruser", "primaryauth", "primaryuser"];

fn keep_credentials(call: &Call) -> Result<(), Stop> {
    let request = call.request();
    let named = |name: &[u8]| {
        CREDENTIALS.iter().find(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
    };
    match request.args().skip(2).step_by(2).find_map(named) {
        None => Ok(()),
        Some(name) => Err(Stop::error(format!(
            "ERR CONFIG SET failed (possibly related to argument '{name}') - the nodes let the gateway in by it; \
             set it at each node and for the gateway"
        ))),
    }
}

async fn keys(steps: &Steps, call: &Call) -> Outcome {
    match pattern_slot(call.arg(1)) {
        Some(slot) => steps.one(steps.raw(slot, call.frame().to_vec()).repeatable()).await,
        None => Ok(merged(steps, call, &everybody(steps, call).await?)),
    }
}

/// What everybody whom the command's row names answers to the request.
pub(super) async fn everybody(steps: &Steps, call: &Call) -> Result<Vec<Answer>, Stop> {
    let addressees = addressees(steps, call)?;
    let (who, asked): (Vec<_>, Vec<Step>) =
        addressees.into_iter().map(|Addressee { name, spare, step }| ((name, spare), step)).unzip();
    let replies = steps.ask_all(asked).await?;
    let answers = who.into_iter().zip(replies);
    let answers = answers.filter(|((_, spare), reply)| !(*spare && is_error(reply)));
    Ok(answers.map(|((name, _), reply)| Answer { name, reply }).collect())
}

fn addressees(steps: &Steps, call: &Call) -> Result<Vec<Addressee>, Stop> {
    let spec = call.spec();
    let topology = steps.worker.pool.topology();
    let mut addressees = Vec::new();
    for slot in steps.shards()? {
        let primary = topology.primary_of(slot).ok_or(Stop::NotCovered)?;
        let step = allowed(steps, call, steps.raw(slot, call.frame().to_vec()));
        addressees.push(Addressee { name: primary.address.clone(), spare: false, step });
    }
    if spec.target == Target::Nodes {
        let asked = spec.retry == Retry::Read || spec.name.starts_with("SCRIPT ");
        let primaries = topology.shards().iter().map(|shard| &shard.primary.id);
        let primaries: Vec<&String> = primaries.collect();
        let others = topology.nodes().filter(|node| !primaries.contains(&&node.id));
        // One that is known not to answer would only be waited for.
        for node in others.filter(|node| !asked || node.health == Health::Online) {
            let step = steps.at_node(&node.address.as_ref().into(), call.frame().to_vec());
            let step = allowed(steps, call, step);
            addressees.push(Addressee { name: node.address.clone(), spare: asked, step });
        }
    }
    Ok(addressees)
}

/// Whether the step may be taken twice is for the command's row to say.
fn allowed(steps: &Steps, call: &Call, step: Step) -> Step {
    let idempotent = steps.worker.gateway.settings().backend.retry_idempotent;
    match call.spec().retry_for(&call.request()) {
        Retry::Read => step.repeatable(),
        Retry::Idempotent if idempotent => step.repeatable(),
        _ => step,
    }
}

/// The replies as one, by the policy of the command's row.
pub(super) fn merged(steps: &Steps, call: &Call, answers: &[Answer]) -> Vec<u8> {
    let order = (0..answers.len() as u32).collect();
    let mut merge = Merge::new(call.spec().merge, order, std::iter::repeat_n(1, answers.len()));
    for (answer, part) in answers.iter().zip(0..) {
        merge.fold(part, &answer.reply);
    }
    let mut out = Vec::new();
    merge.write(&mut out);
    if merge.is_partial() {
        steps.worker.metrics.partial_failure();
        if call.spec().access == Access::Neither {
            name_the_node(answers, &mut out);
        }
    }
    out
}

/// Some nodes did what they were told, and this error is of one that did not: says which.
fn name_the_node(answers: &[Answer], error: &mut Vec<u8>) {
    let failed = answers.iter().filter(|answer| is_error(&answer.reply)).count();
    let of = answers.iter().find(|answer| answer.reply == *error);
    if let (Some(of), Some(text)) = (of, error.strip_suffix(b"\r\n")) {
        let rest = format!(" ({}; {failed} of {} nodes failed)\r\n", of.name, answers.len());
        *error = [text, rest.as_bytes()].concat();
    }
}

/// Replies that are not simply added up.
fn special(steps: &Steps, call: &Call, answers: &[Answer]) -> Outcome {
    let report =
        Report::of(&call.spec().name).ok_or_else(|| Stop::Unsupported(call.spec().wire_name()))?;
    let parts: Vec<Part<'_>> =
        answers.iter().map(|answer| Part { node: &answer.name, reply: &answer.reply }).collect();
    let request = call.request();
    let arguments: Vec<&[u8]> = request.args().collect();
    Ok(report.write(&arguments, &parts, steps.manner.protocol)?)
}

/// `RANDOMKEY`: every key is as likely as any other, whichever primary it is on.
async fn random_key(steps: &Steps) -> Outcome {
    let shards = steps.shards()?;
    let sizes = shards.iter().map(|slot| steps.step(*slot, &["DBSIZE"]).repeatable());
    let mut candidates: Vec<(Slot, u64)> = Vec::new();
    for (slot, size) in shards.iter().zip(steps.all(sizes.collect()).await?) {
        candidates.push((*slot, u64::try_from(integer(&size)?).unwrap_or_default()));
    }
    while let Some(at) = draw(&candidates) {
        let (slot, _) = candidates.swap_remove(at);
        let reply = steps.one(steps.step(slot, &["RANDOMKEY"]).repeatable()).await?;
        // What was counted may have expired since.
        if !Value::parse(&reply)?.is_null() && !is_stage(steps, &reply) {
            return Ok(reply);
        }
    }
    let mut out = Vec::new();
    write::null(&mut out, steps.manner.protocol);
    Ok(out)
}

/// Chooses by weight; `None` when nothing weighs anything.
fn draw(candidates: &[(Slot, u64)]) -> Option<usize> {
    let total: u64 = candidates.iter().map(|(_, weight)| weight).sum();
    if total == 0 {
        return None;
    }
    let mut point = fastrand::u64(0..total);
    candidates.iter().position(|(_, weight)| {
        let here = point < *weight;
        point = point.saturating_sub(*weight);
        here
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_goes_by_weight() {
        let slot = Slot::of(b"");
        assert_eq!(draw(&[]), None);
        assert_eq!(draw(&[(slot, 0), (slot, 0)]), None);
        assert_eq!(draw(&[(slot, 0), (slot, 5), (slot, 0)]), Some(1));
        let mut drawn = [0; 3];
        for _ in 0..3_000 {
            drawn[draw(&[(slot, 1), (slot, 0), (slot, 2)]).unwrap()] += 1;
        }
        assert_eq!(drawn[1], 0);
        assert!((800..1_200).contains(&drawn[0]), "{drawn:?}");
    }
}
