//! A shared connection to a node: requests of many sessions one after the other, replies in the same order.
//!
//! Sessions queue here; one task, the [`Driver`](super::driver::Driver), moves the bytes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::buffers::Buffers;
use super::clock::Micros;
use super::lead::Lead;
use super::lines::Listener;
use super::node::Node;
use super::outbox::Outbox;
use super::pending::{Answered, Coming, Orphan, Pending};
use super::stream::Stream;
use super::{Asker, Attention, Caching, Errand, LARGE, Login, Manner, Question, Ticket};

/// Why a connection ended: in words, for the log and the client.
pub(super) type Ended = Rc<str>;

struct State {
    outbox: Outbox,
    pending: VecDeque<Pending>,
    /// Pieces of the first pending reply have been handed out.
    streaming: bool,
    /// How many of the first pending request's preliminary replies have come, and the first error among them.
    passed: u32,
    objection: Option<Bytes>,
    /// Last time that the node sent anything, or that something was sent to a silent node.
    heard: Micros,
    /// Somebody wants this connection closed, and why.
    cut: Option<Ended>,
    /// It is to be closed once everything is answered.
    dismissed: bool,
}

/// The queue of a connection, shared by those who send and the task that drives it.
pub(super) struct Pipeline {
    node: Rc<Node>,
    manner: Manner,
    /// No other connection of this worker ever has it.
    number: u64,
    state: RefCell<State>,
    waker: RefCell<Option<Waker>>,
    woken: Cell<bool>,
    /// Who is told what the node says of its own accord.
    pub(super) listener: Option<Weak<dyn Listener>>,
}

impl Pipeline {
    pub(super) fn new(
        node: Rc<Node>,
        manner: Manner,
        number: u64,
        buffers: Rc<Buffers>,
        now: Micros,
    ) -> Self {
        let state = State {
            outbox: Outbox::new(buffers),
            pending: VecDeque::new(),
            streaming: false,
            passed: 0,
            objection: None,
            heard: now,
            cut: None,
            dismissed: false,
        };
        Self {
            node,
            manner,
            number,
            state: RefCell::new(state),
            waker: RefCell::new(None),
            woken: Cell::new(false),
            listener: None,
        }
    }

    /// The same for one session, which listens to what the node says of its own accord.
    pub(super) fn told_to(mut self, listener: Weak<dyn Listener>) -> Self {
        self.listener = Some(listener);
        self
    }

    pub(super) fn manner(&self) -> Manner {
        self.manner
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn node(&self) -> &Rc<Node> {
        &self.node
    }

    /// Queues a request that `write` appends; it leaves in the pipeline's next turn.
    pub(super) fn push(&self, question: Question, now: Micros, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.borrow_mut();
        let lead = state.lead(&question, false);
        let length = state.outbox.append(write) as u32;
        state.queue(Pending { question, sent: now, length, large: false, lead }, now);
        drop(state);
        self.wake();
    }

    /// Queues a request that exists as bytes already; a large one is not copied.
    pub(super) fn push_bytes(&self, errand: Errand, now: Micros, asking: bool) {
        let Errand { question, bytes } = errand;
        let mut state = self.state.borrow_mut();
        let lead = state.lead(&question, asking);
        let length = bytes.len() as u32;
        let large = bytes.len() >= LARGE;
        if large {
            state.outbox.append_large(bytes);
        } else {
            state.outbox.append(|out| out.extend_from_slice(&bytes));
        }
        state.queue(Pending { question, sent: now, length, large, lead }, now);
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
    pub(super) fn cut(&self, why: Ended) {
        self.state.borrow_mut().cut.get_or_insert(why);
        self.woken.set(false);
        self.wake();
    }

    /// Whether one session has it for itself.
    pub(super) fn is_own(&self) -> bool {
        self.listener.is_some()
    }

    /// Whether it is shared, but only by those who are sent as another user than the gateway's own.
    pub(super) fn is_for_few(&self) -> bool {
        !self.is_own() && self.manner.login != Login::OWN
    }

    /// Whether it owes nothing, and has been silent for so long.
    pub(super) fn has_rested(&self, now: Micros, time: Micros) -> bool {
        let state = self.state.borrow();
        state.pending.is_empty() && now.saturating_sub(state.heard) > time
    }

    /// Whether it is to be closed.
    pub(super) fn is_ending(&self) -> bool {
        let state = self.state.borrow();
        state.dismissed || state.cut.is_some()
    }

    /// Closes the connection once everything is answered.
    pub(super) fn dismiss(&self) {
        self.state.borrow_mut().dismissed = true;
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

    /// Shows every request that has no reply, oldest first.
    pub(super) fn each_pending(&self, see: impl FnMut(&Question)) {
        self.state.borrow().pending.iter().map(|pending| &pending.question).for_each(see);
    }

    /// Takes back everything that has no reply, oldest first.
    pub(super) fn orphans(&self) -> Vec<Orphan> {
        let mut state = self.state.borrow_mut();
        let mut orphans = Vec::with_capacity(state.pending.len());
        while let Some(pending) = state.pending.pop_front() {
            let touched = state.outbox.touched(pending.lead.bytes().len() as u64);
            orphans.push(Orphan { errand: state.take(pending), touched });
        }
        orphans
    }

    /// Whether the first pending reply has been handed out in part.
    pub(super) fn is_streaming(&self) -> bool {
        self.state.borrow().streaming
    }
}

/// What the driver does.
impl Pipeline {
    /// A turn begins: from now on, whoever queues a request wakes this task.
    pub(super) fn begin_turn(&self, waker: &Waker) {
        self.woken.set(false);
        let mut registered = self.waker.borrow_mut();
        if !registered.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }

    /// Why the connection is to be closed.
    pub(super) fn is_cut(&self) -> Option<Ended> {
        let state = self.state.borrow();
        if state.dismissed && state.pending.is_empty() {
            return Some("the session needs it no more".into());
        }
        state.cut.clone()
    }

    /// The node sent something.
    pub(super) fn heard(&self, now: Micros) {
        self.state.borrow_mut().heard = now;
    }

    /// Writes until all is written or the node takes no more; returns the bytes written.
    pub(super) fn write(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Result<usize, Ended> {
        let mut state = self.state.borrow_mut();
        let mut total = 0;
        while state.outbox.has_unwritten() {
            let slices = state.outbox.next_slices();
            let written = match &slices {
                [small, large] if large.is_empty() => Pin::new(&mut *stream).poll_write(cx, small),
                both => Pin::new(&mut *stream).poll_write_vectored(cx, both),
            };
            match written {
                Poll::Ready(Ok(0)) => return Err("connection closed while writing".into()),
                Poll::Ready(Ok(count)) => {
                    state.outbox.advance(count);
                    total += count;
                }
                Poll::Ready(Err(error)) => return Err(error.to_string().into()),
                Poll::Pending => break,
            }
        }
        // Encrypted bytes may still wait in the stream; a plain one has nothing to flush.
        match Pin::new(stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(error.to_string().into()),
            _ => Ok(total),
        }
    }

    /// What the next reply is. An error when nobody waits for one.
    pub(super) fn coming(&self) -> Result<Coming, Ended> {
        let state = self.state.borrow();
        let first = state.pending.front().ok_or("a reply that nobody asked for")?;
        Ok(match &state.objection {
            _ if state.passed < first.before() => Coming::Preliminary,
            None => Coming::Reply,
            Some(_) => Coming::ReplyToSpoiled,
        })
    }

    /// A preliminary reply came.
    pub(super) fn passed(&self, reply: &[u8]) {
        let mut state = self.state.borrow_mut();
        state.passed += 1;
        if reply.first() == Some(&b'-') && state.objection.is_none() {
            state.objection = Some(Bytes::copy_from_slice(reply));
        }
    }

    /// Why a block was spoiled: the first error among its preliminary replies.
    pub(super) fn objection(&self) -> Bytes {
        self.state.borrow_mut().objection.take().unwrap_or_default()
    }

    /// The oldest request has its whole reply, of so many bytes.
    pub(super) fn settled(
        &self,
        attention: &Attention,
        now: Micros,
        reply: usize,
    ) -> Result<Answered, Ended> {
        let mut state = self.state.borrow_mut();
        let pending = state.pop()?;
        let total = now.saturating_sub(pending.question.born);
        let (sent, size) = (pending.sent, reply.max(pending.length as usize));
        let untracked =
            pending.lead == Lead::Asking && pending.question.terms.own == Some(Caching::Yes);
        if attention.wants(total, size) | pending.question.ticket.is_traced() {
            let Errand { question, bytes } = state.take(pending);
            return Ok(Answered { question, sent, wanted: Some(bytes), untracked });
        }
        state.release(&pending);
        Ok(Answered { question: pending.question, sent, wanted: None, untracked })
    }

    /// The oldest request was refused: its bytes are needed again.
    pub(super) fn refused(&self) -> Result<Errand, Ended> {
        let mut state = self.state.borrow_mut();
        let pending = state.pop()?;
        Ok(state.take(pending))
    }

    /// A piece of the oldest request's reply is handed out to this asker.
    pub(super) fn streams(&self) -> Result<(Rc<dyn Asker>, Ticket), Ended> {
        let mut state = self.state.borrow_mut();
        state.streaming = true;
        let first = state.pending.front().ok_or("a reply that nobody asked for")?;
        Ok((first.question.asker.clone(), first.question.ticket))
    }
}

impl State {
    fn queue(&mut self, pending: Pending, now: Micros) {
        if self.pending.is_empty() {
            self.heard = now;
        }
        self.pending.push_back(pending);
    }

    fn pop(&mut self) -> Result<Pending, Ended> {
        let pending = self.pending.pop_front().ok_or("a reply that nobody asked for")?;
        let before = pending.lead.bytes().len();
        if !self.outbox.touched((before + pending.length as usize) as u64 - 1) {
            self.pending.push_front(pending);
            return Err("a reply before the request was sent".into());
        }
        self.streaming = false;
        self.passed = 0;
        self.objection = None;
        Ok(pending)
    }

    /// Queues what goes before a request.
    fn lead(&mut self, question: &Question, asking: bool) -> Lead {
        let lead = Lead::of(question, asking);
        if lead != Lead::Nothing {
            self.outbox.append(|out| out.extend_from_slice(lead.bytes()));
        }
        lead
    }

    fn release_lead(&mut self, pending: &Pending) {
        if pending.lead != Lead::Nothing {
            self.outbox.release(pending.lead.bytes().len(), false);
        }
    }

    fn take(&mut self, pending: Pending) -> Errand {
        self.release_lead(&pending);
        let bytes = self.outbox.take(pending.length as usize, pending.large);
        Errand { question: pending.question, bytes }
    }

    fn release(&mut self, pending: &Pending) {
        self.release_lead(pending);
        self.outbox.release(pending.length as usize, pending.large);
    }
}
