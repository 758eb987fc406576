//! One connection that carries subscriptions: orders go out, confirmations and messages come in.
//!
//! Whatever is published reaches those who listen straight out of the read buffer. In its turn it hands out a
//! bounded number of messages, however many listen.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;
use tokio::sync::oneshot;
use tokio_util::io::poll_read_buf;

use crate::resp::{ReplyScanner, write};

use super::super::clock::Micros;
use super::super::node::Node;
use super::super::pipeline::Ended;
use super::super::stream::Stream;
use super::frame::Push;
use super::hub::Subscriptions;
use super::topics::{FeedId, Order};
use super::{Message, Topic};

/// Reads and writes in one turn before other tasks get theirs.
const ROUNDS: usize = 16;
/// Copies of messages handed out in one turn.
const COPIES: usize = 8 << 10;
/// Bytes that one read asks for, and the most when a long message is under way.
const READ: usize = 64 << 10;
/// The longest answer that is no message: an error's words.
const LONGEST_LINE: usize = 64 << 10;
const LONG_READ: usize = 1 << 20;

/// What the next answer on a connection is about.
enum Awaited {
    Order(Order, usize),
    /// Whoever wants to know that everything before has arrived.
    Pong(Option<oneshot::Sender<()>>),
}

struct State {
    outgoing: BytesMut,
    awaited: VecDeque<(Awaited, Micros)>,
    heard: Micros,
    /// Last time that something was asked of it.
    used: Micros,
    /// Somebody wants this connection closed, and why.
    cut: Option<Ended>,
}

/// The connection, shared by those who give orders and the task that drives it.
pub(super) struct Feed {
    pub(super) id: FeedId,
    pub(super) node: Rc<Node>,
    state: RefCell<State>,
    waker: RefCell<Option<Waker>>,
}

impl Feed {
    pub(super) fn new(id: FeedId, node: Rc<Node>, now: Micros) -> Self {
        let state = State {
            outgoing: BytesMut::new(),
            awaited: VecDeque::new(),
            heard: now,
            used: now,
            cut: None,
        };
        Self { id, node, state: RefCell::new(state), waker: RefCell::new(None) }
    }

    /// Sends an order about the topic of that number.
    pub(super) fn order(&self, order: Order, index: usize, topic: &Topic, now: Micros) {
        let word = match order {
            Order::Join => topic.kind.subscribe(),
            Order::Leave => topic.kind.unsubscribe(),
        };
        self.ask(Awaited::Order(order, index), &[word.as_bytes(), &topic.name], now);
        self.state.borrow_mut().used = now;
    }

    /// Asks for a sign of life; `then` learns that everything the node sent before is here.
    pub(super) fn ping(&self, then: Option<oneshot::Sender<()>>, now: Micros) {
        self.ask(Awaited::Pong(then), &[b"PING"], now);
    }

    fn ask(&self, awaited: Awaited, words: &[&[u8]], now: Micros) {
        let mut state = self.state.borrow_mut();
        let mut request = Vec::new();
        write::command(&mut request, words);
        state.outgoing.extend_from_slice(&request);
        state.awaited.push_back((awaited, now));
        drop(state);
        self.wake();
    }

    /// Closes the connection in its next turn.
    pub(super) fn cut(&self, why: &str) {
        self.state.borrow_mut().cut.get_or_insert_with(|| why.into());
        self.wake();
    }

    /// Since when the node owes an answer and has said nothing at all.
    pub(super) fn silent_since(&self) -> Option<Micros> {
        let state = self.state.borrow();
        state.awaited.front().map(|(_, asked)| state.heard.max(*asked))
    }

    /// Last time that the node said anything.
    pub(super) fn heard(&self) -> Micros {
        self.state.borrow().heard
    }

    /// Last time that an order was given.
    pub(super) fn used(&self) -> Micros {
        self.state.borrow().used
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    fn answered(&self) -> Option<Awaited> {
        self.state.borrow_mut().awaited.pop_front().map(|(awaited, _)| awaited)
    }

    /// Takes the oldest order off if it was this one, about a topic for which `is_meant`.
    fn answered_order(&self, order: Order, is_meant: impl Fn(usize) -> bool) -> Option<usize> {
        let mut state = self.state.borrow_mut();
        match state.awaited.front() {
            Some((Awaited::Order(asked, index), _)) if *asked == order && is_meant(*index) => {
                let index = *index;
                state.awaited.pop_front();
                Some(index)
            }
            _ => None,
        }
    }
}

/// The task of a connection; ready when the connection ends.
pub(super) struct Carrier {
    hub: Rc<Subscriptions>,
    feed: Rc<Feed>,
    stream: Stream,
    scanner: ReplyScanner,
    /// Bytes read and not handed out.
    input: BytesMut,
}

impl Future for Carrier {
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

impl Carrier {
    pub(super) fn new(hub: Rc<Subscriptions>, feed: Rc<Feed>, stream: Stream) -> Self {
        Self { hub, feed, stream, scanner: ReplyScanner::new(), input: BytesMut::new() }
    }

    /// One turn: `Ready(Ok)` when there is more to do and others should have theirs first.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        self.feed.waker.replace(Some(cx.waker().clone()));
        for _ in 0..ROUNDS {
            if let Some(why) = self.feed.state.borrow().cut.clone() {
                return Poll::Ready(Err(why));
            }
            if !self.hand_out()? {
                return Poll::Ready(Ok(()));
            }
            self.write(cx)?;
            ready!(self.read(cx)?);
        }
        Poll::Ready(Ok(()))
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        let mut state = self.feed.state.borrow_mut();
        while !state.outgoing.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &state.outgoing) {
                Poll::Ready(Ok(0)) => return Err("connection closed while writing".into()),
                Poll::Ready(Ok(count)) => {
                    self.hub.metrics().node_written(count);
                    state.outgoing.advance(count);
                }
                Poll::Ready(Err(error)) => return Err(error.to_string().into()),
                Poll::Pending => break,
            }
        }
        // Encrypted bytes may still wait in the stream; a plain one has nothing to flush.
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(error.to_string().into()),
            _ => Ok(()),
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        // Grown by what has arrived, never by what is announced.
        let most = self.input.len().clamp(READ, LONG_READ);
        self.input.reserve(self.scanner.missing().clamp(READ, most));
        match ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input)) {
            Err(error) => Poll::Ready(Err(error.to_string().into())),
            Ok(0) => Poll::Ready(Err("connection closed by the node".into())),
            Ok(count) => {
                self.hub.metrics().node_read(count);
                self.feed.state.borrow_mut().heard = self.hub.tick();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Hands out every whole frame; false when there are more than one turn should have.
    fn hand_out(&mut self) -> Result<bool, Ended> {
        let (mut taken, mut copies) = (0, 0);
        while copies < COPIES {
            let rest = self.input.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let end = self.scanner.scan(rest).map_err(|error| Ended::from(error.to_string()))?;
            let Some(frame) = end.and_then(|end| rest.get(..end)) else {
                let most = match rest.first() {
                    Some(b'>') => self.hub.pool.longest_message(),
                    _ => LONGEST_LINE,
                };
                if rest.len().saturating_add(self.scanner.missing()) > most {
                    return Err("a message without an end".into());
                }
                break;
            };
            copies += 1 + self.take(frame)?;
            taken += frame.len();
        }
        self.input.advance(taken);
        if self.input.is_empty() && self.input.capacity() > LONG_READ {
            self.input = BytesMut::new();
        }
        Ok(copies < COPIES)
    }

    /// One whole frame; returns how many times its message was copied.
    fn take(&self, frame: &[u8]) -> Result<usize, Ended> {
        let Self { hub, feed, .. } = self;
        if frame.first() != Some(&b'>') {
            match feed.answered() {
                None => return Err("a reply that nobody asked for".into()),
                Some(Awaited::Order(order, index)) => hub.objected(feed, order, index, frame),
                Some(Awaited::Pong(then)) => drop(then.map(|then| then.send(()))),
            }
            return Ok(0);
        }
        match Push::read(frame).ok_or("a message that is none")? {
            Push::Message { kind, topic, channel, tail } => {
                return Ok(hub.heard(feed, kind, topic, Message { channel, tail }));
            }
            Push::Joined(kind, name) => {
                let meant = |index| hub.is_topic(index, kind, name);
                let index = feed.answered_order(Order::Join, meant);
                hub.done(feed, index.ok_or("a subscription that nobody asked for")?);
            }
            Push::Left(kind, name) => {
                let meant = |index| hub.is_topic(index, kind, name);
                match feed.answered_order(Order::Leave, meant) {
                    Some(index) => hub.done(feed, index),
                    None => hub.dropped(feed, kind, name),
                }
            }
            Push::Other => {}
        }
        Ok(0)
    }
}
