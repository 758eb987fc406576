//! Subscriptions of one worker: each topic is subscribed to once, whoever listens, and comes from where it should.
//!
//! Channels and patterns come from the home node ([`Home`](super::Home)); those that keyspace events can match
//! come from every primary as well, because events never leave their node; shard channels come from the owner of
//! their slot. When a node is lost, is replaced, or gives a slot away, the topics move by themselves, and whoever
//! listens learns only that a message may have been missed.

mod feed;
mod frame;
mod hub;
mod topics;

use std::sync::Arc;

use crate::cluster::Slot;

pub use hub::Subscriptions;

/// Why there is no subscription. `Display` is the line that the client gets.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotSubscribed {
    /// The node's own words.
    #[error("{0}")]
    Refused(String),
    /// No node takes it, for longer than a request may wait.
    #[error("CLUSTERDOWN no node takes the subscription")]
    Unserved,
}

/// How a topic is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `SUBSCRIBE`
    Channel,
    /// `PSUBSCRIBE`
    Pattern,
    /// `SSUBSCRIBE`
    Shard,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 3;

    /// The command, as confirmations name it.
    pub fn subscribe(self) -> &'static str {
        match self {
            Self::Channel => "subscribe",
            Self::Pattern => "psubscribe",
            Self::Shard => "ssubscribe",
        }
    }

    /// The command that ends it, as confirmations name it.
    pub fn unsubscribe(self) -> &'static str {
        match self {
            Self::Channel => "unsubscribe",
            Self::Pattern => "punsubscribe",
            Self::Shard => "sunsubscribe",
        }
    }
}

/// What can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// How.
    pub kind: Kind,
    /// The channel or the pattern.
    pub name: Arc<[u8]>,
}

/// Which nodes' messages a topic gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The home node's.
    Home,
    /// Those of the slot's owner.
    Owner(Slot),
    /// Those of every node.
    Everywhere,
}

impl Topic {
    /// Where its messages come from.
    pub fn origin(&self) -> Origin {
        match self.kind {
            Kind::Shard => Origin::Owner(Slot::of(&self.name)),
            _ if self.hears_events() => Origin::Everywhere,
            _ => Origin::Home,
        }
    }

    /// Whether it gets keyspace events, and so comes from every primary. Of a pattern only the part before its
    /// first special character is looked at, which may say yes for nothing, but never no.
    pub fn hears_events(&self) -> bool {
        match self.kind {
            Kind::Channel => is_event(&self.name),
            Kind::Shard => false,
            Kind::Pattern => {
                let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
                let plain = self.name.split(special).next().unwrap_or_default();
                let fits = |start: &str| {
                    plain.starts_with(start.as_bytes()) || start.as_bytes().starts_with(plain)
                };
                EVENTS.into_iter().any(fits)
            }
        }
    }
}

/// A published message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The channel it was published to.
    pub channel: &'a [u8],
    /// The frame behind its first element, `message` or the like: the same bytes in both protocols.
    pub tail: &'a [u8],
}

/// Who listens to a topic. Called with nothing borrowed here.
pub trait Hearer {
    /// A message; returns to how many it was passed on.
    fn hear(&self, message: &Message<'_>) -> usize;

    /// The topic did not come for a while: messages may have been missed.
    fn missed(&self);
}

/// What the channels of keyspace events start with.
const EVENTS: [&str; 2] = ["__keyspace@", "__keyevent@"];

/// Whether only the node on which it happens knows of a message on this channel.
fn is_event(channel: &[u8]) -> bool {
    EVENTS.iter().any(|start| channel.starts_with(start.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_events_can_reach() {
        let table = [
            (Kind::Channel, "__keyspace@0__:key", true),
            (Kind::Channel, "__keyevent@0__:expired", true),
            (Kind::Channel, "news", false),
            (Kind::Channel, "", false),
            (Kind::Pattern, "*", true),
            (Kind::Pattern, "?", true),
            (Kind::Pattern, "", true),
            (Kind::Pattern, "__key*", true),
            (Kind::Pattern, "__keyspace@0__:user:*", true),
            (Kind::Pattern, "__key\\space@*", true),
            (Kind::Pattern, "_[_]keyspace@*", true),
            (Kind::Pattern, "__keys:*", false),
            (Kind::Pattern, "news.*", false),
            (Kind::Shard, "__keyspace@0__:key", false),
        ];
        for (kind, name, expected) in table {
            let topic = Topic { kind, name: name.as_bytes().into() };
            assert_eq!(topic.hears_events(), expected, "{topic:?}");
        }
    }
}
