//! Who listens to what: one room for each topic, one seat in it for each client that listens.
//!
//! A room is there as long as somebody has a seat in it or waits for one, and that long its topic is subscribed to.
//! Everything ends by being dropped: a seat, a room, a subscription.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use slab::Slab;

use crate::backend::{Hearer, Kind, Message, Subscriptions, Topic};
use crate::config::{OnLoss, PubSub};
use crate::metrics::WorkerMetrics;
use crate::resp::Protocol;

use super::super::client::Client;
use super::census::{Audience, Census};
use super::echoes::is_mark;

/// Bytes of early messages that a subscription keeps.
const EARLY_BYTES: usize = 1 << 20;

type Names = HashMap<Arc<[u8]>, Weak<Room>, foldhash::fast::RandomState>;

/// All rooms of a worker.
pub(in crate::session) struct Rooms {
    pub(in crate::session) upstream: Rc<Subscriptions>,
    pub(in crate::session) census: Rc<Census>,
    metrics: Arc<WorkerMetrics>,
    pub(in crate::session) on_loss: Cell<OnLoss>,
    sharded: bool,
    by_name: RefCell<[Names; Kind::COUNT]>,
}

/// One topic and those who listen to it.
pub(in crate::session) struct Room {
    topic: Topic,
    rooms: Rc<Rooms>,
    seats: RefCell<Slab<Listener>>,
}

struct Listener {
    client: Rc<Client>,
    /// As what it subscribed: plain channels may be carried by shard channels.
    kind: Kind,
    /// Messages that came before its confirmation, while it waits for that.
    early: RefCell<Option<Vec<u8>>>,
}

/// A client's subscription to one channel or pattern. Dropped, it ends.
pub(super) struct Seat {
    room: Rc<Room>,
    kind: Kind,
    /// Its number once the client waits in it.
    place: Option<usize>,
    counted: bool,
}

impl Rooms {
    /// No rooms yet.
    pub(in crate::session) fn new(
        upstream: Rc<Subscriptions>,
        metrics: Arc<WorkerMetrics>,
        settings: &PubSub,
    ) -> Rc<Self> {
        let census = Census::new();
        let (on_loss, sharded) = (Cell::new(settings.on_loss), settings.sharded);
        Rc::new(Self { upstream, census, metrics, on_loss, sharded, by_name: RefCell::default() })
    }

    /// How a channel is carried between the nodes.
    pub(in crate::session) fn carrier(&self, kind: Kind, name: &[u8]) -> Kind {
        let plain = kind != Kind::Channel || !self.sharded || name.starts_with(b"__key");
        if plain { kind } else { Kind::Shard }
    }

    /// Whether messages of plain channels reach a pattern.
    pub(in crate::session) fn carries_pattern(&self, name: &[u8]) -> bool {
        !self.sharded || name.starts_with(b"__key")
    }

    /// Who hears a message that is published to this channel, of a plain or of the shard kind.
    pub(in crate::session) fn audience(&self, kind: Kind, channel: &[u8]) -> Audience {
        let carried = self.carrier(Kind::Channel, channel) == Kind::Shard;
        self.census.audience(self.carrier(kind, channel), carried, channel)
    }

    /// Waits until neither the nodes nor the other workers count who was in these rooms.
    pub(in crate::session) async fn left(&self, topics: &[Topic]) {
        self.upstream.left(topics).await;
        self.census.told().await;
    }

    /// Keeps a seat, in which nobody sits yet.
    pub(super) fn keep_seat(self: &Rc<Self>, kind: Kind, name: &[u8]) -> Seat {
        let room = self.room(self.carrier(kind, name), name);
        Seat { room, kind, place: None, counted: false }
    }

    #[expect(clippy::indexing_slicing, reason = "there are as many maps as kinds")]
    fn room(self: &Rc<Self>, kind: Kind, name: &[u8]) -> Rc<Room> {
        let known = self.by_name.borrow()[kind as usize].get(name).and_then(Weak::upgrade);
        if let Some(room) = known {
            return room;
        }
        let topic = Topic { kind, name: name.into() };
        let seats = RefCell::default();
        let room = Rc::new(Room { topic: topic.clone(), rooms: self.clone(), seats });
        self.by_name.borrow_mut()[kind as usize].insert(topic.name.clone(), Rc::downgrade(&room));
        let hearer: Rc<dyn Hearer> = room.clone();
        self.upstream.enter(&topic, Rc::downgrade(&hearer));
        room
    }
}

impl Drop for Room {
    #[expect(clippy::indexing_slicing, reason = "there are as many maps as kinds")]
    fn drop(&mut self) {
        self.rooms.by_name.borrow_mut()[self.topic.kind as usize].remove(&self.topic.name);
        self.rooms.upstream.leave(&self.topic);
    }
}

impl Hearer for Room {
    fn hear(&self, message: &Message<'_>) -> usize {
        if self.topic.kind == Kind::Pattern && is_mark(message.channel) {
            return 0;
        }
        let seats = self.seats.borrow();
        for (_, listener) in &*seats {
            listener.hear(message);
        }
        self.rooms.metrics.messages_delivered(seats.len());
        seats.len()
    }

    fn missed(&self) {
        if self.rooms.on_loss.get() == OnLoss::Disconnect {
            self.seats.borrow().iter().for_each(|(_, listener)| listener.client.kill());
        }
    }
}

impl Listener {
    fn hear(&self, message: &Message<'_>) {
        let head = head(self.kind, self.client.manner().protocol);
        match &mut *self.early.borrow_mut() {
            None => self.client.replies.push(head, message.tail),
            Some(early) if early.len() < EARLY_BYTES => {
                early.extend_from_slice(head);
                early.extend_from_slice(message.tail);
            }
            // Nobody was told yet that it listens.
            Some(_) => {}
        }
    }
}

/// How a message starts: what is left of it is the same for all.
fn head(kind: Kind, protocol: Protocol) -> &'static [u8] {
    match (kind, protocol) {
        (Kind::Channel, Protocol::Resp2) => b"*3\r\n$7\r\nmessage\r\n",
        (Kind::Channel, Protocol::Resp3) => b">3\r\n$7\r\nmessage\r\n",
        (Kind::Pattern, Protocol::Resp2) => b"*4\r\n$8\r\npmessage\r\n",
        (Kind::Pattern, Protocol::Resp3) => b">4\r\n$8\r\npmessage\r\n",
        (Kind::Shard, Protocol::Resp2) => b"*3\r\n$8\r\nsmessage\r\n",
        (Kind::Shard, Protocol::Resp3) => b">3\r\n$8\r\nsmessage\r\n",
    }
}

impl Seat {
    pub(super) fn topic(&self) -> &Topic {
        &self.room.topic
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn name(&self) -> &Arc<[u8]> {
        &self.room.topic.name
    }

    /// The census counts it from now on.
    pub(super) fn count(&mut self) {
        self.counted = true;
        self.room.rooms.census.change(self.kind, self.name(), 1);
    }

    /// From now on messages are kept for the client. Libraries do not wait for the confirmation before they have
    /// something published.
    pub(super) fn wait(&mut self, client: &Rc<Client>) {
        let early = RefCell::new(Some(Vec::new()));
        let listener = Listener { client: client.clone(), kind: self.kind, early };
        self.place = Some(self.room.seats.borrow_mut().insert(listener));
        self.room.rooms.metrics.subscriptions(1);
    }

    /// From now on messages reach the client; returns those that were kept.
    pub(super) fn sit(&self) -> Vec<u8> {
        let seats = self.room.seats.borrow();
        let listener = self.place.and_then(|place| seats.get(place));
        listener.and_then(|listener| listener.early.take()).unwrap_or_default()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.room.seats.borrow_mut().try_remove(place);
            self.room.rooms.metrics.subscriptions(-1);
        }
        if self.counted {
            self.room.rooms.census.change(self.kind, self.name(), -1);
        }
    }
}
