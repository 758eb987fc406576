//! Listening sockets that somebody else has bound: systemd, or the gateway that this one takes over from.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::bail;
use listenfd::ListenFd;

use crate::backend::Home;

use super::succession::Predecessor;

/// The sockets that were passed to this process and that nobody has asked for yet.
#[derive(Default)]
pub(super) struct Inherited {
    tcp: Vec<(SocketAddr, TcpListener)>,
    unix: Vec<(PathBuf, UnixListener)>,
    /// Whoever runs before this one, if it is a gateway.
    pub(super) predecessor: Option<Predecessor>,
}

impl Inherited {
    /// What the environment tells of (`LISTEN_FDS`). To be called before there are threads, for it changes the
    /// environment.
    ///
    /// # Errors
    /// Something was passed that is no listening socket.
    pub(super) fn take() -> io::Result<Self> {
        let mut inherited =
            Self { predecessor: Predecessor::of_this_process()?, ..Self::default() };
        let mut passed = ListenFd::from_env();
        for index in 0..passed.len() {
            if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
                socket.set_nonblocking(true)?;
                inherited.tcp.push((socket.local_addr()?, socket));
            } else if let Some(socket) = passed.take_unix_listener(index)? {
                socket.set_nonblocking(true)?;
                let path = socket.local_addr()?.as_pathname().map(Path::to_owned);
                inherited.unix.push((path.unwrap_or_default(), socket));
            }
        }
        Ok(inherited)
    }

    /// The socket that listens there, if it was passed.
    pub(super) fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let fits = |bound: &SocketAddr| {
            *bound == address || (address.port() == 0 && bound.ip() == address.ip())
        };
        let place = self.tcp.iter().position(|(bound, _)| fits(bound))?;
        Some(self.tcp.swap_remove(place).1)
    }

    /// The same for the path of a Unix socket.
    pub(super) fn unix(&mut self, path: &str) -> Option<UnixListener> {
        let place = self.unix.iter().position(|(bound, _)| bound == Path::new(path))?;
        Some(self.unix.swap_remove(place).1)
    }

    /// Whether the files of Unix sockets that were passed are the gateway's, to be removed at its end.
    pub(super) fn files_are_own(&self) -> bool {
        self.predecessor.as_ref().is_some_and(|before| before.files_are_own)
    }

    /// All settings have been looked at. What is left over from a gateway before was listened on under other
    /// settings, and is closed. Returns the process before this one, and its home node.
    ///
    /// # Errors
    /// systemd listens where no setting does: its clients would wait for ever.
    pub(super) fn finish(self) -> anyhow::Result<(Option<Predecessor>, Home)> {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        let left: Vec<String> =
            tcp.chain(self.unix.iter().map(|(path, _)| path.display().to_string())).collect();
        if !left.is_empty() && self.predecessor.is_none() {
            bail!(
                "a socket was passed that listens on {}, which is none of `listen.address`, \
                 `listen.tls_address`, `listen.unix_socket` and `admin.address`",
                left.join(" and ")
            );
        }
        let home = self.predecessor.as_ref().and_then(|before| before.home.clone());
        Ok((self.predecessor, Home::at(home)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(socket: TcpListener) -> Inherited {
        Inherited { tcp: vec![(socket.local_addr().unwrap(), socket)], ..Inherited::default() }
    }

    #[test]
    fn a_socket_goes_to_the_setting_that_names_its_address() {
        let bound = || TcpListener::bind("127.0.0.1:0").unwrap();
        let mut inherited = holding(bound());
        let address = inherited.tcp[0].0;
        assert!(inherited.tcp("127.0.0.1:1".parse().unwrap()).is_none());
        assert!(
            inherited.tcp(SocketAddr::new("0.0.0.0".parse().unwrap(), address.port())).is_none()
        );
        assert!(inherited.tcp(address).is_some() && inherited.tcp(address).is_none());
        assert!(inherited.finish().is_ok());
        assert!(holding(bound()).tcp("127.0.0.1:0".parse().unwrap()).is_some(), "any port");
        let wrong = holding(bound()).finish().err().unwrap().to_string();
        assert!(wrong.contains("which is none of"), "{wrong}");
    }
}
