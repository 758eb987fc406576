//! What operators do on purpose.

use std::time::Duration;

use super::BETWEEN;
use crate::harness::{Client, Reply, wait_for};
use crate::stage::Stage;

/// Slots that move together: few enough that the others are served meanwhile, enough to be done in time.
const TOGETHER: usize = 64;
/// A primary that has handed over may be stopped after this time.
const HEARD: Duration = Duration::from_millis(500);
/// Slots of a short run.
const FEW: usize = 512;

/// A replica of every shard takes over in order.
pub(crate) fn fail_over(stage: &mut Stage<'_>) {
    for (primary, replica) in stage.shards() {
        hand_over(stage, primary, replica);
        stage.rest(BETWEEN);
    }
}

/// Of one shard, whichever it is.
pub(crate) fn fail_one_over(stage: &mut Stage<'_>) {
    let (primary, replica) = stage.any_shard();
    hand_over(stage, primary, replica);
}

fn hand_over(stage: &mut Stage<'_>, primary: usize, replica: usize) {
    let begin = stage.clock.now();
    stage.cluster.fail_over_to(replica);
    let served = stage.wait_for_takeover(replica);
    stage.struck(format!("node {replica} takes over from {primary}"), begin, served);
    stage.wait_until_whole();
}

/// Every node goes down in order and comes back; a primary hands over first.
pub(crate) fn restart_all(stage: &mut Stage<'_>) {
    for place in 0..6 {
        restart(stage, place);
        stage.rest(BETWEEN);
    }
}

/// One node, whichever it is.
pub(crate) fn restart_one(stage: &mut Stage<'_>) {
    let place = stage.random.usize(0..6);
    restart(stage, place);
}

fn restart(stage: &mut Stage<'_>, place: usize) {
    let replica = stage.shards().into_iter().find(|(primary, _)| *primary == place);
    if let Some((_, replica)) = replica {
        hand_over(stage, place, replica);
        // Until the last of those who ask it have heard of the other one.
        stage.rest(HEARD);
    }
    let begin = stage.clock.now();
    let node = stage.cluster.node_mut(place);
    node.stop();
    node.start();
    stage.wait_until_whole();
    stage.struck(format!("node {place} restarts"), begin, begin);
}

/// All slots of the first shard go to the second one, and come back.
pub(crate) fn migrate(stage: &mut Stage<'_>) {
    let shards = stage.shards();
    let most = if stage.options.short { FEW } else { usize::MAX };
    move_there_and_back(stage, shards[0].0, shards[1].0, most);
}

/// Some of the slots of a shard go to another one, and come back.
pub(crate) fn migrate_some(stage: &mut Stage<'_>) {
    let (source, _) = stage.any_shard();
    let targets: Vec<usize> = stage.shards().iter().map(|shard| shard.0).collect();
    let target = targets.into_iter().find(|target| *target != source).unwrap();
    move_there_and_back(stage, source, target, FEW);
}

fn move_there_and_back(stage: &mut Stage<'_>, source: usize, target: usize, most: usize) {
    let mut slots = slots_of(stage, source);
    slots.truncate(most);
    for (from, to) in [(source, target), (target, source)] {
        let begin = stage.clock.now();
        for slots in slots.chunks(TOGETHER) {
            move_slots(stage, slots, from, to);
        }
        let what = format!("{} slots move from node {from} to {to}", slots.len());
        stage.struck(what, begin, begin);
        // A replica that has not heard of a slot would take over without it.
        stage.wait_until_whole();
    }
}

pub(crate) fn slots_of(stage: &Stage<'_>, place: usize) -> Vec<u16> {
    let nodes = stage.ask(place, "CLUSTER NODES").unwrap().text();
    let own = nodes.lines().find(|line| line.contains("myself")).unwrap();
    let ranges = own.split(' ').skip(8).filter(|word| !word.starts_with('['));
    let slots = ranges.flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u16>().unwrap()..=last.parse().unwrap()
    });
    slots.collect()
}

/// As tools for clusters do it, step by step.
pub(crate) fn move_slots(stage: &Stage<'_>, slots: &[u16], source: usize, target: usize) {
    let (from, to) = (stage.cluster.id(source), stage.cluster.id(target));
    let mut source_client = stage.cluster.node(source).client();
    let mut target_client = stage.cluster.node(target).client();
    order(&mut target_client, slots, |slot| format!("CLUSTER SETSLOT {slot} IMPORTING {from}"));
    order(&mut source_client, slots, |slot| format!("CLUSTER SETSLOT {slot} MIGRATING {to}"));
    let place = stage.cluster.node(target).address();
    for slot in slots {
        move_keys(&mut source_client, *slot, place);
    }
    order(&mut target_client, slots, |slot| format!("CLUSTER SETSLOT {slot} NODE {to}"));
    // The source is told last: see `Cluster::finish_migration`.
    wait_for("a source that has heard of it", || {
        let view = source_client.call("CLUSTER NODES").text();
        let own = view.lines().find(|line| line.contains("myself")).unwrap();
        let ranges = own.split(' ').skip(8).filter(|word| !word.starts_with('['));
        let has = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let owned = first.parse::<u16>().unwrap()..=last.parse().unwrap();
            slots.iter().any(|slot| owned.contains(slot))
        };
        !ranges.into_iter().any(has)
    });
    order(&mut source_client, slots, |slot| format!("CLUSTER SETSLOT {slot} NODE {to}"));
}

fn move_keys(source: &mut Client, slot: u16, target: std::net::SocketAddr) {
    let (ip, port) = (target.ip().to_string(), target.port().to_string());
    loop {
        let keys = source.call(&format!("CLUSTER GETKEYSINSLOT {slot} 100")).items();
        if keys.is_empty() {
            return;
        }
        let mut migrate: Vec<&[u8]> =
            vec![b"MIGRATE", ip.as_bytes(), port.as_bytes(), b"", b"0", b"10000", b"KEYS"];
        migrate.extend(keys.iter().map(Reply::payload));
        let reply = source.call_args(&migrate);
        assert!(matches!(reply.text().as_str(), "OK" | "NOKEY"), "{reply}");
    }
}

fn order(client: &mut Client, slots: &[u16], line: impl Fn(u16) -> String) {
    let lines: Vec<String> = slots.iter().map(|slot| line(*slot)).collect();
    for (reply, line) in client.pipeline(&lines).iter().zip(&lines) {
        assert_eq!(reply.text(), "OK", "{line}");
    }
}
