//! Every metric: its name, its help and the method called where its event happens.
//!
//! Each worker writes its own [`WorkerMetrics`] with plain loads and stores; a scrape sums the
//! workers. So an event costs a few nanoseconds and no thread ever waits for another.
//! A metric of the workers is one row in `worker.rs` or `node.rs`, one of the control thread a
//! field in `control.rs`, one of the process a row in `process.rs`.

mod control;
mod exposition;
mod label;
mod node;
mod overview;
mod process;
mod series;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;

use prometheus::{Registry, TextEncoder};

use control::Control;
use exposition::WorkerCollector;
use process::ProcessCollector;

pub use label::{Family, Limit, Outcome, Redirect, Rejection};
pub use node::{Circuit, NodeMetrics};
pub use overview::{Latencies, NodeOverview, Overview};
pub use process::{Usage, started};
pub use worker::WorkerMetrics;

/// The media type of what [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of one process: the workers', the control thread's and the process's own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    workers: Arc<[Arc<WorkerMetrics>]>,
    door: Arc<WorkerMetrics>,
    control: Control,
}

impl Metrics {
    /// Registers every metric for `workers` worker threads.
    ///
    /// Fails only when two rows contradict each other, which a test would have shown.
    pub fn new(workers: usize) -> Result<Arc<Self>, prometheus::Error> {
        let registry = Registry::new();
        let workers: Arc<[_]> = (0..workers).map(|_| Arc::new(WorkerMetrics::default())).collect();
        let door = Arc::new(WorkerMetrics::default());
        let writers = workers.iter().chain([&door]).cloned().collect();
        registry.register(Box::new(WorkerCollector::new(writers)?))?;
        registry.register(Box::new(ProcessCollector::new()?))?;
        let control = Control::register(&registry, workers.len())?;
        Ok(Arc::new(Self { registry, workers, door, control }))
    }

    /// The metrics that worker `index` writes; no other thread may write them.
    pub fn worker(&self, index: usize) -> Option<Arc<WorkerMetrics>> {
        self.workers.get(index).cloned()
    }

    /// What the control thread counts of clients that it turns away before any worker sees them.
    pub fn door(&self) -> &WorkerMetrics {
        &self.door
    }

    /// Everything in the Prometheus text format, see [`CONTENT_TYPE`].
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// The sums that INFO shows.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for worker in self.workers.iter().chain([&self.door]) {
            worker.add_to(&mut totals);
        }
        totals
    }
}

/// Sums over all workers since the process started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Client connections accepted, including those closed again because of a limit.
    pub connections_received: u64,
    /// Client connections refused because the maximum number of clients was reached.
    pub rejected_connections: u64,
    /// Client connections open now.
    pub connected_clients: u64,
    /// Clients with a request that waits for data.
    pub blocked_clients: u64,
    /// Requests answered, whatever the answer.
    pub commands_processed: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
    /// Answered requests by command family, in the order of [`Family::ALL`].
    pub families: [FamilyTotals; Family::COUNT],
}

impl Totals {
    /// What has been counted since `earlier`. Clients that are connected are not counted but there.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        self.connections_received -= earlier.connections_received;
        self.rejected_connections -= earlier.rejected_connections;
        self.commands_processed -= earlier.commands_processed;
        self.bytes_in -= earlier.bytes_in;
        self.bytes_out -= earlier.bytes_out;
        for (family, earlier) in self.families.iter_mut().zip(&earlier.families) {
            family.calls -= earlier.calls;
            family.micros -= earlier.micros;
            family.failed -= earlier.failed;
            family.rejected -= earlier.rejected;
        }
        self
    }

    /// The families with their names.
    pub fn by_family(&self) -> impl Iterator<Item = (Family, &FamilyTotals)> {
        Family::ALL.into_iter().zip(&self.families)
    }
}

/// What one command family has done since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FamilyTotals {
    /// Requests answered, whatever the answer.
    pub calls: u64,
    /// Time from a request's arrival to its answer, in microseconds, summed.
    pub micros: u64,
    /// Requests that a server answered with an error, or whose outcome is unknown.
    pub failed: u64,
    /// Requests that the gateway itself answered with an error.
    pub rejected: u64,
}
