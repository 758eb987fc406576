//! The run's time.

use std::time::{Duration, Instant};

use crate::history::Moment;

/// Counts from when it was made.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Moment {
        self.0.elapsed().as_micros() as Moment
    }
}

pub(crate) fn micros(time: Duration) -> Moment {
    time.as_micros() as Moment
}
