//! Node to pipeline: sends requests, and acts on refusals, holds and lost connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::cluster::{Announced, Slot, Topology};
use crate::config;
use crate::metrics::WorkerMetrics;
use crate::resp::write;

use super::clock::{Clock, Micros, micros};
use super::connect::Credentials;
use super::hold::{Held, Hold};
use super::home::Home;
use super::node::Node;
use super::pipeline::Pipeline;
use super::redirect::Refusal;
use super::routes::Routes;
use super::{Asker, Cause, Errand, Protocol, Question, Scratch, Terms, Ticket};

/// A request whose keys stand on both sides of a migration is retried this long.
const TRY_AGAIN: Micros = 1_000_000;
/// Redirections followed at once; from then on with a pause, for two nodes that point at each other.
const PROMPT_HOPS: u8 = 2;
/// The pause is then as long as after so many tries.
const CIRCLE_TRIES: u8 = 3;

/// Why the topology may be out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A node said that a slot moved.
    Moved,
    /// A connection broke or could not be made.
    Lost,
    /// A node refused for a while: cluster down, demoted, loading.
    Refused,
    /// A node with pending replies is silent.
    Silent,
}

/// What the worker tells those who look after the topology.
#[derive(Clone, Copy, Debug)]
pub struct Hint<'a> {
    /// What happened.
    pub reason: Reason,
    /// The node concerned: one to ask when it was named by a redirection.
    pub node: &'a str,
}

/// What a pool is made of.
pub struct PoolParts {
    /// Time limits and bounds.
    pub settings: config::Backend,
    /// The address map.
    pub cluster: config::Cluster,
    /// As whom it logs in; connections made later use what is there by then.
    pub credentials: Arc<ArcSwap<Credentials>>,
    /// The worker's metrics.
    pub metrics: Arc<WorkerMetrics>,
    /// The worker's clock.
    pub clock: Rc<Clock>,
    /// The worker's read buffer.
    pub scratch: Scratch,
    /// The node that carries the subscriptions, the same for all workers.
    pub home: Home,
    /// Asks for a look at the topology; must not block.
    pub hint: Box<dyn Fn(Hint<'_>)>,
}

/// One worker's connections to all nodes.
pub struct Pool {
    pub(super) parts: PoolParts,
    topology: RefCell<Arc<Topology>>,
    pub(super) routes: RefCell<Routes>,
    pub(super) hold: RefCell<Hold>,
    pub(super) held: Notify,
    /// A slot has another owner, or another node is home.
    pub(super) news: Notify,
    /// Leases in use or kept.
    pub(super) leases: Rc<Cell<usize>>,
    /// Pipelines opened so far.
    opened: Cell<u64>,
    /// Told when a topology gave slots other owners.
    pub(super) adopted: Notify,
}

impl Pool {
    /// A pool that knows no node yet.
    pub fn new(parts: PoolParts) -> Rc<Self> {
        let hold = Hold::new(parts.settings.hold_requests, parts.settings.hold_bytes);
        Rc::new(Self {
            parts,
            topology: RefCell::new(Arc::new(Topology::empty())),
            routes: RefCell::new(Routes::new()),
            hold: RefCell::new(hold),
            held: Notify::new(),
            news: Notify::new(),
            leases: Rc::default(),
            opened: Cell::new(0),
            adopted: Notify::new(),
        })
    }

    /// Changes whenever a slot gets another owner. Requests of one session that were routed under
    /// different versions must not be under way at once.
    pub fn version(&self) -> u64 {
        self.routes.borrow().version()
    }

    /// The worker's clock.
    pub fn clock(&self) -> &Clock {
        &self.parts.clock
    }

    pub(super) fn metrics(&self) -> &WorkerMetrics {
        &self.parts.metrics
    }

    pub(super) fn credentials(&self) -> Credentials {
        self.parts.credentials.load().as_ref().clone()
    }

    pub(super) fn scratch(&self) -> Scratch {
        self.parts.scratch.clone()
    }

    /// Sends the request that `write` appends. Its reply goes to `asker`, in a later turn.
    pub fn send(
        self: &Rc<Self>,
        terms: Terms,
        asker: &Rc<dyn Asker>,
        ticket: Ticket,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let now = self.parts.clock.now();
        let question = Question::new(asker, ticket, terms, now);
        match self.pipeline_for(terms) {
            Ok(pipeline) => pipeline.push(question, now, write),
            Err(cause) => {
                let mut bytes = Vec::new();
                write(&mut bytes);
                self.hold(Errand { question, bytes: bytes.into() }, cause);
            }
        }
    }

    /// Sends a large request without copying it.
    pub fn send_bytes(
        self: &Rc<Self>,
        terms: Terms,
        asker: &Rc<dyn Asker>,
        ticket: Ticket,
        bytes: Bytes,
    ) {
        let now = self.parts.clock.now();
        let question = Question::new(asker, ticket, terms, now);
        self.dispatch(Errand { question, bytes });
    }

    /// Sends a request to this node and to no other. Its address is one of the topology's.
    pub fn send_to(
        self: &Rc<Self>,
        address: &str,
        terms: Terms,
        (asker, ticket): (&Rc<dyn Asker>, Ticket),
        bytes: Bytes,
    ) {
        let now = self.parts.clock.now();
        let terms = Terms { slot: None, pinned: true, ..terms };
        let question = Question::new(asker, ticket, terms, now);
        let node = self.node(address);
        self.dispatch_to(&node, Errand { question, bytes }, false);
    }

    /// The node at this address, known from now on.
    pub(super) fn node(&self, address: &str) -> Rc<Node> {
        self.routes.borrow_mut().node(address, |address| self.new_node(address))
    }

    /// Whether one primary serves both slots.
    pub fn same_owner(&self, slot: Slot, other: Slot) -> bool {
        let routes = self.routes.borrow();
        match (routes.owner(slot), routes.owner(other)) {
            (Some(one), Some(two)) => Rc::ptr_eq(one, two),
            _ => false,
        }
    }

    /// The topology that was taken over last.
    pub fn topology(&self) -> Arc<Topology> {
        self.topology.borrow().clone()
    }

    /// Takes over a new topology: requests that were held are sent by it.
    pub fn adopt(self: &Rc<Self>, topology: Arc<Topology>) {
        let changed = self.routes.borrow_mut().adopt(&topology, |address| self.new_node(address));
        *self.topology.borrow_mut() = topology;
        if changed {
            self.news.notify_one();
            self.adopted.notify_waiters();
            let waiting = self.hold.borrow_mut().take_all();
            self.release(waiting);
        }
    }

    fn new_node(&self, address: &str) -> Node {
        let metrics = self.parts.metrics.node(address);
        // Until dialling it says otherwise.
        metrics.set_up(true);
        Node::new(address, metrics)
    }

    /// The node that a redirection by `from` names. However it is named, it is the one that the topology
    /// knows: two connections to one node would break the order of a session's requests.
    pub(super) fn named(&self, announced: Announced<'_>, from: &Node) -> Rc<Node> {
        let place = announced.dialled(&from.address, &self.parts.cluster.address_map);
        let topology = self.topology.borrow();
        let known = topology.find(&place).or_else(|| topology.find(&announced.to_string()));
        let address = known.map_or(&*place, |node| &node.address);
        self.node(address)
    }

    fn pipeline_for(self: &Rc<Self>, terms: Terms) -> Result<Rc<Pipeline>, Cause> {
        let now = self.parts.clock.now();
        let node = match terms.slot {
            Some(slot) => self.routes.borrow().owner(slot).cloned(),
            None if terms.home => self.home(),
            None => self.routes.borrow_mut().any(|node| node.down(now).is_none()).cloned(),
        };
        self.pipeline_to(&node.ok_or(Cause::NotServed)?, terms.protocol)
    }

    fn pipeline_to(
        self: &Rc<Self>,
        node: &Rc<Node>,
        protocol: Protocol,
    ) -> Result<Rc<Pipeline>, Cause> {
        if let Some(pipeline) = node.pipeline(protocol) {
            return Ok(pipeline);
        }
        let now = self.parts.clock.now();
        if let Some(why) = node.down(now) {
            return Err(Cause::Lost(why));
        }
        let number = self.opened.get() + 1;
        self.opened.set(number);
        let pipeline = Rc::new(Pipeline::new(node.clone(), protocol, number, now));
        node.open(&pipeline);
        tokio::task::spawn_local(self.clone().drive(pipeline.clone()));
        Ok(pipeline)
    }

    /// Sends an errand to the owner of its slot, or holds it.
    fn dispatch(self: &Rc<Self>, errand: Errand) {
        match self.pipeline_for(errand.question.terms) {
            Ok(pipeline) => pipeline.push_bytes(errand, self.parts.clock.now(), false),
            Err(cause) => self.hold(errand, cause),
        }
    }

    pub(super) fn dispatch_to(self: &Rc<Self>, node: &Rc<Node>, errand: Errand, asking: bool) {
        match self.pipeline_to(node, errand.question.terms.protocol) {
            Ok(pipeline) => pipeline.push_bytes(errand, self.parts.clock.now(), asking),
            Err(cause) => self.hold(errand, cause),
        }
    }

    /// A node refused a request that did not run there.
    pub(super) fn refused(
        self: &Rc<Self>,
        mut errand: Errand,
        refusal: Refusal<'_>,
        from: &Node,
        reply: &[u8],
    ) {
        let Some(kind) = refusal.kind() else { return errand.unscripted(reply) };
        self.parts.metrics.redirected(kind);
        let question = &mut errand.question;
        if matches!(refusal, Refusal::TryAgain) && question.terms.splittable {
            return question.asker.split(question.ticket, errand.bytes);
        }
        question.asker.disturbed();
        question.hops = match refusal {
            // The redirections led to the right node, which wants to be asked again.
            Refusal::TryAgain => 0,
            _ => question.hops.saturating_add(1),
        };
        let cause = Cause::Refused(Bytes::copy_from_slice(reply));
        let slot = question.terms.slot;
        let hops = question.hops;
        match refusal {
            Refusal::Moved(moved, place) => {
                let node = self.named(place, from);
                self.learn(moved, &node);
                // Others of this slot may wait already; they were first.
                let overtakes = self.hold.borrow().waits_for(slot);
                if hops > self.parts.settings.max_redirects {
                    return self.give_up(errand, &cause);
                }
                if hops > PROMPT_HOPS || overtakes || slot.is_none() {
                    errand.question.tries = errand.question.tries.max(CIRCLE_TRIES);
                    return self.hold(errand, cause);
                }
                self.dispatch_to(&node, errand, false);
            }
            Refusal::Ask(place) if hops <= self.parts.settings.max_redirects => {
                let node = self.named(place, from);
                self.dispatch_to(&node, errand, true);
            }
            _ => {
                (self.parts.hint)(Hint { reason: Reason::Refused, node: &from.address });
                self.hold(errand, cause);
            }
        }
    }

    pub(super) fn learn(self: &Rc<Self>, slot: Slot, node: &Rc<Node>) {
        let news = self.routes.borrow_mut().learn(slot, node);
        if news {
            self.news.notify_one();
            (self.parts.hint)(Hint { reason: Reason::Moved, node: &node.address });
            let waiting = self.hold.borrow_mut().take_slot(slot);
            self.release(waiting);
        }
    }

    /// Keeps a request until its slot is served again, or fails it when it cannot wait.
    pub(super) fn hold(self: &Rc<Self>, mut errand: Errand, cause: Cause) {
        let now = self.parts.clock.now();
        errand.question.asker.disturbed();
        let too_late = now.saturating_sub(errand.question.born) >= self.patience(&cause);
        if too_late || errand.question.terms.pinned {
            return self.give_up(errand, &cause);
        }
        let room = self.hold.borrow().has_room(errand.bytes.len());
        if !room {
            self.parts.metrics.hold_rejected();
            return self.give_up(errand, &cause);
        }
        errand.question.tries = errand.question.tries.saturating_add(1);
        self.hold.borrow_mut().add(Held { errand, cause, since: now }, now);
        self.parts.metrics.held();
        self.held.notify_one();
    }

    fn patience(&self, cause: &Cause) -> Micros {
        let settings = &self.parts.settings;
        match cause {
            Cause::Refused(reply) if reply.starts_with(b"-TRYAGAIN") => TRY_AGAIN,
            _ => micros(settings.hold_time.min(settings.request_timeout)),
        }
    }

    /// Sends held requests again, in their order; those that waited too long fail.
    pub(super) fn release(self: &Rc<Self>, waiting: Vec<Held>) {
        let now = self.parts.clock.now();
        for Held { errand, cause, since } in waiting {
            self.parts.metrics.released(now.saturating_sub(since) as u32);
            if now.saturating_sub(errand.question.born) >= self.patience(&cause) {
                self.give_up(errand, &cause);
            } else {
                self.dispatch(errand);
            }
        }
    }

    /// The outcome is known: the request did not run. Says why.
    fn give_up(&self, errand: Errand, cause: &Cause) {
        let Question { asker, ticket, terms, .. } = &errand.question;
        let mut reply = Vec::new();
        match (cause, terms.slot) {
            (Cause::Refused(refusal), _)
                if refusal.starts_with(b"-MOVED") || refusal.starts_with(b"-ASK") =>
            {
                // A redirection never reaches a client: it would go round the gateway.
                write::error(&mut reply, "CLUSTERDOWN Hash slot not served");
            }
            (Cause::Refused(refusal), _) => reply.extend_from_slice(refusal),
            (Cause::NotServed, _) => write::error(&mut reply, "CLUSTERDOWN Hash slot not served"),
            (Cause::Lost(why), Some(slot)) => {
                write::error(
                    &mut reply,
                    format!("CLUSTERDOWN Hash slot {} not served: {why}", slot.index()),
                );
            }
            (Cause::Lost(why), None) => {
                write::error(&mut reply, format!("CLUSTERDOWN no node answers: {why}"))
            }
        }
        asker.settle(*ticket, &reply);
    }
}
