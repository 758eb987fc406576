//! What the gateway answers itself.

mod acl;
mod client;
mod cluster;
mod command;
mod config;
mod connection;
mod error;
mod selection;
mod slotway;
mod tracking;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::command::CommandSpec;
use crate::resp::{Request, write};

use super::conversation::{Conversation, Flow};
use super::family::family;
use super::info;
use super::pubsub;
use super::scrutiny::Monitoring;

use error::Refused;

pub(super) use connection::database;
pub(super) use selection::Selection;

/// Answers a command of the class `Local`.
pub(super) fn answer(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    let answered = match spec.name.split_once(' ') {
        Some(("ACL", subcommand)) => acl::answer(conversation, subcommand, spec, request),
        Some(("CLIENT", subcommand)) => client::answer(conversation, subcommand, spec, request),
        Some(("CLUSTER", subcommand)) => cluster::answer(conversation, subcommand, spec, request),
        Some(("COMMAND", subcommand)) => {
            Ok(command::answer(conversation, subcommand, spec, request))
        }
        Some(("SLOTWAY", subcommand)) => slotway::answer(conversation, subcommand, spec, request),
        _ => plain(conversation, spec, request),
    };
    answered.unwrap_or_else(|refused| match refused {
        Refused::WrongPassword => conversation.fail_late(family(spec), refused.to_string()),
        refused => conversation.fail(family(spec), refused.to_string()),
    })
}

fn plain(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let family = family(spec);
    let argument = request.arg(1).unwrap_or_default();
    Ok(match &*spec.name {
        "PING" if request.len() > 2 => return Err(Refused::arity(spec)),
        "PING" if conversation.is_subscriber() => pubsub::pong(conversation, spec, argument),
        "PING" if request.len() == 1 => {
            conversation.answer(family, |out| write::simple(out, "PONG"))
        }
        "PING" | "ECHO" => conversation.answer(family, |out| write::bulk(out, argument)),
        "HELLO" => return connection::hello(conversation, spec, request),
        "AUTH" => return connection::auth(conversation, spec, request),
        "SELECT" => return connection::select(conversation, spec, request),
        "RESET" => connection::reset(conversation, spec),
        "QUIT" => {
            ok(conversation, spec);
            Flow::Close
        }
        // The gateway chooses who answers a read; these two are accepted for clients that know clusters.
        "READONLY" | "READWRITE" => ok(conversation, spec),
        // What it would ask for has happened already, whichever node has the key.
        "ASKING" => ok(conversation, spec),
        "INFO" => info::answer(conversation, spec, request),
        "CONFIG GET" => config::get(conversation, spec, request),
        "TIME" => conversation.answer(family, time),
        "ROLE" => conversation.answer(family, role),
        "COMMAND" => command::answer(conversation, "INFO", spec, request),
        "MONITOR" => monitor(conversation, spec),
        _ => return Err(Refused::unsupported(spec)),
    })
}

fn ok(conversation: &Conversation, spec: &CommandSpec) -> Flow {
    conversation.answer(family(spec), |out| write::simple(out, "OK"))
}

/// `MONITOR`: the client sees the requests of all clients of this gateway, until RESET.
fn monitor(conversation: &mut Conversation, spec: &CommandSpec) -> Flow {
    if conversation.replies.unsettled() > 0 {
        // What others do is shown behind what the client asked before.
        return Flow::Wait;
    }
    let (gateway, client) = (conversation.worker.gateway.clone(), conversation.client.clone());
    let flow = ok(conversation, spec);
    conversation.monitoring.get_or_insert_with(|| Monitoring::new(gateway, client));
    flow
}

/// The gateway's own time.
fn time(out: &mut Vec<u8>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    write::array(out, 2);
    write::bulk(out, now.as_secs().to_string());
    write::bulk(out, now.subsec_micros().to_string());
}

/// One server without replicas.
fn role(out: &mut Vec<u8>) {
    write::array(out, 3);
    write::bulk(out, "master");
    write::integer(out, 0);
    write::array(out, 0);
}
