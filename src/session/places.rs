//! The order of a session's replies: one place for each request, settled in any order, left in theirs.
//!
//! The reply whose place is first goes straight into [`Outgoing`](super::outgoing::Outgoing); others wait in their place.

mod exit;
mod pieces;

use std::collections::VecDeque;
use std::ops::Range;

use crate::backend::{Micros, Ticket};
use crate::cluster::Slot;
use crate::merge::Merge;
use crate::metrics::{Family, Outcome};

use super::spares::Spares;
use super::traces::Traced;
use super::tracking::Notice;
use exit::outcome;

pub(super) use exit::Exit;

/// Emptied buffers that a busy session keeps for replies that have to wait, and the largest kept.
const SPARES: usize = 32;
const SPARE_BYTES: usize = 1 << 10;

/// Places of the largest ring that others may use.
const LENT_PLACES: usize = 512;

/// What is noted of a request.
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

/// What a place waits for, or holds.
pub(super) enum Content {
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

/// What a session waits for, in its order.
pub(super) type Ring = VecDeque<Place>;

pub(super) struct Place {
    content: Content,
    family: Family,
    muted: bool,
    size: u32,
    /// Bytes of its parts that are here.
    gathered: usize,
    started: Micros,
}

/// All places of a session, the oldest first.
pub(super) struct Places {
    ring: Ring,
    /// Number of the first place; wraps.
    first: u32,
    /// Places whose reply is not complete, and the bytes of their requests.
    unsettled: usize,
    unsettled_bytes: usize,
    /// Bytes that wait in places behind the first.
    waiting_bytes: usize,
    /// Size of the client's replies lately: a large one counts at once, and is forgotten slowly.
    usual: usize,
    /// The first place's reply has left in part, and how much of it.
    streaming: bool,
    streamed: usize,
    /// Slots of requests under way with several keys, with their places.
    delicate: Vec<(u32, Slot)>,
    /// Requests under way that are traced.
    pub(super) traced: Traced,
    /// Word of changed keys, by the places behind which it leaves, in their order.
    notices: VecDeque<(u32, Notice)>,
    /// Buffers to be used again.
    spares: Vec<Vec<u8>>,
}

impl Places {
    /// No places; `usual` is the size of reply to expect before there was any.
    pub(super) fn new(usual: usize) -> Self {
        Self {
            ring: VecDeque::new(),
            first: 0,
            unsettled: 0,
            unsettled_bytes: 0,
            waiting_bytes: 0,
            usual,
            streaming: false,
            streamed: 0,
            delicate: Vec::new(),
            traced: Traced::default(),
            notices: VecDeque::new(),
            spares: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Has a ring from now on, until [`Self::give_back`] finds it empty.
    pub(super) fn borrow_room(&mut self, spares: &Spares) {
        if self.ring.capacity() == 0 {
            self.ring = spares.rings.take();
        }
    }

    /// Lends its ring to whoever has work next, if it is empty.
    pub(super) fn give_back(&mut self, spares: &Spares) {
        if self.ring.is_empty() && (1..=LENT_PLACES).contains(&self.ring.capacity()) {
            spares.rings.give(std::mem::take(&mut self.ring));
        }
    }

    /// The number of the next request that gets a place, or is answered without one.
    pub(super) fn next(&self) -> u32 {
        self.first.wrapping_add(self.ring.len() as u32)
    }

    /// A request is answered while there are no places: it counts all the same.
    pub(super) fn skip(&mut self) {
        self.first = self.first.wrapping_add(1);
    }

    /// The last place, if there is any.
    pub(super) fn last(&self) -> Option<u32> {
        let behind = self.ring.len().checked_sub(1)?;
        Some(self.first.wrapping_add(behind as u32))
    }

    /// The last place of which a reply, or a piece of one, is here.
    pub(super) fn last_with_reply(&self) -> Option<u32> {
        let waits = |place: &Place| matches!(place.content, Content::Waiting);
        let at = self.ring.iter().rposition(|place| !waits(place));
        let at = at.or_else(|| self.streaming.then_some(0))?;
        Some(self.first.wrapping_add(at as u32))
    }

    /// Word that leaves behind the reply of this place, and behind other word for it.
    pub(super) fn add_notice(&mut self, place: u32, notice: Notice) {
        let (first, distance) = (self.first, place.wrapping_sub(self.first));
        self.waiting_bytes += notice.size();
        let at = self.notices.partition_point(|(of, _)| of.wrapping_sub(first) <= distance);
        self.notices.insert(at, (place, notice));
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Whether the first reply has left in part.
    pub(super) fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Bytes of replies that wait for earlier ones.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes of requests and replies that are here.
    pub(super) fn held(&self) -> usize {
        self.unsettled_bytes + self.waiting_bytes
    }

    /// Bytes of replies still to come, as far as the latest tell.
    pub(super) fn to_come(&self) -> usize {
        self.unsettled * self.usual
    }

    /// No reply will be sent. The requests are still under way.
    pub(super) fn discard(&mut self) {
        self.ring.clear();
        self.traced = Traced::default();
        self.waiting_bytes = 0;
        (self.unsettled, self.spares) = (0, Vec::new());
    }

    pub(super) fn mark_delicate(&mut self, ticket: Ticket, slot: Slot) {
        self.delicate.push((ticket.place, slot));
    }

    pub(super) fn is_delicate(&self, slot: Slot) -> bool {
        self.delicate.iter().any(|(_, delicate)| *delicate == slot)
    }

    /// Makes a place for a request that is about to be sent.
    pub(super) fn push(&mut self, content: Content, about: About, started: Micros) -> Ticket {
        let place = self.next();
        let About { family, muted, size } = about;
        self.ring.push_back(Place {
            content,
            family,
            muted,
            size: size as u32,
            gathered: 0,
            started,
        });
        self.unsettled += 1;
        self.unsettled_bytes += size;
        Ticket::new(place, 0)
    }

    /// A reply that is there already waits for its turn.
    pub(super) fn push_ready(&mut self, reply: Vec<u8>, family: Family, now: Micros) {
        self.waiting_bytes += reply.len();
        let content = Content::Ready(reply);
        self.ring.push_back(Place {
            content,
            family,
            muted: false,
            size: 0,
            gathered: 0,
            started: now,
        });
    }

    /// A whole reply to the request, or to a part of it.
    pub(super) fn settle(&mut self, ticket: Ticket, reply: &[u8], exit: &mut Exit<'_>) {
        let index = self.index(ticket);
        let Some(place) = self.ring.get_mut(index) else { return };
        match &mut place.content {
            Content::Merging(merge) => {
                place.gathered += reply.len();
                self.waiting_bytes += reply.len();
                if merge.fold(ticket.part, reply) {
                    self.finish_merge(index, exit);
                }
            }
            Content::Rewriting(..) => self.rewrite(index, reply, exit),
            _ => self.complete(index, reply, exit),
        }
    }

    /// Replaces a part of a split request, or a `whole` request, by one part for each of its keys; returns
    /// their numbers. `None`: nobody waits for it any more.
    pub(super) fn divide(
        &mut self,
        ticket: Ticket,
        whole: impl FnOnce() -> Merge,
    ) -> Option<Range<u32>> {
        let place = self.ring.get_mut(self.index(ticket))?;
        if !matches!(place.content, Content::Merging(_)) {
            place.content = Content::Merging(Box::new(whole()));
        }
        match &mut place.content {
            Content::Merging(merge) => Some(merge.divide(ticket.part)),
            _ => None,
        }
    }

    /// Gives back memory that an idle session does not need.
    pub(super) fn shrink(&mut self) {
        if self.ring.is_empty() {
            self.ring = VecDeque::new();
            self.delicate = Vec::new();
            self.notices = VecDeque::new();
            self.spares = Vec::new();
        }
    }

    fn index(&self, ticket: Ticket) -> usize {
        ticket.place.wrapping_sub(self.first) as usize
    }

    /// The reply of the place at `index` is complete.
    fn complete(&mut self, index: usize, reply: &[u8], exit: &mut Exit<'_>) {
        let streamed = index == 0 && self.streaming;
        let Some(place) = self.ring.get_mut(index) else { return };
        let elapsed = exit.now.saturating_sub(place.started) as u32;
        // An error is never streamed.
        let outcome = if streamed { Outcome::Ok } else { outcome(reply) };
        exit.metrics.request_settled(place.family, outcome, elapsed);
        self.traced.settled(self.first.wrapping_add(index as u32), outcome, exit.now);
        let (muted, size) = (place.muted, place.size as usize);
        let gathered = std::mem::take(&mut place.gathered);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(gathered);
        if index > 0 {
            let mut kept = self.spares.pop().unwrap_or_default();
            if !muted {
                kept.extend_from_slice(reply);
            }
            self.waiting_bytes += kept.len();
            place.content = Content::Ready(kept);
        }
        self.unsettled = self.unsettled.saturating_sub(1);
        self.unsettled_bytes = self.unsettled_bytes.saturating_sub(size);
        self.usual = (self.streamed + reply.len()).max(self.usual - self.usual / 8);
        if !self.delicate.is_empty() {
            let settled = self.first.wrapping_add(index as u32);
            self.delicate.retain(|(place, _)| *place != settled);
        }
        if index == 0 {
            if !muted {
                exit.outgoing.send(reply);
            }
            self.next_place(exit);
        }
    }

    /// The first place is done: what waited behind it follows.
    fn next_place(&mut self, exit: &mut Exit<'_>) {
        self.streaming = false;
        self.streamed = 0;
        exit.outgoing.end_of_reply();
        self.leave(exit);
        while let Some(place) = self.ring.front_mut() {
            match &mut place.content {
                Content::Ready(reply) => {
                    let mut reply = std::mem::take(reply);
                    self.waiting_bytes -= reply.len();
                    exit.outgoing.send(&reply);
                    if self.spares.len() < SPARES && reply.capacity() <= SPARE_BYTES {
                        reply.clear();
                        self.spares.push(reply);
                    }
                    self.leave(exit);
                }
                Content::Partial(pieces) => {
                    let pieces = std::mem::take(pieces);
                    place.content = Content::Waiting;
                    self.waiting_bytes -= pieces.len();
                    self.streaming = true;
                    self.streamed = pieces.len();
                    if !place.muted {
                        exit.outgoing.send(&pieces);
                    }
                    return;
                }
                _ => return,
            }
        }
    }

    /// The first place's reply has left; word that waited for it follows.
    fn leave(&mut self, exit: &mut Exit<'_>) {
        self.ring.pop_front();
        let gone = self.first;
        self.first = gone.wrapping_add(1);
        while let Some((_, notice)) = self.notices.pop_front_if(|(place, _)| *place == gone) {
            self.waiting_bytes -= notice.size();
            exit.teller.tell(notice, exit.outgoing);
        }
    }

    fn finish_merge(&mut self, index: usize, exit: &mut Exit<'_>) {
        let Some(place) = self.ring.get_mut(index) else { return };
        let Content::Merging(merge) = std::mem::replace(&mut place.content, Content::Waiting)
        else {
            return;
        };
        if merge.is_partial() {
            exit.metrics.partial_failure();
        }
        let mut reply = Vec::new();
        merge.write(&mut reply);
        self.complete(index, &reply, exit);
    }

    fn rewrite(&mut self, index: usize, reply: &[u8], exit: &mut Exit<'_>) {
        let Some(place) = self.ring.get_mut(index) else { return };
        let mut rewritten = Vec::new();
        if let Content::Rewriting(rewrite, _) =
            std::mem::replace(&mut place.content, Content::Waiting)
        {
            rewrite(reply, &mut rewritten);
        }
        self.complete(index, &rewritten, exit);
    }
}
