//! A wait for keys of one slot: the request itself, on a connection that nobody shares.
//!
//! The time that is left goes along when the slot gets another owner. A connection that breaks while the node
//! waits may take an element with it, as with any server: then nobody repeats the request but the client.

use std::collections::VecDeque;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::asked::Asked;
use super::wish::Wish;
use super::{Ending, Waiting, error};
use crate::backend::{Detour, Lease, LeaseError, Manner, Pool, Terms};
use crate::cluster::Slot;
use crate::resp::{Value, write};

/// A node that does not end a wait by itself this long after its time has forgotten it.
const GRACE: Duration = Duration::from_secs(1);
/// A node is told to end a wait until it has, for the request itself may still be on its way; the pause between.
const RECALL_PAUSE: Duration = Duration::from_millis(20);
/// Pauses before a node is asked again that could not serve.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// What a node tells those who wait on it when it becomes a replica.
const FORCED_AWAKE: &[u8] = b"-UNBLOCKED force unblock";

/// What a node says of a wait that it was told to end.
const ENDED: &[u8] = b"-UNBLOCKED client unblocked";
const PONG: &[u8] = b"+PONG\r\n";

/// Why a slot is not served whose owner is there, as far as is known.
const UNSTEADY: &str = "its node takes no wait";

/// How a wait on a connection of its own has ended.
pub(super) enum Outcome {
    /// With this reply; empty when the client gets none.
    Reply(Vec<u8>),
    /// It has not: it goes on by watching the keys.
    Track,
}

/// What one connection has led to.
enum Try {
    Done(Outcome),
    /// The request is to be sent again. When that has been tried for too long, this is the reply, or that the slot is not
    /// served.
    Again(Option<Vec<u8>>),
}

impl Try {
    fn reply(reply: impl Into<Vec<u8>>) -> Self {
        Self::Done(Outcome::Reply(reply.into()))
    }
}

/// Waits until there is something.
pub(super) async fn perform(waiting: &mut Waiting, slot: Slot) -> Outcome {
    let mut patience = Patience {
        most: waiting.worker.gateway.settings().backend.hold_time,
        since: None,
        pause: Duration::ZERO,
    };
    let mut sent = false;
    loop {
        let left = waiting.deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.filter(|_| sent);
        if left == Some(Duration::ZERO) {
            return Outcome::Reply(waiting.nothing());
        }
        let lease = tokio::select! {
            biased;
            ending = waiting.wait.ended() => return Outcome::Reply(waiting.ended(ending)),
            lease = waiting.worker.pool.lease(slot, waiting.manner) => lease,
        };
        let lease = match lease {
            Ok(lease) => lease,
            Err(LeaseError::NoneLeft) if waiting.wish.can_track() => return Outcome::Track,
            Err(why) => return Outcome::Reply(error(why.to_string())),
        };
        let (frame, began) = (waiting.wish.frame(left), Instant::now());
        sent = true;
        match wait_on(waiting, lease, slot, frame).await {
            Try::Done(outcome) => return outcome,
            Try::Again(reply) => {
                if !patience.lasts(began).await {
                    return Outcome::Reply(reply.unwrap_or_else(|| not_served(waiting, slot)));
                }
            }
        }
    }
}

fn not_served(waiting: &Waiting, slot: Slot) -> Vec<u8> {
    let why = waiting.worker.pool.not_served([slot]);
    let why = why.unwrap_or_else(|| LeaseError::NotServed(slot.index(), UNSTEADY.to_owned()));
    error(why.to_string())
}

/// How long a request is sent again without ever beginning to wait.
struct Patience {
    most: Duration,
    since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// Pauses before the next try. The first one is made at once, also after a long wait, which does not count.
    async fn lasts(&mut self, began: Instant) -> bool {
        if began.elapsed() > LONGEST_PAUSE {
            self.since = None;
            self.pause = Duration::ZERO;
        }
        if self.since.get_or_insert_with(Instant::now).elapsed() >= self.most {
            return false;
        }
        if !self.pause.is_zero() {
            sleep(self.pause).await;
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        true
    }
}

/// Sends the request and waits for its reply, or for a reason to end that.
async fn wait_on(waiting: &mut Waiting, lease: Lease, slot: Slot, frame: Vec<u8>) -> Try {
    let (pool, wait) = (waiting.worker.pool.clone(), waiting.wait.clone());
    let node = lease.address().clone();
    let mut held = Held::new(lease);
    let sent = tokio::select! {
        biased;
        // A request that is cut off in the middle does not run.
        ending = wait.ended() => return Try::reply(waiting.ended(ending)),
        sent = held.send(&waiting.wish, &frame) => sent,
    };
    if sent.is_err() {
        return Try::Again(None);
    }
    waiting.begins_to_wait();
    let (trail, began) = (waiting.trail(), pool.clock().tick());
    let told = |reply: &[u8]| trail.leased(&node, &frame, (began, pool.clock().tick()), reply);
    let ending = tokio::select! {
        biased;
        reply = held.reply(&mut waiting.wish) => return match reply {
            Ok(reply) => {
                told(&reply);
                heard(waiting, held, &reply)
            }
            Err(_) => lost(waiting),
        },
        ending = wait.ended() => Some(ending),
        () = moved_on(&pool, slot, &node) => None,
        () = overdue(waiting.deadline) => None,
    };
    let reply = held.recall(waiting).await;
    if let Some(reply) = &reply {
        told(reply);
    }
    match (reply, ending) {
        (Some(reply), None) if is_empty(&reply) => {
            held.give_back(&pool);
            Try::Again(None)
        }
        (Some(reply), Some(ending)) if is_empty(&reply) => {
            held.give_back(&pool);
            Try::reply(waiting.ended(ending))
        }
        (Some(reply), _) => match (heard(waiting, held, &reply), ending) {
            (Try::Done(Outcome::Reply(reply)), _) => Try::reply(reply),
            (_, Some(ending)) => Try::reply(waiting.ended(ending)),
            (again, None) => again,
        },
        (None, Some(Ending::Left)) => Try::reply([]),
        (None, _) => lost(waiting),
    }
}

/// Whether the reply of a wait that was told to end says that it had found nothing.
fn is_empty(reply: &[u8]) -> bool {
    reply.starts_with(ENDED) || matches!(reply, b"*-1\r\n" | b"_\r\n")
}

/// The node has answered.
fn heard(waiting: &Waiting, held: Held, reply: &[u8]) -> Try {
    let pool = &waiting.worker.pool;
    let detour = pool.detour(&held.lease, reply);
    let demoted = reply.starts_with(FORCED_AWAKE);
    if demoted {
        // The node closes the connection now.
        pool.look_again(held.lease.address());
    } else {
        held.give_back(pool);
    }
    // The slot is on its way to another node, and each key may stand on either side: alone it can be found.
    let migrating = matches!(detour, Some(Detour::Ask(_))) || reply.starts_with(b"-TRYAGAIN ");
    match detour {
        _ if migrating && waiting.wish.can_track() => Try::Done(Outcome::Track),
        Some(Detour::Later) => Try::Again(Some(reply.to_vec())),
        None if !demoted => Try::reply(reply),
        _ => Try::Again(None),
    }
}

/// The connection is gone, and perhaps an element with it.
fn lost(waiting: &Waiting) -> Try {
    if waiting.wish.is_repeatable() {
        return Try::Again(None);
    }
    waiting.worker.metrics.uncertain();
    Try::reply(error(LeaseError::Lost(String::new()).to_string()))
}

/// Ready when another node owns the slot. One that lives tells its waiters so; one that does not cannot.
async fn moved_on(pool: &Pool, slot: Slot, node: &Rc<str>) {
    loop {
        let adopted = pool.adopted();
        if pool.owner(slot).is_some_and(|owner| owner != *node) {
            return;
        }
        adopted.await;
    }
}

/// Ready when the node should have ended the wait by itself.
async fn overdue(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline + GRACE).await,
        None => pending().await,
    }
}

/// A connection on which the request is, and what was asked before it in the same breath.
struct Held {
    lease: Lease,
    before: VecDeque<Before>,
    /// The node may yet be told to end whatever waits on this connection.
    recalled: bool,
}

/// A question whose answer comes before the wait's.
enum Before {
    /// The node's number for the connection, by which it can be told to end the wait.
    Number,
    /// The last ID of the stream that is this one of the keys.
    Latest(usize),
}

impl Held {
    fn new(lease: Lease) -> Self {
        Self { lease, before: VecDeque::new(), recalled: false }
    }

    /// The connection may be somebody else's, if nothing is under way that could end that one's wait.
    fn give_back(self, pool: &Pool) {
        if !self.recalled {
            pool.give_back(self.lease);
        }
    }

    async fn send(&mut self, wish: &Wish, frame: &[u8]) -> Result<(), LeaseError> {
        let mut bytes = Vec::new();
        if self.lease.number().is_none() {
            write::command(&mut bytes, &["CLIENT", "ID"]);
            self.before.push_back(Before::Number);
        }
        for (number, key) in wish.latest() {
            bytes.extend(Wish::ask_latest(&key));
            self.before.push_back(Before::Latest(number));
        }
        bytes.extend_from_slice(frame);
        self.lease.send(&bytes).await
    }

    /// The wait's reply. Nothing is lost when this is dropped and called again.
    async fn reply(&mut self, wish: &mut Wish) -> Result<Bytes, LeaseError> {
        loop {
            let reply = self.lease.next().await?;
            match self.before.pop_front() {
                Some(Before::Number) => {
                    let number = Value::parse(&reply).ok().and_then(|value| value.as_integer());
                    self.lease.note_number(number);
                }
                Some(Before::Latest(number)) => {
                    // A node that does not serve the slot cannot tell; then the request is sent again as well.
                    wish.note_latest(number, &reply);
                }
                None => return Ok(reply),
            }
        }
    }

    /// Tells the node to end the wait, and waits for what the wait says to that, as long as a node may take for any
    /// reply: one that lives and is slow must not make a client believe that an element is lost.
    async fn recall(&mut self, waiting: &mut Waiting) -> Option<Bytes> {
        let patience = waiting.worker.gateway.settings().backend.request_timeout;
        timeout(patience, self.end_wait(waiting)).await.ok().flatten()
    }

    async fn end_wait(&mut self, waiting: &mut Waiting) -> Option<Bytes> {
        loop {
            self.tell_to_end(waiting).await?;
            if let Ok(reply) = timeout(RECALL_PAUSE, self.reply(&mut waiting.wish)).await {
                let reply = reply.ok()?;
                let ended = reply.starts_with(ENDED);
                return if ended { self.see_through(waiting, reply).await } else { Some(reply) };
            }
        }
    }

    /// A node that pauses its writes, as before a failover, says that the wait has ended and runs the request all the
    /// same once the pause is over. Only what it says to the next request shows that nothing runs any more.
    async fn see_through(&mut self, waiting: &mut Waiting, ended: Bytes) -> Option<Bytes> {
        let mut ping = Vec::new();
        write::command(&mut ping, &["PING"]);
        self.lease.send(&ping).await.ok()?;
        let mut said = None;
        loop {
            match timeout(RECALL_PAUSE, self.lease.next()).await {
                Ok(Ok(reply)) if reply == PONG => return said.or(Some(ended)),
                Ok(Ok(reply)) if reply.starts_with(ENDED) => {}
                Ok(Ok(reply)) => said = Some(reply),
                Ok(Err(_)) => return said,
                Err(_) => self.tell_to_end(waiting).await?,
            }
        }
    }

    /// `None`: the node cannot be told. Never `TIMEOUT`: of a request that it has put off for a pause, a server of
    /// version 7.0 would die.
    async fn tell_to_end(&mut self, waiting: &Waiting) -> Option<()> {
        let Some(number) = self.lease.number() else {
            // The answer with the number may be on its way.
            return (!self.before.is_empty()).then_some(());
        };
        let mut request = Vec::new();
        write::command(&mut request, &["CLIENT", "UNBLOCK", &number.to_string(), "ERROR"]);
        // By the gateway's own user: the client's may not be allowed to.
        let (pool, terms) = (&waiting.worker.pool, Terms::new(None, Manner::own()));
        let asked = Asked::node(pool, self.lease.address(), terms, request);
        let answer = asked.reply().await;
        if answer.starts_with(b"-UNCERTAIN") {
            // That was lost with its own connection. This one may be whole.
            self.recalled = true;
        } else if answer.first() != Some(&b':') {
            return None;
        }
        Some(())
    }
}
