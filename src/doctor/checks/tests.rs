use std::time::Duration;

use super::super::facts::Unreachable;
use super::*;
use crate::cluster::{Dialling, View};

/// A node with these fields of INFO and these settings.
fn node(info: &[(&str, &str)], config: &[(&str, &str)]) -> Node {
    let owned = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    Node {
        address: "10.0.0.1:7000".to_owned(),
        info: owned(info),
        config: owned(config),
        round_trip: Duration::from_micros(100),
        ..Node::default()
    }
}

fn names(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.check).collect()
}

/// What is found on one node alone.
fn found_on(node: &Node) -> Vec<&'static str> {
    NODE_CHECKS.iter().filter_map(|check| check(node)).map(|finding| finding.check).collect()
}

#[test]
fn a_node_in_order_has_nothing() {
    let info = [
        ("role", "master"),
        ("redis_version", "7.2.4"),
        ("used_memory", "1000000"),
        ("maxmemory", "1000000000"),
        ("maxmemory_policy", "noeviction"),
        ("total_system_memory", "8000000000"),
        ("connected_clients", "3"),
        ("maxclients", "10000"),
        ("aof_enabled", "1"),
        ("rdb_last_bgsave_status", "ok"),
        ("aof_last_write_status", "ok"),
        ("master_repl_offset", "1000"),
        ("repl_backlog_size", "1048576"),
        ("uptime_in_seconds", "100"),
    ];
    let config = [
        ("save", ""),
        ("bind", "127.0.0.1 -::1"),
        ("tls-port", "0"),
        ("cluster-node-timeout", "5000"),
    ];
    assert_eq!(found_on(&node(&info, &config)), [] as [&str; 0]);
}

#[test]
fn each_fault_is_found_on_a_node() {
    type Pairs = &'static [(&'static str, &'static str)];
    let table: &[(&str, Pairs, Pairs)] = &[
        (
            "memory-full",
            &[("used_memory", "95"), ("maxmemory", "100"), ("maxmemory_policy", "noeviction")],
            &[],
        ),
        ("memory-unlimited", &[("maxmemory", "0")], &[]),
        ("memory-above-machine", &[("maxmemory", "200"), ("total_system_memory", "100")], &[]),
        (
            "memory-fragmented",
            &[("mem_fragmentation_ratio", "2.10"), ("used_memory", "300000000")],
            &[],
        ),
        ("keys-evicted", &[("evicted_keys", "7")], &[]),
        ("clients-near-limit", &[("connected_clients", "90"), ("maxclients", "100")], &[]),
        ("clients-rejected", &[("rejected_connections", "1")], &[]),
        ("snapshot-failed", &[("rdb_last_bgsave_status", "err")], &[]),
        ("log-failed", &[("aof_last_write_status", "err")], &[]),
        ("not-persistent", &[("aof_enabled", "0")], &[("save", "")]),
        ("replication-down", &[("role", "slave"), ("master_link_status", "down")], &[]),
        (
            "replication-lag",
            &[
                ("role", "slave"),
                ("master_link_status", "up"),
                ("master_last_io_seconds_ago", "25"),
            ],
            &[],
        ),
        (
            "backlog-small",
            &[
                ("role", "master"),
                ("master_repl_offset", "1000000000"),
                ("uptime_in_seconds", "100"),
                ("repl_backlog_size", "1048576"),
            ],
            &[],
        ),
        ("fork-slow", &[("latest_fork_usec", "300000")], &[]),
        ("fsync-always", &[("aof_enabled", "1")], &[("appendfsync", "always")]),
        ("keys-used", &[("cmdstat_keys", "calls=3,usec=10")], &[]),
        ("moved-seen", &[("errorstat_MOVED", "count=12")], &[]),
        ("node-timeout", &[], &[("cluster-node-timeout", "500")]),
        ("exposed", &[], &[("bind", "0.0.0.0"), ("protected-mode", "no"), ("tls-port", "6380")]),
        ("no-tls", &[], &[("bind", "* -::*"), ("tls-port", "0")]),
        ("version-old", &[("redis_version", "6.2.14")], &[]),
    ];
    for (check, info, config) in table {
        assert_eq!(found_on(&node(info, config)), [*check]);
    }
}

#[test]
fn what_is_measured_or_listed_is_looked_at_too() {
    let far = Node { round_trip: Duration::from_millis(20), ..node(&[], &[]) };
    assert_eq!(found_on(&far), ["network-slow"]);
    let certified = |days: i64| Node { certificate_left: Some(days * 86_400), ..node(&[], &[]) };
    assert_eq!(found_on(&certified(13)), ["certificate-expires"]);
    assert_eq!(found_on(&certified(14)), [] as [&str; 0]);
    let slow = Node { slowest: Some(500_000), ..node(&[], &[]) };
    assert_eq!(found_on(&slow), ["slow-commands"]);
    let users = |rules: &str| Node { users: vec![rules.to_owned()], ..node(&[], &[]) };
    assert_eq!(
        found_on(&users("user default on nopass ~* &* +@all")),
        ["no-password", "dangerous-open"]
    );
    assert_eq!(found_on(&users("user default on #abc ~* &* +@all -@dangerous")), [] as [&str; 0]);
    assert_eq!(found_on(&users("user default off nopass ~* &* +@all")), [] as [&str; 0]);
}

/// Nodes `a`, `b`.. at 10.0.0.1, 10.0.0.2.., each with its own `CLUSTER NODES`.
fn cluster(state: &str, views: &[&str]) -> Facts {
    let info = format!("cluster_state:{state}\r\ncluster_current_epoch:3\r\n");
    let map = std::collections::BTreeMap::new();
    let nodes = views.iter().zip(1..).map(|(view, number)| {
        let address = format!("10.0.0.{number}:7000");
        let dialling =
            Dialling { asked: &address, preferred: crate::cluster::Preferred::Ip, map: &map };
        let view = View::parse(view, &info, &dialling).unwrap();
        let mut node = node(&[("connected_slaves", "1"), ("role", "master")], &[]);
        node.address = address.clone();
        node.view = Some(view);
        node
    });
    Facts { nodes: nodes.collect(), unreachable: Vec::new() }
}

/// Three primaries as `myself` sees them, with these slots each.
fn three(myself: usize, slots: [&str; 3]) -> String {
    let lines = slots.iter().enumerate().map(|(at, slots)| {
        let flags = if at == myself { "myself,master" } else { "master" };
        let (id, number) = (["a", "b", "c"][at], at + 1);
        format!("{id} 10.0.0.{number}:7000@17000 {flags} - 0 0 {number} connected {slots}\n")
    });
    lines.collect()
}

const WHOLE: [&str; 3] = ["0-5000", "5001-10000", "10001-16383"];

fn views(slots: [[&str; 3]; 3]) -> Vec<String> {
    slots.into_iter().enumerate().map(|(at, slots)| three(at, slots)).collect()
}

fn check(state: &str, slots: [[&str; 3]; 3]) -> Vec<Finding> {
    let views = views(slots);
    topology::cluster(&cluster(state, &views.iter().map(String::as_str).collect::<Vec<_>>()))
}

#[test]
fn a_whole_cluster_has_nothing() {
    assert_eq!(check("ok", [WHOLE; 3]), []);
}

#[test]
fn slots_without_an_owner_are_found() {
    let gap = ["0-5000", "5001-10000", "10002-16383"];
    let findings = check("fail", [gap; 3]);
    assert_eq!(
        names(&findings),
        ["cluster-down", "cluster-down", "cluster-down", "slots-uncovered"]
    );
    assert!(findings[3].what.contains("1 slots") && findings[3].what.contains("10001"));
}

#[test]
fn two_owners_of_a_slot_are_found() {
    let greedy = ["0-5001", "5001-10000", "10001-16383"];
    let found = check("ok", [greedy, WHOLE, WHOLE]);
    assert_eq!(names(&found), ["split-brain", "views-differ"]);
    assert!(found[0].what.contains("slot 5001"));
}

#[test]
fn replicas_count_by_host() {
    let view = "a 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-16383\n\
                b 10.0.0.1:7001@17001 slave a 0 0 1 connected\n\
                c 10.0.0.2:7000@17000 slave a 0 0 1 connected\n";
    let findings = topology::cluster(&cluster("ok", &[view]));
    assert_eq!(names(&findings), ["few-primaries", "replica-on-same-host"]);
    assert_eq!(findings[1].node, "10.0.0.1:7001");
}

#[test]
fn open_slots_bare_primaries_and_dead_nodes_are_found() {
    let views = views([WHOLE; 3]);
    let mut facts = cluster("ok", &views.iter().map(String::as_str).collect::<Vec<_>>());
    facts.nodes[0].open_slots = vec!["[7->-b]".to_owned()];
    facts.nodes[1].info.insert("connected_slaves".to_owned(), "0".to_owned());
    facts.unreachable.push(Unreachable {
        address: "10.0.0.9:7000".to_owned(),
        why: "connecting: refused".to_owned(),
        serves: true,
    });
    let findings = topology::cluster(&facts);
    assert_eq!(names(&findings), ["node-unreachable", "slots-open", "no-replica"]);
    assert_eq!(findings[0].severity, Severity::Critical);
}

#[test]
fn versions_that_differ_are_found() {
    let mut facts = cluster("ok", &[]);
    for version in ["7.0.15", "7.2.4"] {
        facts.nodes.push(node(&[("redis_version", version)], &[]));
    }
    assert_eq!(names(&safety::cluster(&facts)), ["version-skew"]);
}

#[test]
fn sizes_in_words() {
    for (bytes, text) in [(5, "5 bytes"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")] {
        assert_eq!(size(bytes), text);
    }
}
