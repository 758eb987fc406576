//! Who serves what, and whether the nodes agree on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Health, Role, Seen, Slot, View};

use super::super::facts::{Facts, Node};
use super::super::{Finding, Severity};
use super::found;

/// A cluster that cannot lose one primary and go on has fewer.
const FEWEST_PRIMARIES: usize = 3;
/// Failovers that come sooner follow a busy moment rather than a death, those that come later are felt.
const TIMEOUTS: std::ops::RangeInclusive<u64> = 2_000..=30_000;

/// Everything about the cluster as a whole.
pub(super) fn cluster(facts: &Facts) -> Vec<Finding> {
    let mut findings = unreachable(facts);
    findings.extend(standalone(facts));
    findings.extend(down(facts));
    findings.extend(uncovered(facts));
    findings.extend(contested(facts));
    findings.extend(disagreeing(facts));
    findings.extend(open(facts));
    findings.extend(few(facts));
    findings.extend(bare(facts));
    findings.extend(same_host(facts));
    findings
}

fn about(severity: Severity, check: &'static str, [what, cause, cure]: [String; 3]) -> Finding {
    Finding { severity, check, node: String::new(), what, cause, cure }
}

fn unreachable(facts: &Facts) -> Vec<Finding> {
    let findings = facts.unreachable.iter().map(|node| Finding {
        severity: if node.serves { Severity::Critical } else { Severity::Warning },
        check: "node-unreachable",
        node: node.address.clone(),
        what: format!("cannot be reached: {}", node.why),
        cause: "the process or its machine is down, a firewall is between, or it announces an address that is not valid here".to_owned(),
        cure: "start it, or set cluster-announce-ip (or cluster-announce-hostname) on it, or map its address with cluster.address_map of slotway; forget a node that will not return with CLUSTER FORGET".to_owned(),
    });
    findings.collect()
}

fn standalone(facts: &Facts) -> Vec<Finding> {
    let alone = facts.nodes.iter().filter(|node| node.view.is_none());
    alone
        .map(|node| {
            found(
                node,
                (Severity::Critical, "not-a-cluster"),
                [
                    "does not tell of a cluster".to_owned(),
                    "cluster-enabled is off, or the user may not run CLUSTER NODES and CLUSTER INFO".to_owned(),
                    "set cluster-enabled yes and restart it, or grant the user +cluster".to_owned(),
                ],
            )
        })
        .collect()
}

/// `CLUSTERDOWN` for clients.
fn down(facts: &Facts) -> Vec<Finding> {
    let serving = facts.primaries().count();
    let known: BTreeSet<&str> = facts
        .seen()
        .filter(|(_, seen)| seen.role == Role::Primary && !seen.slots.is_empty())
        .map(|(_, seen)| seen.id.as_str())
        .collect();
    let quorum = known.len() / 2 + 1;
    let ill = |node: &&Node| node.view.as_ref().is_some_and(|view| !view.healthy);
    facts
        .nodes
        .iter()
        .filter(ill)
        .map(|node| {
            found(
                node,
                (Severity::Critical, "cluster-down"),
                [
                    "takes the cluster for down (cluster_state:fail): clients get CLUSTERDOWN".to_owned(),
                    format!(
                        "{serving} of {} primaries answer, {quorum} are needed to agree; slots without an owner do the same while cluster-require-full-coverage is yes",
                        known.len()
                    ),
                    "bring the missing primaries back, or promote their replicas with CLUSTER FAILOVER TAKEOVER; give slots without an owner one".to_owned(),
                ],
            )
        })
        .collect()
}

fn uncovered(facts: &Facts) -> Option<Finding> {
    let mut owned = vec![false; Slot::COUNT];
    // A node that answers knows best what it owns; of the others only others can tell.
    let answered: BTreeSet<&str> =
        facts.nodes.iter().filter_map(|node| Some(node.own()?.id.as_str())).collect();
    let counts = |seen: &Seen| {
        seen.myself || (seen.health != Health::Failed && !answered.contains(seen.id.as_str()))
    };
    for (_, seen) in facts.seen().filter(|(_, seen)| counts(seen)) {
        for range in &seen.slots {
            let (first, last) = (usize::from(*range.start()), usize::from(*range.end()));
            owned.get_mut(first..=last).into_iter().flatten().for_each(|slot| *slot = true);
        }
    }
    let missing = owned.iter().filter(|owned| !**owned).count();
    let first = owned.iter().position(|owned| !owned)?;
    Some(about(
        Severity::Critical,
        "slots-uncovered",
        [
            format!("{missing} slots have no owner that works, the first is {first}"),
            "a primary and all its replicas are gone, or a resharding or CLUSTER DELSLOTS was not completed".to_owned(),
            "bring the nodes back; if the slots were never assigned, run redis-cli --cluster fix HOST:PORT".to_owned(),
        ],
    ))
}

/// Two nodes that both call themselves the owner of a slot: split brain.
fn contested(facts: &Facts) -> Option<Finding> {
    let mut owners: BTreeMap<u16, &Node> = BTreeMap::new();
    for node in facts.primaries() {
        let slots = node.own().map(|own| own.slots.as_slice()).unwrap_or_default();
        for slot in slots.iter().cloned().flatten() {
            if let Some(other) = owners.insert(slot, node) {
                return Some(found(
                    node,
                    (Severity::Critical, "split-brain"),
                    [
                        format!("serves slot {slot} and so does {}", other.address),
                        "the network was cut and both sides elected a primary, or nodes of two clusters have met".to_owned(),
                        "find the side with the majority, demote the other primary with CLUSTER REPLICATE, and look at cluster-node-timeout and the network".to_owned(),
                    ],
                ));
            }
        }
    }
    None
}

/// A view reduced to what nodes have to agree on.
fn essence(view: &View) -> BTreeMap<&str, Vec<std::ops::RangeInclusive<u16>>> {
    view.nodes.iter().map(|seen| (seen.id.as_str(), seen.slots.clone())).collect()
}

fn disagreeing(facts: &Facts) -> Option<Finding> {
    let mut views = facts.nodes.iter().filter_map(|node| Some((node, node.view.as_ref()?)));
    let (first, view) = views.next()?;
    let expected = essence(view);
    let (other, _) = views.find(|(_, view)| essence(view) != expected)?;
    Some(found(
        other,
        (Severity::Warning, "views-differ"),
        [
            format!("knows other nodes or slot owners than {}", first.address),
            "a change has not spread yet, or the cluster bus between them is blocked (port + 10000), or a nodes.conf was restored from elsewhere".to_owned(),
            "wait a moment and examine again; if it stays, open the bus ports between all nodes and compare CLUSTER NODES".to_owned(),
        ],
    ))
}

fn open(facts: &Facts) -> Vec<Finding> {
    facts
        .nodes
        .iter()
        .filter_map(|node| {
            let first = node.open_slots.first()?;
            Some(found(
                node,
                (Severity::Warning, "slots-open"),
                [
                    format!(
                        "{} slots are being moved, the first is {first}",
                        node.open_slots.len()
                    ),
                    "a resharding is under way, or one was broken off".to_owned(),
                    "if none is under way, run redis-cli --cluster fix HOST:PORT".to_owned(),
                ],
            ))
        })
        .collect()
}

fn few(facts: &Facts) -> Option<Finding> {
    let primaries = facts.primaries().count();
    (primaries > 0 && primaries < FEWEST_PRIMARIES).then(|| {
        about(
            Severity::Warning,
            "few-primaries",
            [
                format!("{primaries} primaries serve slots"),
                "a primary that dies is replaced only if a majority of primaries agrees".to_owned(),
                "run three primaries or more".to_owned(),
            ],
        )
    })
}

fn bare(facts: &Facts) -> Vec<Finding> {
    facts
        .primaries()
        .filter(|node| node.count("connected_slaves") == 0)
        .map(|node| {
            found(
                node,
                (Severity::Warning, "no-replica"),
                [
                    "has no replica in step".to_owned(),
                    "none was added, or its replicas are down or still copying".to_owned(),
                    "add one with redis-cli --cluster add-node NEW EXISTING --cluster-slave"
                        .to_owned(),
                ],
            )
        })
        .collect()
}

fn host(seen: &Seen) -> Option<&str> {
    seen.address.as_deref()?.rsplit_once(':').map(|(host, _)| host)
}

/// A machine that takes a primary and its replica with it. On one machine alone that cannot be otherwise.
fn same_host(facts: &Facts) -> Vec<Finding> {
    let Some(view) = facts.nodes.iter().find_map(|node| node.view.as_ref()) else {
        return Vec::new();
    };
    let hosts: BTreeSet<&str> = view.nodes.iter().filter_map(host).collect();
    if hosts.len() < 2 {
        return Vec::new();
    }
    let primaries: BTreeMap<&str, &Seen> =
        view.nodes.iter().map(|seen| (seen.id.as_str(), seen)).collect();
    let shared = view.nodes.iter().filter_map(|replica| {
        let Role::ReplicaOf(id) = &replica.role else { return None };
        let primary = primaries.get(id.as_str())?;
        (host(replica)? == host(primary)?).then_some((replica, host(primary)?))
    });
    shared
        .map(|(replica, host)| Finding {
            severity: Severity::Warning,
            check: "replica-on-same-host",
            node: replica.address.as_deref().unwrap_or_default().to_owned(),
            what: format!("runs on {host}, as its primary does"),
            cause: "nodes were placed without regard to machines".to_owned(),
            cure: "place replicas on other machines (anti-affinity), or swap roles with CLUSTER REPLICATE".to_owned(),
        })
        .collect()
}

/// Plain clients that talk to nodes themselves.
pub(super) fn moved_seen(node: &Node) -> Option<Finding> {
    let errors = node.info("errorstat_MOVED").strip_prefix("count=")?.parse::<u64>().ok()?;
    (errors > 0).then(|| {
        found(
            node,
            (Severity::Advice, "moved-seen"),
            [
                format!("has answered MOVED {errors} times"),
                "clients that know only one server connect to it directly, or cluster clients and gateways learned of a move".to_owned(),
                "point plain clients at the gateway; if the number stands still there is nothing to do".to_owned(),
            ],
        )
    })
}

pub(super) fn timeout(node: &Node) -> Option<Finding> {
    let timeout = node.setting("cluster-node-timeout").parse::<u64>().ok()?;
    (!TIMEOUTS.contains(&timeout)).then(|| {
        found(
            node,
            (Severity::Advice, "node-timeout"),
            [
                format!("cluster-node-timeout is {timeout} ms"),
                "a short one fails over in a busy moment, a long one leaves clients waiting for a dead primary".to_owned(),
                "set it between 2000 and 30000; 5000 suits most networks".to_owned(),
            ],
        )
    })
}
