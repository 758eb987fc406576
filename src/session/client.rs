//! What is known of a client besides its requests: who it is and since when.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use crate::backend::Micros;
use crate::resp::Protocol;

use super::replies::{End, Replies};
use super::worker::Worker;

/// One connected client, as CLIENT LIST shows it.
pub struct Client {
    pub(super) id: u64,
    pub(super) address: SocketAddr,
    pub(super) local_address: SocketAddr,
    pub(super) connected: Micros,
    pub(super) active: Cell<Micros>,
    pub(super) protocol: Cell<Protocol>,
    pub(super) authenticated: Cell<bool>,
    pub(super) name: RefCell<Vec<u8>>,
    pub(super) library: RefCell<Vec<u8>>,
    pub(super) library_version: RefCell<Vec<u8>>,
    pub(super) replies: Rc<Replies>,
}

impl Client {
    /// Lets the session's task look at its state.
    pub(super) fn wake(&self) {
        self.replies.wake();
    }

    /// Ends the session in its next turn.
    pub(super) fn kill(&self) {
        self.replies.kill(End::Killed);
    }
}

impl Client {
    /// A client that has just connected; `open` when no login is needed.
    pub(super) fn new(
        worker: &Worker,
        address: SocketAddr,
        local_address: SocketAddr,
        open: bool,
        replies: Rc<Replies>,
    ) -> Rc<Self> {
        let now = worker.clock.tick();
        Rc::new(Self {
            id: worker.gateway.next_client_id(),
            address,
            local_address,
            connected: now,
            active: Cell::new(now),
            protocol: Cell::new(Protocol::Resp2),
            authenticated: Cell::new(open),
            name: RefCell::default(),
            library: RefCell::default(),
            library_version: RefCell::default(),
            replies,
        })
    }
}
