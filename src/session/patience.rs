//! How long a client may leave unread what was written for it.

use std::cell::Cell;

use crate::backend::{Micros, micros};
use crate::config::{Limits, PubSub};

/// How many bytes may wait, and how many of them for how long.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    hard: usize,
    soft: usize,
    soft_time: Micros,
}

impl Bounds {
    pub(super) fn on_replies(settings: &Limits) -> Self {
        let Limits { output_hard: hard, output_soft, output_soft_time, .. } = *settings;
        let soft = if output_soft == 0 { hard } else { output_soft };
        Self { hard, soft, soft_time: micros(output_soft_time) }
    }

    pub(super) fn on_messages(settings: &PubSub) -> Self {
        let PubSub { output_hard: hard, output_soft: soft, output_soft_time, .. } = *settings;
        Self { hard, soft, soft_time: micros(output_soft_time) }
    }
}

/// Since when a client has been beyond the soft bound.
#[derive(Default)]
pub(super) struct Patience {
    since: Cell<Option<Micros>>,
}

impl Patience {
    /// Whether so many bytes are too many, or have been for too long.
    pub(super) fn ends(&self, bounds: Bounds, waiting: usize, now: Micros) -> bool {
        let Bounds { hard, soft, soft_time } = bounds;
        if waiting <= soft {
            self.since.set(None);
            return false;
        }
        let since = self.since.get().unwrap_or(now);
        self.since.set(Some(since));
        waiting > hard || now.saturating_sub(since) > soft_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_may_be_slow_for_a_while() {
        let patience = Patience::default();
        let bounds = Bounds { hard: 100, soft: 10, soft_time: 50 };
        let table = [
            (10, 0, false),
            (11, 10, false),
            (100, 60, false),
            (5, 61, false),
            (50, 70, false),
            (50, 120, false),
            (11, 121, true),
            (0, 122, false),
            (101, 123, true),
        ];
        for (waiting, now, expected) in table {
            assert_eq!(patience.ends(bounds, waiting, now), expected, "{waiting} bytes at {now}");
        }
    }

    #[test]
    fn bounds_may_change_meanwhile() {
        let patience = Patience::default();
        assert!(!patience.ends(Bounds { hard: 100, soft: 10, soft_time: 50 }, 60, 0));
        assert!(patience.ends(Bounds { hard: 50, soft: 10, soft_time: 50 }, 60, 1));
    }
}
