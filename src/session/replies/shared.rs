//! What the reply sides of all sessions of a worker share.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::backend::Clock;
use crate::config::Settings;
use crate::metrics::WorkerMetrics;

use super::super::flusher::Flusher;
use super::super::memory::Memory;
use super::super::patience::Bounds;
use super::super::spares::Spares;
use super::super::watch::Watch;

/// One for each worker: a session points here, instead of to each of these.
pub(in crate::session) struct Shared {
    pub(in crate::session) flusher: Rc<Flusher>,
    pub(in crate::session) metrics: Arc<WorkerMetrics>,
    pub(in crate::session) clock: Rc<Clock>,
    pub(in crate::session) memory: Rc<Memory>,
    /// Who is told of requests that stand out.
    pub(in crate::session) watch: Rc<Watch>,
    pub(in crate::session) spares: Spares,
    /// How much clients may leave unread of replies, and of messages.
    pub(super) on_replies: Cell<Bounds>,
    pub(super) on_messages: Cell<Bounds>,
}

impl Shared {
    pub(in crate::session) fn new(
        metrics: Arc<WorkerMetrics>,
        clock: Rc<Clock>,
        memory: Rc<Memory>,
        watch: Rc<Watch>,
        settings: &Settings,
    ) -> Rc<Self> {
        Rc::new(Self {
            flusher: Rc::default(),
            metrics,
            clock,
            memory,
            watch,
            spares: Spares::default(),
            on_replies: Cell::new(Bounds::on_replies(&settings.limits)),
            on_messages: Cell::new(Bounds::on_messages(&settings.pubsub)),
        })
    }

    /// Other bounds hold from now on, for clients that are connected, too.
    pub(in crate::session) fn settings_changed(&self, settings: &Settings) {
        self.on_replies.set(Bounds::on_replies(&settings.limits));
        self.on_messages.set(Bounds::on_messages(&settings.pubsub));
    }
}
