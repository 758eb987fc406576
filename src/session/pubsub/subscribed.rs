//! What one client is subscribed to.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::acl::User;
use crate::backend::{Kind, Topic};

use super::super::client::Client;
use super::rooms::Seat;

/// How many subscriptions of each kind a client has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Tally {
    pub(in crate::session) channels: usize,
    pub(in crate::session) patterns: usize,
    pub(in crate::session) shards: usize,
}

impl Tally {
    pub(in crate::session) fn total(self) -> usize {
        self.channels + self.patterns + self.shards
    }

    /// The number that a confirmation shows: channels and patterns are counted together.
    pub(super) fn shown(self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels + self.patterns,
            Kind::Shard => self.shards,
        }
    }

    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }
}

type Seats = HashMap<Arc<[u8]>, Seat, foldhash::fast::RandomState>;

/// A client's subscriptions. They end with its session at the latest.
pub(in crate::session) struct Subscribed {
    client: Rc<Client>,
    /// By kind. Nothing for who has never listened, as most have not.
    seats: RefCell<Option<Box<[Seats; Kind::COUNT]>>>,
    /// The session has ended.
    closed: Cell<bool>,
}

impl Subscribed {
    pub(in crate::session) fn new(client: Rc<Client>) -> Rc<Self> {
        let seats = RefCell::default();
        let subscribed = Rc::new(Self { client: client.clone(), seats, closed: Cell::new(false) });
        client.subscribed.replace(Rc::downgrade(&subscribed));
        subscribed
    }

    pub(super) fn has(&self, kind: Kind, name: &[u8]) -> bool {
        self.of(kind, |seats| seats.contains_key(name)).unwrap_or_default()
    }

    /// Everything of this kind.
    pub(super) fn names(&self, kind: Kind) -> Vec<Arc<[u8]>> {
        self.of(kind, |seats| seats.keys().cloned().collect()).unwrap_or_default()
    }

    fn of<T>(&self, kind: Kind, look: impl FnOnce(&Seats) -> T) -> Option<T> {
        self.seats.borrow().as_ref()?.get(kind as usize).map(look)
    }

    /// Whether this user may listen to all of it.
    pub(in crate::session) fn is_allowed_to(&self, user: &User) -> bool {
        let seats = self.seats.borrow();
        let mut seats = seats.iter().flat_map(|seats| seats.iter()).flat_map(HashMap::values);
        seats.all(|seat| user.may_use_channel(seat.name(), seat.kind() == Kind::Pattern))
    }

    /// The client listens from now on, unless its session has ended. Returns the messages that came early.
    #[expect(clippy::indexing_slicing, reason = "there are as many maps as kinds")]
    pub(super) fn add(&self, seat: Seat) -> Vec<u8> {
        if self.closed.get() {
            return Vec::new();
        }
        let early = seat.sit();
        let (kind, mut tally) = (seat.kind(), self.client.subscriptions.get());
        *tally.of(kind) += 1;
        let mut seats = self.seats.borrow_mut();
        seats.get_or_insert_default()[kind as usize].insert(seat.name().clone(), seat);
        drop(seats);
        self.client.subscribes(tally);
        early
    }

    /// The client does not listen any more. Returns the seat, which may be the last in its room.
    pub(super) fn remove(&self, kind: Kind, name: &[u8]) -> Option<Seat> {
        let seat = self.seats.borrow_mut().as_mut()?.get_mut(kind as usize)?.remove(name)?;
        let mut tally = self.client.subscriptions.get();
        let count = tally.of(kind);
        *count = count.saturating_sub(1);
        self.client.subscribes(tally);
        Some(seat)
    }

    /// Ends all subscriptions; returns what they were to.
    pub(in crate::session) fn clear(&self) -> Vec<Topic> {
        let seats = self.seats.take();
        self.client.subscribes(Tally::default());
        let seats = seats.iter().flat_map(|seats| seats.iter()).flat_map(HashMap::values);
        seats.map(|seat| seat.topic().clone()).collect()
    }

    /// The session has ended.
    pub(in crate::session) fn close(&self) {
        self.closed.set(true);
        self.clear();
    }
}
