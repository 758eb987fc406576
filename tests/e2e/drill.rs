//! `slotway drill` on real clusters: planned failovers with and without a gateway, a kill, and what is refused.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use slotway::launch::{LocalCluster, Options};

use crate::harness::{Cluster, Gateway, PATIENCE, Shape, free_ports, new_folder};

fn drill(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotway"));
    command.arg("drill").args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

/// What a drill that was run says of each shard; and that it found all well.
fn report(arguments: &[&str]) -> Vec<Value> {
    let output = drill(&[arguments, &["--yes", "--json", "--seconds", "1"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    assert_eq!(
        (report["well"].as_bool(), output.status.code()),
        (Some(true), Some(0)),
        "{report:#}"
    );
    report["drills"].as_array().unwrap().clone()
}

/// Why nothing was done.
fn refusal(arguments: &[&str]) -> String {
    let output = drill(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn keys_left(cluster: &Cluster) -> usize {
    (0..6)
        .map(|place| cluster.node(place).client().call("KEYS slotway:drill:*").items().len())
        .sum()
}

#[test]
fn a_replica_takes_over_and_clients_of_the_gateway_see_only_a_pause() {
    let cluster = Cluster::start(Shape { primaries: 3, replicas: 1, node_timeout_ms: 15_000 });
    let seed = cluster.wait_until_known();
    let gateway = Gateway::before(&cluster).start();
    let (node, gate) = (cluster.node(1).address().to_string(), gateway.address().to_string());

    let drills = report(&["--node", &seed, "--shard", &node, "--gateway", &gate]);
    let [drill] = &*drills else { panic!("{drills:?}") };
    assert_eq!(drill["event"], "failover");
    assert_eq!(drill["former_primary"], node);
    assert_eq!(drill["new_primary"], cluster.node(4).address().to_string());
    for clients in ["shard_clients", "other_clients"] {
        let clients = &drill[clients];
        assert!(clients["requests"].as_u64().unwrap() > 0, "{clients}");
        assert_eq!(clients["errors"], serde_json::json!({}), "{clients}");
        assert_eq!(
            (clients["redirections"].as_u64(), clients["acknowledged_writes_lost"].as_u64()),
            (Some(0), Some(0))
        );
        assert!(clients["latency"]["after"]["p99_ms"].as_f64().unwrap() > 0.0, "{clients}");
    }
    assert_eq!(keys_left(&cluster), 0);

    // As clients of the cluster, every shard in turn; the second one goes back to where it was.
    cluster.wait_until_known();
    let drills = report(&["--node", &seed]);
    let primaries: Vec<&str> =
        drills.iter().map(|one| one["new_primary"].as_str().unwrap()).collect();
    let expected = [3, 1, 5].map(|place| cluster.node(place).address().to_string());
    assert_eq!(primaries, expected);
    assert!(
        drills.iter().all(|one| one["shard_clients"]["redirections"].as_u64() > Some(0)),
        "{drills:?}"
    );
    assert_eq!(keys_left(&cluster), 0);
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_happens() {
    let shared = Cluster::shared();
    let node = shared.wait_until_known();
    let said = refusal(&["--node", &node, "--shard", "1"]);
    assert!(said.contains("takes over from") && said.contains("or with --yes"), "{said}");
    let said = refusal(&["--node", &node, "--shard", "9", "--yes"]);
    assert!(said.contains("there is no shard 9; there are 1 ("), "{said}");
    let said = refusal(&[
        "--node",
        &node,
        "--shard",
        "1",
        "--yes",
        "--gateway",
        "127.0.0.1:1",
        "--seconds",
        "1",
    ]);
    assert!(said.contains("nothing was done") && said.contains("cannot connect"), "{said}");
    let folder = new_folder("nobody");
    let said = refusal(&["--node", &node, "--kill", "--dir", folder.to_str().unwrap(), "--yes"]);
    assert!(said.contains("no slotway up runs there"), "{said}");
    assert_eq!(shared.node(0).client().call("ROLE").items()[0].text(), "master");

    let alone = Cluster::start(Shape { primaries: 3, replicas: 0, node_timeout_ms: 15_000 });
    let said = refusal(&["--node", &alone.node(0).address().to_string(), "--yes"]);
    assert!(said.contains("shard 1 cannot fail over") && said.contains("has no replica"), "{said}");
}

#[test]
fn a_primary_of_the_local_cluster_is_killed() {
    let folder = new_folder("up");
    let options = Options {
        replicas: 0,
        base_port: free_ports(3),
        dir: Some(folder.clone()),
        launcher: Some(env!("CARGO_BIN_EXE_slotway").into()),
        // It is started again long before the others give it up.
        node_timeout: PATIENCE,
        ..Options::default()
    };
    let cluster = LocalCluster::start(&options, &|_| {}).unwrap();
    let before = cluster.pid(2).unwrap();
    let node = cluster.addresses()[2].to_string();
    let dir = folder.to_str().unwrap();

    let drills = report(&["--node", &node, "--shard", "3", "--kill", "--dir", dir]);
    let [drill] = &*drills else { panic!("{drills:?}") };
    assert_eq!((&drill["event"], &drill["new_primary"]), (&"kill".into(), &node.into()));
    assert_ne!(drill["shard_clients"]["errors"], serde_json::json!({}), "{drill}");
    assert_eq!(drill["other_clients"]["errors"], serde_json::json!({}), "{drill}");
    assert_ne!(cluster.pid(2).unwrap(), before);

    // Another cluster's node, and the right folder.
    let stranger = Cluster::shared().node(0).address().to_string();
    let said = refusal(&["--node", &stranger, "--shard", "1", "--kill", "--dir", dir, "--yes"]);
    assert!(said.contains("its process runs elsewhere"), "{said}");
    cluster.stop();
    assert!(Path::new(dir).exists());
}
