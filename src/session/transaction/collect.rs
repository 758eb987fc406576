//! What stands behind MULTI is checked, and kept for EXEC.

use crate::cluster::Slot;
use crate::command::{Class, CommandSpec, KeyError, Retry};
use crate::metrics::Limit;
use crate::resp::Request;

use super::super::conversation::{Conversation, Flow};
use super::super::local;
use super::super::pubsub::{Destination, Publication};
use super::super::scripts::{self, Digest};
use super::queue::{Entry, Keys};
use super::{CROSSSLOT, State, TOO_LARGE, queued};

/// Commands of one transaction that the gateway answers: it does so in one turn, while others wait.
const MOST_HERE: usize = 10_000;

/// Collects a command for a node.
pub(super) fn collect(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    if spec.class == Class::PubSub {
        return collect_message(conversation, spec, request);
    }
    let keys = match keys(conversation, spec, request) {
        Ok(keys) => keys,
        Err(text) => return conversation.reject(spec, text),
    };
    let entry = Entry {
        keys,
        reads: spec.retry_for(request) == Retry::Read,
        script: spec.class == Class::Script,
        digest: script(conversation, spec, request),
        frame: request.frame(),
    };
    conversation.collect_reads(spec, request);
    enqueue(conversation, spec, entry, None)
}

/// Collects a message. Where shard channels carry plain ones, it goes to the slot of its channel.
fn collect_message(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    let message = Publication::of(&conversation.worker.rooms, spec, request);
    let mut frame = Vec::new();
    message.write(request, &mut frame);
    let keys = match message.destination() {
        Destination::Home => None,
        Destination::Slot(slot) => {
            Some(Keys { slot, first: request.arg(1).unwrap_or_default(), several: false })
        }
    };
    let entry = Entry { keys, reads: false, script: false, digest: None, frame: &frame };
    enqueue(conversation, spec, entry, Some(message))
}

fn enqueue(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    entry: Entry<'_>,
    message: Option<Publication>,
) -> Flow {
    let most = limit(conversation);
    let State::Open(queue) = &mut conversation.transaction.state else {
        return queued(conversation, spec);
    };
    if !queue.admits(entry) {
        return conversation.reject(spec, CROSSSLOT);
    }
    if queue.size_with(entry.frame) > most {
        conversation.worker.metrics.limit_reached(Limit::Transaction);
        return conversation.reject(spec, TOO_LARGE);
    }
    match message {
        Some(message) => queue.publish(entry, message),
        None => queue.push(entry),
    }
    queued(conversation, spec)
}

/// Remembers a script that the command brings; answers the one that it only names.
fn script(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Option<Digest> {
    let text = request.arg(1).filter(|_| spec.class == Class::Script)?;
    if spec.name.starts_with("EVALSHA") {
        return scripts::digest(text);
    }
    if spec.name.starts_with("EVAL") {
        conversation.worker.scripts.seen(text);
    }
    None
}

/// Collects a command that the gateway answers.
pub(super) fn collect_here(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    let most = limit(conversation);
    if spec.name == "SELECT"
        && let Ok(database) = local::database(conversation, request)
        && database != conversation.manner().database
    {
        // What stands behind it would belong to another connection than what stands before.
        let text = conversation.dialect().not_in_a_transaction(spec);
        return conversation.reject(spec, text);
    }
    if let State::Open(queue) = &mut conversation.transaction.state {
        if queue.size_with(request.frame()) > most || queue.here() >= MOST_HERE {
            conversation.worker.metrics.limit_reached(Limit::Transaction);
            return conversation.reject(spec, TOO_LARGE);
        }
        queue.push_here(request.frame());
    }
    if spec.name == "CLIENT CACHING" {
        conversation.announce_transaction();
    }
    queued(conversation, spec)
}

/// A transaction is sent as one request. Its length has to fit into 32 bits, and some room is left for what goes
/// round the commands.
pub(super) fn limit(conversation: &Conversation) -> usize {
    conversation.worker.limits().request_bytes.min(u32::MAX as usize / 2)
}

/// The request's keys, if it has any. An error: they stand in several slots, or nobody here can tell where.
fn keys<'a>(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'a>,
) -> Result<Option<Keys<'a>>, String> {
    let positions = &mut *conversation.worker.positions.borrow_mut();
    match spec.keys.positions(request, positions) {
        Ok(()) => {}
        Err(KeyError::Unknown) => return Err(conversation.dialect().not_in_a_transaction(spec)),
        // Any node gives the server's own error, at its place in EXEC's array.
        Err(KeyError::Count) => return Ok(None),
    }
    let mut all = positions.iter().filter_map(|&at| request.arg(at as usize));
    let Some(first) = all.next() else { return Ok(None) };
    let mut keys = Keys { slot: Slot::of(first), first, several: false };
    for key in all {
        if Slot::of(key) != keys.slot {
            return Err(CROSSSLOT.to_owned());
        }
        keys.several |= key != first;
    }
    Ok(Some(keys))
}
