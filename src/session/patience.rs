//! How much a client may leave unread, and for how long: as a server's `client-output-buffer-limit`.

use std::cell::Cell;

use crate::backend::{Micros, micros};
use crate::config::{Limits, PubSub};

/// The bounds, and since when the client has been beyond the soft one.
pub(super) struct Patience {
    hard: usize,
    soft: usize,
    soft_time: Micros,
    since: Cell<Option<Micros>>,
}

impl Patience {
    /// With replies.
    pub(super) fn with_replies(settings: &Limits) -> Self {
        let Limits { output_hard: hard, output_soft, output_soft_time, .. } = *settings;
        let soft = if output_soft == 0 { hard } else { output_soft };
        Self { hard, soft, soft_time: micros(output_soft_time), since: Cell::new(None) }
    }

    /// With messages.
    pub(super) fn with_messages(settings: &PubSub) -> Self {
        let PubSub { output_hard: hard, output_soft: soft, output_soft_time, .. } = *settings;
        Self { hard, soft, soft_time: micros(output_soft_time), since: Cell::new(None) }
    }

    /// Whether so many bytes are too many, or have been for too long.
    pub(super) fn ends(&self, waiting: usize, now: Micros) -> bool {
        if waiting <= self.soft {
            self.since.set(None);
            return false;
        }
        let since = self.since.get().unwrap_or(now);
        self.since.set(Some(since));
        waiting > self.hard || now.saturating_sub(since) > self.soft_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_may_be_slow_for_a_while() {
        let patience = Patience { hard: 100, soft: 10, soft_time: 50, since: Cell::new(None) };
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
            assert_eq!(patience.ends(waiting, now), expected, "{waiting} bytes at {now}");
        }
    }
}
