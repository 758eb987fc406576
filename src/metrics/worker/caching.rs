//! What a worker counts of clients that cache.

use super::WorkerMetrics;

impl WorkerMetrics {
    /// The number of connections that single clients hold to learn of changes changed by `delta`.
    #[inline]
    pub fn tracking_connections(&self, delta: i64) {
        self.series.tracking_connections.add(delta);
    }

    /// A client is told that keys have changed.
    #[inline]
    pub fn invalidated(&self) {
        self.series.invalidations.add(1);
    }

    /// A client must drop all it has cached: something may have been missed.
    #[inline]
    pub fn cache_flushed(&self) {
        self.series.cache_flushes.add(1);
    }
}
