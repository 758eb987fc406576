//! What a worker copies out of the settings, for the path of a request, and how a reload reaches it.

use std::cell::Cell;

use crate::command::Cross;
use crate::config::{CrossSlot, ReadFrom, Settings};
use crate::resp;
use crate::route::Reach;

use super::worker::{Gateway, Worker};

/// Settings that are looked at with every request, in the form in which they are needed.
pub(super) struct Tuning {
    limits: Cell<resp::Limits>,
    reach: Cell<Reach>,
    /// Most requests, and most bytes, of one client that may be under way.
    inflight: Cell<(usize, usize)>,
    /// Whether replicas are read from.
    spreads_reads: Cell<bool>,
}

impl Tuning {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            limits: Cell::new(limits(settings)),
            reach: Cell::new(reach(settings)),
            inflight: Cell::new(inflight(settings)),
            spreads_reads: Cell::new(spreads_reads(settings)),
        }
    }
}

impl Worker {
    /// Bounds on a request.
    #[inline]
    pub(super) fn limits(&self) -> resp::Limits {
        self.tuning.limits.get()
    }

    /// How far a request may go.
    #[inline]
    pub(super) fn reach(&self) -> Reach {
        self.tuning.reach.get()
    }

    /// Most requests, and most bytes, of one client that may be under way.
    #[inline]
    pub(super) fn inflight(&self) -> (usize, usize) {
        self.tuning.inflight.get()
    }

    /// Whether replicas are read from.
    #[inline]
    pub(super) fn spreads_reads(&self) -> bool {
        self.tuning.spreads_reads.get()
    }

    /// Looks again at everything that is copied out of the settings, for clients that are connected, too.
    pub fn settings_changed(&self) {
        let settings = self.gateway.settings();
        self.tuning.limits.set(limits(&settings));
        self.tuning.reach.set(reach(&settings));
        self.tuning.inflight.set(inflight(&settings));
        self.tuning.spreads_reads.set(spreads_reads(&settings));
        self.gathered.limit_to(settings.routing.gathered_bytes_all);
        self.scripts.limit_to(share_of_scripts(&self.gateway, &settings));
        self.memory.limit_to(settings.limits.client_memory);
        self.rooms.on_loss.set(settings.pubsub.on_loss);
        self.shared.settings_changed(&settings);
        self.pool.settings_changed();
    }
}

fn limits(settings: &Settings) -> resp::Limits {
    let limits = &settings.limits;
    resp::Limits {
        arguments: limits.request_arguments,
        bulk_bytes: limits.bulk_bytes,
        line_bytes: limits.inline_bytes,
        request_bytes: limits.request_bytes,
    }
}

/// The setting in the words of the commands' rows.
fn reach(settings: &Settings) -> Reach {
    let cross = match settings.routing.cross_slot {
        CrossSlot::Off => Cross::Never,
        CrossSlot::Split => Cross::Split,
        CrossSlot::Gather => Cross::Gather,
        CrossSlot::Store => Cross::Store,
        CrossSlot::Move => Cross::Move,
    };
    Reach { cross, sort_patterns: settings.routing.sort_patterns }
}

fn spreads_reads(settings: &Settings) -> bool {
    settings.cluster.read_from != ReadFrom::Primary
}

fn inflight(settings: &Settings) -> (usize, usize) {
    (settings.limits.inflight_requests, settings.limits.inflight_bytes)
}

/// Bytes of scripts that each worker remembers.
pub(super) fn share_of_scripts(gateway: &Gateway, settings: &Settings) -> usize {
    settings.routing.script_bytes / gateway.colleagues.count().max(1)
}
