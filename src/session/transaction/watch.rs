//! WATCH: for each watched slot a connection of the session's own to the slot's owner, until EXEC.
//!
//! Invariant: where the gateway cannot be sure that nothing has changed, EXEC finds a change. A node says so for
//! every key that it has, but not for one that it has not while the slot moves away. So a watched connection that
//! broke, or whose slot has another owner, counts as changed; and EXEC asks in the same breath whether the watched
//! keys exist, which a node that no longer has their slot, or is giving it away, refuses to answer.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::backend::{ABORTED, Detour, Lease, LeaseError, Manner, Pool, micros};
use crate::cluster::Slot;
use crate::command::CommandSpec;
use crate::config::Transactions;
use crate::metrics::Limit;
use crate::resp::{Request, write};

use super::super::conversation::{Conversation, Flow};
use super::super::family::family;
use super::super::traces::Trail;
use super::super::worker::Worker;
use super::queue::Block;
use super::{CROSSSLOT, TOO_LARGE, Transaction, limit};

/// Between two tries to find the node that has the slot.
const PAUSE: Duration = Duration::from_millis(5);
/// The reply to WATCH.
const OK: &[u8] = b"+OK\r\n";

type KeySet = HashSet<Bytes, foldhash::fast::RandomState>;

/// The watched keys of one slot.
pub(super) struct Watch {
    slot: Slot,
    /// `None`: it is lost.
    lease: Option<Lease>,
    /// Who served the slot when its first key was watched.
    owner: Option<Rc<str>>,
    /// The slot is moving, and the connection is to the node that it moves to.
    asking: bool,
    keys: KeySet,
}

/// Why a block under WATCH has no array.
#[derive(Debug)]
pub(super) enum Failure {
    /// A watched key has changed, or may have: nothing ran.
    Changed,
    /// The node's error: nothing ran.
    Refused(Vec<u8>),
    /// The connection broke after the block was sent.
    Unknown,
}

/// All that a session watches.
#[derive(Default)]
pub(in crate::session) struct Watching {
    watches: RefCell<Vec<Watch>>,
}

impl Transaction {
    /// Whether it looks out for changes of keys, so that what it reads must be the latest.
    pub(in crate::session) fn is_watching(&self) -> bool {
        self.watching.is_some()
    }
}

/// `WATCH key..`
pub(super) fn begin(
    conversation: &mut Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    let parts = by_slot(request);
    let mut slots = conversation.transaction.watched();
    slots.extend(parts.iter().map(|(slot, _)| *slot));
    slots.dedup();
    let several =
        conversation.worker.gateway.settings().routing.transactions == Transactions::BestEffort;
    if !several && slots.len() > 1 {
        return conversation.fail(family(spec), CROSSSLOT);
    }
    if conversation.replies.unsettled() > 0 {
        return Flow::Wait;
    }
    let watching = conversation.transaction.watching.get_or_insert_default().clone();
    *conversation.client.watching.borrow_mut() = Rc::downgrade(&watching);
    if watching.size() + request.frame().len() > limit(conversation) {
        conversation.worker.metrics.limit_reached(Limit::Transaction);
        return conversation.fail(family(spec), TOO_LARGE);
    }
    let (worker, manner) = (conversation.worker.clone(), conversation.manner());
    let client = conversation.client.clone();
    conversation.answer_later(family(spec), async move {
        let (trail, _) = client.replies.latest();
        for part in parts {
            // What was watched before a slot that fails stays so: EXEC may find a change too many, never one too few.
            let reply = watching.add(&worker, &trail, manner, part).await;
            if reply != OK {
                return reply;
            }
        }
        OK.to_vec()
    });
    Flow::Next
}

/// The keys of a WATCH, slot by slot. All that follows its name are keys.
fn by_slot(request: &Request<'_>) -> Vec<(Slot, Vec<Bytes>)> {
    let mut keys: Vec<(Slot, Bytes)> =
        request.args().skip(1).map(|key| (Slot::of(key), Bytes::copy_from_slice(key))).collect();
    keys.sort_by_key(|(slot, _)| slot.index());
    keys.chunk_by(|one, next| one.0 == next.0)
        .filter_map(|part| {
            Some((part.first()?.0, part.iter().map(|(_, key)| key.clone()).collect()))
        })
        .collect()
}

impl Watching {
    /// The watched slots, in the order in which they were first watched.
    pub(super) fn slots(&self) -> Vec<Slot> {
        self.watches.borrow().iter().map(|watch| watch.slot).collect()
    }

    /// How many keys are watched.
    pub(in crate::session) fn count(&self) -> usize {
        self.watches.borrow().iter().map(|watch| watch.keys.len()).sum()
    }

    /// Bytes of all watched keys.
    pub(super) fn size(&self) -> usize {
        self.watches.borrow().iter().flat_map(|watch| &watch.keys).map(Bytes::len).sum()
    }

    pub(super) fn take(&self) -> Vec<Watch> {
        self.watches.take()
    }

    /// Watches keys of one slot; the reply to WATCH. The session does nothing else meanwhile.
    pub(super) async fn add(
        &self,
        worker: &Worker,
        trail: &Trail,
        manner: Manner,
        (slot, keys): (Slot, Vec<Bytes>),
    ) -> Vec<u8> {
        let known = {
            let mut watches = self.watches.borrow_mut();
            let at = watches.iter().position(|watch| watch.slot == slot);
            at.map(|at| watches.remove(at))
        };
        let watch = match known {
            Some(watch) => Ok(watch.with(worker, trail, manner, keys).await),
            None => Watch::begin(worker, trail, manner, (slot, keys)).await,
        };
        match watch {
            Ok(watch) => {
                self.watches.borrow_mut().push(watch);
                OK.to_vec()
            }
            Err(line) => line,
        }
    }
}

impl Watch {
    /// Watches the first keys of a slot; the error is the client's reply.
    async fn begin(
        worker: &Worker,
        trail: &Trail,
        manner: Manner,
        (slot, keys): (Slot, Vec<Bytes>),
    ) -> Result<Self, Vec<u8>> {
        let pool = &worker.pool;
        let patience = micros(worker.gateway.settings().backend.hold_time);
        let started = worker.clock.tick();
        let mut lease = pool.lease(slot, manner).await.map_err(line)?;
        let mut asking = false;
        loop {
            let owner = pool.owner(slot);
            let question = request(asking, &keys);
            let reply = exchange(worker, trail, &mut lease, (&question, asking.into())).await;
            let detour = match reply.map(|(_, reply)| reply) {
                None => Detour::Later,
                Some(reply) if &*reply == b"+OK\r\n" => {
                    let keys = keys.into_iter().collect();
                    return Ok(Self { slot, lease: Some(lease), owner, asking, keys });
                }
                Some(reply) => match pool.detour(&lease, &reply) {
                    Some(detour) => detour,
                    None => {
                        pool.give_back(lease);
                        return Err(reply.to_vec());
                    }
                },
            };
            if worker.clock.tick().saturating_sub(started) > patience {
                return Err(line(LeaseError::NotServed(slot.index(), format!("{detour:?}"))));
            }
            sleep(PAUSE).await;
            let target = match &detour {
                Detour::Ask(address) => pool.lease_at(address, manner).await.ok(),
                Detour::Moved | Detour::Later => None,
            };
            asking = target.is_some();
            lease = match target {
                Some(target) => target,
                None => pool.lease(slot, manner).await.map_err(line)?,
            };
        }
    }

    /// Watches more keys of the slot.
    async fn with(
        mut self,
        worker: &Worker,
        trail: &Trail,
        manner: Manner,
        keys: Vec<Bytes>,
    ) -> Self {
        // One that is lost stays so: as a server, it says OK and lets EXEC find the change.
        let Some(mut lease) = self.lease.take() else { return self };
        if !agree(worker, &mut lease, manner).await {
            return self;
        }
        let asked = request(self.asking, &keys);
        match exchange(worker, trail, &mut lease, (&asked, self.asking.into())).await {
            Some((_, reply)) if &*reply == b"+OK\r\n" => {
                self.lease = Some(lease);
                self.keys.extend(keys);
            }
            _ => tracing::debug!(slot = self.slot.index(), "watched keys are lost"),
        }
        self
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    /// Whether the node could still tell of a change.
    pub(super) fn holds(&self, pool: &Pool) -> bool {
        let open = self.lease.as_ref().is_some_and(|lease| !lease.is_stale());
        open && pool.owner(self.slot) == self.owner
    }

    /// Asks whether the watched keys exist. A node that no longer has their slot, or is giving it away, refuses.
    pub(super) fn question(&self) -> Vec<u8> {
        let mut request = Vec::new();
        write_keys("EXISTS", self.keys.iter(), &mut request);
        request
    }

    /// Runs the block, in front of which stands the question, unless a watched key has changed. Ends the watch.
    pub(super) async fn exec(
        mut self,
        worker: &Worker,
        trail: &Trail,
        manner: Manner,
        block: &Block,
    ) -> Result<Bytes, Failure> {
        let mut lease = self.lease.take().ok_or(Failure::Changed)?;
        if !agree(worker, &mut lease, manner).await {
            return Err(Failure::Changed);
        }
        let before = block.before() + u32::from(self.asking);
        let mut request = Vec::new();
        if self.asking {
            write::command(&mut request, &["ASKING"]);
        }
        request.extend_from_slice(&block.run());
        let asked = (request.as_slice(), before);
        let Some((objection, reply)) = exchange(worker, trail, &mut lease, asked).await else {
            worker.metrics.uncertain();
            return Err(Failure::Unknown);
        };
        let outcome = judge(&worker.pool, &lease, objection, reply);
        worker.pool.give_back(lease);
        outcome
    }

    /// Ends the watch; the connection is somebody else's then.
    pub(super) async fn end(mut self, worker: &Worker) {
        let Some(mut lease) = self.lease.take() else { return };
        let mut request = Vec::new();
        write::command(&mut request, &["UNWATCH"]);
        // Nobody waits for it.
        let reply = exchange(worker, &Trail::default(), &mut lease, (&request, 0)).await;
        if reply.is_some_and(|(_, reply)| &*reply == b"+OK\r\n") {
            worker.pool.give_back(lease);
        }
    }
}

/// What the node made of a block.
fn judge(
    pool: &Rc<Pool>,
    lease: &Lease,
    objection: Option<Bytes>,
    reply: Bytes,
) -> Result<Bytes, Failure> {
    match reply.first() {
        Some(b'*') if &*reply != b"*-1\r\n" => return Ok(reply),
        Some(b'-') => {}
        _ => return Err(Failure::Changed),
    }
    if reply.ends_with(b"without MULTI\r\n") {
        return Err(Failure::Unknown);
    }
    let aborted = reply.starts_with(b"-EXECABORT");
    let why = objection.filter(|_| aborted).unwrap_or(reply);
    if pool.detour(lease, &why).is_some() {
        // The node no longer speaks for the slot.
        return Err(Failure::Changed);
    }
    let told = why.starts_with(b"-EXECABORT");
    let reason = why.get(1..).unwrap_or_default();
    Err(Failure::Refused(if told { why.to_vec() } else { [ABORTED, reason].concat() }))
}

/// `WATCH`, after `ASKING` when the node only has the slot because it is moving there.
fn request(asking: bool, keys: &[Bytes]) -> Vec<u8> {
    let mut request = Vec::new();
    if asking {
        write::command(&mut request, &["ASKING"]);
    }
    write_keys("WATCH", keys.iter(), &mut request);
    request
}

fn write_keys<'a>(name: &str, keys: impl ExactSizeIterator<Item = &'a Bytes>, out: &mut Vec<u8>) {
    write::array(out, keys.len() + 1);
    write::bulk(out, name);
    keys.for_each(|key| write::bulk(out, key));
}

/// Sees to it that the connection carries what the client now sends: it may have changed its protocol or its database
/// since it watched. False: the connection is of no use any more.
async fn agree(worker: &Worker, lease: &mut Lease, manner: Manner) -> bool {
    let patience = worker.gateway.settings().backend.request_timeout;
    matches!(timeout(patience, lease.agree(manner)).await, Ok(Ok(())))
}

/// The reply behind `before` others, with the first error among these; `None`: the connection is of no use any more.
async fn exchange(
    worker: &Worker,
    trail: &Trail,
    lease: &mut Lease,
    (request, before): (&[u8], u32),
) -> Option<(Option<Bytes>, Bytes)> {
    let patience = worker.gateway.settings().backend.request_timeout;
    let began = worker.clock.tick();
    let mut replies =
        timeout(patience, lease.ask(request, before as usize + 1)).await.ok()?.ok()?;
    let last = replies.pop()?;
    trail.leased(lease.address(), request, (began, worker.clock.tick()), &last);
    Some((replies.into_iter().find(|reply| reply.first() == Some(&b'-')), last))
}

fn line(error: LeaseError) -> Vec<u8> {
    let mut line = Vec::new();
    write::error(&mut line, error.to_string());
    line
}
