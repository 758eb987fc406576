//! Every row of the table is compared with a server somewhere in these tests, or stands here with the reason why not.

use slotway::command::Commands;

use crate::corpus::{KEYED, KEYLESS, NEWER, NEWER_KEYLESS, ONE_SLOT, SPLIT};
use crate::{blocking, gather_calls, pubsub, scan, transaction};

/// Rows without a call in the lists of [`compared`], and why. A star at the end stands for the rest of the name.
const EXCUSED: &[(&str, &str)] = &[
    // Compared with a server by a test of their own, which builds its calls.
    ("DBSIZE", "broadcast.rs compares it"),
    ("FLUSHALL", "broadcast.rs compares it"),
    ("FLUSHDB", "broadcast.rs compares it"),
    ("KEYS", "broadcast.rs compares it"),
    ("RANDOMKEY", "broadcast.rs compares it"),
    ("SLOWLOG *", "broadcast.rs compares its errors and counts; what is slow differs"),
    ("LATENCY *", "broadcast.rs compares its errors; what is slow differs"),
    ("MEMORY *", "broadcast.rs compares the shape; how much memory there is differs"),
    ("SCRIPT *", "scripts.rs and broadcast.rs compare it"),
    ("FUNCTION *", "broadcast.rs compares it"),
    ("EVAL_RO", "scripts.rs compares it"),
    ("EVALSHA_RO", "scripts.rs compares it"),
    ("FCALL*", "scripts.rs compares it"),
    ("ACL *", "acl.rs compares users, rules, decisions and errors"),
    ("CONFIG *", "broadcast.rs compares its errors; the settings are the cluster's"),
    ("CLIENT UNBLOCK", "blocking.rs compares it"),
    ("CLIENT PAUSE", "oversight.rs: others wait as the server makes them wait"),
    ("CLIENT UNPAUSE", "oversight.rs: others wait as the server makes them wait"),
    ("WAIT", "broadcast.rs: a single server has no replicas to wait for"),
    ("WAITAOF", "broadcast.rs: a single server has no replicas to wait for"),
    // What they answer is about the one who answers.
    ("MONITOR", "oversight.rs: it shows the commands of this gateway"),
    ("INFO", "info.rs: about this gateway and all nodes"),
    ("ROLE", "connect.rs: a primary without replicas, whose offset is not a node's"),
    ("BGSAVE", "broadcast.rs: each node saves when it can"),
    ("BGREWRITEAOF", "broadcast.rs: each node saves when it can"),
    ("LASTSAVE", "broadcast.rs: the oldest of all nodes"),
    ("CLIENT INFO", "oversight.rs: about this connection"),
    ("CLIENT TRACKING", "tracking is on at nodes; a server of its own has other connections"),
    ("COMMAND COUNT", "refused commands are not counted"),
    ("COMMAND LIST", "refused commands are not listed"),
    ("READONLY", "a hint to the gateway, an error to a server without a cluster"),
    ("READWRITE", "a hint to the gateway, an error to a server without a cluster"),
    ("LOLWUT", "a drawing made by chance"),
    ("SLOTWAY*", "no server has it: it is about this gateway"),
    // Refused, whatever a server says.
    ("CLUSTER *", "presentation.rs: there is no cluster to see, or one that is this gateway"),
    ("DEBUG", "refused: connect.rs"),
    ("FAILOVER", "refused: the gateway has no say in who is primary"),
    ("REPLICAOF", "refused: the gateway has no say in who is primary"),
    ("SLAVEOF", "refused: the gateway has no say in who is primary"),
    ("PSYNC", "refused: a client is no replica"),
    ("REPLCONF", "refused: a client is no replica"),
    ("RESTORE-ASKING", "refused: between nodes only"),
    ("MIGRATE", "refused: it moves keys away from their slots"),
    ("MODULE LOAD*", "refused: on all nodes or on none, by whoever runs them"),
    ("MODULE UNLOAD", "refused: on all nodes or on none, by whoever runs them"),
    ("MOVE", "refused: there is one database"),
    ("SWAPDB", "refused: there is one database"),
    ("PFSELFTEST", "refused: it stops a node"),
    ("TRIMSLOTS", "refused: between nodes only"),
    ("SFLUSH", "refused: experimental"),
    ("CLUSTERSCAN", "refused: its cursor is of one cluster, SCAN's of any gateway"),
    ("BACKUP*", "refused: of one node"),
    ("SENTINEL", "connect.rs: to libraries it must be unknown"),
    ("CLIENT IMPORT-SOURCE", "refused: between servers only"),
    ("CLIENT MAINT_NOTIFICATIONS", "refused: connect.rs, as libraries expect it"),
    // Newer than what the machines that run these tests can get.
    ("COMMANDLOG *", "as SLOWLOG, which broadcast.rs compares"),
    ("HOTKEYS*", "Redis 8.6: no such server in the packages"),
    ("HIMPORT*", "Redis 8.10: no such server in the packages"),
    ("AR*", "Redis 8.8: no such server in the packages"),
    ("INCREX", "Redis 8.8: no such server in the packages"),
    ("XNACK", "Redis 8.8: no such server in the packages"),
    ("XCFGSET", "Redis 8.6: no such server in the packages"),
    ("XIDMPRECORD", "Redis 8.6: no such server in the packages"),
    ("BLMOVEM", "newer.rs; Redis 8.10: no such server in the packages"),
    ("LMOVEM", "newer.rs; Redis 8.10: no such server in the packages"),
    ("SDIFFCARD", "newer.rs: as the length of SDIFF; Redis 8.10: no such server in the packages"),
    ("SUNIONCARD", "newer.rs: as the length of SUNION; Redis 8.10: no such server in the packages"),
    // Of modules; where keys stand is compared by commands_live.rs where a server has them.
    ("BF.*", "module"),
    ("CF.*", "module"),
    ("CMS.*", "module"),
    ("FT.*", "module"),
    ("JSON.*", "module"),
    ("TDIGEST.*", "module"),
    ("TOPK.*", "module"),
    ("TS.*", "module"),
];

#[test]
fn every_command_is_compared_or_excused() {
    let commands = Commands::baseline();
    let calls = compared();
    let mut faults = Vec::new();
    let mut used = vec![false; EXCUSED.len()];
    for row in commands.iter() {
        let is_called = calls.iter().any(|line| {
            let rest = line.strip_prefix(&*row.name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        let excuse = EXCUSED.iter().position(|(pattern, _)| fits(pattern, &row.name));
        if let Some(excuse) = excuse {
            used[excuse] = true;
        }
        if !is_called && excuse.is_none() {
            faults.push(format!("{} is neither compared nor excused", row.name));
        }
        if is_called && excuse.is_some_and(|excuse| !EXCUSED[excuse].0.ends_with('*')) {
            faults.push(format!("{} is compared, it needs no excuse", row.name));
        }
    }
    let idle = EXCUSED.iter().zip(used).filter(|(_, used)| !used);
    faults.extend(idle.map(|((pattern, _), _)| format!("nothing is excused by {pattern}")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

/// Every call that some test sends to the gateway and to a server, to compare the answers.
fn compared() -> Vec<&'static str> {
    let lists = [
        SPLIT,
        ONE_SLOT,
        KEYLESS,
        NEWER,
        NEWER_KEYLESS,
        gather_calls::CALLS,
        gather_calls::ERRORS,
        gather_calls::PATTERNS,
        blocking::CALLS,
        blocking::MOVES,
        scan::WRONG,
    ];
    let spoken = pubsub::TALK.iter().chain(pubsub::FREE_TALK).map(|(line, _)| *line);
    let in_sequence = transaction::SEQUENCES.iter().copied().flatten().copied();
    let lines = KEYED.iter().chain(&lists).copied().flatten().copied();
    lines.chain(spoken).chain(in_sequence).collect()
}
