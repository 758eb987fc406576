//! Publish and subscribe: the gateway's clients share its subscriptions at the nodes.
//!
//! A client's subscription is confirmed once the node has confirmed the gateway's and every worker knows of it, so
//! whatever is published from then on is heard, and counted.

mod census;
mod echoes;
mod permitted;
mod publish;
mod rooms;
mod subscribed;

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::backend::{Kind, Topic};
use crate::command::{Class, CommandSpec};
use crate::metrics::Limit;
use crate::resp::{Request, write};

use super::client::Client;
use super::conversation::{Conversation, Flow};
use super::family::family;
use super::worker::Worker;

use permitted::permitted;
use rooms::Seat;

pub(super) use census::{Desk, desks};
pub(super) use echoes::{Echoes, is_mark};
pub(super) use publish::{Destination, Publication};
pub(super) use rooms::Rooms;
pub(super) use subscribed::{Subscribed, Tally};

/// Begins to publish, to subscribe, or to end a subscription.
pub(super) fn serve(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    match &*spec.name {
        "PUBLISH" | "SPUBLISH" => publish::serve(conversation, spec, request),
        _ if conversation.replies.unsettled() > 0 => Flow::Wait,
        "SUBSCRIBE" => subscribe(conversation, spec, request, Kind::Channel),
        "PSUBSCRIBE" => subscribe(conversation, spec, request, Kind::Pattern),
        "SSUBSCRIBE" => subscribe(conversation, spec, request, Kind::Shard),
        "UNSUBSCRIBE" => unsubscribe(conversation, spec, request, Kind::Channel),
        "PUNSUBSCRIBE" => unsubscribe(conversation, spec, request, Kind::Pattern),
        "SUNSUBSCRIBE" => unsubscribe(conversation, spec, request, Kind::Shard),
        _ => super::steps::begin(conversation, spec, request),
    }
}

/// Looks at the next request of a client that subscribes or has just published, before it is served. `None`: it
/// may be.
pub(super) fn before(conversation: &mut Conversation, spec: &CommandSpec) -> Option<Flow> {
    let publishes = matches!(&*spec.name, "PUBLISH" | "SPUBLISH");
    if conversation.publishing.is_some() && !publishes {
        if conversation.replies.unsettled() > 0 {
            return Some(Flow::Wait);
        }
        conversation.publishing = None;
    }
    let listens = conversation.client.subscriptions.get().total() > 0;
    conversation.client.is_special.set(listens || conversation.publishing.is_some());
    if !conversation.is_subscriber() || is_for_subscribers(spec) {
        return None;
    }
    let text = format!(
        "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
         this context",
        spec.wire_name()
    );
    Some(match &*spec.name {
        "EXEC" => conversation.reject(spec, text),
        _ => conversation.fail(family(spec), format!("ERR {text}")),
    })
}

/// Whether a client that speaks RESP2 may send this while it is subscribed.
fn is_for_subscribers(spec: &CommandSpec) -> bool {
    let subscribes = spec.class == Class::PubSub && spec.name.ends_with("SUBSCRIBE");
    subscribes || matches!(&*spec.name, "PING" | "QUIT" | "RESET")
}

/// PING of a client that cannot tell a reply from a message otherwise.
pub(super) fn pong(conversation: &Conversation, spec: &CommandSpec, message: &[u8]) -> Flow {
    conversation.answer(family(spec), |out| {
        write::array(out, 2);
        write::bulk(out, "pong");
        write::bulk(out, message);
    })
}

/// What the tasks of one client's requests need of it.
#[derive(Clone)]
struct Subscriber {
    worker: Rc<Worker>,
    client: Rc<Client>,
    subscribed: Rc<Subscribed>,
    muted: bool,
}

impl Subscriber {
    fn of(conversation: &Conversation) -> Self {
        Self {
            worker: conversation.worker.clone(),
            client: conversation.client.clone(),
            subscribed: conversation.subscribed.clone(),
            muted: conversation.is_muted(),
        }
    }

    /// Confirmations are messages, which reach also a client that wants no replies.
    fn confirmed(&self, frames: Vec<u8>) -> Vec<u8> {
        if !self.muted {
            return frames;
        }
        self.client.replies.push(&frames, b"");
        Vec::new()
    }

    fn write(&self, out: &mut Vec<u8>, word: &str, name: Option<&[u8]>, count: usize) {
        let protocol = self.client.manner().protocol;
        write::push(out, protocol, 3);
        write::bulk(out, word);
        match name {
            Some(name) => write::bulk(out, name),
            None => write::null(out, protocol),
        }
        write::integer(out, count as i64);
    }
}

fn subscribe(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
    kind: Kind,
) -> Flow {
    let names: Vec<Arc<[u8]>> = request.args().skip(1).map(Arc::from).collect();
    let refused = names
        .iter()
        .any(|name| kind == Kind::Pattern && !conversation.worker.rooms.carries_pattern(name));
    if refused {
        let text = "ERR patterns are for keyspace events only while pubsub.sharded is on";
        return conversation.fail(family(spec), text);
    }
    let most = conversation.worker.gateway.settings().pubsub.subscriptions;
    let new = names.iter().filter(|name| !conversation.subscribed.has(kind, name)).count();
    if conversation.client.subscriptions.get().total() + new > most {
        conversation.worker.metrics.limit_reached(Limit::Subscriptions);
        return conversation.fail(family(spec), "ERR max number of subscriptions reached");
    }
    let subscriber = Subscriber::of(conversation);
    let echoes = conversation.echoes.before(kind);
    conversation.answer_later(family(spec), async move {
        match subscriber.join(kind, &names, echoes).await {
            Ok(frames) => subscriber.confirmed(frames),
            Err(text) => {
                let mut line = Vec::new();
                write::error(&mut line, text);
                line
            }
        }
    });
    Flow::Next
}

impl Subscriber {
    /// Subscribes to all of these or, when it fails, to none.
    async fn join(
        &self,
        kind: Kind,
        names: &[Arc<[u8]>],
        echoes: Echoes,
    ) -> Result<Vec<u8>, String> {
        let rooms = &self.worker.rooms;
        let mut met = HashSet::new();
        let new = names.iter().filter(|name| !self.subscribed.has(kind, name) && met.insert(*name));
        let new: Vec<Arc<[u8]>> = new.cloned().collect();
        permitted(&self.worker, self.client.manner(), kind, &new).await?;
        let mut seats: Vec<Seat> = new.iter().map(|name| rooms.keep_seat(kind, name)).collect();
        let topics: Vec<Topic> = seats.iter().map(|seat| seat.topic().clone()).collect();
        echoes.passed(&self.worker, &topics).await;
        seats.iter_mut().for_each(|seat| seat.wait(&self.client));
        rooms.upstream.established(&topics).await.map_err(|error| error.to_string())?;
        seats.iter_mut().for_each(Seat::count);
        rooms.census.told().await;
        // From here on nothing waits: no message comes before the confirmation, and none is missed after it.
        let mut seats = seats.into_iter().peekable();
        let (mut frames, mut early) = (Vec::new(), Vec::new());
        for name in names {
            if let Some(seat) = seats.next_if(|seat| seat.name() == name) {
                early.extend(self.subscribed.add(seat));
            }
            let count = self.client.subscriptions.get().shown(kind);
            self.write(&mut frames, kind.subscribe(), Some(name), count);
        }
        frames.extend(early);
        if !self.client.is_welcome(&self.worker.gateway.access.users()) {
            // The rules have changed while the nodes were asked, and who looked for such clients did not see this.
            self.client.kill();
        }
        Ok(frames)
    }

    async fn part(&self, kind: Kind, names: &[Arc<[u8]>]) -> Vec<u8> {
        let mut frames = Vec::new();
        let mut left = Vec::new();
        for name in names {
            if let Some(seat) = self.subscribed.remove(kind, name) {
                left.push(seat.topic().clone());
            }
            let count = self.client.subscriptions.get().shown(kind);
            self.write(&mut frames, kind.unsubscribe(), Some(name), count);
        }
        if names.is_empty() {
            let count = self.client.subscriptions.get().shown(kind);
            self.write(&mut frames, kind.unsubscribe(), None, count);
        }
        self.worker.rooms.left(&left).await;
        frames
    }
}

fn unsubscribe(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
    kind: Kind,
) -> Flow {
    if conversation.dialect().objects_to_unsubscribing()
        && conversation.client.subscriptions.get().total() == 0
    {
        let word = kind.unsubscribe();
        let text = format!("NOSUB '{word}' command executed not in subscribed mode");
        return conversation.fail(family(spec), text);
    }
    let subscriber = Subscriber::of(conversation);
    let named: Vec<Arc<[u8]>> = request.args().skip(1).map(Arc::from).collect();
    conversation.answer_later(family(spec), async move {
        let names = if named.is_empty() { subscriber.subscribed.names(kind) } else { named };
        let frames = subscriber.part(kind, &names).await;
        subscriber.confirmed(frames)
    });
    Flow::Next
}
