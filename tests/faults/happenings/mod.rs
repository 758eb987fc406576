//! What happens to clusters and gateways, for as long as the run goes on and at least once.

pub(crate) mod lost;
pub(crate) mod parted;
pub(crate) mod planned;

use std::time::Duration;

/// Between two happenings: long enough that each one's consequences are over.
const BETWEEN: Duration = Duration::from_secs(2);
