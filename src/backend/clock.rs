//! The worker's clock: read once per turn, so that a request costs no time call of its own.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// Microseconds since the worker started.
pub type Micros = u64;

/// A coarse clock. Every turn that reads a socket sets it; whoever needs the time reads the field.
pub struct Clock {
    origin: Instant,
    now: Cell<Micros>,
}

impl Clock {
    /// Starts at zero.
    #[expect(
        clippy::new_without_default,
        reason = "a clock that starts is an event, not a default value"
    )]
    pub fn new() -> Self {
        Self { origin: Instant::now(), now: Cell::new(0) }
    }

    /// Reads the system's clock; called once per turn.
    pub fn tick(&self) -> Micros {
        let now = self.origin.elapsed().as_micros() as Micros;
        self.now.set(now);
        now
    }

    /// The time of the present turn.
    pub fn now(&self) -> Micros {
        self.now.get()
    }

    /// What the clock showed at `instant`.
    pub fn at(&self, instant: Instant) -> Micros {
        instant.saturating_duration_since(self.origin).as_micros() as Micros
    }

    /// The instant at which the clock will show `at`, for timers.
    pub fn instant(&self, at: Micros) -> Instant {
        self.origin + Duration::from_micros(at)
    }
}

/// A duration from the settings in the clock's unit.
pub fn micros(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}
