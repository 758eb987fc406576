//! What happens to clusters and gateways: each of these once, and until all is well again.

pub(crate) mod gateway;
pub(crate) mod lost;
pub(crate) mod parted;
pub(crate) mod planned;

use std::time::Duration;

use crate::stage::Stage;

/// Between two happenings: long enough that each one's consequences are over.
pub(crate) const BETWEEN: Duration = Duration::from_secs(2);

/// Any of those that leave the cluster whole; those that need a network only where there is one.
pub(crate) fn anything(stage: &mut Stage<'_>) {
    let all: [fn(&mut Stage<'_>); 9] = [
        planned::fail_one_over,
        planned::restart_one,
        planned::migrate_some,
        lost::kill,
        lost::freeze,
        lost::power_off,
        parted::gateway,
        parted::cluster,
        parted::stutter,
    ];
    all[stage.random.usize(0..all.len())](stage);
}
