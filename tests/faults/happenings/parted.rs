//! Networks that fall apart.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::lost::GONE;
use crate::stage::Stage;

/// Shorter than requests wait for a node, so that none has to fail.
const CUT: Duration = Duration::from_secs(8);
/// Moments of loss.
const STUTTERS: usize = 20;

/// The gateway does not reach one primary, which is well.
pub(crate) fn gateway(stage: &mut Stage<'_>) {
    let (primary, _) = stage.any_shard();
    let (begin, node) = (stage.clock.now(), stage.ip(primary));
    let gateways: Vec<_> = stage.gateway_addresses().iter().map(SocketAddr::ip).collect();
    stage.network.as_mut().unwrap().part(&gateways, &[node]);
    let done = stage.clock.now();
    stage.rest(CUT);
    stage.network.as_mut().unwrap().heal();
    let served = stage.clock.now();
    stage.rest(CUT);
    stage.struck_by(format!("the gateway does not reach node {primary}"), begin, done, served);
}

/// The cluster falls in two: a primary and another one's replica on one side, the others on the other. The gateway
/// reaches both.
pub(crate) fn cluster(stage: &mut Stage<'_>) {
    let (primary, replica) = stage.any_shard();
    let another = stage.shards().into_iter().find(|shard| shard.0 != primary).unwrap();
    let few = [primary, another.1];
    let begin = stage.clock.now();
    let (these, those): (Vec<usize>, Vec<usize>) = (0..6).partition(|place| few.contains(place));
    let ips = |places: Vec<usize>| places.into_iter().map(|place| stage.ip(place)).collect();
    let (these, those): (Vec<IpAddr>, Vec<IpAddr>) = (ips(these), ips(those));
    stage.network.as_mut().unwrap().part(&these, &those);
    let done = stage.clock.now();
    let served = stage.wait_for_takeover(replica);
    let so_far = Duration::from_micros(stage.clock.now() - begin);
    stage.rest(GONE.saturating_sub(so_far));
    // It may have acknowledged writes until it knew that it is alone.
    stage.keep_record(primary, begin, stage.clock.now());
    stage.stood_still(begin);
    stage.network.as_mut().unwrap().heal();
    stage.wait_until_whole();
    stage.struck_by(format!("nodes {few:?} do not see the others"), begin, done, served);
}

/// The network between the gateway and one primary loses everything for a moment, again and again.
pub(crate) fn stutter(stage: &mut Stage<'_>) {
    let (primary, _) = stage.any_shard();
    let (begin, node) = (stage.clock.now(), stage.ip(primary));
    let gateways: Vec<IpAddr> = stage.gateway_addresses().iter().map(SocketAddr::ip).collect();
    for _ in 0..STUTTERS {
        stage.network.as_mut().unwrap().part(&gateways, &[node]);
        let lost = Duration::from_millis(stage.random.u64(20..300));
        stage.rest(lost);
        stage.network.as_mut().unwrap().heal();
        stage.rest(lost * 2);
    }
    let served = stage.clock.now();
    stage.struck(format!("packets to node {primary} are lost, at times"), begin, served);
}
