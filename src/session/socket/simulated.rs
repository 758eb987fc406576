//! The gateway's end of a client's connection in a simulation, in the form that sockets have.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncWrite, DuplexStream};

pub(in crate::session) type ReadHalf = tokio::io::ReadHalf<DuplexStream>;

pub(in crate::session) struct WriteHalf(RefCell<tokio::io::WriteHalf<DuplexStream>>);

pub(super) fn split(stream: DuplexStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = tokio::io::split(stream);
    (read, WriteHalf(RefCell::new(write)))
}

impl WriteHalf {
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.poll_write(&mut Context::from_waker(Waker::noop()), bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write(cx, b"").map_ok(drop)
    }

    pub(super) fn shut_down(&self) {
        let mut cx = Context::from_waker(Waker::noop());
        // It is over at once, and a client that has gone needs no word of it.
        let _ = Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(&mut cx);
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }
}
