//! What every command is: who gets it, where its keys stand, what may be done with it.
//!
//! A command is one row of [`table`]. [`Commands`] finds the row of a request; what a request's
//! options change about its row is in [`options`].

mod categories;
mod error;
pub mod keys;
mod learn;
mod lookup;
mod options;
mod row;
mod shapes;
mod table;

use std::borrow::Cow;

use crate::merge::ResponsePolicy;
use crate::resp::Request;

pub use categories::Categories;
pub use error::CommandError;
pub use keys::{Companions, Key, KeyError, KeySpec, Need, Role};
pub use learn::learn;
pub use lookup::Commands;
pub use options::Options;

/// What a row says of its origin that only a server knew of.
const LEARNED: &str = "learned";
/// The same of a command that no server has.
const OWN: &str = "slotway";

/// One command, or one subcommand of a container such as `CLIENT`.
#[derive(Clone, Debug)]
pub struct CommandSpec {
    /// Upper case, the subcommand after a space: `GET`, `CLIENT ID`.
    pub name: Cow<'static, str>,
    /// Its number, the same in every snapshot of the commands.
    pub number: u16,
    /// Versions that brought it: `7.0` or older, `R8.4` Redis, `V9.0` Valkey, `mod` a module,
    /// `slotway` none.
    pub since: &'static str,
    /// Number of arguments with the name: exactly n, at least -n, or 0 when only the server knows.
    pub arity: i16,
    /// Whether it reads or writes keys, as the servers flag it.
    pub access: Access,
    /// Where its keys stand.
    pub keys: KeySpec,
    /// How it is treated on a cluster.
    pub class: Class,
    /// Who gets it.
    pub target: Target,
    /// How partial replies become one.
    pub merge: ResponsePolicy,
    /// What happens when its keys stand in several slots.
    pub cross: Cross,
    /// Who may use it.
    pub default: Availability,
    /// What a client that may not use it at all is told.
    pub refusal: Refusal,
    /// Whether it can make its connection wait; see [`CommandSpec::blocks`].
    pub blocking: bool,
    /// What happens to it between MULTI and EXEC.
    pub in_multi: InMulti,
    /// Whether it may be sent again after a lost connection; see [`CommandSpec::retry_for`].
    pub retry: Retry,
    /// ACL categories.
    pub categories: Categories,
    /// Which of its options change what this row says.
    pub options: Options,
}

/// Whether a command reads or writes keys. `EVAL` and its like count as writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads only: a replica may answer.
    Read,
    /// Writes, or may write.
    Write,
    /// Touches no key.
    Neither,
}

/// How a command is treated on a cluster. Whatever the class, a request whose keys share one slot
/// is sent to that slot's node as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// All keys in one slot.
    Keyed,
    /// Keys are independent of each other: one part per slot, replies merged.
    Split,
    /// As split, but one part after the other, until one has something (`LMPOP`).
    Sequence,
    /// Parts are read, the gateway computes.
    Gather,
    /// As gather, then one atomic write in the destination's slot.
    Store,
    /// Writes in two slots, step by step.
    Move,
    /// May wait for data.
    Block,
    /// Every primary.
    AllMasters,
    /// Every primary and replica.
    AllNodes,
    /// Any healthy node speaks for all.
    AnyNode,
    /// A cursor over all primaries.
    Cursor,
    /// Subscriptions, which belong to the gateway.
    PubSub,
    /// The MULTI family.
    Transaction,
    /// Scripts and functions.
    Script,
    /// Answered by the gateway.
    Local,
    /// Never sent: see [`CommandSpec::refusal`].
    Refused,
}

/// Who gets a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The owner of its keys' slot. Without keys (`EVAL` with 0 keys) one sticky primary.
    Slot,
    /// The owner of each of its keys' slots.
    Slots,
    /// Every primary.
    Masters,
    /// One primary at a time (`SCAN`, `RANDOMKEY`).
    OneMaster,
    /// Every primary and replica.
    Nodes,
    /// Any node.
    Any,
    /// The node that carries the worker's subscriptions; keyspace events come from every primary.
    Home,
    /// The connections that the session has leased.
    Leases,
    /// Nobody: the gateway answers.
    Gateway,
}

/// What happens when the keys of one request stand in several slots. From `Split` to `Move` it
/// needs the setting `cross_slot` of that level; below it the answer is CROSSSLOT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cross {
    /// It cannot: there is at most one key.
    Never,
    /// CROSSSLOT.
    Error,
    /// One part per slot.
    Split,
    /// A blocking pop waits on all slots at once; needs the level of `Split`.
    Track,
    /// Computed from parts.
    Gather,
    /// Computed, then written atomically.
    Store,
    /// Written step by step.
    Move,
}

impl Cross {
    /// What a request over several slots loses, for the manual.
    pub const fn lost(self) -> &'static str {
        match self {
            Self::Never | Self::Error => "",
            Self::Split => "one instant: each slot's part is atomic, the whole is not",
            Self::Track => "the order of waiters against clients of other gateways",
            Self::Gather => "one instant: a change between two parts shows in one of them only",
            Self::Store => "isolation from writers of the sources; the write itself is atomic",
            Self::Move => "atomicity: a crash can leave data twice, never zero times",
        }
    }
}

/// Who may use a command when no ACL rule says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    /// Everyone.
    On,
    /// Administrators. Nothing follows from that by itself: the ACL categories are such that rules which keep
    /// applications from harm (`-@admin -@dangerous`) deny it, and whoever is denied it gets NOPERM.
    Admin,
    /// Nobody.
    Off,
}

/// What a command that is `Off` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// That the gateway does not let it through.
    NotAllowed,
    /// That it does not exist in cluster mode, as a node says.
    ClusterMode,
    /// That this server is not part of a cluster, as a standalone server says.
    Standalone,
    /// That it is unknown: client libraries look for exactly this error.
    Unknown,
}

/// What happens to a command between MULTI and EXEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InMulti {
    /// Queued and sent with the block.
    Queue,
    /// The same, but never over several slots.
    QueueOneSlot,
    /// The same, and the server makes it return at once.
    NonBlocking,
    /// Answered by the gateway, at its place in EXEC's array.
    Splice,
    /// Controls the transaction itself.
    Control,
    /// Refused by the gateway, which spoils the transaction.
    Refuse,
    /// Refused by the server itself.
    ServerError,
}

/// Whether a command may be sent again when its connection broke after it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Freely: it reads.
    Read,
    /// It leaves the same state when repeated, but could undo somebody's later write.
    Idempotent,
    /// Never: it could run twice.
    Never,
    /// It never leaves the gateway.
    Local,
}

impl CommandSpec {
    /// A row for a command that only a server knows: keyed as the server says, in one slot, or
    /// refused when it has no keys, since then nothing tells where it belongs.
    pub fn learned(name: &str, arity: i16, access: Access, keys: KeySpec) -> Self {
        let class = if keys.is_none() { Class::Refused } else { Class::Keyed };
        let read = access == Access::Read;
        Self {
            name: Cow::Owned(name.to_ascii_uppercase().replace('|', " ")),
            number: u16::MAX,
            since: LEARNED,
            arity,
            access,
            keys,
            class,
            target: if class == Class::Keyed { Target::Slot } else { Target::Gateway },
            merge: ResponsePolicy::None,
            cross: Cross::Error,
            default: if class == Class::Keyed { Availability::On } else { Availability::Off },
            refusal: Refusal::NotAllowed,
            blocking: false,
            in_multi: if class == Class::Keyed { InMulti::Queue } else { InMulti::Refuse },
            retry: if read { Retry::Read } else { Retry::Never },
            categories: if read { Categories::READ } else { Categories::WRITE },
            options: Options::Plain,
        }
    }

    /// The same for a command without keys that any node may answer.
    pub(crate) fn let_through(&mut self) {
        self.class = Class::AnyNode;
        self.target = Target::Any;
        self.default = Availability::On;
        self.in_multi = InMulti::Queue;
    }

    /// Whether the gateway has it at all; what it answers with an error whoever asks is not there.
    pub fn is_offered(&self) -> bool {
        self.default != Availability::Off && self.class != Class::Refused
    }

    /// Whether a client may send it before it has logged in. No rule denies it.
    pub fn needs_no_login(&self) -> bool {
        matches!(&*self.name, "AUTH" | "HELLO" | "QUIT" | "RESET")
    }

    /// Whether the request only reads, and every node that has the keys gives the same reply: cursors and what is
    /// told of a key's storage are each node's own.
    pub fn is_same_everywhere(&self, request: &Request<'_>) -> bool {
        let is_own = self.name.ends_with("SCAN")
            || self.name.starts_with("OBJECT")
            || self.name.starts_with("MEMORY");
        self.access == Access::Read && self.retry_for(request) == Retry::Read && !is_own
    }

    /// Whether it belongs into the audit log: it is for administrators, or clears databases.
    pub fn is_administrative(&self) -> bool {
        self.default == Availability::Admin
            || (self.class == Class::AllMasters && self.access == Access::Write)
    }

    /// The name as error texts, CLIENT LIST and metrics write it: `get`, `client|getname`.
    pub fn wire_name(&self) -> String {
        self.name.to_ascii_lowercase().replace(' ', "|")
    }

    /// What a client is told when the row's `default` is `Off`.
    pub fn refused(&self) -> CommandError {
        match self.refusal {
            Refusal::NotAllowed | Refusal::Unknown => CommandError::NotAllowed(self.wire_name()),
            Refusal::ClusterMode => CommandError::ClusterMode(self.name.to_string()),
            Refusal::Standalone => CommandError::Standalone,
        }
    }
}

#[cfg(test)]
mod tests;
