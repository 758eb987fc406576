//! Requests that wait for their slot to be served again, per slot and oldest first.
//!
//! Bounded in number, bytes and time, for each asker and in all. The requests of a slot never overtake each other
//! here: a queue is sent again as a whole, or its first request goes ahead as a [`Scout`] and the others stay until
//! it has its reply. So a cluster that cannot serve yet is asked once per slot, however many wait.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use tokio::sync::Notify;

use crate::cluster::Slot;
use crate::config;

use super::budget::Budget;
use super::clock::Micros;
use super::{Asker, Cause, Errand, Question};

const FIRST_PAUSE: Micros = 5_000;
/// One request of a slot asks this often whether it is served again: no more than a client waits without noticing.
const LONGEST_PAUSE: Micros = 80_000;

/// No client chooses the keys; so the order can be the same in every simulation of the same events.
type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// A held request and why it waits.
pub(super) struct Held {
    pub(super) errand: Errand,
    pub(super) cause: Cause,
    pub(super) since: Micros,
    /// From then on it waits no longer.
    pub(super) until: Micros,
}

struct Queue {
    due: Micros,
    held: VecDeque<Held>,
    /// Its first request is on its way, the others wait for it.
    scouted: bool,
}

/// A number of requests, and their bytes together.
#[derive(Clone, Copy, Default)]
struct Load {
    requests: usize,
    bytes: usize,
}

impl Load {
    fn takes(self, bytes: usize, most: Self) -> bool {
        self.requests < most.requests && self.bytes.saturating_add(bytes) <= most.bytes
    }

    fn add(&mut self, bytes: usize) {
        self.requests += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.requests = self.requests.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// All held requests of a worker.
#[derive(Default)]
pub(super) struct Hold {
    queues: Map<Option<Slot>, Queue>,
    all: Load,
    most: Load,
    /// By who asked, as the address of the asker; those who wait for nothing are not in here.
    askers: Map<usize, Load>,
    most_of_one: Load,
    reports: Rc<Reports>,
}

/// What became of the scouts, until the hold is told.
#[derive(Default)]
pub(super) struct Reports {
    news: RefCell<Vec<(Option<Slot>, bool)>>,
    pub(super) arrived: Notify,
}

/// The first request of a queue, on its way to find out whether the slot is served. When it has a reply, or is lost,
/// this is dropped and the queue moves on.
pub(super) struct Scout {
    slot: Option<Slot>,
    reports: Rc<Reports>,
    served: bool,
}

impl Scout {
    /// The request has its reply.
    pub(super) fn was_served(&mut self) {
        self.served = true;
    }
}

impl Drop for Scout {
    fn drop(&mut self) {
        self.reports.news.borrow_mut().push((self.slot, self.served));
        self.reports.arrived.notify_one();
    }
}

impl Hold {
    pub(super) fn new(settings: &config::Backend) -> Self {
        let mut hold = Self::default();
        hold.limit_to(settings);
        hold
    }

    /// No more than this is taken from now on; what is held already stays.
    pub(super) fn limit_to(&mut self, settings: &config::Backend) {
        self.most = Load { requests: settings.hold_requests, bytes: settings.hold_bytes };
        self.most_of_one =
            Load { requests: settings.hold_session_requests, bytes: settings.hold_session_bytes };
    }

    pub(super) fn reports(&self) -> Rc<Reports> {
        self.reports.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.requests == 0
    }

    /// Whether an earlier request of the same asker for the same slot waits: then this one, which comes back from a
    /// node, joins it.
    pub(super) fn has_earlier(&self, question: &Question) -> bool {
        let asker = name(&question.asker);
        let is_earlier = |held: &Held| {
            let other = &held.errand.question;
            other.serial < question.serial && name(&other.asker) == asker
        };
        self.askers.contains_key(&asker)
            && self
                .queues
                .get(&question.terms.slot)
                .is_some_and(|queue| queue.held.iter().any(is_earlier))
    }

    /// Whether a request of this asker with so many bytes stays within the bounds.
    pub(super) fn has_room(&self, asker: &Rc<dyn Asker>, bytes: usize) -> bool {
        let of_one = self.askers.get(&name(asker)).copied().unwrap_or_default();
        self.all.takes(bytes, self.most) && of_one.takes(bytes, self.most_of_one)
    }

    /// Adds a request to those of its slot: behind the older ones, for a node may give back what was sent to it
    /// long before the others were held.
    pub(super) fn add(&mut self, held: Held, now: Micros) {
        let tries = u32::from(held.errand.question.tries.min(10));
        self.insert(held, now + (FIRST_PAUSE << tries).min(LONGEST_PAUSE));
    }

    /// Adds it again: it could have been sent, but was not yet to be.
    pub(super) fn put_back(&mut self, held: Held, now: Micros) {
        self.insert(held, now + FIRST_PAUSE);
    }

    fn insert(&mut self, mut held: Held, due: Micros) {
        let question = &mut held.errand.question;
        let is_scout = question.scout.take().is_some();
        let (slot, serial) = (question.terms.slot, question.serial);
        let bytes = held.errand.bytes.len();
        self.all.add(bytes);
        self.askers.entry(name(&held.errand.question.asker)).or_default().add(bytes);
        let queue = self.queues.entry(slot).or_insert_with(|| Queue {
            due,
            held: VecDeque::new(),
            scouted: false,
        });
        if is_scout {
            queue.due = due;
            queue.scouted = false;
        }
        let later =
            queue.held.iter().rev().take_while(|other| other.errand.question.serial > serial);
        let at = queue.held.len() - later.count();
        queue.held.insert(at, held);
    }

    /// Takes what is to be sent now, of the queues that are due and whose slots `may_be_tried`, those that waited
    /// longest first and as far as the budget goes. Returns also how many queues must wait for the budget.
    pub(super) fn take_due(
        &mut self,
        now: Micros,
        budget: &mut Budget,
        mut may_be_tried: impl FnMut(Option<Slot>) -> bool,
    ) -> (Vec<Held>, usize) {
        let is_due = |queue: &Queue| queue.due <= now && !queue.scouted && !queue.held.is_empty();
        let mut due: Vec<(Micros, Option<Slot>)> = self
            .queues
            .iter()
            .filter(|(_, queue)| is_due(queue))
            .map(|(slot, queue)| (queue.due, *slot))
            .collect();
        due.sort_unstable();
        let mut taken = Vec::new();
        let mut postponed = 0;
        for (_, slot) in due {
            if !budget.allows() {
                postponed += 1;
            } else if may_be_tried(slot) {
                let before = taken.len();
                self.take_turn(slot, &mut taken);
                budget.spend(taken.len() - before);
            }
        }
        (taken, postponed)
    }

    /// Takes the first request of a queue to be its scout, or all when they need none.
    fn take_turn(&mut self, slot: Option<Slot>, taken: &mut Vec<Held>) {
        let Some(queue) = self.queues.get_mut(&slot) else { return };
        let scouts = queue.held.front().is_some_and(|first| first.cause.is_of_the_whole_slot());
        if queue.held.len() == 1 || !scouts {
            taken.extend(self.take_queue(slot));
            return;
        }
        let Some(mut first) = queue.held.pop_front() else { return };
        queue.scouted = true;
        let scout = Scout { slot, reports: self.reports.clone(), served: false };
        first.errand.question.scout = Some(Box::new(scout));
        self.forget(&first.errand);
        taken.push(first);
    }

    /// Hears of the scouts that are back. Takes the queues of which one was served.
    pub(super) fn take_scouted(&mut self, now: Micros) -> Vec<Held> {
        let news = std::mem::take(&mut *self.reports.news.borrow_mut());
        let mut taken = Vec::new();
        for (slot, served) in news {
            let Some(queue) = self.queues.get_mut(&slot).filter(|queue| queue.scouted) else {
                continue;
            };
            queue.scouted = false;
            queue.due = queue.due.min(now);
            if served || queue.held.is_empty() {
                taken.extend(self.take_queue(slot));
            }
        }
        taken
    }

    /// Takes every queue: the topology changed. One with a scout waits for it: the scout was first.
    pub(super) fn take_all(&mut self) -> Vec<Held> {
        let mut slots = Vec::new();
        slots.extend(self.queues.iter().filter(|(_, queue)| !queue.scouted).map(|(slot, _)| *slot));
        slots.into_iter().flat_map(|slot| self.take_queue(slot)).collect()
    }

    /// Takes one slot's queue: its owner is known again. Unless it has a scout.
    pub(super) fn take_slot(&mut self, slot: Slot) -> VecDeque<Held> {
        let scouted = self.queues.get(&Some(slot)).is_none_or(|queue| queue.scouted);
        if scouted { VecDeque::new() } else { self.take_queue(Some(slot)) }
    }

    /// Takes the requests that have waited too long.
    pub(super) fn take_expired(&mut self, now: Micros) -> Vec<Held> {
        let mut expired = Vec::new();
        for queue in self.queues.values_mut() {
            if queue.held.iter().any(|held| held.until <= now) {
                let all = std::mem::take(&mut queue.held);
                let (late, waiting): (VecDeque<Held>, _) =
                    all.into_iter().partition(|held| held.until <= now);
                queue.held = waiting;
                expired.extend(late);
            }
        }
        self.queues.retain(|_, queue| queue.scouted || !queue.held.is_empty());
        expired.iter().for_each(|held| self.forget(&held.errand));
        expired
    }

    /// What waits is tried at once: something says that it may be served.
    pub(super) fn hasten(&mut self, now: Micros) {
        self.queues.values_mut().for_each(|queue| queue.due = queue.due.min(now));
    }

    fn take_queue(&mut self, slot: Option<Slot>) -> VecDeque<Held> {
        let taken = self.queues.remove(&slot).map(|queue| queue.held).unwrap_or_default();
        taken.iter().for_each(|held| self.forget(&held.errand));
        taken
    }

    /// The request is not held any more.
    fn forget(&mut self, errand: &Errand) {
        let (asker, bytes) = (name(&errand.question.asker), errand.bytes.len());
        self.all.remove(bytes);
        if let Some(load) = self.askers.get_mut(&asker) {
            load.remove(bytes);
            if load.requests == 0 {
                self.askers.remove(&asker);
            }
        }
    }
}

/// Tells askers apart, for as long as they live; what is held keeps its asker alive.
pub(super) fn name(asker: &Rc<dyn Asker>) -> usize {
    Rc::as_ptr(asker).cast::<()>().addr()
}

#[cfg(test)]
mod tests;
