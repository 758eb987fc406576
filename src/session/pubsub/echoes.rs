//! What a client has published, and what may not have come round to this gateway yet.
//!
//! On one server nobody hears what it published before it subscribed. Here the message and the answer to PUBLISH come
//! by two connections. So whoever has published waits, when it subscribes, until what it published has passed. A
//! message that a script or a transaction publishes goes from their node to the home node over the cluster's bus; it
//! has passed when a mark that follows it by the same way is heard. Whoever has not published waits for nothing.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::backend::{Asker, Hearer, Kind, Manner, Message, Terms, Ticket, Topic};
use crate::cluster::Slot;
use crate::resp::{integer, write};

use super::super::steps::Inbox;
use super::super::worker::Worker;

/// How the channels of marks start. No client hears them by a pattern, nor is told that they are there.
const MARK: &[u8] = b"__slotway:mark:";
/// Slots that are noted one by one; then every primary may have published.
const NOTED: usize = 32;
/// How long a mark is waited for. One that was lost between two nodes never comes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether this channel is the gateway's own.
pub(in crate::session) fn is_mark(channel: &[u8]) -> bool {
    channel.starts_with(MARK)
}

/// What of a client's messages may still be on its way.
#[derive(Debug, Default)]
pub(in crate::session) struct Echoes {
    /// It has published something, ever.
    any: bool,
    /// Slots whose owners may have published for it since the last mark.
    slots: Vec<Slot>,
}

impl Echoes {
    /// It publishes where the channel's messages come from.
    pub(in crate::session) fn published(&mut self) {
        self.any = true;
    }

    /// A script or a transaction that may publish runs at the slot's owner; without a slot, at home.
    pub(in crate::session) fn may_publish(&mut self, slot: Option<Slot>) {
        self.any = true;
        let new = slot.filter(|slot| self.slots.len() <= NOTED && !self.slots.contains(slot));
        self.slots.extend(new);
    }

    /// What a subscription of this kind has to wait for. Shard messages do not take the bus.
    pub(super) fn before(&mut self, kind: Kind) -> Self {
        let slots = if kind == Kind::Shard { Vec::new() } else { std::mem::take(&mut self.slots) };
        Self { any: self.any, slots }
    }

    /// Waits until all that could reach these topics has passed. Events of the client's own writes are such, too.
    pub(super) async fn passed(self, worker: &Rc<Worker>, topics: &[Topic]) {
        if topics.iter().any(|topic| topic.kind != Kind::Shard) {
            self.follow(worker).await;
        }
        let origins = topics.iter().filter(|topic| self.any || topic.hears_events());
        worker.rooms.upstream.caught_up(origins.map(Topic::origin)).await;
    }

    /// Sends a mark from each node that is not home, and waits for all of them.
    async fn follow(&self, worker: &Rc<Worker>) {
        let pool = &worker.pool;
        let slots = match self.slots.len() {
            0..=NOTED => self.slots.clone(),
            _ => pool.shards().unwrap_or_default(),
        };
        let away: Vec<Slot> = slots.into_iter().filter(|slot| !pool.is_home(*slot)).collect();
        if away.is_empty() {
            return;
        }
        let channel = [MARK, format!("{:032x}", fastrand::u128(..)).as_bytes()].concat();
        let topic = Topic { kind: Kind::Channel, name: channel.into() };
        let mark = Rc::new(Mark::default());
        let hearer: Rc<dyn Hearer> = mark.clone();
        let upstream = &worker.rooms.upstream;
        upstream.enter(&topic, Rc::downgrade(&hearer));
        if upstream.established(std::slice::from_ref(&topic)).await.is_ok() {
            let sent = publish(worker, &topic.name, &away).await;
            let _ = timeout(PATIENCE, mark.heard(sent)).await;
        }
        upstream.leave(&topic);
    }
}

/// Publishes a mark at the owner of each slot; how many did it.
async fn publish(worker: &Rc<Worker>, channel: &[u8], slots: &[Slot]) -> usize {
    let most = worker.gateway.settings().limits.output_hard;
    let inbox = Rc::new(Inbox::new(slots.len(), most));
    let asker: Rc<dyn Asker> = inbox.clone();
    for (slot, place) in slots.iter().zip(0..) {
        let mut request = Vec::new();
        write::command(&mut request, &[b"PUBLISH", channel, b""]);
        let terms = Terms::new(Some(*slot), Manner::own());
        worker.pool.send_bytes(terms, &asker, Ticket::new(place, 0), request.into());
    }
    let replies = inbox.replies().await.unwrap_or_default();
    replies.iter().filter(|reply| integer(reply).is_some()).count()
}

/// Counts the marks that have come.
#[derive(Default)]
struct Mark {
    count: Cell<usize>,
    /// The connection was lost, and with it what was under way.
    lost: Cell<bool>,
    news: Notify,
}

impl Mark {
    async fn heard(&self, count: usize) {
        while self.count.get() < count && !self.lost.get() {
            self.news.notified().await;
        }
    }
}

impl Hearer for Mark {
    fn hear(&self, _: &Message<'_>) -> usize {
        self.count.set(self.count.get() + 1);
        self.news.notify_one();
        1
    }

    fn missed(&self) {
        self.lost.set(true);
        self.news.notify_one();
    }
}
