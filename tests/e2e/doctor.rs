//! `slotway doctor` before real clusters, each with one fault made in it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::harness::{
    Authority, Client, Cluster, Make, Server, Shape, Site, new_folder, request, text, wait_for,
};

/// The checks that found something, with the node each names, and the exit status.
fn examine(nodes: &[SocketAddr]) -> (Vec<(String, String)>, Option<i32>) {
    let nodes: Vec<String> = nodes.iter().map(SocketAddr::to_string).collect();
    let arguments: Vec<&str> = nodes.iter().flat_map(|node| ["--node", node]).collect();
    examine_by(&arguments)
}

/// The same with these settings.
fn examine_with(settings: &str) -> Vec<(String, String)> {
    let file = new_folder("doctor").join("slotway.toml");
    fs::write(&file, settings).unwrap();
    examine_by(&["--config", text(&file)]).0
}

fn examine_by(arguments: &[&str]) -> (Vec<(String, String)>, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotway"));
    command.args(["doctor", "--json"]).args(arguments);
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

/// What one look at the cluster of [`what_runs_out_fails_or_is_badly_set_is_found`] is to find: the check, and the place
/// of the node.
const TOGETHER: &[(&str, usize)] = &[
    ("backlog-small", 0),
    ("fsync-always", 0),
    ("keys-evicted", 0),
    ("log-failed", 0),
    ("snapshot-failed", 0),
    ("clients-near-limit", 1),
    ("clients-rejected", 1),
    ("exposed", 1),
    ("memory-above-machine", 1),
    ("moved-seen", 1),
    ("no-tls", 1),
    ("replication-lag", 1),
];

#[test]
fn what_runs_out_fails_or_is_badly_set_is_found() {
    let cluster = Cluster::start(Shape { primaries: 1, replicas: 1, node_timeout_ms: 15_000 });
    cluster.wait_until_known();
    let nodes = cluster.addresses();
    let before = examine(&nodes).0;
    for (check, place) in TOGETHER {
        assert!(!before.contains(&((*check).to_owned(), nodes[*place].to_string())), "{check}");
    }
    for node in &nodes {
        for check in ["not-persistent", "dangerous-open", "no-password", "memory-unlimited"] {
            assert!(before.contains(&(check.to_owned(), node.to_string())), "{check}: {before:?}");
        }
    }
    let is_old = Make::of_servers().name == "redis" && !Make::of_servers().is_since(7, 2);
    assert_eq!(before.iter().any(|(check, _)| check == "version-old"), is_old);

    let mut primary = cluster.node(0).client();
    let mut replica = cluster.node(1).client();
    let fill = |primary: &mut Client, count: usize| {
        let value = "x".repeat(1 << 20);
        for number in 0..count {
            assert_eq!(primary.call(&format!("SET key:{number} {value}")).text(), "OK");
        }
    };
    // Memory.
    set(&mut primary, "maxmemory 6mb maxmemory-policy allkeys-random");
    fill(&mut primary, 8);
    set(&mut primary, "maxmemory 0 maxmemory-policy noeviction");
    set(&mut replica, "maxmemory 100000gb");
    spoil_files(&cluster);
    // Copies: the replica reads what is written, and does nothing with it.
    set(&mut primary, "repl-backlog-size 16kb");
    assert_eq!(replica.call("CLIENT PAUSE 600000 WRITE").text(), "OK");
    fill(&mut primary, 20);
    // Who may come: nobody has that address, and a `-` before it says that it need not be there.
    set(&mut replica, "protected-mode no");
    let bind = ["CONFIG", "SET", "bind", "127.0.0.1 -192.0.2.1"];
    assert_eq!(replica.call_args(&bind).text(), "OK");
    assert!(replica.call("GET key").text().starts_with("MOVED"));
    let _clients: Vec<Client> = (0..40).map(|_| cluster.node(1).client()).collect();
    set(&mut replica, "maxclients 50");
    let crowd: Vec<_> = (0..15).map(|_| Client::try_connect(nodes[1])).collect();
    wait_for("clients that were refused", || !says(&mut replica, "rejected_connections:0"));
    drop(crowd);

    let mut found = Vec::new();
    wait_for("all of it to be found", || {
        found = examine(&nodes).0;
        TOGETHER.iter().all(|(check, place)| {
            let found = found.contains(&((*check).to_owned(), nodes[*place].to_string()));
            if !found {
                println!("not yet: {check}");
            }
            found
        })
    });
    assert!(!found.contains(&("not-persistent".to_owned(), nodes[0].to_string())), "{found:?}");

    // A replica that its primary does not let in.
    assert_eq!(primary.call("ACL SETUSER default -psync -sync").text(), "OK");
    primary.call("CLIENT KILL TYPE replica");
    wait_for("the lost link", || on(&nodes, nodes[1]).contains(&"replication-down".to_owned()));
}

/// Where the snapshot of the first node is to be is a folder, and where the folder for its logs is to be is a file.
fn spoil_files(cluster: &Cluster) {
    let mut primary = cluster.node(0).client();
    fs::create_dir(cluster.node(0).folder().join("dump.rdb")).unwrap();
    assert!(!primary.call("BGSAVE").is_error());
    wait_for("a snapshot that failed", || says(&mut primary, "rdb_last_bgsave_status:err"));
    set(&mut primary, "appendonly yes appendfsync always");
    wait_for("an append-only file", || {
        ["aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"]
            .iter()
            .all(|line| says(&mut primary, line))
    });
    let log = cluster.node(0).folder().join("appendonlydir");
    fs::remove_dir_all(&log).unwrap();
    fs::write(&log, "").unwrap();
    primary.call("BGREWRITEAOF");
    wait_for("a log that failed", || says(&mut primary, "aof_last_bgrewrite_status:err"));
}

fn set(client: &mut Client, settings: &str) {
    assert_eq!(client.call(&format!("CONFIG SET {settings}")).text(), "OK", "{settings}");
}

fn says(client: &mut Client, line: &str) -> bool {
    client.call("INFO everything").text().lines().any(|found| found == line)
}

#[test]
fn a_machine_that_takes_both_copies_and_an_address_that_leads_nowhere_are_found() {
    let at = |last: u8| {
        let site = Site { ip: [127, 0, 0, last].into(), ..Site::here() };
        // Else the others believe that it is where its own connections come from.
        let ip = site.ip.to_string();
        Server::node_at(site, 15_000, &[("--cluster-announce-ip", &ip)])
    };
    let shape = Shape { primaries: 2, replicas: 1, node_timeout_ms: 15_000 };
    let cluster = Cluster::form(shape, [1, 2, 1, 1].map(at).into());
    cluster.wait_until_known();
    let nodes = cluster.addresses();
    let (found, _) = examine(&nodes[..1]);
    let shared: Vec<&String> = found
        .iter()
        .filter(|(check, _)| check == "replica-on-same-host")
        .map(|(_, node)| node)
        .collect();
    assert_eq!(shared, [&nodes[2].to_string()]);

    set(&mut cluster.node(3).client(), "cluster-announce-ip 127.0.0.9");
    let announced = ("node-unreachable".to_owned(), format!("127.0.0.9:{}", nodes[3].port()));
    wait_for("the address to be heard of", || examine(&nodes[..1]).0.contains(&announced));
}

#[test]
fn two_clusters_under_one_name_are_found() {
    let shape = Shape { primaries: 1, replicas: 0, node_timeout_ms: 15_000 };
    let (one, other) = (Cluster::start(shape), Cluster::start(shape));
    let nodes = [one.addresses()[0], other.addresses()[0]];
    let (found, status) = examine(&nodes);
    for check in ["split-brain", "views-differ"] {
        assert!(found.iter().any(|(found, _)| found == check), "{check}: {found:?}");
    }
    assert_eq!(status, Some(1));
}

#[test]
fn versions_that_differ_are_found() {
    let Some(other) = Server::of_another_make() else {
        return println!("there is one make of server on this machine: nothing differs");
    };
    let server = Server::standalone();
    assert!(has(&[server.address(), other.address()], "version-skew"));
    assert!(!has(&[server.address()], "version-skew"));
}

#[test]
fn a_long_way_to_a_node_is_found() {
    let cluster = Cluster::small();
    let nodes = cluster.addresses();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (far, node) = (listener.local_addr().unwrap(), nodes[1]);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let there = TcpStream::connect(node).unwrap();
            let back = (there.try_clone().unwrap(), stream.try_clone().unwrap());
            thread::spawn(move || carry(stream, there, Duration::from_millis(20)));
            thread::spawn(move || carry(back.0, back.1, Duration::ZERO));
        }
    });
    let settings = format!(
        "[cluster]\nnodes = [\"{}\"]\naddress_map = {{ \"{node}\" = \"{far}\" }}\n",
        nodes[0]
    );
    let found = examine_with(&settings);
    assert!(found.contains(&("network-slow".to_owned(), far.to_string())), "{found:?}");
}

/// Passes on what comes, so much later.
fn carry(mut from: TcpStream, mut to: TcpStream, later: Duration) {
    let mut piece = [0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        thread::sleep(later);
        if to.write_all(&piece[..length]).is_err() {
            return;
        }
    }
}

#[test]
fn a_certificate_that_runs_out_is_found() {
    let authority = Authority::new();
    let (cluster, encrypted) = Cluster::encrypted(&authority);
    let (ca, own) = (authority.certificate(), authority.certify("doctor"));
    let files = [
        ("tls_ca_file", text(&ca)),
        ("tls_certificate_file", text(&own.certificate)),
        ("tls_key_file", text(&own.key)),
    ];
    let mut settings = format!("[cluster]\nnodes = [\"{}\"]\ntls = true\n", encrypted[0]);
    settings.extend(files.map(|(name, file)| format!("{name} = \"{file}\"\n")));
    let found = |settings: &str| -> Vec<String> {
        let found = examine_with(settings).into_iter();
        found.filter(|(check, _)| check == "certificate-expires").map(|(_, node)| node).collect()
    };
    assert_eq!(found(&settings), [""; 0]);
    let short = authority.certify_for("short", Duration::from_secs(3 * 24 * 3600));
    let (certificate, key) = (text(&short.certificate), text(&short.key));
    set(&mut cluster.node(1).client(), &format!("tls-cert-file {certificate} tls-key-file {key}"));
    assert_eq!(found(&settings), [encrypted[1].to_string()]);
}
