//! What a session does while its client waits: it listens for the client's end.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::super::{Session, Turn};
use super::Ending;

/// Most bytes that are read behind a request that waits. What is more stays in the socket.
const MOST: usize = 16 << 10;
/// Bytes read at a time.
const PIECE: usize = 4 << 10;

impl Session {
    /// The session's turn while its client waits. What the client sends meanwhile is kept for later, within bounds.
    pub(in crate::session) fn listen(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        self.conversation.watch();
        self.paused = true;
        // Earlier replies go on leaving; whether they have left changes nothing here.
        let _ = self.conversation.poll_flush(cx);
        if self.closing {
            return Poll::Pending;
        }
        if self.conversation.is_draining() {
            self.closing = true;
            self.conversation.end_wait(Ending::Drain);
        } else if self.client_has_left(cx) {
            self.closing = true;
            self.left = true;
            self.conversation.end_wait(Ending::Left);
        }
        Poll::Pending
    }

    fn client_has_left(&mut self, cx: &mut Context<'_>) -> bool {
        while self.input.len() < MOST {
            let mut piece = [0; PIECE];
            let mut buffer = ReadBuf::new(&mut piece);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.conversation.heard(buffer.filled().len());
                    self.input.extend_from_slice(buffer.filled());
                }
                Poll::Ready(_) => return true,
            }
        }
        // Bytes that stay in the socket hide its end from a read. It is looked for from time to time.
        self.conversation.listen_no_more();
        self.socket.has_ended(cx)
    }
}
