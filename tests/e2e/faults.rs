//! Nodes that die, freeze, or talk nonsense: no wrong reply, no silent repetition, no reply for somebody else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crate::harness::{Cluster, Gateway, Reply, key_slot, wait_for};
use crate::load::{Stop, Tally, wait_until_served};

/// Keys with values that name them, on every shard.
fn known_keys(gateway: &Gateway, cluster: &Cluster) -> Vec<String> {
    let keys: Vec<String> = (0..60).map(|number| format!("known:{number}")).collect();
    let lines: Vec<String> = keys.iter().map(|key| format!("SET {key} {key}")).collect();
    assert!(gateway.client().pipeline(&lines).iter().all(|reply| reply.text() == "OK"));
    for shard in 0..3 {
        // What a replica has not seen yet may be lost with its primary, whoever wrote it.
        assert_eq!(cluster.node(shard).client().call("WAIT 1 10000").integer(), 1);
    }
    keys
}

#[test]
fn a_killed_primary_costs_uncertain_writes_and_delays() {
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let keys = known_keys(&gateway, &cluster);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stopped_in_any_case = Stop(&stop);
        let readers: Vec<_> = [2, 3]
            .into_iter()
            .map(|protocol| {
                scope.spawn({
                    let (keys, gateway, stop) = (&keys, &gateway, &stop);
                    move || read_until(stop, gateway, protocol, keys)
                })
            })
            .collect();
        let writers: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn({
                    let (gateway, stop) = (&gateway, &stop);
                    move || count_until(stop, gateway, number)
                })
            })
            .collect();
        wait_for("writers at work", || {
            gateway.client().call("GET counter:3:5").text().parse().unwrap_or(0) > 50
        });
        cluster.node_mut(0).kill();
        cluster.wait_for_primary(3);
        wait_until_served(&gateway, &keys);
        cluster.node_mut(0).start();
        cluster.wait_until_whole();
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
        let tallies: Vec<Tally> =
            writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        for (number, tally) in tallies.iter().enumerate() {
            assert_counted(&gateway, number, tally);
        }
        assert!(
            tallies.iter().any(|tally| tally.uncertain > 0),
            "no write was in flight when the node died: {tallies:?}"
        );
    });
}

fn assert_counted(gateway: &Gateway, number: usize, tally: &Tally) {
    assert!(
        tally.failed.is_empty(),
        "writer {number}: {:?}",
        &tally.failed[..tally.failed.len().min(5)]
    );
    assert!(tally.done > 100, "writer {number}: {tally:?}");
    let lines: Vec<String> =
        (0..12).map(|counter| format!("GET counter:{number}:{counter}")).collect();
    let counted: i64 = gateway
        .client()
        .pipeline(&lines)
        .iter()
        .map(|reply| reply.text().parse().unwrap_or(0))
        .sum();
    // Less is possible: the servers replicate after they answer. More would be a write that ran twice.
    assert!(
        counted <= tally.done + tally.uncertain,
        "writer {number}: {counted} counted, {tally:?}"
    );
}

fn read_until(stop: &AtomicBool, gateway: &Gateway, protocol: u8, keys: &[String]) -> usize {
    let mut client = gateway.client_of(protocol);
    let lines: Vec<String> = keys.iter().map(|key| format!("GET {key}")).collect();
    let all = format!("MGET {}", keys.join(" "));
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        for (key, reply) in keys.iter().zip(client.pipeline(&lines)) {
            assert_eq!(reply.text(), *key, "a read fails or crosses");
        }
        let found: Vec<String> = client.call(&all).items().iter().map(Reply::text).collect();
        assert_eq!(found, keys);
        rounds += 1;
    }
    rounds
}

fn count_until(stop: &AtomicBool, gateway: &Gateway, number: usize) -> Tally {
    let mut client = gateway.client_of(2 + (number % 2) as u8);
    let lines: Vec<String> =
        (0..240).map(|at| format!("INCR counter:{number}:{}", at % 12)).collect();
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        client.pipeline(&lines).iter().for_each(|reply| tally.count(reply));
    }
    tally
}

#[test]
fn a_frozen_primary_is_found_out() {
    let cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).setting("backend.probe_interval", "200ms").start();
    let keys = known_keys(&gateway, &cluster);
    let (lost, kept): (Vec<String>, Vec<String>) =
        keys.iter().cloned().partition(|key| cluster.owner(key_slot(key.as_bytes())) == 0);
    assert!(!lost.is_empty() && !kept.is_empty());
    cluster.node(0).freeze();
    let read = |keys: &[String]| {
        let mut client = gateway.client();
        for key in keys {
            assert_eq!(client.call(&format!("GET {key}")).text(), *key);
        }
        Instant::now()
    };
    thread::scope(|scope| {
        let lost = scope.spawn(|| read(&lost));
        assert!(read(&kept) < lost.join().unwrap(), "other shards waited for the lost one");
    });
    cluster.node(0).thaw();
    wait_for("the old primary as replica", || {
        cluster.node(0).client().call("ROLE").items()[0].text() == "slave"
    });
    assert_eq!(gateway.client().call(&format!("SET {} x", lost[0])).text(), "OK");
}

#[test]
fn a_split_write_with_a_node_down_is_an_error() {
    let mut cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).setting("backend.hold_time", "300ms").start();
    let of_node = |wanted: usize| {
        (0..)
            .map(|number| format!("k{number}"))
            .find(|key| cluster.owner(key_slot(key.as_bytes())) == wanted)
            .unwrap()
    };
    let (here, there) = (of_node(0), of_node(1));
    let mut client = gateway.client();
    assert_eq!(client.call(&format!("MSET {here} 1 {there} 1")).text(), "OK");
    cluster.node_mut(1).kill();
    for line in [
        format!("MSET {here} 2 {there} 2"),
        format!("MGET {here} {there}"),
        format!("DEL none {there}"),
        format!("EXISTS {here} {there}"),
        format!("UNLINK {there} none"),
        format!("TOUCH {here} {there}"),
        format!("GET {there}"),
    ] {
        let reply = client.call(&line);
        assert!(reply.is_error(), "{line}: {reply}");
        assert!(
            !reply.text().starts_with("MOVED") && !reply.text().starts_with("ASK"),
            "{line}: {reply}"
        );
        assert_eq!(client.call(&format!("GET {here}")).kind(), b'$', "the other node serves");
    }
    cluster.node_mut(1).start();
    wait_for("the node that came back", || {
        gateway.client().call(&format!("MSET {here} 3 {there} 3")).text() == "OK"
    });
    let found: Vec<String> =
        client.call(&format!("MGET {here} {there}")).items().iter().map(Reply::text).collect();
    assert_eq!(found, ["3", "3"]);
}

#[test]
fn a_gateway_may_start_before_its_cluster() {
    let mut cluster = Cluster::small();
    for node in [0, 1] {
        cluster.node_mut(node).kill();
    }
    let mut gateway = Gateway::before(&cluster).start_unready();
    wait_for("an admin port", || gateway.try_page("/readyz").is_ok());
    assert_eq!(gateway.page("/readyz").0, 503);
    for node in [0, 1] {
        cluster.node_mut(node).start();
    }
    gateway.wait_ready();
    assert_eq!(gateway.page("/readyz").0, 200);
    assert_eq!(gateway.client().call("SET late 1").text(), "OK");
}

#[test]
fn the_node_it_was_told_of_may_die() {
    let mut cluster = Cluster::quick_failover();
    let seed = [cluster.node(0).address()];
    let gateway = Gateway::before_nodes(&seed).setting("cluster.refresh_interval", "300ms").start();
    let keys = known_keys(&gateway, &cluster);
    cluster.node_mut(0).kill();
    let mut client = gateway.client();
    for key in &keys {
        assert_eq!(client.call(&format!("GET {key}")).text(), *key);
    }
    cluster.wait_for_primary(3);
    cluster.wait_until_whole();
    let slot = key_slot(keys[0].as_bytes());
    let target = [1, 2].into_iter().find(|node| *node != cluster.owner(slot)).unwrap();
    cluster.migrate_slot(slot, target);
    assert_eq!(client.call(&format!("GET {}", keys[0])).text(), keys[0]);
    assert_eq!(gateway.page("/readyz").0, 200);
}

#[test]
fn ten_connections_closed_by_the_nodes_at_once_are_nothing() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).workers(4).start();
    let mut clients: Vec<_> = (0..20).map(|number| gateway.client_of(2 + number % 2)).collect();
    for round in 0..20 {
        for (number, client) in clients.iter_mut().enumerate() {
            for shard in 0..4 {
                let key = format!("idle:{number}:{shard}");
                assert_eq!(client.call(&format!("SET {key} {round}")).text(), "OK");
            }
        }
        for node in 0..2 {
            cluster.node(node).client().call("CLIENT KILL TYPE normal");
        }
    }
    // The same while requests are in flight: reads go on without an error.
    let lines: Vec<String> =
        (0..2_000).map(|number| format!("GET idle:{}:{}", number % 20, number % 4)).collect();
    for _ in 0..10 {
        thread::scope(|scope| {
            let reader = scope.spawn(|| gateway.client().pipeline(&lines));
            for node in 0..2 {
                cluster.node(node).client().call("CLIENT KILL TYPE normal");
            }
            for reply in reader.join().unwrap() {
                assert_eq!(reply.text(), "19");
            }
        });
    }
}
