//! Requests that take several steps: several nodes are asked, or one after the other, and the gateway computes
//! the reply.
//!
//! Each such command is an async function from a [`Call`] to the reply's bytes. It begins when everything that
//! its client sent before is answered, and nothing that follows begins before it has ended, so its steps may
//! use whatever connections they like. It runs to its end even when its client has left: a write of several
//! steps is never abandoned in the middle.

mod account;
mod ask_where;
mod broadcast;
mod call;
mod computed;
mod copy;
mod gather;
mod geo;
mod hold;
mod hyperloglogs;
mod inbox;
mod janitor;
mod library;
mod member;
mod narrow;
mod newcomers;
mod pass;
mod primaries;
mod pubsub;
mod ranges;
mod rename;
mod scan;
mod sequence;
mod set_new;
mod sets;
mod sort;
mod sorted_sets;
mod stage;
mod store;
mod stragglers;
mod streams;
mod strings;
mod wait;

use std::rc::Rc;

use bytes::Bytes;

use crate::backend::{ABORTED, Asker, Lease, LeaseError, Manner, Micros, Terms, Ticket};
use crate::cluster::Slot;
use crate::command::{Class, CommandSpec};
use crate::metrics::Limit;
use crate::resp::{ReplyError, Request, Value, write};
use crate::route::CursorError;

use super::client::Client;
use super::conversation::{Conversation, Flow};
use super::family::family;
use super::traces::Trail;
use super::worker::Worker;

pub(super) use ask_where::Shapes;

pub(super) use account::Account;
use account::Share;
pub(super) use call::Call;
pub(super) use inbox::Inbox;

pub(super) use newcomers::Acquaintances;
pub(super) use primaries::primaries_info;

/// Begins a request that takes several steps.
pub(super) fn begin(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    if conversation.replies.unsettled() > 0 {
        return Flow::Wait;
    }
    let steps = Steps::of(conversation);
    let call = Call::of(spec, request, &steps.worker.limits());
    let (client, began) = (conversation.client.clone(), steps.worker.clock.now());
    conversation.answer_later(family(spec), async move {
        let Some(call) = call else { return steps.tell(Stop::Unexpected) };
        let reply = perform(&steps, &call).await.unwrap_or_else(|stop| steps.tell(stop));
        // Who waits on purpose is not slow.
        if !call.spec().blocking {
            steps.worker.watch.performed(&client, call.frame(), began, &reply);
        }
        reply
    });
    conversation.disown(spec, request);
    Flow::Next
}

/// Asks the owner of a slot, or any primary, and rewrites its reply, for one who wants the reply for itself.
pub(super) fn ask_aside(
    conversation: &Conversation,
    spec: &CommandSpec,
    (slot, question): (Option<Slot>, &[u8]),
    rewrite: impl FnOnce(&[u8], &mut Vec<u8>) + 'static,
) {
    let (steps, request) = (Steps::of(conversation), question.to_vec());
    conversation.answer_later(family(spec), async move {
        let step = Step { terms: Terms::new(slot, steps.manner), node: None, request };
        let mut reply = Vec::new();
        match steps.ask_all(vec![step.repeatable()]).await.as_deref() {
            Ok([found]) => rewrite(found, &mut reply),
            _ => reply = steps.tell(Stop::TooLarge),
        }
        reply
    });
}

async fn perform(steps: &Steps, call: &Call) -> Outcome {
    if ask_where::is_needed(call) {
        return ask_where::perform(steps, call).await;
    }
    if matches!(call.spec().class, Class::Sequence | Class::Gather | Class::Store) {
        steps.worker.metrics.request_gathered();
    }
    match call.spec().class {
        Class::AllMasters if call.spec().blocking => wait::perform(steps, call).await,
        Class::Move | Class::Split => across(steps, call).await,
        Class::AllMasters | Class::AllNodes => broadcast::perform(steps, call).await,
        Class::Sequence => sequence::perform(steps, call).await,
        Class::Gather | Class::Store => computed::perform(steps, call).await,
        Class::Block if !call.spec().blocks(&call.request()) => streams::perform(steps, call).await,
        Class::Script => library::perform(steps, call).await,
        Class::Cursor if call.spec().name == "SCAN" => scan::perform(steps, call).await,
        Class::PubSub => pubsub::perform(steps, call).await,
        _ => Err(Stop::Unsupported(call.spec().wire_name())),
    }
}

/// Moves an element to a list in another slot, for a client that waits for one: `BLMOVE`, `BRPOPLPUSH`.
pub(super) async fn pass_element(
    worker: &Rc<Worker>,
    client: Option<Rc<Client>>,
    manner: Manner,
    call: &Call,
) -> Vec<u8> {
    let steps = Steps::new(worker.clone(), client, manner);
    pass::perform(&steps, call).await.unwrap_or_else(|stop| stop.line())
}

/// Commands that write in two slots or more.
async fn across(steps: &Steps, call: &Call) -> Outcome {
    match &*call.spec().name {
        "RENAME" | "RENAMENX" => rename::perform(steps, call).await,
        "SMOVE" => member::perform(steps, call).await,
        "LMOVE" | "RPOPLPUSH" => pass::perform(steps, call).await,
        "MSETNX" | "MSETEX" => set_new::perform(steps, call).await,
        // Nothing is known that would do it without loss.
        _ => Err(Stop::Refused(CROSSSLOT)),
    }
}

/// A cluster's words for keys in several slots.
const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// The servers' words for a value of another type.
const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// The reply's bytes, or why there is none.
type Outcome = Result<Vec<u8>, Stop>;

/// Why a request of several steps ends early. Nothing was written after it, unless the command's own text says so.
#[derive(Debug, thiserror::Error)]
enum Stop {
    /// A node's error, as received.
    #[error("refused by a node")]
    Node(Vec<u8>),
    /// A reply of a kind that the node should not have given.
    #[error("ERR unexpected reply from a node")]
    Unexpected,
    /// No connection for it, or it broke.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// More than the gateway may hold for one request.
    #[error("ERR cross-slot result too large for the gateway")]
    TooLarge,
    /// A part of the data has no owner.
    #[error("CLUSTERDOWN The cluster is down")]
    NotCovered,
    /// An error of the command itself, as a server words it.
    #[error("{0}")]
    Refused(&'static str),
    /// The same, with something of the request in it.
    #[error("{0}")]
    Command(String),
    /// The cursor of a scan.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The nodes and the topology say different things, for longer than a request may wait.
    #[error("CLUSTERDOWN The cluster's slots keep moving")]
    Unsettled,
    /// Not there yet.
    #[error("ERR command '{0}' is not supported by this version of the gateway")]
    Unsupported(String),
}

impl From<ReplyError> for Stop {
    fn from(_: ReplyError) -> Self {
        Self::Unexpected
    }
}

impl Stop {
    /// An error with this text.
    fn error(text: impl AsRef<[u8]>) -> Self {
        let mut line = Vec::new();
        write::error(&mut line, text);
        Self::Node(line)
    }

    /// Stops when the reply is an error.
    fn at_error(reply: &[u8]) -> Result<(), Self> {
        if is_error(reply) { Err(Self::Node(reply.to_vec())) } else { Ok(()) }
    }

    /// Whether what was asked for may have happened.
    fn is_uncertain(&self) -> bool {
        match self {
            Self::Node(reply) => reply.starts_with(b"-UNCERTAIN"),
            Self::Lease(LeaseError::Lost(_)) => true,
            _ => false,
        }
    }

    /// The error as it goes on the wire.
    fn line(self) -> Vec<u8> {
        if let Self::Node(reply) = self {
            // Its client knows of no transaction.
            let reason = reply.strip_prefix(ABORTED).map(|reason| [b"-", reason].concat());
            return reason.unwrap_or(reply);
        }
        let mut line = Vec::new();
        write::error(&mut line, self.to_string());
        line
    }
}

/// One request to one node.
struct Step {
    terms: Terms,
    /// The node's address when it must be this one; else the terms' slot tells.
    node: Option<Rc<str>>,
    request: Vec<u8>,
}

impl Step {
    /// Nothing happens twice when it is sent again.
    fn repeatable(mut self) -> Self {
        self.terms.repeatable = true;
        self
    }
}

/// Asks nodes on behalf of one request.
struct Steps {
    worker: Rc<Worker>,
    /// Who waits for the outcome; nobody for what the gateway does of its own accord.
    client: Option<Rc<Client>>,
    /// What its requests mean to a node, and in which protocol the reply is wanted.
    manner: Manner,
    /// What its replies take of the worker's memory.
    share: Rc<Share>,
}

impl Steps {
    fn of(conversation: &Conversation) -> Self {
        let client = Some(conversation.client.clone());
        Self::new(conversation.worker.clone(), client, conversation.manner())
    }

    /// For what the gateway does of its own accord.
    fn own(worker: Rc<Worker>) -> Self {
        Self::new(worker, None, Manner::own())
    }

    /// Leads to the request, if that is traced.
    fn trail(&self) -> Trail {
        self.client.as_ref().map(|client| client.replies.latest().0).unwrap_or_default()
    }

    /// A node has answered on a connection of the request's own, since then.
    fn leased(&self, lease: &Lease, request: &[u8], began: Micros, reply: &[u8]) {
        let now = self.worker.clock.tick();
        self.trail().leased(lease.address(), request, (began, now), reply);
    }

    /// The line that says why it stops.
    fn tell(&self, stop: Stop) -> Vec<u8> {
        if matches!(stop, Stop::TooLarge) {
            self.worker.metrics.limit_reached(Limit::Gathered);
        }
        stop.line()
    }

    fn new(worker: Rc<Worker>, client: Option<Rc<Client>>, manner: Manner) -> Self {
        let share = Share::of(&worker.gathered);
        Self { worker, client, manner, share }
    }

    /// A request to the owner of a slot: `step(slot, &["GET", "key"])`.
    fn step(&self, slot: Slot, words: &[impl AsRef<[u8]>]) -> Step {
        self.raw(slot, request(words))
    }

    /// The same for a request that is encoded already.
    fn raw(&self, slot: Slot, request: Vec<u8>) -> Step {
        Step { terms: Terms::new(Some(slot), self.manner), node: None, request }
    }

    /// A transaction in one slot: `MULTI`, these requests, `EXEC`. Its reply is EXEC's array; an error means
    /// that nothing ran.
    fn block(&self, slot: Slot, requests: &[Vec<u8>]) -> Step {
        let mut request = Vec::new();
        write::command(&mut request, &["MULTI"]);
        requests.iter().for_each(|one| request.extend_from_slice(one));
        write::command(&mut request, &["EXEC"]);
        let mut step = self.raw(slot, request);
        step.terms.before = requests.len() as u32 + 1;
        step
    }

    /// A request to the node of this address, and to no other.
    fn at_node(&self, address: &Rc<str>, request: Vec<u8>) -> Step {
        Step { terms: Terms::new(None, self.manner), node: Some(address.clone()), request }
    }

    /// One slot of every primary; asking it asks the primary.
    fn shards(&self) -> Result<Vec<Slot>, Stop> {
        self.worker.pool.shards().ok_or(Stop::NotCovered)
    }

    /// Takes all steps at once. The replies come in their order, errors among them.
    ///
    /// # Errors
    /// The replies are too large together.
    async fn ask_all(&self, steps: Vec<Step>) -> Result<Vec<Vec<u8>>, Stop> {
        let most = self.worker.gateway.settings().routing.gathered_bytes;
        let trail = self.trail();
        let inbox = Inbox::new(steps.len(), most).counted(&self.share).traced(&trail);
        let inbox = Rc::new(inbox);
        let asker: Rc<dyn Asker> = inbox.clone();
        for (Step { terms, node, request }, place) in steps.into_iter().zip(0..) {
            let (ticket, bytes) = (trail.mark(Ticket::new(place, 0)), Bytes::from(request));
            match node {
                Some(node) => self.worker.pool.send_to(&node, terms, (&asker, ticket), bytes),
                None => self.worker.pool.send_bytes(terms, &asker, ticket, bytes),
            }
        }
        inbox.replies().await.ok_or(Stop::TooLarge)
    }

    /// Takes a step of which nobody needs to know how it ends.
    fn let_go(&self, step: Step) {
        let nobody: Rc<dyn Asker> = Rc::new(Inbox::new(1, 0));
        let ticket = Ticket::new(0, 0);
        self.worker.pool.send_bytes(step.terms, &nobody, ticket, step.request.into());
    }

    /// Takes all steps at once; the first error in their order ends the request.
    async fn all(&self, steps: Vec<Step>) -> Result<Vec<Vec<u8>>, Stop> {
        let mut replies = self.ask_all(steps).await?;
        match replies.iter().position(|reply| is_error(reply)) {
            Some(at) => Err(Stop::Node(replies.swap_remove(at))),
            None => Ok(replies),
        }
    }

    /// Takes one step; an error ends the request.
    async fn one(&self, step: Step) -> Result<Vec<u8>, Stop> {
        self.all(vec![step]).await?.pop().ok_or(Stop::Unexpected)
    }
}

/// A request of these words, encoded.
fn request(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write::command(&mut bytes, words);
    bytes
}

fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'-' | b'!'))
}

/// The whole number that a reply is.
fn integer(reply: &[u8]) -> Result<i64, Stop> {
    Value::parse(reply)?.as_integer().ok_or(Stop::Unexpected)
}
