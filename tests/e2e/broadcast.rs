//! Commands for every primary or every node: one server's answer, or an error, never half of it.

use std::collections::BTreeSet;

use crate::harness::{Client, Cluster, Gateway, Reply, Server, Shape, tag_in_slot, wait_for};

/// Elements in an order of their own.
fn sorted(reply: &Reply) -> Vec<Reply> {
    let mut items = reply.items();
    items.sort();
    items
}

/// Runs the lines against a server and through the gateway: equal replies, arrays in any order.
fn assert_alike(lines: &[Vec<&str>], server: &mut Client, gateway: &mut Client) {
    for line in lines {
        let (expected, found) = (server.call_args(line), gateway.call_args(line));
        let alike = expected == found
            || (expected.kind() == b'*'
                && found.kind() == b'*'
                && sorted(&expected) == sorted(&found));
        assert!(alike, "{line:?}\n  expected {expected}\n  found    {found}");
    }
}

fn words<'a>(lines: &[&'a str]) -> Vec<Vec<&'a str>> {
    lines.iter().map(|line| line.split(' ').collect()).collect()
}

#[test]
fn flushing_and_counting_are_as_on_one_server() {
    let cluster = Cluster::small();
    let (server, gateway) = (Server::standalone(), Gateway::before(&cluster).start());
    let fill: Vec<String> = (0..60)
        .map(|number| format!("SET key:{number} {number}"))
        .chain((0..9).map(|n| format!("SET {{tag}}{n} {n}")))
        .collect();
    for protocol in [2, 3] {
        let (mut one, mut other) = (server.client_of(protocol), gateway.client_of(protocol));
        for flush in [
            "FLUSHALL",
            "FLUSHALL ASYNC",
            "flushall sync",
            "FLUSHDB",
            "FLUSHDB ASYNC",
            "FLUSHDB SYNC",
        ] {
            assert_eq!(one.pipeline(&fill), other.pipeline(&fill));
            let lines = [
                "DBSIZE",
                "KEYS *",
                "KEYS key:1*",
                "KEYS {tag}*",
                "KEYS {tag}3",
                "KEYS key:7",
                "KEYS nothing",
                "KEYS",
                "KEYS a b",
                "DBSIZE x",
                flush,
                "DBSIZE",
                "KEYS *",
                "RANDOMKEY",
                "RANDOMKEY x",
            ];
            assert_alike(&words(&lines), &mut one, &mut other);
        }
        let wrong = ["FLUSHALL FOO", "FLUSHALL ASYNC SYNC", "FLUSHDB x", "FLUSHDB ASYNC ASYNC"];
        assert_alike(&words(&wrong), &mut one, &mut other);
    }
}

#[test]
fn scripts_are_kept_as_by_one_server() {
    let cluster = Cluster::small();
    let (server, gateway) = (Server::standalone(), Gateway::before(&cluster).workers(2).start());
    let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let unknown = "ffffffffffffffffffffffffffffffffffffffff";
    for protocol in [2, 3] {
        let (mut alone, mut through) = (server.client_of(protocol), gateway.client_of(protocol));
        let lines: Vec<Vec<&str>> = vec![
            vec!["SCRIPT", "EXISTS", sha, unknown],
            vec!["SCRIPT", "LOAD", "return 1"],
            vec!["SCRIPT", "EXISTS", sha, unknown, &sha[1..]],
            vec!["EVALSHA", sha, "0"],
            vec!["EVALSHA", sha, "1", "a"],
            vec!["EVALSHA", sha, "1", "b"],
            vec!["evalsha_ro", sha, "1", "c"],
            vec!["EVALSHA", unknown, "0"],
            vec!["EVALSHA", "short", "1", "a"],
            vec!["EVALSHA", sha, "x"],
            vec!["EVALSHA", sha, "-1"],
            vec!["EVALSHA", sha, "2", "a"],
            vec!["SCRIPT", "LOAD", "return ("],
            vec!["SCRIPT", "LOAD"],
            vec!["SCRIPT", "FLUSH", "FOO"],
            vec!["EVALSHA", sha, "0"],
            vec!["SCRIPT", "FLUSH", "ASYNC"],
            vec!["SCRIPT", "EXISTS", sha],
            vec!["EVALSHA", sha, "0"],
            vec!["EVALSHA", sha, "1", "a"],
            vec!["SCRIPT", "FLUSH"],
            vec!["SCRIPT", "FLUSH", "SYNC"],
            vec!["SCRIPT", "KILL"],
        ];
        assert_alike(&lines, &mut alone, &mut through);
    }
}

#[test]
fn functions_are_kept_as_by_one_server() {
    let cluster = Cluster::small();
    let (server, gateway) = (Server::standalone(), Gateway::before(&cluster).workers(2).start());
    let code = |name: &'static str, value: &str| -> String {
        format!(
            "#!lua name={name}\nredis.register_function('{name}_f', function(keys, args) return {value} end)"
        )
    };
    let (one, two, changed) = (code("one", "1"), code("two", "2"), code("one", "3"));
    for protocol in [2, 3] {
        let (mut alone, mut through) = (server.client_of(protocol), gateway.client_of(protocol));
        let lines: Vec<Vec<&str>> = vec![
            vec!["FUNCTION", "KILL"],
            vec!["FUNCTION", "LIST"],
            vec!["FUNCTION", "LOAD", &one],
            vec!["FUNCTION", "LOAD", &one],
            vec!["FUNCTION", "LOAD", "REPLACE", &changed],
            vec!["FCALL", "one_f", "1", "a"],
            vec!["FCALL", "one_f", "1", "b"],
            vec!["FCALL", "one_f", "0"],
            vec!["FCALL", "two_f", "0"],
            vec!["FUNCTION", "LOAD", &two],
            vec!["FUNCTION", "LIST", "LIBRARYNAME", "two", "WITHCODE"],
            vec!["FUNCTION", "STATS"],
            vec!["FUNCTION", "DELETE", "two"],
            vec!["FUNCTION", "DUMP"],
            vec!["FUNCTION", "DELETE", "two"],
            vec!["FUNCTION", "LOAD", "nonsense"],
            vec!["FUNCTION", "RESTORE", "nonsense"],
            vec!["FUNCTION", "FLUSH", "FOO"],
            vec!["FUNCTION", "FLUSH"],
            vec!["FUNCTION", "LIST"],
            vec!["FCALL", "one_f", "0"],
        ];
        assert_alike(&lines, &mut alone, &mut through);
        through.call_args(&["FUNCTION", "LOAD", &one]);
        let dump = through.call("FUNCTION DUMP");
        for client in [&mut alone, &mut through] {
            client.call("FUNCTION FLUSH");
            let restored = client.call_args(&[b"FUNCTION".as_slice(), b"RESTORE", dump.payload()]);
            assert_eq!(restored.text(), "OK");
        }
        assert_alike(
            &words(&["FUNCTION LIST", "FCALL one_f 1 a", "FCALL one_f 1 b", "FUNCTION FLUSH"]),
            &mut alone,
            &mut through,
        );
    }
}

#[test]
fn every_key_is_as_likely_as_any_other() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let mut client = gateway.client();
    let (here, there) = (tag_in_slot(1), tag_in_slot(16_000));
    let keys = (0..30).map(|number| format!("SET {{{here}}}{number} x"));
    let keys = keys.chain((0..10).map(|number| format!("SET {{{there}}}{number} x")));
    client.pipeline(&keys.collect::<Vec<_>>());
    let drawn = client.pipeline(&["RANDOMKEY"; 800]);
    let met: BTreeSet<String> = drawn.iter().map(Reply::text).collect();
    assert_eq!(met.len(), 40, "every key comes in time");
    let first = drawn.iter().filter(|key| key.text().starts_with(&format!("{{{here}}}"))).count();
    // Three quarters, give or take eight standard deviations.
    assert!((500..700).contains(&first), "{first} of 800");
}

#[test]
fn a_missing_primary_is_an_error_and_not_a_hole() {
    let mut cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).setting("backend.hold_time", "300ms").start();
    let mut client = gateway.client();
    let alive = tag_in_slot(1);
    client.call(&format!("SET {{{alive}}}here 1"));
    client.call(&format!("SET {{{}}}there 1", tag_in_slot(16_000)));
    cluster.node_mut(1).kill();
    for line in [
        "DBSIZE",
        "KEYS *",
        "FLUSHALL",
        "FLUSHDB ASYNC",
        "RANDOMKEY",
        "SCRIPT EXISTS x",
        "FUNCTION FLUSH",
        "SLOWLOG GET",
        "LASTSAVE",
    ] {
        let reply = client.call(line);
        assert!(reply.is_error() && reply.text().starts_with("CLUSTERDOWN "), "{line}: {reply}");
    }
    let reply = client.call_args(&["SCRIPT", "LOAD", "return 1"]);
    assert!(reply.text().starts_with("CLUSTERDOWN "), "{reply}");
    // What concerns the living alone has an answer.
    client.call(&format!("SET {{{alive}}}here 1"));
    assert_eq!(client.call(&format!("KEYS {{{alive}}}*")).items().len(), 1);
    let info = client.call("INFO").text();
    assert!(info.contains("redis_mode:standalone") && info.contains("loading:0"), "{info}");
    assert!(!info.contains("# Keyspace"), "half of the keys are not all: {info}");
}

#[test]
fn a_missing_replica_matters_only_where_it_was_to_be_told() {
    let mut cluster = Cluster::start(Shape { primaries: 2, replicas: 1, node_timeout_ms: 15_000 });
    let gateway = Gateway::before(&cluster).start();
    let mut client = gateway.client();
    assert_eq!(client.call("CONFIG SET slowlog-max-len 77").text(), "OK");
    for node in 0..4 {
        let found =
            cluster.node(node).client().call("CONFIG GET slowlog-max-len").items()[1].text();
        assert_eq!(found, "77", "node {node}");
    }
    let sha = client.call_args(&["SCRIPT", "LOAD", "return 7"]).text();
    for node in 0..4 {
        let known = cluster.node(node).client().call(&format!("SCRIPT EXISTS {sha}")).items();
        assert_eq!(known[0].integer(), 1, "node {node}");
    }
    cluster.node_mut(3).kill();
    assert_eq!(client.call_args(&["SCRIPT", "LOAD", "return 8"]).text().len(), 40);
    assert_eq!(client.call("SCRIPT FLUSH").text(), "OK");
    assert_eq!(client.call("SLOWLOG LEN").kind(), b':');
    assert_eq!(client.call("LATENCY LATEST").kind(), b'*');
    let reply = client.call("CONFIG SET slowlog-max-len 78");
    let address = cluster.node(3).address().to_string();
    assert!(reply.is_error() && reply.text().contains(&address), "{reply}");
    assert!(reply.text().ends_with("1 of 4 nodes failed)"), "{reply}");
    assert_eq!(cluster.node(0).client().call("CONFIG GET slowlog-max-len").items()[1].text(), "78");
    let reply = client.call("CONFIG SET no-such-setting 1");
    assert_eq!(
        reply.text(),
        "ERR Unknown option or number of arguments for CONFIG SET - 'no-such-setting'"
    );
}

#[test]
fn a_replica_that_takes_its_time_is_waited_for() {
    let cluster = Cluster::start(Shape { primaries: 2, replicas: 1, node_timeout_ms: 15_000 });
    let gateway = Gateway::before(&cluster)
        .setting("backend.probe_interval", "50ms")
        .setting("backend.connect_timeout", "30s")
        .start();
    let probes = || -> u64 {
        let metrics = gateway.page("/metrics").1;
        let told = metrics.lines().find_map(|line| line.strip_prefix("slotway_probes_total "));
        told.unwrap().parse().unwrap()
    };
    cluster.node(3).freeze();
    std::thread::scope(|scope| {
        let told = scope.spawn(|| gateway.client().call("CONFIG SET slowlog-max-len 79").text());
        wait_for("a replica that is silent", || probes() > 4);
        cluster.node(3).thaw();
        assert_eq!(told.join().unwrap(), "OK");
    });
    let found = cluster.node(3).client().call("CONFIG GET slowlog-max-len").items()[1].text();
    assert_eq!(found, "79");
}

#[test]
fn a_library_is_on_all_primaries_or_on_none() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let code = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    let load = ["FUNCTION", "LOAD", code];
    assert_eq!(cluster.node(1).client().call_args(&load).text(), "lib");
    let reply = gateway.client().call_args(&load);
    assert_eq!(reply.text(), "ERR Library 'lib' already exists");
    assert!(cluster.node(0).client().call("FUNCTION LIST").items().is_empty(), "taken back");
    assert_eq!(gateway.client().call_args(&["FUNCTION", "LOAD", "REPLACE", code]).text(), "lib");
    assert_eq!(cluster.node(0).client().call("FUNCTION LIST").items().len(), 1);
}

#[test]
fn a_script_that_does_not_end_is_killed() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    for protocol in [2, 3] {
        let (mut runner, mut killer) = (gateway.client(), gateway.client_of(protocol));
        assert_eq!(killer.call("CONFIG SET busy-reply-threshold 50").text(), "OK");
        assert!(killer.call("SCRIPT KILL").text().starts_with("NOTBUSY "));
        runner.send(&crate::harness::request(&["EVAL", "while true do end", "1", "key"]));
        wait_for("a script that is killed", || killer.call("SCRIPT KILL").text() == "OK");
        let reply = runner.reply();
        assert!(reply.is_error() && reply.text().contains("Script killed by user"), "{reply}");
        assert_eq!(runner.call("SET key 1").text(), "OK");
        let code =
            "#!lua name=lib\nredis.register_function('endless', function() while true do end end)";
        assert_eq!(killer.call_args(&["FUNCTION", "LOAD", "REPLACE", code]).text(), "lib");
        runner.send(&crate::harness::request(&["FCALL", "endless", "1", "key"]));
        wait_for("a function that is seen", || !killer.call("FUNCTION STATS").items()[1].is_nil());
        wait_for("a function that is killed", || killer.call("FUNCTION KILL").text() == "OK");
        assert!(runner.reply().is_error());
    }
}

#[test]
fn logs_and_reports_of_all_nodes() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let server = Server::standalone();
    for protocol in [2, 3] {
        let (mut alone, mut client) = (server.client_of(protocol), gateway.client_of(protocol));
        logs(&cluster, &mut client);
        latencies(&cluster, &mut client);
        for wrong in [
            "SLOWLOG GET x",
            "SLOWLOG GET -2",
            "SLOWLOG LEN x",
            "LATENCY GRAPH none",
            "LATENCY HISTORY none",
        ] {
            assert_eq!(client.call(wrong), alone.call(wrong), "{wrong}");
        }
        let (expected, found) = (alone.call("MEMORY STATS"), client.call("MEMORY STATS"));
        assert_eq!(expected.kind(), found.kind());
        let names = |reply: &Reply| -> BTreeSet<String> {
            reply
                .items()
                .iter()
                .step_by(2)
                .map(Reply::text)
                .filter(|name| !name.starts_with("db."))
                .collect()
        };
        assert_eq!(names(&expected), names(&found));
        for line in ["MEMORY DOCTOR", "MEMORY MALLOC-STATS", "LATENCY DOCTOR"] {
            let (expected, found) = (alone.call(line), client.call(line));
            assert_eq!(expected.kind(), found.kind(), "{line}");
            for node in 0..2 {
                assert!(
                    found.text().contains(&cluster.node(node).address().to_string()),
                    "{line}: {found}"
                );
            }
        }
        assert_eq!(client.call("MEMORY PURGE").text(), "OK");
        assert!(client.call("LASTSAVE").integer() > 0);
        assert!(client.call("MEMORY USAGE nothing").is_nil());
    }
    let mut client = gateway.client();
    wait_for("a save", || client.call("BGSAVE").text() == "Background saving started");
    wait_for("no save", || {
        client.call("INFO persistence").text().contains("rdb_bgsave_in_progress:0")
    });
    assert_eq!(client.call("SAVE").text(), "OK");
    assert_eq!(client.call("BGREWRITEAOF").text(), "Background append only file rewriting started");
    assert!(
        client
            .call("CONFIG REWRITE")
            .text()
            .contains("The server is running without a config file")
    );
}

fn logs(cluster: &Cluster, client: &mut Client) {
    assert_eq!(client.call("CONFIG SET slowlog-log-slower-than 0").text(), "OK");
    assert_eq!(client.call("SLOWLOG RESET").text(), "OK");
    for number in 0..40 {
        client.call(&format!("SET slow:{number} x"));
    }
    let entries = client.call("SLOWLOG GET -1").items();
    let written =
        entries.iter().filter(|entry| entry.items()[3].items()[0].text() == "SET").count();
    assert_eq!(written, 40);
    let times: Vec<i64> = entries.iter().map(|entry| entry.items()[1].integer()).collect();
    assert!(times.is_sorted_by(|one, other| one >= other), "newest first: {times:?}");
    assert_eq!(client.call("SLOWLOG GET").items().len(), 10);
    assert_eq!(client.call("SLOWLOG GET 3").items().len(), 3);
    let there: i64 =
        (0..2).map(|node| cluster.node(node).client().call("SLOWLOG LEN").integer()).sum();
    assert!((40..=there + 10).contains(&client.call("SLOWLOG LEN").integer()));
    assert_eq!(client.call("CONFIG SET slowlog-log-slower-than -1").text(), "OK");
    assert_eq!(client.call("SLOWLOG RESET").text(), "OK");
    assert_eq!(client.call("SLOWLOG LEN").integer(), 0);
}

fn latencies(cluster: &Cluster, client: &mut Client) {
    assert_eq!(client.call("CONFIG SET latency-monitor-threshold 1").text(), "OK");
    let busy = ["EVAL", "local n = 0; for i = 1, 3000000 do n = n + i end", "0"];
    for node in 0..2 {
        cluster.node(node).client().call_args(&busy);
    }
    let events = client.call("LATENCY LATEST").items();
    let command = events.iter().find(|event| event.items()[0].text() == "command").unwrap().items();
    assert!(command[3].integer() >= 1, "{events:?}");
    let history = client.call("LATENCY HISTORY command").items();
    assert!(history.len() >= 2, "of both nodes: {history:?}");
    assert!(client.call("LATENCY GRAPH command").text().contains("command - high"));
    let histogram = client.call("LATENCY HISTOGRAM eval").items();
    let calls = histogram[1].items()[1].integer();
    assert!(calls >= 2, "{histogram:?}");
    assert_eq!(client.call("CONFIG SET latency-monitor-threshold 0").text(), "OK");
    assert!(client.call("LATENCY RESET command").integer() >= 2);
    assert_eq!(client.call("LATENCY HISTORY command").items().len(), 0);
}
