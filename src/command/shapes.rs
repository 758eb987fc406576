//! The key specifications that rows of the table share, by name.

use std::borrow::Cow;

use super::keys::{Begin, Find, KeyPart, KeySpec, Need, Role};

/// Names specifications: each is a list of parts.
macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = [$($part:expr),* $(,)?];)*) => {
        $(
            $(#[$doc])*
            pub(super) const $name: KeySpec = {
                const PARTS: &[KeyPart] = &[$($part),*];
                KeySpec::of(PARTS)
            };
        )*
    };
}

const READ: Need = Need::READ;
const WRITE: Need = Need::WRITE;
const BOTH: Need = Need::READ.union(Need::WRITE);

shapes! {
    /// No keys.
    NO_KEYS = [];
    /// `GET key ...`
    FIRST = [KeyPart::at(1)];
    /// `OBJECT ENCODING key ...`
    SECOND = [KeyPart::at(2)];
    /// `LCS key key ...`
    FIRST_TWO = [run(1, 1, 1)];
    /// `DEL key ...`
    EVERY = [run(1, -1, 1)];
    /// `BLPOP key ... timeout`
    EVERY_BUT_LAST = [run(1, -2, 1)];
    /// `MSET key value ...`
    PAIRS = [run(1, -1, 2)];
    /// `JSON.MSET key path value ...`
    TRIPLES = [run(1, -1, 3)];
    /// `ZUNION numkeys key ...`
    COUNT_AT_1 = [count(1, 1)];
    /// `EVAL script numkeys key ...`
    COUNT_AT_2 = [count(2, 1)];
    /// `MSETEX numkeys key value ...`
    COUNTED_PAIRS = [count(1, 2)];
    /// `LMOVE source destination ...`: what is taken from the source is learned.
    TAKE_TO = [source(1).need(BOTH), destination(2)];
    /// `COPY source destination ...`
    COPY_TO = [source(1), destination(2)];
    /// `ZRANGESTORE destination source ...`
    INTO_FROM = [destination(1), source(2)];
    /// `SINTERSTORE destination source ...`
    INTO_FROM_REST = [destination(1), rest(2)];
    /// `PFMERGE destination source ...`: the destination takes part.
    MERGE_REST = [destination(1).need(BOTH), rest(2)];
    /// `BITOP operation destination source ...`
    SECOND_FROM_REST = [destination(2), rest(3)];
    /// `ZUNIONSTORE destination numkeys source ...`
    INTO_FROM_COUNT = [destination(1), count(2, 1).role(Role::Source).need(READ)];
    /// `SORT key ... STORE destination`
    SORT_STORE = [source(1), written(Begin::SortStore)];
    /// `GEORADIUS key x y radius unit ... STORE destination`. Both keywords may be there, and
    /// more than once: the first of each names a key for the server, the last of all is written.
    RADIUS_STORE = [source(1), after("STORE", 6), after("STOREDIST", 6), written(Begin::LaterStore(6))];
    /// `GEORADIUSBYMEMBER key member radius unit ... STORE destination`
    MEMBER_STORE = [source(1), after("STORE", 5), after("STOREDIST", 5), written(Begin::LaterStore(5))];
    /// `XREAD ... STREAMS key ... id ...`
    STREAMS = [streams(1)];
    /// `XREADGROUP GROUP group consumer ... STREAMS key ... id ...`
    STREAMS_AFTER_GROUP = [streams(4)];
    /// `SPUBLISH channel message`
    CHANNEL = [KeyPart::at(1).role(Role::Channel).need(Need::empty())];
    /// `SSUBSCRIBE channel ...`
    CHANNELS = [run(1, -1, 1).role(Role::Channel).need(Need::empty())];
    /// `MIGRATE host port key ...` or `MIGRATE host port "" ... KEYS key ...`
    MIGRATE = [one(Begin::MigrateOne), KeyPart::new(Begin::MigrateMany, Find::REST)];
    /// Only `COMMAND GETKEYS` can tell.
    ASK_SERVER = [one(Begin::Unknown)];
}

const fn run(first: u8, last: i16, step: u8) -> KeyPart {
    KeyPart::new(Begin::At(first), Find::Run { last, step, share: 1 })
}

const fn count(at: u8, step: u8) -> KeyPart {
    KeyPart::new(Begin::At(at), Find::Count { step })
}

const fn source(at: u8) -> KeyPart {
    KeyPart::at(at).role(Role::Source).need(READ)
}

const fn rest(from: u8) -> KeyPart {
    run(from, -1, 1).role(Role::Source).need(READ)
}

const fn destination(at: u8) -> KeyPart {
    written(Begin::At(at))
}

const fn after(keyword: &'static str, from: i16) -> KeyPart {
    written(Begin::Keyword(Cow::Borrowed(keyword), from))
}

const fn written(begin: Begin) -> KeyPart {
    one(begin).role(Role::Destination).need(WRITE)
}

const fn one(begin: Begin) -> KeyPart {
    KeyPart::new(begin, Find::ONE)
}

const fn streams(from: i16) -> KeyPart {
    let halves = Find::Run { last: -1, step: 1, share: 2 };
    KeyPart::new(Begin::Keyword(Cow::Borrowed("STREAMS"), from), halves).need(READ)
}
