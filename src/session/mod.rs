//! One client, from first byte to last: reads requests, has them served, lets replies leave in order.
//!
//! A session is one task and one bounded state machine. It stops reading while its client leaves replies
//! unread or has too much under way; what was read and not served waits in `input`.

mod access;
mod audit;
mod authorize;
mod blocking;
mod client;
mod colleagues;
mod conversation;
mod databases;
mod denials;
mod dialect;
mod failures;
mod family;
mod farewell;
mod flusher;
mod info;
mod known;
mod local;
mod memory;
mod origin;
mod outgoing;
mod patience;
mod places;
mod pubsub;
mod rates;
mod reads;
mod replies;
mod scripts;
mod scrutiny;
mod serve;
mod socket;
mod spares;
mod steps;
mod traces;
mod tracking;
mod transaction;
mod tuning;
mod watch;
mod worker;

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::backend::LARGE;
use crate::config::CertificateUser;
use crate::resp::{ParseError, Parsed, RequestParser};

use conversation::{Conversation, Flow};
use farewell::Farewell;
use socket::Reader;

pub use access::{Access, LoadError};
pub use client::Client;
pub use colleagues::{Colleagues, Inbox};
pub use flusher::Flusher;
pub use origin::origin;
pub use socket::{Accepted, AcceptedSocket};
pub use worker::{Gateway, Worker};

/// Turns of one session before others get theirs.
const ROUNDS: usize = 16;
/// Most arguments for which a parser that is lent to others keeps room.
const LENT_ARGUMENTS: usize = 1 << 10;
/// An incomplete request of this size is read into a buffer of its own.
const OWN_BUFFER: usize = 32 << 10;
/// Most bytes that one read of a large request asks for.
const LARGE_READ: usize = 1 << 20;
/// By how much a large request may grow in one step, in what is there of it: each step moves all that is there.
const GROWTH: usize = 4;

/// The task that serves one client.
pub struct Session {
    socket: Reader,
    /// Where in `input` it is; lent by the worker while there is something.
    parser: Option<Box<RequestParser>>,
    /// Bytes read and not served: the beginning of a request, or requests that have to wait.
    input: BytesMut,
    /// `input` may hold whole requests.
    paused: bool,
    /// No more requests are read; the session ends when all replies have left.
    closing: bool,
    /// The client has closed its side.
    left: bool,
    /// Its certificate, which comes with its first bytes, may say which user it is.
    unnamed: bool,
    /// Bytes of `input` and of an open transaction that the worker knows of.
    counted: usize,
    /// After the drain began, it was looked whether something had come.
    looked: bool,
    /// All replies have left, and the gateway has closed its side.
    farewell: Option<Farewell>,
    conversation: Conversation,
}

/// What a session does after a turn.
enum Turn {
    Again,
    End,
}

impl Session {
    /// A session for an accepted connection. Await it to serve.
    ///
    /// # Errors
    /// The client is gone already.
    pub fn new(worker: Rc<Worker>, accepted: Accepted) -> std::io::Result<Self> {
        let (read, write, ends) = socket::open(accepted)?;
        let named = worker.gateway.settings().listen.tls_client_user;
        Ok(Self {
            unnamed: named == CertificateUser::CommonName && read.is_encrypted(),
            socket: read,
            parser: None,
            input: BytesMut::new(),
            paused: false,
            closing: false,
            left: false,
            counted: 0,
            looked: false,
            farewell: None,
            conversation: Conversation::new(worker, write, ends),
        })
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.conversation.has_ended() {
            return Poll::Ready(Turn::End);
        }
        if self.conversation.is_blocked() {
            return self.listen(cx);
        }
        ready!(self.conversation.poll_flush(cx));
        if self.conversation.has_ended() {
            // Writing has just told. With all replies here, nothing else would wake the session again.
            return Poll::Ready(Turn::End);
        }
        self.conversation.send_divided();
        self.conversation.mend_scripts();
        if self.closing {
            return self.close(cx);
        }
        if self.conversation.is_draining() && !self.paused {
            return self.finish(cx);
        }
        if self.paused {
            if self.conversation.must_pause(true) {
                self.conversation.watch();
                return Poll::Pending;
            }
            self.paused = false;
            self.serve_input();
        } else {
            ready!(self.read(cx));
        }
        self.count();
        Poll::Ready(Turn::Again)
    }

    /// Lets the worker know what stays of what was read.
    fn count(&mut self) {
        let held = self.input.capacity() + self.conversation.transaction.size();
        if held != self.counted {
            self.counted = held;
            self.conversation.replies.hold_apart(held);
        }
    }

    /// Serves what the client has sent before it can know of the drain, then closes. What has begun ends well: a
    /// request of which a part is here, and a transaction.
    fn finish(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if !self.input.is_empty() || self.conversation.transaction.is_open() {
            ready!(self.read(cx));
            return Poll::Ready(Turn::Again);
        }
        if !self.looked {
            self.looked = true;
            if self.read(cx).is_ready() {
                return Poll::Ready(Turn::Again);
            }
        }
        self.closing = true;
        self.close(cx)
    }

    /// Lets the last replies leave, then says farewell.
    fn close(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if !self.conversation.is_drained() {
            self.conversation.watch();
            return Poll::Pending;
        }
        if !self.left {
            let conversation = &self.conversation;
            let farewell = self.farewell.get_or_insert_with(|| {
                conversation.shut_down();
                Farewell::new()
            });
            ready!(farewell.poll(&mut self.socket, cx));
        }
        Poll::Ready(Turn::End)
    }

    /// Reads once and serves what came.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.input.len() >= OWN_BUFFER {
            return self.read_large(cx);
        }
        let worker = self.conversation.worker().clone();
        let mut scratch = worker.scratch.borrow_mut();
        let carried = self.input.len();
        let Some(free) = scratch.get_mut(carried..) else { return Poll::Ready(()) };
        let mut buffer = ReadBuf::new(free);
        let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer));
        let count = buffer.filled().len();
        if !self.was_read(read, count) {
            return Poll::Ready(());
        }
        if let Some(front) = scratch.get_mut(..carried) {
            front.copy_from_slice(&self.input);
        }
        self.input.clear();
        let bytes = scratch.get(..carried + count).unwrap_or_default();
        let served = self.serve(bytes);
        self.input.extend_from_slice(bytes.get(served..).unwrap_or_default());
        if self.input.is_empty() && self.input.capacity() > LARGE {
            self.input = BytesMut::new();
        }
        self.give_back();
        Poll::Ready(())
    }

    /// Lends the parser to whoever reads next, if it is not within a request.
    fn give_back(&mut self) {
        if !self.input.is_empty() || self.closing {
            return;
        }
        if let Some(mut parser) = self.parser.take() {
            parser.shrink(LENT_ARGUMENTS);
            self.conversation.worker().shared.spares.parsers.give(parser);
        }
    }

    /// Reads more of a large request to where it will be sent from.
    fn read_large(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.make_room();
        match ready!(poll_read_buf(Pin::new(&mut self.socket), cx, &mut self.input)) {
            Ok(count) if self.was_read(Ok(()), count) => self.serve_input(),
            Ok(_) => {}
            Err(error) => drop(self.was_read(Err(error), 0)),
        }
        Poll::Ready(())
    }

    /// Makes room for more of a large request: what was there before may be taken whole, what is new is grown by what
    /// has arrived, never by what is announced.
    fn make_room(&mut self) {
        let arrived = self.input.len();
        let most = (arrived * GROWTH).min(LARGE_READ);
        let missing = self.parser.as_ref().map_or(0, |parser| parser.missing());
        let least = missing.clamp(LARGE, most);
        if self.input.capacity() - arrived >= least.min(missing) {
            return;
        }
        let buffers = &self.conversation.worker().pool.buffers;
        match buffers.take(arrived.saturating_add(missing), arrived + least) {
            Some(mut roomy) => {
                roomy.extend_from_slice(&self.input);
                self.input = roomy;
            }
            None => self.input.reserve(least),
        }
    }

    /// Whether bytes came; else the client has no more to say.
    fn was_read(&mut self, read: std::io::Result<()>, count: usize) -> bool {
        if read.is_err() || count == 0 {
            self.closing = true;
            self.left = true;
            return false;
        }
        self.conversation.heard(count);
        if std::mem::take(&mut self.unnamed)
            && let Some(name) = self.socket.certified_name()
        {
            self.conversation.log_in_by_certificate(&name);
        }
        true
    }

    /// Serves the requests in `bytes`; returns how many bytes they were.
    fn serve(&mut self, bytes: &[u8]) -> usize {
        let worker = self.conversation.worker().clone();
        let commands = worker.commands();
        let mut served = 0;
        while !self.closing {
            let rest = bytes.get(served..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            if self.conversation.must_pause(false) {
                self.paused = true;
                break;
            }
            let parser = self.parser.get_or_insert_with(|| worker.shared.spares.parsers.take());
            let parsed = parser.parse(rest, &worker.limits(), self.conversation.is_authenticated());
            match parsed {
                Ok(Parsed::Incomplete) => break,
                Ok(Parsed::Skip(length)) => served += length,
                Ok(Parsed::Request(length)) => {
                    match self.conversation.serve(&commands, parser.request(rest), None) {
                        Flow::Next => {}
                        Flow::Close => self.closing = true,
                        Flow::Wait => {
                            self.paused = true;
                            break;
                        }
                    }
                    served += length;
                }
                Err(error) => self.refuse(error),
            }
        }
        served
    }

    /// Serves the requests in `input`; a large one is sent on without being copied.
    fn serve_input(&mut self) {
        let worker = self.conversation.worker().clone();
        let commands = worker.commands();
        while !self.closing && !self.input.is_empty() {
            if self.conversation.must_pause(false) {
                self.paused = true;
                return;
            }
            let parser = self.parser.get_or_insert_with(|| worker.shared.spares.parsers.take());
            let parsed =
                parser.parse(&self.input, &worker.limits(), self.conversation.is_authenticated());
            match parsed {
                Ok(Parsed::Incomplete) => return,
                Ok(Parsed::Skip(length)) => drop(self.input.split_to(length)),
                Ok(Parsed::Request(length)) => {
                    let frame: Bytes = self.input.split_to(length).freeze();
                    let request = parser.request(&frame);
                    match self.conversation.serve(&commands, request, Some(&frame)) {
                        Flow::Next => {}
                        Flow::Close => self.closing = true,
                        Flow::Wait => return self.put_back(&frame),
                    }
                }
                Err(error) => self.refuse(error),
            }
        }
        self.input = BytesMut::new();
        self.give_back();
    }

    /// A request that has to wait stands before the rest of the input again.
    fn put_back(&mut self, frame: &Bytes) {
        self.paused = true;
        let rest = std::mem::replace(&mut self.input, BytesMut::from(&frame[..]));
        self.input.extend_from_slice(&rest);
    }

    fn refuse(&mut self, error: ParseError) {
        self.conversation.refuse(error);
        self.closing = true;
    }
}

impl Future for Session {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.conversation.register(cx.waker());
        for _ in 0..ROUNDS {
            match ready!(this.turn(cx)) {
                Turn::Again => {}
                Turn::End => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
