//! SCAN over all primaries: every key that is there throughout comes at least once, whatever the cluster does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{Client, Cluster, Gateway, Server, key_slot, tag_in_slot, wait_for};
use crate::load::Stop;

/// How often each key came, and how many calls that took. `between` runs before every call but the first.
fn scan(
    client: &mut Client,
    options: &str,
    mut between: impl FnMut(u64),
) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut cursor = "0".to_owned();
    for call in 0.. {
        assert!(call < 100_000, "a scan without an end");
        if call > 0 {
            between(call);
        }
        let reply = client.call(format!("SCAN {cursor} {options}").trim_end());
        let items = reply.items();
        assert_eq!(items.len(), 2, "{reply}");
        for key in items[1].items() {
            *found.entry(key.text()).or_default() += 1;
        }
        cursor = items[0].text();
        let number: u64 = cursor.parse().unwrap();
        assert!(number <= i64::MAX as u64, "{cursor}");
        if number == 0 {
            return found;
        }
    }
    unreachable!()
}

fn fill(client: &mut Client, keys: impl Iterator<Item = String>) -> Vec<String> {
    let keys: Vec<String> = keys.collect();
    let lines: Vec<String> = keys.iter().map(|key| format!("SET {key} x")).collect();
    assert!(client.pipeline(&lines).iter().all(|reply| reply.text() == "OK"));
    keys
}

fn assert_all_found(keys: &[String], found: &BTreeMap<String, usize>) {
    let missing: Vec<&String> = keys.iter().filter(|key| !found.contains_key(*key)).collect();
    assert!(
        missing.is_empty(),
        "{} of {} keys missing: {:?}",
        missing.len(),
        keys.len(),
        &missing[..missing.len().min(5)]
    );
}

const OPTIONS: &[&str] = &[
    "",
    "COUNT 1000",
    "COUNT 1",
    "MATCH key:1*",
    "MATCH {tag}*",
    "MATCH {tag}:1* COUNT 100",
    "MATCH {tag}:7",
    "TYPE list",
    "match list:* type list count 50",
    "TYPE foo",
    "MATCH nothing",
    "MATCH key:7 MATCH key:8",
];

pub(crate) const WRONG: &[&str] = &[
    "SCAN x",
    "SCAN 1x",
    "SCAN 99999999999999999999",
    "SCAN 0 FOO",
    "SCAN 0 COUNT 0",
    "SCAN 0 COUNT x",
    "SCAN 0 MATCH",
    "SCAN",
    "SCAN 0 TYPE",
];

#[test]
fn a_scan_finds_what_one_server_finds() {
    let cluster = Cluster::start(crate::harness::Shape {
        primaries: 3,
        replicas: 0,
        node_timeout_ms: 15_000,
    });
    let (server, gateway) = (Server::standalone(), Gateway::before(&cluster).start());
    for protocol in [2, 3] {
        let (mut one, mut other) = (server.client_of(protocol), gateway.client_of(protocol));
        for client in [&mut one, &mut other] {
            fill(client, (0..2_000).map(|number| format!("key:{number}")));
            fill(client, (0..50).map(|number| format!("{{tag}}:{number}")));
            for number in 0..30 {
                client.call(&format!("RPUSH list:{number} x"));
            }
        }
        for options in OPTIONS {
            let first = format!("SCAN 0 {options}");
            let reply = one.call(first.trim_end());
            if reply.is_error() {
                // Valkey knows all types that there are.
                assert_eq!(other.call(first.trim_end()), reply, "{options}");
                continue;
            }
            let expected: Vec<String> = scan(&mut one, options, |_| {}).into_keys().collect();
            let found = scan(&mut other, options, |_| {});
            assert!(
                found.values().all(|times| *times == 1),
                "{options}: nothing moves, nothing comes twice"
            );
            assert_eq!(found.into_keys().collect::<Vec<_>>(), expected, "{options}");
        }
        for line in WRONG {
            assert_eq!(one.call(line), other.call(line), "{line}");
        }
        for odd in ["SCAN 12345", "SCAN 9223372036854775807", "SCAN 07"] {
            let reply = other.call(odd);
            assert!(
                reply.items().len() == 2 || reply.text() == "ERR invalid cursor",
                "{odd}: {reply}"
            );
        }
    }
}

#[test]
fn a_pattern_with_a_tag_needs_one_primary() {
    let mut cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).setting("backend.hold_time", "100ms").start();
    let mut client = gateway.client();
    let tag = tag_in_slot(1);
    let keys = fill(&mut client, (0..40).map(|number| format!("{{{tag}}}{number}")));
    cluster.node_mut(1).kill();
    assert_all_found(&keys, &scan(&mut client, &format!("MATCH {{{tag}}}* COUNT 7"), |_| {}));
    let reply = client.call("SCAN 0 COUNT 1000");
    let rest = client.call(&format!("SCAN {} COUNT 1000", reply.items()[0].text()));
    assert!(rest.text().starts_with("CLUSTERDOWN "), "{rest}");
}

/// Keys that have gone over to a node that was scanned before, while their slot has not.
#[test]
fn keys_on_their_way_are_found() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let mut client = gateway.client();
    let slot = 16_000;
    let tag = tag_in_slot(slot);
    let moving = fill(&mut client, (0..60).map(|number| format!("{{{tag}}}a:{number}")));
    let others = fill(&mut client, (0..60).map(|number| format!("{{{tag}}}b:{number}")));
    client.call(&format!("RPUSH {{{tag}}}list x"));
    let all = [moving.clone(), others.clone()].concat();
    for options in ["COUNT 10", &format!("MATCH {{{tag}}}* COUNT 10")] {
        let mut begun = false;
        let found = scan(&mut client, options, |_| {
            if !std::mem::replace(&mut begun, true) {
                cluster.begin_migration(slot, 0);
                assert_eq!(cluster.migrate_keys(slot, 0, 70), 70);
            }
        });
        assert_all_found(&all, &found);
        assert!(found.contains_key(&format!("{{{tag}}}list")));
        // Half moved, from the first call to the last.
        let found = scan(&mut client, &format!("{options} MATCH {{{tag}}}a:*"), |_| {});
        assert_eq!(found.keys().cloned().collect::<Vec<_>>(), {
            let mut keys = moving.clone();
            keys.sort();
            keys
        });
        let lists = scan(&mut client, "COUNT 10 TYPE list", |_| {});
        assert_eq!(lists.into_keys().collect::<Vec<_>>(), [format!("{{{tag}}}list")]);
        cluster.finish_migration(slot, 0);
        assert_all_found(&all, &scan(&mut client, options, |_| {}));
        cluster.migrate_slot(slot, 1);
    }
}

/// Moves the slot to the other node, a few keys at a time.
fn move_slowly(cluster: &Cluster, slot: u16) {
    let target = 1 - cluster.owner(slot);
    cluster.begin_migration(slot, target);
    while cluster.migrate_keys(slot, target, 7) > 0 {}
    cluster.finish_migration(slot, target);
}

#[test]
fn every_key_that_stays_is_found_while_slots_move_and_clients_write() {
    let cluster = Cluster::small();
    let gateway =
        Gateway::before(&cluster).workers(2).setting("cluster.refresh_interval", "1s").start();
    let mut client = gateway.client();
    let slots = [5_u16, 6, 12_000, 12_001];
    let tagged = slots
        .iter()
        .flat_map(|slot| (0..60).map(|number| format!("{{{}}}{number}", tag_in_slot(*slot))));
    let keys = fill(&mut client, tagged.chain((0..2_000).map(|number| format!("stays:{number}"))));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stopped_in_any_case = Stop(&stop);
        scope.spawn(|| {
            let mut client = gateway.client();
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let lines: Vec<String> = (0..50)
                    .flat_map(|number| {
                        [
                            format!("SET passing:{round}:{number} x"),
                            format!("DEL passing:{round}:{}", number / 2),
                        ]
                    })
                    .collect();
                assert!(client.pipeline(&lines).iter().all(|reply| !reply.is_error()));
            }
        });
        let mover = scope.spawn(|| {
            slots
                .iter()
                .cycle()
                .take(2 * slots.len())
                .for_each(|slot| move_slowly(&cluster, *slot));
        });
        let mut scans = 0;
        while !mover.is_finished() || scans < 3 {
            assert_all_found(&keys, &scan(&mut client, "COUNT 100", |_| {}));
            scans += 1;
        }
        mover.join().unwrap();
    });
}

#[test]
fn a_scan_survives_a_failover_and_a_new_gateway() {
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).start();
    let keys = fill(&mut gateway.client(), (0..1_500).map(|number| format!("key:{number}")));
    for shard in 0..3 {
        assert_eq!(cluster.node(shard).client().call("WAIT 1 10000").integer(), 1);
    }
    let owner = |key: &String| usize::from(key_slot(key.as_bytes())) * 3 / 16_384;
    let on_first = keys.iter().filter(|key| owner(key) == 0).count() as u64;
    let mut client = gateway.client();
    // In the middle of the second primary's keys that node dies.
    let found = scan(&mut client, "COUNT 10", |call| {
        if call == on_first / 10 + 20 {
            cluster.node_mut(1).kill();
        }
    });
    assert_all_found(&keys, &found);
    cluster.wait_for_primary(4);
    // The next calls go to a gateway that never saw the earlier ones.
    let other = Gateway::before_nodes(&cluster.addresses()).start();
    let mut clients = [gateway.client(), other.client()];
    let (mut found, mut cursor) = (BTreeMap::new(), "0".to_owned());
    for call in 0.. {
        let items = clients[call % 2].call(&format!("SCAN {cursor} COUNT 50")).items();
        found.extend(items[1].items().iter().map(|key| (key.text(), 1_usize)));
        cursor = items[0].text();
        if cursor == "0" {
            break;
        }
        assert!(call < 1_000, "the gateways send each other back");
    }
    assert_all_found(&keys, &found);
    wait_for("a whole cluster again", || !clients[0].call("SET key:1 x").is_error());
}
