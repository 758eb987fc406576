//! A cluster of a thousand nodes, as large as clusters get: the gateway starts before it, serves every node's slots, and
//! finds out what changes. What its looks at such a cluster cost is printed.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::{Client, FakeCluster, Gateway, tag_in_slot, wait_for};

const NODES: u16 = 1_000;
/// Sockets that listen, and connections to them, in one process.
const DESCRIPTORS: u64 = 6_000;
/// Looks over which their cost is averaged.
const LOOKS: usize = 20;

/// Whether this process may open so many descriptors.
fn may_open(descriptors: u64) -> bool {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= descriptors) {
        return true;
    }
    let wanted = Rlimit { current: Some(descriptors), maximum };
    setrlimit(Resource::Nofile, wanted).is_ok()
}

/// Processor time of a process so far.
fn spent(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap()
}

/// Times that nodes were asked for their view.
fn asked(fake: &FakeCluster) -> usize {
    (0..usize::from(NODES)).map(|node| fake.seen(node, "CLUSTER NODES")).sum()
}

/// A key in the slots that the node has at first.
fn key(node: u16) -> String {
    format!("{{{}}}k", tag_in_slot(node * (16_384 / NODES)))
}

/// A key for each node, and each is asked for.
fn ask_all(client: &mut Client) {
    let keys: Vec<String> = (0..NODES).map(key).collect();
    let lines: Vec<String> = keys.iter().map(|key| format!("GET {key}")).collect();
    for (reply, key) in client.pipeline(&lines).iter().zip(&keys) {
        assert_eq!(reply.text(), *key);
    }
    assert_eq!(client.call(&format!("MGET {}", keys.join(" "))).items().len(), keys.len());
}

#[test]
fn a_thousand_nodes() {
    if !may_open(DESCRIPTORS) {
        println!("this machine gives a process fewer than {DESCRIPTORS} descriptors: not tried");
        return;
    }
    let fake = FakeCluster::of(NODES);
    let started = Instant::now();
    let gateway = Gateway::before_nodes(&fake.addresses()[..3])
        .workers(2)
        .setting("cluster.refresh_interval", "100ms")
        .start();
    let ready = started.elapsed();
    let mut client = gateway.client();
    ask_all(&mut client);
    for node in 0..usize::from(NODES) {
        assert!(fake.seen(node, "GET") >= 1, "node {node} was asked for its key");
    }

    let (before, views, since) = (spent(gateway.id()), asked(&fake), Instant::now());
    wait_for("looks at the cluster", || asked(&fake) >= views + 6 * LOOKS);
    let (views, took) = (asked(&fake) - views, since.elapsed());
    let each = (spent(gateway.id()) - before) / u32::try_from(views).unwrap();
    println!(
        "{NODES} nodes: ready after {ready:?}; {views} views read in {took:?}, {each:?} of processor time each; {} MiB",
        gateway.resident_bytes() >> 20
    );

    // All slots have other owners.
    fake.pass_slots_on();
    let last = format!("{{{}}}k", tag_in_slot(16_383));
    let heir = usize::from(NODES) - 2;
    wait_for("the new owner", || {
        assert_eq!(client.call(&format!("GET {last}")).text(), last);
        fake.seen(heir, &format!("GET {last}")) > 0
    });
    (0..usize::from(NODES)).for_each(|node| fake.forget_requests(node));
    ask_all(&mut client);
    // A busy machine may break a connection, and reads are asked for again; but never of the former owner.
    for node in 0..NODES {
        let (heir, asked) = ((node + NODES - 1) % NODES, format!("GET {}", key(node)));
        assert!(fake.seen(usize::from(heir), &asked) >= 1, "node {heir}: {asked}");
        assert_eq!(fake.seen(usize::from(node), &asked), 0, "node {node}: {asked}");
    }
}
