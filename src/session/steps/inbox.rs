//! Where the replies to the steps of one request come in.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::Bytes;

use crate::backend::{Asker, Noticed, Ticket};

use super::super::traces::Trail;
use super::account::Share;

/// What a step gets whose keys stand on both sides of a migration, when it can be split by key.
pub(super) const TRY_AGAIN: &[u8] = b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n";

/// Replies in the order of their requests; a ticket's place is the request's number.
pub(in crate::session) struct Inbox {
    state: RefCell<State>,
    /// Leads to the request whose steps these are.
    trail: Trail,
}

struct State {
    replies: Vec<Vec<u8>>,
    outstanding: usize,
    /// Bytes that may still come.
    room: usize,
    /// Where they are accounted for.
    share: Option<Rc<Share>>,
    /// More came: it was thrown away.
    overflowed: bool,
    waker: Option<Waker>,
}

impl Inbox {
    /// For so many replies of at most so many bytes together.
    pub(in crate::session) fn new(count: usize, most: usize) -> Self {
        Self {
            state: RefCell::new(State {
                replies: vec![Vec::new(); count],
                outstanding: count,
                room: most,
                share: None,
                overflowed: false,
                waker: None,
            }),
            trail: Trail::default(),
        }
    }

    /// Each step belongs to this request.
    pub(in crate::session) fn traced(mut self, trail: &Trail) -> Self {
        self.trail = trail.clone();
        self
    }

    /// What comes counts as this request's.
    pub(super) fn counted(self, share: &Rc<Share>) -> Self {
        self.state.borrow_mut().share = Some(share.clone());
        self
    }

    /// All replies; `None` when they were too large together.
    pub(in crate::session) async fn replies(&self) -> Option<Vec<Vec<u8>>> {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.outstanding == 0 {
                return Poll::Ready(());
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        let mut state = self.state.borrow_mut();
        (!state.overflowed).then(|| std::mem::take(&mut state.replies))
    }
}

impl State {
    fn take(&self, bytes: usize) -> bool {
        self.share.as_ref().is_none_or(|share| share.take(bytes))
    }

    fn keep(&mut self, ticket: Ticket, bytes: &[u8], end: bool) {
        self.overflowed |= bytes.len() > self.room || !self.take(bytes.len());
        if self.overflowed {
            self.replies.iter_mut().for_each(|reply| *reply = Vec::new());
        } else if let Some(reply) = self.replies.get_mut(ticket.place as usize) {
            self.room -= bytes.len();
            reply.extend_from_slice(bytes);
        }
        if end {
            self.outstanding = self.outstanding.saturating_sub(1);
            if self.outstanding == 0
                && let Some(waker) = self.waker.take()
            {
                waker.wake();
            }
        }
    }
}

impl Asker for Inbox {
    fn settle(&self, ticket: Ticket, reply: &[u8]) {
        self.state.borrow_mut().keep(ticket, reply, true);
    }

    fn piece(&self, ticket: Ticket, piece: &[u8], end: bool) {
        self.state.borrow_mut().keep(ticket, piece, end);
    }

    fn retract(&self, ticket: Ticket) -> bool {
        let mut state = self.state.borrow_mut();
        if let Some(reply) = state.replies.get_mut(ticket.place as usize) {
            let gone = std::mem::take(reply).len();
            state.room += gone;
            if let Some(share) = &state.share {
                share.give_back(gone);
            }
        }
        true
    }

    /// Who asked asks again, key by key.
    fn split(&self, ticket: Ticket, _: Bytes) {
        self.state.borrow_mut().keep(ticket, TRY_AGAIN, true);
    }

    fn disturbed(&self) {}

    fn noticed(&self, noticed: &Noticed) {
        self.trail.noticed(noticed);
    }
}
