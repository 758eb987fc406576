//! LMOVE and RPOPLPUSH over two slots: an element is taken, put on a stage, and brought to its destination.

use crate::resp::{Value, write};

use super::stage::{End, Stage, Way};
use super::{CROSSSLOT, Call, Outcome, Steps, Stop, WRONG_TYPE};

pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let (from, to) = match &*call.spec().name {
        "RPOPLPUSH" | "BRPOPLPUSH" => (Some(End::Right), Some(End::Left)),
        _ => (End::read(call.arg(3)), End::read(call.arg(4))),
    };
    let (Some(from), Some(to)) = (from, to) else { return Err(Stop::Refused("ERR syntax error")) };
    if steps.manner.database > 0 {
        // Nobody looks there for elements that were left on their way.
        return Err(Stop::Refused(CROSSSLOT));
    }
    let (source, destination) = (call.arg(1).to_vec(), call.arg(2).to_vec());
    let element = pass(steps, Way { source, destination, from, to }).await?;
    let mut reply = Vec::new();
    match element {
        Some(element) => write::bulk(&mut reply, element),
        None => write::null(&mut reply, steps.manner.protocol),
    }
    Ok(reply)
}

/// Brings one element from the one list to the other; `None` when there is none.
pub(super) async fn pass(steps: &Steps, way: Way) -> Result<Option<Vec<u8>>, Stop> {
    if !are_lists(steps, &way).await? {
        return Ok(None);
    }
    let stage = Stage::new(steps, way);
    let (source, destination) = (stage.way().source_slot(), stage.way().destination_slot());
    let left = steps.one(steps.block(source, &stage.leave())).await;
    let element = match left.and_then(|reply| element_of(&reply, 0)) {
        Ok(Some(element)) => element,
        Err(stop) if stop.is_uncertain() => return Err(stop),
        nothing => {
            put_back(steps, &stage).await;
            return nothing;
        }
    };
    let arrived = steps.one(steps.block(destination, &stage.arrive(&element))).await;
    match arrived.and_then(|reply| element_of(&reply, 1)) {
        Ok(_) => {}
        // Nobody knows where it is: it goes back later, unless its receipt is found.
        Err(stop @ Stop::TooLarge) => return Err(stop),
        Err(stop) if stop.is_uncertain() => return Err(stop),
        Err(stop) => {
            put_back(steps, &stage).await;
            return Err(stop);
        }
    }
    steps.one(steps.block(source, &stage.clear())).await?;
    steps.let_go(steps.raw(destination, stage.tear_up()));
    Ok(Some(element))
}

/// Whether the source is there; an error when either is no list.
async fn are_lists(steps: &Steps, way: &Way) -> Result<bool, Stop> {
    let questions = vec![
        steps.step(way.source_slot(), &[b"TYPE", &*way.source]).repeatable(),
        steps.step(way.destination_slot(), &[b"TYPE", &*way.destination]).repeatable(),
    ];
    let replies = steps.all(questions).await?;
    let [source, destination] = replies.as_slice() else { return Err(Stop::Unexpected) };
    let (source, destination) = (Value::parse(source)?, Value::parse(destination)?);
    match (source.as_str(), destination.as_str()) {
        (Some("none"), _) => Ok(false),
        (Some("list"), Some("list" | "none")) => Ok(true),
        _ => Err(Stop::Refused(WRONG_TYPE)),
    }
}

/// The element at this place of a transaction's replies, or the error that stands there.
fn element_of(replies: &[u8], at: usize) -> Result<Option<Vec<u8>>, Stop> {
    let replies = Value::parse(replies)?;
    match replies.as_array().and_then(|replies| replies.get(at)) {
        Some(Value::Error(text)) => Err(Stop::error(text)),
        Some(Value::Null) => Ok(None),
        Some(value) => Ok(value.bytes().map(<[u8]>::to_vec)),
        None => Err(Stop::Unexpected),
    }
}

/// What could not arrive goes back, if anything had left. Should that fail too, it goes back later.
async fn put_back(steps: &Steps, stage: &Stage) {
    let slot = stage.way().source_slot();
    let back = [stage.go_back(), stage.strike()];
    if steps.one(steps.block(slot, &back)).await.is_ok() {
        steps.let_go(steps.raw(stage.way().destination_slot(), stage.tear_up()));
    } else {
        tracing::warn!(slot = slot.index(), "an element waits on its stage, to go back later");
    }
}
