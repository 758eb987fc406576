//! The connections of one session whose client caches: one to each node that it reads from, as leases on which
//! the nodes keep track of what was read.
//!
//! Invariant: what a node says of a key reaches the listener behind every reply of that node from before, and
//! wherever something may have been missed, the listener is told that anything may have changed: when a
//! connection breaks, and when a slot that was read has another owner.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::cluster::{Slot, SlotSet};
use crate::resp::Protocol;

use super::lease::{LeaseError, Share};
use super::node::Node;
use super::pipeline::Pipeline;
use super::pool::Pool;
use super::tracked::{self, End};
use super::{Cause, Manner};

/// How a node says that keys have changed.
const INVALIDATE: &[u8] = b">2\r\n$10\r\ninvalidate\r\n";
/// How often a session that hears of every key looks for primaries that it has no connection to.
const LOOK: Duration = Duration::from_secs(1);

/// Who is told what has changed. Called while nothing is borrowed in the backend; must not send.
pub trait Listener {
    /// Keys have changed: an array of them, as a node wrote it; `None`: any key may have. `early`: replies that
    /// the node gave before may still come.
    fn changed(&self, keys: Option<&[u8]>, early: bool);

    /// Changes may have been missed of all that was read until now, and of what is under way.
    fn missed(&self);

    /// There is a node of which no changes can be told.
    fn deafened(&self);
}

/// Why changes cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Deaf {
    /// There are too few connections.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A node does not keep track for the gateway; its address and its words.
    #[error("ERR {0}")]
    Refused(Rc<str>),
}

/// How the nodes are to keep track.
pub struct Agreement {
    /// The protocol and the database of the client.
    pub manner: Manner,
    /// The options of `CLIENT TRACKING ON`.
    pub options: Vec<Vec<u8>>,
}

impl Agreement {
    /// How many connections to one node it takes: in RESP2 word comes on one of its own.
    fn connections(&self) -> usize {
        match self.manner.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 1,
        }
    }
}

/// A session's connections. They are closed when nobody needs them any more and all is answered.
pub struct Lines {
    this: Weak<Self>,
    pool: Rc<Pool>,
    agreement: Rc<Agreement>,
    listener: Weak<dyn Listener>,
    open: RefCell<HashMap<Rc<str>, Line, foldhash::fast::RandomState>>,
    /// Slots of which something was read since the listener was last told that it missed something.
    read: RefCell<SlotSet>,
    /// The client relies on hearing of every key, read or not.
    promised: Cell<bool>,
    /// What a node said that does not keep track.
    refusal: RefCell<Option<Rc<str>>>,
    /// A connection is ready, or has ended.
    news: Notify,
    key: usize,
}

struct Line {
    pipeline: Rc<Pipeline>,
    ready: Cell<bool>,
}

impl Lines {
    /// None yet.
    pub fn new(pool: Rc<Pool>, agreement: Agreement, listener: Weak<dyn Listener>) -> Rc<Self> {
        Rc::new_cyclic(|this| {
            let key = pool.sessions.borrow_mut().insert(this.clone());
            Self {
                this: this.clone(),
                pool,
                agreement: Rc::new(agreement),
                listener,
                open: RefCell::default(),
                read: RefCell::default(),
                promised: Cell::new(false),
                refusal: RefCell::default(),
                news: Notify::new(),
                key,
            }
        })
    }

    /// Opens a connection to every primary, and does so for those that come. Ready when all are there, or would be
    /// but for nodes that cannot be reached; from then on the listener is told that it missed something whenever
    /// one is made.
    ///
    /// # Errors
    /// There are too few leases, or a node does not keep track.
    pub async fn reach_all(&self) -> Result<(), Deaf> {
        self.open_all()?;
        let all_ready = async {
            while !self.open.borrow().values().all(|line| line.ready.get()) {
                self.news.notified().await;
                if let Some(refusal) = &*self.refusal.borrow() {
                    return Err(Deaf::Refused(refusal.clone()));
                }
            }
            Ok(())
        };
        let patience = self.pool.settings().backend.connect_timeout;
        timeout(patience, all_ready).await.unwrap_or(Ok(()))?;
        self.promised.set(true);
        spawn_local(keep_reaching(self.this.clone(), self.pool.clone()));
        Ok(())
    }

    fn open_all(&self) -> Result<(), Deaf> {
        let primaries: Vec<Rc<Node>> = self.pool.routes.borrow().primaries().cloned().collect();
        for node in primaries {
            if let Err(Cause::Deaf(why)) = self.pipeline_to(&node, None) {
                return Err(why);
            }
        }
        Ok(())
    }

    /// The connection to this node, for a request about this slot.
    pub(super) fn pipeline_to(
        &self,
        node: &Rc<Node>,
        slot: Option<Slot>,
    ) -> Result<Rc<Pipeline>, Cause> {
        if let Some(slot) = slot {
            self.read.borrow_mut().insert(slot);
        }
        if let Some(line) = self.open.borrow().get(&node.address)
            && !line.pipeline.is_ending()
        {
            return Ok(line.pipeline.clone());
        }
        let pipeline = self.pool.new_pipeline(node, self.agreement.manner)?;
        let count = self.agreement.connections();
        let share = self.pool.lasting_share(count).map_err(|error| Cause::Deaf(error.into()))?;
        let pipeline = Rc::new(pipeline.told_to(self.listener.clone()));
        let line = Line { pipeline: pipeline.clone(), ready: Cell::new(false) };
        self.open.borrow_mut().insert(node.address.clone(), line);
        let (this, agreement) = (self.this.clone(), self.agreement.clone());
        spawn_local(drive(this, agreement, self.pool.clone(), pipeline.clone(), share));
        Ok(pipeline)
    }

    /// The number of the connection to this node, if there is one.
    pub(super) fn number_to(&self, node: &Node) -> Option<u64> {
        self.open.borrow().get(&node.address).map(|line| line.pipeline.number())
    }

    /// The node has agreed to keep track.
    fn agreed(&self, pipeline: &Pipeline) {
        if let Some(line) = self.open.borrow().get(&pipeline.node().address) {
            line.ready.set(true);
        }
        self.news.notify_one();
        if self.promised.get() {
            // Until now nobody told of changes there.
            self.miss();
        }
    }

    /// The connection has ended.
    fn ended(&self, pipeline: &Rc<Pipeline>, was_ready: bool, end: &End) {
        let mut open = self.open.borrow_mut();
        let address = &pipeline.node().address;
        // One that was dismissed is not among them.
        let was_in_use = open.contains_key(address);
        if open.get(address).is_some_and(|line| Rc::ptr_eq(&line.pipeline, pipeline)) {
            open.remove(address);
        }
        drop(open);
        if let End::Refused(why) = end {
            self.refusal.replace(Some(why.clone()));
            if self.promised.get() {
                self.deafen();
            }
        }
        self.news.notify_one();
        let was_heard = was_in_use && was_ready;
        if was_heard && (self.promised.get() || !self.read.borrow().is_empty()) {
            self.miss();
        }
    }

    /// These slots have other owners.
    fn moved(&self, slots: &SlotSet) {
        if !self.read.borrow().meets(slots) {
            return;
        }
        self.miss();
        // All that was read on them is forgotten now.
        self.open.borrow_mut().retain(|_, Line { pipeline, .. }| {
            let is_needed = pipeline.pending() > 0 || pipeline.node().owns.get();
            if !is_needed {
                pipeline.dismiss();
            }
            is_needed
        });
    }

    fn deafen(&self) {
        if let Some(listener) = self.listener.upgrade() {
            listener.deafened();
        }
    }

    fn miss(&self) {
        // The listener takes care of what is under way.
        self.read.borrow_mut().clear();
        self.pool.metrics().cache_flushed();
        if let Some(listener) = self.listener.upgrade() {
            listener.missed();
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.pool.sessions.borrow_mut().try_remove(self.key);
        for line in self.open.borrow().values() {
            line.pipeline.dismiss();
        }
    }
}

impl Pipeline {
    /// The node said something of its own accord.
    pub(super) fn pushed(&self, message: &[u8]) {
        if let Some(keys) = message.strip_prefix(INVALIDATE) {
            // Nil in place of the keys means all of them.
            self.changed(Some(keys).filter(|keys| keys.first() == Some(&b'*')));
        }
    }

    /// Keys have changed, as a node lists them, or any may have.
    pub(super) fn changed(&self, keys: Option<&[u8]>) {
        let Some(listener) = self.listener.as_ref().and_then(Weak::upgrade) else { return };
        // In RESP2 it comes on another connection, and replies from before may still be under way.
        let early = self.manner().protocol == Protocol::Resp2 && self.pending() > 0;
        listener.changed(keys, early);
    }
}

impl Pool {
    /// Slots have other owners: those who have read from them are told.
    pub(super) fn moved(&self, slots: &SlotSet) {
        let sessions: Vec<Rc<Lines>> = {
            let sessions = self.sessions.borrow();
            sessions.iter().filter_map(|(_, lines)| lines.upgrade()).collect()
        };
        sessions.iter().for_each(|lines| lines.moved(slots));
    }
}

/// Opens connections to primaries as they come, and again to those that were lost.
async fn keep_reaching(lines: Weak<Lines>, pool: Rc<Pool>) {
    loop {
        let adopted = pool.adopted();
        let Some(lines) = lines.upgrade() else { return };
        if let Err(error) = lines.open_all() {
            tracing::warn!(reason = %error, "a client that is to hear of every key cannot");
            return lines.deafen();
        }
        drop(lines);
        tokio::select! {
            () = adopted => {}
            () = sleep(LOOK) => {}
        }
    }
}

/// A connection from dialling to its end.
async fn drive(
    lines: Weak<Lines>,
    agreement: Rc<Agreement>,
    pool: Rc<Pool>,
    pipeline: Rc<Pipeline>,
    _share: Share,
) {
    let node = pipeline.node().clone();
    node.open_own(&pipeline);
    let count = agreement.connections();
    pool.metrics().tracking_connections(count as i64);
    let mut was_ready = false;
    let agreed = || {
        was_ready = true;
        if let Some(lines) = lines.upgrade() {
            lines.agreed(&pipeline);
        }
    };
    let end = tracked::converse(&pool, &pipeline, &agreement.options, agreed).await;
    pool.metrics().tracking_connections(-(count as i64));
    node.close(&pipeline);
    let why = end.reason();
    tracing::debug!(reason = %why, "connection of a client that caches ended");
    if let Some(lines) = lines.upgrade() {
        lines.ended(&pipeline, was_ready, &end);
    }
    if let End::Refused(why) = end {
        let cause = Cause::Deaf(Deaf::Refused(why));
        pipeline.orphans().into_iter().for_each(|orphan| pool.give_up(orphan.errand, &cause));
    } else if !pipeline.is_ending() || pipeline.pending() > 0 {
        pool.lost(&pipeline, &why);
    }
}
