//! Computing with strings in several slots: `LCS` and `BITOP`.

use crate::cluster::Version;
use crate::merge::bits::Operation;
use crate::merge::lcs;
use crate::resp::{Protocol, Value, number, write};

use super::call::Call;
use super::gather::{NO_INTEGER, SYNTAX, bytes_of, unbroken};
use super::store;
use super::{Outcome, Steps, Stop, request};

/// Cells of the table of `LCS`, a bit each, that are filled for one request.
const MOST_CELLS: usize = 100_000_000;

/// `BITOP` knows more operations from this version of Redis on; Valkey has none of them.
const MORE_OPERATIONS: Version = Version::new(8, 2, 0);

/// What `LCS` is to answer.
struct Question {
    length: bool,
    indexes: bool,
    with_lengths: bool,
    least: usize,
}

/// `LCS key key [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]`
pub(super) async fn lcs(steps: &Steps, call: &Call) -> Outcome {
    let replies = steps.ask_each(call, "GET", &call.sources()).await?;
    if replies.iter().any(|reply| reply.starts_with(b"-WRONGTYPE")) {
        return Err(Stop::Refused("ERR The specified keys must contain string values"));
    }
    let question = Question::of(call)?;
    let replies = unbroken(replies)?;
    let [one, other] = replies.as_slice() else { return Err(Stop::Unexpected) };
    let (one, other) = (string(one)?.to_vec(), string(other)?.to_vec());
    let cells = one.len().saturating_mul(other.len());
    if cells > MOST_CELLS {
        return Err(Stop::TooLarge);
    }
    let protocol = steps.manner.protocol;
    steps.compute(cells, move || question.answer(&one, &other, protocol)).await
}

impl Question {
    fn of(call: &Call) -> Result<Self, Stop> {
        let mut question = Self { length: false, indexes: false, with_lengths: false, least: 0 };
        let mut at = 3;
        while at < call.len() {
            if call.says(at, "IDX") {
                question.indexes = true;
            } else if call.says(at, "LEN") {
                question.length = true;
            } else if call.says(at, "WITHMATCHLEN") {
                question.with_lengths = true;
            } else if call.says(at, "MINMATCHLEN") && at + 1 < call.len() {
                at += 1;
                let least = number::integer(call.arg(at)).ok_or(NO_INTEGER)?;
                question.least = usize::try_from(least).unwrap_or(0);
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        if question.length && question.indexes {
            return Err(Stop::Refused(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(question)
    }

    fn answer(&self, one: &[u8], other: &[u8], protocol: Protocol) -> Vec<u8> {
        let mut out = Vec::new();
        if self.length {
            write::integer(&mut out, lcs::length(one, other) as i64);
            return out;
        }
        let common = lcs::trace(one, other);
        if !self.indexes {
            write::bulk(&mut out, common.text);
            return out;
        }
        let matches: Vec<&lcs::Match> =
            common.matches.iter().filter(|found| found.length() >= self.least).collect();
        write::map(&mut out, protocol, 2);
        write::bulk(&mut out, "matches");
        write::array(&mut out, matches.len());
        for found in matches {
            write::array(&mut out, if self.with_lengths { 3 } else { 2 });
            for range in [&found.first, &found.second] {
                write::array(&mut out, 2);
                write::integer(&mut out, *range.start() as i64);
                write::integer(&mut out, *range.end() as i64);
            }
            if self.with_lengths {
                write::integer(&mut out, found.length() as i64);
            }
        }
        write::bulk(&mut out, "len");
        write::integer(&mut out, common.text.len() as i64);
        out
    }
}

/// `BITOP operation destination key ...`
pub(super) async fn bitop(steps: &Steps, call: &Call) -> Outcome {
    let operation = operation(steps, call)?;
    let replies = unbroken(steps.ask_each(call, "GET", &call.sources()).await?)?;
    let at = call.destination();
    let key = call.arg(at).to_vec();
    let written = steps.compute(bytes_of(&replies), move || {
        let strings: Result<Vec<&[u8]>, Stop> = replies.iter().map(|reply| string(reply)).collect();
        let result = operation.combine(&strings?);
        let request = if result.is_empty() {
            request(&[&b"DEL"[..], &key])
        } else {
            request(&[&b"SET"[..], &key, &result])
        };
        Ok::<_, Stop>((request, result.len()))
    });
    let (request, length) = written.await??;
    steps.one(steps.once(call, steps.raw(call.slot(at), request))).await?;
    Ok(store::number(length))
}

fn operation(steps: &Steps, call: &Call) -> Result<Operation, Stop> {
    let software = steps.worker.gateway.software();
    let more = software.name() == "redis" && software.version() >= MORE_OPERATIONS;
    let operation =
        Operation::named(call.arg(1)).filter(|operation| more || !operation.is_recent());
    let operation = operation.ok_or(SYNTAX)?;
    if operation == Operation::Not && call.len() != 4 {
        return Err(Stop::Refused("ERR BITOP NOT must be called with a single source key."));
    }
    if operation.needs_others() && call.len() < 5 {
        let name = String::from_utf8_lossy(call.arg(1)).to_ascii_uppercase();
        return Err(Stop::Command(format!(
            "ERR BITOP {name} must be called with at least two source keys."
        )));
    }
    Ok(operation)
}

/// A string as a node gives it; nothing is an empty one.
fn string(reply: &[u8]) -> Result<&[u8], Stop> {
    match Value::parse(reply)? {
        Value::Bulk(text) => Ok(text),
        Value::Null => Ok(b""),
        _ => Err(Stop::Unexpected),
    }
}
