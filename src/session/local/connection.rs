//! Who a client is and how it speaks: HELLO, AUTH, SELECT, RESET.

use crate::acl::DEFAULT;
use crate::command::CommandSpec;
use crate::resp::{Protocol, Request, number, write};

use super::super::conversation::{Conversation, Flow, Wanted};
use super::super::family::family;
use super::error::{Refused, shown};
use super::ok;

/// `AUTH [user] password`
pub(super) fn auth(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let mut arguments = request.args().skip(1);
    let users = conversation.worker.gateway.access.users();
    let (user, password) = match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(_), None, _) if users.default_user().has_no_password() => {
            return Err(Refused::NoPassword);
        }
        (Some(password), None, _) => (DEFAULT, password),
        (Some(user), Some(password), None) => (user, password),
        _ => return Err(Refused::Syntax),
    };
    log_in(conversation, request, user, password)?;
    Ok(ok(conversation, spec))
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`. What stands before a mistake has taken effect,
/// except for the version.
pub(super) fn hello(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let protocol = request.arg(1).map(protocol).transpose()?;
    let manner = conversation.manner();
    let spoken = protocol.map_or(manner, |protocol| manner.in_protocol(protocol));
    if conversation.must_settle() || conversation.must_wait_to_mean(spoken) {
        return Ok(Flow::Wait);
    }
    let mut arguments = request.args().skip(2);
    while let Some(option) = HelloOption::next(&mut arguments) {
        match option? {
            HelloOption::Auth { user, password } => {
                log_in(conversation, request, user, password)?;
            }
            HelloOption::SetName(name) => {
                *conversation.client.name.borrow_mut() = client_name(name)?;
            }
        }
    }
    if !conversation.is_authenticated() {
        return Err(Refused::HelloLogin(conversation.dialect().hello_without_login()));
    }
    let Some(protocol) = protocol.filter(|wanted| *wanted != conversation.protocol) else {
        return Ok(greet(conversation, spec));
    };
    conversation.speak(protocol);
    let flow = greet(conversation, spec);
    conversation.track_again();
    Ok(flow)
}

/// `SELECT number`: what follows is about this database.
pub(super) fn select(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let database = database(conversation, request)?;
    let manner = conversation.manner();
    if conversation.must_wait_to_mean(manner.in_database(database)) {
        return Ok(Flow::Wait);
    }
    if manner.database == database {
        return Ok(ok(conversation, spec));
    }
    conversation.enter(database);
    let flow = ok(conversation, spec);
    conversation.track_again();
    Ok(flow)
}

/// The database that `SELECT` names.
pub(in crate::session) fn database(
    conversation: &Conversation,
    request: &Request<'_>,
) -> Result<u16, Refused> {
    let gateway = &conversation.worker.gateway;
    let index = request.arg(1).and_then(number::integer).map(i32::try_from);
    let Some(Ok(index)) = index else { return Err(Refused::NotAnInteger) };
    match u16::try_from(index).ok().filter(|index| *index < gateway.databases()) {
        Some(index) => Ok(index),
        None if gateway.mode() == "cluster" => {
            Err(Refused::Select(conversation.dialect().no_such_database()))
        }
        None => Err(Refused::Database),
    }
}

/// `RESET`: as if the client had just connected.
pub(super) fn reset(conversation: &mut Conversation, spec: &CommandSpec) -> Flow {
    let manner = conversation.manner().in_protocol(Protocol::Resp2).in_database(0);
    if conversation.must_settle() || conversation.must_wait_to_mean(manner) {
        return Flow::Wait;
    }
    conversation.enter(0);
    conversation.stop_tracking();
    conversation.end_transaction();
    let topics = conversation.subscribed.clear();
    conversation.speak(Protocol::Resp2);
    conversation.wanted = Wanted::All;
    conversation.monitoring = None;
    conversation.client.name.take();
    conversation.log_out();
    if topics.is_empty() {
        return conversation.answer(family(spec), |out| write::simple(out, "RESET"));
    }
    // Nobody who publishes after the reply counts it.
    let worker = conversation.worker.clone();
    conversation.answer_later(family(spec), async move {
        worker.rooms.left(&topics).await;
        b"+RESET\r\n".to_vec()
    });
    Flow::Next
}

/// A name for a client or for its library; an empty one takes the name away. `None`: it would break the
/// format of CLIENT LIST.
pub(super) fn printable(text: &[u8]) -> Option<String> {
    let fits = text.iter().all(|byte| matches!(byte, b'!'..=b'~'));
    fits.then(|| String::from_utf8_lossy(text).into_owned())
}

/// A name for a client.
pub(super) fn client_name(name: &[u8]) -> Result<String, Refused> {
    printable(name).ok_or(Refused::ClientName)
}

fn log_in(
    conversation: &Conversation,
    request: &Request<'_>,
    user: &[u8],
    password: &[u8],
) -> Result<(), Refused> {
    let admitted = conversation.log_in(request, user, password);
    if admitted { Ok(()) } else { Err(Refused::WrongPassword) }
}

fn greet(conversation: &Conversation, spec: &CommandSpec) -> Flow {
    let gateway = &conversation.worker.gateway;
    let (software, mode) = (gateway.software(), gateway.mode());
    let (protocol, number) = match conversation.protocol {
        Protocol::Resp2 => (Protocol::Resp2, 2),
        Protocol::Resp3 => (Protocol::Resp3, 3),
    };
    conversation.answer(family(spec), |out| {
        write::map(out, protocol, 7);
        write::bulk(out, "server");
        write::bulk(out, software.name());
        write::bulk(out, "version");
        write::bulk(out, software.version().to_string());
        write::bulk(out, "proto");
        write::integer(out, number);
        write::bulk(out, "id");
        write::integer(out, conversation.client.id as i64);
        write::bulk(out, "mode");
        write::bulk(out, mode);
        write::bulk(out, "role");
        write::bulk(out, "master");
        write::bulk(out, "modules");
        write::array(out, 0);
    })
}

fn protocol(version: &[u8]) -> Result<Protocol, Refused> {
    match number::integer(version) {
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        Some(_) => Err(Refused::Protocol),
        None => Err(Refused::ProtocolNumber),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum HelloOption<'a> {
    Auth { user: &'a [u8], password: &'a [u8] },
    SetName(&'a [u8]),
}

impl<'a> HelloOption<'a> {
    fn next(arguments: &mut impl Iterator<Item = &'a [u8]>) -> Option<Result<Self, Refused>> {
        let word = arguments.next()?;
        let mut take = || arguments.next().ok_or_else(|| Refused::HelloOption(shown(word)));
        Some(if word.eq_ignore_ascii_case(b"AUTH") {
            take().and_then(|user| Ok(Self::Auth { user, password: take()? }))
        } else if word.eq_ignore_ascii_case(b"SETNAME") {
            take().map(Self::SetName)
        } else {
            Err(Refused::HelloOption(shown(word)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_protocol() {
        let table = [
            ("2", Ok(Protocol::Resp2)),
            ("3", Ok(Protocol::Resp3)),
            ("1", Err(Refused::Protocol)),
            ("4", Err(Refused::Protocol)),
            ("-3", Err(Refused::Protocol)),
            ("", Err(Refused::ProtocolNumber)),
            ("03", Err(Refused::ProtocolNumber)),
            ("three", Err(Refused::ProtocolNumber)),
            ("99999999999999999999", Err(Refused::ProtocolNumber)),
        ];
        for (text, expected) in table {
            assert_eq!(protocol(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn options_of_hello() {
        let auth = |user: &'static str, password: &'static str| {
            Ok(HelloOption::Auth { user: user.as_bytes(), password: password.as_bytes() })
        };
        let name = |name: &'static str| Ok(HelloOption::SetName(name.as_bytes()));
        let wrong = |word: &str| Err(Refused::HelloOption(word.to_owned()));
        let table = [
            ("", vec![]),
            ("AUTH default pw", vec![auth("default", "pw")]),
            ("auth AUTH SETNAME setname me", vec![auth("AUTH", "SETNAME"), name("me")]),
            ("SETNAME a SETNAME b", vec![name("a"), name("b")]),
            ("SETNAME me FOO", vec![name("me"), wrong("FOO")]),
            ("AUTH", vec![wrong("AUTH")]),
            ("Auth user", vec![wrong("Auth")]),
            ("SETNAME", vec![wrong("SETNAME")]),
        ];
        for (line, expected) in table {
            let mut arguments = line.split_ascii_whitespace().map(str::as_bytes);
            let found: Vec<_> = std::iter::from_fn(|| HelloOption::next(&mut arguments)).collect();
            assert_eq!(found, expected, "{line:?}");
        }
    }

    #[test]
    fn names_that_fit_into_a_line() {
        for good in ["me", "go-redis(,go1.22)", "!~", ""] {
            assert_eq!(printable(good.as_bytes()), Some(good.to_owned()));
        }
        for bad in ["a b", "a\tb", "a\n", "a\r\n", "\0", "é", "\x7f"] {
            assert_eq!(printable(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
