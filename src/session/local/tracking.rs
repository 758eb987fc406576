//! The commands about client-side caching: CLIENT TRACKING, CACHING, TRACKINGINFO, GETREDIR.

use crate::backend::Caching;
use crate::command::CommandSpec;
use crate::resp::{Request, write};

use super::super::conversation::{Conversation, Flow};
use super::super::family::family;
use super::super::tracking::{self, Announced, Options};
use super::client::is;
use super::error::Refused;
use super::ok;

/// `CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix ..] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`
pub(super) fn set(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let before = conversation.client.tracking.borrow().clone();
    let wanted = Options::read(request)?;
    if conversation.replies.unsettled() > 0 {
        // What follows takes other connections.
        return Ok(Flow::Wait);
    }
    let Some(options) = wanted else {
        conversation.stop_tracking();
        return Ok(ok(conversation, spec));
    };
    let options = options.after(before.as_deref())?;
    conversation.announced = Announced::Nothing;
    let (worker, client) = (conversation.worker.clone(), conversation.client.clone());
    conversation.answer_later(family(spec), async move {
        let mut reply = Vec::new();
        match tracking::begin(worker, client, options).await {
            Ok(()) => write::simple(&mut reply, "OK"),
            Err(mistake) => write::error(&mut reply, mistake.to_string()),
        }
        reply
    });
    Ok(Flow::Next)
}

/// `CLIENT CACHING YES|NO`
pub(super) fn caching(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    argument: &[u8],
) -> Result<Flow, Refused> {
    let options = conversation.client.tracking.borrow().clone().ok_or(Refused::Caching)?;
    let caching = match argument {
        word if is(word, "YES") && options.opt_in => Caching::Yes,
        word if is(word, "YES") => return Err(Refused::CachingYes),
        word if is(word, "NO") && options.opt_out => Caching::No,
        word if is(word, "NO") => return Err(Refused::CachingNo),
        _ => return Err(Refused::Syntax),
    };
    if !conversation.is_aside() {
        conversation.announced = Announced::Next(caching);
    }
    Ok(ok(conversation, spec))
}

/// `CLIENT TRACKINGINFO`
pub(super) fn info(conversation: &Conversation, spec: &CommandSpec) -> Flow {
    let protocol = conversation.protocol;
    let tracking = conversation.client.tracking.borrow().clone();
    let options = tracking.as_deref().cloned().unwrap_or_default();
    let announced = conversation.announced.is_said();
    let flags = [
        (tracking.is_none(), "off"),
        (tracking.is_some(), "on"),
        (options.broadcast, "bcast"),
        (options.opt_in, "optin"),
        (options.opt_in && announced, "caching-yes"),
        (options.opt_out, "optout"),
        (options.opt_out && announced, "caching-no"),
        (options.no_loop, "noloop"),
        (conversation.replies.is_redirection_broken(), "broken_redirect"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
    conversation.answer(family(spec), |out| {
        write::map(out, protocol, 3);
        write::bulk(out, "flags");
        write::set(out, protocol, flags.len());
        flags.iter().for_each(|flag| write::bulk(out, flag));
        write::bulk(out, "redirect");
        write::integer(out, tracking.map_or(-1, |options| options.redirect));
        write::bulk(out, "prefixes");
        write::array(out, options.prefixes.len());
        options.prefixes.iter().for_each(|prefix| write::bulk(out, prefix));
    })
}

/// `CLIENT GETREDIR`
pub(super) fn redirection(conversation: &Conversation, spec: &CommandSpec) -> Flow {
    let redirect =
        conversation.client.tracking.borrow().as_ref().map_or(-1, |options| options.redirect);
    conversation.answer(family(spec), |out| write::integer(out, redirect))
}
