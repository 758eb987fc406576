//! Replies leave in request order, whatever order the nodes answer in.
//!
//! Every request of a session has a *place*. The reply whose place is first goes straight into the bytes
//! to be written; others wait in their place. Pipelines settle places in their turn, and the worker's
//! [`Flusher`] writes once for all that a turn of the loop settled.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;

use crate::backend::{Asker, Clock, LARGE, Micros, Ticket};
use crate::cluster::Slot;
use crate::config::Limits;
use crate::merge::Merge;
use crate::metrics::{Family, Outcome, Rejection, WorkerMetrics};

use super::flusher::Flusher;

/// Requests under way of a client of whose replies nothing is known yet. It may have more as soon as they
/// turn out to be small, so that replies of any size stay within its bounds.
const CAREFUL: usize = 64;
/// Capacity that an emptied write buffer keeps while the session is busy.
const KEEP: usize = 16 << 10;
/// The same once it has been idle for a while.
const KEEP_IDLE: usize = 256;

/// What is noted of a request that is about to be sent.
#[derive(Clone, Copy)]
pub(super) struct About {
    pub(super) family: Family,
    /// The client asked for no reply.
    pub(super) muted: bool,
    /// Bytes of the request.
    pub(super) size: usize,
}

/// Turns a node's reply into the client's.
pub(super) type Rewrite = Box<dyn FnOnce(&[u8], &mut Vec<u8>)>;

enum Content {
    /// The reply is under way.
    Waiting,
    /// Pieces of it wait for earlier places.
    Partial(Vec<u8>),
    /// It is here and waits for earlier places.
    Ready(Vec<u8>),
    /// Parts are under way.
    Merging(Box<Merge>),
    /// It is under way, and is not passed on as it comes; pieces of it wait here.
    Rewriting(Rewrite, Vec<u8>),
}

struct Place {
    content: Content,
    family: Family,
    /// The client asked for no reply.
    muted: bool,
    /// Bytes of the request.
    size: u32,
    started: Micros,
}

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
}

struct State {
    socket: OwnedWriteHalf,
    out: Vec<u8>,
    written: usize,
    places: VecDeque<Place>,
    /// Number of the first place; wraps.
    first: u32,
    /// Places whose reply is not complete, and the bytes of their requests.
    unsettled: usize,
    unsettled_bytes: usize,
    /// Bytes that wait in places behind the first.
    waiting_bytes: usize,
    /// Size of the client's replies lately: a large one counts at once, and is forgotten slowly.
    usual: usize,
    /// Bytes of the first place's reply that have been passed on.
    streamed: usize,
    /// The first place's reply has left in part.
    streaming: bool,
    /// In the flusher's list.
    queued: bool,
    /// The socket took no more: the session's task waits for it.
    blocked: bool,
    /// The session's task wants to know when something settles.
    watched: bool,
    /// A request was redirected or held since nothing was under way.
    disturbed: bool,
    /// Parts to be sent again key by key.
    divided: Vec<(Ticket, Bytes)>,
    /// Slots of requests under way with several keys, with their places.
    delicate: Vec<(u32, Slot)>,
    end: Option<End>,
}

/// The reply side of one session, shared with the pipelines that carry its requests.
pub(super) struct Replies {
    this: Weak<Self>,
    state: RefCell<State>,
    waker: RefCell<Option<Waker>>,
    flusher: Rc<Flusher>,
    metrics: Arc<WorkerMetrics>,
    clock: Rc<Clock>,
    /// Most bytes that may wait for the client.
    limit: usize,
}

impl Replies {
    pub(super) fn new(
        socket: OwnedWriteHalf,
        flusher: Rc<Flusher>,
        metrics: Arc<WorkerMetrics>,
        clock: Rc<Clock>,
        limits: &Limits,
    ) -> Rc<Self> {
        let state = State {
            socket,
            out: Vec::new(),
            written: 0,
            places: VecDeque::new(),
            first: 0,
            unsettled: 0,
            unsettled_bytes: 0,
            waiting_bytes: 0,
            usual: limits.inflight_bytes / CAREFUL,
            streamed: 0,
            streaming: false,
            queued: false,
            blocked: false,
            watched: false,
            disturbed: false,
            divided: Vec::new(),
            delicate: Vec::new(),
            end: None,
        };
        Rc::new_cyclic(|this| Self {
            this: this.clone(),
            state: RefCell::new(state),
            waker: RefCell::new(None),
            flusher,
            metrics,
            clock,
            limit: limits.output_hard,
        })
    }

    /// Writes a reply that the gateway gives itself, at its place in the order.
    pub(super) fn answer(&self, family: Family, muted: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.borrow_mut();
        let failed = if muted {
            false
        } else if state.places.is_empty() {
            let start = state.out.len();
            write(&mut state.out);
            state.out.get(start) == Some(&b'-')
        } else {
            let mut reply = Vec::new();
            write(&mut reply);
            let failed = reply.first() == Some(&b'-');
            state.waiting_bytes += reply.len();
            let started = self.clock.now();
            state.places.push_back(Place {
                content: Content::Ready(reply),
                family,
                muted,
                size: 0,
                started,
            });
            failed
        };
        let outcome = if failed { Outcome::Refused } else { Outcome::Ok };
        self.metrics.request_settled(family, outcome, 0);
        self.touched(&mut state);
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
        let mut state = self.state.borrow_mut();
        let place = state.first.wrapping_add(state.places.len() as u32);
        let About { family, muted, size } = about;
        let size = size as u32;
        state.places.push_back(Place { content, family, muted, size, started: self.clock.now() });
        state.unsettled += 1;
        state.unsettled_bytes += size as usize;
        Ticket { place, part: 0 }
    }

    /// The request has several keys in this slot. Should the slot be migrating, a node may ask to send it again
    /// later, when what followed it has run; so nothing for the slot follows until it is settled.
    pub(super) fn mark_delicate(&self, ticket: Ticket, slot: Slot) {
        self.state.borrow_mut().delicate.push((ticket.place, slot));
    }

    /// Whether a request with several keys in this slot is under way.
    pub(super) fn is_delicate(&self, slot: Slot) -> bool {
        self.state.borrow().delicate.iter().any(|(_, delicate)| *delicate == slot)
    }

    /// Nothing is under way, and all replies have left.
    pub(super) fn is_drained(&self) -> bool {
        let state = self.state.borrow();
        state.places.is_empty() && state.written == state.out.len()
    }

    /// Requests that have no reply yet.
    pub(super) fn unsettled(&self) -> usize {
        self.state.borrow().unsettled
    }

    /// Requests that wait to leave, and bytes: of requests, of replies, and of replies still to come, as far
    /// as the latest tell.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.state.borrow();
        let here = state.unsettled_bytes + state.waiting_bytes + state.out.len() - state.written;
        (state.places.len(), here + state.unsettled * state.usual)
    }

    /// Whether requests were redirected or held since nothing was under way. Asked when nothing is, it is forgotten.
    pub(super) fn was_disturbed(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if state.unsettled == 0 {
            state.disturbed = false;
        }
        state.disturbed
    }

    /// Why the session must end.
    pub(super) fn end(&self) -> Option<End> {
        self.state.borrow().end
    }

    /// Ends the session in its next turn.
    pub(super) fn kill(&self, end: End) {
        self.state.borrow_mut().end.get_or_insert(end);
        self.wake();
    }

    /// Takes the parts that are to be sent again key by key.
    pub(super) fn take_divided(&self) -> Vec<(Ticket, Bytes)> {
        std::mem::take(&mut self.state.borrow_mut().divided)
    }

    /// Replaces a part of a split request, or a whole request, by one part for each of its `units` keys.
    /// Returns the tickets of the new parts; `None` when nobody waits for it any more.
    pub(super) fn divide(
        &self,
        ticket: Ticket,
        whole: impl FnOnce() -> Merge,
    ) -> Option<impl Iterator<Item = Ticket>> {
        let mut state = self.state.borrow_mut();
        let place = state.place_mut(ticket)?;
        if !matches!(place.content, Content::Merging(_)) {
            place.content = Content::Merging(Box::new(whole()));
        }
        let Content::Merging(merge) = &mut place.content else { return None };
        let parts = merge.divide(ticket.part);
        Some(parts.map(move |part| Ticket { place: ticket.place, part }))
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
        if state.out.is_empty() {
            state.out.shrink_to(KEEP_IDLE);
        }
        if state.places.is_empty() {
            state.places.shrink_to(4);
        }
    }

    fn touched(&self, state: &mut State) {
        if !state.queued
            && let Some(this) = self.this.upgrade()
        {
            state.queued = true;
            self.flusher.add(this);
        }
    }

    /// Writes what is ready; called once per turn of the loop.
    pub(super) fn flush(&self) {
        let mut state = self.state.borrow_mut();
        state.queued = false;
        if !state.blocked {
            self.write(&mut state);
        }
        let wanted =
            state.blocked || state.watched || state.end.is_some() || !state.divided.is_empty();
        state.watched = false;
        drop(state);
        if wanted {
            self.wake();
        }
    }

    fn write(&self, state: &mut State) {
        while state.written < state.out.len() && state.end.is_none() {
            let State { socket, out, written, .. } = state;
            match socket.try_write(out.get(*written..).unwrap_or_default()) {
                Ok(count) => self.advance(state, count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    state.blocked = true;
                    return;
                }
                Err(_) => state.end = Some(End::Gone),
            }
        }
    }

    /// Writes as long as the client takes it; ready when all is written. The session's task calls it after
    /// the socket took no more.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        while state.blocked && state.end.is_none() {
            let State { socket, out, written, .. } = &mut *state;
            let rest = out.get(*written..).unwrap_or_default();
            match ready!(Pin::new(socket).poll_write(cx, rest)) {
                Ok(count) if count > 0 || rest.is_empty() => self.advance(&mut state, count),
                _ => state.end = Some(End::Gone),
            }
            state.blocked = state.written < state.out.len();
        }
        Poll::Ready(())
    }

    fn advance(&self, state: &mut State, count: usize) {
        self.metrics.client_written(count);
        state.written += count;
        if state.written == state.out.len() {
            state.written = 0;
            state.out.clear();
            if state.out.capacity() > KEEP {
                state.out = Vec::new();
            }
        }
    }

    /// Appends to what leaves next; a large piece goes to the socket at once when nothing is before it.
    fn emit(&self, state: &mut State, mut bytes: &[u8]) {
        if bytes.len() >= LARGE && state.out.is_empty() && !state.blocked {
            match state.socket.try_write(bytes) {
                Ok(count) => {
                    self.metrics.client_written(count);
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => state.end = Some(End::Gone),
            }
        }
        if state.end.is_some() {
            return;
        }
        if state.written > KEEP {
            state.out.drain(..state.written);
            state.written = 0;
        }
        state.out.extend_from_slice(bytes);
        if state.out.len() - state.written + state.waiting_bytes > self.limit {
            self.metrics.session_rejected(Rejection::OutputLimit);
            state.end = Some(End::OutputLimit);
        }
    }

    /// The reply of the place at `index` is complete.
    fn complete(&self, state: &mut State, index: usize, reply: &[u8]) {
        state.unsettled = state.unsettled.saturating_sub(1);
        let streamed = index == 0 && state.streaming;
        let Some(place) = state.places.get_mut(index) else { return };
        let elapsed = self.clock.now().saturating_sub(place.started) as u32;
        // An error is never streamed.
        let outcome = if streamed { Outcome::Ok } else { outcome(reply) };
        state.unsettled_bytes = state.unsettled_bytes.saturating_sub(place.size as usize);
        state.usual = (state.streamed + reply.len()).max(state.usual - state.usual / 8);
        state.streamed = 0;
        if !state.delicate.is_empty() {
            let place = state.first.wrapping_add(index as u32);
            state.delicate.retain(|(delicate, _)| *delicate != place);
        }
        self.metrics.request_settled(place.family, outcome, elapsed);
        let muted = place.muted;
        if index > 0 {
            let reply = if muted { Vec::new() } else { reply.to_vec() };
            state.waiting_bytes += reply.len();
            place.content = Content::Ready(reply);
            return;
        }
        if !muted {
            self.emit(state, reply);
        }
        self.next_place(state);
    }

    /// The first place is done: what waited behind it follows.
    fn next_place(&self, state: &mut State) {
        state.places.pop_front();
        state.first = state.first.wrapping_add(1);
        state.streaming = false;
        while let Some(place) = state.places.front_mut() {
            match &mut place.content {
                Content::Ready(reply) => {
                    let reply = std::mem::take(reply);
                    state.waiting_bytes -= reply.len();
                    self.emit(state, &reply);
                    state.places.pop_front();
                    state.first = state.first.wrapping_add(1);
                }
                Content::Partial(pieces) => {
                    let pieces = std::mem::take(pieces);
                    place.content = Content::Waiting;
                    let muted = place.muted;
                    state.waiting_bytes -= pieces.len();
                    state.streaming = !pieces.is_empty();
                    if !muted {
                        self.emit(state, &pieces);
                    }
                    return;
                }
                _ => return,
            }
        }
    }
}

impl State {
    fn index(&self, ticket: Ticket) -> Option<usize> {
        let index = ticket.place.wrapping_sub(self.first) as usize;
        (index < self.places.len()).then_some(index)
    }

    fn place_mut(&mut self, ticket: Ticket) -> Option<&mut Place> {
        let index = self.index(ticket)?;
        self.places.get_mut(index)
    }
}

/// What a whole reply says of the request's outcome.
fn outcome(reply: &[u8]) -> Outcome {
    match reply.first() {
        Some(b'-') if reply.starts_with(b"-UNCERTAIN ") => Outcome::Uncertain,
        Some(b'-' | b'!') => Outcome::Error,
        _ => Outcome::Ok,
    }
}

impl Asker for Replies {
    fn settle(&self, ticket: Ticket, reply: &[u8]) {
        let mut state = self.state.borrow_mut();
        let Some(index) = state.index(ticket) else { return };
        let Some(place) = state.places.get_mut(index) else { return };
        match &mut place.content {
            Content::Merging(merge) => {
                if merge.fold(ticket.part, reply) {
                    self.finish_merge(&mut state, index);
                }
            }
            Content::Rewriting(..) => self.rewrite(&mut state, index, reply),
            _ => self.complete(&mut state, index, reply),
        }
        self.touched(&mut state);
    }

    fn piece(&self, ticket: Ticket, piece: &[u8], end: bool) {
        let mut state = self.state.borrow_mut();
        let Some(index) = state.index(ticket) else { return };
        let Some(place) = state.places.get_mut(index) else { return };
        match &mut place.content {
            Content::Merging(merge) => {
                if merge.fold_piece(ticket.part, piece, end) {
                    self.finish_merge(&mut state, index);
                }
            }
            Content::Waiting if index == 0 => {
                let muted = place.muted;
                state.streaming = true;
                if end {
                    self.complete(&mut state, 0, piece);
                } else {
                    state.streamed += piece.len();
                    if !muted {
                        self.emit(&mut state, piece);
                    }
                }
            }
            Content::Rewriting(_, pieces) => {
                pieces.extend_from_slice(piece);
                if end {
                    let whole = std::mem::take(pieces);
                    self.rewrite(&mut state, index, &whole);
                }
            }
            _ => self.keep_piece(&mut state, index, piece, end),
        }
        self.touched(&mut state);
    }

    fn retract(&self, ticket: Ticket) -> bool {
        let mut state = self.state.borrow_mut();
        let streaming = state.streaming;
        let Some(index) = state.index(ticket) else { return false };
        let Some(place) = state.places.get_mut(index) else { return false };
        match &mut place.content {
            Content::Waiting if index == 0 && streaming => {
                state.end = Some(End::Truncated);
                self.touched(&mut state);
                return false;
            }
            Content::Merging(merge) => merge.retract(ticket.part),
            Content::Rewriting(_, pieces) => pieces.clear(),
            Content::Partial(pieces) => {
                let gone = pieces.len();
                place.content = Content::Waiting;
                state.waiting_bytes -= gone;
            }
            _ => {}
        }
        true
    }

    fn split(&self, ticket: Ticket, request: Bytes) {
        let mut state = self.state.borrow_mut();
        state.divided.push((ticket, request));
        state.disturbed = true;
        self.touched(&mut state);
    }

    fn disturbed(&self) {
        self.state.borrow_mut().disturbed = true;
    }
}

impl Replies {
    fn finish_merge(&self, state: &mut State, index: usize) {
        let Some(place) = state.places.get_mut(index) else { return };
        let Content::Merging(merge) = std::mem::replace(&mut place.content, Content::Waiting)
        else {
            return;
        };
        if merge.is_partial() {
            self.metrics.partial_failure();
        }
        let mut reply = Vec::new();
        merge.write(&mut reply);
        self.complete(state, index, &reply);
    }

    fn rewrite(&self, state: &mut State, index: usize, reply: &[u8]) {
        let Some(place) = state.places.get_mut(index) else { return };
        let mut rewritten = Vec::new();
        if let Content::Rewriting(rewrite, _) =
            std::mem::replace(&mut place.content, Content::Waiting)
        {
            rewrite(reply, &mut rewritten);
        }
        self.complete(state, index, &rewritten);
    }

    fn keep_piece(&self, state: &mut State, index: usize, piece: &[u8], end: bool) {
        let Some(place) = state.places.get_mut(index) else { return };
        let mut so_far = match std::mem::replace(&mut place.content, Content::Waiting) {
            Content::Partial(so_far) => so_far,
            _ => Vec::new(),
        };
        state.waiting_bytes -= so_far.len();
        so_far.extend_from_slice(piece);
        if end {
            return self.complete(state, index, &so_far);
        }
        state.waiting_bytes += so_far.len();
        if let Some(place) = state.places.get_mut(index) {
            place.content = Content::Partial(so_far);
        }
        if state.waiting_bytes > self.limit {
            state.end = Some(End::OutputLimit);
        }
    }
}
