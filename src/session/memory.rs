//! What clients hold in memory, all those of the process together: windows narrow while it grows, and when it is
//! too much, those who hold most are sent away first.
//!
//! A client that holds little is not counted, so that most requests cost one comparison.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::metrics::{Rejection, WorkerMetrics};

use super::client::Client;
use super::worker::Worker;

/// Who holds less is not counted.
pub(super) const COUNTED_FROM: usize = 16 << 10;
/// A worker tells the others of changes from this size on.
const TOLD_FROM: usize = 64 << 10;
/// The share of a client, when less is left for each than it would usually have: so many like it may come.
const SHARES: usize = 64;
/// The least window: a client with small replies does not feel it.
const NARROWEST: usize = 64 << 10;
/// How often a worker looks whether it is to make room, when nobody calls it.
const LOOK: Duration = Duration::from_millis(100);

/// What one client holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    /// Bytes that are here.
    pub(super) here: usize,
    /// The same with the replies that are still to come, as far as the latest tell.
    pub(super) expected: usize,
}

/// What all workers hold, in bytes. Late by less than [`TOLD_FROM`] for each of them.
#[derive(Default)]
pub(super) struct Total {
    here: AtomicIsize,
    expected: AtomicIsize,
}

/// One number of a worker's, and how much of it the others have been told.
#[derive(Default)]
struct Sum {
    all: Cell<usize>,
    told: Cell<usize>,
}

impl Sum {
    fn change(&self, before: usize, after: usize, total: &AtomicIsize) -> bool {
        let all = (self.all.get() + after).saturating_sub(before);
        self.all.set(all);
        let tells = all.abs_diff(self.told.get()) >= TOLD_FROM;
        if tells {
            total.fetch_add(all as isize - self.told.replace(all) as isize, Ordering::Relaxed);
        }
        tells
    }
}

/// A worker's view of it.
pub(super) struct Memory {
    /// Most bytes for all workers together.
    most: Cell<usize>,
    workers: usize,
    total: Arc<Total>,
    here: Sum,
    expected: Sum,
    metrics: Arc<WorkerMetrics>,
    excess: Notify,
}

impl Memory {
    /// With room for so many bytes; 0: without a bound.
    pub(super) fn new(
        most: usize,
        workers: usize,
        total: &Arc<Total>,
        metrics: &Arc<WorkerMetrics>,
    ) -> Rc<Self> {
        Rc::new(Self {
            most: Cell::new(bound(most)),
            workers: workers.max(1),
            total: total.clone(),
            here: Sum::default(),
            expected: Sum::default(),
            metrics: metrics.clone(),
            excess: Notify::new(),
        })
    }

    /// Has room for so many bytes from now on.
    pub(super) fn limit_to(&self, most: usize) {
        self.most.set(bound(most));
    }

    /// A client holds something else than before.
    pub(super) fn change(&self, before: Holding, after: Holding) {
        self.expected.change(before.expected, after.expected, &self.total.expected);
        if self.here.change(before.here, after.here, &self.total.here) {
            self.metrics.memory_held(self.here.all.get());
            if self.is_exceeded() {
                self.excess.notify_one();
            }
        }
    }

    /// Bytes that one client may have under way, of those that it usually may.
    pub(super) fn window(&self, usual: usize) -> usize {
        let expected = of(&self.total.expected);
        let most = self.most.get();
        if expected < most / 4 {
            return usual;
        }
        let left = (most / 2).saturating_sub(expected);
        (left / SHARES).max(NARROWEST).min(usual)
    }

    fn is_exceeded(&self) -> bool {
        of(&self.total.here) > self.most.get()
    }

    /// Bytes that this worker has to free: none while it holds no more than its equal share.
    fn to_free(&self) -> usize {
        let (here, most) = (self.here.all.get(), self.most.get());
        let excess = of(&self.total.here).saturating_sub(most);
        excess.min(here.saturating_sub(most / self.workers))
    }
}

fn bound(most: usize) -> usize {
    if most == 0 { isize::MAX as usize } else { most }
}

fn of(total: &AtomicIsize) -> usize {
    usize::try_from(total.load(Ordering::Relaxed)).unwrap_or(0)
}

impl Worker {
    /// Sends those away who hold most when all together hold too much, for as long as the worker lives.
    pub async fn make_room(self: Rc<Self>) {
        loop {
            // Another worker's clients may be what is too much, and this one's the largest.
            let _ = timeout(LOOK, self.memory.excess.notified()).await;
            let mut excess = self.memory.to_free();
            if excess == 0 {
                continue;
            }
            let mut clients: Vec<(usize, Rc<Client>)> = self
                .clients
                .borrow()
                .iter()
                .map(|(_, client)| (client.replies.held(), client.clone()))
                .filter(|(held, _)| *held > COUNTED_FROM)
                .collect();
            clients.sort_unstable_by_key(|(held, _)| std::cmp::Reverse(*held));
            for (held, client) in clients {
                if excess == 0 {
                    break;
                }
                if client.replies.give_up() {
                    self.metrics.session_rejected(Rejection::Memory);
                    tracing::warn!(client = %client.ends.client, bytes = held, "client closed: all clients hold too much memory, and it the most");
                }
                excess = excess.saturating_sub(held);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBIBYTE: usize = 1 << 20;

    fn memory(total: &Arc<Total>) -> Rc<Memory> {
        Memory::new(64 * MEBIBYTE, 2, total, &Arc::default())
    }

    fn hold(memory: &Memory, before: usize, after: usize) {
        let holding = |bytes| Holding { here: bytes, expected: bytes };
        memory.change(holding(before), holding(after));
    }

    #[test]
    fn windows_narrow_before_it_is_too_much() {
        let total = Arc::default();
        let memory = memory(&total);
        let usual = 32 * MEBIBYTE;
        let windows: Vec<usize> = [0, 15, 16, 24, 32, 64]
            .map(|mebibytes| {
                hold(&memory, 0, mebibytes * MEBIBYTE);
                let window = memory.window(usual);
                hold(&memory, mebibytes * MEBIBYTE, 0);
                window
            })
            .to_vec();
        let narrow = [256, 128, 64, 64].map(|kibibytes| kibibytes << 10);
        assert_eq!(windows[..2], [usual, usual]);
        assert_eq!(windows[2..], narrow);
        assert_eq!(memory.window(1024), 1024);
        assert_eq!(of(&total.here), 0);
    }

    #[test]
    fn the_worker_that_holds_most_makes_room() {
        let total = Arc::default();
        let (one, other) = (memory(&total), memory(&total));
        hold(&one, 0, 50 * MEBIBYTE);
        hold(&other, 0, 10 * MEBIBYTE);
        assert_eq!((one.to_free(), other.to_free()), (0, 0));
        hold(&other, 10 * MEBIBYTE, 20 * MEBIBYTE);
        assert_eq!((one.to_free(), other.to_free()), (6 * MEBIBYTE, 0));
        hold(&one, 50 * MEBIBYTE, 0);
        assert_eq!(one.window(MEBIBYTE), 192 << 10, "what the other holds counts");
        hold(&other, 20 * MEBIBYTE, 0);
        assert_eq!(one.window(MEBIBYTE), MEBIBYTE);
    }

    #[test]
    fn without_a_bound_nothing_is_too_much() {
        let total = Arc::default();
        let memory = Memory::new(0, 1, &total, &Arc::default());
        hold(&memory, 0, 1 << 50);
        assert_eq!((memory.to_free(), memory.window(7)), (0, 7));
    }
}
