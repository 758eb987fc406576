//! Node to pipeline: sends requests, and acts on refusals, holds and lost connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::cluster::{Slot, Topology};
use crate::config;
use crate::metrics::{Redirect, WorkerMetrics};
use crate::resp::write;

use super::clock::{Clock, Micros, micros};
use super::connect::{self, Credentials, Handshake};
use super::hold::{Held, Hold};
use super::node::Node;
use super::pipeline::{Driver, Orphan, Pipeline};
use super::redirect::Refusal;
use super::routes::Routes;
use super::{Asker, Cause, Errand, Protocol, Question, Scratch, Terms, Ticket};

/// A request whose keys stand on both sides of a migration is retried this long.
const TRY_AGAIN: Micros = 1_000_000;
/// How often deadlines and silent nodes are looked for.
const TICK: Duration = Duration::from_millis(100);
/// The same while requests are held.
const HOLD_TICK: Duration = Duration::from_millis(5);
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
    /// Credentials and address map.
    pub cluster: config::Cluster,
    /// The worker's metrics.
    pub metrics: Arc<WorkerMetrics>,
    /// The worker's clock.
    pub clock: Rc<Clock>,
    /// The worker's read buffer.
    pub scratch: Scratch,
    /// Asks for a look at the topology; must not block.
    pub hint: Box<dyn Fn(Hint<'_>)>,
}

/// One worker's connections to all nodes.
pub struct Pool {
    parts: PoolParts,
    credentials: Credentials,
    routes: RefCell<Routes>,
    hold: RefCell<Hold>,
    held: Notify,
}

impl Pool {
    /// A pool that knows no node yet.
    pub fn new(parts: PoolParts) -> Rc<Self> {
        let hold = Hold::new(parts.settings.hold_requests, parts.settings.hold_bytes);
        Rc::new(Self {
            credentials: Credentials::of(&parts.cluster),
            parts,
            routes: RefCell::new(Routes::new()),
            hold: RefCell::new(hold),
            held: Notify::new(),
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
        let question =
            Question { asker: asker.clone(), ticket, terms, born: now, hops: 0, tries: 0 };
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
        let question =
            Question { asker: asker.clone(), ticket, terms, born: now, hops: 0, tries: 0 };
        self.dispatch(Errand { question, bytes });
    }

    /// Takes over a new topology: requests that were held are sent by it.
    pub fn adopt(self: &Rc<Self>, topology: &Topology) {
        let changed = self.routes.borrow_mut().adopt(topology, |address| self.new_node(address));
        if changed {
            let waiting = self.hold.borrow_mut().take_all();
            self.release(waiting);
        }
    }

    /// Looks after held requests, deadlines and silent nodes, for as long as the worker lives.
    pub async fn attend(self: Rc<Self>) {
        let mut looked = 0;
        loop {
            let pause = if self.hold.borrow().is_empty() { TICK } else { HOLD_TICK };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.held.notified() => continue,
            }
            let now = self.parts.clock.tick();
            let due = self.hold.borrow_mut().take_due(now);
            self.release(due);
            if now - looked >= micros(TICK) {
                looked = now;
                self.look_after_pipelines(now);
            }
        }
    }

    fn new_node(&self, address: &str) -> Node {
        Node::new(address, self.parts.metrics.node(address))
    }

    fn node(&self, announced: &str) -> Rc<Node> {
        let address =
            self.parts.cluster.address_map.get(announced).map_or(announced, String::as_str);
        self.routes.borrow_mut().node(address, |address| self.new_node(address))
    }

    fn pipeline_for(self: &Rc<Self>, terms: Terms) -> Result<Rc<Pipeline>, Cause> {
        let now = self.parts.clock.now();
        let node = match terms.slot {
            Some(slot) => self.routes.borrow().owner(slot).cloned(),
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
        let pipeline = Rc::new(Pipeline::new(node.clone(), protocol, now));
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

    fn dispatch_to(self: &Rc<Self>, node: &Rc<Node>, errand: Errand, asking: bool) {
        match self.pipeline_to(node, errand.question.terms.protocol) {
            Ok(pipeline) => pipeline.push_bytes(errand, self.parts.clock.now(), asking),
            Err(cause) => self.hold(errand, cause),
        }
    }

    /// A connection from dialling to its end.
    async fn drive(self: Rc<Self>, pipeline: Rc<Pipeline>) {
        let handshake = Handshake {
            protocol: pipeline.protocol(),
            credentials: self.credentials.clone(),
            readonly: false,
            timeout: self.parts.settings.connect_timeout,
        };
        let node = pipeline.node().clone();
        let why = match connect::dial(&node.address, &handshake).await {
            Ok(stream) => {
                self.parts.clock.tick();
                node.came_up();
                self.parts.metrics.pipeline_opened();
                let why = Driver::new(self.clone(), pipeline.clone(), stream).await;
                let lost = pipeline.pending() > 0;
                self.parts.metrics.pipeline_closed(lost);
                tracing::info!(node = %node.address, reason = %why, pending = pipeline.pending(), "connection ended");
                Rc::from(format!("{}: {why}", node.address))
            }
            Err(error) => {
                let why: Rc<str> = error.to_string().into();
                self.parts.metrics.connect_failed();
                let settings = &self.parts.settings;
                let pause = |failures| backoff(failures, settings);
                if node.went_down(self.parts.clock.tick(), why.clone(), pause) {
                    tracing::warn!(node = %node.address, reason = %why, "node cannot be reached");
                }
                why
            }
        };
        node.close(&pipeline);
        self.lost(&pipeline, &why);
    }

    /// A connection is gone: what had not been sent, or may be repeated, waits for a better one.
    fn lost(self: &Rc<Self>, pipeline: &Rc<Pipeline>, why: &Rc<str>) {
        (self.parts.hint)(Hint { reason: Reason::Lost, node: &pipeline.node().address });
        let streaming = pipeline.is_streaming();
        for (at, Orphan { errand, touched }) in pipeline.orphans().into_iter().enumerate() {
            let Question { asker, ticket, terms, .. } = &errand.question;
            if at == 0 && streaming && !asker.retract(*ticket) {
                continue;
            }
            if touched && !terms.repeatable {
                self.parts.metrics.uncertain();
                let mut reply = Vec::new();
                write::error(
                    &mut reply,
                    "UNCERTAIN backend connection lost after the command was sent; it may have been executed",
                );
                asker.settle(*ticket, &reply);
                continue;
            }
            if touched {
                self.parts.metrics.retried();
            }
            self.hold(errand, Cause::Lost(why.clone()));
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
        self.parts.metrics.redirected(kind(refusal));
        let question = &mut errand.question;
        if matches!(refusal, Refusal::TryAgain) && question.terms.splittable {
            return question.asker.split(question.ticket, errand.bytes);
        }
        question.asker.disturbed();
        question.hops = question.hops.saturating_add(1);
        let cause = Cause::Refused(Bytes::copy_from_slice(reply));
        let slot = question.terms.slot;
        let hops = question.hops;
        match refusal {
            Refusal::Moved(moved, endpoint) => {
                let node = self.node(&endpoint.address(&from.address));
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
            Refusal::Ask(endpoint) if hops <= self.parts.settings.max_redirects => {
                let node = self.node(&endpoint.address(&from.address));
                self.dispatch_to(&node, errand, true);
            }
            _ => {
                (self.parts.hint)(Hint { reason: Reason::Refused, node: &from.address });
                self.hold(errand, cause);
            }
        }
    }

    fn learn(self: &Rc<Self>, slot: Slot, node: &Rc<Node>) {
        let news = self.routes.borrow_mut().learn(slot, node);
        if news {
            (self.parts.hint)(Hint { reason: Reason::Moved, node: &node.address });
            let waiting = self.hold.borrow_mut().take_slot(slot);
            self.release(waiting);
        }
    }

    /// Keeps a request until its slot is served again, or fails it when it cannot wait.
    fn hold(self: &Rc<Self>, mut errand: Errand, cause: Cause) {
        let now = self.parts.clock.now();
        errand.question.asker.disturbed();
        if now.saturating_sub(errand.question.born) >= self.patience(&cause) {
            return self.give_up(errand, &cause);
        }
        errand.question.tries = errand.question.tries.saturating_add(1);
        let refused = self.hold.borrow_mut().add(Held { errand, cause, since: now }, now);
        match refused {
            Ok(()) => {
                self.parts.metrics.held();
                self.held.notify_one();
            }
            Err(held) => {
                self.parts.metrics.hold_rejected();
                self.give_up(held.errand, &held.cause);
            }
        }
    }

    fn patience(&self, cause: &Cause) -> Micros {
        let settings = &self.parts.settings;
        match cause {
            Cause::Refused(reply) if reply.starts_with(b"-TRYAGAIN") => TRY_AGAIN,
            _ => micros(settings.hold_time.min(settings.request_timeout)),
        }
    }

    /// Sends held requests again, in their order; those that waited too long fail.
    fn release(self: &Rc<Self>, waiting: Vec<Held>) {
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
                    &format!("CLUSTERDOWN Hash slot {} not served: {why}", slot.index()),
                );
            }
            (Cause::Lost(why), None) => {
                write::error(&mut reply, &format!("CLUSTERDOWN no node answers: {why}"))
            }
        }
        asker.settle(*ticket, &reply);
    }

    /// Cuts connections whose oldest request is past its deadline, or whose node is silent and was replaced.
    fn look_after_pipelines(self: &Rc<Self>, now: Micros) {
        let deadline = micros(self.parts.settings.request_timeout);
        let silence = micros(self.parts.settings.probe_interval);
        let pipelines: Vec<Rc<Pipeline>> =
            self.routes.borrow().nodes().flat_map(|node| node.pipelines()).collect();
        for pipeline in pipelines {
            let node = pipeline.node();
            let owns = self.routes.borrow().owns_slots(node);
            match pipeline.waiting() {
                None if !owns => pipeline.cut("the node serves no slot any more".into()),
                None => {}
                Some((born, _)) if now.saturating_sub(born) > deadline => {
                    pipeline.cut(
                        format!("no reply within {:?}", self.parts.settings.request_timeout).into(),
                    );
                }
                Some((_, heard)) if now.saturating_sub(heard) > silence => {
                    self.parts.metrics.probe_sent();
                    (self.parts.hint)(Hint { reason: Reason::Silent, node: &node.address });
                    if !owns {
                        pipeline.cut("silent, and the node serves no slot any more".into());
                    }
                }
                Some(_) => {}
            }
        }
        self.routes.borrow_mut().forget_idle();
    }
}

fn kind(refusal: Refusal<'_>) -> Redirect {
    match refusal {
        Refusal::Moved(..) => Redirect::Moved,
        Refusal::Ask(..) => Redirect::Ask,
        Refusal::TryAgain => Redirect::TryAgain,
        Refusal::ClusterDown => Redirect::ClusterDown,
        Refusal::Loading => Redirect::Loading,
        Refusal::MasterDown => Redirect::MasterDown,
        Refusal::ReadOnly => Redirect::ReadOnly,
    }
}

/// The pause before dialling again: doubled with each failure, less up to a quarter so that workers and
/// gateways do not dial together.
fn backoff(failures: u32, settings: &config::Backend) -> Micros {
    let longest = micros(settings.reconnect_max);
    let pause = micros(settings.reconnect_min).saturating_mul(1 << failures.min(16)).min(longest);
    pause - fastrand::u64(0..=pause / 4)
}
