//! The state of one client's side of the gateway, and how its requests are answered.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::task::spawn_local;
use tokio_util::task::AbortOnDropHandle;

use crate::backend::{Asker, Manner};
use crate::metrics::{Family, Limit, Rejection};
use crate::resp::{ParseError, Protocol, write};

use super::blocking::Ending;
use super::client::Client;
use super::places::About;
use super::pubsub::{Destination, Echoes, Subscribed};
use super::rates::Pace;
use super::reads::Reads;
use super::replies::{End, Replies};
use super::scrutiny::Monitoring;
use super::socket::{Ends, Writer};
use super::tracking::{Announced, Way};
use super::transaction::Transaction;
use super::worker::Worker;

/// Whether the session goes on after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// With the next one.
    Next,
    /// Not any more: it ends when its replies have left.
    Close,
    /// With the same one, once an earlier one has its reply.
    Wait,
}

/// Which replies a client wants (`CLIENT REPLY`); steps on after each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wanted {
    #[default]
    All,
    None,
    /// None for the next request, as the present one said.
    SkipNext,
    /// None for this request.
    SkipThis,
}

/// A reply that is part of another.
pub(super) enum Aside {
    Missing,
    Ready(Vec<u8>),
    Later(Pin<Box<dyn Future<Output = Vec<u8>>>>),
}

/// The state of one client's side of the gateway.
pub(super) struct Conversation {
    pub(super) worker: Rc<Worker>,
    pub(super) client: Rc<Client>,
    pub(super) replies: Rc<Replies>,
    pub(super) asker: Rc<dyn Asker>,
    /// Its key in the worker's list of clients, until it is said farewell.
    listed: Cell<Option<usize>>,
    pub(super) protocol: Protocol,
    pub(super) wanted: Wanted,
    pub(super) transaction: Transaction,
    /// Where the next reply goes when it does not go to the client.
    aside: RefCell<Option<Aside>>,
    /// A pause, or its user's rate, holds back its next request.
    pub(super) rests: bool,
    /// How fast its user may be, if there is a bound.
    pub(super) pace: Option<Arc<Pace>>,
    /// Its next request has taken its share of that already, and waits for this if it was not its turn.
    pub(super) has_paid: bool,
    pub(super) turn: Option<AbortOnDropHandle<()>>,
    /// It sees the requests of all clients.
    pub(super) monitoring: Option<Monitoring>,
    /// What it listens to.
    pub(super) subscribed: Rc<Subscribed>,
    /// Where the latest messages that it published went, as long as nothing else followed them.
    pub(super) publishing: Option<Destination>,
    /// What it published that may still come round.
    pub(super) echoes: Echoes,
    /// Which of its reads replicas may answer.
    pub(super) reads: Reads,
    /// Whether its client will cache the next reply.
    pub(super) announced: Announced,
    /// Keys that the transaction being collected reads, if its client caches.
    pub(super) collected: Vec<Box<[u8]>>,
    /// The slot table's version under which the requests under way were routed.
    routed: u64,
    /// The users' version that the client's user is of; 0 when it is to be looked up.
    pub(super) seen: Cell<u64>,
    /// The same, if the client may send whatever it likes; else 0.
    pub(super) free_under: Cell<u64>,
}

impl Conversation {
    pub(super) fn new(worker: Rc<Worker>, socket: Writer, ends: Ends) -> Self {
        let replies = Replies::new(&worker, socket);
        let client = Client::new(&worker, ends, replies.clone());
        replies.belong_to(&client);
        let listed = Cell::new(Some(worker.clients.borrow_mut().insert(client.clone())));
        worker.metrics.session_opened();
        let asker: Rc<dyn Asker> = replies.clone();
        Self {
            worker,
            subscribed: Subscribed::new(client.clone()),
            client,
            replies,
            asker,
            listed,
            protocol: Protocol::Resp2,
            wanted: Wanted::All,
            transaction: Transaction::default(),
            aside: RefCell::default(),
            rests: false,
            pace: None,
            has_paid: false,
            turn: None,
            monitoring: None,
            publishing: None,
            echoes: Echoes::default(),
            reads: Reads::default(),
            announced: Announced::default(),
            collected: Vec::new(),
            routed: 0,
            seen: Cell::new(0),
            free_under: Cell::new(0),
        }
    }

    /// Answers at the request's place in the order.
    pub(super) fn answer(&self, family: Family, write: impl FnOnce(&mut Vec<u8>)) -> Flow {
        if let Some(aside) = &mut *self.aside.borrow_mut() {
            let mut reply = Vec::new();
            write(&mut reply);
            *aside = Aside::Ready(reply);
            return Flow::Next;
        }
        self.replies.answer(family, self.is_muted(), write);
        Flow::Next
    }

    /// Answers when `reply` is there. Until then nothing that follows begins, so a client has one such
    /// answer under way at most.
    pub(super) fn answer_later(
        &self,
        family: Family,
        reply: impl Future<Output = Vec<u8>> + 'static,
    ) {
        // A task is moved as often as its state changes, and replies that take many steps are large.
        let reply = Box::pin(reply);
        if let Some(aside) = &mut *self.aside.borrow_mut() {
            *aside = Aside::Later(reply);
            return;
        }
        let ticket = self.replies.expect(About { family, muted: self.is_muted(), size: 0 });
        self.asker.disturbed();
        let asker = self.asker.clone();
        spawn_local(async move { asker.settle(ticket, &reply.await) });
    }

    /// Has something answered, and takes the reply instead of letting it leave.
    pub(super) fn aside(&mut self, answer: impl FnOnce(&mut Self) -> Flow) -> (Flow, Aside) {
        self.aside.replace(Some(Aside::Missing));
        let flow = answer(self);
        (flow, self.aside.take().unwrap_or(Aside::Missing))
    }

    /// Whether the next reply is taken aside.
    pub(super) fn is_aside(&self) -> bool {
        self.aside.borrow().is_some()
    }

    /// Replies to what follows are in this protocol.
    pub(super) fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client.means(self.manner().in_protocol(protocol));
    }

    /// What its requests mean to a node.
    pub(super) fn manner(&self) -> Manner {
        self.client.manner()
    }

    /// Whether it has to wait before they may mean this: what was sent down other connections could be overtaken.
    pub(super) fn must_wait_to_mean(&self, manner: Manner) -> bool {
        manner != self.manner() && self.replies.unsettled() > 0
    }

    /// Answers with an error.
    pub(super) fn fail(&self, family: Family, text: impl AsRef<[u8]>) -> Flow {
        self.answer(family, |out| write::error(out, text))
    }

    /// A request that cannot be understood: the client is told, unless it speaks another protocol. Then even
    /// what it could still be sent is dropped, as the server does.
    pub(super) fn refuse(&self, error: ParseError) {
        if error.is_silent() {
            self.replies.kill(End::Killed);
        } else {
            self.replies.answer(Family::Other, false, |out| error.write_to(out));
        }
        let reason = if error.is_excess() { Rejection::RequestLimit } else { Rejection::Protocol };
        self.worker.metrics.session_rejected(reason);
    }

    pub(super) fn is_muted(&self) -> bool {
        matches!(self.wanted, Wanted::None | Wanted::SkipThis)
    }

    pub(super) fn step_wanted(&mut self) {
        self.wanted = match self.wanted {
            Wanted::SkipNext => Wanted::SkipThis,
            Wanted::SkipThis => Wanted::All,
            wanted => wanted,
        };
        self.step_announced();
    }

    /// Whether the next request has to wait: for those before it, or because too much is under way.
    /// A session that `paused` for the latter goes on when half of it is done, so that it works in batches.
    pub(super) fn must_pause(&mut self, paused: bool) -> bool {
        if self.transaction.is_running() {
            return true;
        }
        let (most, most_bytes) = self.worker.inflight();
        let share = if paused { 2 } else { 1 };
        let (requests, bytes) = self.replies.waiting();
        let most_bytes = self.worker.memory.window(most_bytes);
        if requests >= (most / share).max(1) || bytes >= most_bytes / share {
            if !paused {
                self.worker.metrics.limit_reached(Limit::InFlight);
            }
            return true;
        }
        if self.rests && self.is_held_up() {
            return true;
        }
        self.rests = false;
        let version = self.worker.pool.version();
        if self.replies.unsettled() == 0 {
            self.routed = version;
        }
        self.replies.was_disturbed() || self.routed != version
    }

    /// Whether what held back its next request still does.
    fn is_held_up(&self) -> bool {
        let paused = self.worker.gateway.scrutiny.is_on() && self.worker.awaits_pause.get();
        paused || self.client.awaits_turn.get()
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.client.authenticated.get()
    }

    /// Whether only requests about subscriptions are allowed now.
    pub(super) fn is_subscriber(&self) -> bool {
        self.protocol == Protocol::Resp2 && self.client.subscriptions.get().total() > 0
    }

    pub(super) fn is_draining(&self) -> bool {
        self.worker.is_draining()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.replies.is_drained()
    }

    /// Whether the session cannot go on.
    pub(super) fn has_ended(&self) -> bool {
        match self.replies.end() {
            None => false,
            Some(End::OutputLimit) => {
                tracing::warn!(client = %self.client.ends.client, "client closed: it leaves too many replies unread");
                true
            }
            Some(_) => true,
        }
    }

    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Whether a request of the client waits on purpose.
    pub(super) fn is_blocked(&self) -> bool {
        self.client.is_blocked()
    }

    /// Tells such a request to end.
    pub(super) fn end_wait(&self, how: Ending) {
        self.client.end_wait(how);
    }

    /// Only a look at the client's socket tells from now on that it has gone.
    pub(super) fn listen_no_more(&self) {
        if let Some(wait) = &*self.client.wait.borrow() {
            wait.grow_deaf();
        }
    }

    /// Bytes came from the client.
    pub(super) fn heard(&self, count: usize) {
        self.client.active.set(self.worker.clock.tick());
        self.worker.metrics.client_read(count);
    }

    /// Nothing more is written to the client, and nobody needs to know of it.
    pub(super) fn shut_down(&self) {
        self.subscribed.close();
        self.replies.shut_down();
        self.end_tracking();
        self.unlist();
    }

    /// Nobody tells this client of changes any more, nor others on its behalf; nor does anybody tell it of theirs.
    fn end_tracking(&self) {
        self.replies.track(None, Way::Nobody);
        self.client.mailbox.take();
    }

    fn unlist(&self) {
        if let Some(listed) = self.listed.take() {
            self.worker.clients.borrow_mut().try_remove(listed);
        }
    }

    pub(super) fn register(&self, waker: &Waker) {
        self.replies.register(waker);
    }

    pub(super) fn watch(&self) {
        self.replies.watch();
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.replies.poll_flush(cx)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.subscribed.close();
        self.end_tracking();
        self.end_wait(Ending::Left);
        self.unlist();
        self.replies.abandon();
        self.worker.metrics.session_closed();
    }
}
