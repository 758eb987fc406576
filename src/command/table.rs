//! One row per command and subcommand: the only list of commands in the project.
//!
//! A row reads: class, name, since, arity, effect, keys; then its ACL categories and what differs
//! from its class. The classes at the foot of the file say what each stands for. To add a command,
//! add its row; `tests/commands_live.rs` compares the rows with a real server.

use std::borrow::Cow;

use super::shapes::*;
use super::*;
use crate::merge::ResponsePolicy::{
    self, AllSucceeded, Concat, LogicalAnd, Min, MinEach, OneSucceeded, Positions, Special,
    Streams, Sum,
};
use InMulti::{Control, Queue, QueueOneSlot, Refuse, ServerError, Splice};
use Options::{Bitfield, HashSetEx, ManySetEx, Replace, Set, Store, Zadd};
use Refusal::{ClusterMode, NotAllowed, Standalone, Unknown};
use Target::{Leases, Nodes, OneMaster, Slot, Slots};

/// What a command does to its keys' values, and whether doing it twice is the same as once.
#[derive(Clone, Copy)]
struct Effect(Access, Retry, Need);

const BOTH: Need = Need::READ.union(Need::WRITE);
const NOTHING: Need = Need::empty();

/// Reads values.
const READ: Effect = Effect(Access::Read, Retry::Read, Need::READ);
/// Asks about keys, not about their values.
const PEEK: Effect = Effect(Access::Read, Retry::Read, NOTHING);
/// Writes; the same end state when repeated.
const SAME: Effect = Effect(Access::Write, Retry::Idempotent, Need::WRITE);
/// Writes; a repeat would do it twice or answer differently.
const ONCE: Effect = Effect(Access::Write, Retry::Never, Need::WRITE);
/// Writes and tells what was or is there; never repeated.
const TAKE: Effect = Effect(Access::Write, Retry::Never, BOTH);
/// Writes and tells what was or is there; the same end state when repeated.
const SWAP: Effect = Effect(Access::Write, Retry::Idempotent, BOTH);
/// Flagged as a write, but only learns values.
const LEARN: Effect = Effect(Access::Write, Retry::Never, Need::READ);
/// No keys: asks a server something.
const ASK: Effect = Effect(Access::Neither, Retry::Read, NOTHING);
/// No keys: changes a server's state, the same when repeated.
const TELL: Effect = Effect(Access::Neither, Retry::Idempotent, NOTHING);
/// No keys: never repeated.
const ACT: Effect = Effect(Access::Neither, Retry::Never, NOTHING);
/// Stays in the gateway.
const HERE: Effect = Effect(Access::Neither, Retry::Local, NOTHING);

pub(super) static TABLE: &[CommandSpec] = &[
    // Redis 7.0 and before.
    local("ACL", "7.0", -2).acl("slow"),
    any("ACL CAT", "7.0", -2, ASK).acl("slow"),
    local("ACL DELUSER", "7.0", -3).acl("admin dangerous slow").admin().multi(Refuse),
    local("ACL DRYRUN", "7.0", -4).acl("admin dangerous slow").admin(),
    local("ACL GENPASS", "7.0", -2).acl("slow"),
    local("ACL GETUSER", "7.0", 3).acl("admin dangerous slow").admin(),
    any("ACL HELP", "7.0", 2, ASK).acl("slow"),
    local("ACL LIST", "7.0", 2).acl("admin dangerous slow").admin(),
    local("ACL LOAD", "7.0", 2).acl("admin dangerous slow").admin().multi(Refuse),
    local("ACL LOG", "7.0", -2).acl("admin dangerous slow").admin(),
    local("ACL SAVE", "7.0", 2).acl("admin dangerous slow").admin().multi(Refuse),
    local("ACL SETUSER", "7.0", -3).acl("admin dangerous slow").admin().multi(Refuse),
    local("ACL USERS", "7.0", 2).acl("admin dangerous slow").admin(),
    local("ACL WHOAMI", "7.0", 2).acl("slow"),
    keyed("APPEND", "7.0", 3, ONCE, FIRST).acl("fast string write"),
    local("ASKING", "7.0", 1).acl("connection fast").off(Standalone),
    local("AUTH", "7.0", -2).acl("connection fast").multi(Refuse),
    nodes("BGREWRITEAOF", "7.0", 1, TELL, AllSucceeded).acl("admin dangerous slow"),
    nodes("BGSAVE", "7.0", -1, TELL, AllSucceeded).acl("admin dangerous slow"),
    keyed("BITCOUNT", "7.0", -2, READ, FIRST).acl("bitmap read slow"),
    keyed("BITFIELD", "7.0", -2, TAKE, FIRST).acl("bitmap slow write").options(Bitfield),
    keyed("BITFIELD_RO", "7.0", -2, READ, FIRST).acl("bitmap fast read"),
    store("BITOP", "7.0", -4, SAME, SECOND_FROM_REST).acl("bitmap slow write"),
    keyed("BITPOS", "7.0", -3, READ, FIRST).acl("bitmap read slow"),
    block("BLMOVE", "7.0", 6, TAKE, TAKE_TO).acl("blocking list slow write").cross(Cross::Move),
    block("BLMPOP", "7.0", -5, TAKE, COUNT_AT_2).acl("blocking list slow write"),
    block("BLPOP", "7.0", -3, TAKE, EVERY_BUT_LAST).acl("blocking list slow write"),
    block("BRPOP", "7.0", -3, TAKE, EVERY_BUT_LAST).acl("blocking list slow write"),
    block("BRPOPLPUSH", "7.0", 4, TAKE, TAKE_TO).acl("blocking list slow write").cross(Cross::Move),
    block("BZMPOP", "7.0", -5, TAKE, COUNT_AT_2).acl("blocking slow sortedset write"),
    block("BZPOPMAX", "7.0", -3, TAKE, EVERY_BUT_LAST).acl("blocking fast sortedset write"),
    block("BZPOPMIN", "7.0", -3, TAKE, EVERY_BUT_LAST).acl("blocking fast sortedset write"),
    local("CLIENT", "7.0", -2).acl("slow"),
    local("CLIENT CACHING", "7.0", 3).acl("connection slow").off(NotAllowed),
    local("CLIENT GETNAME", "7.0", 2).acl("connection slow"),
    local("CLIENT GETREDIR", "7.0", 2).acl("connection slow"),
    any("CLIENT HELP", "7.0", 2, ASK).acl("connection slow"),
    local("CLIENT ID", "7.0", 2).acl("connection slow"),
    local("CLIENT INFO", "7.0", 2).acl("connection slow"),
    local("CLIENT KILL", "7.0", -3).acl("admin connection dangerous slow").admin(),
    local("CLIENT LIST", "7.0", -2).acl("admin connection dangerous slow").admin(),
    local("CLIENT NO-EVICT", "7.0", 3).acl("admin connection dangerous slow"),
    local("CLIENT PAUSE", "7.0", -3).acl("admin connection dangerous slow").admin(),
    local("CLIENT REPLY", "7.0", 3).acl("connection slow").multi(Refuse),
    local("CLIENT SETNAME", "7.0", 3).acl("connection slow"),
    local("CLIENT TRACKING", "7.0", -3).acl("connection slow").optional(),
    local("CLIENT TRACKINGINFO", "7.0", 2).acl("connection slow"),
    local("CLIENT UNBLOCK", "7.0", -3).acl("admin connection dangerous slow").admin(),
    local("CLIENT UNPAUSE", "7.0", 2).acl("admin connection dangerous slow").admin(),
    local("CLUSTER", "7.0", -2).acl("slow"),
    refused("CLUSTER ADDSLOTS", "7.0", -3, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER ADDSLOTSRANGE", "7.0", -4, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER BUMPEPOCH", "7.0", 2, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER COUNT-FAILURE-REPORTS", "7.0", 3, Standalone).acl("admin dangerous slow"),
    local("CLUSTER COUNTKEYSINSLOT", "7.0", 3).acl("slow").off(Standalone),
    refused("CLUSTER DELSLOTS", "7.0", -3, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER DELSLOTSRANGE", "7.0", -4, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER FAILOVER", "7.0", -2, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER FLUSHSLOTS", "7.0", 2, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER FORGET", "7.0", 3, Standalone).acl("admin dangerous slow"),
    local("CLUSTER GETKEYSINSLOT", "7.0", 4).acl("slow").off(Standalone),
    local("CLUSTER HELP", "7.0", 2).acl("slow").off(Standalone),
    local("CLUSTER INFO", "7.0", 2).acl("slow").off(Standalone),
    local("CLUSTER KEYSLOT", "7.0", 3).acl("slow"),
    local("CLUSTER LINKS", "7.0", 2).acl("slow").off(Standalone),
    refused("CLUSTER MEET", "7.0", -4, Standalone).acl("admin dangerous slow"),
    local("CLUSTER MYID", "7.0", 2).acl("slow").off(Standalone),
    local("CLUSTER NODES", "7.0", 2).acl("slow").off(Standalone),
    refused("CLUSTER REPLICAS", "7.0", 3, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER REPLICATE", "7.0", 3, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER RESET", "7.0", -2, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER SAVECONFIG", "7.0", 2, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER SET-CONFIG-EPOCH", "7.0", 3, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER SETSLOT", "7.0", -4, Standalone).acl("admin dangerous slow"),
    local("CLUSTER SHARDS", "7.0", 2).acl("slow").off(Standalone),
    refused("CLUSTER SLAVES", "7.0", 3, Standalone).acl("admin dangerous slow"),
    local("CLUSTER SLOTS", "7.0", 2).acl("slow").off(Standalone),
    any("COMMAND", "7.0", -1, ASK).acl("connection slow"),
    any("COMMAND COUNT", "7.0", 2, ASK).acl("connection slow"),
    any("COMMAND DOCS", "7.0", -2, ASK).acl("connection slow"),
    any("COMMAND GETKEYS", "7.0", -4, ASK).acl("connection slow"),
    any("COMMAND GETKEYSANDFLAGS", "7.0", -4, ASK).acl("connection slow"),
    any("COMMAND HELP", "7.0", 2, ASK).acl("connection slow"),
    any("COMMAND INFO", "7.0", -2, ASK).acl("connection slow"),
    any("COMMAND LIST", "7.0", -2, ASK).acl("connection slow"),
    local("CONFIG", "7.0", -2).acl("slow"),
    local("CONFIG GET", "7.0", -3).acl("admin dangerous slow"),
    any("CONFIG HELP", "7.0", 2, ASK).acl("slow"),
    nodes("CONFIG RESETSTAT", "7.0", 2, TELL, AllSucceeded).acl("admin dangerous slow"),
    nodes("CONFIG REWRITE", "7.0", 2, TELL, AllSucceeded).acl("admin dangerous slow"),
    nodes("CONFIG SET", "7.0", -4, TELL, AllSucceeded).acl("admin dangerous slow"),
    store("COPY", "7.0", -3, ONCE, COPY_TO).acl("keyspace slow write"),
    masters("DBSIZE", "7.0", 1, READ, Sum).acl("fast keyspace read"),
    refused("DEBUG", "7.0", -2, NotAllowed).acl("admin dangerous slow"),
    keyed("DECR", "7.0", 2, TAKE, FIRST).acl("fast string write"),
    keyed("DECRBY", "7.0", 3, TAKE, FIRST).acl("fast string write"),
    split("DEL", "7.0", -2, SAME, EVERY).acl("keyspace slow write").merge(Sum),
    transaction("DISCARD", "7.0", 1, HERE, NO_KEYS).acl("fast transaction"),
    keyed("DUMP", "7.0", 2, READ, FIRST).acl("keyspace read slow"),
    local("ECHO", "7.0", 2).acl("connection fast"),
    script("EVAL", "7.0", -3, TAKE, COUNT_AT_2).acl("scripting slow"),
    script("EVAL_RO", "7.0", -3, READ, COUNT_AT_2).acl("scripting slow"),
    script("EVALSHA", "7.0", -3, TAKE, COUNT_AT_2).acl("scripting slow"),
    script("EVALSHA_RO", "7.0", -3, READ, COUNT_AT_2).acl("scripting slow"),
    transaction("EXEC", "7.0", 1, ACT, NO_KEYS).acl("slow transaction").to(Slot).one_slot(),
    split("EXISTS", "7.0", -2, PEEK, EVERY).acl("fast keyspace read").merge(Sum),
    keyed("EXPIRE", "7.0", -3, SAME, FIRST).acl("fast keyspace write"),
    keyed("EXPIREAT", "7.0", -3, SAME, FIRST).acl("fast keyspace write"),
    keyed("EXPIRETIME", "7.0", 2, READ, FIRST).acl("fast keyspace read"),
    refused("FAILOVER", "7.0", -1, NotAllowed).acl("admin dangerous slow"),
    script("FCALL", "7.0", -3, TAKE, COUNT_AT_2).acl("scripting slow"),
    script("FCALL_RO", "7.0", -3, READ, COUNT_AT_2).acl("scripting slow"),
    masters("FLUSHALL", "7.0", -1, SAME, AllSucceeded).acl("dangerous keyspace slow write"),
    masters("FLUSHDB", "7.0", -1, SAME, AllSucceeded).acl("dangerous keyspace slow write"),
    local("FUNCTION", "7.0", -2).acl("slow"),
    library("FUNCTION DELETE", "7.0", 3, SAME, AllSucceeded).acl("scripting slow write"),
    catalogue("FUNCTION DUMP", "7.0", 2, ASK).acl("scripting slow"),
    library("FUNCTION FLUSH", "7.0", -2, SAME, AllSucceeded).acl("scripting slow write"),
    any("FUNCTION HELP", "7.0", 2, ASK).acl("scripting slow"),
    library("FUNCTION KILL", "7.0", 2, TELL, OneSucceeded).acl("scripting slow").admin(),
    catalogue("FUNCTION LIST", "7.0", -2, ASK).acl("scripting slow"),
    library("FUNCTION LOAD", "7.0", -3, ONCE, AllSucceeded)
        .acl("scripting slow write")
        .options(Replace),
    library("FUNCTION RESTORE", "7.0", -3, ONCE, AllSucceeded)
        .acl("scripting slow write")
        .options(Replace),
    library("FUNCTION STATS", "7.0", 2, ASK, Special).acl("scripting slow"),
    keyed("GEOADD", "7.0", -5, SAME, FIRST).acl("geo slow write"),
    keyed("GEODIST", "7.0", -4, READ, FIRST).acl("geo read slow"),
    keyed("GEOHASH", "7.0", -2, READ, FIRST).acl("geo read slow"),
    keyed("GEOPOS", "7.0", -2, READ, FIRST).acl("geo read slow"),
    store("GEORADIUS", "7.0", -6, SAME, RADIUS_STORE).acl("geo slow write").options(Store),
    keyed("GEORADIUS_RO", "7.0", -6, READ, FIRST).acl("geo read slow"),
    store("GEORADIUSBYMEMBER", "7.0", -5, SAME, MEMBER_STORE).acl("geo slow write").options(Store),
    keyed("GEORADIUSBYMEMBER_RO", "7.0", -5, READ, FIRST).acl("geo read slow"),
    keyed("GEOSEARCH", "7.0", -7, READ, FIRST).acl("geo read slow"),
    store("GEOSEARCHSTORE", "7.0", -8, SAME, INTO_FROM).acl("geo slow write"),
    keyed("GET", "7.0", 2, READ, FIRST).acl("fast read string"),
    keyed("GETBIT", "7.0", 3, READ, FIRST).acl("bitmap fast read"),
    keyed("GETDEL", "7.0", 2, TAKE, FIRST).acl("fast string write"),
    keyed("GETEX", "7.0", -2, SWAP, FIRST).acl("fast string write"),
    keyed("GETRANGE", "7.0", 4, READ, FIRST).acl("read slow string"),
    keyed("GETSET", "7.0", 3, TAKE, FIRST).acl("fast string write"),
    keyed("HDEL", "7.0", -3, SAME, FIRST).acl("fast hash write"),
    local("HELLO", "7.0", -1).acl("connection fast").multi(Refuse),
    keyed("HEXISTS", "7.0", 3, PEEK, FIRST).acl("fast hash read"),
    keyed("HGET", "7.0", 3, READ, FIRST).acl("fast hash read"),
    keyed("HGETALL", "7.0", 2, READ, FIRST).acl("hash read slow"),
    keyed("HINCRBY", "7.0", 4, TAKE, FIRST).acl("fast hash write"),
    keyed("HINCRBYFLOAT", "7.0", 4, TAKE, FIRST).acl("fast hash write"),
    keyed("HKEYS", "7.0", 2, READ, FIRST).acl("hash read slow"),
    keyed("HLEN", "7.0", 2, PEEK, FIRST).acl("fast hash read"),
    keyed("HMGET", "7.0", -3, READ, FIRST).acl("fast hash read"),
    keyed("HMSET", "7.0", -4, SAME, FIRST).acl("fast hash write"),
    keyed("HRANDFIELD", "7.0", -2, READ, FIRST).acl("hash read slow"),
    keyed("HSCAN", "7.0", -3, READ, FIRST).acl("hash read slow"),
    keyed("HSET", "7.0", -4, SAME, FIRST).acl("fast hash write"),
    keyed("HSETNX", "7.0", 4, ONCE, FIRST).acl("fast hash write"),
    keyed("HSTRLEN", "7.0", 3, PEEK, FIRST).acl("fast hash read"),
    keyed("HVALS", "7.0", 2, READ, FIRST).acl("hash read slow"),
    keyed("INCR", "7.0", 2, TAKE, FIRST).acl("fast string write"),
    keyed("INCRBY", "7.0", 3, TAKE, FIRST).acl("fast string write"),
    keyed("INCRBYFLOAT", "7.0", 3, TAKE, FIRST).acl("fast string write"),
    local("INFO", "7.0", -1).acl("dangerous slow"),
    masters("KEYS", "7.0", 2, READ, Concat).acl("dangerous keyspace read slow"),
    masters("LASTSAVE", "7.0", 1, ASK, Min).acl("admin dangerous fast").admin(),
    local("LATENCY", "7.0", -2).acl("slow"),
    nodes("LATENCY DOCTOR", "7.0", 2, ASK, Special).acl("admin dangerous slow"),
    nodes("LATENCY GRAPH", "7.0", 3, ASK, Special).acl("admin dangerous slow"),
    any("LATENCY HELP", "7.0", 2, ASK).acl("slow"),
    nodes("LATENCY HISTOGRAM", "7.0", -2, ASK, Special).acl("admin dangerous slow"),
    nodes("LATENCY HISTORY", "7.0", 3, ASK, Special).acl("admin dangerous slow"),
    nodes("LATENCY LATEST", "7.0", 2, ASK, Special).acl("admin dangerous slow"),
    nodes("LATENCY RESET", "7.0", -2, TELL, Sum).acl("admin dangerous slow"),
    gather("LCS", "7.0", -3, READ, FIRST_TWO).acl("read slow string"),
    keyed("LINDEX", "7.0", 3, READ, FIRST).acl("list read slow"),
    keyed("LINSERT", "7.0", 5, ONCE, FIRST).acl("list slow write"),
    keyed("LLEN", "7.0", 2, PEEK, FIRST).acl("fast list read"),
    moves("LMOVE", "7.0", 5, TAKE, TAKE_TO).acl("list slow write"),
    sequence("LMPOP", "7.0", -4, TAKE, COUNT_AT_1).acl("list slow write"),
    any("LOLWUT", "7.0", -1, READ).acl("fast read"),
    keyed("LPOP", "7.0", -2, TAKE, FIRST).acl("fast list write"),
    keyed("LPOS", "7.0", -3, READ, FIRST).acl("list read slow"),
    keyed("LPUSH", "7.0", -3, ONCE, FIRST).acl("fast list write"),
    keyed("LPUSHX", "7.0", -3, ONCE, FIRST).acl("fast list write"),
    keyed("LRANGE", "7.0", 4, READ, FIRST).acl("list read slow"),
    keyed("LREM", "7.0", 4, ONCE, FIRST).acl("list slow write"),
    keyed("LSET", "7.0", 4, SAME, FIRST).acl("list slow write"),
    keyed("LTRIM", "7.0", 4, ONCE, FIRST).acl("list slow write"),
    local("MEMORY", "7.0", -2).acl("slow"),
    masters("MEMORY DOCTOR", "7.0", 2, ASK, Special).acl("slow").admin(),
    any("MEMORY HELP", "7.0", 2, ASK).acl("slow"),
    masters("MEMORY MALLOC-STATS", "7.0", 2, ASK, Special).acl("slow").admin(),
    masters("MEMORY PURGE", "7.0", 2, TELL, AllSucceeded).acl("slow").admin(),
    masters("MEMORY STATS", "7.0", 2, ASK, Special).acl("slow").admin(),
    keyed("MEMORY USAGE", "7.0", -3, PEEK, SECOND).acl("read slow"),
    split("MGET", "7.0", -2, READ, EVERY).acl("fast read string").merge(Positions),
    keyed("MIGRATE", "7.0", -6, ONCE, MIGRATE)
        .acl("dangerous keyspace slow write")
        .refuse(NotAllowed),
    local("MODULE", "7.0", -2).acl("slow"),
    any("MODULE HELP", "7.0", 2, ASK).acl("slow"),
    any("MODULE LIST", "7.0", 2, ASK).acl("admin dangerous slow").admin(),
    refused("MODULE LOAD", "7.0", -3, NotAllowed).acl("admin dangerous slow"),
    refused("MODULE LOADEX", "7.0", -3, NotAllowed).acl("admin dangerous slow"),
    refused("MODULE UNLOAD", "7.0", 3, NotAllowed).acl("admin dangerous slow"),
    refused("MONITOR", "7.0", 1, NotAllowed).acl("admin dangerous slow"),
    keyed("MOVE", "7.0", 3, ONCE, FIRST).acl("fast keyspace write").refuse(ClusterMode),
    split("MSET", "7.0", -3, SAME, PAIRS).acl("slow string write").merge(AllSucceeded),
    moves("MSETNX", "7.0", -3, ONCE, PAIRS).acl("slow string write"),
    transaction("MULTI", "7.0", 1, HERE, NO_KEYS).acl("fast transaction"),
    local("OBJECT", "7.0", -2).acl("slow"),
    keyed("OBJECT ENCODING", "7.0", 3, PEEK, SECOND).acl("keyspace read slow"),
    keyed("OBJECT FREQ", "7.0", 3, PEEK, SECOND).acl("keyspace read slow"),
    any("OBJECT HELP", "7.0", 2, ASK).acl("keyspace slow"),
    keyed("OBJECT IDLETIME", "7.0", 3, PEEK, SECOND).acl("keyspace read slow"),
    keyed("OBJECT REFCOUNT", "7.0", 3, PEEK, SECOND).acl("keyspace read slow"),
    keyed("PERSIST", "7.0", 2, SAME, FIRST).acl("fast keyspace write"),
    keyed("PEXPIRE", "7.0", -3, SAME, FIRST).acl("fast keyspace write"),
    keyed("PEXPIREAT", "7.0", -3, SAME, FIRST).acl("fast keyspace write"),
    keyed("PEXPIRETIME", "7.0", 2, READ, FIRST).acl("fast keyspace read"),
    keyed("PFADD", "7.0", -2, SAME, FIRST).acl("fast hyperloglog write"),
    gather("PFCOUNT", "7.0", -2, READ, EVERY).acl("hyperloglog read slow"),
    keyed("PFDEBUG", "7.0", 3, LEARN, SECOND).acl("admin dangerous hyperloglog slow write").admin(),
    store("PFMERGE", "7.0", -2, SAME, MERGE_REST).acl("hyperloglog slow write"),
    refused("PFSELFTEST", "7.0", 1, NotAllowed).acl("admin dangerous hyperloglog slow"),
    local("PING", "7.0", -1).acl("connection fast"),
    keyed("PSETEX", "7.0", 4, SAME, FIRST).acl("slow string write"),
    pubsub("PSUBSCRIBE", "7.0", -2, HERE, NO_KEYS).acl("pubsub slow"),
    refused("PSYNC", "7.0", -3, NotAllowed).acl("admin dangerous slow").multi(ServerError),
    keyed("PTTL", "7.0", 2, READ, FIRST).acl("fast keyspace read"),
    pubsub("PUBLISH", "7.0", 3, ACT, NO_KEYS).acl("fast pubsub").multi(Queue),
    local("PUBSUB", "7.0", -2).acl("slow"),
    census("PUBSUB CHANNELS", "7.0", -2).acl("pubsub slow"),
    any("PUBSUB HELP", "7.0", 2, ASK).acl("slow"),
    census("PUBSUB NUMPAT", "7.0", 2).acl("pubsub slow"),
    census("PUBSUB NUMSUB", "7.0", -2).acl("pubsub slow"),
    census("PUBSUB SHARDCHANNELS", "7.0", -2).acl("pubsub slow"),
    census("PUBSUB SHARDNUMSUB", "7.0", -2).acl("pubsub slow"),
    pubsub("PUNSUBSCRIBE", "7.0", -1, HERE, NO_KEYS).acl("pubsub slow"),
    local("QUIT", "7.0", -1).acl("connection fast").multi(Control),
    masters("RANDOMKEY", "7.0", 1, READ, Special).acl("keyspace read slow").to(OneMaster),
    local("READONLY", "7.0", 1).acl("connection fast"),
    local("READWRITE", "7.0", 1).acl("connection fast"),
    moves("RENAME", "7.0", 3, TAKE, TAKE_TO).acl("keyspace slow write"),
    moves("RENAMENX", "7.0", 3, TAKE, TAKE_TO).acl("fast keyspace write"),
    refused("REPLCONF", "7.0", -1, NotAllowed).acl("admin dangerous slow"),
    refused("REPLICAOF", "7.0", 3, NotAllowed).acl("admin dangerous slow"),
    local("RESET", "7.0", 1).acl("connection fast").multi(Control),
    keyed("RESTORE", "7.0", -4, ONCE, FIRST).acl("dangerous keyspace slow write").options(Replace),
    keyed("RESTORE-ASKING", "7.0", -4, ONCE, FIRST)
        .acl("dangerous keyspace slow write")
        .refuse(NotAllowed),
    local("ROLE", "7.0", 1).acl("admin dangerous fast"),
    keyed("RPOP", "7.0", -2, TAKE, FIRST).acl("fast list write"),
    moves("RPOPLPUSH", "7.0", 3, TAKE, TAKE_TO).acl("list slow write"),
    keyed("RPUSH", "7.0", -3, ONCE, FIRST).acl("fast list write"),
    keyed("RPUSHX", "7.0", -3, ONCE, FIRST).acl("fast list write"),
    keyed("SADD", "7.0", -3, SAME, FIRST).acl("fast set write"),
    nodes("SAVE", "7.0", 1, TELL, AllSucceeded).acl("admin dangerous slow").multi(ServerError),
    cursor("SCAN", "7.0", -2, READ).acl("keyspace read slow"),
    keyed("SCARD", "7.0", 2, PEEK, FIRST).acl("fast read set"),
    local("SCRIPT", "7.0", -2).acl("slow"),
    refused("SCRIPT DEBUG", "7.0", 3, NotAllowed).acl("scripting slow"),
    library("SCRIPT EXISTS", "7.0", -3, ASK, LogicalAnd).acl("scripting slow"),
    library("SCRIPT FLUSH", "7.0", -2, TELL, AllSucceeded).acl("scripting slow").to(Nodes),
    any("SCRIPT HELP", "7.0", 2, ASK).acl("scripting slow"),
    library("SCRIPT KILL", "7.0", 2, TELL, OneSucceeded).acl("scripting slow").admin(),
    library("SCRIPT LOAD", "7.0", 3, TELL, AllSucceeded).acl("scripting slow").to(Nodes),
    gather("SDIFF", "7.0", -2, READ, EVERY).acl("read set slow"),
    store("SDIFFSTORE", "7.0", -3, SAME, INTO_FROM_REST).acl("set slow write"),
    local("SELECT", "7.0", 2).acl("connection fast"),
    keyed("SET", "7.0", -3, SAME, FIRST).acl("slow string write").options(Set),
    keyed("SETBIT", "7.0", 4, SWAP, FIRST).acl("bitmap slow write"),
    keyed("SETEX", "7.0", 4, SAME, FIRST).acl("slow string write"),
    keyed("SETNX", "7.0", 3, ONCE, FIRST).acl("fast string write"),
    keyed("SETRANGE", "7.0", 4, SAME, FIRST).acl("slow string write"),
    refused("SHUTDOWN", "7.0", -1, NotAllowed).acl("admin dangerous slow").multi(ServerError),
    gather("SINTER", "7.0", -2, READ, EVERY).acl("read set slow"),
    gather("SINTERCARD", "7.0", -3, READ, COUNT_AT_1).acl("read set slow"),
    store("SINTERSTORE", "7.0", -3, SAME, INTO_FROM_REST).acl("set slow write"),
    keyed("SISMEMBER", "7.0", 3, PEEK, FIRST).acl("fast read set"),
    refused("SLAVEOF", "7.0", 3, NotAllowed).acl("admin dangerous slow"),
    local("SLOWLOG", "7.0", -2).acl("slow"),
    nodes("SLOWLOG GET", "7.0", -2, ASK, Special).acl("admin dangerous slow"),
    any("SLOWLOG HELP", "7.0", 2, ASK).acl("slow"),
    nodes("SLOWLOG LEN", "7.0", 2, ASK, Sum).acl("admin dangerous slow"),
    nodes("SLOWLOG RESET", "7.0", 2, TELL, AllSucceeded).acl("admin dangerous slow"),
    keyed("SMEMBERS", "7.0", 2, READ, FIRST).acl("read set slow"),
    keyed("SMISMEMBER", "7.0", -3, READ, FIRST).acl("fast read set"),
    moves("SMOVE", "7.0", 4, TAKE, TAKE_TO).acl("fast set write"),
    store("SORT", "7.0", -2, SAME, SORT_STORE)
        .acl("dangerous list set slow sortedset write")
        .options(Store),
    gather("SORT_RO", "7.0", -2, READ, FIRST).acl("dangerous list read set slow sortedset"),
    keyed("SPOP", "7.0", -2, TAKE, FIRST).acl("fast set write"),
    pubsub("SPUBLISH", "7.0", 3, ACT, CHANNEL).acl("fast pubsub").to(Slot).multi(Queue),
    keyed("SRANDMEMBER", "7.0", -2, READ, FIRST).acl("read set slow"),
    keyed("SREM", "7.0", -3, SAME, FIRST).acl("fast set write"),
    keyed("SSCAN", "7.0", -3, READ, FIRST).acl("read set slow"),
    shard_pubsub("SSUBSCRIBE", "7.0", -2).acl("pubsub slow"),
    keyed("STRLEN", "7.0", 2, PEEK, FIRST).acl("fast read string"),
    pubsub("SUBSCRIBE", "7.0", -2, HERE, NO_KEYS).acl("pubsub slow"),
    keyed("SUBSTR", "7.0", 4, READ, FIRST).acl("read slow string"),
    gather("SUNION", "7.0", -2, READ, EVERY).acl("read set slow"),
    store("SUNIONSTORE", "7.0", -3, SAME, INTO_FROM_REST).acl("set slow write"),
    shard_pubsub("SUNSUBSCRIBE", "7.0", -1).acl("pubsub slow"),
    keyed("SWAPDB", "7.0", 3, ONCE, NO_KEYS)
        .acl("dangerous fast keyspace write")
        .refuse(ClusterMode),
    refused("SYNC", "7.0", 1, NotAllowed).acl("admin dangerous slow").multi(ServerError),
    local("TIME", "7.0", 1).acl("fast"),
    split("TOUCH", "7.0", -2, PEEK, EVERY).acl("fast keyspace read").merge(Sum),
    keyed("TTL", "7.0", 2, READ, FIRST).acl("fast keyspace read"),
    keyed("TYPE", "7.0", 2, PEEK, FIRST).acl("fast keyspace read"),
    split("UNLINK", "7.0", -2, SAME, EVERY).acl("fast keyspace write").merge(Sum),
    pubsub("UNSUBSCRIBE", "7.0", -1, HERE, NO_KEYS).acl("pubsub slow"),
    transaction("UNWATCH", "7.0", 1, HERE, NO_KEYS).acl("fast transaction").to(Leases),
    wait("WAIT", "7.0", 3, ASK, Min).acl("connection slow"),
    transaction("WATCH", "7.0", -2, ASK, EVERY).acl("fast transaction").to(Slots).one_slot(),
    keyed("XACK", "7.0", -4, SAME, FIRST).acl("fast stream write"),
    keyed("XADD", "7.0", -5, ONCE, FIRST).acl("fast stream write"),
    keyed("XAUTOCLAIM", "7.0", -6, ONCE, FIRST).acl("fast stream write"),
    keyed("XCLAIM", "7.0", -6, ONCE, FIRST).acl("fast stream write"),
    keyed("XDEL", "7.0", -3, SAME, FIRST).acl("fast stream write"),
    local("XGROUP", "7.0", -2).acl("slow"),
    keyed("XGROUP CREATE", "7.0", -5, ONCE, SECOND).acl("slow stream write"),
    keyed("XGROUP CREATECONSUMER", "7.0", 5, SAME, SECOND).acl("slow stream write"),
    keyed("XGROUP DELCONSUMER", "7.0", 5, ONCE, SECOND).acl("slow stream write"),
    keyed("XGROUP DESTROY", "7.0", 4, SAME, SECOND).acl("slow stream write"),
    any("XGROUP HELP", "7.0", 2, ASK).acl("slow stream"),
    keyed("XGROUP SETID", "7.0", -5, SAME, SECOND).acl("slow stream write"),
    local("XINFO", "7.0", -2).acl("slow"),
    keyed("XINFO CONSUMERS", "7.0", 4, READ, SECOND).acl("read slow stream"),
    keyed("XINFO GROUPS", "7.0", 3, READ, SECOND).acl("read slow stream"),
    any("XINFO HELP", "7.0", 2, ASK).acl("slow stream"),
    keyed("XINFO STREAM", "7.0", -3, READ, SECOND).acl("read slow stream"),
    keyed("XLEN", "7.0", 2, PEEK, FIRST).acl("fast read stream"),
    keyed("XPENDING", "7.0", -3, READ, FIRST).acl("read slow stream"),
    keyed("XRANGE", "7.0", -4, READ, FIRST).acl("read slow stream"),
    streams("XREAD", "7.0", -4, READ, STREAMS).acl("blocking read slow stream"),
    streams("XREADGROUP", "7.0", -7, ONCE, STREAMS_AFTER_GROUP).acl("blocking slow stream write"),
    keyed("XREVRANGE", "7.0", -4, READ, FIRST).acl("read slow stream"),
    keyed("XSETID", "7.0", -3, SAME, FIRST).acl("fast stream write"),
    keyed("XTRIM", "7.0", -4, SAME, FIRST).acl("slow stream write"),
    keyed("ZADD", "7.0", -4, SAME, FIRST).acl("fast sortedset write").options(Zadd),
    keyed("ZCARD", "7.0", 2, PEEK, FIRST).acl("fast read sortedset"),
    keyed("ZCOUNT", "7.0", 4, READ, FIRST).acl("fast read sortedset"),
    gather("ZDIFF", "7.0", -3, READ, COUNT_AT_1).acl("read slow sortedset"),
    store("ZDIFFSTORE", "7.0", -4, SAME, INTO_FROM_COUNT).acl("slow sortedset write"),
    keyed("ZINCRBY", "7.0", 4, TAKE, FIRST).acl("fast sortedset write"),
    gather("ZINTER", "7.0", -3, READ, COUNT_AT_1).acl("read slow sortedset"),
    gather("ZINTERCARD", "7.0", -3, READ, COUNT_AT_1).acl("read slow sortedset"),
    store("ZINTERSTORE", "7.0", -4, SAME, INTO_FROM_COUNT).acl("slow sortedset write"),
    keyed("ZLEXCOUNT", "7.0", 4, READ, FIRST).acl("fast read sortedset"),
    sequence("ZMPOP", "7.0", -4, TAKE, COUNT_AT_1).acl("slow sortedset write"),
    keyed("ZMSCORE", "7.0", -3, READ, FIRST).acl("fast read sortedset"),
    keyed("ZPOPMAX", "7.0", -2, TAKE, FIRST).acl("fast sortedset write"),
    keyed("ZPOPMIN", "7.0", -2, TAKE, FIRST).acl("fast sortedset write"),
    keyed("ZRANDMEMBER", "7.0", -2, READ, FIRST).acl("read slow sortedset"),
    keyed("ZRANGE", "7.0", -4, READ, FIRST).acl("read slow sortedset"),
    keyed("ZRANGEBYLEX", "7.0", -4, READ, FIRST).acl("read slow sortedset"),
    keyed("ZRANGEBYSCORE", "7.0", -4, READ, FIRST).acl("read slow sortedset"),
    store("ZRANGESTORE", "7.0", -5, SAME, INTO_FROM).acl("slow sortedset write"),
    keyed("ZRANK", "7.0", 3, READ, FIRST).acl("fast read sortedset"),
    keyed("ZREM", "7.0", -3, SAME, FIRST).acl("fast sortedset write"),
    keyed("ZREMRANGEBYLEX", "7.0", 4, SAME, FIRST).acl("slow sortedset write"),
    keyed("ZREMRANGEBYRANK", "7.0", 4, ONCE, FIRST).acl("slow sortedset write"),
    keyed("ZREMRANGEBYSCORE", "7.0", 4, SAME, FIRST).acl("slow sortedset write"),
    keyed("ZREVRANGE", "7.0", -4, READ, FIRST).acl("read slow sortedset"),
    keyed("ZREVRANGEBYLEX", "7.0", -4, READ, FIRST).acl("read slow sortedset"),
    keyed("ZREVRANGEBYSCORE", "7.0", -4, READ, FIRST).acl("read slow sortedset"),
    keyed("ZREVRANK", "7.0", 3, READ, FIRST).acl("fast read sortedset"),
    keyed("ZSCAN", "7.0", -3, READ, FIRST).acl("read slow sortedset"),
    keyed("ZSCORE", "7.0", 3, READ, FIRST).acl("fast read sortedset"),
    gather("ZUNION", "7.0", -3, READ, COUNT_AT_1).acl("read slow sortedset"),
    store("ZUNIONSTORE", "7.0", -4, SAME, INTO_FROM_COUNT).acl("slow sortedset write"),
    // Newer servers.
    keyed("ARCOUNT", "R8.8", 2, READ, FIRST).acl("array read"),
    keyed("ARDEL", "R8.8", -3, SAME, FIRST).acl("array write"),
    keyed("ARDELRANGE", "R8.8", -4, SAME, FIRST).acl("array write"),
    keyed("ARGET", "R8.8", 3, READ, FIRST).acl("array read"),
    keyed("ARGETRANGE", "R8.8", 4, READ, FIRST).acl("array read"),
    keyed("ARGREP", "R8.8", -6, READ, FIRST).acl("array read slow"),
    keyed("ARINFO", "R8.8", -2, READ, FIRST).acl("array read"),
    keyed("ARINSERT", "R8.8", -3, ONCE, FIRST).acl("array write"),
    keyed("ARLASTITEMS", "R8.8", -3, READ, FIRST).acl("array read"),
    keyed("ARLEN", "R8.8", 2, READ, FIRST).acl("array read"),
    keyed("ARMGET", "R8.8", -3, READ, FIRST).acl("array read"),
    keyed("ARMSET", "R8.8", -4, SAME, FIRST).acl("array write"),
    keyed("ARNEXT", "R8.8", 2, READ, FIRST).acl("array read"),
    keyed("AROP", "R8.8", -5, READ, FIRST).acl("array read slow"),
    keyed("ARRING", "R8.8", -4, ONCE, FIRST).acl("array write"),
    keyed("ARSCAN", "R8.8", -4, READ, FIRST).acl("array read"),
    keyed("ARSEEK", "R8.8", 3, SAME, FIRST).acl("array write"),
    keyed("ARSET", "R8.8", -4, SAME, FIRST).acl("array write"),
    refused("BACKUP", "R8.10", -2, NotAllowed).acl("admin dangerous slow"),
    refused("BACKUP ABORT", "R8.10", 2, NotAllowed).acl("admin dangerous slow"),
    refused("BACKUP CLEANUP", "R8.10", 2, NotAllowed).acl("admin dangerous slow"),
    refused("BACKUP HELP", "R8.10", 2, NotAllowed).acl("slow"),
    refused("BACKUP LIST", "R8.10", 2, NotAllowed).acl("admin dangerous slow"),
    refused("BACKUP SEAL", "R8.10", 2, NotAllowed).acl("admin dangerous slow"),
    refused("BACKUP START", "R8.10", 2, NotAllowed).acl("admin dangerous slow"),
    refused("BACKUP STATUS", "R8.10", 2, NotAllowed).acl("admin dangerous slow"),
    block("BLMOVEM", "R8.10", -6, ONCE, TAKE_TO).acl("blocking list write slow").cross(Cross::Move),
    local("CLIENT CAPA", "V8.0", -3).acl("connection slow"),
    refused("CLIENT IMPORT-SOURCE", "V8.1", 3, NotAllowed).acl("connection slow"),
    refused("CLIENT MAINT_NOTIFICATIONS", "Redis Enterprise", -3, Unknown).acl("connection slow"),
    local("CLIENT NO-TOUCH", "R7.2 V7.2", 3).acl("connection slow"),
    local("CLIENT SETINFO", "R7.2 V7.2", 4).acl("connection slow"),
    keyed("CLUSTERSCAN", "V9.1", -2, READ, CHANNEL).acl("keyspace read slow").refuse(NotAllowed),
    refused("CLUSTER CANCELSLOTMIGRATIONS", "V9.0", 2, Standalone).acl("admin dangerous slow"),
    keyed("CLUSTER FLUSHSLOT", "V9.0", -3, ONCE, NO_KEYS)
        .acl("admin dangerous slow")
        .refuse(Standalone),
    refused("CLUSTER GETSLOTMIGRATIONS", "V9.0", 2, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER MIGRATESLOTS", "V9.0", -4, Standalone).acl("admin dangerous slow"),
    refused("CLUSTER MIGRATION", "R8.4", -4, Standalone).acl("admin dangerous slow"),
    local("CLUSTER MYSHARDID", "R7.2 V7.2", 2).acl("slow").off(Standalone),
    local("CLUSTER SLOT-STATS", "R8.2 V8.0", -4).acl("slow").reads().off(Standalone),
    refused("CLUSTER SYNCSLOTS", "R8.4 V9.0", -3, Standalone).acl("admin dangerous slow"),
    local("COMMANDLOG", "V8.1", -2).acl("slow"),
    nodes("COMMANDLOG GET", "V8.1", -4, ASK, Special).acl("admin dangerous slow"),
    any("COMMANDLOG HELP", "V8.1", 2, ASK).acl("slow"),
    nodes("COMMANDLOG LEN", "V8.1", 3, ASK, Sum).acl("admin dangerous slow"),
    nodes("COMMANDLOG RESET", "V8.1", 3, TELL, AllSucceeded).acl("admin dangerous slow"),
    keyed("DELEX", "R8.4", -2, ONCE, FIRST).acl("fast string write"),
    keyed("DELIFEQ", "V9.0", 3, ONCE, FIRST).acl("string write slow"),
    keyed("DIGEST", "R8.4", 2, READ, FIRST).acl("fast string read"),
    keyed("HEXPIRE", "R7.4 V9.0", -6, SAME, FIRST).acl("fast hash write"),
    keyed("HEXPIREAT", "R7.4 V9.0", -6, SAME, FIRST).acl("fast hash write"),
    keyed("HEXPIRETIME", "R7.4 V9.0", -5, READ, FIRST).acl("fast hash read"),
    keyed("HGETDEL", "R8.0 V9.1", -5, ONCE, FIRST).acl("fast hash write"),
    keyed("HGETEX", "R8.0 V9.0", -5, SAME, FIRST).acl("fast hash write"),
    local("HIMPORT", "R8.10", -2).acl("hash slow"),
    local("HIMPORT DISCARD", "R8.10", 3).acl("hash slow"),
    local("HIMPORT DISCARDALL", "R8.10", 2).acl("hash slow"),
    local("HIMPORT PREPARE", "R8.10", -4).acl("hash slow"),
    keyed("HIMPORT SET", "R8.10", -5, SAME, SECOND).acl("hash write slow"),
    local("HOTKEYS", "R8.6", -2).acl("admin dangerous slow"),
    masters("HOTKEYS GET", "R8.6", 2, ASK, Special).acl("admin dangerous slow").admin(),
    any("HOTKEYS HELP", "R8.6", 2, ASK).acl("slow"),
    masters("HOTKEYS RESET", "R8.6", 2, ACT, AllSucceeded).acl("admin dangerous slow").admin(),
    masters("HOTKEYS START", "R8.6", -2, ACT, AllSucceeded).acl("admin dangerous slow").admin(),
    masters("HOTKEYS STOP", "R8.6", 2, ACT, AllSucceeded).acl("admin dangerous slow").admin(),
    keyed("HPERSIST", "R7.4 V9.0", -5, SAME, FIRST).acl("fast hash write"),
    keyed("HPEXPIRE", "R7.4 V9.0", -6, SAME, FIRST).acl("fast hash write"),
    keyed("HPEXPIREAT", "R7.4 V9.0", -6, SAME, FIRST).acl("fast hash write"),
    keyed("HPEXPIRETIME", "R7.4 V9.0", -5, READ, FIRST).acl("fast hash read"),
    keyed("HPTTL", "R7.4 V9.0", -5, READ, FIRST).acl("fast hash read"),
    keyed("HSETEX", "R8.0 V9.0", -6, SAME, FIRST).acl("fast hash write").options(HashSetEx),
    keyed("HTTL", "R7.4 V9.0", -5, READ, FIRST).acl("fast hash read"),
    keyed("INCREX", "R8.8", -2, ONCE, FIRST).acl("fast string write"),
    moves("LMOVEM", "R8.10", -5, ONCE, TAKE_TO).acl("list write slow"),
    split("MSETEX", "R8.4 V9.1", -4, SAME, COUNTED_PAIRS)
        .acl("string write slow")
        .merge(Min)
        .options(ManySetEx),
    catalogue("SCRIPT SHOW", "V8.0", 3, ASK).acl("scripting slow"),
    gather("SDIFFCARD", "R8.10", -3, READ, COUNT_AT_1).acl("set read slow"),
    refused("SENTINEL", "sentinel only", -2, Unknown).acl("admin dangerous slow"),
    keyed("SFLUSH", "R8.0 experimental", -3, ONCE, NO_KEYS)
        .acl("dangerous keyspace write slow")
        .refuse(NotAllowed),
    gather("SUNIONCARD", "R8.10", -3, READ, COUNT_AT_1).acl("set read slow"),
    keyed("TRIMSLOTS", "R8.4", -5, ONCE, NO_KEYS)
        .acl("dangerous keyspace write slow")
        .refuse(NotAllowed),
    keyed("VADD", "R8.0", -5, ONCE, FIRST).acl("write slow"),
    keyed("VCARD", "R8.0", 2, READ, FIRST).acl("read slow"),
    keyed("VDIM", "R8.0", 2, READ, FIRST).acl("read slow"),
    keyed("VEMB", "R8.0", -3, READ, FIRST).acl("read slow"),
    keyed("VGETATTR", "R8.0", 3, READ, FIRST).acl("read slow"),
    keyed("VINFO", "R8.0", 2, READ, FIRST).acl("read slow"),
    keyed("VISMEMBER", "R8.0", 3, READ, FIRST).acl("read slow"),
    keyed("VLINKS", "R8.0", -3, READ, FIRST).acl("read slow"),
    keyed("VRANDMEMBER", "R8.0", -2, READ, FIRST).acl("read slow"),
    keyed("VRANGE", "R8.4", -4, READ, FIRST).acl("read slow"),
    keyed("VREM", "R8.0", 3, SAME, FIRST).acl("write slow"),
    keyed("VSETATTR", "R8.0", 4, SAME, FIRST).acl("write slow"),
    keyed("VSIM", "R8.0", -4, READ, FIRST).acl("read slow"),
    wait("WAITAOF", "R7.2 V7.2", 4, ASK, MinEach).acl("blocking connection slow"),
    keyed("XACKDEL", "R8.2", -6, ONCE, FIRST).acl("fast stream write"),
    keyed("XCFGSET", "R8.6", -2, SAME, FIRST).acl("fast stream write"),
    keyed("XDELEX", "R8.2", -5, ONCE, FIRST).acl("fast stream write"),
    keyed("XIDMPRECORD", "R8.6", 5, ONCE, FIRST).acl("fast stream write"),
    keyed("XNACK", "R8.8", -7, ONCE, FIRST).acl("fast stream write"),
    // Modules. Arity 0: only the server knows; categories by access alone.
    keyed("BF.ADD", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("BF.CARD", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("BF.EXISTS", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("BF.INFO", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("BF.INSERT", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("BF.LOADCHUNK", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("BF.MADD", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("BF.MEXISTS", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("BF.RESERVE", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("BF.SCANDUMP", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("CF.ADD", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("CF.ADDNX", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("CF.COMPACT", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("CF.COUNT", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("CF.DEL", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("CF.EXISTS", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("CF.INFO", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("CF.INSERT", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("CF.INSERTNX", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("CF.LOADCHUNK", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("CF.MEXISTS", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("CF.RESERVE", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("CF.SCANDUMP", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("CMS.INCRBY", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("CMS.INFO", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("CMS.INITBYDIM", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("CMS.INITBYPROB", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("CMS.MERGE", "mod", 0, ONCE, INTO_FROM_COUNT).acl("write slow").one_slot(),
    keyed("CMS.QUERY", "mod", 0, READ, FIRST).acl("read slow"),
    any("FT._LIST", "mod", 0, READ).acl("read slow").multi(Refuse),
    any("FT.AGGREGATE", "mod", 0, READ).acl("read slow").multi(Refuse),
    any("FT.ALIASADD", "mod", 0, ONCE).acl("write slow").multi(Refuse),
    any("FT.ALIASDEL", "mod", 0, ONCE).acl("write slow").multi(Refuse),
    any("FT.ALIASLIST", "mod", 0, READ).acl("read slow").multi(Refuse),
    any("FT.ALIASUPDATE", "mod", 0, ONCE).acl("write slow").multi(Refuse),
    any("FT.ALTER", "mod", 0, ONCE).acl("write slow").multi(Refuse),
    nodes("FT.CONFIG", "mod", 0, ACT, AllSucceeded).acl("slow"),
    any("FT.CREATE", "mod", 0, ONCE).acl("write slow").multi(Refuse),
    cursor("FT.CURSOR", "mod", 0, ACT).acl("slow"),
    any("FT.DICTADD", "mod", 0, ONCE).acl("write slow").multi(Refuse),
    any("FT.DICTDEL", "mod", 0, ONCE).acl("write slow").multi(Refuse),
    any("FT.DICTDUMP", "mod", 0, READ).acl("read slow").multi(Refuse),
    any("FT.DROPINDEX", "mod", 0, ONCE).acl("write slow").multi(Refuse),
    any("FT.EXPLAIN", "mod", 0, READ).acl("read slow").multi(Refuse),
    any("FT.EXPLAINCLI", "mod", 0, READ).acl("read slow").multi(Refuse),
    any("FT.HYBRID", "mod", 0, READ).acl("read slow").multi(Refuse),
    any("FT.INFO", "mod", 0, READ).acl("read slow").multi(Refuse),
    any("FT.PROFILE", "mod", 0, READ).acl("read slow").multi(Refuse),
    any("FT.SEARCH", "mod", 0, READ).acl("read slow").multi(Refuse),
    any("FT.SPELLCHECK", "mod", 0, READ).acl("read slow").multi(Refuse),
    keyed("FT.SUGADD", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("FT.SUGDEL", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("FT.SUGGET", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("FT.SUGLEN", "mod", 0, READ, FIRST).acl("read slow"),
    any("FT.SYNDUMP", "mod", 0, READ).acl("read slow").multi(Refuse),
    any("FT.SYNUPDATE", "mod", 0, ONCE).acl("write slow").multi(Refuse),
    any("FT.TAGVALS", "mod", 0, READ).acl("read slow").multi(Refuse),
    keyed("JSON.ARRAPPEND", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.ARRINDEX", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("JSON.ARRINSERT", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.ARRLEN", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("JSON.ARRPOP", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.ARRTRIM", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.CLEAR", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.DEBUG", "mod", 0, READ, SECOND).acl("read slow"),
    keyed("JSON.DEL", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.FORGET", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.GET", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("JSON.MERGE", "mod", 0, ONCE, FIRST).acl("write slow"),
    split("JSON.MGET", "mod", 0, READ, EVERY_BUT_LAST).acl("read slow").merge(Positions),
    split("JSON.MSET", "mod", 0, SAME, TRIPLES).acl("write slow").merge(AllSucceeded),
    keyed("JSON.NUMINCRBY", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.NUMMULTBY", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.NUMPOWBY", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.OBJKEYS", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("JSON.OBJLEN", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("JSON.RESP", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("JSON.SET", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.STRAPPEND", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.STRLEN", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("JSON.TOGGLE", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("JSON.TYPE", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TDIGEST.ADD", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TDIGEST.BYRANK", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TDIGEST.BYREVRANK", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TDIGEST.CDF", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TDIGEST.CREATE", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TDIGEST.INFO", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TDIGEST.MAX", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TDIGEST.MERGE", "mod", 0, ONCE, INTO_FROM_COUNT).acl("write slow").one_slot(),
    keyed("TDIGEST.MIN", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TDIGEST.QUANTILE", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TDIGEST.RANK", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TDIGEST.RESET", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TDIGEST.REVRANK", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TDIGEST.TRIMMED_MEAN", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TOPK.ADD", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TOPK.COUNT", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TOPK.INCRBY", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TOPK.INFO", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TOPK.LIST", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TOPK.QUERY", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TOPK.RESERVE", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TS.ADD", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TS.ALTER", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TS.CREATE", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TS.CREATERULE", "mod", 0, ONCE, COPY_TO).acl("write slow").one_slot(),
    keyed("TS.DECRBY", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TS.DEL", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TS.DELETERULE", "mod", 0, ONCE, COPY_TO).acl("write slow").one_slot(),
    keyed("TS.GET", "mod", 0, READ, FIRST).acl("read slow"),
    keyed("TS.INCRBY", "mod", 0, ONCE, FIRST).acl("write slow"),
    keyed("TS.INFO", "mod", 0, READ, FIRST).acl("read slow"),
    split("TS.MADD", "mod", 0, ONCE, TRIPLES).acl("write slow").merge(Positions),
    any("TS.MGET", "mod", 0, READ).acl("read slow"),
    any("TS.MRANGE", "mod", 0, READ).acl("read slow"),
    any("TS.MREVRANGE", "mod", 0, READ).acl("read slow"),
    keyed("TS.NRANGE", "mod", 0, READ, ASK_SERVER).acl("read slow").one_slot(),
    keyed("TS.NREVRANGE", "mod", 0, READ, ASK_SERVER).acl("read slow").one_slot(),
    any("TS.QUERYINDEX", "mod", 0, READ).acl("read slow"),
    any("TS.QUERYLABELS", "mod", 0, READ).acl("read slow"),
    keyed("TS.RANGE", "mod", 0, READ, FIRST).acl("read slow"),
    block("TS.READ", "mod", 0, READ, ASK_SERVER).acl("read slow").one_slot(),
    keyed("TS.REVRANGE", "mod", 0, READ, FIRST).acl("read slow"),
];

type Arity = i16;
type Text = &'static str;

/// All keys in one slot; goes to that slot's node.
const fn keyed(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    CommandSpec {
        name: Cow::Borrowed(name),
        since,
        arity,
        access: effect.0,
        keys: keys.needing(effect.2),
        class: Class::Keyed,
        target: Slot,
        merge: ResponsePolicy::None,
        cross: Cross::Never,
        default: Availability::On,
        refusal: NotAllowed,
        blocking: false,
        in_multi: Queue,
        retry: effect.1,
        categories: Categories::empty(),
        options: Options::Plain,
    }
}

/// Independent keys: one part per slot.
const fn split(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    keyed(name, since, arity, effect, keys).several(Class::Split, Cross::Split)
}

/// One part after the other until one has something.
const fn sequence(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys);
    row.several(Class::Sequence, Cross::Split).merge(ResponsePolicy::FirstSome)
}

/// Read in parts, computed here.
const fn gather(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys);
    row.several(Class::Gather, Cross::Gather).merge(ResponsePolicy::Computed)
}

/// Read in parts, computed here, written in the destination's slot.
const fn store(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys);
    row.several(Class::Store, Cross::Store).merge(ResponsePolicy::LastStep)
}

/// Writes in two slots.
const fn moves(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys);
    row.several(Class::Move, Cross::Move).merge(ResponsePolicy::LastStep)
}

/// May wait: on a leased connection, or by watching all slots.
const fn block(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys).several(Class::Block, Cross::Track);
    row.merge(ResponsePolicy::FirstSome).multi(InMulti::NonBlocking).may_block()
}

/// Reads streams, each from an ID of its own; waits only with `BLOCK`.
const fn streams(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = block(name, since, arity, effect, keys).cross(Cross::Split);
    row.merge(Streams).options(Options::Streams)
}

/// A script: all keys in one slot, or none at all.
const fn script(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    keyed(name, since, arity, effect, keys).class(Class::Script).one_slot()
}

/// Publishes or subscribes.
const fn pubsub(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys).class(Class::PubSub);
    row.to(Target::Home).multi(Refuse)
}

/// Subscribes to shard channels, which have slots.
const fn shard_pubsub(name: Text, since: Text, arity: Arity) -> CommandSpec {
    pubsub(name, since, arity, HERE, CHANNELS).to(Slots).cross(Cross::Split)
}

/// Counts subscriptions, of the nodes and of the gateway's clients.
const fn census(name: Text, since: Text, arity: Arity) -> CommandSpec {
    let row = pubsub(name, since, arity, ASK, NO_KEYS).to(Nodes);
    row.merge(Special)
}

/// Controls a transaction.
const fn transaction(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    keys: KeySpec,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, keys).class(Class::Transaction);
    row.to(Target::Gateway).multi(Control)
}

/// Every primary.
const fn masters(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    merge: ResponsePolicy,
) -> CommandSpec {
    let row = keyed(name, since, arity, effect, NO_KEYS).class(Class::AllMasters);
    row.to(Target::Masters).merge(merge).multi(Refuse)
}

/// Every primary and replica; for administrators.
const fn nodes(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    merge: ResponsePolicy,
) -> CommandSpec {
    let row = masters(name, since, arity, effect, merge).class(Class::AllNodes);
    row.to(Nodes).admin()
}

/// Scripts and functions kept by every primary.
const fn library(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    merge: ResponsePolicy,
) -> CommandSpec {
    masters(name, since, arity, effect, merge).class(Class::Script)
}

/// Waits until replicas have what every primary has written.
const fn wait(
    name: Text,
    since: Text,
    arity: Arity,
    effect: Effect,
    merge: ResponsePolicy,
) -> CommandSpec {
    masters(name, since, arity, effect, merge).multi(Queue).may_block()
}

/// Scripts and functions as any node knows them.
const fn catalogue(name: Text, since: Text, arity: Arity, effect: Effect) -> CommandSpec {
    any(name, since, arity, effect).class(Class::Script).multi(Refuse)
}

/// Any node speaks for all.
const fn any(name: Text, since: Text, arity: Arity, effect: Effect) -> CommandSpec {
    keyed(name, since, arity, effect, NO_KEYS).class(Class::AnyNode).to(Target::Any)
}

/// A cursor over all primaries.
const fn cursor(name: Text, since: Text, arity: Arity, effect: Effect) -> CommandSpec {
    let row = keyed(name, since, arity, effect, NO_KEYS).class(Class::Cursor);
    row.to(OneMaster).merge(Special).multi(Refuse)
}

/// Answered by the gateway.
const fn local(name: Text, since: Text, arity: Arity) -> CommandSpec {
    let row = keyed(name, since, arity, HERE, NO_KEYS).class(Class::Local);
    row.to(Target::Gateway).multi(Splice)
}

/// An error; nothing is sent.
const fn refused(name: Text, since: Text, arity: Arity, refusal: Refusal) -> CommandSpec {
    keyed(name, since, arity, HERE, NO_KEYS).refuse(refusal)
}

/// What rows say beyond their class.
impl CommandSpec {
    const fn acl(mut self, names: &str) -> Self {
        self.categories = categories(names.as_bytes());
        self
    }

    const fn several(mut self, class: Class, cross: Cross) -> Self {
        self.class = class;
        self.cross = cross;
        self.target = Slots;
        self.in_multi = QueueOneSlot;
        self
    }

    const fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    const fn to(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    const fn merge(mut self, merge: ResponsePolicy) -> Self {
        self.merge = merge;
        self
    }

    const fn cross(mut self, cross: Cross) -> Self {
        self.cross = cross;
        self
    }

    const fn one_slot(self) -> Self {
        self.cross(Cross::Error)
    }

    const fn multi(mut self, in_multi: InMulti) -> Self {
        self.in_multi = in_multi;
        self
    }

    const fn reads(mut self) -> Self {
        self.access = Access::Read;
        self
    }

    const fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    const fn may_block(mut self) -> Self {
        self.blocking = true;
        self
    }

    const fn admin(mut self) -> Self {
        self.default = Availability::Admin;
        self
    }

    const fn optional(mut self) -> Self {
        self.default = Availability::Option;
        self
    }

    /// Whatever it is elsewhere: an error here. A standalone server queues `CLUSTER` commands in a
    /// transaction and refuses them in EXEC's array.
    const fn refuse(mut self, refusal: Refusal) -> Self {
        self.retry = Retry::Local;
        self = self.class(Class::Refused).to(Target::Gateway).off(refusal);
        self.multi(if matches!(refusal, Standalone) { Splice } else { Refuse })
    }

    const fn off(mut self, refusal: Refusal) -> Self {
        self.default = Availability::Off;
        self.refusal = refusal;
        self
    }
}

/// Reads `fast string write`. A name that does not exist fails the build.
const fn categories(mut names: &[u8]) -> Categories {
    let mut all = Categories::empty();
    while !names.is_empty() {
        let (name, rest) = word(names);
        all = all.union(category(name));
        names = rest;
    }
    all
}

/// The first word, and what stands behind the space after it.
const fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        if *byte == b' ' {
            return (text.split_at(text.len() - rest.len()).0, behind);
        }
        rest = behind;
    }
    (text, rest)
}

const fn category(name: &[u8]) -> Categories {
    let mut left: &[(&str, Categories)] = &Categories::NAMES;
    while let [(known, category), rest @ ..] = left {
        if same(known.as_bytes(), name) {
            return *category;
        }
        left = rest;
    }
    panic!("no such ACL category")
}

const fn same(mut one: &[u8], mut other: &[u8]) -> bool {
    while let ([a, one_rest @ ..], [b, other_rest @ ..]) = (one, other) {
        if *a != *b {
            return false;
        }
        one = one_rest;
        other = other_rest;
    }
    one.is_empty() && other.is_empty()
}
