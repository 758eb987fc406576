//! The last minutes, so that whoever opens the status page sees more than the moment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;

use super::events::{Event, Events};
use crate::cluster::Topology;
use crate::metrics::Overview;

/// Points that are kept: ten minutes.
const KEPT: usize = 300;

/// What was done between two looks, a second.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Point {
    /// Seconds since 1970.
    at: u64,
    requests: f64,
    /// Errors of nodes and of the gateway.
    errors: f64,
    read_bytes: f64,
    written_bytes: f64,
    /// Microseconds within which half of the requests were answered, and so on.
    p50: f64,
    p99: f64,
    p999: f64,
    clients: i64,
}

/// The same for one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct NodeRates {
    pub(super) requests: f64,
    pub(super) errors: f64,
    /// Mean time of a request in microseconds.
    pub(super) mean: f64,
}

/// What was seen at the looks so far.
#[derive(Debug)]
pub(super) struct History {
    points: VecDeque<Point>,
    rates: BTreeMap<Box<str>, NodeRates>,
    events: Events,
    last: Overview,
    topology: Arc<Topology>,
}

impl History {
    /// It begins with what is now.
    pub(super) fn new(now: Overview, topology: Arc<Topology>) -> Self {
        let (points, rates, events) = (VecDeque::new(), BTreeMap::new(), Events::default());
        Self { points, rates, events, last: now, topology }
    }

    /// A look, so many seconds after the last one.
    pub(super) fn look(&mut self, at: u64, now: Overview, topology: Arc<Topology>, seconds: f64) {
        let seconds = seconds.max(0.001);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let last = &self.last;
        let took = now.latencies.since(&last.latencies);
        let failed = |overview: &Overview| overview.errors + overview.refused + overview.uncertain;
        self.points.push_back(Point {
            at,
            requests: rate(now.requests, last.requests),
            errors: rate(failed(&now), failed(last)),
            read_bytes: rate(now.read_bytes, last.read_bytes),
            written_bytes: rate(now.written_bytes, last.written_bytes),
            p50: took.quantile(0.5),
            p99: took.quantile(0.99),
            p999: took.quantile(0.999),
            clients: now.clients,
        });
        if self.points.len() > KEPT {
            self.points.pop_front();
        }
        let rates = now.nodes.iter().map(|(address, node)| {
            let before = last.nodes.get(address).copied().unwrap_or_default();
            let requests = node.requests.saturating_sub(before.requests);
            let micros = node.micros.saturating_sub(before.micros);
            let rates = NodeRates {
                requests: rate(node.requests, before.requests),
                errors: rate(node.errors, before.errors),
                mean: micros as f64 / requests.max(1) as f64,
            };
            (address.clone(), rates)
        });
        self.rates = rates.collect();
        self.events.counts(at, last, &now, seconds);
        if topology.version != self.topology.version {
            self.events.topology(at, &self.topology, &topology);
        }
        self.last = now;
        self.topology = topology;
    }

    pub(super) fn points(&self) -> &VecDeque<Point> {
        &self.points
    }

    pub(super) fn rates(&self, address: &str) -> NodeRates {
        self.rates.get(address).copied().unwrap_or_default()
    }

    pub(super) fn events(&self) -> &VecDeque<Event> {
        self.events.latest()
    }
}
