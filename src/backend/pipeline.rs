//! A shared connection to a node: requests of many sessions one after the other, replies in the same order.
//!
//! One task drives it. In its turn it writes what all sessions queued since the last one, in one system
//! call, and hands out every reply that one read brought. Nothing here waits while state is borrowed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::resp::reply::integer;
use crate::resp::{Protocol, ReplyScanner};

use super::clock::Micros;
use super::node::Node;
use super::outbox::Outbox;
use super::pool::Pool;
use super::redirect::refusal;
use super::{Errand, LARGE, Question};

/// Reads and writes in one turn before other tasks get theirs.
const ROUNDS: usize = 16;

/// Sent before a request that a node redirected with ASK, in the same breath.
const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// A request that was sent, or will be as soon as the node takes it.
struct Pending {
    question: Question,
    sent: Micros,
    /// Bytes in the outbox, without `ASKING`.
    length: u32,
    large: bool,
    /// `ASKING` goes before it, and its `+OK` comes before the reply.
    asking: bool,
}

/// A request that lost its connection.
pub(super) struct Orphan {
    pub(super) errand: Errand,
    /// A byte of it was written: it may have run.
    pub(super) touched: bool,
}

struct State {
    outbox: Outbox,
    pending: VecDeque<Pending>,
    /// Pieces of the first pending reply have been handed out.
    streaming: bool,
    /// Last time that the node sent anything, or that something was sent to a silent node.
    heard: Micros,
    /// Somebody wants this connection closed, and why.
    cut: Option<Rc<str>>,
}

/// The queue of a connection, shared by those who send and the task that drives it.
pub(super) struct Pipeline {
    node: Rc<Node>,
    protocol: Protocol,
    state: RefCell<State>,
    waker: RefCell<Option<Waker>>,
    woken: Cell<bool>,
}

impl Pipeline {
    pub(super) fn new(node: Rc<Node>, protocol: Protocol, now: Micros) -> Self {
        let state = State {
            outbox: Outbox::default(),
            pending: VecDeque::new(),
            streaming: false,
            heard: now,
            cut: None,
        };
        Self {
            node,
            protocol,
            state: RefCell::new(state),
            waker: RefCell::new(None),
            woken: Cell::new(false),
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn node(&self) -> &Rc<Node> {
        &self.node
    }

    /// Queues a request that `write` appends; it leaves in the pipeline's next turn.
    pub(super) fn push(&self, question: Question, now: Micros, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.borrow_mut();
        let length = state.outbox.append(write) as u32;
        state.queue(Pending { question, sent: now, length, large: false, asking: false }, now);
        drop(state);
        self.wake();
    }

    /// Queues a request that exists as bytes already; a large one is not copied.
    pub(super) fn push_bytes(&self, errand: Errand, now: Micros, asking: bool) {
        let Errand { question, bytes } = errand;
        let mut state = self.state.borrow_mut();
        if asking {
            state.outbox.append(|out| out.extend_from_slice(ASKING));
        }
        let length = bytes.len() as u32;
        let large = bytes.len() >= LARGE;
        if large {
            state.outbox.append_large(bytes);
        } else {
            state.outbox.append(|out| out.extend_from_slice(&bytes));
        }
        state.queue(Pending { question, sent: now, length, large, asking }, now);
        drop(state);
        self.wake();
    }

    fn wake(&self) {
        if !self.woken.replace(true)
            && let Some(waker) = self.waker.borrow().as_ref()
        {
            waker.wake_by_ref();
        }
    }

    /// Closes the connection in its next turn; what is pending is an orphan then.
    pub(super) fn cut(&self, why: Rc<str>) {
        self.state.borrow_mut().cut.get_or_insert(why);
        self.woken.set(false);
        self.wake();
    }

    pub(super) fn pending(&self) -> usize {
        self.state.borrow().pending.len()
    }

    /// When the oldest request that waits for its reply was first sent by its asker, and when this
    /// connection last gave a sign of life. `None`: nothing is pending.
    pub(super) fn waiting(&self) -> Option<(Micros, Micros)> {
        let state = self.state.borrow();
        state.pending.front().map(|first| (first.question.born, state.heard.max(first.sent)))
    }

    /// Takes back everything that has no reply, oldest first.
    pub(super) fn orphans(&self) -> Vec<Orphan> {
        let mut state = self.state.borrow_mut();
        let mut orphans = Vec::with_capacity(state.pending.len());
        while let Some(pending) = state.pending.pop_front() {
            let before = if pending.asking { ASKING.len() } else { 0 };
            let touched = state.outbox.touched(before as u64);
            orphans.push(Orphan { errand: state.take(pending), touched });
        }
        orphans
    }

    /// Whether the first pending reply has been handed out in part.
    pub(super) fn is_streaming(&self) -> bool {
        self.state.borrow().streaming
    }
}

impl State {
    fn queue(&mut self, pending: Pending, now: Micros) {
        if self.pending.is_empty() {
            self.heard = now;
        }
        self.pending.push_back(pending);
    }

    fn release_asking(&mut self, pending: &Pending) {
        if pending.asking {
            self.outbox.release(ASKING.len(), false);
        }
    }

    fn take(&mut self, pending: Pending) -> Errand {
        self.release_asking(&pending);
        let bytes = self.outbox.take(pending.length as usize, pending.large);
        Errand { question: pending.question, bytes }
    }

    fn release(&mut self, pending: &Pending) {
        self.release_asking(pending);
        self.outbox.release(pending.length as usize, pending.large);
    }
}

/// Why a connection ended: in words, for the log and the client.
pub(super) type Ended = Rc<str>;

/// Drives a pipeline's connection until it ends.
pub(super) struct Driver {
    pool: Rc<Pool>,
    pipeline: Rc<Pipeline>,
    stream: TcpStream,
    scanner: ReplyScanner,
    /// The beginning of a reply whose rest has not come.
    tail: Vec<u8>,
    /// `+OK` of `ASKING` has been seen for the first pending request.
    asked: bool,
}

impl Future for Driver {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        match this.turn(cx) {
            Poll::Ready(Err(why)) => Poll::Ready(why),
            Poll::Ready(Ok(())) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Driver {
    pub(super) fn new(pool: Rc<Pool>, pipeline: Rc<Pipeline>, stream: TcpStream) -> Self {
        Self {
            pool,
            pipeline,
            stream,
            scanner: ReplyScanner::new(),
            tail: Vec::new(),
            asked: false,
        }
    }

    /// One turn: `Ready(Ok)` when there is more to do and others should have theirs first.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        self.pipeline.woken.set(false);
        self.register(cx.waker());
        for _ in 0..ROUNDS {
            if let Some(why) = self.pipeline.state.borrow().cut.clone() {
                return Poll::Ready(Err(why));
            }
            self.write(cx)?;
            ready!(self.read(cx)?);
        }
        Poll::Ready(Ok(()))
    }

    fn register(&self, waker: &Waker) {
        let mut registered = self.pipeline.waker.borrow_mut();
        if !registered.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }

    /// Writes until all is written or the node takes no more.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        let mut state = self.pipeline.state.borrow_mut();
        while state.outbox.has_unwritten() {
            let slices = state.outbox.next_slices();
            let written = match &slices {
                [small, large] if large.is_empty() => {
                    Pin::new(&mut self.stream).poll_write(cx, small)
                }
                both => Pin::new(&mut self.stream).poll_write_vectored(cx, both),
            };
            match written {
                Poll::Ready(Ok(0)) => return Err("connection closed while writing".into()),
                Poll::Ready(Ok(count)) => {
                    state.outbox.advance(count);
                    self.pool.metrics().node_written(count);
                }
                Poll::Ready(Err(error)) => return Err(error.to_string().into()),
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
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
        let now = self.pool.clock().tick();
        self.pool.metrics().node_read(count);
        self.pipeline.state.borrow_mut().heard = now;
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
            if self.pipeline.is_streaming() {
                self.piece(reply, true)?;
            } else {
                self.answer(reply)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// `bytes` begin a reply whose rest has not come.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let scanned = self.scanner.scanned().min(bytes.len());
        let streaming = self.pipeline.is_streaming();
        // An error is never streamed: it may be a refusal. Nor is what nobody asked for, or answers ASKING, or
        // is one endless line.
        let may_stream =
            bytes.len() >= LARGE && matches!(bytes.first(), Some(b'$' | b'*' | b'~' | b'%' | b'='));
        let (piece, rest) = bytes.split_at_checked(scanned).unwrap_or((bytes, &[]));
        if streaming || (may_stream && self.expects_reply()) {
            self.piece(piece, false)?;
            self.scanner.forget(scanned);
            self.tail.extend_from_slice(rest);
        } else {
            self.tail.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn expects_reply(&self) -> bool {
        let state = self.pipeline.state.borrow();
        state.pending.front().is_some_and(|first| !first.asking || self.asked)
    }

    fn piece(&mut self, piece: &[u8], end: bool) -> Result<(), Ended> {
        let mut state = self.pipeline.state.borrow_mut();
        let first = state.pending.front().ok_or("a reply that nobody asked for")?;
        let (asker, ticket) = (first.question.asker.clone(), first.question.ticket);
        state.streaming = !end;
        if end && let Some(pending) = state.pending.pop_front() {
            state.release(&pending);
        }
        drop(state);
        asker.piece(ticket, piece, end);
        Ok(())
    }

    /// A whole reply to the oldest pending request.
    fn answer(&mut self, reply: &[u8]) -> Result<(), Ended> {
        // Out of band: nobody on a shared connection asked for pushes.
        if reply.first() == Some(&b'>') {
            return Ok(());
        }
        let mut state = self.pipeline.state.borrow_mut();
        let first = state.pending.front().ok_or("a reply that nobody asked for")?;
        if first.asking && !self.asked {
            self.asked = true;
            return Ok(());
        }
        self.asked = false;
        if reply.first() == Some(&b':') && integer(reply).is_none() {
            return Err("a number that is none".into());
        }
        let asking = if first.asking { ASKING.len() } else { 0 };
        if !state.outbox.touched((asking + first.length as usize) as u64 - 1) {
            return Err("a reply before the request was sent".into());
        }
        let Some(pending) = state.pending.pop_front() else { return Ok(()) };
        self.pool
            .metrics()
            .node_settled(self.pool.clock().now().saturating_sub(pending.sent) as u32);
        if reply.first() == Some(&b'-')
            && let Some(refusal) = refusal(reply)
        {
            let errand = state.take(pending);
            drop(state);
            self.pool.refused(errand, refusal, &self.pipeline.node, reply);
            return Ok(());
        }
        state.release(&pending);
        drop(state);
        pending.question.asker.settle(pending.question.ticket, reply);
        Ok(())
    }
}
