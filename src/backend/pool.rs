//! Node to pipeline: sends requests, and acts on refusals, holds and lost connections.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use slab::Slab;
use tokio::sync::Notify;

use crate::cluster::{Announced, Slot, Topology};
use crate::config::{Live, ReadFrom};
use crate::metrics::WorkerMetrics;

use super::attention::Attention;
use super::budget::Budget;
use super::buffers::Buffers;
use super::clock::{Clock, Micros};
use super::connect::{Credentials, Handshake};
use super::detours::Detours;
use super::health::silence;
use super::hold::Hold;
use super::home::Home;
use super::lines::Lines;
use super::node::Node;
use super::pipeline::Pipeline;
use super::replicas::Standings;
use super::routes::Routes;
use super::{Asker, Cause, Errand, Manner, Question, Scratch, Terms, Ticket};

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
    /// Requests wait, and what they wait for may have come.
    Held,
}

/// What the worker tells those who look after the topology.
#[derive(Clone, Copy, Debug)]
pub struct Hint<'a> {
    /// What happened.
    pub reason: Reason,
    /// The node concerned, if it is one: to be asked when it was named by a redirection.
    pub node: &'a str,
}

/// What a pool is made of.
pub struct PoolParts {
    /// Time limits, bounds and the address map.
    pub settings: Arc<Live>,
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
    /// What is known of replicas, found out elsewhere.
    pub standings: Arc<ArcSwap<Standings>>,
    /// Asks for a look at the topology; must not block.
    pub hint: Box<dyn Fn(Hint<'_>)>,
}

/// One worker's connections to all nodes.
pub struct Pool {
    pub(super) parts: PoolParts,
    topology: RefCell<Arc<Topology>>,
    pub(super) routes: RefCell<Routes>,
    pub(super) hold: RefCell<Hold>,
    pub(super) detours: Detours,
    pub(super) held: Notify,
    pub(super) budget: RefCell<Budget>,
    /// What was taken over last of what is known of replicas.
    pub(super) standings: RefCell<Arc<Standings>>,
    /// New requests so far.
    pub(super) sent: Cell<u64>,
    /// A slot has another owner, or another node is home.
    pub(super) news: Notify,
    /// By then the home node has settled.
    pub(super) home_settles: Cell<Micros>,
    /// Leases in use or kept.
    pub(super) leases: Rc<Cell<usize>>,
    /// The connections of single sessions.
    pub(super) sessions: RefCell<Slab<Weak<Lines>>>,
    /// Pipelines opened so far.
    opened: Cell<u64>,
    /// Told when a topology gave slots other owners.
    pub(super) adopted: Notify,
    pub(super) attention: Attention,
    /// Memory of large requests, to be filled again.
    pub buffers: Rc<Buffers>,
}

impl Pool {
    /// A pool that knows no node yet.
    pub fn new(parts: PoolParts) -> Rc<Self> {
        let settings = parts.settings.now();
        let hold = Hold::new(&settings.backend);
        let budget = Budget::new(&settings.backend);
        let spreads_reads = settings.cluster.read_from != ReadFrom::Primary;
        drop(settings);
        Rc::new(Self {
            parts,
            topology: RefCell::new(Arc::new(Topology::empty())),
            routes: RefCell::new(Routes::new(spreads_reads)),
            standings: RefCell::default(),
            hold: RefCell::new(hold),
            detours: Detours::default(),
            held: Notify::new(),
            budget: RefCell::new(budget),
            sent: Cell::new(0),
            news: Notify::new(),
            home_settles: Cell::new(0),
            leases: Rc::default(),
            sessions: RefCell::default(),
            opened: Cell::new(0),
            adopted: Notify::new(),
            attention: Attention::new(),
            buffers: Rc::default(),
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

    /// Which requests its askers are told of.
    pub fn attention(&self) -> &Attention {
        &self.attention
    }

    pub(super) fn metrics(&self) -> &WorkerMetrics {
        &self.parts.metrics
    }

    /// How a connection begins; what it needs besides is for whoever dials to say.
    pub(super) fn handshake(&self, manner: Manner) -> Handshake {
        let timeout = self.settings().backend.connect_timeout;
        Handshake {
            protocol: manner.protocol,
            database: manner.database,
            credentials: self.parts.credentials.load().of(manner.login),
            readonly: manner.is_readonly,
            ping: true,
            timeout,
        }
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
        let mut question = self.question(asker, ticket, terms);
        match self.pipeline_for(&mut question) {
            Ok(pipeline) => pipeline.push(question, self.parts.clock.now(), write),
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
        let question = self.question(asker, ticket, terms);
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
        let question = self.question(asker, ticket, Terms { slot: None, pinned: true, ..terms });
        let node = self.node(address);
        self.dispatch_to(&node, Errand { question, bytes }, false);
    }

    fn question(&self, asker: &Rc<dyn Asker>, ticket: Ticket, terms: Terms) -> Question {
        let (serial, born) = (self.sent.get() + 1, self.parts.clock.now());
        self.sent.set(serial);
        Question {
            asker: asker.clone(),
            ticket,
            terms,
            serial,
            born,
            hops: 0,
            tries: 0,
            scout: None,
        }
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
        let silent = self.silent_owners();
        let changed = self.routes.borrow_mut().adopt(&topology, |address| self.new_node(address));
        *self.topology.borrow_mut() = topology;
        if !changed.is_empty() {
            self.abandon_replaced(silent);
            self.moved(&changed);
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
        let place = announced.dialled(&from.address, &self.settings().cluster.address_map);
        let topology = self.topology.borrow();
        let known = topology.find(&place).or_else(|| topology.find(&announced.to_string()));
        let address = known.map_or(&*place, |node| &node.address);
        self.node(address)
    }

    fn pipeline_for(self: &Rc<Self>, question: &mut Question) -> Result<Rc<Pipeline>, Cause> {
        if question.terms.replica.is_some()
            && let Some(pipeline) = self.pipeline_elsewhere(question)
        {
            return Ok(pipeline);
        }
        let terms = question.terms;
        let now = self.parts.clock.now();
        let node = match terms.slot {
            Some(slot) => self.routes.borrow().owner(slot).cloned(),
            None if terms.home => self.home(),
            None => self.routes.borrow_mut().any(|node| node.is_usable(now)).cloned(),
        };
        let node = node.ok_or(Cause::NotServed)?;
        if terms.home && terms.slot.is_none() && self.home_is_settling() {
            return Err(Cause::Settling);
        }
        if node.is_silent() {
            return Err(Cause::Lost(silence(&node)));
        }
        self.pipeline_of(&node, question)
    }

    /// The connection to this node, of the asker's own if it has any and the request is for them.
    fn pipeline_of(
        self: &Rc<Self>,
        node: &Rc<Node>,
        question: &Question,
    ) -> Result<Rc<Pipeline>, Cause> {
        let terms = question.terms;
        match terms.own.and_then(|_| question.asker.lines()) {
            Some(lines) => lines.pipeline_to(node, terms.slot),
            None => self.pipeline_to(node, terms.manner()),
        }
    }

    pub(super) fn pipeline_to(
        self: &Rc<Self>,
        node: &Rc<Node>,
        manner: Manner,
    ) -> Result<Rc<Pipeline>, Cause> {
        if let Some(pipeline) = node.pipeline(manner) {
            return Ok(pipeline);
        }
        let pipeline = Rc::new(self.new_pipeline(node, manner)?);
        node.open(&pipeline);
        tokio::task::spawn_local(self.clone().drive(pipeline.clone()));
        Ok(pipeline)
    }

    /// A connection that is still to be dialled, unless the node is known to be down, or not to let the user in.
    pub(super) fn new_pipeline(&self, node: &Rc<Node>, manner: Manner) -> Result<Pipeline, Cause> {
        let now = self.parts.clock.now();
        if let Some(why) = node.barred.why(manner.login, now) {
            return Err(Cause::Barred(why));
        }
        if let Some(why) = node.down(now) {
            return Err(Cause::Lost(why));
        }
        node.is_tried();
        let number = self.opened.get() + 1;
        self.opened.set(number);
        Ok(Pipeline::new(node.clone(), manner, number, self.buffers.clone(), now))
    }

    /// Sends an errand to the owner of its slot, or holds it.
    pub(super) fn dispatch(self: &Rc<Self>, mut errand: Errand) {
        match self.pipeline_for(&mut errand.question) {
            Ok(pipeline) => {
                if errand.question.tries > 0 {
                    self.parts.metrics.retried();
                    if let Some(slot) = errand.question.terms.slot {
                        self.detours.note(slot, pipeline.node());
                    }
                }
                pipeline.push_bytes(errand, self.parts.clock.now(), false);
            }
            Err(cause) => self.hold(errand, cause),
        }
    }

    pub(super) fn dispatch_to(self: &Rc<Self>, node: &Rc<Node>, errand: Errand, asking: bool) {
        match self.pipeline_of(node, &errand.question) {
            Ok(pipeline) => pipeline.push_bytes(errand, self.parts.clock.now(), asking),
            Err(cause) => self.hold(errand, cause),
        }
    }
}
