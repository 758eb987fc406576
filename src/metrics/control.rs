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
    certificates: IntGaugeVec,
    observed: Observed,
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
            certificates: certificates(registry)?,
            observed: Observed::register(registry)?,
        })
    }
}

impl Control {
    /// Reloads that were well, and that were not.
    pub(super) fn reloads(&self) -> (u64, u64) {
        (self.reloads.get(), self.reload_failures.get())
    }
}

/// What stands out among the requests.
#[derive(Debug)]
struct Observed {
    slow_logged: IntCounter,
    hottest_key: Gauge,
    largest_key: IntGauge,
    #[cfg(feature = "traces")]
    spans: IntCounterVec,
}

impl Observed {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let slow_logged = IntCounter::new(
            "slotway_slow_log_entries_total",
            "Requests entered into the slow log; each worker enters a bounded number a second.",
        )?;
        let hottest_key = Gauge::new(
            "slotway_hottest_key_requests_per_second",
            "Requests a second for the key that is asked for most, estimated from samples.",
        )?;
        let largest_key = IntGauge::new(
            "slotway_largest_key_bytes",
            "Bytes of the largest request or reply of a key within the last hour or so.",
        )?;
        #[cfg(feature = "traces")]
        let spans = Opts::new(
            "slotway_spans_total",
            "Spans of traces, by result: sent to the collector, or left out.",
        );
        Ok(Self {
            #[cfg(feature = "traces")]
            spans: add(registry, IntCounterVec::new(spans, &["result"])?)?,
            slow_logged: add(registry, slow_logged)?,
            hottest_key: add(registry, hottest_key)?,
            largest_key: add(registry, largest_key)?,
        })
    }
}

fn certificates(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let about = Opts::new(
        "slotway_certificate_expiry_timestamp_seconds",
        "When the certificates of a file expire, in seconds since 1970, by the setting that names it.",
    );
    add(registry, IntGaugeVec::new(about, &["setting"])?)
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

    /// Certificates were loaded: the settings that name their files, and when each expires, in seconds since 1970.
    pub fn certificates_loaded(&self, expiries: impl Iterator<Item = (&'static str, i64)>) {
        self.control.certificates.reset();
        for (setting, at) in expiries {
            self.control.certificates.with_label_values(&[setting]).set(at);
        }
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

    /// The collector has taken so many spans.
    #[cfg(feature = "traces")]
    pub fn spans_sent(&self, count: usize) {
        self.control.observed.spans.with_label_values(&["sent"]).inc_by(count as u64);
    }

    /// So many spans reach no collector. Any thread may say so.
    #[cfg(feature = "traces")]
    pub fn spans_left_out(&self, count: usize) {
        self.control.observed.spans.with_label_values(&["left_out"]).inc_by(count as u64);
    }

    /// A request is entered into the slow log. Any thread may say so.
    pub fn slow_logged(&self) {
        self.control.observed.slow_logged.inc();
    }

    /// The key that is asked for most, and the largest request or reply of a key.
    pub fn keys_stand_out(&self, hottest_per_second: f64, largest_bytes: usize) {
        self.control.observed.hottest_key.set(hottest_per_second);
        self.control.observed.largest_key.set(signed(largest_bytes));
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
