//! The settings that hold now: replaced as a whole by a reload, read by everybody else.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::Settings;

/// The settings of a running gateway. Who copies one out of them looks again at every change.
#[derive(Debug)]
pub struct Live {
    now: ArcSwap<Settings>,
    replaced: watch::Sender<()>,
}

impl Live {
    /// Settings that hold from now on.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self { now: ArcSwap::from_pointee(settings), replaced: watch::Sender::new(()) })
    }

    /// What holds now. Look again rather than keep it.
    pub fn now(&self) -> Guard<Arc<Settings>> {
        self.now.load()
    }

    /// These hold from now on.
    pub fn replace(&self, settings: Settings) {
        self.now.store(Arc::new(settings));
        self.replaced.send_replace(());
    }

    /// Tells of every replacement that comes later.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }
}
