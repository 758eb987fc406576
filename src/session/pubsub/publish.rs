//! PUBLISH and SPUBLISH: sent to the node that carries the channel, and answered with the clients that hear it.

use std::rc::Rc;

use crate::backend::{Kind, Terms};
use crate::cluster::Slot;
use crate::command::CommandSpec;
use crate::resp::{Request, integer, write};

use super::super::conversation::{Conversation, Flow};
use super::super::steps;
use super::census::Audience;
use super::rooms::Rooms;

/// Where messages go. Those for one place may be under way together: they stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Destination {
    /// The home node.
    Home,
    /// The owner of a slot.
    Slot(Slot),
}

/// One message for a channel.
#[derive(Debug)]
pub(in crate::session) struct Publication {
    kind: Kind,
    carrier: Kind,
    channel: Box<[u8]>,
    /// Who listened when it was sent; nobody before that. Whoever came later may have missed it, and is not counted.
    audience: Audience,
    /// It is sent to a node that does not carry the channel for this gateway.
    indirect: bool,
}

impl Publication {
    /// Reads `PUBLISH channel message` or `SPUBLISH channel message`.
    pub(in crate::session) fn of(rooms: &Rooms, spec: &CommandSpec, request: &Request<'_>) -> Self {
        let channel = request.arg(1).unwrap_or_default();
        let kind = if spec.keys.is_none() { Kind::Channel } else { Kind::Shard };
        Self {
            kind,
            carrier: rooms.carrier(kind, channel),
            channel: channel.into(),
            audience: Audience::default(),
            indirect: false,
        }
    }

    /// It is sent now; `direct`: to the node that carries the channel.
    pub(in crate::session) fn is_sent(&mut self, rooms: &Rooms, direct: bool) {
        self.audience = rooms.audience(self.kind, &self.channel);
        self.indirect = !direct;
    }

    pub(in crate::session) fn destination(&self) -> Destination {
        match self.carrier {
            Kind::Shard => Destination::Slot(Slot::of(&self.channel)),
            _ => Destination::Home,
        }
    }

    /// Sends `terms` there.
    pub(in crate::session) fn terms(&self, terms: Terms) -> Terms {
        match self.destination() {
            Destination::Home => Terms { slot: None, home: true, ..terms },
            Destination::Slot(slot) => Terms { slot: Some(slot), ..terms },
        }
    }

    /// Writes the request as the node is to get it.
    pub(in crate::session) fn write(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        if self.carrier == self.kind {
            out.extend_from_slice(request.frame());
        } else {
            let message = request.arg(2).unwrap_or_default();
            write::command(out, &[b"SPUBLISH", &*self.channel, message]);
        }
    }

    /// Writes the node's reply as it looks when the gateway's clients are counted, and not its own subscriptions.
    pub(in crate::session) fn correct(&self, reply: &[u8], out: &mut Vec<u8>) {
        match integer(reply) {
            Some(count) if self.indirect => write::integer(out, count + self.audience.listeners),
            Some(count) => write::integer(out, self.audience.reached(count)),
            None => out.extend_from_slice(reply),
        }
    }
}

/// Publishes. The client's earlier requests are answered first, so that whoever hears the message sees what was
/// written before it; messages for one place follow each other without waiting.
pub(super) fn serve(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    let rooms = &conversation.worker.rooms;
    let mut publication = Publication::of(rooms, spec, request);
    let destination = Some(publication.destination());
    let listens = conversation.client.subscriptions.get().total() > 0;
    if conversation.replies.unsettled() > 0 && (listens || conversation.publishing != destination) {
        return Flow::Wait;
    }
    if listens {
        // It may hear itself, and then the message comes before the reply.
        return steps::begin(conversation, spec, request);
    }
    publication.is_sent(rooms, true);
    conversation.publishing = destination;
    conversation.echoes.published();
    conversation.client.is_special.set(true);
    let sent = Rc::new(publication);
    let rewrite = {
        let sent = sent.clone();
        move |reply: &[u8], out: &mut Vec<u8>| sent.correct(reply, out)
    };
    let about = conversation.about(spec, request);
    let ticket = conversation.replies.expect_rewrite(about, Box::new(rewrite));
    let terms = sent.terms(Terms::new(None, conversation.manner()));
    let pool = &conversation.worker.pool;
    pool.send(terms, &conversation.asker, ticket, |out| sent.write(request, out));
    Flow::Next
}
