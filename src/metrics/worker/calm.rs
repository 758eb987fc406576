//! What a worker counts while nodes are lost or late: requests that wait, are sent again, or are answered elsewhere.

use super::WorkerMetrics;

impl WorkerMetrics {
    /// A request is sent to a node again.
    #[inline]
    pub fn retried(&self) {
        self.series.retries.add(1);
    }

    /// Requests of a slot are not sent again yet.
    #[inline]
    pub fn retries_postponed(&self) {
        self.series.retries_postponed.add(1);
    }

    /// A request starts to wait for a node or a slot to come back.
    #[inline]
    pub fn held(&self) {
        self.series.holds.add(1);
        self.series.held.add(1);
    }

    /// A held request waits no longer, whether it is sent or given up.
    #[inline]
    pub fn released(&self, micros: u32) {
        self.series.held.add(-1);
        self.series.hold_seconds.record(micros);
    }

    /// A request could not be held because too many were.
    #[inline]
    pub fn hold_rejected(&self) {
        self.series.hold_rejections.add(1);
    }

    /// A replica was asked, and its answer counts or not.
    #[inline]
    pub fn replica_answered(&self, counts: bool) {
        let series = &self.series;
        if counts { &series.replica_reads } else { &series.replica_fallbacks }.add(1);
    }

    /// A request's node was lost after sending, and the request may not be repeated.
    #[inline]
    pub fn uncertain(&self) {
        self.series.uncertain.add(1);
    }

    /// A node did not let in one of the users as whom requests are sent.
    #[inline]
    pub fn login_refused(&self) {
        self.series.logins_refused.add(1);
    }

    /// A health probe was sent to a node.
    #[inline]
    pub fn probe_sent(&self) {
        self.series.probes.add(1);
    }

    /// A node did not answer a health probe.
    #[inline]
    pub fn probe_failed(&self) {
        self.series.probe_failures.add(1);
    }
}
