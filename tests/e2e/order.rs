//! The order promise: what one session sends for one key happens in that order, whatever the cluster does meanwhile.

use std::time::{Duration, Instant};

use crate::harness::{Cluster, Gateway, key_slot, tag_in_slot};
use crate::load::{owners, while_running};

const CHAOS: Duration = Duration::from_secs(6);

/// Slots that move, far apart so that they start on different nodes.
const SLOTS: [u16; 4] = [100, 6_000, 9_000, 16_000];

/// Few keys, several of one slot, all in slots that move. Each session's own.
fn keys(owner: usize) -> Vec<String> {
    SLOTS
        .iter()
        .flat_map(|slot| {
            (0..2).map(move |number| format!("{{{}}}{owner}:{number}", tag_in_slot(*slot)))
        })
        .collect()
}

#[test]
fn order_survives_slots_that_move_back_and_forth() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).workers(2).start();
    while_running(owners(&gateway, 6, keys), 150, |running| {
        let start = Instant::now();
        for round in 0.. {
            if running.is_broken() || (start.elapsed() > CHAOS && round >= 2) {
                break;
            }
            for slot in SLOTS {
                cluster.migrate_slot(slot, 1 - cluster.owner(slot));
            }
        }
    });
}

#[test]
fn order_survives_primaries_that_hand_over() {
    let cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    while_running(owners(&gateway, 4, keys), 150, |running| {
        let mut primaries = [0, 1, 2];
        // Each node once: one that is elected again within seconds counts its old votes and takes over in vain.
        for (round, elected) in [3, 4, 5, 0, 1, 2].into_iter().enumerate() {
            if running.is_broken() {
                break;
            }
            primaries[round % 3] = elected;
            // A replica that has not heard of a moved slot would take over without it.
            cluster.wait_until_whole();
            cluster.fail_over_to(elected);
            cluster.wait_until_whole();
            let slot = SLOTS[round % SLOTS.len()];
            let owner = cluster.owner(slot);
            let target = primaries.iter().copied().find(|primary| *primary != owner).unwrap();
            cluster.migrate_slot(slot, target);
        }
    });
}

#[test]
fn the_tags_of_this_test_are_in_its_slots() {
    for (place, key) in keys(0).iter().enumerate() {
        assert_eq!(key_slot(key.as_bytes()), SLOTS[place / 2]);
    }
}
