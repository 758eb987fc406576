//! One node as this worker sees it: its pipelines, and when it may be dialled again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::metrics::{Circuit, NodeMetrics};
use crate::resp::Protocol;

use super::Manner;
use super::barred::Barred;
use super::clock::Micros;
use super::lease::Lease;
use super::pipeline::Pipeline;
use super::replicas::Known;

/// A node's address and this worker's connections to it: one per protocol, as many for reads alone, the same for each
/// other database and each other login that is in use, and those of single sessions.
pub(super) struct Node {
    pub(super) address: Rc<str>,
    pub(super) metrics: Arc<NodeMetrics>,
    pipelines: [RefCell<Option<Rc<Pipeline>>>; 4],
    /// The same for databases other than 0, and for users that are sent as others than the gateway's own.
    elsewhere: RefCell<HashMap<Manner, Rc<Pipeline>, FixedState>>,
    /// Connections that single sessions have for themselves.
    own: RefCell<Vec<Rc<Pipeline>>>,
    /// Dialling failed: not before this time again, and why.
    down: RefCell<Option<Down>>,
    failures: Cell<u32>,
    /// Whom it does not let in.
    pub(super) barred: Barred,
    /// Shared connections that stand. As long as there is one, a failure to dial is no more than that.
    open: Cell<u32>,
    /// It owes replies, and a probe was not answered either: it gets nothing new until it speaks.
    silent: Cell<bool>,
    /// It owns slots; see `Routes`.
    pub(super) owns: Cell<bool>,
    /// It is a replica that may be read from.
    pub(super) copies: Cell<bool>,
    /// What is known of it as a replica.
    pub(super) standing: Cell<Known>,
    /// A probe is under way, or due.
    pub(super) probed: Cell<bool>,
    /// Leases that nobody uses now.
    kept: RefCell<Vec<Lease>>,
}

struct Down {
    until: Micros,
    why: Rc<str>,
}

impl Node {
    pub(super) fn new(address: &str, metrics: Arc<NodeMetrics>) -> Self {
        Self {
            address: address.into(),
            metrics,
            pipelines: Default::default(),
            elsewhere: RefCell::default(),
            own: RefCell::default(),
            down: RefCell::new(None),
            failures: Cell::new(0),
            barred: Barred::default(),
            open: Cell::new(0),
            silent: Cell::new(false),
            owns: Cell::new(false),
            copies: Cell::new(false),
            standing: Cell::default(),
            probed: Cell::new(false),
            kept: RefCell::default(),
        }
    }

    /// Where the connection for this stands; `None`: among those for other databases and other logins.
    fn place(&self, manner: Manner) -> Option<&RefCell<Option<Rc<Pipeline>>>> {
        if !manner.is_usual() {
            return None;
        }
        let [resp2, resp3, readonly2, readonly3] = &self.pipelines;
        Some(match (manner.protocol, manner.is_readonly) {
            (Protocol::Resp2, false) => resp2,
            (Protocol::Resp3, false) => resp3,
            (Protocol::Resp2, true) => readonly2,
            (Protocol::Resp3, true) => readonly3,
        })
    }

    pub(super) fn pipeline(&self, manner: Manner) -> Option<Rc<Pipeline>> {
        match self.place(manner) {
            Some(place) => place.borrow().clone(),
            None => self.elsewhere.borrow().get(&manner).cloned(),
        }
    }

    /// All connections, also those of single sessions.
    pub(super) fn pipelines(&self) -> impl Iterator<Item = Rc<Pipeline>> {
        let mut others: Vec<Rc<Pipeline>> = self.elsewhere.borrow().values().cloned().collect();
        others.extend(self.own.borrow().iter().cloned());
        self.pipelines.iter().filter_map(|place| place.borrow().clone()).chain(others)
    }

    pub(super) fn open(&self, pipeline: &Rc<Pipeline>) {
        match self.place(pipeline.manner()) {
            Some(place) => *place.borrow_mut() = Some(pipeline.clone()),
            None => drop(self.elsewhere.borrow_mut().insert(pipeline.manner(), pipeline.clone())),
        }
    }

    /// A session has this connection for itself.
    pub(super) fn open_own(&self, pipeline: &Rc<Pipeline>) {
        self.own.borrow_mut().push(pipeline.clone());
    }

    /// The pipeline ended; a later one is left alone.
    pub(super) fn close(&self, pipeline: &Rc<Pipeline>) {
        if pipeline.is_own() {
            return self.own.borrow_mut().retain(|open| !Rc::ptr_eq(open, pipeline));
        }
        let Some(place) = self.place(pipeline.manner()) else {
            return self.elsewhere.borrow_mut().retain(|_, open| !Rc::ptr_eq(open, pipeline));
        };
        let mut place = place.borrow_mut();
        if place.as_ref().is_some_and(|open| Rc::ptr_eq(open, pipeline)) {
            *place = None;
        }
    }

    /// Takes the lease that was used last, of those that carry this.
    pub(super) fn kept(&self, manner: Manner) -> Option<Lease> {
        let mut kept = self.kept.borrow_mut();
        let at = kept.iter().rposition(|lease| lease.manner() == manner)?;
        Some(kept.remove(at))
    }

    /// Keeps a lease for the next who wants one, unless there are `most` already.
    pub(super) fn keep(&self, lease: Lease, most: usize) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < most {
            kept.push(lease);
        }
    }

    /// Closes the leases that nobody uses.
    pub(super) fn drop_kept(&self) {
        self.kept.borrow_mut().clear();
    }

    pub(super) fn is_connected(&self) -> bool {
        let has_others = !self.own.borrow().is_empty() || !self.elsewhere.borrow().is_empty();
        has_others || self.pipelines.iter().any(|place| place.borrow().is_some())
    }

    /// Why the node is not to be dialled now.
    pub(super) fn down(&self, now: Micros) -> Option<Rc<str>> {
        let down = self.down.borrow();
        down.as_ref().filter(|down| now < down.until).map(|down| down.why.clone())
    }

    /// Whether the node may be sent something new: neither down nor silent.
    pub(super) fn is_usable(&self, now: Micros) -> bool {
        !self.is_silent() && (self.is_reached() || self.down(now).is_none())
    }

    /// Whether a shared connection to it stands.
    pub(super) fn is_reached(&self) -> bool {
        self.open.get() > 0
    }

    /// A shared connection to it stands from now on.
    pub(super) fn opened(&self) {
        self.open.set(self.open.get() + 1);
        self.came_up();
    }

    /// One of them has ended.
    pub(super) fn ended(&self) {
        self.open.set(self.open.get().saturating_sub(1));
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.get()
    }

    /// A probe was not answered. Returns whether that is news.
    pub(super) fn fell_silent(&self) -> bool {
        self.metrics.circuit(Circuit::Open);
        !self.silent.replace(true)
    }

    /// The node has said something, or is not asked any more. Returns whether it was silent.
    pub(super) fn spoke(&self) -> bool {
        if self.silent.get() {
            self.metrics.circuit(Circuit::Closed);
        }
        self.silent.replace(false)
    }

    /// A probe is about to be sent.
    pub(super) fn is_probed(&self) {
        if self.silent.get() {
            self.metrics.circuit(Circuit::HalfOpen);
        }
    }

    /// Whether dialling has failed since it last succeeded.
    pub(super) fn has_failed(&self) -> bool {
        self.failures.get() > 0
    }

    /// Somebody is about to dial.
    pub(super) fn is_tried(&self) {
        if self.has_failed() {
            self.metrics.circuit(Circuit::HalfOpen);
        }
    }

    /// Dialling succeeded.
    pub(super) fn came_up(&self) {
        if self.failures.replace(0) > 0 {
            self.metrics.circuit(Circuit::Closed);
        }
        *self.down.borrow_mut() = None;
    }

    /// Dialling failed; `pause` gives the time until the next try from the number of failures before.
    /// Returns whether the node was up until now.
    pub(super) fn went_down(
        &self,
        now: Micros,
        why: Rc<str>,
        pause: impl FnOnce(u32) -> Micros,
    ) -> bool {
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        *self.down.borrow_mut() = Some(Down { until: now + pause(failures), why });
        self.metrics.circuit(Circuit::Open);
        failures == 0
    }
}
