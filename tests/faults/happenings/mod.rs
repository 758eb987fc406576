//! What happens to clusters and gateways: each of these once, and until all is well again.

pub(crate) mod gateway;
pub(crate) mod lost;
pub(crate) mod parted;
pub(crate) mod planned;

use std::time::Duration;

use crate::clock::micros;
use crate::stage::Stage;

/// Between two happenings: long enough that each one's consequences are over.
pub(crate) const BETWEEN: Duration = Duration::from_secs(2);
/// Of so many happenings, the gateway hands over in the middle of one.
const HAND_OVERS: usize = 8;
/// What is called the middle.
const MIDDLE: Duration = Duration::from_secs(8);

/// Any of those that leave the cluster whole; those that need a network only where there is one.
pub(crate) fn anything(stage: &mut Stage<'_>) {
    const HERE: [fn(&mut Stage<'_>); 6] = [
        planned::fail_one_over,
        planned::restart_one,
        planned::migrate_some,
        lost::kill,
        lost::freeze,
        gateway::hand_over,
    ];
    const ON_A_NETWORK: [fn(&mut Stage<'_>); 4] =
        [lost::power_off, parted::gateway, parted::cluster, parted::stutter];
    let mut all = HERE.to_vec();
    if stage.network.is_some() {
        all.extend(ON_A_NETWORK);
    }
    let happen = all[stage.random.usize(0..all.len())];
    if stage.random.usize(0..HAND_OVERS) == 0 {
        let later = stage.random.u64(0..micros(MIDDLE));
        stage.hand_over_at = Some(stage.clock.now() + later);
    }
    happen(stage);
}
