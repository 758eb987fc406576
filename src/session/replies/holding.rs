//! What a session holds in memory, for the worker's [`Memory`](super::super::memory::Memory).

use super::super::memory::{COUNTED_FROM, Holding};
use super::{End, Replies, State};

impl State {
    fn holding(&self) -> Holding {
        let here = self.apart + self.outgoing.held() + self.places.held();
        Holding { here, expected: here + self.places.to_come() }
    }
}

impl Replies {
    /// Tells the worker what is held now, if it is much or was.
    #[inline]
    pub(super) fn recount(&self, state: &mut State) {
        let now = state.holding();
        if now.expected >= COUNTED_FROM || state.counted.expected > 0 {
            let counted = if now.expected >= COUNTED_FROM { now } else { Holding::default() };
            self.shared.memory.change(std::mem::replace(&mut state.counted, counted), counted);
        }
    }

    /// The session holds so many bytes besides: requests that are not served, or not complete.
    pub(in crate::session) fn hold_apart(&self, bytes: usize) {
        let mut state = self.state.borrow_mut();
        state.apart = bytes;
        self.recount(&mut state);
    }

    /// Bytes that are held, if they are many.
    pub(in crate::session) fn held(&self) -> usize {
        self.state.borrow().counted.here
    }

    /// Ends the session because all hold too much, and frees what it holds. False: it has ended already.
    pub(in crate::session) fn give_up(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if state.end.is_some() {
            return false;
        }
        state.end = Some(End::Memory);
        self.free(&mut state);
        drop(state);
        self.wake();
        true
    }

    /// The session is over: what comes now is for nobody.
    pub(in crate::session) fn abandon(&self) {
        let mut state = self.state.borrow_mut();
        state.end.get_or_insert(End::Gone);
        self.free(&mut state);
    }

    /// Requests that are under way stay with their pipelines, and are counted until they are answered.
    fn free(&self, state: &mut State) {
        state.apart = 0;
        state.outgoing.discard();
        state.places.discard();
        self.recount(state);
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.shared.memory.change(self.state.get_mut().counted, Holding::default());
    }
}
