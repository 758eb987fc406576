//! The CLIENT family: what a client tells of itself, and what is told of others.

use std::time::Duration;

use tokio::time::Instant;

use crate::command::CommandSpec;
use crate::resp::{Request, number, write};

use super::super::blocking::Ending;
use super::super::colleagues::Deed;
use super::super::conversation::{Conversation, Flow, Wanted};
use super::super::family::family;
use super::super::scrutiny::Pause;
use super::connection::{client_name, printable};
use super::error::{Refused, shown};
use super::{Selection, ok, tracking};

/// Longer than anybody means when he says how long clients shall wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Answers `CLIENT subcommand`.
pub(super) fn answer(
    conversation: &mut Conversation,
    subcommand: &str,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let family = family(spec);
    let argument = request.arg(2).unwrap_or_default();
    Ok(match subcommand {
        "ID" => {
            let id = conversation.client.id as i64;
            conversation.answer(family, |out| write::integer(out, id))
        }
        "GETNAME" => get_name(conversation, spec),
        "SETNAME" => {
            *conversation.client.name.borrow_mut() = client_name(argument)?;
            ok(conversation, spec)
        }
        "SETINFO" => return set_info(conversation, spec, request),
        "INFO" => info(conversation, spec),
        "LIST" => return list(conversation, spec, request),
        "KILL" => return kill(conversation, spec, request),
        "REPLY" => return reply(conversation, spec, argument),
        // Which keys are evicted first is between a node and its own connections.
        "NO-TOUCH" | "NO-EVICT" => {
            on_or_off(argument)?;
            ok(conversation, spec)
        }
        // Capabilities are offers that a server need not take up.
        "CAPA" => ok(conversation, spec),
        "TRACKING" => return tracking::set(conversation, spec, request),
        "CACHING" => return tracking::caching(conversation, spec, argument),
        "TRACKINGINFO" => tracking::info(conversation, spec),
        "GETREDIR" => tracking::redirection(conversation, spec),
        "PAUSE" => return pause(conversation, spec, request),
        "UNPAUSE" => {
            conversation.worker.gateway.scrutiny.unpause();
            ok(conversation, spec)
        }
        "UNBLOCK" => return unblock(conversation, spec, request),
        _ => return Err(Refused::unsupported(spec)),
    })
}

fn get_name(conversation: &Conversation, spec: &CommandSpec) -> Flow {
    let name = conversation.client.name.borrow();
    conversation.answer(family(spec), |out| {
        if name.is_empty() {
            write::null(out, conversation.protocol);
        } else {
            write::bulk(out, name.as_bytes());
        }
    })
}

/// `CLIENT SETINFO LIB-NAME|LIB-VER text`
fn set_info(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let attribute = request.arg(2).unwrap_or_default();
    let place = if is(attribute, "LIB-NAME") {
        &conversation.client.library
    } else if is(attribute, "LIB-VER") {
        &conversation.client.library_version
    } else {
        return Err(Refused::AttributeName(shown(attribute)));
    };
    let text = printable(request.arg(3).unwrap_or_default());
    *place.borrow_mut() = text.ok_or_else(|| Refused::Attribute(shown(attribute)))?;
    Ok(ok(conversation, spec))
}

fn info(conversation: &Conversation, spec: &CommandSpec) -> Flow {
    let now = conversation.worker.clock.now();
    let portrait = conversation.client.portrait(now);
    let line = portrait.map(|portrait| format!("{portrait}\n")).unwrap_or_default();
    conversation.answer(family(spec), |out| {
        write::verbatim(out, conversation.protocol, "txt", line);
    })
}

/// `CLIENT LIST`, over the clients of all workers.
fn list(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let users = conversation.worker.gateway.access.users();
    let is_user = |name: &[u8]| users.get(name).is_some();
    let selection = Selection::to_list(request.args().skip(2), is_user)?;
    let (gateway, protocol) = (conversation.worker.gateway.clone(), conversation.protocol);
    conversation.answer_later(family(spec), async move {
        let found = gateway.colleagues.ask(selection, Deed::List).await;
        let mut lines = String::new();
        for client in found {
            lines.push_str(&client.line);
            lines.push('\n');
        }
        let mut reply = Vec::new();
        write::verbatim(&mut reply, protocol, "txt", lines);
        reply
    });
    Ok(Flow::Next)
}

/// `CLIENT KILL address` or with filters, over the clients of all workers. A client that means itself still
/// gets the reply.
fn kill(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let is_old_form = request.len() == 3;
    let (selection, skip_me) = if is_old_form {
        (Selection::at(request.arg(2).unwrap_or_default()), false)
    } else {
        let users = conversation.worker.gateway.access.users();
        Selection::to_kill(request.args().skip(2), |name| users.get(name).is_some())?
    };
    let (worker, client) = (&conversation.worker, &conversation.client);
    let portrait = client.portrait(worker.clock.now());
    let means_itself = !skip_me && portrait.is_some_and(|own| selection.holds(&own));
    let (gateway, others) = (worker.gateway.clone(), selection.except(client.id));
    conversation.answer_later(family(spec), async move {
        let killed = gateway.colleagues.ask(others, Deed::Kill).await.len();
        let killed = killed + usize::from(means_itself);
        let mut reply = Vec::new();
        match (is_old_form, killed) {
            (true, 0) => write::error(&mut reply, "ERR No such client"),
            (true, _) => write::simple(&mut reply, "OK"),
            (false, killed) => write::integer(&mut reply, killed as i64),
        }
        reply
    });
    Ok(if means_itself { Flow::Close } else { Flow::Next })
}

/// `CLIENT REPLY ON|OFF|SKIP`
fn reply(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    argument: &[u8],
) -> Result<Flow, Refused> {
    if is(argument, "ON") {
        conversation.wanted = Wanted::All;
        return Ok(ok(conversation, spec));
    }
    conversation.wanted = match conversation.wanted {
        _ if is(argument, "OFF") => Wanted::None,
        _ if !is(argument, "SKIP") => return Err(Refused::Syntax),
        Wanted::None => Wanted::None,
        _ => Wanted::SkipNext,
    };
    Ok(Flow::Next)
}

/// `CLIENT PAUSE milliseconds [WRITE|ALL]`, for the clients of this gateway.
fn pause(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    no_more_words(conversation, request)?;
    let everything = match request.arg(3) {
        Some(mode) if is(mode, "WRITE") => false,
        Some(mode) if !is(mode, "ALL") => return Err(Refused::PauseMode),
        _ => true,
    };
    let time = request.arg(2).and_then(number::integer).ok_or(Refused::TimeoutNumber)?;
    let time = Duration::from_millis(u64::try_from(time).map_err(|_| Refused::Timeout)?);
    // Longer than anybody can mean, and short enough for every clock.
    let until = Instant::now() + time.min(LONGEST_PAUSE);
    conversation.worker.gateway.scrutiny.pause(Pause { until, everything });
    Ok(ok(conversation, spec))
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`, whichever worker the client belongs to.
fn unblock(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    no_more_words(conversation, request)?;
    let how = match request.arg(3) {
        None => Ending::Timeout,
        Some(reason) if is(reason, "TIMEOUT") => Ending::Timeout,
        Some(reason) if is(reason, "ERROR") => Ending::Error,
        Some(_) => return Err(Refused::UnblockReason),
    };
    let id = request.arg(2).and_then(number::integer).ok_or(Refused::NotAnInteger)?;
    let (gateway, selection) = (conversation.worker.gateway.clone(), Selection::of(id));
    conversation.answer_later(family(spec), async move {
        let unblocked = gateway.colleagues.ask(selection, Deed::Unblock(how)).await.len();
        let mut reply = Vec::new();
        write::integer(&mut reply, unblocked as i64);
        reply
    });
    Ok(Flow::Next)
}

/// `CLIENT PAUSE` and `CLIENT UNBLOCK` take one word behind the first, at most.
fn no_more_words(conversation: &Conversation, request: &Request<'_>) -> Result<(), Refused> {
    if request.len() <= 4 || conversation.dialect().overlooks_words() {
        return Ok(());
    }
    Err(Refused::ClientSubcommand(shown(request.arg(1).unwrap_or_default())))
}

fn on_or_off(argument: &[u8]) -> Result<(), Refused> {
    if is(argument, "ON") || is(argument, "OFF") { Ok(()) } else { Err(Refused::Syntax) }
}

pub(super) fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}
