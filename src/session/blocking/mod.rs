//! Commands that wait: `BLPOP` and its like, and `XREAD` with `BLOCK`.
//!
//! A wait for keys of one slot is the request itself, on a connection of its own (`leased`): the node does the
//! waiting. A wait for keys of several slots sends nothing that blocks: the keys are watched, and taken from when
//! they have something (`tracked`). So does a wait for one slot when no connection is left, or while the slot
//! moves from node to node.
//!
//! Invariant: an element that was taken reaches its client, or goes back to where it was, unless a connection to
//! a node breaks at that very moment. A wait therefore always runs to its end: it can be told to end, but a
//! node that may have answered is always asked.

mod asked;
mod found;
mod leased;
mod listen;
mod order;
mod queue;
mod tracked;
mod wish;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use crate::backend::{Asker, Manner, Terms, Ticket};
use crate::cluster::Slot;
use crate::command::CommandSpec;
use crate::metrics::{Limit, WorkerMetrics};
use crate::resp::{Request, write};
use crate::route::RouteError;

use super::client::Client;
use super::conversation::{Conversation, Flow};
use super::family::family;
use super::places::About;
use super::steps::Call;
use super::traces::Trail;
use super::worker::Worker;

use asked::Asked;
use wish::Wish;

pub(super) use queue::Queue;

/// Why a wait ends before it has found anything and before its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client has gone.
    Left,
    /// The gateway stops. The client gets no reply: to client libraries a connection that closes is what a
    /// server that stops looks like, which they know how to repeat elsewhere. A nil would end a wait "for ever"
    /// that was not over, and an error is to many of them a bug in the request.
    Drain,
    /// Somebody said `CLIENT UNBLOCK`: as if its time were over.
    Timeout,
    /// Somebody said `CLIENT UNBLOCK .. ERROR`.
    Error,
}

/// A client that waits, as its session and others see it.
#[derive(Default)]
pub(super) struct Wait {
    ending: Cell<Option<Ending>>,
    left: Cell<bool>,
    /// It has sent so much behind its request that its socket is not read any more.
    deaf: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Wait {
    /// Tells it to end. False: it was told before.
    pub(super) fn end(&self, how: Ending) -> bool {
        self.left.set(self.left.get() || how == Ending::Left);
        if self.ending.get().is_some() {
            return false;
        }
        self.ending.set(Some(how));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
        true
    }

    /// Whether only a look at the socket tells that the client has gone.
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf.get()
    }

    pub(super) fn grow_deaf(&self) {
        self.deaf.set(true);
    }

    async fn ended(&self) -> Ending {
        poll_fn(|cx| {
            if let Some(ending) = self.ending.get() {
                return Poll::Ready(ending);
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// Begins a wait for keys of this slot, or of several. Nothing that follows begins before it has ended.
pub(super) fn begin(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
    slot: Option<Slot>,
) -> Flow {
    if conversation.replies.unsettled() > 0 {
        return Flow::Wait;
    }
    let worker = conversation.worker.clone();
    let wish = Call::of(spec, request, &worker.limits()).map(Wish::of);
    let is_possible = |wish: &Wish| match slot {
        Some(_) => true,
        // Nobody looks elsewhere for elements that were left on their way.
        None if wish.crosses_slots() => conversation.manner().database == 0,
        None => wish.can_track(),
    };
    let Some(wish) = wish.filter(is_possible) else {
        return conversation.fail(family(spec), RouteError::CrossSlot.to_string());
    };
    let about = About { family: family(spec), muted: conversation.is_muted(), size: 0 };
    let ticket = conversation.replies.expect(about);
    conversation.disown(spec, request);
    conversation.asker.disturbed();
    let wait = Rc::new(Wait::default());
    *conversation.client.wait.borrow_mut() = Some(wait.clone());
    let waiting = Waiting {
        worker,
        client: Rc::downgrade(&conversation.client),
        manner: conversation.manner(),
        wish,
        wait,
        deadline: None,
        blocked: None,
    };
    spawn_local(waiting.run(slot, ticket));
    Flow::Next
}

/// One wait from its beginning to its reply.
struct Waiting {
    worker: Rc<Worker>,
    /// Held weakly: its connection closes when its session says so.
    client: Weak<Client>,
    manner: Manner,
    wish: Wish,
    wait: Rc<Wait>,
    /// When its time is over, if ever.
    deadline: Option<Instant>,
    /// Since it really waits.
    blocked: Option<Blocked>,
}

/// Counts a client as blocked.
struct Blocked(Arc<WorkerMetrics>);

impl Blocked {
    fn begin(metrics: Arc<WorkerMetrics>) -> Self {
        metrics.blocked(1);
        Self(metrics)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.0.blocked(-1);
    }
}

impl Waiting {
    async fn run(mut self, slot: Option<Slot>, ticket: Ticket) {
        let time = self.wish.time();
        self.deadline = time.ok().flatten().and_then(|time| Instant::now().checked_add(time));
        let reply = match slot {
            Some(slot) => self.on_one_slot(slot).await,
            None => tracked::perform(&mut self).await,
        };
        self.blocked = None;
        let client = self.client.upgrade();
        let left = self.wait.left.get();
        let here = client.as_ref().is_some_and(|client| !left && client.replies.end().is_none());
        if !here {
            put_back(&self, &reply);
        }
        if let Some(client) = client {
            *client.wait.borrow_mut() = None;
            client.replies.settle(ticket, if here { &reply } else { b"" });
        }
    }

    async fn on_one_slot(&mut self, slot: Slot) -> Vec<u8> {
        if self.worker.pool.has_spare_lease() || !self.wish.can_track() {
            match leased::perform(self, slot).await {
                leased::Outcome::Reply(reply) => return reply,
                leased::Outcome::Track => {}
            }
        } else {
            self.worker.metrics.limit_reached(Limit::Leases);
        }
        tracked::perform(self).await
    }

    /// Leads to its request, if that is traced and its client is there.
    fn trail(&self) -> Trail {
        let client = self.client.upgrade();
        client.map(|client| client.replies.latest().0).unwrap_or_default()
    }

    /// There was nothing at first: now it waits.
    fn begins_to_wait(&mut self) {
        self.blocked.get_or_insert_with(|| Blocked::begin(self.worker.metrics.clone()));
    }

    /// Ready when the time is over.
    async fn time_over(&self) {
        match self.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    }

    /// The reply of a wait that found nothing in its time, in all commands the same.
    fn nothing(&self) -> Vec<u8> {
        let mut reply = Vec::new();
        write::null_array(&mut reply, self.manner.protocol);
        reply
    }

    /// The reply of a wait that was told to end and has found nothing; empty: none.
    fn ended(&self, how: Ending) -> Vec<u8> {
        match how {
            Ending::Left | Ending::Drain => Vec::new(),
            Ending::Timeout => self.nothing(),
            Ending::Error => error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
        }
    }

    /// A request that does not wait, in the client's protocol.
    fn terms(&self, slot: Slot) -> Terms {
        let repeatable = self.wish.is_repeatable();
        Terms { repeatable, ..Terms::new(Some(slot), self.manner) }
    }
}

/// What was taken for a client that has gone goes back to where it was.
fn put_back(waiting: &Waiting, reply: &[u8]) {
    let Some((key, request)) = waiting.wish.put_back(reply) else { return };
    let worker = &waiting.worker;
    worker.metrics.element_returned();
    let terms = Terms::new(Some(Slot::of(&key)), waiting.manner.read_here());
    let asked = Asked::owner(&worker.pool, Trail::default(), terms, request);
    spawn_local(async move {
        let reply = asked.reply().await;
        if reply.first() == Some(&b'-') {
            let reason = String::from_utf8_lossy(&reply);
            tracing::warn!(reason = %reason.trim_end(), "an element for a client that has gone is lost");
        }
    });
}

fn error(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut line = Vec::new();
    write::error(&mut line, text);
    line
}
