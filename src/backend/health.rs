//! Nodes that owe replies and say nothing: found by a probe, spared while they are silent, asked again until they
//! speak.
//!
//! A node may be silent because it is frozen or gone, or because it runs a long command. Nobody can tell which, so
//! what it was sent stays with it, and is not `UNCERTAIN` before its connection ends, its slots have another owner,
//! or its time is over. But nothing new is sent to it: what comes meanwhile is held, and runs once for certain.

use std::pin::pin;
use std::rc::Rc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::sleep_until;

use super::Manner;
use super::clock::{Micros, micros};
use super::connect::{ConnectError, Handshake, Step, dial};
use super::node::Node;
use super::pool::Pool;
use super::upkeep::backoff;

/// Least time between two probes that do not even reach the node's machine. A network that heals loses nothing that is
/// sent afterwards; what was sent before, the system sends again only after a second.
const KNOCK: Micros = 200_000;

/// What came of a probe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Answer,
    /// The machine takes connections, and the node says nothing: it is frozen, or busy. When it is not any more, it
    /// speaks on the connections that are there, and many probes would only be more for it to do.
    Mute,
    /// No connection is taken.
    Nothing,
}

impl Pool {
    /// Asks a node that owes replies for a sign of life, over a connection of its own, until there is one or nobody
    /// is interested any more.
    pub(super) fn probe(self: &Rc<Self>, node: &Rc<Node>) {
        if !node.probed.replace(true) {
            let (pool, node) = (self.clone(), node.clone());
            tokio::task::spawn_local(async move {
                pool.probe_until_it_speaks(&node).await;
                node.probed.set(false);
            });
        }
    }

    async fn probe_until_it_speaks(self: &Rc<Self>, node: &Rc<Node>) {
        let asked = self.clock().tick();
        let sign = self.probe_once(node).await;
        if sign == Sign::Answer || heard_since(node, asked) || !self.is_of_interest(node) {
            return self.speaks(node);
        }
        self.metrics().probe_failed();
        if node.fell_silent() {
            tracing::warn!(node = %node.address, "node is silent; what is for it waits");
            self.take_back_reads(node, &silence(node));
        }
        self.knock_until_it_speaks(node, sign).await;
    }

    /// Probes a silent node again and again. Each probe has its time, and the next one need not wait for that.
    async fn knock_until_it_speaks(self: &Rc<Self>, node: &Rc<Node>, mut sign: Sign) {
        let mut probes = FuturesUnordered::new();
        for failures in 0.. {
            let next = self.clock().tick() + self.pause(failures, sign);
            let mut is_due = pin!(sleep_until(self.clock().instant(next)));
            loop {
                tokio::select! {
                    biased;
                    Some(said) = probes.next() => sign = said,
                    () = &mut is_due => break,
                }
                if sign == Sign::Answer {
                    return self.speaks(node);
                }
                self.metrics().probe_failed();
                node.fell_silent();
            }
            if !node.is_silent() {
                return;
            }
            if !self.is_of_interest(node) {
                return self.speaks(node);
            }
            probes.push(self.probe_once(node));
        }
    }

    /// The time from one probe of a silent node to the next.
    fn pause(&self, failures: u32, sign: Sign) -> Micros {
        let settings = self.settings();
        let timeout = micros(settings.backend.probe_timeout);
        match sign {
            Sign::Nothing => KNOCK.max(timeout / 3),
            Sign::Mute | Sign::Answer => timeout + backoff(failures, &settings.backend),
        }
    }

    async fn probe_once(&self, node: &Node) -> Sign {
        self.metrics().probe_sent();
        node.is_probed();
        let timeout = self.settings().backend.probe_timeout;
        let handshake = Handshake { timeout, ..self.handshake(Manner::own()) };
        match dial(&node.address, &handshake).await {
            Ok(_) => {
                node.came_up();
                Sign::Answer
            }
            Err(ConnectError { step: Step::Resolve | Step::Connect, .. }) => Sign::Nothing,
            Err(_) => Sign::Mute,
        }
    }

    /// A silent node that serves no slot and owes nothing is nobody's concern.
    fn is_of_interest(&self, node: &Node) -> bool {
        node.owns.get() || node.is_connected()
    }

    /// The node has given a sign of life: it is sent everything again.
    pub(super) fn speaks(self: &Rc<Self>, node: &Node) {
        if node.spoke() {
            tracing::info!(node = %node.address, "node speaks again");
            self.hold.borrow_mut().hasten(self.clock().now());
        }
    }

    /// The silent nodes, each with the number of its slots.
    pub(super) fn silent_owners(&self) -> Vec<(Rc<Node>, usize)> {
        let routes = self.routes.borrow();
        let silent = routes.primaries().filter(|node| node.is_silent());
        silent.map(|node| (node.clone(), routes.count(node))).collect()
    }

    /// Gives up on silent nodes that lost slots: what they owe comes before what is held for the new owners.
    pub(super) fn abandon_replaced(self: &Rc<Self>, silent: Vec<(Rc<Node>, usize)>) {
        for (node, slots) in silent {
            if self.routes.borrow().count(&node) < slots {
                self.abandon(&node);
            }
        }
    }

    /// Waits no longer for what a silent node owes.
    pub(super) fn abandon(self: &Rc<Self>, node: &Rc<Node>) {
        let why: Rc<str> = format!("{}, and was replaced", silence(node)).into();
        for pipeline in node.pipelines().collect::<Vec<_>>() {
            pipeline.cut(why.clone());
            node.close(&pipeline);
            self.lost(&pipeline, &why);
        }
    }
}

/// Whether the node has said anything after this time, or owes nothing.
fn heard_since(node: &Node, time: Micros) -> bool {
    node.pipelines().all(|pipeline| pipeline.waiting().is_none_or(|(_, heard)| heard > time))
}

/// Why nothing is sent to a silent node.
pub(super) fn silence(node: &Node) -> Rc<str> {
    format!("{}: no answer to a health probe", node.address).into()
}
