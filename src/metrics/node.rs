//! What one worker counts for one node.

use std::collections::BTreeMap;
#[expect(
    clippy::disallowed_types,
    reason = "taken when a node is first seen or left, and to scrape"
)]
use std::sync::Mutex;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::series::{Counter, Elapsed, Flag, Gauge, series};

/// Nodes that one worker shows at most: a node that invents addresses in its redirects must not
/// make the exposition grow without end. Clusters are not advised beyond 1,000 nodes.
const MOST_NODES: usize = 2_048;

series! {
    /// Each field beside the name and the help of its metric.
    struct NodeSeries {
        up: Flag = "slotway_node_up",
            "Whether at least one worker has a working connection to the node.";
        pipelines: Gauge = "slotway_node_pipelines",
            "Shared connections to the node that are open now.";
        pending: Gauge = "slotway_node_pending_requests",
            "Requests sent to the node and not answered yet.";
        requests: Counter = "slotway_node_requests_total",
            "Requests that the node answered.";
        errors: Counter = "slotway_node_errors_total",
            "Requests that the node answered with an error.";
        seconds: Elapsed = "slotway_node_request_seconds_total",
            "Time between sending requests to the node and its replies, summed.";
        connects: Counter = "slotway_node_connects_total",
            "Shared connections to the node that were opened.";
        connect_failures: Counter = "slotway_node_connect_failures_total",
            "Attempts to connect to the node that failed.";
        lost: Counter = "slotway_node_lost_total",
            "Shared connections to the node that broke.";
        circuit_open: Flag = "slotway_node_circuit_open",
            "Whether a worker sends the node nothing new: it could not be reached, or does not answer.";
        circuit_half_open: Flag = "slotway_node_circuit_half_open",
            "Whether a worker is finding out if such a node is back.";
    }
}

/// What a worker sends to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Everything.
    Closed,
    /// Nothing new.
    Open,
    /// Nothing but the question whether it is back.
    HalfOpen,
}

/// What one worker counts for one node. Only its worker may call the methods; anyone may read.
#[derive(Debug, Default)]
pub struct NodeMetrics {
    series: NodeSeries,
}

impl NodeMetrics {
    /// The node works, or does not, as far as this worker can tell.
    #[inline]
    pub fn set_up(&self, up: bool) {
        self.series.up.set(up);
    }

    /// What the worker sends to the node from now on.
    #[inline]
    pub fn circuit(&self, circuit: Circuit) {
        self.series.circuit_open.set(circuit == Circuit::Open);
        self.series.circuit_half_open.set(circuit == Circuit::HalfOpen);
    }

    /// A shared connection to the node is ready for requests.
    #[inline]
    pub fn pipeline_opened(&self) {
        self.series.connects.add(1);
        self.series.pipelines.add(1);
    }

    /// A shared connection ended: `lost` when nobody here wanted it to.
    #[inline]
    pub fn pipeline_closed(&self, lost: bool) {
        self.series.pipelines.add(-1);
        self.series.lost.add(u64::from(lost));
    }

    /// A connection to the node could not be made.
    #[inline]
    pub fn connect_failed(&self) {
        self.series.connect_failures.add(1);
    }

    /// The number of requests in flight to the node changed by `delta`.
    #[inline]
    pub fn pending(&self, delta: i64) {
        self.series.pending.add(delta);
    }

    /// The node answered a request, `micros` microseconds after it was sent.
    #[inline]
    pub fn settled(&self, error: bool, micros: u32) {
        self.series.requests.add(1);
        self.series.errors.add(u64::from(error));
        self.series.seconds.add(micros);
    }

    pub(super) fn series(&self) -> &NodeSeries {
        &self.series
    }
}

/// The nodes that one worker knows, by address.
#[derive(Debug, Default)]
#[expect(
    clippy::disallowed_types,
    reason = "taken when a node is first seen or left, and to scrape"
)]
pub(super) struct NodeTable(Mutex<BTreeMap<Box<str>, Arc<NodeMetrics>>>);

impl NodeTable {
    pub(super) fn entry(&self, address: &str) -> Arc<NodeMetrics> {
        let mut nodes = self.nodes();
        if let Some(node) = nodes.get(address) {
            return Arc::clone(node);
        }
        let node = Arc::new(NodeMetrics::default());
        if nodes.len() < MOST_NODES {
            nodes.insert(address.into(), Arc::clone(&node));
        }
        node
    }

    pub(super) fn forget(&self, address: &str) {
        self.nodes().remove(address);
    }

    pub(super) fn snapshot(&self) -> Vec<(Box<str>, Arc<NodeMetrics>)> {
        self.nodes().iter().map(|(address, node)| (address.clone(), Arc::clone(node))).collect()
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Arc<NodeMetrics>>> {
        // Nothing under the lock can leave the map half changed, so a poisoned one is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded() {
        let table = NodeTable::default();
        for port in 0..MOST_NODES + 10 {
            table.entry(&format!("node:{port}")).set_up(true);
        }
        assert_eq!(table.snapshot().len(), MOST_NODES);
        table.forget("node:0");
        assert_eq!(table.snapshot().len(), MOST_NODES - 1);
        let kept = table.entry("node:new");
        assert!(Arc::ptr_eq(&kept, &table.entry("node:new")));
    }
}
