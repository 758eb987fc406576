//! Drives one pipeline's connection: what is queued goes out, replies come in and are handed out.
//!
//! In its turn it writes what all sessions queued since the last one, in one system call, and hands out every
//! reply that one read brought. Nothing waits while state is borrowed.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use crate::resp::ReplyScanner;
use crate::resp::reply::integer;

use super::pending::{Answered, Coming};
use super::pipeline::{Ended, Pipeline};
use super::pool::Pool;
use super::redirect::refusal;
use super::stream::Stream;
use super::{ABORTED, LARGE, Noticed};

/// Reads and writes in one turn before other tasks get theirs.
const ROUNDS: usize = 16;

/// Why nobody knows what became of a block that was no transaction to its node.
const ONE_BY_ONE: &[u8] =
    b"-UNCERTAIN the node began no transaction; its commands may have been executed: ";

/// What DISCARD answers.
const OK: &[u8] = b"+OK\r\n";

/// The task of a connection; ready when the connection ends.
pub(super) struct Driver {
    pool: Rc<Pool>,
    pipeline: Rc<Pipeline>,
    stream: Stream,
    scanner: ReplyScanner,
    /// The beginning of a reply whose rest has not come.
    tail: Vec<u8>,
    /// Bytes of a reply that have been handed out in pieces.
    streamed: usize,
    /// A message that nobody asked for is too long to be kept: what comes of it is dropped.
    skipping: bool,
}

impl Future for Driver {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        match ready!(this.turn(cx)) {
            Err(why) => Poll::Ready(why),
            Ok(()) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Driver {
    pub(super) fn new(pool: Rc<Pool>, pipeline: Rc<Pipeline>, stream: Stream) -> Self {
        let (scanner, tail) = (ReplyScanner::new(), Vec::new());
        let (streamed, skipping) = (0, false);
        Self { pool, pipeline, stream, scanner, tail, streamed, skipping }
    }

    /// The same for a connection of which these bytes have been read already.
    pub(super) fn resume(
        pool: Rc<Pool>,
        pipeline: Rc<Pipeline>,
        stream: Stream,
        read: &[u8],
    ) -> Result<Self, Ended> {
        let mut driver = Self::new(pool, pipeline, stream);
        driver.hand_out(read)?;
        Ok(driver)
    }

    /// One turn: `Ready(Ok)` when there is more to do and others should have theirs first.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        self.pipeline.begin_turn(cx.waker());
        for _ in 0..ROUNDS {
            if let Some(why) = self.pipeline.is_cut() {
                return Poll::Ready(Err(why));
            }
            let written = self.pipeline.write(&mut self.stream, cx)?;
            self.pool.metrics().node_written(written);
            ready!(self.read(cx)?);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and hands out the replies.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let scratch = self.pool.scratch();
        let mut scratch = scratch.borrow_mut();
        let carried = self.tail.len();
        if carried + LARGE > scratch.len() {
            return Poll::Ready(Err("a line without an end".into()));
        }
        let Some(free) = scratch.get_mut(carried..) else { return Poll::Pending };
        let mut buffer = ReadBuf::new(free);
        match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
            Err(error) => return Poll::Ready(Err(error.to_string().into())),
            Ok(()) if buffer.filled().is_empty() => {
                return Poll::Ready(Err("connection closed by the node".into()));
            }
            Ok(()) => {}
        }
        let count = buffer.filled().len();
        self.pipeline.heard(self.pool.clock().tick());
        if self.pipeline.node().is_silent() {
            self.pool.speaks(self.pipeline.node());
        }
        self.pool.metrics().node_read(count);
        if let Some(front) = scratch.get_mut(..carried) {
            front.copy_from_slice(&self.tail);
        }
        self.tail.clear();
        Poll::Ready(self.hand_out(scratch.get(..carried + count).unwrap_or_default()))
    }

    /// Hands out every complete reply in `bytes`, and a piece of the last one when it is large.
    fn hand_out(&mut self, mut bytes: &[u8]) -> Result<(), Ended> {
        while !bytes.is_empty() {
            let end = self.scanner.scan(bytes).map_err(|error| Ended::from(error.to_string()))?;
            let Some(end) = end else {
                return self.keep(bytes);
            };
            let (reply, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
            if std::mem::take(&mut self.skipping) {
                // Which keys it named is lost: it might have been any.
                self.pipeline.changed(None);
            } else if self.pipeline.is_streaming() {
                let size = std::mem::take(&mut self.streamed) + reply.len();
                let Answered { question, untracked, .. } = self.answered(size, false)?;
                question.asker.piece(question.ticket, reply, true);
                self.mind(untracked);
            } else {
                self.answer(reply)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// `bytes` begin a reply whose rest has not come.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        if !self.skipping && !self.pipeline.is_streaming() {
            // An error is never streamed: it may be a refusal. Nor is what comes before the reply, or is one
            // endless line.
            let kind = bytes.first().filter(|_| bytes.len() >= LARGE);
            self.skipping = kind == Some(&b'>');
            let begins = matches!(kind, Some(b'$' | b'*' | b'~' | b'%' | b'='))
                && self.pipeline.coming()? != Coming::Preliminary
                && (!self.pipeline.manner().is_readonly
                    || self.pool.believes(self.pipeline.node(), bytes));
            if !begins && !self.skipping {
                self.tail.extend_from_slice(bytes);
                return Ok(());
            }
        }
        let scanned = self.scanner.scanned().min(bytes.len());
        let (piece, rest) = bytes.split_at_checked(scanned).unwrap_or((bytes, &[]));
        if !self.skipping {
            let (asker, ticket) = self.pipeline.streams()?;
            asker.piece(ticket, piece, false);
            self.streamed += piece.len();
        }
        self.scanner.forget(scanned);
        self.tail.extend_from_slice(rest);
        Ok(())
    }

    /// A whole reply to the oldest pending request.
    fn answer(&self, reply: &[u8]) -> Result<(), Ended> {
        match reply.first() {
            // Out of band. On a shared connection nobody asked for any.
            Some(b'>') => {
                self.pipeline.pushed(reply);
                return Ok(());
            }
            Some(b':') if integer(reply).is_none() => return Err("a number that is none".into()),
            _ => {}
        }
        match self.pipeline.coming()? {
            Coming::Preliminary => {
                self.pipeline.passed(reply);
                Ok(())
            }
            Coming::ReplyToSpoiled => self.deliver(&spoiled(reply, self.pipeline.objection())),
            Coming::Reply => self.deliver(reply),
        }
    }

    fn deliver(&self, reply: &[u8]) -> Result<(), Ended> {
        if let Some(refusal) = refusal(reply) {
            let errand = self.pipeline.refused()?;
            self.pool.refused(errand, refusal, self.pipeline.node(), reply);
        } else if self.pipeline.manner().is_readonly
            && !self.pool.believes(self.pipeline.node(), reply)
        {
            self.pool.ask_primary(self.pipeline.refused()?);
        } else {
            let failed = reply.first() == Some(&b'-');
            let answered = self.answered(reply.len(), failed)?;
            let Answered { question, sent, untracked, .. } = answered;
            let elapsed = self.pool.clock().now().saturating_sub(sent) as u32;
            self.pipeline.node().metrics.settled(failed, elapsed);
            question.asker.settle(question.ticket, reply);
            self.mind(untracked);
        }
        Ok(())
    }

    /// What a client caches of which no node keeps track is not to be cached for long.
    fn mind(&self, untracked: bool) {
        if untracked {
            self.pipeline.changed(None);
        }
    }

    /// The oldest request is answered, with so many bytes, or with an error.
    fn answered(&self, size: usize, failed: bool) -> Result<Answered, Ended> {
        let now = self.pool.clock().now();
        let mut answered = self.pipeline.settled(self.pool.attention(), now, size)?;
        if let Some(scout) = &mut answered.question.scout {
            scout.was_served();
        }
        let elapsed = now.saturating_sub(answered.sent);
        self.pool.metrics().node_settled(elapsed as u32);
        if let Some(request) = answered.wanted.take() {
            let total = now.saturating_sub(answered.question.born);
            let node = Some((self.pipeline.node().address.clone(), elapsed));
            let ticket = answered.question.ticket;
            let at = now;
            let noticed = Noticed { request, total, node, reply: size, ticket, failed, at };
            answered.question.asker.noticed(&noticed);
            self.pool.buffers.give_back(noticed.request);
        }
        Ok(answered)
    }
}

/// What became of a block of which the node did not take everything.
fn spoiled(reply: &[u8], objection: Bytes) -> Bytes {
    let reason = objection.get(1..).unwrap_or_default();
    if reply == OK || reply.starts_with(b"-EXECABORT") {
        // The reason says more than that there was one, and may be a refusal.
        let refused = refusal(&objection).is_some();
        return if refused { objection } else { [ABORTED, reason].concat().into() };
    }
    if reply.ends_with(b"without MULTI\r\n") {
        // The gateway's own user may not say MULTI.
        return [ONE_BY_ONE, reason].concat().into();
    }
    Bytes::copy_from_slice(reply)
}
