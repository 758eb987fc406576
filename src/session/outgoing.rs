//! Bytes on their way to a client, and the socket that takes them.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::backend::LARGE;
use crate::metrics::WorkerMetrics;

use super::socket::Writer;
use super::spares::Spares;

/// Capacity of the largest buffer that is kept when it is empty.
const KEEP: usize = 16 << 10;
/// The same once it has been idle for a while.
const KEEP_IDLE: usize = 256;

/// What has been answered and not yet taken by the client.
pub(super) struct Outgoing {
    socket: Writer,
    bytes: Vec<u8>,
    written: usize,
    /// Messages that wait for the end of the reply that has left in part.
    pushes: Vec<u8>,
    /// The socket took no more: the session's task waits for it.
    blocked: bool,
    /// The client takes nothing any more.
    gone: bool,
    /// Bytes that have left since somebody asked.
    sent: usize,
    metrics: Arc<WorkerMetrics>,
}

impl Outgoing {
    pub(super) fn new(socket: Writer, metrics: Arc<WorkerMetrics>) -> Self {
        let (bytes, pushes) = (Vec::new(), Vec::new());
        Self { socket, bytes, written: 0, pushes, blocked: false, gone: false, sent: 0, metrics }
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.unwritten() + self.pushes.len()
    }

    /// Bytes of memory that are taken up.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity() + self.pushes.capacity()
    }

    /// Nothing of it will be sent.
    pub(super) fn discard(&mut self) {
        (self.bytes, self.pushes, self.written) = (Vec::new(), Vec::new(), 0);
    }

    fn unwritten(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether only the session's task can go on writing.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether the client is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Has a buffer from now on, until [`Self::give_back`] finds it empty.
    pub(super) fn borrow_room(&mut self, spares: &Spares) {
        if self.bytes.capacity() == 0 {
            self.bytes = spares.bytes.take();
        }
    }

    /// Lends its buffer to whoever has work next, if it is empty.
    pub(super) fn give_back(&mut self, spares: &Spares) {
        if self.bytes.is_empty() && (1..=KEEP).contains(&self.bytes.capacity()) {
            spares.bytes.give(std::mem::take(&mut self.bytes));
        }
    }

    /// Appends what `write` writes, and returns its first byte.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Option<u8> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.bytes.get(start).copied()
    }

    /// Appends a reply or a piece of one; a large one goes to the socket at once when nothing is before it.
    pub(super) fn send(&mut self, mut bytes: &[u8]) {
        if bytes.len() >= LARGE && self.bytes.is_empty() && !self.blocked {
            match self.socket.try_write(bytes) {
                Ok(count) => {
                    self.has_left(count);
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => self.gone = true,
            }
        }
        if self.gone {
            return;
        }
        self.make_room();
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a message in two pieces. In the middle of a reply it waits for [`Outgoing::end_of_reply`].
    pub(super) fn push(&mut self, head: &[u8], tail: &[u8], in_reply: bool) {
        if self.gone {
            return;
        }
        self.make_room();
        let place = if in_reply { &mut self.pushes } else { &mut self.bytes };
        place.extend_from_slice(head);
        place.extend_from_slice(tail);
    }

    /// A reply has been appended to its end: messages that came meanwhile follow it.
    pub(super) fn end_of_reply(&mut self) {
        if !self.pushes.is_empty() {
            let pushes = std::mem::take(&mut self.pushes);
            self.bytes.extend_from_slice(&pushes);
        }
    }

    /// Takes away what has been written, once it is most of what is there: so a byte is moved once at most.
    fn make_room(&mut self) {
        if self.written > KEEP && self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) {
        while self.unwritten() > 0 && !self.blocked && !self.gone {
            match self.socket.try_write(self.bytes.get(self.written..).unwrap_or_default()) {
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => self.blocked = true,
                Err(_) => self.gone = true,
            }
        }
        self.blocked |= self.socket.is_behind();
    }

    /// Waits for a socket that took no more; ready when all is written.
    pub(super) fn poll_unblocked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.blocked && !self.gone {
            let rest = self.bytes.get(self.written..).unwrap_or_default();
            match ready!(self.socket.poll_write(cx, rest)) {
                Ok(count) if count > 0 || rest.is_empty() => self.advance(count),
                _ => self.gone = true,
            }
            self.blocked = self.unwritten() > 0 || self.socket.is_behind();
        }
        Poll::Ready(())
    }

    /// Closes this side of the connection; everything has been written.
    pub(super) fn shut_down(&mut self) {
        self.socket.shut_down();
    }

    /// Bytes that have left since this was last asked.
    pub(super) fn take_sent(&mut self) -> usize {
        std::mem::take(&mut self.sent)
    }

    fn has_left(&mut self, count: usize) {
        self.metrics.client_written(count);
        self.sent = self.sent.saturating_add(count);
    }

    fn advance(&mut self, count: usize) {
        self.has_left(count);
        self.written += count;
        if self.written == self.bytes.len() {
            self.written = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
        }
    }

    /// Gives back memory that an idle session does not need.
    pub(super) fn shrink(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.shrink_to(KEEP_IDLE);
        }
    }
}
