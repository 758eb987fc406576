//! Networks that fall apart.

use std::time::Duration;

use super::BETWEEN;
use crate::stage::Stage;

/// Shorter than requests wait for a node, so that none has to fail.
const CUT: Duration = Duration::from_secs(8);

/// The gateway does not reach one primary, which is well.
pub(crate) fn gateway(stage: &mut Stage<'_>) {
    loop {
        let (primary, _) = stage.any_shard();
        let (begin, node) = (stage.clock.now(), stage.ip(primary));
        let gateways: Vec<_> =
            stage.gateway_addresses().iter().map(std::net::SocketAddr::ip).collect();
        stage.network.as_mut().unwrap().part(&gateways, &[node]);
        stage.rest(CUT);
        stage.network.as_mut().unwrap().heal();
        let served = stage.clock.now();
        stage.rest(CUT);
        stage.struck(format!("the gateway does not reach node {primary}"), begin, served);
        if !stage.goes_on() {
            return;
        }
        stage.rest(BETWEEN);
    }
}
