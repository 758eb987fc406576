//! SMOVE over two slots: the member is in the destination before it leaves the source.

use crate::cluster::Slot;
use crate::resp::{Value, write};

use super::{Call, Outcome, Steps, Stop, WRONG_TYPE, integer};

pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let (source, destination, member) = (call.arg(1), call.arg(2), call.arg(3));
    let moved = relocate(steps, source, destination, member).await?;
    let mut reply = Vec::new();
    write::integer(&mut reply, i64::from(moved));
    Ok(reply)
}

async fn relocate(
    steps: &Steps,
    source: &[u8],
    destination: &[u8],
    member: &[u8],
) -> Result<bool, Stop> {
    let (from, to) = (Slot::of(source), Slot::of(destination));
    let ask = |slot, words: &[&[u8]]| steps.step(slot, words).repeatable();
    let questions = vec![
        ask(from, &[b"TYPE", source]),
        ask(to, &[b"TYPE", destination]),
        ask(from, &[b"SISMEMBER", source, member]),
    ];
    let replies = steps.ask_all(questions).await?;
    let [source_type, destination_type, is_member] = replies.as_slice() else {
        return Err(Stop::Unexpected);
    };
    Stop::at_error(source_type)?;
    Stop::at_error(destination_type)?;
    let (source_type, destination_type) =
        (Value::parse(source_type)?, Value::parse(destination_type)?);
    if source_type.as_str() == Some("none") {
        return Ok(false);
    }
    if source_type.as_str() != Some("set")
        || !matches!(destination_type.as_str(), Some("set" | "none"))
    {
        return Err(Stop::Refused(WRONG_TYPE));
    }
    Stop::at_error(is_member)?;
    if integer(is_member)? == 0 {
        return Ok(false);
    }
    let tell = |slot, words: &[&[u8]]| steps.one(steps.step(slot, words));
    let added = integer(&tell(to, &[b"SADD", destination, member]).await?)?;
    let removed = integer(&tell(from, &[b"SREM", source, member]).await?)?;
    if removed == 0 && added == 1 {
        // Somebody else was first.
        tell(to, &[b"SREM", destination, member]).await?;
    }
    Ok(removed == 1)
}
