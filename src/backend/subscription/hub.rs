//! Brings each topic to the connections where it belongs, and keeps it there whatever the cluster does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use slab::Slab;
use tokio::sync::oneshot;
use tokio::task::{spawn_local, yield_now};
use tokio::time::{sleep, timeout};

use crate::cluster::Slot;
use crate::metrics::WorkerMetrics;
use crate::resp::Protocol;

use super::super::Manner;
use super::super::clock::{Micros, micros};
use super::super::connect::dial;
use super::super::node::Node;
use super::super::pool::{Hint, Pool, Reason};
use super::super::redirect::{Refusal, refusal};
use super::feed::{Carrier, Feed};
use super::topics::{FeedId, Missed, Nature, Order, Site, Standing, Topics};
use super::{Hearer, Kind, Message, NotSubscribed, Origin, Topic, is_event};

/// How often topics that do not come, and silent connections, are looked after.
const TICK: Duration = Duration::from_millis(100);
/// Topics looked at before other tasks get their turn.
const AT_ONCE: usize = 256;
/// A connection that carries nothing is kept this long.
const IDLE: Micros = 30_000_000;
/// Times the probe interval: after this much silence a sign of life is asked for, and when none has come after
/// that much more, the connection is given up.
const QUIET: u64 = 2;
const LOST: u64 = 6;
/// The longest that leaving a topic is waited for.
const FAREWELL: Duration = Duration::from_secs(1);

struct State {
    topics: Topics,
    feeds: Slab<Rc<Feed>>,
    addresses: HashMap<Rc<str>, FeedId>,
    /// Under which slot table, and with which home, all topics were placed last.
    placed: Option<(u64, Rc<str>)>,
    /// Some topic may not be where it belongs.
    unsettled: bool,
}

/// One worker's subscriptions.
pub struct Subscriptions {
    pub(super) pool: Rc<Pool>,
    state: RefCell<State>,
    attended: Cell<bool>,
}

impl Subscriptions {
    /// None yet.
    pub fn new(pool: Rc<Pool>) -> Rc<Self> {
        let state = State {
            topics: Topics::default(),
            feeds: Slab::new(),
            addresses: HashMap::new(),
            placed: None,
            unsettled: false,
        };
        Rc::new(Self { pool, state: RefCell::new(state), attended: Cell::new(false) })
    }

    /// From now on the topic is subscribed to, for one hearer at a time.
    pub fn enter(self: &Rc<Self>, topic: &Topic, hearer: Weak<dyn Hearer>) {
        if !self.attended.replace(true) {
            spawn_local(self.clone().attend());
        }
        let index = self.state.borrow_mut().topics.enter(topic, hearer);
        self.place(index);
        self.pool.news.notify_one();
    }

    /// Nobody wants the topic any more.
    pub fn leave(self: &Rc<Self>, topic: &Topic) {
        let index = self.state.borrow_mut().topics.leave(topic);
        if let Some(index) = index {
            self.place(index);
        }
    }

    /// Waits until all these topics come, at most as long as a request may be held.
    ///
    /// # Errors
    /// A node objects, or none can be reached.
    pub async fn established(&self, topics: &[Topic]) -> Result<(), NotSubscribed> {
        let mut rest = topics.iter().peekable();
        let all = poll_fn(|cx| {
            while let Some(topic) = rest.peek() {
                let standing = self.state.borrow_mut().topics.standing(topic, cx.waker());
                match standing {
                    Standing::Established => rest.next(),
                    Standing::UnderWay => return Poll::Pending,
                    Standing::Gone => return Poll::Ready(Err(NotSubscribed::Unserved)),
                    Standing::Refused(line) => {
                        let text = String::from_utf8_lossy(&line);
                        let text = text.trim_start_matches('-').trim_end().to_owned();
                        return Poll::Ready(Err(NotSubscribed::Refused(text)));
                    }
                };
            }
            Poll::Ready(Ok(()))
        });
        let patience = self.pool.settings().backend.hold_time;
        timeout(patience, all).await.unwrap_or(Err(NotSubscribed::Unserved))
    }

    /// Waits until no node carries these topics for this worker any more, unless they are wanted again; not for
    /// long when a node is slow.
    pub async fn left(&self, topics: &[Topic]) {
        let mut rest = topics.iter().peekable();
        let all = poll_fn(|cx| {
            while let Some(topic) = rest.peek() {
                if self.state.borrow_mut().topics.is_leaving(topic, cx.waker()) {
                    return Poll::Pending;
                }
                rest.next();
            }
            Poll::Ready(())
        });
        // What is left behind then ends by itself.
        let _ = timeout(FAREWELL, all).await;
    }

    /// Waits until everything was heard that comes from there and was sent so far.
    pub async fn caught_up(&self, origins: impl Iterator<Item = Origin>) {
        for pong in self.ping(origins) {
            // A connection that is gone has nothing more to say.
            let _ = pong.await;
        }
    }

    fn ping(&self, origins: impl Iterator<Item = Origin>) -> Vec<oneshot::Receiver<()>> {
        let (state, routes) = (self.state.borrow(), self.pool.routes.borrow());
        let mut feeds: Vec<FeedId> = Vec::new();
        for origin in origins {
            let node = match origin {
                Origin::Home => self.pool.home(),
                Origin::Owner(slot) => routes.owner(slot).cloned(),
                Origin::Everywhere => {
                    feeds.extend(state.addresses.values());
                    continue;
                }
            };
            feeds.extend(node.and_then(|node| state.addresses.get(&node.address)));
        }
        feeds.sort_unstable();
        feeds.dedup();
        let ask = |feed: &Rc<Feed>| {
            let (sender, pong) = oneshot::channel();
            feed.ping(Some(sender), self.pool.clock().now());
            pong
        };
        feeds.into_iter().filter_map(|feed| state.feeds.get(feed)).map(ask).collect()
    }

    async fn attend(self: Rc<Self>) {
        loop {
            let idle = {
                let state = self.state.borrow();
                state.topics.is_empty() && state.feeds.is_empty()
            };
            tokio::select! {
                () = self.pool.news.notified() => {}
                () = sleep(TICK), if !idle => {}
            }
            self.tick();
            self.look_after_feeds();
            let wanted = self.pool.home().map(|home| (self.pool.version(), home.address.clone()));
            let moved = {
                let mut state = self.state.borrow_mut();
                let moved = std::mem::take(&mut state.unsettled) || state.placed != wanted;
                state.placed = wanted;
                moved
            };
            if moved {
                self.place_all().await;
            }
        }
    }

    async fn place_all(self: &Rc<Self>) {
        let mut next = 0;
        while next < self.state.borrow().topics.end() {
            for index in next..next + AT_ONCE {
                self.place(index);
            }
            next += AT_ONCE;
            yield_now().await;
        }
    }

    /// Gives the orders that bring a topic where it belongs.
    fn place(self: &Rc<Self>, index: usize) {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let Some(topic) = state.topics.topic(index).cloned() else { return };
        let sites = self.sites(state, &topic);
        let mut orders = Vec::new();
        let missed = state.topics.place(index, sites.as_deref().unwrap_or_default(), &mut orders);
        let now = self.pool.clock().now();
        for (feed, order) in orders {
            if let Some(feed) = state.feeds.get(feed) {
                feed.order(order, index, &topic, now);
            }
        }
        state.unsettled |= sites.is_none() || state.topics.is_unsettled(index);
        drop(guard);
        self.interrupted(missed);
    }

    /// The connections on which a topic belongs; `None` while one of them cannot be had.
    fn sites(self: &Rc<Self>, state: &mut State, topic: &Topic) -> Option<Vec<Site>> {
        if topic.kind == Kind::Shard {
            let owner = self.pool.routes.borrow().owner(Slot::of(&topic.name)).cloned()?;
            return Some(vec![Site { feed: self.feed_to(state, &owner)?, source: true }]);
        }
        let home = self.pool.home()?;
        let mut sites = vec![Site { feed: self.feed_to(state, &home)?, source: true }];
        if topic.hears_events() {
            let primaries: Vec<Rc<Node>> = self.pool.routes.borrow().primaries().cloned().collect();
            for node in primaries.iter().filter(|node| node.address != home.address) {
                // The others do not wait for a node that is down.
                match self.feed_to(state, node) {
                    Some(feed) => sites.push(Site { feed, source: false }),
                    None => state.unsettled = true,
                }
            }
        }
        Some(sites)
    }

    /// The connection to a node, opened now if need be; `None` while the node is not to be dialled.
    fn feed_to(self: &Rc<Self>, state: &mut State, node: &Rc<Node>) -> Option<FeedId> {
        if let Some(feed) = state.addresses.get(&node.address) {
            return Some(*feed);
        }
        let now = self.pool.clock().now();
        if node.down(now).is_some() {
            return None;
        }
        let place = state.feeds.vacant_entry();
        let feed = Rc::new(Feed::new(place.key(), node.clone(), now));
        state.addresses.insert(node.address.clone(), feed.id);
        place.insert(feed.clone());
        let id = feed.id;
        spawn_local(self.clone().carry(feed));
        Some(id)
    }

    /// A connection from dialling to its end.
    async fn carry(self: Rc<Self>, feed: Rc<Feed>) {
        let handshake = self.pool.handshake(Manner::new(Protocol::Resp3, 0));
        let why = match dial(&feed.node.address, &handshake).await {
            Ok(stream) => {
                self.tick();
                feed.node.came_up();
                let why = Carrier::new(self.clone(), feed.clone(), stream).await;
                tracing::info!(node = %feed.node.address, reason = %why, "subscriptions lost their connection");
                why
            }
            Err(error) => self.pool.unreachable(&feed.node, &error),
        };
        drop(why);
        self.lost(&feed);
    }

    fn lost(self: &Rc<Self>, feed: &Rc<Feed>) {
        (self.pool.parts.hint)(Hint { reason: Reason::Lost, node: &feed.node.address });
        let missed = {
            let mut state = self.state.borrow_mut();
            state.feeds.try_remove(feed.id);
            state.addresses.remove(&feed.node.address);
            state.unsettled = true;
            state.topics.lost(feed.id)
        };
        missed.into_iter().for_each(|hearer| self.interrupted(Some(hearer)));
        self.pool.news.notify_one();
    }

    /// Asks quiet connections for a sign of life, and gives up those that owe one.
    fn look_after_feeds(&self) {
        let now = self.pool.clock().now();
        let probe = micros(self.pool.settings().backend.probe_interval);
        let state = self.state.borrow();
        for (_, feed) in &state.feeds {
            let silent = feed.silent_since();
            if state.topics.is_empty() && now.saturating_sub(feed.used()) > IDLE {
                feed.cut("nothing to carry");
            } else if silent.is_some_and(|since| now.saturating_sub(since) > LOST * probe) {
                self.pool.leave_home(&feed.node);
                feed.cut("the node is silent");
            } else if silent.is_none() && now.saturating_sub(feed.heard()) > QUIET * probe {
                feed.ping(None, now);
            }
        }
    }

    fn interrupted(&self, missed: Missed) {
        if let Some(hearer) = missed {
            self.metrics().subscription_interrupted();
            hearer.missed();
        }
    }
}

/// What a connection reports.
impl Subscriptions {
    pub(super) fn metrics(&self) -> &WorkerMetrics {
        self.pool.metrics()
    }

    pub(super) fn tick(&self) -> Micros {
        self.pool.clock().tick()
    }

    pub(super) fn is_topic(&self, index: usize, kind: Kind, name: &[u8]) -> bool {
        let state = self.state.borrow();
        state.topics.topic(index).is_some_and(|topic| topic.kind == kind && *topic.name == *name)
    }

    /// A message came; returns how many times it was passed on.
    pub(super) fn heard(
        &self,
        feed: &Feed,
        kind: Kind,
        topic: &[u8],
        message: Message<'_>,
    ) -> usize {
        let event = is_event(message.channel);
        let state = self.state.borrow();
        // When the home node has become a replica, it repeats the events of its primary.
        let repeats = event && self.pool.primary_at(&feed.node.address).is_none();
        if repeats && state.topics.is_established(kind, topic) {
            return 0;
        }
        let late = self.pool.home_is_settling();
        let hearer = state.topics.hearer(feed.id, kind, topic, Nature { event, late });
        drop(state);
        hearer.map_or(0, |hearer| hearer.hear(&message))
    }

    /// The oldest order about this topic was carried out.
    pub(super) fn done(self: &Rc<Self>, feed: &Feed, index: usize) {
        let missed = self.state.borrow_mut().topics.done(feed.id, index);
        self.interrupted(missed);
        // The place where it was before can be left now.
        self.place(index);
    }

    /// The oldest order about this topic was answered with an error.
    pub(super) fn objected(self: &Rc<Self>, feed: &Feed, order: Order, index: usize, line: &[u8]) {
        let refusal = refusal(line);
        let objection = (order == Order::Join && refusal.is_none()).then_some(line);
        let missed = {
            let mut state = self.state.borrow_mut();
            state.unsettled = true;
            state.topics.refused(feed.id, index, objection)
        };
        self.interrupted(missed);
        if let Some(text) = objection {
            let text = String::from_utf8_lossy(text);
            tracing::warn!(node = %feed.node.address, reason = %text.trim_end(), "subscription refused");
        }
        let Some(refusal) = refusal else { return };
        if let Some(kind) = refusal.kind() {
            self.metrics().redirected(kind);
        }
        if let Refusal::Moved(slot, place) = refusal {
            let node = self.pool.named(place, &feed.node);
            self.pool.learn(slot, &node);
            if self.state.borrow_mut().topics.may_follow(index) {
                self.place(index);
            }
        }
    }

    /// The node ended a subscription: its slot went elsewhere.
    pub(super) fn dropped(self: &Rc<Self>, feed: &Feed, kind: Kind, name: &[u8]) {
        let dropped = {
            let mut state = self.state.borrow_mut();
            state.unsettled = true;
            state.topics.dropped(feed.id, kind, name)
        };
        if let Some((index, missed)) = dropped {
            self.interrupted(missed);
            self.place(index);
        }
    }
}
