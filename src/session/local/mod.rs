//! What the gateway answers itself.

use crate::command::{CommandSpec, Commands};
use crate::resp::{Request, write};

use super::conversation::{Conversation, Flow};
use super::family::family;

/// Whether a client may send this before it has logged in.
pub(super) fn before_login(spec: &CommandSpec) -> bool {
    matches!(&*spec.name, "AUTH" | "HELLO" | "QUIT" | "RESET")
}

/// Answers a command of the class `Local`.
pub(super) fn answer(
    conversation: &mut Conversation,
    _commands: &Commands,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    let family = family(spec);
    match &*spec.name {
        "PING" => match request.arg(1) {
            None => conversation.answer(family, |out| write::simple(out, "PONG")),
            Some(message) => conversation.answer(family, |out| write::bulk(out, message)),
        },
        "ECHO" => {
            conversation.answer(family, |out| write::bulk(out, request.arg(1).unwrap_or_default()))
        }
        "QUIT" => {
            conversation.answer(family, |out| write::simple(out, "OK"));
            Flow::Close
        }
        name => {
            let text = format!(
                "ERR command '{}' is not supported by this version of the gateway",
                name.to_lowercase()
            );
            conversation.fail(family, &text)
        }
    }
}
