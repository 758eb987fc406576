//! Client libraries and an application while the cluster is hurt: a slot moves, a primary dies.

use std::process::Command;

use crate::harness::{Cluster, Gateway, key_slot};
use crate::script::{Script, node, python};

/// Starts the script, moves the slot of a key that it uses, kills the node that had it, and lets the script say whether
/// all is well.
fn bears_a_slot_move_and_a_dead_primary(script: impl Fn(&Gateway) -> Command, key: &str) {
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let mut script = Script::start(script(&gateway));
    script.wait_for_text("running");

    let slot = key_slot(key.as_bytes());
    let source = cluster.owner(slot);
    cluster.migrate_slot(slot, (source + 1) % 3);
    cluster.node_mut(source).kill();
    cluster.wait_for_primary(source + 3);
    cluster.node_mut(source).start();
    cluster.wait_until_whole();
    script.finish();
    script.wait_for_end();
}

#[test]
fn redis_py_does_not_notice() {
    bears_a_slot_move_and_a_dead_primary(|gateway| python("steady.py", gateway), "steady:0:1");
}

#[test]
fn ioredis_and_node_redis_do_not_notice() {
    bears_a_slot_move_and_a_dead_primary(|gateway| node("steady.mjs", gateway), "steady:queue");
}

#[test]
fn bullmq_does_every_job() {
    bears_a_slot_move_and_a_dead_primary(|gateway| node("bullmq_steady.mjs", gateway), "{bull}");
}
