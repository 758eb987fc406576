//! What the gateway sees of its clients' requests: hot keys, big keys, the slow log.

use serde_json::Value;

use crate::harness::{Cluster, Gateway, Reply, wait_for};

/// Keeps its node busy for a moment, without a key.
const BUSY: &str = "local from = redis.call('TIME') \
    repeat local now = redis.call('TIME') \
    until (now[1] - from[1]) * 1000000 + now[2] - from[2] > 60000 \
    return 'done'";

fn status(gateway: &Gateway) -> Value {
    let (status, body) = gateway.page("/status.json");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn the_hot_key_the_big_key_and_the_slow_request_are_found() {
    let gateway =
        Gateway::before(Cluster::shared()).workers(2).setting("observe.slow_time", "50ms").start();
    let mut clients = [gateway.client(), gateway.client()];
    let value = "x".repeat(100_000);
    assert_eq!(clients[0].call(&format!("SET observe:big {value}")).text(), "OK");
    assert_eq!(clients[0].call_args(&["EVAL", BUSY, "0"]).text(), "done");
    let mut round = 0;
    wait_for("the hot key, the big one and the slow request", || {
        for client in &mut clients {
            let cold = (0..100).map(|number| format!("GET observe:cold:{round}:{number}"));
            let lines: Vec<String> =
                cold.flat_map(|cold| [cold, "GET observe:hot".to_owned()]).collect();
            client.pipeline(&lines);
            round += 1;
        }
        let seen = status(&gateway);
        let mut slow = seen["slow_log"].as_array().unwrap().iter();
        seen["hot_keys"][0]["key"] == "observe:hot"
            && seen["big_keys"][0]["key"] == "observe:big"
            && slow.any(|entry| entry["command"][0] == "EVAL")
    });

    let seen = status(&gateway);
    let hot = &seen["hot_keys"][0];
    assert!(hot["share"].as_f64().unwrap() > 0.2, "{hot}");
    assert_eq!(hot["command"], "GET");
    assert!(seen["big_keys"][0]["request"].as_u64().unwrap() > 100_000, "{seen}");

    let admin = &mut clients[1];
    let first = |reply: Reply| reply.items()[0].items();
    assert_eq!(first(admin.call("SLOTWAY HOTKEYS 1"))[1].text(), "observe:hot");
    assert_eq!(first(admin.call("slotway bigkeys"))[1].text(), "observe:big");
    let slow = admin.call("SLOTWAY SLOWLOG -1").items();
    let mut entries = slow.iter().map(Reply::items);
    let busy = entries.find(|entry| entry[3].items()[0].text() == "EVAL").unwrap();
    assert!(busy[2].integer() >= busy[7].integer() && busy[7].integer() >= 50_000, "{slow:?}");
    assert!(busy[3].items()[1].text().ends_with(" more bytes)"), "{slow:?}");
    assert_eq!(busy[6].text(), "default");
    let (client, number) = (busy[8].text(), "-1");
    assert!(client.ends_with(number), "the second request of its client is {client}");
    let error = admin.call("SLOTWAY HOTKEYS -2").text();
    assert_eq!(error, "ERR count should be greater than or equal to -1");

    assert_eq!(admin.call("DEL observe:big").integer(), 1);
    assert!(gateway.metric("slotway_slow_log_entries_total") >= 1.0);
    assert!(gateway.metric("slotway_hottest_key_requests_per_second") > 0.0);
    assert!(gateway.metric("slotway_largest_key_bytes") >= 100_000.0);
}

#[test]
fn the_status_page_shows_how_the_nodes_are() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut seen = Value::Null;
    wait_for("what all nodes say of themselves", || {
        seen = status(&gateway);
        let nodes = seen["topology"]["nodes"].as_array().unwrap();
        nodes.len() == 6 && nodes.iter().all(|node| node["vitals"]["memory"].as_u64() > Some(0))
    });
    for node in seen["topology"]["nodes"].as_array().unwrap() {
        // A primary is behind nobody, and a replica has a link to its primary.
        assert!(node["vitals"]["behind"].is_u64(), "{node}");
        assert_eq!(node["vitals"]["memory_limit"], 0, "{node}");
    }
    assert_eq!(seen["topology"]["moving"], serde_json::json!([]));
}

#[test]
fn the_status_page_marks_slots_on_their_way() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let (from, to) = (cluster.node(0), cluster.node(1));
    let id = to.client().call("CLUSTER MYID").text();
    assert_eq!(from.client().call(&format!("CLUSTER SETSLOT 7 MIGRATING {id}")).text(), "OK");
    let (first, second) = (cluster.addresses()[0].to_string(), cluster.addresses()[1].to_string());
    let moving = serde_json::json!([[7, first, second]]);
    wait_for("the slot that is moving", || status(&gateway)["topology"]["moving"] == moving);
    assert_eq!(from.client().call("CLUSTER SETSLOT 7 STABLE").text(), "OK");
    let none = serde_json::json!([]);
    wait_for("the end of the move", || status(&gateway)["topology"]["moving"] == none);
}

#[test]
fn only_administrators_see_what_others_ask() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    assert!(!client.call("ACL SETUSER reader on >pw ~* +@all -@admin -@dangerous").is_error());
    assert!(!client.call("AUTH reader pw").is_error());
    for subcommand in ["hotkeys", "bigkeys", "slowlog"] {
        let error = client.call(&format!("SLOTWAY {subcommand}")).text();
        assert!(error.starts_with("NOPERM"), "{error}");
    }
    assert!(!client.call("SLOTWAY HELP").is_error());
}
