//! Requests that wait for their slot to be served again, in order of arrival per slot.
//!
//! Bounded in number, bytes and time. A queue is sent again as a whole, so the requests of a slot never
//! overtake each other here.

use std::collections::{HashMap, VecDeque};

use crate::cluster::Slot;

use super::clock::Micros;
use super::{Cause, Errand};

const FIRST_PAUSE: Micros = 5_000;
const LONGEST_PAUSE: Micros = 320_000;

/// A held request and why it waits.
pub(super) struct Held {
    pub(super) errand: Errand,
    pub(super) cause: Cause,
    pub(super) since: Micros,
}

struct Queue {
    due: Micros,
    held: VecDeque<Held>,
}

/// All held requests of a worker.
pub(super) struct Hold {
    queues: HashMap<Option<Slot>, Queue, foldhash::fast::RandomState>,
    requests: usize,
    bytes: usize,
    max_requests: usize,
    max_bytes: usize,
}

impl Hold {
    pub(super) fn new(max_requests: usize, max_bytes: usize) -> Self {
        Self { queues: HashMap::default(), requests: 0, bytes: 0, max_requests, max_bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests == 0
    }

    /// Whether requests for this slot wait: then one that comes back from a node joins them.
    pub(super) fn waits_for(&self, slot: Option<Slot>) -> bool {
        self.requests > 0 && self.queues.contains_key(&slot)
    }

    /// Whether a request of this many bytes stays within the bounds.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.requests < self.max_requests && self.bytes + bytes <= self.max_bytes
    }

    /// Adds a request behind those of its slot.
    pub(super) fn add(&mut self, held: Held, now: Micros) {
        self.requests += 1;
        self.bytes += held.errand.bytes.len();
        let tries = u32::from(held.errand.question.tries.min(10));
        let queue = self.queues.entry(held.errand.question.terms.slot).or_insert_with(|| Queue {
            due: now + (FIRST_PAUSE << tries).min(LONGEST_PAUSE),
            held: VecDeque::new(),
        });
        queue.held.push_back(held);
    }

    /// Takes the queues that are due.
    pub(super) fn take_due(&mut self, now: Micros) -> Vec<Held> {
        self.take(|_, queue| queue.due <= now)
    }

    /// Takes every queue: the topology changed.
    pub(super) fn take_all(&mut self) -> Vec<Held> {
        self.take(|_, _| true)
    }

    /// Takes one slot's queue: its owner is known again.
    pub(super) fn take_slot(&mut self, slot: Slot) -> Vec<Held> {
        self.take(|waiting, _| waiting == Some(slot))
    }

    fn take(&mut self, ready: impl Fn(Option<Slot>, &Queue) -> bool) -> Vec<Held> {
        let mut taken = Vec::new();
        self.queues.retain(|slot, queue| {
            let ready = ready(*slot, queue);
            if ready {
                taken.extend(queue.held.drain(..));
            }
            !ready
        });
        self.requests -= taken.len();
        self.bytes -= taken.iter().map(|held| held.errand.bytes.len()).sum::<usize>();
        taken
    }
}
