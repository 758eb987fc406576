//! The calls that the gateway and a standalone server must answer alike, byte for byte, and the few that cannot be.
//!
//! `K` is the key of the case. Words stand one space apart; `""` is an empty argument, `\r`, `\n`, `\0` and `\xHH` are
//! bytes, and `DUMP` is a serialized string value made by the standalone server.

mod keyed;
mod keyless;
mod newer;
mod several;

pub(crate) use keyed::KEYED;
pub(crate) use keyless::KEYLESS;
pub(crate) use newer::{NEWER, NEWER_KEYLESS};
pub(crate) use several::{
    ONE_SLOT, ONE_SLOT_FIXTURE, ONE_SLOT_PROBES, SPLIT, SPLIT_FIXTURE, SPLIT_PROBES,
};

/// What the key holds before the call: a name, and the requests that make it.
pub(crate) const FIXTURES: &[(&str, &[&str])] = &[
    ("missing", &[]),
    ("text", &["SET K hello"]),
    ("number", &["SET K 10"]),
    ("expiring", &["SET K v", "PEXPIREAT K 33177117420000"]),
    ("list", &["RPUSH K a b c 1 2 b 3"]),
    ("set", &["SADD K 1 2 3 4"]),
    ("hash", &["HSET K f v n 10 g w"]),
    ("zset", &["ZADD K 1 a 2 b 2.5 c 3 d"]),
    ("lexical", &["ZADD K 0 a 0 b 0 c 0 d"]),
    ("geo", &["GEOADD K 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"]),
    (
        "stream",
        &[
            "XADD K 1-1 f v",
            "XADD K 2-1 f w",
            "XADD K 3-1 g x",
            "XGROUP CREATE K g 0",
            "XCLAIM K g c 0 1-1 2-1 FORCE JUSTID",
        ],
    ),
    ("hyperloglog", &["PFADD K a b c"]),
];

/// Asked after each call: what the key holds now.
pub(crate) const PROBES: &[&str] = &[
    "TYPE K", "TTL K", "STRLEN K", "LLEN K", "SCARD K", "HLEN K", "ZCARD K", "XLEN K", "EXISTS K",
];

/// How two replies are compared where they cannot be equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Compare {
    /// Byte for byte.
    Exact,
    /// The elements of the outermost aggregate in any order.
    AnyOrder,
    /// Integers no further apart than seconds may pass between two servers on a busy machine.
    Near,
    /// Equal but for the values of integers that are not negative.
    AnyNumbers,
    /// Same types and lengths of aggregates, whatever they contain.
    AnyValues,
}

/// Calls whose replies differ between two servers, gateway or not: start of the call, fixture (`""` for all), how
/// they are compared then, and why. The first row that fits is used.
pub(crate) const DIFFERENCES: &[(&str, &str, Compare, &str)] = &[
    ("SPOP K 10", "", Compare::AnyOrder, "all members, in the order of a table with a random seed"),
    ("SPOP", "", Compare::AnyValues, "random members"),
    ("SRANDMEMBER", "", Compare::AnyValues, "random members"),
    ("HRANDFIELD", "", Compare::AnyValues, "random fields"),
    ("ZRANDMEMBER", "", Compare::AnyValues, "random members"),
    ("XADD K *", "", Compare::AnyValues, "the ID is made of the server's clock"),
    ("XADD K NOMKSTREAM *", "", Compare::AnyValues, "the ID is made of the server's clock"),
    ("XADD K MAXLEN 2 *", "", Compare::AnyValues, "the ID is made of the server's clock"),
    ("XADD K MINID ~ 2 *", "", Compare::AnyValues, "the ID is made of the server's clock"),
    ("XPENDING", "", Compare::AnyNumbers, "idle times"),
    ("XINFO CONSUMERS", "", Compare::AnyNumbers, "idle times"),
    ("XINFO STREAM K FULL", "", Compare::AnyNumbers, "idle times"),
    ("OBJECT IDLETIME", "", Compare::AnyNumbers, "seconds since the last use"),
    ("MEMORY USAGE", "", Compare::AnyNumbers, "a node of a cluster keeps a list of keys per slot"),
    ("TTL", "", Compare::Near, "seconds pass"),
    ("PTTL", "", Compare::AnyNumbers, "milliseconds pass"),
    ("DUMP", "stream", Compare::AnyValues, "a consumer's last use is part of the value"),
];
