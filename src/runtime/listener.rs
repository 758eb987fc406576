//! Accepting clients, and giving each to the worker that has the fewest.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::config::{Listen, Settings};

use super::worker::Workers;

/// Pause after accepting failed for want of file descriptors or memory: the process must not die of it.
const SHORTAGE: Duration = Duration::from_millis(100);
/// What a client is told that comes when the house is full.
const FULL: &[u8] = b"-ERR max number of clients reached\r\n";

/// The socket that clients connect to.
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    keepalive: Option<TcpKeepalive>,
}

impl Listener {
    pub(super) fn bind(listen: &Listen) -> anyhow::Result<Self> {
        let bound = || -> std::io::Result<TcpListener> {
            let socket = Socket::new(
                Domain::for_address(listen.address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&listen.address.into())?;
            socket.listen(listen.backlog.try_into().unwrap_or(i32::MAX))?;
            TcpListener::from_std(socket.into())
        };
        let socket = bound()
            .with_context(|| format!("cannot listen on {} (listen.address)", listen.address))?;
        let address = socket.local_addr()?;
        let keepalive = (!listen.tcp_keepalive.is_zero())
            .then(|| TcpKeepalive::new().with_time(listen.tcp_keepalive));
        Ok(Self { socket, address, keepalive })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts for as long as it is awaited.
    pub(super) async fn accept(&mut self, workers: &Workers, settings: &Settings) {
        loop {
            match self.socket.accept().await {
                Ok((socket, _)) if workers.clients() >= settings.limits.max_clients => {
                    // The line is worth one try; a client that does not take it is gone anyway.
                    let _ = socket.try_write(FULL);
                }
                Ok((socket, _)) => {
                    self.prepare(&socket);
                    if let Ok(socket) = socket.into_std() {
                        workers.hand_over(socket);
                    }
                }
                Err(error) if is_shortage(&error) => {
                    tracing::warn!(%error, "accepting pauses");
                    tokio::time::sleep(SHORTAGE).await;
                }
                // The client went away while it waited to be accepted.
                Err(_) => {}
            }
        }
    }

    fn prepare(&self, socket: &TcpStream) {
        // Neither is worth refusing a client for.
        let _ = socket.set_nodelay(true);
        if let Some(keepalive) = &self.keepalive {
            let _ = SockRef::from(socket).set_tcp_keepalive(keepalive);
        }
    }
}

fn is_shortage(error: &std::io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOBUFS))
}
