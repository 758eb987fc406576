//! How many listen to what, over all workers: what PUBLISH answers and PUBSUB tells.
//!
//! Every worker keeps the counts of all. What changes in one is told to the others before its client's
//! subscription is confirmed, so whoever publishes after that counts it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{Notify, mpsc};

use crate::acl::glob::{self, Case};
use crate::backend::Kind;

/// Reports that may wait at one worker; who finds no room waits.
const WAITING: usize = 64;
/// Changes in one report.
const CHANGES: usize = 512;

/// Listeners by channel or pattern.
type Counts = HashMap<Arc<[u8]>, u32, foldhash::fast::RandomState>;
/// The counts of one worker, by kind.
type Table = [Counts; Kind::COUNT];

/// What one worker tells the others.
#[derive(Clone)]
pub(in crate::session) struct Report {
    worker: usize,
    changes: Arc<[Change]>,
}

struct Change {
    kind: Kind,
    name: Arc<[u8]>,
    count: u32,
}

/// A worker's way to tell the others, and its place among them.
pub(in crate::session) struct Desk {
    worker: usize,
    others: Vec<mpsc::Sender<Report>>,
    reports: mpsc::Receiver<Report>,
}

/// Who hears a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Audience {
    /// Clients of this gateway, once for each subscription.
    pub(in crate::session) listeners: i64,
    /// Subscriptions that the gateway has for them at the node.
    pub(in crate::session) shared: i64,
}

impl Audience {
    /// What a node's count of receivers means: its other clients, and those of this gateway.
    pub(in crate::session) fn corrected(self, count: i64) -> i64 {
        count.saturating_sub(self.shared).max(0) + self.listeners
    }

    /// The same for a message. One that reached nobody did not reach this gateway either: it has not subscribed
    /// again there yet.
    pub(super) fn reached(self, count: i64) -> i64 {
        if count == 0 { 0 } else { self.corrected(count) }
    }
}

/// One worker's knowledge of all.
pub(in crate::session) struct Census {
    tables: RefCell<Vec<Table>>,
    own: Cell<usize>,
    reports: RefCell<Option<mpsc::Receiver<Report>>>,
    /// What the others have not been told, and how much was ever to be told and has been.
    untold: RefCell<HashSet<(Kind, Arc<[u8]>)>>,
    changed: Cell<u64>,
    told: Cell<u64>,
    to_tell: Notify,
    was_told: Notify,
}

/// Desks for as many workers.
pub(in crate::session) fn desks(workers: usize) -> Vec<Desk> {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..workers).map(|_| mpsc::channel(WAITING)).unzip();
    let others = |worker: usize| {
        let others = senders.iter().enumerate().filter(|(other, _)| *other != worker);
        others.map(|(_, sender)| sender.clone()).collect()
    };
    let desks = receivers.into_iter().enumerate();
    desks.map(|(worker, reports)| Desk { worker, others: others(worker), reports }).collect()
}

impl Census {
    /// Nobody listens yet.
    pub(in crate::session) fn new() -> Rc<Self> {
        Rc::new(Self {
            tables: RefCell::new(vec![Table::default()]),
            own: Cell::new(0),
            reports: RefCell::default(),
            untold: RefCell::default(),
            changed: Cell::new(0),
            told: Cell::new(0),
            to_tell: Notify::new(),
            was_told: Notify::new(),
        })
    }

    /// Tells the others, and hears them, for as long as the worker lives.
    pub(in crate::session) async fn keep(self: Rc<Self>, desk: Desk) {
        let Desk { worker, others, reports } = desk;
        {
            let mut tables = self.tables.borrow_mut();
            tables.resize_with(others.len() + 1, Table::default);
            tables.swap(0, worker);
        }
        self.own.set(worker);
        *self.reports.borrow_mut() = Some(reports);
        tokio::join!(self.tell(worker, &others), self.listen());
    }

    /// So many listeners came, or left.
    #[expect(clippy::indexing_slicing, reason = "there are as many maps as kinds")]
    pub(super) fn change(&self, kind: Kind, name: &Arc<[u8]>, delta: i32) {
        let mut tables = self.tables.borrow_mut();
        let Some(table) = tables.get_mut(self.own.get()) else { return };
        set(&mut table[kind as usize], name, |count| count.saturating_add_signed(delta));
        if tables.len() > 1 {
            self.untold.borrow_mut().insert((kind, name.clone()));
            self.changed.set(self.changed.get() + 1);
            self.to_tell.notify_one();
        }
    }

    /// Waits until the others know what has changed so far.
    pub(super) async fn told(&self) {
        let changed = self.changed.get();
        while self.told.get() < changed {
            self.was_told.notified().await;
        }
    }

    /// Who hears a message that is published to a channel; `carried`: the shard channel of this name carries the
    /// plain one.
    pub(super) fn audience(&self, carrier: Kind, carried: bool, channel: &[u8]) -> Audience {
        self.catch_up();
        let mut audience = Audience::default();
        for [channels, patterns, shards] in &*self.tables.borrow() {
            let plain = carrier == Kind::Channel;
            let mut direct = 0;
            if plain || carried {
                direct += at(channels, channel);
            }
            if !plain {
                direct += at(shards, channel);
            }
            audience.listeners += direct;
            audience.shared += i64::from(direct > 0);
            if plain {
                let matching =
                    patterns.iter().filter(|(name, _)| glob::matches(name, channel, Case::Matters));
                for (_, count) in matching {
                    audience.listeners += i64::from(*count);
                    audience.shared += 1;
                }
            }
        }
        audience
    }

    /// Listeners to one channel or pattern, and how many workers have any.
    pub(in crate::session) fn of(&self, kind: Kind, name: &[u8]) -> Audience {
        self.catch_up();
        let mut audience = Audience::default();
        for table in &*self.tables.borrow() {
            let count = table.get(kind as usize).map_or(0, |counts| at(counts, name));
            audience.listeners += count;
            audience.shared += i64::from(count > 0);
        }
        audience
    }

    /// Everything of this kind to which somebody listens, each name once.
    pub(in crate::session) fn names(&self, kind: Kind) -> HashSet<Arc<[u8]>> {
        self.catch_up();
        let tables = self.tables.borrow();
        let counts = tables.iter().filter_map(|table| table.get(kind as usize));
        counts.flat_map(|counts| counts.keys().cloned()).collect()
    }

    async fn tell(&self, worker: usize, others: &[mpsc::Sender<Report>]) {
        loop {
            self.to_tell.notified().await;
            let changed = self.changed.get();
            let untold: Vec<_> = self.untold.borrow_mut().drain().collect();
            for some in untold.chunks(CHANGES) {
                let changes = some.iter().map(|(kind, name)| Change {
                    kind: *kind,
                    name: name.clone(),
                    count: self.own_count(*kind, name),
                });
                let report = Report { worker, changes: changes.collect() };
                for other in others {
                    // A worker that has ended has no clients that could publish.
                    let _ = other.send(report.clone()).await;
                }
            }
            self.told.set(changed);
            self.was_told.notify_waiters();
        }
    }

    fn own_count(&self, kind: Kind, name: &[u8]) -> u32 {
        let tables = self.tables.borrow();
        let counts = tables.get(self.own.get()).and_then(|table| table.get(kind as usize));
        counts.and_then(|counts| counts.get(name)).copied().unwrap_or(0)
    }

    async fn listen(&self) {
        poll_fn(|cx| {
            // Bounded by what may wait.
            for _ in 0..WAITING {
                let next = self.reports.borrow_mut().as_mut().map(|reports| reports.poll_recv(cx));
                match next {
                    Some(Poll::Ready(Some(report))) => self.note(&report),
                    Some(Poll::Pending) => return Poll::Pending,
                    // The others have ended.
                    None | Some(Poll::Ready(None)) => return Poll::Ready(()),
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Hears what was told before now.
    fn catch_up(&self) {
        let next =
            || self.reports.borrow_mut().as_mut().and_then(|reports| reports.try_recv().ok());
        while let Some(report) = next() {
            self.note(&report);
        }
    }

    #[expect(clippy::indexing_slicing, reason = "there are as many maps as kinds")]
    fn note(&self, report: &Report) {
        let mut tables = self.tables.borrow_mut();
        let Some(table) = tables.get_mut(report.worker) else { return };
        for Change { kind, name, count } in &*report.changes {
            set(&mut table[*kind as usize], name, |_| *count);
        }
    }
}

fn at(counts: &Counts, name: &[u8]) -> i64 {
    i64::from(counts.get(name).copied().unwrap_or(0))
}

/// Changes a count; what nobody listens to is not kept.
fn set(counts: &mut Counts, name: &Arc<[u8]>, change: impl FnOnce(u32) -> u32) {
    let before = counts.get(name).copied().unwrap_or(0);
    let after = change(before);
    if after == 0 {
        counts.remove(name);
    } else {
        counts.insert(name.clone(), after);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::*;

    fn audience(listeners: i64, shared: i64) -> Audience {
        Audience { listeners, shared }
    }

    #[test]
    fn one_worker_counts_by_itself() {
        let census = Census::new();
        let (news, all) = (Arc::from(&b"news"[..]), Arc::from(&b"n*"[..]));
        assert_eq!(census.audience(Kind::Channel, false, &news), audience(0, 0));
        census.change(Kind::Channel, &news, 1);
        census.change(Kind::Channel, &news, 1);
        census.change(Kind::Pattern, &all, 1);
        census.change(Kind::Shard, &news, 1);
        assert_eq!(census.audience(Kind::Channel, false, b"news"), audience(3, 2));
        assert_eq!(census.audience(Kind::Channel, false, b"none"), audience(1, 1));
        assert_eq!(census.audience(Kind::Channel, false, b"other"), audience(0, 0));
        assert_eq!(census.audience(Kind::Shard, false, b"news"), audience(1, 1));
        assert_eq!(census.audience(Kind::Shard, true, b"news"), audience(3, 1));
        census.change(Kind::Channel, &news, -2);
        assert_eq!(census.of(Kind::Channel, b"news"), audience(0, 0));
        assert_eq!(census.names(Kind::Channel).len(), 0);
        assert_eq!(census.names(Kind::Pattern).len(), 1);
    }

    #[test]
    fn a_count_of_receivers_is_corrected() {
        for (count, audience, expected) in [
            (0, audience(0, 0), 0),
            (1, audience(5, 1), 5),
            (4, audience(5, 2), 7),
            (0, audience(2, 1), 2),
        ] {
            assert_eq!(audience.corrected(count), expected, "{count} {audience:?}");
        }
        assert_eq!(audience(2, 1).reached(0), 0);
        assert_eq!(audience(2, 1).reached(1), 2);
    }

    #[tokio::test]
    async fn workers_know_what_was_told() {
        LocalSet::new().run_until(tell_and_ask()).await;
    }

    async fn tell_and_ask() {
        let workers: Vec<Rc<Census>> = desks(3)
            .into_iter()
            .map(|desk| {
                let census = Census::new();
                spawn_local(census.clone().keep(desk));
                census
            })
            .collect();
        yield_now().await;
        let name: Arc<[u8]> = Arc::from(&b"ch"[..]);
        for (census, count) in workers.iter().zip(1_i64..) {
            (0..count).for_each(|_| census.change(Kind::Channel, &name, 1));
            census.told().await;
            // Whoever asks now knows, whether or not its own task has run.
            let known: Vec<i64> =
                workers.iter().map(|other| other.of(Kind::Channel, b"ch").shared).collect();
            assert_eq!(known, [count; 3]);
        }
        assert_eq!(workers[0].of(Kind::Channel, b"ch"), audience(6, 3));
        workers[2].change(Kind::Channel, &name, -3);
        workers[2].told().await;
        assert_eq!(workers[1].of(Kind::Channel, b"ch"), audience(3, 2));
    }
}
