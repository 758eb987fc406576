//! The sums that the status page shows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Metrics;
use super::label::{Family, Outcome, Redirect};
use super::node::NodeMetrics;
use super::series::Seconds;
use super::worker::WorkerSeries;

/// How many requests took how long; see [`Latencies::quantile`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies([u64; Seconds::SLOTS]);

impl Latencies {
    /// What has been counted since `earlier`.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        for (count, before) in self.0.iter_mut().zip(&earlier.0) {
            *count = count.saturating_sub(*before);
        }
        self
    }

    /// The time in microseconds within which this share of the requests, 0 to 1, was answered; within its bucket
    /// they are taken to be spread evenly. 0 when there were none.
    pub fn quantile(&self, share: f64) -> f64 {
        let all: u64 = self.0.iter().sum();
        let wanted = share * all as f64;
        let mut before = 0.0;
        for (count, (from, to)) in self.0.iter().zip(Seconds::bounds()) {
            let count = *count as f64;
            if count > 0.0 && before + count >= wanted {
                return from + (to - from) * ((wanted - before) / count);
            }
            before += count;
        }
        0.0
    }
}

/// Sums over all workers: of what is, and of what was since the process started.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Overview {
    /// Requests answered, and how those ended that did not end well.
    pub requests: u64,
    /// A server's errors.
    pub errors: u64,
    /// The gateway's own.
    pub refused: u64,
    /// Requests of which nobody knows whether they ran.
    pub uncertain: u64,
    /// Bytes read from clients and written to them.
    pub read_bytes: u64,
    /// Bytes written to clients.
    pub written_bytes: u64,
    /// Clients connected now.
    pub clients: i64,
    /// Of those, the ones that wait for data.
    pub blocked: i64,
    /// Channels and patterns that clients are subscribed to now.
    pub subscriptions: i64,
    /// Connections to nodes that single clients have for themselves now, or that are kept for them.
    pub leases: i64,
    /// Requests sent to nodes and not answered yet.
    pub pending: i64,
    /// Requests that wait for a node or a slot now.
    pub held: i64,
    /// Answers by which a node declined a request.
    pub redirects: u64,
    /// Settings loaded again, and those that had mistakes.
    pub reloads: u64,
    /// Settings that could not be loaded again.
    pub reload_failures: u64,
    /// How long requests took.
    #[serde(skip)]
    pub latencies: Latencies,
    /// Each node by its address.
    #[serde(skip)]
    pub nodes: BTreeMap<Box<str>, NodeOverview>,
}

/// The same for one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeOverview {
    /// A worker has a working connection to it, or has not needed one.
    pub up: bool,
    /// Shared connections open now.
    pub pipelines: i64,
    /// Requests sent and not answered yet.
    pub pending: i64,
    /// Requests answered.
    pub requests: u64,
    /// Of those, the ones with an error.
    pub errors: u64,
    /// Microseconds between sending requests and their replies, summed.
    pub micros: u64,
}

impl Metrics {
    /// The sums now.
    pub fn overview(&self) -> Overview {
        let (reloads, reload_failures) = self.control.reloads();
        let mut overview = Overview { reloads, reload_failures, ..Overview::default() };
        for worker in self.workers.iter().chain([&self.door]) {
            overview.add(worker.series());
            for (address, node) in worker.nodes().snapshot() {
                overview.nodes.entry(address).or_default().add(&node);
            }
        }
        overview
    }
}

impl Overview {
    fn add(&mut self, series: &WorkerSeries) {
        for family in Family::ALL {
            let requests = series.requests.at(family);
            let count = |outcome| requests.at(outcome).get();
            self.requests += Outcome::ALL.into_iter().map(count).sum::<u64>();
            self.errors += count(Outcome::Error);
            self.refused += count(Outcome::Refused);
            self.uncertain += count(Outcome::Uncertain);
            let counts = series.request_seconds.at(family).counts();
            self.latencies.0.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        self.redirects +=
            Redirect::ALL.into_iter().map(|kind| series.redirects.at(kind).get()).sum::<u64>();
        self.read_bytes += series.client_read.get();
        self.written_bytes += series.client_written.get();
        self.clients += series.sessions.get();
        self.blocked += series.blocked.get();
        self.subscriptions += series.subscriptions.get();
        self.leases += series.leases.get();
        self.pending += series.pending.get();
        self.held += series.held.get();
    }
}

impl NodeOverview {
    fn add(&mut self, node: &NodeMetrics) {
        let series = node.series();
        self.up |= series.up.holds();
        self.pipelines += series.pipelines.get();
        self.pending += series.pending.get();
        self.requests += series.requests.get();
        self.errors += series.errors.get();
        self.micros += series.seconds.micros();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let metrics = Metrics::new(1).unwrap();
        let worker = metrics.worker(0).unwrap();
        let before = metrics.overview();
        (0..99).for_each(|_| worker.request_settled(Family::String, Outcome::Ok, 100));
        worker.request_settled(Family::Hash, Outcome::Error, 5_000);
        let now = metrics.overview();
        assert_eq!((now.requests - before.requests, now.errors), (100, 1));
        let latencies = now.latencies.since(&before.latencies);
        let [half, most, all] = [0.5, 0.99, 1.0].map(|share| latencies.quantile(share));
        assert!(64.0 < half && half < most && most <= 128.0, "{half} {most}");
        assert!(4096.0 < all && all <= 8192.0, "{all}");
        assert_eq!(latencies.since(&latencies).quantile(0.5), 0.0);
    }

    #[test]
    fn a_node_is_the_sum_of_what_workers_count() {
        let metrics = Metrics::new(2).unwrap();
        for index in 0..2 {
            let node = metrics.worker(index).unwrap().node("a:1");
            node.set_up(index == 1);
            node.settled(index == 0, 10);
        }
        let expected = NodeOverview {
            up: true,
            requests: 2,
            errors: 1,
            micros: 20,
            ..NodeOverview::default()
        };
        assert_eq!(metrics.overview().nodes["a:1"], expected);
    }
}
