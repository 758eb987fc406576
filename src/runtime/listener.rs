//! Accepting clients, and giving each to the worker that has the fewest.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwapOption;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::Live;
use crate::metrics::Rejection;
use crate::session::{Accepted, AcceptedSocket, Gateway};
use crate::tls::Acceptor;

use super::inherited::Inherited;
use super::proxied;
use super::seats::{Seats, Taken};
use super::unix_socket::{self, UnixPath};
use super::worker::Workers;

/// Pause after accepting failed for want of file descriptors or memory: the process must not die of it.
const SHORTAGE: Duration = Duration::from_millis(100);

/// Connections of balancers that may be about to say for whom they speak.
const INTRODUCTIONS: usize = 1024;

/// The sockets that clients connect to.
pub(super) struct Listener {
    doors: Vec<Door>,
    address: SocketAddr,
    live: Arc<Live>,
    /// How connections through encrypted doors begin; those made later use what is there by then.
    acceptor: Arc<ArcSwapOption<Acceptor>>,
}

enum Door {
    Tcp { socket: TcpListener, encrypted: bool },
    Unix(UnixListener, UnixPath),
}

impl Listener {
    pub(super) fn bind(
        live: Arc<Live>,
        acceptor: Arc<ArcSwapOption<Acceptor>>,
        inherited: &mut Inherited,
    ) -> anyhow::Result<Self> {
        let listen = &live.now().listen.clone();
        let has_certificate = acceptor.load().is_some();
        let socket = tcp(listen.address, listen.backlog, inherited)
            .with_context(|| format!("cannot listen on {} (listen.address)", listen.address))?;
        let address = socket.local_addr()?;
        let encrypted = has_certificate && listen.tls_address.is_none();
        let mut doors = vec![Door::Tcp { socket, encrypted }];
        if let Some(address) = listen.tls_address {
            let socket = tcp(address, listen.backlog, inherited)
                .with_context(|| format!("cannot listen on {address} (listen.tls_address)"))?;
            doors.push(Door::Tcp { socket, encrypted: true });
        }
        if !listen.unix_socket.is_empty() {
            let (socket, path) = unix_socket::bind(listen, inherited).with_context(|| {
                format!("cannot listen on {} (listen.unix_socket)", listen.unix_socket)
            })?;
            doors.push(Door::Unix(socket, path));
        }
        Ok(Self { doors, address, live, acceptor })
    }

    /// Where `listen.address` is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Copies of all sockets, to be passed on, and whether the files of Unix sockets among them are the gateway's.
    pub(super) fn sockets(&self) -> io::Result<(Vec<OwnedFd>, bool)> {
        let sockets = self.doors.iter().map(|door| match door {
            Door::Tcp { socket, .. } => socket.as_fd().try_clone_to_owned(),
            Door::Unix(socket, _) => socket.as_fd().try_clone_to_owned(),
        });
        let own = self.files().any(|path| path.is_own.get());
        Ok((sockets.collect::<io::Result<_>>()?, own))
    }

    /// The files of Unix sockets belong to another process from now on.
    pub(super) fn leave_files(&self) {
        self.files().for_each(|path| path.is_own.set(false));
    }

    fn files(&self) -> impl Iterator<Item = &UnixPath> {
        self.doors.iter().filter_map(|door| match door {
            Door::Tcp { .. } => None,
            Door::Unix(_, path) => Some(path),
        })
    }

    /// Whether it begins by saying for whom it speaks.
    fn is_proxy(&self, knock: &Knock) -> bool {
        let listen = &self.live.now().listen;
        match knock {
            Knock::Tcp(_, address) => proxied::is_proxy(&listen.proxy_networks, address.ip()),
            Knock::Unix(..) => listen.unix_proxy,
        }
    }

    /// Accepts for as long as it is awaited.
    pub(super) async fn accept(&self, workers: &Workers, gateway: &Gateway) {
        let seats = Seats::default();
        let doors = self.doors.iter();
        join_all(doors.map(|door| self.accept_by(door, (workers, &seats), gateway))).await;
    }

    async fn accept_by(
        &self,
        door: &Door,
        (workers, seats): (&Workers, &Seats),
        gateway: &Gateway,
    ) {
        let mut pauses = false;
        let mut introduced = FuturesUnordered::new();
        loop {
            let knock = tokio::select! {
                knock = door.accept(), if introduced.len() < INTRODUCTIONS => knock,
                Some(knock) = introduced.next() => {
                    match knock {
                        Some(knock) => self.admit(knock, door, (workers, seats), gateway),
                        None => gateway.metrics.door().session_rejected(Rejection::Protocol),
                    }
                    continue;
                }
            };
            let still = std::mem::replace(&mut pauses, knock.as_ref().is_err_and(is_shortage));
            match knock {
                Ok(knock) if self.is_proxy(&knock) => introduced.push(introduce(knock)),
                Ok(knock) => self.admit(knock, door, (workers, seats), gateway),
                Err(error) if pauses => {
                    // One line for each time that there are none, not one each time that there are none yet.
                    if !still {
                        gateway.metrics.door().accepting_paused();
                        tracing::warn!(%error, "accepting pauses");
                    }
                    tokio::time::sleep(SHORTAGE).await;
                }
                // The client went away while it waited to be accepted.
                Err(_) => {}
            }
        }
    }

    /// Gives a client to a worker, if there is a place for it.
    fn admit(
        &self,
        knock: Knock,
        door: &Door,
        (workers, seats): (&Workers, &Seats),
        gateway: &Gateway,
    ) {
        let (most, most_each) = {
            let limits = &gateway.settings().limits;
            (limits.max_clients, limits.max_clients_per_address)
        };
        let is_full = workers.clients() >= most;
        match if is_full { Err(Taken::Everywhere) } else { knock.seat(seats, most_each) } {
            Err(taken) => {
                knock.turn_away(door, taken.line());
                gateway.metrics.door().session_rejected(taken.reason());
            }
            // A client that is gone already needs no worker.
            Ok(seat) => drop(self.prepare(knock, door).map(|accepted| {
                workers.hand_over(Accepted { seat, ..accepted });
            })),
        }
    }

    fn prepare(&self, knock: Knock, door: &Door) -> io::Result<Accepted> {
        let acceptor = self.acceptor.load();
        let tls = match (door.is_encrypted(), acceptor.as_ref()) {
            (false, _) => None,
            (true, Some(acceptor)) => Some(Box::new(acceptor.accept()?)),
            (true, None) => return Err(io::ErrorKind::NotConnected.into()),
        };
        let socket = match knock {
            Knock::Tcp(socket, client) => {
                // Neither is worth refusing a client for.
                let _ = socket.set_nodelay(true);
                let keepalive = self.live.now().listen.tcp_keepalive;
                if !keepalive.is_zero() {
                    let keepalive = TcpKeepalive::new().with_time(keepalive);
                    let _ = SockRef::from(&socket).set_tcp_keepalive(&keepalive);
                }
                AcceptedSocket::Tcp(socket.into_std()?, client)
            }
            Knock::Unix(socket, path, client) => {
                AcceptedSocket::Unix(socket.into_std()?, path, client)
            }
        };
        Ok(Accepted { socket, tls, seat: None })
    }
}

/// Hears from a balancer for whom it speaks; `None`: it did not say so.
async fn introduce(mut knock: Knock) -> Option<Knock> {
    let (client, proxy): (_, &dyn Display) = match &mut knock {
        Knock::Tcp(socket, proxy) => (proxied::read(socket).await, proxy),
        Knock::Unix(socket, path, _) => (proxied::read(socket).await, path),
    };
    match client {
        Ok(client) => Some(knock.speaking_for(client)),
        Err(error) => {
            tracing::warn!(%proxy, %error, "connection of a proxy closed");
            None
        }
    }
}

/// A client at a door.
enum Knock {
    /// With the client's address.
    Tcp(TcpStream, SocketAddr),
    /// With the path of the socket, and the address of a client that a balancer speaks for.
    Unix(UnixStream, Arc<str>, Option<SocketAddr>),
}

impl Knock {
    /// A balancer that speaks for nobody is the client itself.
    fn speaking_for(self, client: Option<SocketAddr>) -> Self {
        match self {
            Self::Tcp(socket, proxy) => Self::Tcp(socket, client.unwrap_or(proxy)),
            Self::Unix(socket, path, _) => Self::Unix(socket, path, client),
        }
    }

    /// The line is worth one try; a client that does not take it is gone anyway. One that speaks TLS would not
    /// understand it.
    fn turn_away(&self, door: &Door, line: &[u8]) {
        match self {
            Self::Tcp(socket, _) if !door.is_encrypted() => drop(socket.try_write(line)),
            Self::Tcp(..) => {}
            Self::Unix(socket, ..) => drop(socket.try_write(line)),
        }
    }

    /// Its place among the clients of its address, which may have so many.
    fn seat(&self, seats: &Seats, most: usize) -> Result<Option<Arc<()>>, Taken> {
        match self {
            Self::Tcp(_, client) | Self::Unix(_, _, Some(client)) => {
                seats.take(client.ip(), most).map(Some)
            }
            Self::Unix(_, _, None) => Ok(None),
        }
    }
}

impl Door {
    fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tcp { encrypted: true, .. })
    }

    async fn accept(&self) -> io::Result<Knock> {
        match self {
            Self::Tcp { socket, .. } => {
                let (socket, client) = socket.accept().await?;
                Ok(Knock::Tcp(socket, client))
            }
            Self::Unix(socket, path) => {
                Ok(Knock::Unix(socket.accept().await?.0, path.path.clone(), None))
            }
        }
    }
}

pub(super) fn tcp(
    address: SocketAddr,
    backlog: u32,
    inherited: &mut Inherited,
) -> io::Result<TcpListener> {
    if let Some(socket) = inherited.tcp(address) {
        return TcpListener::from_std(socket);
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog.try_into().unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

fn is_shortage(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOBUFS))
}
