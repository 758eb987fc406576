//! Memory and clients: what runs out.

use super::super::facts::Node;
use super::super::{Finding, Severity};
use super::{found, size};

/// Share of a limit from which on it is about to be reached.
const NEARLY: f64 = 0.9;
const NEARLY_CLIENTS: f64 = 0.8;
/// Memory held for each byte used, above which it is wasted, and the size from which on that matters.
const FRAGMENTED: f64 = 1.5;
const WORTH_IT: u64 = 256 << 20;

/// `OOM` for clients.
pub(super) fn memory_full(node: &Node) -> Option<Finding> {
    let (used, most) = (node.count("used_memory"), node.count("maxmemory"));
    let policy = node.info("maxmemory_policy");
    (most > 0 && used as f64 > most as f64 * NEARLY).then(|| {
        let severity = if policy == "noeviction" { Severity::Critical } else { Severity::Warning };
        found(
            node,
            (severity, "memory-full"),
            [
                format!("uses {} of {} (maxmemory)", size(used), size(most)),
                format!("with maxmemory-policy {policy}, writes are refused with OOM or keys are evicted"),
                "raise maxmemory, add shards, set times to live, or choose an eviction policy for a cache".to_owned(),
            ],
        )
    })
}

pub(super) fn memory_unlimited(node: &Node) -> Option<Finding> {
    (node.info("maxmemory") == "0").then(|| {
        found(
            node,
            (Severity::Warning, "memory-unlimited"),
            [
                "has no maxmemory".to_owned(),
                "when the machine runs out of memory the system kills the process".to_owned(),
                "set maxmemory to about three quarters of what the node may use".to_owned(),
            ],
        )
    })
}

pub(super) fn memory_of_machine(node: &Node) -> Option<Finding> {
    let (most, machine) = (node.count("maxmemory"), node.count("total_system_memory"));
    (machine > 0 && most > machine).then(|| {
        found(
            node,
            (Severity::Warning, "memory-above-machine"),
            [
                format!("maxmemory {} is more than the machine's {}", size(most), size(machine)),
                "the limit can never be reached before the system kills the process".to_owned(),
                "lower maxmemory below what the machine, or the container, has".to_owned(),
            ],
        )
    })
}

pub(super) fn fragmented(node: &Node) -> Option<Finding> {
    let ratio = node.info("mem_fragmentation_ratio").parse::<f64>().ok()?;
    (ratio > FRAGMENTED && node.count("used_memory") > WORTH_IT).then(|| {
        found(
            node,
            (Severity::Advice, "memory-fragmented"),
            [
                format!("holds {ratio} times the memory that it uses"),
                "many keys were deleted or changed their size".to_owned(),
                "set activedefrag yes, or restart replicas and fail over to them".to_owned(),
            ],
        )
    })
}

pub(super) fn evicting(node: &Node) -> Option<Finding> {
    let evicted = node.count("evicted_keys");
    (evicted > 0).then(|| {
        found(
            node,
            (Severity::Advice, "keys-evicted"),
            [
                format!("has evicted {evicted} keys"),
                "maxmemory was reached; for a cache that is as it should be".to_owned(),
                "if the data is not a cache, raise maxmemory or add shards".to_owned(),
            ],
        )
    })
}

pub(super) fn clients_full(node: &Node) -> Option<Finding> {
    let (connected, most) = (node.count("connected_clients"), node.count("maxclients"));
    (most > 0 && connected as f64 > most as f64 * NEARLY_CLIENTS).then(|| {
        found(
            node,
            (Severity::Warning, "clients-near-limit"),
            [
                format!("has {connected} of {most} clients"),
                "applications leak connections or open too many; beyond the limit they are refused".to_owned(),
                "let them connect to the gateway, which needs a few connections for all of them; else raise maxclients".to_owned(),
            ],
        )
    })
}

pub(super) fn clients_rejected(node: &Node) -> Option<Finding> {
    let rejected = node.count("rejected_connections");
    (rejected > 0).then(|| {
        found(
            node,
            (Severity::Warning, "clients-rejected"),
            [
                format!("has refused {rejected} connections"),
                "maxclients was reached".to_owned(),
                "look for connection leaks, let applications connect to the gateway, or raise maxclients".to_owned(),
            ],
        )
    })
}
