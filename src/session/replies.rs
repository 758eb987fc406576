//! The reply side of a session, shared with the pipelines that carry its requests.
//!
//! Pipelines settle places in their turn, and the worker's [`Flusher`](super::flusher::Flusher) writes once for all that
//! a turn of the loop settled: a reply wakes no task, unless the session waits for it.

mod again;
mod asker;
mod holding;
mod shared;
mod word;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::backend::{LARGE, Lines, Ticket};
use crate::cluster::Slot;
use crate::merge::Merge;
use crate::metrics::{Family, Outcome, Rejection};

use super::client::Client;
use super::memory::Holding;
use super::outgoing::Outgoing;
use super::patience::Patience;
use super::places::{About, Content, Exit, Places, Rewrite};
use super::socket::Writer;
use super::traces::Trail;
use super::tracking::Teller;
use super::worker::Worker;

pub(super) use again::Unscripted;
pub(super) use shared::Shared;

/// Requests under way of a client of whose replies nothing is known yet. It may have more as soon as they
/// turn out to be small, so that replies of any size stay within its bounds.
const CAREFUL: usize = 64;

/// Why a session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client is gone.
    Gone,
    /// It reads too slowly.
    OutputLimit,
    /// A reply broke off in the middle, after a part of it had left.
    Truncated,
    /// Somebody ended it.
    Killed,
    /// All clients hold too much, and it the most.
    Memory,
}

struct State {
    outgoing: Outgoing,
    places: Places,
    /// In the flusher's list.
    queued: bool,
    /// Among those that the flusher has put off, since when nothing was written.
    postponed: bool,
    /// The session's task wants to know when something settles.
    watched: bool,
    /// A request was redirected or held since nothing was under way.
    disturbed: bool,
    /// Parts to be sent again key by key.
    divided: Vec<(Ticket, Bytes)>,
    /// Requests whose scripts are to be brought to their nodes, and whether somebody is at it.
    unscripted: VecDeque<Unscripted>,
    mending: bool,
    /// What it has to say of changed keys.
    teller: Teller,
    /// What the session holds besides, in bytes, and what the worker knows of all that it holds.
    apart: usize,
    counted: Holding,
    end: Option<End>,
}

/// What a session and the pipelines share.
pub(super) struct Replies {
    this: Weak<Self>,
    state: RefCell<State>,
    waker: RefCell<Option<Waker>>,
    /// The connections that it has for itself, if the nodes keep track of what it reads.
    lines: RefCell<Option<Rc<Lines>>>,
    tracked: Cell<bool>,
    shared: Rc<Shared>,
    /// How long the client has left too much unread of replies, and of messages.
    with_replies: Patience,
    with_messages: Patience,
    /// Whose replies they are.
    client: OnceCell<Weak<Client>>,
}

impl Replies {
    pub(super) fn new(worker: &Worker, socket: Writer) -> Rc<Self> {
        let (settings, metrics) = (worker.gateway.settings(), worker.metrics.clone());
        let state = State {
            outgoing: Outgoing::new(socket, metrics.clone()),
            places: Places::new(settings.limits.inflight_bytes / CAREFUL),
            queued: false,
            postponed: false,
            watched: false,
            disturbed: false,
            divided: Vec::new(),
            unscripted: VecDeque::new(),
            mending: false,
            teller: Teller::default(),
            apart: 0,
            counted: Holding::default(),
            end: None,
        };
        Rc::new_cyclic(|this| Self {
            this: this.clone(),
            state: RefCell::new(state),
            waker: RefCell::new(None),
            lines: RefCell::default(),
            tracked: Cell::new(false),
            shared: worker.shared.clone(),
            with_replies: Patience::default(),
            with_messages: Patience::default(),
            client: OnceCell::new(),
        })
    }

    /// Says whose replies they are.
    pub(super) fn belong_to(&self, client: &Rc<Client>) {
        self.client.get_or_init(|| Rc::downgrade(client));
    }

    /// Writes a reply that the gateway gives itself, at its place in the order.
    pub(super) fn answer(&self, family: Family, muted: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.borrow_mut();
        if state.places.is_empty() {
            state.places.skip();
        }
        let first = if muted {
            None
        } else if state.places.is_empty() {
            state.outgoing.borrow_room(&self.shared.spares);
            state.outgoing.append(write)
        } else {
            let mut reply = Vec::new();
            write(&mut reply);
            let first = reply.first().copied();
            state.places.push_ready(reply, family, self.shared.clock.now());
            first
        };
        let outcome = if first == Some(b'-') { Outcome::Refused } else { Outcome::Ok };
        self.shared.metrics.request_settled(family, outcome, 0);
        self.touched(&mut state);
    }

    /// A message that answers no request, in two pieces: it leaves at once, though not within a reply.
    pub(super) fn push(&self, head: &[u8], tail: &[u8]) {
        let mut state = self.state.borrow_mut();
        if state.end.is_none() {
            let in_reply = state.places.is_streaming();
            state.outgoing.borrow_room(&self.shared.spares);
            state.outgoing.push(head, tail, in_reply);
            self.touched(&mut state);
        }
        drop(state);
        self.expect_reader(true);
    }

    /// Ends the session of a client that has not read enough for too long, a subscriber or not.
    pub(super) fn expect_reader(&self, subscriber: bool) {
        let mut state = self.state.borrow_mut();
        let (patience, bounds) = match subscriber {
            true => (&self.with_messages, self.shared.on_messages.get()),
            false => (&self.with_replies, self.shared.on_replies.get()),
        };
        let ends = patience.ends(bounds, state.unread(), self.shared.clock.now());
        if ends && state.end.is_none() {
            if subscriber {
                self.shared.metrics.slow_subscriber_rejected();
            } else {
                self.shared.metrics.session_rejected(Rejection::OutputLimit);
            }
            state.end = Some(End::OutputLimit);
            self.touched(&mut state);
        }
    }

    /// Makes a place for the reply of a request that is about to be sent.
    pub(super) fn expect(&self, about: About) -> Ticket {
        self.place(Content::Waiting, about)
    }

    /// The same for a request in parts.
    pub(super) fn expect_merge(&self, about: About, merge: Merge) -> Ticket {
        self.place(Content::Merging(Box::new(merge)), about)
    }

    /// The same for a reply that is rewritten.
    pub(super) fn expect_rewrite(&self, about: About, rewrite: Rewrite) -> Ticket {
        self.place(Content::Rewriting(rewrite, Vec::new()), about)
    }

    fn place(&self, content: Content, about: About) -> Ticket {
        let (mut state, now) = (self.state.borrow_mut(), self.shared.clock.now());
        state.places.borrow_room(&self.shared.spares);
        let ticket = state.places.push(content, about, now);
        let trail = self.shared.watch.tracing.begin(&self.client, ticket, now);
        let ticket = trail.mark(ticket);
        state.places.traced.add(ticket, trail);
        self.recount(&mut state);
        ticket
    }

    /// The latest request that has a place, and whether it is traced.
    pub(super) fn latest(&self) -> (Trail, Ticket) {
        let places = &self.state.borrow().places;
        (places.traced.latest(), Ticket::new(places.last().unwrap_or_default(), 0))
    }

    /// The request has several keys in this slot. Should the slot be migrating, a node may ask to send it again
    /// later, when what followed it has run; so nothing for the slot follows until it is settled.
    pub(super) fn mark_delicate(&self, ticket: Ticket, slot: Slot) {
        self.state.borrow_mut().places.mark_delicate(ticket, slot);
    }

    /// Whether a request with several keys in this slot is under way.
    pub(super) fn is_delicate(&self, slot: Slot) -> bool {
        self.state.borrow().places.is_delicate(slot)
    }

    /// Nothing is under way, and all replies have left.
    pub(super) fn is_drained(&self) -> bool {
        let state = self.state.borrow();
        state.places.is_empty() && state.outgoing.waiting() == 0 && !state.outgoing.is_blocked()
    }

    /// Requests that have no reply yet.
    pub(super) fn unsettled(&self) -> usize {
        self.state.borrow().places.unsettled()
    }

    /// Requests that wait to leave, and bytes: of requests, of replies, and of replies still to come, as far
    /// as the latest tell.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.state.borrow();
        let places = state.places.held() + state.places.to_come();
        (state.places.len(), places + state.outgoing.waiting())
    }

    /// The number of the next request. Together with the client's it tells requests apart; it wraps.
    pub(super) fn next_number(&self) -> u32 {
        self.state.borrow().places.next()
    }

    /// Bytes that have left since this was last asked.
    pub(super) fn take_sent(&self) -> usize {
        self.state.borrow_mut().outgoing.take_sent()
    }

    /// Whether requests were redirected or held since nothing was under way. Asked when nothing is, it is
    /// forgotten.
    pub(super) fn was_disturbed(&self) -> bool {
        let mut state = self.state.borrow_mut();
        state.disturbed &= state.places.unsettled() > 0;
        state.disturbed
    }

    /// Why the session must end.
    pub(super) fn end(&self) -> Option<End> {
        let state = self.state.borrow();
        if state.outgoing.is_gone() { Some(End::Gone) } else { state.end }
    }

    /// Ends the session in its next turn.
    pub(super) fn kill(&self, end: End) {
        self.state.borrow_mut().end.get_or_insert(end);
        self.wake();
    }

    /// Wakes the session's task when something settles, until its next turn.
    pub(super) fn watch(&self) {
        self.state.borrow_mut().watched = true;
    }

    pub(super) fn register(&self, waker: &Waker) {
        let mut registered = self.waker.borrow_mut();
        if !registered.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Gives back memory that an idle session does not need.
    pub(super) fn shrink(&self) {
        let mut state = self.state.borrow_mut();
        state.outgoing.shrink();
        state.places.shrink();
    }

    /// Ready when the client has taken all that it could not take at once. The session's task calls it.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let polled = state.outgoing.poll_unblocked(cx);
        self.recount(&mut state);
        polled
    }

    /// Closes the gateway's side of the connection.
    pub(super) fn shut_down(&self) {
        self.state.borrow_mut().outgoing.shut_down();
    }

    /// Whether writing can wait for replies that are about to come.
    pub(super) fn can_wait(&self) -> bool {
        let state = self.state.borrow();
        state.places.unsettled() > 0
            && state.outgoing.waiting() < LARGE
            && !state.watched
            && state.end.is_none()
            && state.divided.is_empty()
            && state.unscripted.is_empty()
    }

    /// Puts writing off; false when it was put off before.
    pub(super) fn postpone(&self) -> bool {
        let mut state = self.state.borrow_mut();
        state.queued = false;
        !std::mem::replace(&mut state.postponed, true)
    }

    /// Writes what is ready; the flusher calls it once per turn of the loop.
    pub(super) fn flush(&self) {
        let mut state = self.state.borrow_mut();
        state.queued = false;
        state.postponed = false;
        state.outgoing.flush();
        if state.teller.has_due() {
            let broken = state.teller.send_due();
            state.outgoing.push(&broken, b"", false);
            state.outgoing.flush();
        }
        state.outgoing.give_back(&self.shared.spares);
        state.places.give_back(&self.shared.spares);
        self.recount(&mut state);
        let wanted = state.outgoing.is_blocked()
            || state.outgoing.is_gone()
            || state.watched
            || state.end.is_some()
            || !state.divided.is_empty()
            || !state.unscripted.is_empty();
        state.watched = false;
        drop(state);
        if wanted {
            self.wake();
        }
    }

    fn touched(&self, state: &mut State) {
        self.recount(state);
        if !state.queued
            && let Some(this) = self.this.upgrade()
        {
            state.queued = true;
            self.shared.flusher.add(this);
        }
    }

    /// Lets something happen to the places, and what is ready leave.
    fn change(&self, change: impl FnOnce(&mut Places, &mut Exit<'_>)) {
        let mut state = self.state.borrow_mut();
        if state.end.is_some() {
            return;
        }
        let State { outgoing, places, teller, .. } = &mut *state;
        let (metrics, now) = (&*self.shared.metrics, self.shared.clock.now());
        outgoing.borrow_room(&self.shared.spares);
        change(places, &mut Exit { outgoing, teller, metrics, now });
        if self.with_replies.ends(self.shared.on_replies.get(), state.unread(), now) {
            self.shared.metrics.session_rejected(Rejection::OutputLimit);
            state.end = Some(End::OutputLimit);
        }
        self.touched(&mut state);
    }
}

impl State {
    /// Bytes that wait for the client.
    fn unread(&self) -> usize {
        self.outgoing.waiting() + self.places.waiting_bytes()
    }
}
