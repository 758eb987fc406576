//! Calls of commands with several keys.

/// What the keys of a split call hold before it.
pub(crate) const SPLIT_FIXTURE: &[&str] = &[
    "SET K1 one",
    "SET K2 2",
    "RPUSH K3 a b",
    "SADD K4 1",
    "SET K5 five",
    "PEXPIREAT K5 33177117420000",
    "SET K6 \"\"",
];

/// Asked after each split call.
pub(crate) const SPLIT_PROBES: &[&str] =
    &["TYPE K1", "GET K1", "GET K2", "TYPE K3", "TYPE K4", "TTL K5", "GET K7", "GET K8", "GET K9"];

/// Every SPLIT command of Redis 7.0. `K1` to `K9` are keys of one slot in one run and of several in another.
pub(crate) const SPLIT: &[&str] = &[
    "MGET K1",
    "MGET K1 K2 K3 K7 K1 K6",
    "MGET K9 K8 K7",
    "MGET K1 K2 K3 K4 K5 K6 K7 K8 K9",
    "MGET",
    "MSET K7 a",
    "MSET K7 a K8 b K9 \"\"",
    "MSET K7 a K7 b K1 c K7 d",
    "MSET K3 x K4 y K5 z",
    "MSET K7 a\\r\\nb\\0 K8 \\xff",
    "MSET K7 a K8",
    "MSET K7",
    "MSET",
    "DEL K1",
    "DEL K1 K2 K3 K4 K5 K6 K7 K8 K9",
    "DEL K1 K1 K2 K7",
    "DEL",
    "UNLINK K1 K2 K3 K9",
    "UNLINK K1 K1",
    "UNLINK",
    "EXISTS K1 K1 K2 K7 K3",
    "EXISTS K7",
    "EXISTS",
    "TOUCH K1 K2 K7 K1",
    "TOUCH",
];

/// What the keys of a call of several keys in one slot hold before it.
pub(crate) const ONE_SLOT_FIXTURE: &[&str] = &[
    "SADD K1 1 2 3",
    "SADD K2 2 3 4",
    "ZADD K3 1 1 2 2 3.5 3",
    "ZADD K4 10 2 20 5",
    "RPUSH K5 c a b",
    "SET K6 ohmytext",
    "PFADD K7 a b c",
    "GEOADD K8 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
];

/// Asked after each of these calls.
pub(crate) const ONE_SLOT_PROBES: &[&str] = &[
    "TYPE K1",
    "SCARD K1",
    "SMEMBERS K2",
    "ZRANGE K3 0 -1 WITHSCORES",
    "LRANGE K5 0 -1",
    "GET K6",
    "TYPE K9",
    "DUMP K9",
    "TTL K9",
];

/// Commands of several keys that are sent as they came when all their keys share a slot, whatever becomes of them else.
pub(crate) const ONE_SLOT: &[&str] = &[
    "SINTER K1 K2",
    "SINTER K1 K6",
    "SUNION K1 K2 K9",
    "SDIFF K1 K2",
    "SINTERCARD 2 K1 K2 LIMIT 1",
    "SINTERCARD 2 K1",
    "SINTERCARD x K1",
    "ZINTER 2 K3 K4 WITHSCORES",
    "ZUNION 2 K3 K4 WEIGHTS 2 1 AGGREGATE MAX WITHSCORES",
    "ZUNION 2 K3 K4 WEIGHTS 2",
    "ZDIFF 2 K3 K4",
    "ZINTERCARD 2 K3 K4",
    "PFCOUNT K7 K9",
    "PFCOUNT K1",
    "LCS K6 K6",
    "LCS K6 K1",
    "SORT_RO K5 ALPHA",
    "SORT_RO K5",
    "SORT K5 ALPHA DESC LIMIT 0 2",
    "SORT K5 ALPHA STORE K9",
    "SINTERSTORE K9 K1 K2",
    "SUNIONSTORE K1 K1 K2",
    "SDIFFSTORE K9 K1 K1",
    "ZINTERSTORE K9 2 K3 K4",
    "ZUNIONSTORE K9 2 K3 K4 AGGREGATE MIN",
    "ZDIFFSTORE K3 2 K3 K4",
    "ZRANGESTORE K9 K3 0 1",
    "ZRANGESTORE K9 K1 0 1",
    "BITOP AND K9 K6 K6",
    "BITOP NOT K9 K6",
    "BITOP NOT K9 K6 K6",
    "COPY K1 K9",
    "COPY K1 K2",
    "COPY K1 K2 REPLACE",
    "PFMERGE K9 K7",
    "GEOSEARCHSTORE K9 K8 FROMLONLAT 15 37 BYRADIUS 200 km ASC",
    "GEORADIUS K8 15 37 200 km WITHDIST",
    "GEORADIUS K8 15 37 200 km STORE K9",
    "GEORADIUSBYMEMBER K8 Palermo 200 km STOREDIST K9",
    "RENAME K1 K9",
    "RENAME K9 K1",
    "RENAMENX K1 K2",
    "SMOVE K1 K2 1",
    "SMOVE K1 K6 1",
    "LMOVE K5 K9 LEFT RIGHT",
    "LMOVE K5 K5 RIGHT LEFT",
    "RPOPLPUSH K5 K9",
    "RPOPLPUSH K9 K5",
    "MSETNX K9 a K6 b",
    "MSETNX K9 a",
    "LMPOP 2 K9 K5 LEFT COUNT 2",
    "LMPOP 1 K9 LEFT",
    "ZMPOP 2 K9 K3 MIN",
    "ZMPOP 0 K3 MIN",
];
