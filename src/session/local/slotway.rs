//! The SLOTWAY family: what the gateway has seen of all its clients' requests.

use std::sync::Arc;

use crate::command::CommandSpec;
use crate::observe::{BigKey, HotKey, Slow};
use crate::resp::{Protocol, Request, number, write};

use super::super::conversation::{Conversation, Flow};
use super::super::family::family;
use super::error::Refused;

/// How many are shown unless the client says a number, as by `SLOWLOG GET`.
const SHOWN: usize = 10;

const HELP: [&str; 7] = [
    "SLOTWAY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "BIGKEYS [<count>]",
    "    Return the keys with the largest requests and replies seen by this gateway (default: 10, -1 all).",
    "HOTKEYS [<count>]",
    "    Return the keys that clients of this gateway ask for most (default: 10, -1 all).",
    "SLOWLOG [<count>]",
    "    Return the requests that were slow, the newest first (default: 10, -1 all).",
];

/// Answers `SLOTWAY subcommand`.
pub(super) fn answer(
    conversation: &Conversation,
    subcommand: &str,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let most = most(spec, request)?;
    let (sights, protocol) = (&conversation.worker.gateway.sights, conversation.protocol);
    Ok(match subcommand {
        "BIGKEYS" => {
            let keys = sights.big_keys(most);
            conversation
                .answer(family(spec), |out| all(out, &keys, |out, key| big(out, protocol, key)))
        }
        "HOTKEYS" => {
            let keys = sights.hot_keys(most);
            conversation
                .answer(family(spec), |out| all(out, &keys, |out, key| hot(out, protocol, key)))
        }
        "SLOWLOG" => {
            let entries = sights.slow_log(most);
            conversation.answer(family(spec), |out| {
                all(out, &entries, |out, entry| slow(out, protocol, entry))
            })
        }
        "HELP" => conversation
            .answer(family(spec), |out| all(out, &HELP, |out, line| write::simple(out, line))),
        _ => return Err(Refused::unsupported(spec)),
    })
}

/// How many are wanted at most.
fn most(spec: &CommandSpec, request: &Request<'_>) -> Result<usize, Refused> {
    if request.len() > 3 {
        return Err(Refused::arity(spec));
    }
    let Some(count) = request.arg(2) else { return Ok(SHOWN) };
    match number::integer(count).ok_or(Refused::NotAnInteger)? {
        -1 => Ok(usize::MAX),
        count => usize::try_from(count).map_err(|_| Refused::Count),
    }
}

fn all<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    write::array(out, items.len());
    items.iter().for_each(|item| write(out, item));
}

fn hot(out: &mut Vec<u8>, protocol: Protocol, hot: &HotKey) {
    write::map(out, protocol, 4);
    text(out, "key", &hot.key.to_string());
    write::bulk(out, "requests-per-second");
    write::double(out, protocol, thousandths(hot.per_second));
    write::bulk(out, "share");
    write::double(out, protocol, thousandths(hot.share));
    text(out, "command", &hot.command.to_ascii_lowercase());
}

fn big(out: &mut Vec<u8>, protocol: Protocol, big: &BigKey) {
    write::map(out, protocol, 6);
    text(out, "key", &big.key.to_string());
    count(out, "bytes", big.bytes as u64);
    count(out, "request-bytes", big.request as u64);
    count(out, "reply-bytes", big.reply as u64);
    text(out, "command", &big.command.to_ascii_lowercase());
    count(out, "last-seen", big.seen);
}

/// An entry as `SLOWLOG GET` has it, and then the user, the node's share of the time, and which request it was.
fn slow(out: &mut Vec<u8>, protocol: Protocol, entry: &Arc<Slow>) {
    write::array(out, 9);
    write::integer(out, entry.id as i64);
    write::integer(out, entry.at as i64);
    write::integer(out, entry.micros as i64);
    all(out, &entry.command, |out, argument| write::bulk(out, argument));
    write::bulk(out, &entry.who.client);
    write::bulk(out, &entry.who.name);
    write::bulk(out, &entry.who.user);
    match entry.node_micros {
        Some(micros) => write::integer(out, micros as i64),
        None => write::null(out, protocol),
    }
    write::bulk(out, &entry.request);
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    write::bulk(out, name);
    write::bulk(out, value);
}

fn count(out: &mut Vec<u8>, name: &str, value: u64) {
    write::bulk(out, name);
    write::integer(out, value as i64);
}

fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
