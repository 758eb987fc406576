//! A connection that one session has for itself: for what a shared one cannot carry, such as WATCH or waiting.
//!
//! Invariant: a lease that is given back carries no state, and nothing is under way on it. Whoever is not sure
//! drops it, which closes the connection, so that a node never pops an element for nobody.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::time::sleep;
use tokio_util::codec::FramedRead;

use crate::cluster::Slot;
use crate::metrics::Limit;
use crate::resp::{Protocol, write};

use super::clock::micros;
use super::connect::{Cause, accepted, dial, send};
use super::framing::Replies;
use super::health::silence;
use super::node::Node;
use super::pool::{Hint, Pool, Reason};
use super::redirect::{Refusal, refusal};
use super::stream::Stream;
use super::{Manner, UNCERTAIN};

/// Most bytes in one reply: what a server's longest string allows, with some room.
const REPLY_BYTES: usize = 1 << 30;
/// More than a client's socket takes at once of a reply that is passed on whole.
const TAKEN_AT_ONCE: usize = 8 << 20;
/// Idle leases that a node keeps.
const KEPT: usize = 64;
/// Pauses while a slot has no owner that can be reached.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(80);

/// Why a slot without an owner is not served.
const NOBODY: &str = "no node serves the slot";

/// Why there is no lease, or no reply on it. `Display` is the line that the client gets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// All are taken.
    #[error("ERR the gateway has no connection left for this command (backend.leases)")]
    NoneLeft,
    /// No node serves the slot, for longer than a request may wait.
    #[error("CLUSTERDOWN Hash slot {0} not served: {1}")]
    NotServed(usize, String),
    /// The connection is gone.
    #[error("{UNCERTAIN}")]
    Lost(String),
    /// The node does not let the user in.
    #[error("ERR {0}")]
    Barred(String),
}

/// What to do about a node that turned a request away. Nothing of it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detour {
    /// The slot has another owner, who is known now.
    Moved,
    /// This one request is for the node of this address, after `ASKING`.
    Ask(Rc<str>),
    /// It may succeed later.
    Later,
}

/// A connection to one node. Dropped, it is closed.
pub struct Lease {
    node: Rc<Node>,
    manner: Manner,
    talk: FramedRead<Stream, Replies>,
    number: Option<i64>,
    /// Keeps count of the worker's leases.
    _share: Share,
}

/// Some of the leases that a worker may have.
pub(super) struct Share {
    taken: Rc<Cell<usize>>,
    count: usize,
}

impl Share {
    fn of(taken: &Rc<Cell<usize>>, count: usize, most: usize) -> Option<Self> {
        (taken.get() + count <= most).then(|| {
            taken.set(taken.get() + count);
            Self { taken: taken.clone(), count }
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.taken.set(self.taken.get().saturating_sub(self.count));
    }
}

impl Lease {
    /// The node, as it was dialled.
    pub fn address(&self) -> &Rc<str> {
        &self.node.address
    }

    /// The node's number for this connection, once somebody asked for it.
    pub fn number(&self) -> Option<i64> {
        self.number
    }

    /// Notes what the node answered to `CLIENT ID`.
    pub fn note_number(&mut self, number: Option<i64>) {
        self.number = number;
    }

    /// Sends requests in one write. After an error the last of them has not run: the node never got all of it.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, requests: &[u8]) -> Result<(), LeaseError> {
        send(self.talk.get_mut(), requests).await.map_err(|error| self.lost(error.into()))
    }

    /// The next reply, or the next message that nobody asked for. Nothing is lost when this is dropped.
    ///
    /// # Errors
    /// The connection is gone, or what comes is no reply.
    pub async fn next(&mut self) -> Result<Bytes, LeaseError> {
        let next = self.talk.next().await.unwrap_or(Err(Cause::Closed));
        next.map_err(|cause| self.lost(cause))
    }

    /// Sends requests in one write and waits for `count` replies.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn ask(&mut self, requests: &[u8], count: usize) -> Result<Vec<Bytes>, LeaseError> {
        self.send(requests).await?;
        let mut replies = Vec::new();
        for _ in 0..count {
            replies.push(self.next().await?);
        }
        Ok(replies)
    }

    fn lost(&self, cause: Cause) -> LeaseError {
        LeaseError::Lost(format!("{}: {cause}", self.node.address))
    }

    /// Whether the node has said something, or closed the connection, while nobody used it. The system is asked only
    /// if it has told of something.
    pub fn is_stale(&self) -> bool {
        let socket = self.talk.get_ref().socket();
        let peek = || SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]);
        let peeked = socket.try_io(Interest::READABLE, peek);
        let silent = matches!(peeked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        !silent || !self.talk.read_buffer().is_empty()
    }
}

impl Pool {
    /// A connection to the owner of this slot. While the slot has none that can be reached, it waits as long as
    /// a request may be held.
    ///
    /// # Errors
    /// Too many are in use, or the slot is not served.
    pub async fn lease(self: &Rc<Self>, slot: Slot, manner: Manner) -> Result<Lease, LeaseError> {
        let started = self.clock().tick();
        let mut pause = FIRST_PAUSE;
        loop {
            let owner = self.routes.borrow().owner(slot).cloned();
            let why = match owner {
                Some(node) => match self.lease_of(&node, manner).await? {
                    Ok(lease) => return Ok(lease),
                    Err(why) => why,
                },
                None => NOBODY.to_owned(),
            };
            if self.clock().tick().saturating_sub(started)
                >= micros(self.settings().backend.hold_time)
            {
                return Err(LeaseError::NotServed(slot.index(), why));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Which of these slots cannot be served now, and why: the first one's error; `None`: each of them can.
    pub fn not_served(&self, slots: impl IntoIterator<Item = Slot>) -> Option<LeaseError> {
        let now = self.clock().now();
        let why = |slot: &Slot| {
            let routes = self.routes.borrow();
            let Some(node) = routes.owner(*slot) else { return Some(NOBODY.to_owned()) };
            let silence = node.is_silent().then(|| silence(node));
            silence.or_else(|| node.down(now)).map(|why| why.to_string())
        };
        let mut slots = slots.into_iter();
        slots.find_map(|slot| Some(LeaseError::NotServed(slot.index(), why(&slot)?)))
    }

    /// A connection to the node of this address, as a redirection or the topology names it.
    ///
    /// # Errors
    /// Too many are in use, or the node cannot be reached.
    pub async fn lease_at(
        self: &Rc<Self>,
        address: &str,
        manner: Manner,
    ) -> Result<Lease, LeaseError> {
        let node = self.node(address);
        self.lease_of(&node, manner).await?.map_err(LeaseError::Lost)
    }

    /// Ready when the next topology gives a slot another owner. What happens from this call on counts.
    pub fn adopted(&self) -> impl Future<Output = ()> {
        self.adopted.notified()
    }

    /// The address of the node that serves the slot, as far as the worker knows.
    pub fn owner(&self, slot: Slot) -> Option<Rc<str>> {
        self.routes.borrow().owner(slot).map(|node| node.address.clone())
    }

    /// Leases in use or kept.
    pub fn leases(&self) -> usize {
        self.leases.get()
    }

    /// Leases for connections that are held for as long as somebody likes.
    pub(super) fn lasting_share(&self, count: usize) -> Result<Share, LeaseError> {
        self.share(count, self.lasting_leases())
    }

    fn share(&self, count: usize, most: usize) -> Result<Share, LeaseError> {
        let share = Share::of(&self.leases, count, most);
        share.ok_or_else(|| {
            self.metrics().limit_reached(Limit::Leases);
            LeaseError::NoneLeft
        })
    }

    /// Whether enough leases are left that one may be held for as long as somebody likes to wait. The last
    /// quarter is kept for those who are done soon.
    pub fn has_spare_lease(&self) -> bool {
        self.leases.get() < self.lasting_leases()
    }

    fn lasting_leases(&self) -> usize {
        self.settings().backend.leases * 3 / 4
    }

    /// What a reply on a lease means for its request. `None`: the reply is the request's own.
    pub fn detour(self: &Rc<Self>, lease: &Lease, reply: &[u8]) -> Option<Detour> {
        let refusal = refusal(reply)?;
        self.metrics().redirected(refusal.kind()?);
        Some(match refusal {
            Refusal::Moved(slot, place) => {
                let node = self.named(place, &lease.node);
                self.learn(slot, &node);
                Detour::Moved
            }
            Refusal::Ask(place) => Detour::Ask(self.named(place, &lease.node).address.clone()),
            _ => {
                (self.parts.hint)(Hint { reason: Reason::Refused, node: lease.address() });
                Detour::Later
            }
        })
    }

    /// Takes a lease back for somebody else. It must carry no state, and owe no reply.
    pub fn give_back(&self, lease: Lease) {
        if !lease.is_stale() {
            lease.node.clone().keep(lease, KEPT);
        }
    }

    /// The inner error says why the node cannot be reached.
    async fn lease_of(
        self: &Rc<Self>,
        node: &Rc<Node>,
        manner: Manner,
    ) -> Result<Result<Lease, String>, LeaseError> {
        if node.is_silent() {
            return Ok(Err(silence(node).to_string()));
        }
        while let Some(lease) = node.kept(manner) {
            if !lease.is_stale() {
                return Ok(Ok(lease));
            }
        }
        let now = self.clock().now();
        if let Some(why) = node.barred.why(manner.login, now) {
            return Err(LeaseError::Barred(why.to_string()));
        }
        if let Some(why) = node.down(now) {
            return Ok(Err(why.to_string()));
        }
        let share = self.share(1, self.settings().backend.leases)?;
        let handshake = self.handshake(manner);
        // Most leases are there already, and whoever waits for one should not be as large as a handshake.
        match Box::pin(dial(&node.address, &handshake)).await {
            Ok(stream) => {
                node.barred.lift(manner.login);
                // A longer one would be more than its client may leave unread.
                let unread = self.settings().limits.output_hard;
                let most = unread.saturating_add(TAKEN_AT_ONCE).min(REPLY_BYTES);
                let talk = FramedRead::new(stream, Replies::new(most));
                Ok(Ok(Lease { node: node.clone(), manner, talk, number: None, _share: share }))
            }
            Err(error) => {
                if let Some(why) = self.bars(node, manner, &error) {
                    return Err(LeaseError::Barred(why.to_string()));
                }
                (self.parts.hint)(Hint { reason: Reason::Lost, node: &node.address });
                Ok(Err(error.to_string()))
            }
        }
    }
}

impl Lease {
    /// The protocol that it speaks, the database that it has selected, and as whom it is logged in.
    pub fn manner(&self) -> Manner {
        self.manner
    }

    /// Makes it carry this from now on; what it watches stays watched. It cannot become another user's.
    ///
    /// # Errors
    /// The node does not agree, or the connection is gone. It is of no use then.
    pub async fn agree(&mut self, manner: Manner) -> Result<(), LeaseError> {
        let (before, mut request, mut count) = (self.manner, Vec::new(), 0);
        if before.login != manner.login {
            return Err(LeaseError::Lost(format!("{}: of another user", self.node.address)));
        }
        if before.protocol != manner.protocol {
            let version = match manner.protocol {
                Protocol::Resp2 => "2",
                Protocol::Resp3 => "3",
            };
            write::command(&mut request, &["HELLO", version]);
            count += 1;
        }
        if before.database != manner.database {
            write::command(&mut request, &["SELECT", &manner.database.to_string()]);
            count += 1;
        }
        if count > 0 {
            for reply in self.ask(&request, count).await? {
                accepted(reply).map_err(|cause| self.lost(cause))?;
            }
            self.manner = manner;
        }
        Ok(())
    }
}
