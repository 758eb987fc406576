//! Whether a load balancer should send clients here.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use serde::Serialize;

/// Slots of a cluster, by its specification.
const SLOTS: usize = 16_384;

/// What decides about readiness; the control thread writes it, anyone may read it.
#[derive(Debug)]
pub struct Readiness {
    slots_covered: AtomicUsize,
    draining: AtomicBool,
    /// Its bits.
    required_share: AtomicU64,
}

impl Readiness {
    /// Not ready until `required_share` of the slots (0 to 1) have a primary.
    pub fn new(required_share: f64) -> Self {
        Self {
            slots_covered: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            required_share: AtomicU64::new(required_share.to_bits()),
        }
    }

    /// Another share is required from now on.
    pub fn require(&self, share: f64) {
        self.required_share.store(share.to_bits(), Relaxed);
    }

    /// So many slots have a primary now.
    pub fn slots_covered(&self, slots: usize) {
        self.slots_covered.store(slots, Relaxed);
    }

    /// The gateway is about to leave: never ready again.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// The decision, and what it rests on.
    pub fn verdict(&self) -> Verdict {
        let slots_covered = self.slots_covered.load(Relaxed);
        let draining = self.draining.load(Relaxed);
        let required_share = f64::from_bits(self.required_share.load(Relaxed));
        // A topology that nobody has told yet covers nothing, whatever share is asked.
        let covered = slots_covered > 0 && slots_covered as f64 >= required_share * SLOTS as f64;
        let reason = if draining {
            Some("the gateway is draining".to_owned())
        } else if !covered {
            Some(format!("{slots_covered} of {SLOTS} slots are covered"))
        } else {
            None
        };
        Verdict {
            ready: reason.is_none(),
            slots_covered,
            slots: SLOTS,
            required_share,
            draining,
            reason,
        }
    }
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether clients should be sent here.
    pub ready: bool,
    /// Slots that have a primary.
    pub slots_covered: usize,
    /// Slots that there are.
    pub slots: usize,
    /// The share of the slots that must be covered, 0 to 1.
    pub required_share: f64,
    /// Whether the gateway is about to leave.
    pub draining: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_follows_coverage_and_draining() {
        let not_covered = |n: usize| Some(format!("{n} of 16384 slots are covered"));
        let draining = Some("the gateway is draining".to_owned());
        let cases = [
            (1.0, 0, false, not_covered(0)),
            (1.0, 16_383, false, not_covered(16_383)),
            (1.0, 16_384, false, None),
            (1.0, 16_384, true, draining.clone()),
            (1.0, 5, true, draining),
            (0.5, 8_191, false, not_covered(8_191)),
            (0.5, 8_192, false, None),
            (0.0, 0, false, not_covered(0)),
            (0.0, 1, false, None),
        ];
        for (share, covered, drain, reason) in cases {
            let readiness = Readiness::new(share);
            readiness.slots_covered(covered);
            if drain {
                readiness.drain();
            }
            let verdict = readiness.verdict();
            assert_eq!(verdict.reason, reason, "{share} {covered} {drain}");
            assert_eq!(verdict.ready, verdict.reason.is_none());
            assert_eq!((verdict.slots_covered, verdict.draining), (covered, drain));
        }
    }
}
