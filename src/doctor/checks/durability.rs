//! Whether data survives: files and replicas.

use super::super::facts::Node;
use super::super::{Finding, Severity};
use super::{found, size};

/// Seconds without a word from the primary, and bytes behind it.
const SILENT: u64 = 10;
const BEHIND: u64 = 16 << 20;
/// A backlog is to last this many seconds of writing.
const BACKLOG_SECONDS: u64 = 60;

pub(super) fn snapshot_failed(node: &Node) -> Option<Finding> {
    (node.info("rdb_last_bgsave_status") == "err").then(|| {
        found(
            node,
            (Severity::Critical, "snapshot-failed"),
            [
                "its last snapshot failed".to_owned(),
                "the disk is full, the folder is not writable, or there was no memory to fork; writes are refused with MISCONF while stop-writes-on-bgsave-error is yes".to_owned(),
                "read the node's log, make room, set vm.overcommit_memory to 1, then run BGSAVE".to_owned(),
            ],
        )
    })
}

pub(super) fn log_failed(node: &Node) -> Option<Finding> {
    let failed = node.info("aof_last_write_status") == "err"
        || node.info("aof_last_bgrewrite_status") == "err";
    failed.then(|| {
        found(
            node,
            (Severity::Critical, "log-failed"),
            [
                "its append-only file could not be written".to_owned(),
                "the disk is full or slow, or the folder is not writable".to_owned(),
                "read the node's log and make room".to_owned(),
            ],
        )
    })
}

pub(super) fn not_kept(node: &Node) -> Option<Finding> {
    let no_log = node.info("aof_enabled") == "0";
    let no_snapshot = node.config.get("save").is_some_and(String::is_empty);
    (no_log && no_snapshot).then(|| {
        found(
            node,
            (Severity::Warning, "not-persistent"),
            [
                "keeps nothing on disk".to_owned(),
                "appendonly is no and save is empty; a primary that restarts empty empties its replicas".to_owned(),
                "set appendonly yes and a save rule, unless losing everything is acceptable".to_owned(),
            ],
        )
    })
}

pub(super) fn link_down(node: &Node) -> Option<Finding> {
    (node.info("master_link_status") == "down").then(|| {
        found(
            node,
            (Severity::Critical, "replication-down"),
            [
                "is not connected to its primary".to_owned(),
                "the primary is down or out of reach, masterauth is wrong, or it is being copied again".to_owned(),
                "read the replica's log; check masterauth, masteruser and the network".to_owned(),
            ],
        )
    })
}

pub(super) fn lagging(node: &Node) -> Option<Finding> {
    if node.is_primary() || node.info("master_link_status") != "up" {
        return None;
    }
    let silent = node.count("master_last_io_seconds_ago");
    let behind =
        node.count("slave_read_repl_offset").saturating_sub(node.count("slave_repl_offset"));
    (silent > SILENT || behind > BEHIND).then(|| {
        found(
            node,
            (Severity::Warning, "replication-lag"),
            [
                format!("is {} behind, and heard its primary {silent} s ago", size(behind)),
                "the replica is slow or the network is; what it lacks is lost in a failover".to_owned(),
                "check the replica's processor and disk and the network; raise repl-backlog-size so that a pause needs no full copy".to_owned(),
            ],
        )
    })
}

pub(super) fn backlog_small(node: &Node) -> Option<Finding> {
    let uptime = node.count("uptime_in_seconds").max(1);
    let (written, backlog) = (node.count("master_repl_offset"), node.count("repl_backlog_size"));
    let needed = written / uptime * BACKLOG_SECONDS;
    (node.is_primary() && backlog > 0 && needed > backlog).then(|| {
        found(
            node,
            (Severity::Advice, "backlog-small"),
            [
                format!("keeps {} for replicas that pause", size(backlog)),
                format!("it writes about {} in {BACKLOG_SECONDS} s; a replica that is away longer is copied anew", size(needed)),
                format!("set repl-backlog-size to {} or more", size(needed)),
            ],
        )
    })
}
