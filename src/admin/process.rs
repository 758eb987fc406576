//! Which process serves here, and how hand-overs to another one went, for `slotway upgrade`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::metrics;

/// Hand-overs that came to nothing. One that succeeds has no need to be remembered: another process answers.
#[derive(Debug, Default)]
pub struct HandOvers {
    failures: AtomicU64,
    why: ArcSwap<String>,
}

impl HandOvers {
    /// One came to nothing.
    pub fn failed(&self, why: String) {
        self.why.store(Arc::new(why));
        self.failures.fetch_add(1, Relaxed);
    }
}

/// What `/process.json` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number, where it runs.
    pub number: u32,
    /// When it started, see [`metrics::started`].
    pub started: Option<u64>,
    /// How many hand-overs came to nothing.
    pub failures: u64,
    /// Why the last of them did.
    pub why: String,
}

impl Process {
    pub(super) fn this(hand_overs: &HandOvers) -> Self {
        let number = std::process::id();
        Self {
            number,
            started: metrics::started(number),
            failures: hand_overs.failures.load(Relaxed),
            why: hand_overs.why.load().to_string(),
        }
    }
}
