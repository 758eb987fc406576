//! The loads: one row each.

use serde::{Deserialize, Serialize};

use crate::peers::Name;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// GET, or MGET of several keys.
    Get,
    /// SET, or MSET of several keys.
    Set,
    /// DEL of keys that are not there, so that every run finds the same.
    Delete,
    /// MULTI, a SET of each key, EXEC.
    Transaction,
    /// EVALSHA that reads a key.
    Script,
    /// XADD to a short stream.
    Append,
}

/// Where the keys live, which decides who can be compared.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Placement {
    /// Keys of one hash tag on one primary: beside a relay, which knows one node.
    One,
    /// Keys spread over three primaries: beside proxies that know them all.
    Spread,
}

use Placement::{One, Spread};

impl Placement {
    /// The same word as in the options and in the report.
    pub(crate) fn word(self) -> &'static str {
        match self {
            One => "one",
            Spread => "spread",
        }
    }

    /// Every key begins with this. The tag's slot, 3300, belongs to the first of three primaries.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            One => "{b}:",
            Spread => "key:",
        }
    }

    /// The peers that this placement compares.
    pub(crate) fn peers(self) -> &'static [Name] {
        match self {
            One => &[Name::Direct, Name::Slotway, Name::Haproxy],
            Spread => &[Name::Slotway, Name::Envoy, Name::Nutcracker],
        }
    }
}

/// A load in a closed loop: each client sends, waits for all its replies, sends again.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) verb: Verb,
    /// Keys in one request.
    pub(crate) keys: usize,
    pub(crate) value_bytes: usize,
    pub(crate) clients: usize,
    /// Requests that a client has in flight.
    pub(crate) pipeline: usize,
    /// Whether clients speak TLS; the nodes never do.
    pub(crate) tls: bool,
    pub(crate) placements: &'static [Placement],
}

/// What most rows are.
const PLAIN: Load = Load {
    name: "",
    verb: Verb::Get,
    keys: 1,
    value_bytes: 64,
    clients: 50,
    pipeline: 1,
    tls: false,
    placements: &[One, Spread],
};

/// How idle connections came to be, which decides how much memory has been touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Each after the one before it had its reply.
    InTurn,
    /// All connect, then all ask.
    AtOnce,
}

/// The loads that measure memory: connections that stay after one GET each.
pub(crate) const IDLE: &[(&str, Opening)] =
    &[("idle", Opening::InTurn), ("idle-burst", Opening::AtOnce)];

#[rustfmt::skip]
pub(crate) const LOADS: &[Load] = &[
    Load { name: "get-c50", ..PLAIN },
    Load { name: "set-c50", verb: Verb::Set, ..PLAIN },
    Load { name: "get-p16", pipeline: 16, ..PLAIN },
    Load { name: "set-p16", pipeline: 16, verb: Verb::Set, ..PLAIN },
    Load { name: "get-c1", clients: 1, ..PLAIN },
    Load { name: "get-c1000", clients: 1000, ..PLAIN },
    Load { name: "get-16k", value_bytes: 16 << 10, clients: 8, ..PLAIN },
    Load { name: "set-16k", value_bytes: 16 << 10, clients: 8, verb: Verb::Set, ..PLAIN },
    Load { name: "get-1m", value_bytes: 1 << 20, clients: 8, ..PLAIN },
    Load { name: "set-1m", value_bytes: 1 << 20, clients: 8, verb: Verb::Set, ..PLAIN },
    Load { name: "tls-get-c50", tls: true, ..PLAIN },
    Load { name: "tls-get-p16", tls: true, pipeline: 16, ..PLAIN },
    Load { name: "mget-10", keys: 10, placements: &[Spread], ..PLAIN },
    Load { name: "mset-10", keys: 10, verb: Verb::Set, placements: &[Spread], ..PLAIN },
    Load { name: "mget-100", keys: 100, placements: &[Spread], ..PLAIN },
    Load { name: "mset-100", keys: 100, verb: Verb::Set, placements: &[Spread], ..PLAIN },
    Load { name: "del-100", keys: 100, verb: Verb::Delete, placements: &[Spread], ..PLAIN },
    Load { name: "tx-5", keys: 5, verb: Verb::Transaction, placements: &[One], ..PLAIN },
    Load { name: "evalsha", verb: Verb::Script, placements: &[One], ..PLAIN },
    Load { name: "xadd", verb: Verb::Append, placements: &[One], ..PLAIN },
];

/// Loads that take several kinds of client, on keys of one primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    /// BLPOP, and RPUSH of another client that ends the wait.
    WakeUps,
    /// PUBLISH to many who listen; each message that is delivered counts.
    FanOut,
    /// Transactions at a steady rate.
    Steady { watch: bool },
}

/// Loads in which clients send at a pace, on keys of one primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paced {
    /// At 70 % of what the slowest of the peers can do in the same round.
    Tail,
    /// Far below what anybody can do, beside another client.
    Beside(Greed),
}

/// What another client of the same proxy does meanwhile. It asks for keys of another primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greed {
    /// There is none.
    None,
    /// Sends requests without end, and reads all replies.
    Pipeline,
    /// Writes and reads values of 64 MiB.
    Giant,
    /// Listens to a busy channel and hardly reads.
    Listener,
}

/// Their names.
pub(crate) const PACED: &[(&str, Paced)] = &[
    ("tail-70", Paced::Tail),
    (CALM, Paced::Beside(Greed::None)),
    ("beside-pipeline", Paced::Beside(Greed::Pipeline)),
    ("beside-64m", Paced::Beside(Greed::Giant)),
    ("beside-listener", Paced::Beside(Greed::Listener)),
];
/// The load that `beside-*` are compared with.
pub(crate) const CALM: &str = "calm";

/// Loads for the number of workers: slotway alone, `get-c50` over all primaries.
pub(crate) const SCALING: &[(&str, u16)] = &[("workers-1", 1), ("workers-2", 2)];

/// Their names.
pub(crate) const TALKS: &[(&str, Talk)] = &[
    ("wake-ups", Talk::WakeUps),
    ("fan-100", Talk::FanOut),
    ("tx-3000", Talk::Steady { watch: false }),
    ("watch-3000", Talk::Steady { watch: true }),
];

/// Every load's name and what it is, in the order of the report.
pub(crate) fn described() -> impl Iterator<Item = (&'static str, String)> {
    let driven = LOADS.iter().map(|load| (load.name, load.description()));
    let talks = TALKS.iter().map(|(name, talk)| (*name, talk.description().to_owned()));
    let paced = PACED.iter().map(|(name, paced)| (*name, paced.description().to_owned()));
    let workers = |count: &u16| match count {
        1 => "GET, 64 B, 50 clients, slotway with one worker".to_owned(),
        _ => format!("the same with {count} workers"),
    };
    let scaling = SCALING.iter().map(move |(name, count)| (*name, workers(count)));
    let idle = IDLE.iter().map(|(name, opening)| (*name, opening.description().to_owned()));
    driven.chain(talks).chain(paced).chain(scaling).chain(idle)
}

impl Talk {
    /// What it is, in words.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::WakeUps => {
                "BLPOP of 50 clients, each woken by an RPUSH of another; for each wake-up"
            }
            Self::FanOut => "PUBLISH of 64 B to 100 subscribers; for each message delivered",
            Self::Steady { watch: false } => {
                "MULTI, SET, GET, EXEC of 50 clients, 3,000 in a second"
            }
            Self::Steady { watch: true } => "the same behind WATCH of another key",
        }
    }
}

impl Paced {
    /// What it is, in words.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Tail => "GET of 50 clients at 70 % of what HAProxy can do in the same round",
            Self::Beside(Greed::None) => "GET of 20 clients, 2,000 in a second",
            Self::Beside(Greed::Pipeline) => {
                "the same beside a client that pipelines without end, on another node's keys"
            }
            Self::Beside(Greed::Giant) => {
                "the same beside a client that writes and reads 64 MiB, on another node's keys"
            }
            Self::Beside(Greed::Listener) => {
                "the same beside a listener that hardly reads, 2,000 messages of 1 KiB in a second"
            }
        }
    }
}

impl Opening {
    /// What it is, in words.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::InTurn => "connections kept after one GET each, opened and used one by one",
            Self::AtOnce => "connections kept after one GET each, all of them asked at once",
        }
    }
}

impl Load {
    /// What it is, in words.
    pub(crate) fn description(&self) -> String {
        let command = match (self.verb, self.keys) {
            (Verb::Get, 1) => "GET".to_owned(),
            (Verb::Set, 1) => "SET".to_owned(),
            (Verb::Get, keys) => format!("MGET of {keys} keys"),
            (Verb::Set, keys) => format!("MSET of {keys} keys"),
            (Verb::Delete, keys) => format!("DEL of {keys} absent keys"),
            (Verb::Transaction, keys) => format!("MULTI, {keys} times SET, EXEC"),
            (Verb::Script, _) => "EVALSHA that reads a key".to_owned(),
            (Verb::Append, _) => "XADD to a short stream".to_owned(),
        };
        let size = match self.value_bytes {
            bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
            bytes => format!("{bytes} B"),
        };
        let clients = if self.clients == 1 { "client" } else { "clients" };
        let tls = if self.tls { ", TLS" } else { "" };
        format!("{command}, {size}, {} {clients}, pipeline {}{tls}", self.clients, self.pipeline)
    }
}
