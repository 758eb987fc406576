//! One worker's connections to the nodes; moves bytes, knows no commands.
//!
//! A [`Pool`] takes a request as bytes with its [`Terms`], sends it down the shared pipeline of the node that
//! serves its slot, and gives the whole reply to the [`Asker`]. Redirections, holds and lost connections end
//! in here: an asker sees a reply, or an error that says what is known of the outcome.

mod attention;
mod barred;
mod budget;
mod buffers;
mod clock;
pub mod connect;
mod detours;
mod driver;
mod framing;
mod health;
mod hold;
mod home;
mod lead;
mod lease;
mod lines;
mod login;
mod node;
mod outbox;
mod pending;
mod pipeline;
mod pool;
mod redirect;
mod replicas;
mod retry;
mod routes;
#[cfg(test)]
pub(crate) mod simulated;
mod standing;
mod stream;
mod subscription;
mod tracked;
mod tracking;
mod upkeep;

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;

pub use attention::{Attention, Noticed};
pub use buffers::Buffers;
pub use clock::{Clock, Micros, micros};
pub use home::Home;
pub use lease::{Detour, Lease, LeaseError};
pub use lines::{Agreement, Deaf, Lines, Listener};
pub use login::Login;
pub use pool::{Hint, Pool, PoolParts, Reason};
pub use replicas::{Leeway, Standing, Standings};
pub use stream::Stream;
pub use subscription::{Hearer, Kind, Message, NotSubscribed, Origin, Subscriptions, Topic};
pub use tracking::{Tracking, Watcher};

use crate::cluster::Slot;
use crate::resp::Protocol;

/// Requests and replies from this size on are not copied together with small ones.
pub const LARGE: usize = 16 << 10;

/// The servers' own beginning of an error that says why a transaction was not run.
pub const ABORTED: &[u8] = b"-EXECABORT Transaction discarded because of: ";

/// What a client is told when nobody knows whether its command ran.
pub const UNCERTAIN: &str =
    "UNCERTAIN backend connection lost after the command was sent; it may have been executed";

/// A buffer that belongs to the worker: whoever has the turn reads its socket into it.
pub type Scratch = Rc<RefCell<Box<[u8]>>>;

/// What the backend must know of a request besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The slot whose owner gets it; `None`: any primary will do.
    pub slot: Option<Slot>,
    /// The protocol, the database and the login of the client, and so of the pipeline.
    pub manner: Manner,
    /// Whether it may be sent again when its first run may have happened.
    pub repeatable: bool,
    /// Whether the asker splits it by key when a node says TRYAGAIN.
    pub splittable: bool,
    /// A block, `MULTI` to `EXEC` or `DISCARD`: so many replies come before the one that counts. One that the
    /// node did not take is answered by an error that begins with [`ABORTED`].
    pub before: u32,
    /// No other node will do: it fails when the one it was sent to cannot be reached.
    pub pinned: bool,
    /// It names a script: when the node does not know it, the request is the asker's again.
    pub scripted: bool,
    /// Without a slot: the node that carries the subscriptions gets it, and not any primary.
    pub home: bool,
    /// A replica may answer.
    pub replica: Option<Leeway>,
    /// It goes down the asker's own connections, if it has any, and not down the shared ones.
    pub own: Option<Caching>,
}

/// What a session has said of its next request: whether the client will cache the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// As it said once for all of them.
    Untold,
    /// This one it will.
    Yes,
    /// This one it will not.
    No,
}

/// What a connection carries: requests mean the same on all that are alike in this, and only on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Manner {
    /// The protocol of the clients.
    pub protocol: Protocol,
    /// The database that they have selected.
    pub database: u16,
    /// As whom the nodes know them.
    pub login: Login,
    /// Reads that a replica may answer, and nothing else.
    is_readonly: bool,
}

impl Manner {
    /// What clients of this protocol send that have selected this database, as the gateway's own user.
    pub fn new(protocol: Protocol, database: u16) -> Self {
        Self { protocol, database, login: Login::OWN, is_readonly: false }
    }

    /// What the gateway asks of its own accord, about no database, and whose reply it reads itself.
    pub fn own() -> Self {
        Self::new(Protocol::Resp2, 0)
    }

    /// The same database in the protocol in which the gateway reads replies itself.
    #[must_use]
    pub fn read_here(self) -> Self {
        Self { protocol: Protocol::Resp2, ..self }
    }

    /// The same in this protocol.
    #[must_use]
    pub fn in_protocol(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// The same about this database.
    #[must_use]
    pub fn in_database(self, database: u16) -> Self {
        Self { database, ..self }
    }

    /// The same as this user of the nodes.
    #[must_use]
    pub fn sent_as(self, login: Login) -> Self {
        Self { login, ..self }
    }

    /// Whether connections for it are among those that most clients share.
    fn is_usual(self) -> bool {
        (self.database == 0) & (self.login == Login::OWN)
    }
}

impl Terms {
    /// A request to the owner of a slot, or without one to any primary, that runs once at most.
    pub fn new(slot: Option<Slot>, manner: Manner) -> Self {
        Self {
            slot,
            manner,
            repeatable: false,
            splittable: false,
            before: 0,
            pinned: false,
            scripted: false,
            home: false,
            replica: None,
            own: None,
        }
    }

    fn manner(&self) -> Manner {
        Manner { is_readonly: self.replica.is_some(), ..self.manner }
    }
}

/// Which of an asker's requests a reply belongs to: its place in the session's order, and the part of a
/// split request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Counts a session's requests; wraps.
    pub place: u32,
    /// Part of a split request, from 0.
    pub part: u32,
    /// What becomes of it is told in any case.
    #[cfg(feature = "traces")]
    pub traced: bool,
}

impl Ticket {
    /// Of the whole request at this place, or of a part of it.
    pub const fn new(place: u32, part: u32) -> Self {
        Self {
            place,
            part,
            #[cfg(feature = "traces")]
            traced: false,
        }
    }

    /// The same, so that the asker is told of the answer whether or not it is looked for.
    #[cfg(feature = "traces")]
    #[must_use]
    pub const fn traced(self) -> Self {
        Self { traced: true, ..self }
    }

    const fn is_traced(self) -> bool {
        #[cfg(feature = "traces")]
        return self.traced;
        #[cfg(not(feature = "traces"))]
        false
    }
}

/// Who sent a request and gets its reply. Called in the turn of a pipeline, so it must not send.
pub trait Asker {
    /// The whole reply.
    fn settle(&self, ticket: Ticket, reply: &[u8]);

    /// A piece of a reply that is too large to wait for; `end` marks the last one.
    fn piece(&self, ticket: Ticket, piece: &[u8], end: bool);

    /// The rest of a reply that came in pieces is lost. True: no piece has left yet, and the asker takes
    /// a whole reply, as if nothing had come.
    fn retract(&self, ticket: Ticket) -> bool;

    /// TRYAGAIN for a splittable request: it is the asker's again.
    fn split(&self, ticket: Ticket, request: Bytes);

    /// The node does not know the script that the request names. The request is the asker's again, as it was
    /// sent, beside the node's reply.
    fn unscripted(&self, ticket: Ticket, _terms: Terms, _request: Bytes, reply: &[u8]) {
        self.settle(ticket, reply);
    }

    /// The request is being redirected or held: what follows it for the same slot must wait.
    fn disturbed(&self);

    /// A request that the pool's [`Attention`] looks for is answered; its reply follows.
    fn noticed(&self, _noticed: &Noticed) {}

    /// The connections that it has for itself.
    fn lines(&self) -> Option<Rc<Lines>> {
        None
    }
}

/// A request under way, without its bytes.
struct Question {
    asker: Rc<dyn Asker>,
    ticket: Ticket,
    terms: Terms,
    /// Grows from each request of the worker to the next.
    serial: u64,
    /// When it was first sent.
    born: Micros,
    /// Redirections followed.
    hops: u8,
    /// Times it was held.
    tries: u8,
    /// Others of its slot wait for its reply.
    scout: Option<Box<hold::Scout>>,
}

/// A request that is on no pipeline: being redirected, or held.
struct Errand {
    question: Question,
    bytes: Bytes,
}

impl Errand {
    /// It is about to be answered without a node, with so many bytes.
    fn notice(&self, attention: &Attention, now: Micros, reply: usize) {
        let total = now.saturating_sub(self.question.born);
        if attention.wants(total, self.bytes.len()) {
            let request = self.bytes.clone();
            self.question.asker.noticed(&Noticed {
                request,
                total,
                node: None,
                reply,
                ticket: self.question.ticket,
                failed: true,
                at: now,
            });
        }
    }

    /// A node does not know the script that the request names: it is up to the asker, if that can help.
    fn unscripted(self, reply: &[u8]) {
        let Self { question: Question { asker, ticket, terms, .. }, bytes } = self;
        if terms.scripted {
            asker.unscripted(ticket, terms, bytes, reply);
        } else {
            asker.settle(ticket, reply);
        }
    }
}

/// Why a request did not get its reply, in words for the client and the log.
#[derive(Clone, Debug, thiserror::Error)]
enum Cause {
    /// The reply of the node that refused it, as received.
    #[error("refused by the node")]
    Refused(Bytes),
    /// No node is known to serve the slot.
    #[error("no node serves the slot")]
    NotServed,
    /// The node that carries messages has changed, and those of before may still come.
    #[error("the home node has changed")]
    Settling,
    /// The node could not be dialled, or the connection broke.
    #[error("{0}")]
    Lost(Rc<str>),
    /// The session cannot have a connection of its own to the node.
    #[error(transparent)]
    Deaf(Deaf),
    /// The node does not let the user in as whom it is to be sent.
    #[error("ERR {0}")]
    Barred(Rc<str>),
}

impl Cause {
    /// Whether every request for the slot would fare the same.
    fn is_of_the_whole_slot(&self) -> bool {
        const OF_ONE: [&[u8]; 3] = [b"-TRYAGAIN", b"-MOVED", b"-ASK"];
        match self {
            Self::Refused(reply) => !OF_ONE.iter().any(|word| reply.starts_with(word)),
            Self::NotServed | Self::Settling | Self::Lost(_) => true,
            Self::Deaf(_) | Self::Barred(_) => false,
        }
    }
}
