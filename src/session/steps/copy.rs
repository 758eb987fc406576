//! `COPY` into another slot.

use crate::resp::number::integer;
use crate::resp::{Value, elements};

use super::call::Call;
use super::gather::{NO_INTEGER, SYNTAX};
use super::store::number;
use super::{Outcome, Steps, Stop, is_error, request};

/// Databases that a single server has unless it is told otherwise.
const DATABASES: u16 = 16;

/// `COPY source destination [DB n] [REPLACE]`: what the source holds, with its time to live.
pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let (replace, database) = options(steps, call)?;
    let (source, destination) = (call.arg(1), call.arg(2));
    let requests = [request(&[b"DUMP", source]), request(&[b"PEXPIRETIME", source])];
    let reply = steps.one(steps.block(call.slot(1), &requests).read()).await?;
    let found: Vec<&[u8]> = elements(&reply).ok_or(Stop::Unexpected)?.collect();
    let [value, expires] = found.as_slice() else { return Err(Stop::Unexpected) };
    for reply in [value, expires] {
        if is_error(reply) {
            return Err(Stop::Node(reply.to_vec()));
        }
    }
    let Value::Bulk(value) = Value::parse(value)? else { return Ok(number(0)) };
    // Below zero: it does not expire.
    let expires = super::integer(expires)?.max(0).to_string();
    let mut words = vec![b"RESTORE", destination, expires.as_bytes(), value, b"ABSTTL"];
    if replace {
        words.push(b"REPLACE");
    }
    let mut restore = steps.once(call, steps.raw(call.slot(2), request(&words)));
    restore.terms.manner.database = database;
    let reply = steps.ask_one(restore).await?;
    match reply.as_slice() {
        b"+OK\r\n" => Ok(number(1)),
        [b'-', b'B', b'U', b'S', b'Y', b'K', b'E', b'Y', ..] => Ok(number(0)),
        _ => Err(Stop::Node(reply)),
    }
}

/// Whether the destination may be there already, and which database it is in.
fn options(steps: &Steps, call: &Call) -> Result<(bool, u16), Stop> {
    let here = steps.manner.database;
    let count = steps.worker.gateway.databases();
    let (mut replace, mut database) = (false, here);
    let mut at = 3;
    while at < call.len() {
        if call.says(at, "REPLACE") {
            replace = true;
        } else if call.says(at, "DB") && at + 1 < call.len() {
            at += 1;
            let index = integer(call.arg(at)).ok_or(NO_INTEGER)?;
            let known = if count > 1 { count } else { DATABASES };
            let index = u16::try_from(index).ok().filter(|index| *index < known);
            database = index.ok_or(Stop::Refused("ERR DB index is out of range"))?;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    if database != here && count == 1 {
        return Err(Stop::Refused(
            "ERR Copying to another database is not allowed in cluster mode",
        ));
    }
    Ok((replace, database))
}
