//! Requests that are to be sent again in another way: key by key, or once the node knows their script.

use bytes::Bytes;

use crate::backend::{Terms, Ticket};
use crate::merge::Merge;

use super::Replies;

/// A request that a node gave back because it does not know the script.
pub(in crate::session) struct Unscripted {
    pub(in crate::session) ticket: Ticket,
    pub(in crate::session) terms: Terms,
    pub(in crate::session) request: Bytes,
    pub(in crate::session) reply: Bytes,
}

impl Replies {
    /// Takes the parts that are to be sent again key by key.
    pub(in crate::session) fn take_divided(&self) -> Vec<(Ticket, Bytes)> {
        std::mem::take(&mut self.state.borrow_mut().divided)
    }

    /// Whether there are scripts to be brought and nobody is at it; who asks is at it from now on.
    pub(in crate::session) fn begin_mending(&self) -> bool {
        let mut state = self.state.borrow_mut();
        !state.unscripted.is_empty() && !std::mem::replace(&mut state.mending, true)
    }

    /// The next request whose script is to be brought; without one, nobody is at it any more.
    pub(in crate::session) fn next_unscripted(&self) -> Option<Unscripted> {
        let mut state = self.state.borrow_mut();
        let next = state.unscripted.pop_front();
        state.mending = next.is_some();
        next
    }

    /// Replaces a part of a split request, or a `whole` request, by one part for each of its keys. Returns the
    /// tickets of the new parts; `None` when nobody waits for it any more.
    pub(in crate::session) fn divide(
        &self,
        ticket: Ticket,
        whole: impl FnOnce() -> Merge,
    ) -> Option<impl Iterator<Item = Ticket>> {
        let parts = self.state.borrow_mut().places.divide(ticket, whole)?;
        Some(parts.map(move |part| Ticket { part, ..ticket }))
    }
}
