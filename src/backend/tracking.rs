//! Watches keys for those who wait for them: one connection to each node, shared by all of a worker.
//!
//! A server with `CLIENT TRACKING ON` remembers which keys a connection has read, absent ones too, and says once
//! when one of them changes. So a key is *armed* by asking whether it exists, and has to be armed again after each
//! change. What no server reports is a slot that moves away while the key is absent: those who wait arm their keys
//! again from time to time, and whenever the topology changes.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio_util::codec::FramedRead;

use crate::cluster::Slot;
use crate::resp::{Protocol, Value, write};

use super::Manner;
use super::clock::{Micros, micros};
use super::connect::{Cause, dial, send};
use super::framing::Replies;
use super::node::Node;
use super::pool::{Hint, Pool, Reason};
use super::redirect::{Refusal, refusal};
use super::stream::Stream;

/// A node that owes an answer for longer is given up.
const SILENCE: Duration = Duration::from_secs(2);

/// Who is told what happens to keys. Called while nothing is borrowed here.
pub trait Watcher {
    /// The key is armed: its next change will be told. `present` says whether it is there.
    fn armed(&self, key: &Bytes, present: bool);

    /// The key has changed, or another node has it, and it is not armed any more.
    fn changed(&self, key: &[u8]);

    /// No key is armed any more.
    fn changed_all(&self);

    /// The key could not be armed: in these words of a node, or for reasons that may pass.
    fn failed(&self, key: &Bytes, refusal: Option<&[u8]>);
}

/// A worker's watch over keys on all nodes.
pub struct Tracking {
    pool: Rc<Pool>,
    /// What the keys are in.
    database: u16,
    watcher: Weak<dyn Watcher>,
    lookouts: RefCell<HashMap<Rc<str>, Rc<Lookout>, foldhash::fast::RandomState>>,
}

/// The connection to one node.
struct Lookout {
    node: Rc<Node>,
    outbox: RefCell<Outbox>,
    /// There is something to send.
    filled: Notify,
    /// The connection is not wanted any more.
    cut: Notify,
}

#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    /// Keys in the order in which they were asked for.
    pending: VecDeque<Pending>,
}

/// A key that is being armed.
struct Pending {
    key: Bytes,
    /// `ASKING` was sent before it and has no reply yet.
    asking: bool,
    /// Redirections followed.
    hops: u8,
    since: Micros,
}

/// Why a connection ended.
enum End {
    /// It could not be made, or broke.
    Lost(Cause),
    /// The node does not let it track, in its own words.
    Refused(Bytes),
}

impl From<Cause> for End {
    fn from(cause: Cause) -> Self {
        Self::Lost(cause)
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(error.into())
    }
}

impl Tracking {
    /// No connections yet; they are made when keys are armed.
    pub fn new(pool: Rc<Pool>, database: u16, watcher: Weak<dyn Watcher>) -> Rc<Self> {
        Rc::new(Self { pool, database, watcher, lookouts: RefCell::default() })
    }

    /// Arms a key; the watcher is told how that went, in this call or later.
    pub fn arm(self: &Rc<Self>, key: Bytes) {
        let owner = self.pool.routes.borrow().owner(Slot::of(&key)).cloned();
        let pending = Pending { key, asking: false, hops: 0, since: self.pool.clock().now() };
        match owner {
            Some(node) => self.arm_at(&node, pending),
            None => self.fail(&pending.key, None),
        }
    }

    /// Gives up connections that owe an answer for too long.
    pub fn look(&self) {
        let now = self.pool.clock().tick();
        for lookout in self.lookouts.borrow().values() {
            let outbox = lookout.outbox.borrow();
            let oldest = outbox.pending.front().map(|pending| pending.since);
            if oldest.is_some_and(|since| now.saturating_sub(since) > micros(SILENCE)) {
                lookout.cut.notify_one();
            }
        }
    }

    /// Closes all connections: nobody waits for anything.
    pub fn rest(&self) {
        for lookout in self.lookouts.borrow_mut().drain().map(|(_, lookout)| lookout) {
            lookout.cut.notify_one();
        }
    }

    fn arm_at(self: &Rc<Self>, node: &Rc<Node>, pending: Pending) {
        let known = self.lookouts.borrow().get(&node.address).cloned();
        if let Some(lookout) = known {
            return lookout.ask(pending);
        }
        if node.down(self.pool.clock().now()).is_some() {
            return self.fail(&pending.key, None);
        }
        let lookout = Rc::new(Lookout {
            node: node.clone(),
            outbox: RefCell::default(),
            filled: Notify::new(),
            cut: Notify::new(),
        });
        lookout.ask(pending);
        self.lookouts.borrow_mut().insert(node.address.clone(), lookout.clone());
        spawn_local(self.clone().run(lookout));
    }

    /// A connection from dialling to its end.
    async fn run(self: Rc<Self>, lookout: Rc<Lookout>) {
        let mut connected = false;
        let end = tokio::select! {
            end = self.converse(&lookout, &mut connected) => end,
            () = lookout.cut.notified() => Ok(()),
        };
        let mut lookouts = self.lookouts.borrow_mut();
        if lookouts.get(&lookout.node.address).is_some_and(|known| Rc::ptr_eq(known, &lookout)) {
            lookouts.remove(&lookout.node.address);
        }
        drop(lookouts);
        let refused = match end {
            Err(End::Refused(reply)) => Some(reply),
            Err(End::Lost(cause)) => {
                tracing::debug!(node = %lookout.node.address, reason = %cause, "watch over keys ended");
                (self.pool.parts.hint)(Hint { reason: Reason::Lost, node: &lookout.node.address });
                None
            }
            Ok(()) => None,
        };
        let pending = std::mem::take(&mut lookout.outbox.borrow_mut().pending);
        for Pending { key, .. } in pending {
            self.fail(&key, refused.as_deref());
        }
        if connected && let Some(watcher) = self.watcher.upgrade() {
            watcher.changed_all();
        }
    }

    /// Sends what is asked and hears what comes, until the connection ends.
    async fn converse(self: &Rc<Self>, lookout: &Lookout, connected: &mut bool) -> Result<(), End> {
        let handshake = self.pool.handshake(Manner::new(Protocol::Resp3, self.database));
        let stream = dial(&lookout.node.address, &handshake)
            .await
            .map_err(|error| End::Lost(error.cause))?;
        let mut talk = FramedRead::new(stream, Replies::new(self.pool.longest_message()));
        let mut first = Vec::new();
        write::command(&mut first, &["CLIENT", "TRACKING", "ON"]);
        send(talk.get_mut(), &first).await?;
        let reply = next(&mut talk).await?;
        if reply.first() != Some(&b'+') {
            return Err(End::Refused(reply));
        }
        *connected = true;
        loop {
            let bytes = std::mem::take(&mut lookout.outbox.borrow_mut().bytes);
            if !bytes.is_empty() {
                send(talk.get_mut(), &bytes).await?;
            }
            tokio::select! {
                reply = next(&mut talk) => self.heard(lookout, &reply?),
                () = lookout.filled.notified() => {}
            }
        }
    }

    fn heard(self: &Rc<Self>, lookout: &Lookout, message: &[u8]) {
        if message.first() == Some(&b'>') {
            return self.told(message);
        }
        let mut outbox = lookout.outbox.borrow_mut();
        match outbox.pending.front_mut() {
            Some(first) if first.asking => first.asking = false,
            _ => {
                let pending = outbox.pending.pop_front();
                drop(outbox);
                if let Some(pending) = pending {
                    self.answered(lookout, pending, message);
                }
            }
        }
    }

    /// `>2 invalidate [key ..]`; nil in place of the keys means all of them.
    fn told(&self, message: &[u8]) {
        let (Ok(message), Some(watcher)) = (Value::parse(message), self.watcher.upgrade()) else {
            return;
        };
        match message.as_array() {
            Some([kind, keys]) if kind.as_str() == Some("invalidate") => match keys.as_array() {
                Some(keys) => {
                    keys.iter().filter_map(Value::bytes).for_each(|key| watcher.changed(key));
                }
                None => watcher.changed_all(),
            },
            _ => {}
        }
    }

    /// The answer to `EXISTS`.
    fn answered(self: &Rc<Self>, lookout: &Lookout, mut pending: Pending, reply: &[u8]) {
        let Some(watcher) = self.watcher.upgrade() else { return };
        if reply.first() == Some(&b':') {
            return watcher.armed(&pending.key, reply != b":0\r\n");
        }
        let Some(refusal) = refusal(reply) else {
            return watcher.failed(&pending.key, Some(reply));
        };
        let Some(kind) = refusal.kind() else { return watcher.failed(&pending.key, Some(reply)) };
        self.pool.metrics().redirected(kind);
        pending.hops = pending.hops.saturating_add(1);
        let elsewhere = pending.hops <= self.pool.settings().backend.max_redirects;
        match refusal {
            Refusal::Moved(slot, place) if elsewhere => {
                let node = self.pool.named(place, &lookout.node);
                self.pool.learn(slot, &node);
                watcher.changed(&pending.key);
                self.arm_at(&node, pending);
            }
            Refusal::Ask(place) if elsewhere => {
                let node = self.pool.named(place, &lookout.node);
                watcher.changed(&pending.key);
                self.arm_at(&node, Pending { asking: true, ..pending });
            }
            _ => {
                let hint = Hint { reason: Reason::Refused, node: &lookout.node.address };
                (self.pool.parts.hint)(hint);
                watcher.failed(&pending.key, None);
            }
        }
    }

    fn fail(&self, key: &Bytes, refusal: Option<&[u8]>) {
        if let Some(watcher) = self.watcher.upgrade() {
            watcher.failed(key, refusal);
        }
    }
}

impl Lookout {
    fn ask(&self, pending: Pending) {
        let mut outbox = self.outbox.borrow_mut();
        if pending.asking {
            write::command(&mut outbox.bytes, &["ASKING"]);
        }
        write::command(&mut outbox.bytes, &[&b"EXISTS"[..], &pending.key]);
        outbox.pending.push_back(pending);
        self.filled.notify_one();
    }
}

async fn next(talk: &mut FramedRead<Stream, Replies>) -> Result<Bytes, Cause> {
    talk.next().await.unwrap_or(Err(Cause::Closed))
}
