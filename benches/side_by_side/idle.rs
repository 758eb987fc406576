//! Memory of connections that have been used and are kept: resident bytes of the proxy for each.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cpu::resident_bytes;
use crate::exchange::{Exchange, connect};
use crate::loads::Opening;
use crate::peers::Peer;
use crate::wait::{go_on, rest};

/// How long the connections are idle before the second look; some allocators return memory late.
const IDLE: Duration = Duration::from_secs(1);

/// Opens `connections`, one exchange on each, keeps them all, and returns the growth of the
/// proxy's resident memory in KiB for each.
pub(crate) fn kib_per_connection(
    peer: &Peer,
    exchanges: &[Exchange],
    connections: usize,
    opening: Opening,
) -> Result<f64> {
    let pid = peer.pid().context("no proxy to look at")?;
    let before = resident_bytes(pid)?;
    let mut kept: Vec<(TcpStream, &Exchange)> = Vec::with_capacity(connections);
    for exchange in exchanges.iter().cycle().take(connections) {
        go_on()?;
        let connection = connect(peer.address)?;
        if opening == Opening::InTurn {
            exchange.run(&connection)?;
        }
        kept.push((connection, exchange));
    }
    if opening == Opening::AtOnce {
        for (connection, exchange) in &mut kept {
            connection.write_all(&exchange.request)?;
        }
        kept.iter().try_for_each(|(connection, exchange)| exchange.receive(connection))?;
    }
    rest(IDLE)?;
    let after = resident_bytes(pid)?;
    Ok((after as f64 - before as f64) / 1024.0 / connections as f64)
}
