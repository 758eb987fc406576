//! The checks, by what they look at. Each is a function from facts to findings.

mod capacity;
mod durability;
mod safety;
mod speed;
mod topology;

use super::facts::{Facts, Node};
use super::{Finding, Severity};

/// Everything that any check finds.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let mut found = topology::cluster(facts);
    found.extend(safety::cluster(facts));
    for node in &facts.nodes {
        for check in NODE_CHECKS {
            found.extend(check(node));
        }
    }
    found
}

/// Checks of one node at a time.
const NODE_CHECKS: &[fn(&Node) -> Option<Finding>] = &[
    topology::moved_seen,
    topology::timeout,
    capacity::memory_full,
    capacity::memory_unlimited,
    capacity::memory_of_machine,
    capacity::fragmented,
    capacity::evicting,
    capacity::clients_full,
    capacity::clients_rejected,
    durability::snapshot_failed,
    durability::log_failed,
    durability::not_kept,
    durability::link_down,
    durability::lagging,
    durability::backlog_small,
    speed::far,
    speed::slow_commands,
    speed::slow_fork,
    speed::synchronous_log,
    speed::expensive_keys,
    safety::open_user,
    safety::dangerous_open,
    safety::exposed,
    safety::plain,
    safety::certificate,
    safety::old,
];

/// A finding about one node.
fn found(
    node: &Node,
    (severity, check): (Severity, &'static str),
    [what, cause, cure]: [String; 3],
) -> Finding {
    Finding { severity, check, node: node.address.clone(), what, cause, cure }
}

/// Bytes in words.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} bytes"),
        |(name, unit)| format!("{:.1} {name}", bytes as f64 / *unit as f64),
    )
}

#[cfg(test)]
mod tests;
