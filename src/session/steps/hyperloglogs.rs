//! HyperLogLogs in several slots: `PFCOUNT` and `PFMERGE`.

use crate::cluster::Slot;
use crate::merge::hyperloglog::Registers;
use crate::resp::Value;

use super::call::Call;
use super::gather::{bytes_of, unbroken};
use super::store::{Block, number};
use super::{Outcome, Steps, Stop, is_error};

/// Sources that are read at once.
const AT_ONCE: usize = 1000;

/// `PFCOUNT key ...`
pub(super) async fn count(steps: &Steps, call: &Call) -> Outcome {
    let registers = merged(steps, call).await?;
    Ok(number(usize::try_from(registers.estimate()).unwrap_or(0)))
}

/// `PFMERGE destination key ...`: the destination takes part. It is merged where it stands, so nothing that is
/// added to it meanwhile is lost, and it keeps its time to live. The sources come there as one value, under a
/// key that nobody sees, since it is gone when the transaction ends.
pub(super) async fn merge(steps: &Steps, call: &Call) -> Outcome {
    let at = call.destination();
    let registers = match merged(steps, call).await {
        Ok(registers) => registers,
        Err(stop) => {
            // The destination is looked at before the sources; so its error comes first.
            unbroken(steps.ask_each(call, "PFCOUNT", &[at]).await?)?;
            return Err(stop);
        }
    };
    let key = call.arg(at);
    let stage = stage(key);
    let mut block = Block::new();
    block.push(&[b"SET", &stage[..], &registers.encode()]);
    block.push(&[b"PFMERGE", key, &stage]);
    block.push(&[b"DEL", &stage[..]]);
    steps.commit(call, at, block).await?;
    Ok(b"+OK\r\n".to_vec())
}

/// All sources in one. There may be many of them, so they are read in batches.
async fn merged(steps: &Steps, call: &Call) -> Result<Registers, Stop> {
    let mut registers = Registers::default();
    for keys in call.sources().chunks(AT_ONCE) {
        let replies = steps.ask_each(call, "GET", keys).await?;
        let bytes = bytes_of(&replies);
        registers = steps.compute(bytes, move || with_all(registers, replies)).await??;
        steps.share.give_back(bytes);
    }
    Ok(registers)
}

fn with_all(mut registers: Registers, replies: Vec<Vec<u8>>) -> Result<Registers, Stop> {
    for reply in replies {
        if is_error(&reply) {
            return Err(Stop::Node(reply));
        }
        match Value::parse(&reply)? {
            Value::Null => {}
            Value::Bulk(value) => registers.add(value)?,
            _ => return Err(Stop::Unexpected),
        }
    }
    Ok(registers)
}

/// A key in the slot of another one.
fn stage(key: &[u8]) -> Vec<u8> {
    let slot = Slot::of(key);
    let named = |tag: &[u8]| [b"__gw:{", tag, b"}:merge"].concat();
    let own = named(key);
    if Slot::of(&own) == slot {
        return own;
    }
    let numbers = (0_u32..).map(|number| named(itoa::Buffer::new().format(number).as_bytes()));
    numbers.into_iter().find(|stage| Slot::of(stage) == slot).unwrap_or(own)
}
