//! Scripts and functions in use: what a client has loaded stays there for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{
    Client, Cluster, Gateway, Reply, Server, Shape, request, tag_in_slot, wait_for,
};
use crate::load::Stop;

const SCRIPT: &str = "return redis.call('INCRBY', KEYS[1], ARGV[1])";

fn two() -> Cluster {
    Cluster::start(Shape { primaries: 2, replicas: 0, node_timeout_ms: 15_000 })
}

fn load(client: &mut Client, script: &str) -> String {
    let sha = client.call_args(&["SCRIPT", "LOAD", script]);
    assert_eq!(sha.text().len(), 40, "{sha}");
    sha.text()
}

/// A key on the first primary and one on the second.
fn keys() -> [String; 2] {
    [1, 16_000].map(|slot| format!("{{{}}}", tag_in_slot(slot)))
}

#[test]
fn a_node_that_forgot_a_script_is_told_it_again() {
    let cluster = two();
    let gateway = Gateway::before(&cluster).workers(2).start();
    for protocol in [2, 3] {
        let mut client = gateway.client_of(protocol);
        let sha = load(&mut client, SCRIPT);
        let forget = || {
            for node in 0..2 {
                assert_eq!(cluster.node(node).client().call("SCRIPT FLUSH").text(), "OK");
            }
        };
        let lines: Vec<String> = (0..40)
            .map(|number| format!("EVALSHA {sha} 1 {}{} 1", keys()[number % 2], number / 20))
            .collect();
        client.call("FLUSHALL");
        for round in 1..4 {
            forget();
            let replies = client.pipeline(&lines);
            for (number, reply) in replies.iter().enumerate() {
                assert!(!reply.is_error(), "{number}: {reply}");
            }
            let sum: i64 = replies.iter().map(Reply::integer).sum();
            // Four counters, each counted ten times further, in order.
            let expected: i64 = (1..=10).map(|step| 4 * ((round - 1) * 10 + step)).sum();
            assert_eq!(sum, expected, "round {round}");
        }
        // Of eight clients some are on the other worker, whose clients have never sent the script.
        let mut others: Vec<Client> = (0..8).map(|_| gateway.client_of(protocol)).collect();
        for client in &mut others {
            forget();
            let reply = client.call(&format!("EVALSHA {sha} 1 other:{protocol} 1"));
            assert!(!reply.is_error(), "{reply}");
            assert_eq!(client.call(&format!("SCRIPT EXISTS {sha}")).items()[0].integer(), 1);
        }
        assert_eq!(client.call(&format!("GET other:{protocol}")).text(), "8");
        forget();
        assert_eq!(
            client.call(&format!("SCRIPT EXISTS {sha}")).items()[0].integer(),
            1,
            "as good as there"
        );
    }
}

#[test]
fn a_script_that_was_run_by_its_text_is_known() {
    let cluster = two();
    let gateway = Gateway::before(&cluster).start();
    let mut client = gateway.client();
    let [here, there] = keys();
    let text = "return {KEYS[1], 'by text'}";
    assert_eq!(client.call_args(&["EVAL", text, "1", &here]).items()[1].text(), "by text");
    let sha = Server::standalone().client().call_args(&["SCRIPT", "LOAD", text]).text();
    let other = client.call_args(&["EVALSHA", &sha.to_uppercase(), "1", &there]);
    assert_eq!(other.items()[0].text(), there, "on a node that never saw it: {other}");
    let unknown = format!("EVALSHA {} 1 a 1", "f".repeat(40));
    assert_eq!(client.call(&unknown), Server::standalone().client().call(&unknown));
    // A script that is no script is not brought for ever.
    client.call_args(&["EVAL", "return (", "0"]);
    let sha = "728acb63e2aaef0ee859ece5db586bff5d800d1e";
    assert!(client.call(&format!("EVALSHA {sha} 0")).text().starts_with("NOSCRIPT "));
    assert_eq!(client.call("SCRIPT FLUSH").text(), "OK");
    let gone = client.call_args(&["EVALSHA", sha, "1", &here]);
    assert!(gone.text().starts_with("NOSCRIPT "), "{gone}");
}

#[test]
fn what_follows_a_script_does_not_overtake_it() {
    let cluster = two();
    let gateway = Gateway::before(&cluster).start();
    let mut client = gateway.client();
    let sha = load(&mut client, SCRIPT);
    for round in 1..20 {
        // New connections to nodes that have forgotten everything, as after a restart.
        for node in 0..2 {
            let mut direct = cluster.node(node).client();
            direct.call("SCRIPT FLUSH");
            direct.call("CLIENT KILL TYPE normal");
        }
        wait_for("new connections", || {
            keys().iter().all(|key| !client.call(&format!("GET {key}")).is_error())
        });
        for key in keys() {
            let replies = client.pipeline(&[
                format!("EVALSHA {sha} 1 {key} 1"),
                format!("GET {key}"),
                format!("EVALSHA {sha} 1 {key} 0"),
            ]);
            let seen: Vec<String> = replies.iter().map(Reply::text).collect();
            assert_eq!(seen, vec![round.to_string(); 3]);
        }
    }
    let metrics = gateway.page("/metrics").1;
    let brought =
        metrics.lines().find_map(|line| line.strip_prefix("slotway_scripts_brought_total "));
    assert!(brought.unwrap().parse::<u64>().unwrap() >= 38, "twice in each round: {brought:?}");
}

/// An element of EXEC's array cannot be sent again.
#[test]
fn a_script_in_a_transaction_is_there() {
    let cluster = two();
    let gateway = Gateway::before(&cluster).start();
    for protocol in [2, 3] {
        let mut client = gateway.client_of(protocol);
        client.call("FLUSHALL");
        let sha = load(&mut client, SCRIPT);
        for round in 1..10 {
            for node in 0..2 {
                let mut direct = cluster.node(node).client();
                direct.call("SCRIPT FLUSH");
                direct.call("CLIENT KILL TYPE normal");
            }
            wait_for("new connections", || {
                keys().iter().all(|key| !client.call(&format!("GET {key}")).is_error())
            });
            let [here, there] = keys();
            let one_slot = [
                "MULTI".to_owned(),
                format!("EVALSHA {sha} 1 {here} 1"),
                format!("EVALSHA {sha} 1 {here} 0"),
                "EXEC".to_owned(),
            ];
            let several = [
                "MULTI".to_owned(),
                format!("EVALSHA {sha} 1 {there} 1"),
                format!("EVALSHA {sha} 1 {here} 0"),
                "EXEC".to_owned(),
            ];
            for lines in [one_slot, several] {
                let reply = client.pipeline(&lines)[3].items();
                let numbers: Vec<String> = reply.iter().map(Reply::text).collect();
                assert_eq!(numbers, vec![round.to_string(); 2], "round {round}");
            }
        }
    }
}

#[test]
fn scripts_without_keys_run_on_one_steady_primary() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let ask = ["EVAL", "return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')", "0"];
    let first = gateway.client().call_args(&ask).text();
    assert_eq!(first.len(), 40, "{first}");
    for protocol in [2, 3, 2, 3] {
        let mut client = gateway.client_of(protocol);
        for _ in 0..10 {
            assert_eq!(client.call_args(&ask).text(), first);
        }
    }
}

#[test]
fn no_script_is_missing_through_a_failover() {
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stopped_in_any_case = Stop(&stop);
        let runners: Vec<_> = (0..6)
            .map(|number| {
                let (gateway, stop) = (&gateway, &stop);
                scope.spawn(move || run_until(stop, gateway, number))
            })
            .collect();
        wait_for("scripts that run", || {
            gateway.client().call("GET script:5:3").text().parse().unwrap_or(0) > 50
        });
        cluster.node_mut(0).kill();
        cluster.wait_for_primary(3);
        wait_for("a shard that is served again", || {
            !gateway.client().call(&format!("SET {{{}}} x", tag_in_slot(1))).is_error()
        });
        // Every shard's scripts run on for a while.
        let before: i64 = gateway.client().call("GET script:5:3").text().parse().unwrap();
        wait_for("scripts that run on", || {
            gateway.client().call("GET script:5:3").text().parse::<i64>().unwrap_or(0) > before + 50
        });
        stop.store(true, Ordering::Relaxed);
        for runner in runners {
            let (done, failed) = runner.join().unwrap();
            assert!(done > 100, "{done}");
            assert!(failed.is_empty(), "{:?}", &failed[..failed.len().min(5)]);
        }
    });
}

/// Runs scripts of its own on every shard; half of the runners have sent theirs by text only. Returns how many
/// ran, and every error that is not the loss of the node.
fn run_until(stop: &AtomicBool, gateway: &Gateway, number: usize) -> (u64, Vec<String>) {
    let mut client = gateway.client_of(2 + (number % 2) as u8);
    let text = format!("return redis.call('INCRBY', KEYS[1], ARGV[1]) -- {number}");
    let sha = if number < 3 {
        load(&mut client, &text)
    } else {
        client.call_args(&["EVAL", &text, "1", &format!("script:{number}:0"), "1"]);
        Server::standalone().client().call_args(&["SCRIPT", "LOAD", &text]).text()
    };
    let batch: Vec<u8> = (0..24)
        .flat_map(|key| {
            request(&["EVALSHA", &sha, "1", &format!("script:{number}:{}", key % 12), "1"])
        })
        .collect();
    let (mut done, mut failed) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        for reply in client.exchange(&batch, 24) {
            match reply.is_error() {
                false => done += 1,
                true if reply.text().starts_with("UNCERTAIN ") => {}
                true => failed.push(reply.text()),
            }
        }
    }
    (done, failed)
}

#[test]
fn a_primary_that_joins_gets_scripts_and_functions() {
    let cluster = two();
    let gateway =
        Gateway::before(&cluster).workers(2).setting("cluster.refresh_interval", "200ms").start();
    let mut client = gateway.client();
    let sha = load(&mut client, SCRIPT);
    let code = "#!lua name=lib\nredis.register_function('plus', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)";
    assert_eq!(client.call_args(&["FUNCTION", "LOAD", code]).text(), "lib");
    let cluster = cluster.with_one_more(Server::node(15_000));
    let mut joined = cluster.node(2).client();
    wait_for("scripts on the new node", || {
        joined.call(&format!("SCRIPT EXISTS {sha}")).items()[0].integer() == 1
    });
    wait_for("functions on the new node", || joined.call("FUNCTION LIST").items().len() == 1);
    let key = format!("{{{}}}n", tag_in_slot(1));
    client.call(&format!("SET {key} 1"));
    cluster.migrate_slot(1, 2);
    assert_eq!(client.call(&format!("FCALL plus 1 {key} 1")).integer(), 2);
    assert_eq!(client.call(&format!("EVALSHA {sha} 1 {key} 1")).integer(), 3);
}
