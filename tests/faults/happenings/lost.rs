//! Nodes that are lost without a word.

use std::time::Duration;

use super::BETWEEN;
use super::planned::slots_of;
use crate::stage::Stage;

/// How long all nodes are away.
const DARKNESS: Duration = Duration::from_secs(30);
/// How long a frozen or powered-off node stays so.
pub(super) const GONE: Duration = Duration::from_secs(20);

/// A primary is killed; when its replica serves, it comes back as that one's replica.
pub(crate) fn kill(stage: &mut Stage<'_>) {
    let (primary, replica) = stage.any_shard();
    let begin = stage.clock.now();
    stage.cluster.node_mut(primary).kill();
    let done = stage.clock.now();
    stage.keep_record(primary, begin, begin);
    let served = stage.wait_for_takeover(replica);
    stage.rest(BETWEEN);
    stage.cluster.node_mut(primary).start();
    stage.wait_until_whole();
    stage.struck_by(format!("node {primary} is killed"), begin, done, served);
}

/// A primary stops without closing anything.
pub(crate) fn freeze(stage: &mut Stage<'_>) {
    let (primary, replica) = stage.any_shard();
    let begin = stage.clock.now();
    stage.cluster.node(primary).freeze();
    stage.keep_record(primary, begin, begin);
    let served = stage.wait_for_takeover(replica);
    let so_far = Duration::from_micros(stage.clock.now() - begin);
    stage.rest(GONE.saturating_sub(so_far));
    stage.stood_still(begin);
    stage.cluster.node(primary).thaw();
    stage.wait_until_whole();
    stage.struck(format!("node {primary} is frozen"), begin, served);
}

/// Nothing comes from a primary any more, and nothing reaches it.
pub(crate) fn power_off(stage: &mut Stage<'_>) {
    let (primary, replica) = stage.any_shard();
    let (begin, ip) = (stage.clock.now(), stage.ip(primary));
    stage.network.as_mut().unwrap().power_off(ip);
    let done = stage.clock.now();
    let served = stage.wait_for_takeover(replica);
    let so_far = Duration::from_micros(stage.clock.now() - begin);
    stage.rest(GONE.saturating_sub(so_far));
    stage.keep_record(primary, begin, begin);
    stage.stood_still(begin);
    stage.network.as_mut().unwrap().heal();
    stage.wait_until_whole();
    stage.struck_by(format!("node {primary} is without power"), begin, done, served);
}

/// A primary and its replica are killed, and come back with what they had.
pub(crate) fn kill_shard(stage: &mut Stage<'_>) {
    let (primary, replica) = stage.any_shard();
    stage.dead = slots_of(stage, primary);
    let begin = stage.clock.now();
    stage.cluster.node_mut(replica).kill();
    stage.cluster.node_mut(primary).kill();
    let done = stage.clock.now();
    stage.rest(GONE);
    stage.cluster.node_mut(primary).start();
    stage.cluster.node_mut(replica).start();
    stage.wait_until_whole();
    let served = stage.clock.now();
    let what = format!("nodes {primary} and {replica}, one shard, are killed");
    stage.struck_by(what, begin, done, served);
}

/// All nodes are killed, and come back half a minute later with what they had.
pub(crate) fn kill_all(stage: &mut Stage<'_>) {
    let begin = stage.clock.now();
    (0..6).for_each(|place| stage.cluster.node_mut(place).kill());
    stage.rest(DARKNESS);
    (0..6).for_each(|place| stage.cluster.node_mut(place).start());
    stage.wait_until_whole();
    let served = stage.clock.now();
    stage.struck("all nodes are killed", begin, served);
}
