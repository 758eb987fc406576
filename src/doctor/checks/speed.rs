//! What makes requests wait.

use std::time::Duration;

use super::super::facts::Node;
use super::super::{Finding, Severity};
use super::found;

const FAR: Duration = Duration::from_millis(5);
/// Microseconds.
const SLOW_COMMAND: u64 = 100_000;
const SLOW_FORK: u64 = 200_000;

pub(super) fn far(node: &Node) -> Option<Finding> {
    (node.round_trip > FAR).then(|| {
        found(
            node,
            (Severity::Warning, "network-slow"),
            [
                format!("a PING takes {} ms at best", node.round_trip.as_millis()),
                "the network between is long or congested, or the node is busy".to_owned(),
                "run gateway and nodes in one zone; look at SLOWLOG and the node's processor"
                    .to_owned(),
            ],
        )
    })
}

pub(super) fn slow_commands(node: &Node) -> Option<Finding> {
    let slowest = node.slowest.filter(|micros| *micros > SLOW_COMMAND)?;
    Some(found(
        node,
        (Severity::Warning, "slow-commands"),
        [
            format!("a command took {} ms", slowest / 1_000),
            "a node serves one command at a time: everything else waited as long".to_owned(),
            "read SLOWLOG GET; replace KEYS by SCAN, break up large keys, shorten scripts"
                .to_owned(),
        ],
    ))
}

pub(super) fn slow_fork(node: &Node) -> Option<Finding> {
    let fork = node.count("latest_fork_usec");
    (fork > SLOW_FORK).then(|| {
        found(
            node,
            (Severity::Warning, "fork-slow"),
            [
                format!("the last snapshot or rewrite stopped it for {} ms", fork / 1_000),
                "copying the page tables of a large process takes long, the more so on some virtual machines or with transparent huge pages".to_owned(),
                "use smaller shards, turn transparent huge pages off, take snapshots on replicas".to_owned(),
            ],
        )
    })
}

pub(super) fn synchronous_log(node: &Node) -> Option<Finding> {
    let always = node.info("aof_enabled") == "1" && node.setting("appendfsync") == "always";
    always.then(|| {
        found(
            node,
            (Severity::Advice, "fsync-always"),
            [
                "writes to disk before it answers (appendfsync always)".to_owned(),
                "every write waits for the disk".to_owned(),
                "appendfsync everysec loses at most a second, and costs a fraction".to_owned(),
            ],
        )
    })
}

/// Commands that look at every key.
pub(super) fn expensive_keys(node: &Node) -> Option<Finding> {
    let stats = node.info("cmdstat_keys").strip_prefix("calls=")?;
    let calls = stats.split(',').next()?.parse::<u64>().ok()?;
    (calls > 0).then(|| {
        found(
            node,
            (Severity::Advice, "keys-used"),
            [
                format!("has run KEYS {calls} times"),
                "it looks at every key while everybody waits".to_owned(),
                "use SCAN, and take KEYS away from application users".to_owned(),
            ],
        )
    })
}
