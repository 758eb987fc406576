//! Opens a connection: every address of a node's name in turn, until one takes it; then TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::tls::Connector;

use super::super::stream::Stream;
use super::{Cause, Step};

/// After this time without a byte the kernel asks whether the other end still lives.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// What the other end's machine has not acknowledged after this time, it never will: it is powered off, or cut off.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// A connection on which nothing has been said yet; or how far it went, and what stopped it.
pub(super) async fn open(
    address: &str,
    tls: Option<&Connector>,
    deadline: Instant,
) -> Result<Stream, (Step, Cause)> {
    #[cfg(test)]
    if let Some(dialled) = super::super::simulated::dial(address) {
        return dialled.map(Stream::Simulated).map_err(|error| (Step::Connect, error.into()));
    }
    let lookup = timeout_at(deadline, lookup_host(address)).await;
    let places: Vec<SocketAddr> = match lookup {
        Ok(found) => found.map_err(|error| (Step::Resolve, error.into()))?.collect(),
        Err(_) => return Err((Step::Resolve, Cause::Timeout)),
    };
    let socket = connect(&places, deadline).await.map_err(|cause| (Step::Connect, cause))?;
    match tls {
        None => Ok(Stream::Plain(socket)),
        Some(tls) => {
            encrypted(tls, address, socket, deadline).await.map_err(|cause| (Step::Tls, cause))
        }
    }
}

async fn encrypted(
    tls: &Connector,
    address: &str,
    socket: TcpStream,
    deadline: Instant,
) -> Result<Stream, Cause> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let shaken = timeout_at(deadline, tls.connect(host, socket)).await;
    Ok(Stream::Tls(Box::new(shaken.map_err(|_| Cause::Timeout)??)))
}

/// Tries each address, leaving time for those that follow.
pub(super) async fn connect(places: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Cause> {
    let mut why = Cause::Io(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    let mut left = u32::try_from(places.len()).unwrap_or(u32::MAX);
    for place in places {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        match timeout(share, TcpStream::connect(place)).await {
            Ok(Ok(stream)) => return Ok(prepared(stream)?),
            Ok(Err(error)) => why = error.into(),
            Err(_) => why = Cause::Timeout,
        }
    }
    Err(why)
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    let socket = socket2::SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        // What is lost in a short gap of the network is sent again soon after it, and not twice as late each time.
        socket.set_tcp_thin_linear_timeouts(true)?;
    }
    Ok(stream)
}
