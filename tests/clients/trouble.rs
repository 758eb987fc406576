//! A client library while the cluster is hurt: a slot moves, a primary dies.

use crate::harness::{Cluster, Gateway, key_slot};
use crate::script::{Script, python};

#[test]
fn redis_py_does_not_notice_a_slot_move_and_a_dead_primary() {
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let mut script = Script::start(python("steady.py", &gateway));
    script.wait_for_text("running");

    let slot = key_slot(b"steady:0:1");
    let source = cluster.owner(slot);
    cluster.migrate_slot(slot, (source + 1) % 3);
    cluster.node_mut(source).kill();
    cluster.wait_for_primary(source + 3);
    let before = script.printed().len();
    assert!(before > 0);
    cluster.node_mut(source).start();
    cluster.wait_until_whole();
    script.finish();
    script.wait_for_end();
}
