//! The end of a connection that the gateway closes: what the client still sends is read and dropped for a
//! moment, since closing a socket with unread bytes resets it, and a reset can destroy replies on their way.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::socket::Reader;

/// A client that is silent this long has nothing more under way.
const QUIET: Duration = Duration::from_millis(100);
/// The longest farewell.
const LONGEST: Duration = Duration::from_secs(1);
/// Bytes read and dropped at a time.
const PIECE: usize = 4 << 10;

/// Waits for the client to close, or to be quiet.
pub(super) struct Farewell {
    quiet: Pin<Box<Sleep>>,
    end: Instant,
}

impl Farewell {
    /// Begins now; the gateway's side of the connection is shut down already.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { quiet: Box::pin(sleep_until(now + QUIET)), end: now + LONGEST }
    }

    /// Ready when the connection may be closed.
    pub(super) fn poll(&mut self, socket: &mut Reader, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.quiet.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut piece = [0; PIECE];
            let mut buffer = ReadBuf::new(&mut piece);
            let read = ready!(Pin::new(&mut *socket).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
            self.quiet.as_mut().reset(self.end.min(Instant::now() + QUIET));
        }
    }
}
