//! One request that a wait sends to a node, and the whole reply to it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::Bytes;

use crate::backend::{Asker, Noticed, Pool, Terms, Ticket};

use super::super::traces::Trail;

/// Where the reply comes in. It is an element that somebody waited for, so it has no bound but the servers' own.
#[derive(Default)]
pub(super) struct Asked {
    state: RefCell<State>,
    /// Leads to the request that waits.
    trail: Trail,
}

#[derive(Default)]
struct State {
    reply: Vec<u8>,
    complete: bool,
    waker: Option<Waker>,
}

const TICKET: Ticket = Ticket::new(0, 0);

impl Asked {
    /// Sends a request to the owner of its slot.
    pub(super) fn owner(pool: &Rc<Pool>, trail: Trail, terms: Terms, request: Vec<u8>) -> Rc<Self> {
        let ticket = trail.mark(TICKET);
        let asked = Rc::new(Self { trail, ..Self::default() });
        let asker: Rc<dyn Asker> = asked.clone();
        pool.send_bytes(terms, &asker, ticket, request.into());
        asked
    }

    /// Sends a request to the node of this address.
    pub(super) fn node(pool: &Rc<Pool>, address: &str, terms: Terms, request: Vec<u8>) -> Rc<Self> {
        let asked = Rc::new(Self::default());
        let asker: Rc<dyn Asker> = asked.clone();
        pool.send_to(address, terms, (&asker, TICKET), request.into());
        asked
    }

    /// Waits for the reply.
    pub(super) async fn reply(&self) -> Vec<u8> {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.complete {
                return Poll::Ready(std::mem::take(&mut state.reply));
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Asker for Asked {
    fn settle(&self, ticket: Ticket, reply: &[u8]) {
        self.piece(ticket, reply, true);
    }

    fn piece(&self, _: Ticket, piece: &[u8], end: bool) {
        let mut state = self.state.borrow_mut();
        state.reply.extend_from_slice(piece);
        state.complete |= end;
        if let Some(waker) = state.waker.take_if(|_| end) {
            waker.wake();
        }
    }

    fn retract(&self, _: Ticket) -> bool {
        self.state.borrow_mut().reply.clear();
        true
    }

    /// Nothing that a wait asks is split.
    fn split(&self, _: Ticket, _: Bytes) {}

    fn disturbed(&self) {}

    fn noticed(&self, noticed: &Noticed) {
        self.trail.noticed(noticed);
    }
}
