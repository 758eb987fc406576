//! How many requests may be sent again: a share of those that are new, and a few in any case.
//!
//! Retries are most wanted when nodes are least able to serve them. The budget keeps them from multiplying what
//! clients send.

use std::time::Duration;

use crate::config;

use super::clock::{Micros, micros};

/// What was not used is kept for as long as this.
const KEPT: Duration = Duration::from_secs(5);

/// One worker's budget.
pub(super) struct Budget {
    /// Retries for each new request.
    share: f64,
    /// Retries for each microsecond.
    floor: f64,
    most: f64,
    left: f64,
    counted: u64,
    at: Micros,
}

impl Budget {
    pub(super) fn new(settings: &config::Backend) -> Self {
        let floor = settings.retry_floor as f64 / 1e6;
        let most = floor * micros(KEPT) as f64;
        Self { share: settings.retry_share, floor, most, left: most, counted: 0, at: 0 }
    }

    /// Other settings hold from now on; what was saved up stays, as far as they allow.
    pub(super) fn limit_to(&mut self, settings: &config::Backend) {
        let Self { share, floor, most, .. } = Self::new(settings);
        *self = Self { share, floor, most, left: self.left.min(most), ..*self };
    }

    /// So many new requests have been sent since the start.
    pub(super) fn earn(&mut self, sent: u64, now: Micros) {
        let fresh = sent.saturating_sub(self.counted) as f64 * self.share;
        let floor = now.saturating_sub(self.at) as f64 * self.floor;
        self.left = (self.left + fresh + floor).min(self.most.max(fresh));
        (self.counted, self.at) = (sent, now);
    }

    pub(super) fn allows(&self) -> bool {
        self.left >= 1.0
    }

    /// Requests of a slot that need each other's order are sent together, so the budget may be overdrawn once.
    pub(super) fn spend(&mut self, retries: usize) {
        self.left -= retries as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    fn budget(share: f64, floor: usize) -> Budget {
        let settings =
            config::Backend { retry_share: share, retry_floor: floor, ..Default::default() };
        Budget::new(&settings)
    }

    /// Spends one after the other; how many were allowed.
    fn spend_all(budget: &mut Budget) -> usize {
        let mut count = 0;
        while budget.allows() {
            budget.spend(1);
            count += 1;
        }
        count
    }

    #[test]
    fn retries_are_a_share_of_what_is_new_and_a_few_in_any_case() {
        let mut budget = budget(0.2, 10);
        assert_eq!(spend_all(&mut budget), 50, "at the start there is what would have been kept");
        budget.earn(0, SECOND);
        assert_eq!(spend_all(&mut budget), 10);
        budget.earn(1_000, SECOND);
        assert_eq!(spend_all(&mut budget), 200);
        budget.earn(1_000, SECOND);
        assert_eq!(spend_all(&mut budget), 0);
        budget.earn(1_000, 1_000 * SECOND);
        assert_eq!(spend_all(&mut budget), 50, "no more than a while is kept");
    }

    #[test]
    fn what_was_overdrawn_is_paid_back() {
        let mut budget = budget(0.0, 10);
        budget.spend(70);
        assert!(!budget.allows());
        budget.earn(1_000_000, 2 * SECOND);
        assert!(!budget.allows());
        budget.earn(2_000_000, 3 * SECOND);
        assert_eq!(spend_all(&mut budget), 10);
    }

    #[test]
    fn none_at_all_may_be_wanted() {
        let mut budget = budget(0.0, 0);
        budget.earn(1_000, SECOND);
        assert_eq!(spend_all(&mut budget), 0);
    }
}
