//! One node as this worker sees it: its pipelines, and when it may be dialled again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::metrics::NodeMetrics;
use crate::resp::Protocol;

use super::clock::Micros;
use super::lease::Lease;
use super::pipeline::Pipeline;

/// A node's address and this worker's connections to it, one per protocol.
pub(super) struct Node {
    pub(super) address: Rc<str>,
    pub(super) metrics: Arc<NodeMetrics>,
    pipelines: [RefCell<Option<Rc<Pipeline>>>; 2],
    /// Dialling failed: not before this time again, and why.
    down: RefCell<Option<Down>>,
    failures: Cell<u32>,
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
            pipelines: [RefCell::new(None), RefCell::new(None)],
            down: RefCell::new(None),
            failures: Cell::new(0),
            kept: RefCell::default(),
        }
    }

    fn place(&self, protocol: Protocol) -> &RefCell<Option<Rc<Pipeline>>> {
        let [resp2, resp3] = &self.pipelines;
        match protocol {
            Protocol::Resp2 => resp2,
            Protocol::Resp3 => resp3,
        }
    }

    pub(super) fn pipeline(&self, protocol: Protocol) -> Option<Rc<Pipeline>> {
        self.place(protocol).borrow().clone()
    }

    pub(super) fn pipelines(&self) -> impl Iterator<Item = Rc<Pipeline>> {
        self.pipelines.iter().filter_map(|place| place.borrow().clone())
    }

    pub(super) fn open(&self, pipeline: &Rc<Pipeline>) {
        *self.place(pipeline.protocol()).borrow_mut() = Some(pipeline.clone());
    }

    /// The pipeline ended; a later one is left alone.
    pub(super) fn close(&self, pipeline: &Rc<Pipeline>) {
        let mut place = self.place(pipeline.protocol()).borrow_mut();
        if place.as_ref().is_some_and(|open| Rc::ptr_eq(open, pipeline)) {
            *place = None;
        }
    }

    /// Takes the lease that was used last, of those that speak this protocol.
    pub(super) fn kept(&self, protocol: Protocol) -> Option<Lease> {
        let mut kept = self.kept.borrow_mut();
        let at = kept.iter().rposition(|lease| lease.protocol() == protocol)?;
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
        self.pipelines.iter().any(|place| place.borrow().is_some())
    }

    /// Why the node is not to be dialled now.
    pub(super) fn down(&self, now: Micros) -> Option<Rc<str>> {
        let down = self.down.borrow();
        down.as_ref().filter(|down| now < down.until).map(|down| down.why.clone())
    }

    /// Dialling succeeded.
    pub(super) fn came_up(&self) {
        self.failures.set(0);
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
        failures == 0
    }
}
