//! The ACL family: who may use the gateway, shown and changed.
//!
//! The users are the gateway's own; nodes know only the gateway. Categories and help are a node's to tell.

use crate::acl::{Description, User, Wording};
use crate::command::{CommandError, CommandSpec};
use crate::resp::{Limits, Protocol, Request, RequestParser, number, write};

use super::super::colleagues::Deed;
use super::super::conversation::{Conversation, Flow};
use super::super::denials::{Denial, now_ms};
use super::super::family::family;
use super::error::{Refused, shown};
use super::{Selection, ok};

/// Bits of the longest password that is made.
const PASSWORD_BITS: i64 = 4096;
/// Entries of the log that are shown when nobody says how many.
const LOG_SHOWN: i64 = 10;

/// Answers `ACL subcommand`.
pub(super) fn answer(
    conversation: &Conversation,
    subcommand: &str,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let family = family(spec);
    let users = conversation.worker.gateway.access.users();
    Ok(match subcommand {
        "WHOAMI" => {
            let user = conversation.client.user.borrow();
            conversation.answer(family, |out| write::bulk(out, user.name()))
        }
        "USERS" => conversation.answer(family, |out| {
            write::array(out, users.iter().len());
            users.iter().for_each(|user| write::bulk(out, user.name()));
        }),
        "LIST" => {
            let (wording, commands) = (conversation.wording(), conversation.worker.commands());
            conversation.answer(family, |out| {
                write::array(out, users.iter().len());
                users.iter().for_each(|user| write::bulk(out, user.line(wording, &commands)));
            })
        }
        "GETUSER" => match users.get(request.arg(2).unwrap_or_default()) {
            Some(user) => show(conversation, spec, user),
            None => conversation.answer(family, |out| write::null(out, conversation.protocol)),
        },
        "SETUSER" => set_user(conversation, spec, request),
        "DELUSER" => return delete_users(conversation, spec, request),
        "DRYRUN" => return dry_run(conversation, spec, request),
        "LOG" => return log(conversation, spec, request),
        "GENPASS" => return generate(conversation, spec, request),
        "LOAD" => return load(conversation, spec),
        "SAVE" => return save(conversation, spec),
        _ => return Err(Refused::unsupported(spec)),
    })
}

/// `ACL GETUSER name`
fn show(conversation: &Conversation, spec: &CommandSpec, user: &User) -> Flow {
    let (wording, protocol) = (conversation.wording(), conversation.protocol);
    let (root, selectors) = user.describe(wording, &conversation.worker.commands());
    let flags: Vec<&str> = user.flags(wording).collect();
    conversation.answer(family(spec), |out| {
        write::map(out, protocol, 6);
        write::bulk(out, "flags");
        write::set(out, protocol, flags.len());
        flags.iter().for_each(|flag| write::bulk(out, flag));
        write::bulk(out, "passwords");
        write::array(out, user.passwords().len());
        user.passwords().iter().for_each(|hash| write::bulk(out, hash.to_string()));
        describe(out, &root);
        write::bulk(out, "selectors");
        write::array(out, selectors.len());
        for selector in &selectors {
            write::map(out, protocol, 3);
            describe(out, selector);
        }
    })
}

fn describe(out: &mut Vec<u8>, rules: &Description) {
    let fields: [(&str, &[u8]); 3] = [
        ("commands", rules.commands.as_bytes()),
        ("keys", &rules.keys),
        ("channels", &rules.channels),
    ];
    for (name, text) in fields {
        write::bulk(out, name);
        write::bulk(out, text);
    }
}

/// `ACL SETUSER name [rule ..]`: all rules or none. Clients that listen to what they may not any more are
/// disconnected.
fn set_user(conversation: &Conversation, spec: &CommandSpec, request: &Request<'_>) -> Flow {
    let commands = conversation.worker.commands();
    let name = request.arg(2).unwrap_or_default();
    let rules = request.args().skip(3);
    let access = &conversation.worker.gateway.access;
    match access.change(|users| users.with(name, rules.clone(), &commands)) {
        Ok(()) => expel(conversation, spec, |out| write::simple(out, "OK")),
        Err(error) => conversation.fail(family(spec), error.line()),
    }
}

/// Disconnects whom the users, as they are now, leave no right to be here, and then answers. The client that
/// asked for it still gets the reply.
fn expel(
    conversation: &Conversation,
    spec: &CommandSpec,
    answer: impl FnOnce(&mut Vec<u8>) + 'static,
) -> Flow {
    let (gateway, client) = (conversation.worker.gateway.clone(), &conversation.client);
    let is_welcome = client.is_welcome(&gateway.access.users());
    let others = Selection::default().except(client.id);
    conversation.answer_later(family(spec), async move {
        gateway.colleagues.ask(others, Deed::Expel).await;
        let mut reply = Vec::new();
        answer(&mut reply);
        reply
    });
    if is_welcome { Flow::Next } else { Flow::Close }
}

/// `ACL DELUSER name ..`: their clients are disconnected.
fn delete_users(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let names = request.args().skip(2);
    if names.clone().any(|name| name == crate::acl::DEFAULT) {
        return Err(Refused::DefaultUser);
    }
    let gateway = conversation.worker.gateway.clone();
    let deleted = std::cell::Cell::new(0);
    gateway.access.change(|users| {
        let (users, count) = users.without(names.clone());
        deleted.set(count);
        Ok::<_, Refused>(users)
    })?;
    let deleted = deleted.get();
    Ok(expel(conversation, spec, move |out| write::integer(out, deleted as i64)))
}

/// `ACL DRYRUN name command [argument ..]`
fn dry_run(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let name = request.arg(2).unwrap_or_default();
    let users = conversation.worker.gateway.access.users();
    let user = users.get(name).ok_or_else(|| Refused::NoUser(shown(name)))?;
    let arguments: Vec<&[u8]> = request.args().skip(3).collect();
    let mut frame = Vec::new();
    write::command(&mut frame, &arguments);
    let mut parser = RequestParser::new();
    // It has passed the limits as a part of this request.
    let limits = Limits { request_bytes: usize::MAX, ..conversation.worker.limits() };
    parser.parse(&frame, &limits, true).map_err(|_| Refused::Syntax)?;
    let tried = parser.request(&frame);
    let commands = conversation.worker.commands();
    let tried_spec = match commands.resolve(&tried) {
        Ok(spec) => spec,
        Err(CommandError::Arity(name)) => return Err(Refused::Arity(name)),
        Err(_) => return Err(Refused::NoCommand(shown(tried.name()))),
    };
    let family = family(spec);
    Ok(match user.check(tried_spec, &tried) {
        Ok(()) => ok(conversation, spec),
        Err(denied) => {
            let argument = denied.place().and_then(|at| tried.arg(at)).unwrap_or_default();
            let text = denied.explained(user.name(), tried_spec, argument, conversation.wording());
            conversation.answer(family, |out| write::bulk(out, text))
        }
    })
}

/// `ACL LOG [count | RESET]`
fn log(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let denials = &conversation.worker.gateway.access.denials;
    let count = match request.arg(2) {
        _ if request.len() > 3 => return Err(Refused::acl_subcommand(request)),
        None => LOG_SHOWN,
        Some(word) if word.eq_ignore_ascii_case(b"reset") => {
            denials.clear();
            return Ok(ok(conversation, spec));
        }
        Some(number) => number::integer(number).ok_or(Refused::NotAnInteger)?,
    };
    let kept = conversation.worker.gateway.settings().auth.log_length;
    let shown = denials.latest(usize::try_from(count).unwrap_or(0).min(kept));
    let (wording, protocol) = (conversation.wording(), conversation.protocol);
    Ok(conversation.answer(family(spec), |out| {
        write::array(out, shown.len());
        shown.iter().for_each(|entry| show_denial(out, entry, wording, protocol));
    }))
}

fn show_denial(out: &mut Vec<u8>, entry: &Denial, wording: Wording, protocol: Protocol) {
    write::map(out, protocol, if wording == Wording::New { 10 } else { 7 });
    write::bulk(out, "count");
    write::integer(out, entry.count as i64);
    let texts: [(&str, &[u8]); 4] = [
        ("reason", entry.reason.word().as_bytes()),
        ("context", entry.context.as_bytes()),
        ("object", &entry.object),
        ("username", &entry.user),
    ];
    for (name, text) in texts {
        write::bulk(out, name);
        write::bulk(out, text);
    }
    write::bulk(out, "age-seconds");
    write::double(out, protocol, now_ms().saturating_sub(entry.updated) as f64 / 1000.0);
    write::bulk(out, "client-info");
    write::bulk(out, &entry.client);
    if wording == Wording::New {
        let numbers = [
            ("entry-id", entry.id),
            ("timestamp-created", entry.created),
            ("timestamp-last-updated", entry.updated),
        ];
        for (name, number) in numbers {
            write::bulk(out, name);
            write::integer(out, number as i64);
        }
    }
}

/// `ACL GENPASS [bits]`
fn generate(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let bits = match request.arg(2) {
        _ if request.len() > 3 => return Err(Refused::acl_subcommand(request)),
        None => 256,
        Some(bits) => number::integer(bits).ok_or(Refused::NotAnInteger)?,
    };
    if !(1..=PASSWORD_BITS).contains(&bits) {
        return Err(Refused::PasswordBits);
    }
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut bytes).map_err(|_| Refused::NoRandomness)?;
    let mut password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    password.truncate(digits);
    Ok(conversation.answer(family(spec), |out| write::bulk(out, password)))
}

/// `ACL LOAD`: the users file again, all of it or none. Clients whose user is not in it any more are
/// disconnected; the others go on under the new rules.
fn load(conversation: &Conversation, spec: &CommandSpec) -> Result<Flow, Refused> {
    let gateway = conversation.worker.gateway.clone();
    if gateway.access.file().is_none() {
        return Err(Refused::NoUsersFile);
    }
    conversation.answer_later(family(spec), async move {
        let mut reply = Vec::new();
        match gateway.reload_users().await {
            Ok(()) => write::simple(&mut reply, "OK"),
            Err(error) => write::error(&mut reply, format!("ERR {error}")),
        }
        reply
    });
    Ok(Flow::Next)
}

/// `ACL SAVE`
fn save(conversation: &Conversation, spec: &CommandSpec) -> Result<Flow, Refused> {
    let gateway = conversation.worker.gateway.clone();
    let path = gateway.access.file().ok_or(Refused::NoUsersFile)?;
    conversation.answer_later(family(spec), async move {
        let saved = tokio::task::spawn_blocking(move || gateway.access.save(&path)).await;
        let error = match saved {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let mut reply = Vec::new();
        match error {
            None => write::simple(&mut reply, "OK"),
            Some(error) => {
                tracing::warn!(%error, "the users file is not written");
                write::error(&mut reply, Refused::NotSaved.to_string());
            }
        }
        reply
    });
    Ok(Flow::Next)
}
