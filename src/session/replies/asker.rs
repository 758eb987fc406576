//! What the pipelines tell a session about its requests.

use std::rc::{Rc, Weak};

use bytes::Bytes;

use crate::backend::{Asker, Lines, Noticed, Terms, Ticket};

use super::{End, Replies, Unscripted};

impl Asker for Replies {
    fn settle(&self, ticket: Ticket, reply: &[u8]) {
        self.change(|places, exit| places.settle(ticket, reply, exit));
    }

    fn piece(&self, ticket: Ticket, piece: &[u8], end: bool) {
        self.change(|places, exit| places.piece(ticket, piece, end, exit));
    }

    fn retract(&self, ticket: Ticket) -> bool {
        let mut state = self.state.borrow_mut();
        let retracted = state.places.retract(ticket);
        if !retracted {
            state.end.get_or_insert(End::Truncated);
            self.touched(&mut state);
        }
        retracted
    }

    fn split(&self, ticket: Ticket, request: Bytes) {
        let mut state = self.state.borrow_mut();
        state.divided.push((ticket, request));
        state.disturbed = true;
        self.touched(&mut state);
    }

    fn unscripted(&self, ticket: Ticket, terms: Terms, request: Bytes, reply: &[u8]) {
        let mut state = self.state.borrow_mut();
        let reply = Bytes::copy_from_slice(reply);
        state.unscripted.push_back(Unscripted { ticket, terms, request, reply });
        state.disturbed = true;
        self.touched(&mut state);
    }

    fn disturbed(&self) {
        self.state.borrow_mut().disturbed = true;
    }

    fn noticed(&self, noticed: &Noticed) {
        if let Some(client) = self.client.get().and_then(Weak::upgrade) {
            let trail = self.state.borrow().places.traced.trail(noticed.ticket);
            self.shared.watch.noticed(&client, noticed, &trail);
        }
    }

    fn lines(&self) -> Option<Rc<Lines>> {
        self.lines.borrow().clone()
    }
}
