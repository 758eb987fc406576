//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Between MULTI and EXEC nothing is sent: commands are checked and kept ([`mod@collect`]), so DISCARD costs nothing and a
//! transaction needs no connection of its own. EXEC sends them as one uninterrupted block on the connection that
//! all sessions share. What takes more than that (several slots, watched keys) is [`mod@exec`]'s; what the gateway
//! answers itself is put between by [`splice`].

mod collect;
mod exec;
mod queue;
mod rules;
mod splice;
mod watch;

use std::rc::Rc;

use tokio::task::spawn_local;

use crate::cluster::Slot;
use crate::command::{Availability, Class, CommandError, CommandSpec, Cross, InMulti};
use crate::config::Transactions;
use crate::metrics::Family;
use crate::resp::{Request, write};

use super::conversation::{Conversation, Flow};
use super::family::family;
use super::local;
use super::places::About;

use collect::{collect, collect_here, limit};
use queue::{Queue, Reach};
use splice::Running;
pub(super) use watch::Watching;

const TOO_LARGE: &str =
    "ERR the transaction is larger than the gateway allows (limits.request_bytes)";
const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// Where a session stands between MULTI and EXEC, and what it watches.
#[derive(Default)]
pub(super) struct Transaction {
    state: State,
    watching: Option<Rc<Watching>>,
}

#[derive(Default)]
enum State {
    /// No MULTI.
    #[default]
    Closed,
    /// Commands are collected.
    Open(Box<Queue>),
    /// A command was refused: EXEC will be, too. So many were taken before.
    Spoiled(usize),
    /// EXEC has begun, and is served again when the nodes have answered.
    Running(Box<Running>),
}

impl Transaction {
    /// Whether MULTI was said.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    /// Bytes that are collected.
    pub(super) fn size(&self) -> usize {
        match &self.state {
            State::Open(queue) => queue.size(),
            _ => 0,
        }
    }

    /// Whether EXEC waits for nodes. Then nothing is served.
    pub(super) fn is_running(&self) -> bool {
        matches!(&self.state, State::Running(running) if !running.is_done())
    }

    /// Whether EXEC has its nodes' replies, and is served for the second time.
    fn is_done(&self) -> bool {
        matches!(&self.state, State::Running(running) if running.is_done())
    }

    /// What was collected is needed no more.
    fn spoil(&mut self) {
        if let Some(count) = self.collected() {
            self.state = State::Spoiled(count);
        }
    }

    /// How many commands stand behind MULTI, if it was said.
    fn collected(&self) -> Option<usize> {
        match &self.state {
            State::Closed => None,
            State::Open(queue) => Some(queue.commands()),
            State::Spoiled(count) => Some(*count),
            State::Running(running) => Some(running.commands()),
        }
    }

    fn watched(&self) -> Vec<Slot> {
        self.watching.as_ref().map(|watching| watching.slots()).unwrap_or_default()
    }
}

impl Conversation {
    /// Refuses a command without looking at what it wants; a transaction is spoiled by that. A refused EXEC ends
    /// it, and says so.
    pub(super) fn reject(&mut self, spec: &CommandSpec, text: impl AsRef<[u8]>) -> Flow {
        if self.transaction.is_done() {
            // What it ran, it ran: the nodes were asked before the client lost the right to.
            let flow = splice::finish(self, spec);
            self.show_transaction();
            return flow;
        }
        if spec.name == "EXEC" {
            self.end_transaction();
            let line = [b"EXECABORT Transaction discarded because of: ", text.as_ref()].concat();
            return self.fail(family(spec), line);
        }
        self.transaction.spoil();
        self.fail(family(spec), text)
    }

    /// No MULTI and no WATCH any more.
    pub(super) fn end_transaction(&mut self) {
        self.transaction.state = State::Closed;
        self.unwatch();
        self.show_transaction();
    }

    /// Lets other clients see how far the transaction is.
    fn show_transaction(&self) {
        self.client.collected.set(self.transaction.collected());
    }

    fn unwatch(&mut self) {
        let Some(watching) = self.transaction.watching.take() else { return };
        let worker = self.worker.clone();
        spawn_local(async move {
            for watch in watching.take() {
                watch.end(&worker).await;
            }
        });
    }
}

/// A request for which there is no row, or with a wrong number of arguments.
pub(super) fn unresolved(conversation: &mut Conversation, error: &CommandError) -> Flow {
    match error {
        CommandError::Arity(name) if name == "exec" => conversation.end_transaction(),
        _ => conversation.transaction.spoil(),
    }
    conversation.fail(Family::Other, error.line())
}

/// A command of the MULTI family where there was no MULTI.
pub(super) fn control(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    match &*spec.name {
        "MULTI" => {
            let watched = conversation.transaction.watched();
            let queue = Queue::new(reach(conversation, &watched), watched.into_iter());
            conversation.transaction.state = State::Open(Box::new(queue));
            conversation.collected.clear();
            conversation.show_transaction();
            ok(conversation, spec)
        }
        "WATCH" => watch::begin(conversation, spec, request),
        "UNWATCH" => {
            conversation.unwatch();
            ok(conversation, spec)
        }
        _ => conversation.fail(family(spec), format!("ERR {} without MULTI", spec.name)),
    }
}

/// A command behind MULTI.
pub(super) fn take(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    let flow = take_in(conversation, spec, request);
    conversation.show_transaction();
    flow
}

fn take_in(conversation: &mut Conversation, spec: &CommandSpec, request: &Request<'_>) -> Flow {
    match spec.in_multi {
        InMulti::Control => match &*spec.name {
            "EXEC" => exec(conversation, spec),
            "DISCARD" => {
                conversation.end_transaction();
                ok(conversation, spec)
            }
            "MULTI" | "WATCH" => nested(conversation, spec),
            _ if spec.class == Class::Local => local::answer(conversation, spec, request),
            _ => collect_here(conversation, spec, request),
        },
        InMulti::Splice => collect_here(conversation, spec, request),
        InMulti::Queue | InMulti::QueueOneSlot | InMulti::NonBlocking => {
            collect(conversation, spec, request)
        }
        InMulti::Refuse if spec.default == Availability::Off => {
            conversation.reject(spec, spec.refused().line())
        }
        InMulti::Refuse | InMulti::ServerError => {
            let text = conversation.dialect().not_in_a_transaction(spec);
            conversation.reject(spec, text)
        }
    }
}

/// How far this client's next transaction may go.
fn reach(conversation: &Conversation, watched: &[Slot]) -> Reach {
    let reads = conversation.worker.reach().cross as u8 >= Cross::Gather as u8;
    match conversation.worker.gateway.settings().routing.transactions {
        Transactions::PerSlot | Transactions::BestEffort => Reach::Slots,
        // Between the test of the watched keys and a read elsewhere they may change.
        Transactions::Refuse if reads && watched.is_empty() => Reach::Reads,
        Transactions::Refuse => Reach::OneSlot,
    }
}

/// MULTI or WATCH behind MULTI.
fn nested(conversation: &mut Conversation, spec: &CommandSpec) -> Flow {
    let dialect = conversation.dialect();
    let text = dialect.not_in_a_transaction(spec);
    if dialect.spoils_by_nesting() {
        return conversation.reject(spec, text);
    }
    conversation.fail(family(spec), text)
}

fn ok(conversation: &Conversation, spec: &CommandSpec) -> Flow {
    conversation.answer(family(spec), |out| write::simple(out, "OK"))
}

fn queued(conversation: &Conversation, spec: &CommandSpec) -> Flow {
    conversation.answer(family(spec), |out| write::simple(out, "QUEUED"))
}

fn exec(conversation: &mut Conversation, spec: &CommandSpec) -> Flow {
    match &conversation.transaction.state {
        State::Open(queue) => match (queue.only_block(), &conversation.transaction.watching) {
            (Some(block), None) => {
                let is_delicate = |slot| conversation.replies.is_delicate(slot);
                let must_wait = block.slot().is_some_and(is_delicate);
                if must_wait { Flow::Wait } else { send(conversation, spec) }
            }
            (_, None) if queue.is_empty() => {
                conversation.transaction.state = State::Closed;
                conversation.answer(family(spec), |out| write::array(out, 0))
            }
            _ if conversation.replies.unsettled() > 0 => Flow::Wait,
            _ => begin(conversation, spec),
        },
        State::Running(_) => splice::finish(conversation, spec),
        State::Spoiled(_) | State::Closed => {
            conversation.end_transaction();
            let text = "EXECABORT Transaction discarded because of previous errors.";
            conversation.fail(family(spec), text)
        }
    }
}

/// Takes what was collected; there is no MULTI any more.
fn take_queue(conversation: &mut Conversation) -> Option<Queue> {
    match std::mem::take(&mut conversation.transaction.state) {
        State::Open(queue) => Some(*queue),
        _ => None,
    }
}

/// The usual case: one block, sent and answered as if it were one request.
fn send(conversation: &mut Conversation, spec: &CommandSpec) -> Flow {
    let Some(block) = take_queue(conversation).and_then(Queue::into_only_block) else {
        return Flow::Next;
    };
    let mut terms = block.terms(conversation.manner());
    if block.may_publish() {
        conversation.echoes.may_publish(terms.slot);
    }
    terms.own = terms.slot.and_then(|_| conversation.own());
    // As for any request with several keys: a node may ask to send it again, when what followed it has run.
    let delicate = terms.slot.filter(|_| block.has_several_keys());
    let bytes = block.into_bytes();
    let muted = conversation.is_muted();
    let ticket =
        conversation.replies.expect(About { family: family(spec), muted, size: bytes.len() });
    if let Some(slot) = delicate {
        conversation.replies.mark_delicate(ticket, slot);
    }
    conversation.worker.pool.send_bytes(terms, &conversation.asker, ticket, bytes);
    Flow::Next
}

/// Several slots, watched keys, or commands for the gateway itself. Everything before is answered, and nothing
/// that follows begins before it has ended.
fn begin(conversation: &mut Conversation, spec: &CommandSpec) -> Flow {
    let Some(mut queue) = take_queue(conversation) else { return Flow::Next };
    let (worker, manner) = (conversation.worker.clone(), conversation.manner());
    if queue.slots() > 1 {
        worker.metrics.transaction_spread();
        exec::warn_of_spread(conversation, queue.slots());
    }
    queue.publishing().for_each(|block| conversation.echoes.may_publish(block.slot()));
    let watching = conversation.transaction.watching.take();
    let watches = watching.map(|watching| watching.take()).unwrap_or_default();
    let (here, commands) = (queue.take_here(), queue.commands());
    let client = conversation.client.clone();
    let run = async move {
        // Its place is made when it begins to run.
        let (trail, _) = client.replies.latest();
        drop(client);
        exec::run(&worker, trail, manner, queue, watches).await
    };
    if here.is_empty() {
        conversation.answer_later(family(spec), async move {
            let reply = run.await.and_then(|done| done.reply(&[]));
            reply.unwrap_or_else(|stop| stop.reply(manner.protocol))
        });
        conversation.disown_collected();
        return Flow::Next;
    }
    let running = Running::start(conversation.client.clone(), (here, commands), run);
    conversation.transaction.state = State::Running(Box::new(running));
    Flow::Wait
}
