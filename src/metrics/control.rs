//! What the control thread counts: topology, settings, readiness, and what this program is.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::Metrics;

/// Handles of the control thread's metrics, resolved once.
#[derive(Debug)]
pub(super) struct Control {
    topology_version: IntGauge,
    slots_covered: IntGauge,
    primaries: IntGauge,
    replicas: IntGauge,
    topology_refreshes: IntCounter,
    topology_failures: IntCounter,
    topology_refreshed_at: Gauge,
    reloads: IntCounter,
    reload_failures: IntCounter,
    sessions_limit: IntGauge,
    ready: IntGauge,
    draining: IntGauge,
    audit_left_out: IntCounter,
}

impl Control {
    pub(super) fn register(registry: &Registry, workers: usize) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| add(registry, IntGauge::new(name, help)?);
        let gauges =
            |name, help, label| add(registry, IntGaugeVec::new(Opts::new(name, help), &[label])?);
        let counters =
            |name, help, label| add(registry, IntCounterVec::new(Opts::new(name, help), &[label])?);

        let nodes = gauges("slotway_nodes", "Nodes that serve slots, by role.", "role")?;
        let refreshes = counters(
            "slotway_topology_refreshes_total",
            "Attempts to learn the cluster's topology, by result.",
            "result",
        )?;
        let reloads = counters(
            "slotway_settings_reloads_total",
            "Attempts to reload the settings, by result.",
            "result",
        )?;
        gauges(
            "slotway_build_info",
            "Always 1; the label names this program's version.",
            "version",
        )?
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
        gauge("slotway_workers", "Worker threads.")?.set(signed(workers));

        Ok(Self {
            topology_version: gauge(
                "slotway_topology_version",
                "Number of the topology in use; it grows with each change.",
            )?,
            slots_covered: gauge("slotway_slots_covered", "Slots that have a primary, of 16384.")?,
            primaries: nodes.with_label_values(&["primary"]),
            replicas: nodes.with_label_values(&["replica"]),
            topology_refreshes: refreshes.with_label_values(&["ok"]),
            topology_failures: refreshes.with_label_values(&["error"]),
            topology_refreshed_at: add(
                registry,
                Gauge::new(
                    "slotway_topology_refreshed_timestamp_seconds",
                    "When the topology was last learned, in seconds since 1970; 0 before that.",
                )?,
            )?,
            reloads: reloads.with_label_values(&["ok"]),
            reload_failures: reloads.with_label_values(&["error"]),
            sessions_limit: gauge(
                "slotway_sessions_limit",
                "Client connections that may be open at once.",
            )?,
            ready: gauge("slotway_ready", "Whether the gateway says that it is ready.")?,
            draining: gauge("slotway_draining", "Whether the gateway is about to leave.")?,
            audit_left_out: add(
                registry,
                IntCounter::new(
                    "slotway_audit_left_out_total",
                    "Records of the audit log that were not written, because there were too many.",
                )?,
            )?,
        })
    }
}

impl Metrics {
    /// The topology was learned, whether or not it changed.
    pub fn topology_refreshed(
        &self,
        version: u64,
        slots_covered: usize,
        primaries: usize,
        replicas: usize,
    ) {
        self.control.topology_version.set(i64::try_from(version).unwrap_or(i64::MAX));
        self.control.slots_covered.set(signed(slots_covered));
        self.control.primaries.set(signed(primaries));
        self.control.replicas.set(signed(replicas));
        self.control.topology_refreshes.inc();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.control.topology_refreshed_at.set(now.as_secs_f64());
    }

    /// No node could tell the topology.
    pub fn topology_refresh_failed(&self) {
        self.control.topology_failures.inc();
    }

    /// The settings were read again; `ok` when they are in use now.
    pub fn settings_reloaded(&self, ok: bool) {
        if ok { &self.control.reloads } else { &self.control.reload_failures }.inc();
    }

    /// So many clients may be connected at once.
    pub fn sessions_limited(&self, sessions: usize) {
        self.control.sessions_limit.set(signed(sessions));
    }

    /// What `/readyz` says.
    pub fn ready(&self, ready: bool) {
        self.control.ready.set(i64::from(ready));
    }

    /// The gateway is about to leave, or not.
    pub fn draining(&self, draining: bool) {
        self.control.draining.set(i64::from(draining));
    }

    /// A record of the audit log is not written. Any thread may say so.
    pub fn audit_left_out(&self) {
        self.control.audit_left_out.inc();
    }
}

fn add<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
