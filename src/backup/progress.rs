//! How far a long copy has come: one line on a terminal that is written over; nothing for scripts.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

/// Time between two lines.
const PACE: Duration = Duration::from_millis(200);

/// What is copied now.
#[derive(Debug)]
pub(super) struct Progress {
    what: String,
    copied: Cell<u64>,
    shown: Cell<Option<Instant>>,
    is_terminal: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self::named(String::new(), std::io::stderr().is_terminal())
    }

    fn named(what: String, is_terminal: bool) -> Self {
        Self { what, copied: Cell::new(0), shown: Cell::new(None), is_terminal }
    }

    /// The same for one thing of several.
    pub(super) fn of(&self, what: &str) -> Self {
        Self::named(format!("{what}  "), self.is_terminal)
    }

    /// A line that stays.
    pub(super) fn say(&self, text: &str) {
        if self.is_terminal {
            self.write(&format!("\r\x1b[K{}{text}\n", self.what));
        }
    }

    /// So many more bytes.
    pub(super) fn add(&self, bytes: usize) {
        self.copied.set(self.copied.get() + bytes as u64);
        let now = Instant::now();
        let is_due = self.shown.get().is_none_or(|shown| now.duration_since(shown) >= PACE);
        if self.is_terminal && is_due {
            self.shown.set(Some(now));
            let mebibytes = self.copied.get() as f64 / f64::from(1 << 20);
            self.write(&format!("\r\x1b[K{}{mebibytes:.1} MiB", self.what));
        }
    }

    /// A terminal that is gone is no reason to stop.
    fn write(&self, text: &str) {
        let mut terminal = std::io::stderr();
        let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
    }
}

impl Drop for Progress {
    /// What is shown for the moment goes.
    fn drop(&mut self) {
        if self.is_terminal && self.shown.get().is_some() {
            self.write("\r\x1b[K");
        }
    }
}
