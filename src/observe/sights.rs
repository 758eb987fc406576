//! What all workers saw, put together by whoever asks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;

use crate::config::Live;

use super::big_keys::BigKey;
use super::hot_keys::HotKey;
use super::slow_log::Slow;

/// What one worker shows.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) hot: Vec<HotKey>,
    /// Requests a second for all keys together.
    pub(super) per_second: f64,
    pub(super) big: Vec<BigKey>,
    pub(super) slow: Vec<Arc<Slow>>,
}

/// What all workers show. Each has a seat of its own, so nobody waits for anybody.
#[derive(Debug)]
pub struct Sights {
    seats: Box<[ArcSwap<Seen>]>,
    taken: AtomicUsize,
    logged: AtomicU64,
    live: Arc<Live>,
}

impl Sights {
    /// For so many workers.
    pub fn new(workers: usize, live: Arc<Live>) -> Arc<Self> {
        let seats = (0..workers).map(|_| ArcSwap::default()).collect();
        let (taken, logged) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { seats, taken, logged, live })
    }

    /// The number of the next seat, for a worker that begins.
    pub(super) fn take_seat(&self) -> usize {
        self.taken.fetch_add(1, Relaxed)
    }

    pub(super) fn show(&self, seat: usize, seen: Seen) {
        if let Some(seat) = self.seats.get(seat) {
            seat.store(Arc::new(seen));
        }
    }

    /// The number of the next entry of the slow log.
    pub(super) fn next_entry(&self) -> u64 {
        self.logged.fetch_add(1, Relaxed)
    }

    /// The keys asked for most, the hottest first.
    pub fn hot_keys(&self, most: usize) -> Vec<HotKey> {
        let seen = self.seen();
        let all: f64 = seen.iter().map(|seen| seen.per_second).sum();
        let keys = seen.iter().flat_map(|seen| seen.hot.iter().cloned());
        let mut hot =
            merge(keys, |hot| hot.key.hash(), |hot, more| hot.per_second += more.per_second);
        for key in &mut hot {
            key.share = key.per_second / all.max(f64::MIN_POSITIVE);
        }
        hot.sort_by(|a, b| b.per_second.total_cmp(&a.per_second));
        hot.truncate(most);
        hot
    }

    /// The keys with the largest requests and replies, the largest first.
    pub fn big_keys(&self, most: usize) -> Vec<BigKey> {
        let seen = self.seen();
        let keys = seen.iter().flat_map(|seen| seen.big.iter().cloned());
        let mut big = merge(keys, |big| big.key.hash(), BigKey::absorb);
        big.sort_by_key(|big| std::cmp::Reverse(big.bytes));
        big.truncate(most);
        big
    }

    /// The slow log, the newest entry first.
    pub fn slow_log(&self, most: usize) -> Vec<Arc<Slow>> {
        let seen = self.seen();
        let mut slow: Vec<_> = seen.iter().flat_map(|seen| seen.slow.iter().cloned()).collect();
        slow.sort_by_key(|entry| std::cmp::Reverse(entry.id));
        slow.truncate(most.min(self.live.now().observe.slow_length));
        slow
    }

    fn seen(&self) -> Vec<Arc<Seen>> {
        self.seats.iter().map(ArcSwap::load_full).collect()
    }
}

/// One item for each key, however many workers saw it.
fn merge<T>(
    items: impl Iterator<Item = T>,
    key: impl Fn(&T) -> u64,
    absorb: impl Fn(&mut T, T),
) -> Vec<T> {
    let mut merged = HashMap::new();
    for item in items {
        match merged.entry(key(&item)) {
            Entry::Occupied(mut known) => absorb(known.get_mut(), item),
            Entry::Vacant(place) => drop(place.insert(item)),
        }
    }
    merged.into_values().collect()
}
