//! `slotway doctor` before real clusters, each with one fault made in it.

use std::net::SocketAddr;
use std::process::Command;

use crate::harness::{Client, Cluster, Server, request, wait_for};

/// The checks that found something, with the node each names, and the exit status.
fn examine(nodes: &[SocketAddr]) -> (Vec<(String, String)>, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotway"));
    command.args(["doctor", "--json"]);
    for node in nodes {
        command.args(["--node", &node.to_string()]);
    }
    let output = command.output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    let found = findings.map(|one| (text(&one["check"]), text(&one["node"])));
    (found.collect(), output.status.code())
}

fn has(nodes: &[SocketAddr], check: &str) -> bool {
    examine(nodes).0.iter().any(|(found, _)| found == check)
}

/// What is found on one node.
fn on(nodes: &[SocketAddr], node: SocketAddr) -> Vec<String> {
    let found = examine(nodes).0.into_iter().filter(|(_, place)| *place == node.to_string());
    found.map(|(check, _)| check).collect()
}

#[test]
fn one_seed_is_enough_to_see_every_node() {
    let cluster = Cluster::shared();
    let nodes = cluster.addresses();
    let (found, status) = examine(&nodes[..1]);
    // Test servers have no limit to their memory, no password and keep nothing.
    let unlimited = found.iter().filter(|(check, _)| check == "memory-unlimited").count();
    assert_eq!(unlimited, nodes.len(), "{found:?}");
    for check in
        ["cluster-down", "slots-uncovered", "split-brain", "node-unreachable", "no-replica"]
    {
        assert!(found.iter().all(|(found, _)| found != check), "{check}: {found:?}");
    }
    assert_eq!(status, Some(1));
}

#[test]
fn faults_of_one_node_are_found_where_they_are() {
    let cluster = Cluster::small();
    let nodes = cluster.addresses();
    let mut client = cluster.node(0).client();
    let set = |client: &mut Client, line: &str| {
        assert_eq!(client.call(line).text(), "OK", "{line}");
    };
    set(&mut client, "CONFIG SET maxmemory 1000000 maxmemory-policy noeviction");
    set(&mut client, "CONFIG SET cluster-node-timeout 500 slowlog-log-slower-than 0");
    client.call("KEYS none");
    let busy = "local i = 0 while i < 1e8 do i = i + 1 end";
    client.exchange(&request(&["EVAL", busy, "0"]), 1);
    let first = on(&nodes, nodes[0]);
    for check in
        ["memory-full", "node-timeout", "keys-used", "slow-commands", "no-replica", "no-password"]
    {
        assert!(first.iter().any(|found| found == check), "{check}: {first:?}");
    }
    let second = on(&nodes, nodes[1]);
    for check in ["memory-full", "node-timeout", "keys-used", "slow-commands"] {
        assert!(second.iter().all(|found| found != check), "{check}: {second:?}");
    }
    assert!(has(&nodes, "few-primaries"));
}

#[test]
fn slots_that_are_open_or_lost_are_found() {
    let cluster = Cluster::small();
    let nodes = cluster.addresses();
    cluster.begin_migration(7, 1);
    assert!(has(&nodes, "slots-open"));
    assert_eq!(cluster.node(1).client().call("CLUSTER DELSLOTS 16000").text(), "OK");
    wait_for("the gap to be seen", || {
        has(&nodes, "slots-uncovered") && has(&nodes, "cluster-down")
    });
}

#[test]
fn a_dead_primary_is_found_by_those_that_live() {
    let mut cluster = Cluster::small();
    let nodes = cluster.addresses();
    cluster.node_mut(1).kill();
    let (found, status) = examine(&nodes[..1]);
    assert!(found.contains(&("node-unreachable".to_owned(), nodes[1].to_string())), "{found:?}");
    assert_eq!(status, Some(1));
}

#[test]
fn a_server_that_is_no_node_is_named() {
    let server = Server::standalone();
    assert_eq!(on(&[server.address()], server.address()).first().unwrap(), "not-a-cluster");
}

#[test]
fn nobody_to_ask_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_slotway"))
        .args(["doctor", "--node", "127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no node can be asked"));
}
