//! Operations on sets in several slots: `SINTER`, `SUNION`, `SDIFF`, those that only count, and those that store.
//!
//! A union is made of parts, one from each slot. For an intersection or a difference one set is read, the
//! smallest or the first, and the others are only asked about its members: they may be of any size.

use std::pin::pin;

use futures_util::{StreamExt, stream};

use crate::merge::set::Members;
use crate::resp::{number, write};

use super::call::Call;
use super::gather::{SYNTAX, bytes_of, unbroken};
use super::inbox::TRY_AGAIN;
use super::store::{self, Block};
use super::{Outcome, Steps, Stop, integer, request};

/// Members that one request asks about, by number and by bytes.
const CHUNK: usize = 1000;
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks under way at once, and other sets that are asked about one of them at once.
const AT_ONCE: usize = 8;
const OTHERS_AT_ONCE: usize = 16;

/// What is done with the sets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Union,
    Intersection,
    /// The first without all others.
    Difference,
}

/// `SINTER`, `SUNION`, `SDIFF`.
pub(super) async fn read(steps: &Steps, call: &Call, operation: Operation) -> Outcome {
    let members = members(steps, call, operation, usize::MAX).await?;
    let mut out = Vec::new();
    members.write(&mut out, steps.manner.protocol);
    Ok(out)
}

/// `SINTERCARD`, `SUNIONCARD`, `SDIFFCARD`.
pub(super) async fn count(steps: &Steps, call: &Call, operation: Operation) -> Outcome {
    let mut behind = call.sources().last().map_or(call.len(), |last| last + 1);
    // A union may be told approximately, and the exact number is as good.
    if operation == Operation::Union && call.says(behind, "APPROX") {
        behind += 1;
    }
    let most = limit(call, behind)?;
    let members = members(steps, call, operation, most).await?;
    Ok(store::number(members.len().min(most)))
}

/// `SINTERSTORE`, `SUNIONSTORE`, `SDIFFSTORE`.
pub(super) async fn store(steps: &Steps, call: &Call, operation: Operation) -> Outcome {
    let members = members(steps, call, operation, usize::MAX).await?;
    let at = call.destination();
    let key = call.arg(at).to_vec();
    let written = steps.compute(members.encoded().len(), move || {
        (Block::members("SADD", &key, &members), members.len())
    });
    steps.commit_counted(call, at, written.await?).await
}

/// `LIMIT` of the commands that only count, from this argument on; 0 is no limit.
pub(super) fn limit(call: &Call, from: usize) -> Result<usize, Stop> {
    let mut limit = 0;
    for at in (from..call.len()).step_by(2) {
        if !call.says(at, "LIMIT") || at + 1 == call.len() {
            return Err(SYNTAX);
        }
        let number =
            number::integer(call.arg(at + 1)).and_then(|number| usize::try_from(number).ok());
        limit = number.ok_or(Stop::Refused("ERR LIMIT can't be negative"))?;
    }
    Ok(if limit == 0 { usize::MAX } else { limit })
}

/// The members of the result, of an intersection perhaps only the first so many.
async fn members(
    steps: &Steps,
    call: &Call,
    operation: Operation,
    most: usize,
) -> Result<Members, Stop> {
    let keys = call.sources();
    if operation != Operation::Union {
        return sifted(steps, call, &keys, (operation, most)).await;
    }
    let replies = steps.read_parts(call, &keys, |keys| part(b"SUNION", call, keys)).await?;
    steps.check_count(&replies, 1)?;
    Ok(steps.compute(bytes_of(&replies), move || Members::union(&replies)).await??)
}

/// `command key ...`
fn part(command: &[u8], call: &Call, keys: &[usize]) -> Vec<u8> {
    let keys = keys.iter().map(|&at| call.arg(at));
    request(&std::iter::once(command).chain(keys).collect::<Vec<_>>())
}

/// Reads one set, together with what shares its slot, and asks the others about its members.
async fn sifted(
    steps: &Steps,
    call: &Call,
    keys: &[usize],
    (operation, most): (Operation, usize),
) -> Result<Members, Stop> {
    let wanted = operation == Operation::Intersection;
    let sizes = sizes(steps, call, keys).await?;
    let Some(base) = base(&sizes, wanted) else { return Ok(Members::default()) };
    // What has no members takes none away.
    let others = sizes.iter().filter(|&&(at, size)| at != base && size > 0).map(|&(at, _)| at);
    let slot = call.slot(base);
    let (mates, strangers): (Vec<usize>, Vec<usize>) =
        others.partition(|&at| call.slot(at) == slot);
    let command: &[u8] = if wanted { b"SINTER" } else { b"SDIFF" };
    let ask = |keys: &[usize]| steps.raw(slot, part(command, call, keys)).read();
    let mut reply = steps.ask_one(ask(&[&[base], &mates[..]].concat())).await?;
    let mut left = strangers;
    if reply == TRY_AGAIN {
        reply = steps.ask_one(ask(&[base])).await?;
        left.extend(mates);
    }
    let replies = unbroken(vec![reply])?;
    steps.check_count(&replies, 1)?;
    let members = steps.compute(bytes_of(&replies), move || Members::union(&replies)).await??;
    sift(steps, call, (members, &left), (wanted, most)).await
}

/// Every key with the size of its set.
async fn sizes(steps: &Steps, call: &Call, keys: &[usize]) -> Result<Vec<(usize, i64)>, Stop> {
    let replies = unbroken(steps.ask_each(call, "SCARD", keys).await?)?;
    keys.iter().zip(replies).map(|(&at, reply)| Ok((at, integer(&reply)?))).collect()
}

/// The key whose set the result is a part of; `None` when the result is empty.
fn base(sizes: &[(usize, i64)], wanted: bool) -> Option<usize> {
    let base = match wanted {
        true => sizes.iter().min_by_key(|(_, size)| *size),
        false => sizes.first(),
    };
    base.filter(|(_, size)| *size > 0).map(|(at, _)| *at)
}

/// The members that all others have, or that none of them has: the first so many, and perhaps a few more.
async fn sift(
    steps: &Steps,
    call: &Call,
    (members, others): (Members, &[usize]),
    (wanted, most): (bool, usize),
) -> Result<Members, Stop> {
    let chunks = stream::iter(members.chunks(CHUNK, CHUNK_BYTES));
    let mut sifted = pin!(
        chunks.map(|chunk| sift_chunk(steps, call, (chunk, others), wanted)).buffered(AT_ONCE)
    );
    let mut kept = Members::default();
    while kept.len() < most
        && let Some(chunk) = sifted.next().await
    {
        kept.append(&chunk?);
    }
    Ok(kept)
}

async fn sift_chunk(
    steps: &Steps,
    call: &Call,
    (mut chunk, others): (Members, &[usize]),
    wanted: bool,
) -> Result<Members, Stop> {
    for others in others.chunks(OTHERS_AT_ONCE) {
        if chunk.is_empty() {
            break;
        }
        let ask = |&at: &usize| {
            let mut request = Vec::with_capacity(chunk.encoded().len() + 64);
            write::array(&mut request, 2 + chunk.len());
            write::bulk(&mut request, "SMISMEMBER");
            write::bulk(&mut request, call.arg(at));
            request.extend_from_slice(chunk.encoded());
            steps.raw(call.slot(at), request).read()
        };
        let answers = unbroken(steps.ask_all(others.iter().map(ask).collect()).await?)?;
        chunk = chunk.keep(&answers, wanted)?;
        steps.share.give_back(bytes_of(&answers));
    }
    Ok(chunk)
}
