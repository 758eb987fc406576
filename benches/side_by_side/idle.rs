//! Memory of connections that have been used and are kept: resident bytes of the proxy for each.

use anyhow::{Context as _, Result};

use crate::cpu::resident_bytes;
use crate::exchange::{Exchange, connect};
use crate::peers::Peer;
use crate::wait::go_on;

/// Opens `connections` one after the other, each with one exchange, keeps them all, and returns
/// the growth of the proxy's resident memory in KiB for each.
pub(crate) fn kib_per_connection(
    peer: &Peer,
    exchanges: &[Exchange],
    connections: usize,
) -> Result<f64> {
    let pid = peer.pid().context("no proxy to look at")?;
    let before = resident_bytes(pid)?;
    let mut kept = Vec::with_capacity(connections);
    for exchange in exchanges.iter().cycle().take(connections) {
        go_on()?;
        let connection = connect(peer.address)?;
        exchange.run(&connection)?;
        kept.push(connection);
    }
    let after = resident_bytes(pid)?;
    Ok((after as f64 - before as f64) / 1024.0 / connections as f64)
}
