//! Repeats: lines from one place in the code are written up to a number each second; the rest is counted, and told of.
//!
//! A flood of one kind, which clients may be able to bring about, neither fills a disk nor hides the other kinds. The
//! audit log has bounds of its own.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
#[expect(clippy::disallowed_types, reason = "taken for a log line, and once a second")]
use std::sync::Mutex;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Lines from one place in one second.
const EACH_SECOND: u32 = 100;
/// How often is told what was left out.
const TELLING: Duration = Duration::from_secs(1);
/// Lines with this target have bounds of their own.
const AUDIT: &str = "audit";

/// What has been written from each place of late: there are as many as the program has lines to log.
#[derive(Clone, Default)]
#[expect(clippy::disallowed_types, reason = "taken for a log line, and once a second")]
pub(super) struct Repeats(Arc<Mutex<HashMap<Identifier, Count>>>);

#[derive(Default)]
struct Count {
    second: u64,
    written: u32,
    left_out: u64,
    /// What the lines say.
    message: String,
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let about = event.metadata();
        // Whoever wants to see everything shall.
        let is_bounded = *about.level() <= Level::INFO && about.target() != AUDIT;
        !is_bounded || self.takes(event, second())
    }
}

impl Repeats {
    fn takes(&self, event: &Event<'_>, second: u64) -> bool {
        let mut counts = self.counts();
        let count = counts.entry(event.metadata().callsite()).or_default();
        if count.second != second {
            (count.second, count.written) = (second, 0);
        }
        if count.written < EACH_SECOND {
            count.written += 1;
            return true;
        }
        if count.left_out == 0 {
            count.message.clear();
            event.record(&mut Message(&mut count.message));
        }
        count.left_out += 1;
        false
    }

    /// Tells what was left out, once a second, for as long as it is awaited.
    pub(super) async fn keep_telling(self) {
        loop {
            tokio::time::sleep(TELLING).await;
            self.tell();
        }
    }

    /// Tells what was left out.
    pub(super) fn tell(&self) {
        let mut untold = Vec::new();
        for count in self.counts().values_mut().filter(|count| count.left_out > 0) {
            untold.push((std::mem::take(&mut count.left_out), count.message.clone()));
        }
        for (lines, like) in untold {
            tracing::warn!(lines, like, "too many lines: some are left out");
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Identifier, Count>> {
        // Nothing under the lock can leave the counts half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text of an event without its fields.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

fn second() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
