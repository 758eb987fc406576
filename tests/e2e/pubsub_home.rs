//! The node that carries the subscriptions: whatever becomes of it, the messages go on, and none comes twice.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Act, Client, Cluster, FakeCluster, Gateway, wait_for};
use crate::load::Stop;
use crate::pubsub::{message, metric, subscribe};

/// The node that carries the gateway's subscription to this channel.
pub(crate) fn home_of(cluster: &Cluster, channel: &str) -> usize {
    let carries = |place: &usize| {
        let mut node = cluster.node(*place).client();
        node.call(&format!("PUBSUB NUMSUB {channel}")).items()[1].integer() > 0
    };
    (0..3).find(carries).expect("a node that carries the channel")
}

#[test]
fn a_home_node_that_dies_costs_a_bounded_gap_and_no_client() {
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let mut listeners: Vec<Client> = (0..4)
        .map(|at| gateway.client_of(2 + at % 2).patience(Duration::from_millis(300)))
        .collect();
    for client in &mut listeners {
        subscribe(client, "SUBSCRIBE steady");
        subscribe(client, "PSUBSCRIBE stead?");
    }
    assert_eq!(gateway.client().call("PUBLISH steady first").integer(), 8);
    for client in &mut listeners {
        assert_eq!(message(&client.reply()).1, "first");
        assert_eq!(message(&client.reply()).1, "first");
    }
    let before = metric(&gateway, "slotway_subscription_gaps_total");
    cluster.node_mut(home_of(&cluster, "steady")).kill();
    let mut publisher = gateway.client();
    for client in &mut listeners {
        wait_for("the channel again", || {
            publisher.call("PUBLISH steady again");
            match client.try_reply() {
                Ok(reply) => message(&reply).1 == "again",
                Err(error) => {
                    let quiet = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                    assert!(quiet.contains(&error.kind()), "disconnected: {error}");
                    false
                }
            }
        });
    }
    wait_for("all of them again", || publisher.call("PUBLISH steady counted").text() == "8");
    // A channel and a pattern of each worker; more when a busy node is taken for a dead one.
    let gaps = metric(&gateway, "slotway_subscription_gaps_total") - before;
    assert!(gaps > 3.5, "{gaps}");
}

/// Whichever node is home, it becomes a replica here, and carries on: nothing is missed, and nothing heard twice.
#[test]
fn primaries_that_hand_over_cost_no_message_and_no_event() {
    let cluster = Cluster::quick_failover();
    for place in 0..6 {
        cluster.node(place).client().call("CONFIG SET notify-keyspace-events KEA");
    }
    let often = ("cluster.refresh_interval", "300ms");
    let gateway = Gateway::before(&cluster).workers(2).setting(often.0, often.1).start();
    let mut listener = gateway.client();
    subscribe(&mut listener, "SUBSCRIBE steady");
    let mut watcher = gateway.client();
    subscribe(&mut watcher, "SUBSCRIBE __keyevent@0__:set plain");
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let stopped_in_any_case = Stop(&ended);
        let publisher = scope.spawn(|| {
            let mut publisher = gateway.client();
            let numbers = (0..).take_while(|_| !ended.load(Ordering::Relaxed));
            numbers.map(|number| drop(publisher.call(&format!("PUBLISH steady {number}")))).count()
        });
        for shard in 0..3 {
            let known = metric(&gateway, "slotway_topology_version");
            cluster.fail_over_to(shard + 3);
            cluster.wait_until_whole();
            wait_for("another topology", || metric(&gateway, "slotway_topology_version") > known);
        }
        drop(stopped_in_any_case);
        for number in 0..publisher.join().unwrap() {
            assert_eq!(message(&listener.reply()).1, number.to_string());
        }
    });
    let mut writer = gateway.client();
    let keys: Vec<String> = (0..30).map(|at| format!("event:{at}")).collect();
    for key in &keys {
        assert_eq!(writer.call(&format!("SET {key} 1")).text(), "OK");
    }
    // An event is repeated by a replica a moment later.
    for shard in 3..6 {
        assert_eq!(cluster.node(shard).client().call("WAIT 1 10000").integer(), 1);
    }
    assert_eq!(writer.call("PUBLISH plain end").integer(), 1);
    let heard: Vec<String> = (0..30).map(|_| message(&watcher.reply()).1).collect();
    assert_eq!(heard.iter().collect::<HashSet<_>>(), keys.iter().collect());
    assert_eq!(message(&watcher.reply()).1, "end");
}

#[test]
fn a_frozen_home_node_is_found_out() {
    let cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).setting("backend.probe_interval", "100ms").start();
    let mut listener = gateway.client().patience(Duration::from_millis(200));
    subscribe(&mut listener, "SUBSCRIBE frozen");
    let home = home_of(&cluster, "frozen");
    cluster.node(home).freeze();
    let others: Vec<usize> = (0..3).filter(|place| *place != home).collect();
    wait_for("another home", || {
        let mut node = cluster.node(others[0]).client();
        node.call("PUBLISH frozen x");
        listener.try_reply().is_ok_and(|reply| message(&reply).1 == "x")
    });
    wait_for("a count", || gateway.client().call("PUBLISH frozen y").text() == "1");
    cluster.node(home).thaw();
}

/// A node that confirms this channel, and tells of a message on another one behind that.
fn confirmed(channel: &str, heard: &str, text: &str) -> Act {
    let confirmed = format!(">3\r\n$9\r\nsubscribe\r\n${}\r\n{channel}\r\n:1\r\n", channel.len());
    let (length, size) = (heard.len(), text.len());
    let message = format!(">3\r\n$7\r\nmessage\r\n${length}\r\n{heard}\r\n${size}\r\n{text}\r\n");
    Act::Say((confirmed + &message).into_bytes())
}

/// The bus is slow here: the new home node hears late what the former one was the last to pass on.
#[test]
fn what_the_former_home_node_passed_on_does_not_come_again() {
    let fake = FakeCluster::of(2);
    let gateway =
        Gateway::before_nodes(&fake.addresses()).setting("backend.probe_interval", "100ms").start();
    for node in 0..2 {
        fake.always(node, "SUBSCRIBE news", confirmed("news", "news", "last"));
        fake.always(node, "SUBSCRIBE other", confirmed("other", "news", "next"));
        fake.always(node, "PUBLISH", Act::say(":1\r\n"));
    }
    let mut listener = gateway.client();
    subscribe(&mut listener, "SUBSCRIBE news");
    assert_eq!(message(&listener.reply()).1, "last");
    let home = (0..2).find(|node| fake.seen(*node, "SUBSCRIBE") > 0).unwrap();
    let other = 1 - home;
    for words in ["HELLO", "PING", "CLUSTER", "INFO"] {
        fake.always(home, words, Act::SayAndReset(Vec::new()));
    }
    fake.wait_until_seen(other, "SUBSCRIBE news", 1);
    // That one waits until the new home node has settled.
    assert_eq!(gateway.client().call("PUBLISH news now").text(), "1");
    assert_eq!(fake.seen(other, "PUBLISH"), 1);
    subscribe(&mut gateway.client(), "SUBSCRIBE other");
    assert_eq!(message(&listener.reply()).1, "next");
}
