//! A client's connection: TCP or a Unix socket, plain or encrypted. Its session reads, and whoever has replies for
//! it writes.

#[cfg(test)]
mod simulated;

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use crate::tls::{ServerConnection, common_name};

/// Encrypted bytes read at a time: a record of the largest size, without its head.
const CIPHERTEXT: usize = 16 << 10;
/// The library takes no more encrypted bytes as long as more than this waits to be read.
const PLAINTEXT: usize = 16 << 10;

/// A client that was accepted, on its way to its worker.
pub struct Accepted {
    /// Its socket.
    pub socket: AcceptedSocket,
    /// The state of its encryption, which begins; `None`: it speaks plain.
    pub tls: Option<Box<ServerConnection>>,
    /// Its place among the clients of its address, taken until this is dropped; `None`: they are not counted.
    pub seat: Option<Arc<()>>,
}

/// A socket that belongs to no runtime yet.
pub enum AcceptedSocket {
    /// From the network, with the client's address: that of the connection, unless a balancer speaks for it.
    Tcp(std::net::TcpStream, SocketAddr),
    /// From this machine, with the path of the socket, and the address of the client that a balancer speaks for.
    Unix(std::os::unix::net::UnixStream, Arc<str>, Option<SocketAddr>),
    /// From a simulation.
    #[cfg(test)]
    Simulated(tokio::io::DuplexStream),
}

/// One end of a client's connection, as CLIENT LIST shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Ip(SocketAddr),
    Unix(Arc<str>),
}

impl Address {
    /// An IPv4 client that came in by an IPv6 listener is shown, and found, by its own address.
    fn ip(address: SocketAddr) -> Self {
        Self::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// Its host; nowhere in particular for a Unix socket.
    pub(super) fn host(&self) -> IpAddr {
        match self {
            Self::Ip(address) => address.ip(),
            Self::Unix(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }

    /// The TCP port; 0 for a Unix socket, as a server shows it.
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Unix(_) => 0,
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{path}:0"),
        }
    }
}

/// Both ends of a client's connection.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub(super) client: Address,
    pub(super) local: Address,
}

/// Makes a session's halves of an accepted connection.
pub(super) fn open(accepted: Accepted) -> io::Result<(Reader, Writer, Ends)> {
    let (read, write, ends) = match accepted.socket {
        AcceptedSocket::Tcp(socket, client) => {
            let ends =
                Ends { client: Address::ip(client), local: Address::ip(socket.local_addr()?) };
            let (read, write) = TcpStream::from_std(socket)?.into_split();
            (ReadHalf::Tcp(read), WriteHalf::Tcp(write), ends)
        }
        AcceptedSocket::Unix(socket, path, client) => {
            let local = Address::Unix(path);
            let ends = Ends { client: client.map_or_else(|| local.clone(), Address::ip), local };
            let (read, write) = UnixStream::from_std(socket)?.into_split();
            (ReadHalf::Unix(read), WriteHalf::Unix(write), ends)
        }
        #[cfg(test)]
        AcceptedSocket::Simulated(stream) => {
            let nowhere = Address::ip(SocketAddr::from(([127, 0, 0, 1], 1)));
            let ends = Ends { client: nowhere.clone(), local: nowhere };
            let (read, write) = simulated::split(stream);
            (ReadHalf::Simulated(read), WriteHalf::Simulated(write), ends)
        }
    };
    Ok(match accepted.tls {
        None => (Reader::Plain(read), Writer::Plain(write), ends),
        Some(connection) => {
            let tls = Rc::new(RefCell::new(Tls { connection, wire: write, kept: Vec::new() }));
            (Reader::Tls(read, tls.clone()), Writer::Tls(tls), ends)
        }
    })
}

/// What a client sends.
pub(super) enum Reader {
    Plain(ReadHalf),
    Tls(ReadHalf, Rc<RefCell<Tls>>),
}

/// What a client is sent.
pub(super) enum Writer {
    Plain(WriteHalf),
    Tls(Rc<RefCell<Tls>>),
}

pub(super) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
    #[cfg(test)]
    Simulated(simulated::ReadHalf),
}

pub(super) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
    #[cfg(test)]
    Simulated(simulated::WriteHalf),
}

/// An encrypted connection. Reading may have to write, so both halves share it.
pub(super) struct Tls {
    connection: Box<ServerConnection>,
    wire: WriteHalf,
    /// Encrypted bytes for which the library had no room: many small records came at once.
    kept: Vec<u8>,
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_read(cx, buffer),
            Self::Tls(half, tls) => tls.borrow_mut().poll_read(half, cx, buffer),
        }
    }
}

impl Reader {
    /// Whether the client may have shown a certificate.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(..))
    }

    /// The common name in the client's certificate. It is there once the client has sent something.
    pub(super) fn certified_name(&self) -> Option<String> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(_, tls) => common_name(&tls.borrow().connection),
        }
    }

    /// Whether the client has closed its side, even when bytes that it sent before are still unread.
    pub(super) fn has_ended(&self, cx: &mut Context<'_>) -> bool {
        let (Self::Plain(half) | Self::Tls(half, _)) = self;
        let ready = match half {
            ReadHalf::Tcp(half) => pin!(half.ready(Interest::READABLE)).poll(cx),
            ReadHalf::Unix(half) => pin!(half.ready(Interest::READABLE)).poll(cx),
            #[cfg(test)]
            ReadHalf::Simulated(_) => return false,
        };
        match ready {
            Poll::Ready(Ok(ready)) => ready.is_read_closed(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buffer),
            Self::Unix(half) => Pin::new(half).poll_read(cx, buffer),
            #[cfg(test)]
            Self::Simulated(half) => Pin::new(half).poll_read(cx, buffer),
        }
    }
}

impl Writer {
    /// Writes what the socket takes now; `WouldBlock` when that is nothing.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.try_write(bytes),
            Self::Tls(tls) => tls.borrow_mut().try_write(bytes),
        }
    }

    /// Whether bytes that were taken still wait for the socket.
    pub(super) fn is_behind(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.borrow().connection.wants_write(),
        }
    }

    /// As [`Self::try_write`], but waits for the socket; of no bytes, for it to take what waits.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write(bytes) {
                Ok(0) if bytes.is_empty() && self.is_behind() => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
            ready!(self.poll_writable(cx))?;
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(half) => half.poll_writable(cx),
            Self::Tls(tls) => tls.borrow().wire.poll_writable(cx),
        }
    }

    /// Closes this side of the connection.
    pub(super) fn shut_down(&self) {
        match self {
            Self::Plain(half) => half.shut_down(),
            Self::Tls(tls) => {
                let mut tls = tls.borrow_mut();
                tls.connection.send_close_notify();
                // A client that is gone needs no word of farewell.
                let _ = tls.flush();
                tls.wire.shut_down();
            }
        }
    }
}

impl WriteHalf {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write(bytes),
            Self::Unix(half) => half.try_write(bytes),
            #[cfg(test)]
            Self::Simulated(half) => half.try_write(bytes),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_write_ready(cx),
            Self::Unix(half) => half.as_ref().poll_write_ready(cx),
            #[cfg(test)]
            Self::Simulated(half) => half.poll_write_ready(cx),
        }
    }

    fn shut_down(&self) {
        let socket = match self {
            Self::Tcp(half) => SockRef::from(half.as_ref()),
            Self::Unix(half) => SockRef::from(half.as_ref()),
            #[cfg(test)]
            Self::Simulated(half) => return half.shut_down(),
        };
        // A client that has reset the connection is shut down already.
        let _ = socket.shutdown(std::net::Shutdown::Write);
    }
}

/// The socket as the encryption writes to it.
struct Wire<'a>(&'a WriteHalf);

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0 {
            WriteHalf::Tcp(half) => half.try_write_vectored(slices),
            WriteHalf::Unix(half) => half.try_write_vectored(slices),
            #[cfg(test)]
            WriteHalf::Simulated(_) => unreachable!("a simulated client speaks plain"),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tls {
    /// Lets encrypted bytes leave; `WouldBlock` when some stay.
    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Wire(&self.wire))?;
        }
        Ok(())
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let taken = self.connection.writer().write(bytes)?;
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            // Before the handshake is over the library has room for a little.
            _ if taken == 0 && !bytes.is_empty() => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(taken),
        }
    }

    fn poll_read(
        &mut self,
        half: &mut ReadHalf,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.connection.reader().read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if !self.kept.is_empty() {
                let kept = std::mem::take(&mut self.kept);
                self.decrypt(&kept)?;
                continue;
            }
            let mut space = [MaybeUninit::uninit(); CIPHERTEXT];
            let mut encrypted = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *half).poll_read(cx, &mut encrypted))?;
            self.decrypt(encrypted.filled())?;
        }
    }

    /// Takes encrypted bytes in; none: the client has closed its side. What the protocol itself has to say to
    /// them leaves at once.
    fn decrypt(&mut self, mut encrypted: &[u8]) -> io::Result<()> {
        loop {
            self.connection.read_tls(&mut encrypted)?;
            let processed = self.connection.process_new_packets();
            match (processed, self.flush()) {
                (Err(error), _) => return Err(io::Error::new(ErrorKind::InvalidData, error)),
                (_, Err(error)) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ if encrypted.is_empty() => return Ok(()),
                (Ok(state), _) if state.plaintext_bytes_to_read() > PLAINTEXT => {
                    self.kept.extend_from_slice(encrypted);
                    return Ok(());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_the_clients_own() {
        for (given, shown) in [
            ("[::ffff:10.0.0.1]:1234", "10.0.0.1:1234"),
            ("10.0.0.1:1234", "10.0.0.1:1234"),
            ("[::1]:1234", "[::1]:1234"),
        ] {
            assert_eq!(Address::ip(given.parse().unwrap()).to_string(), shown);
        }
    }

    #[test]
    fn a_unix_socket_is_shown_as_a_server_shows_it() {
        let address = Address::Unix("/run/slotway.sock".into());
        assert_eq!((address.to_string().as_str(), address.port()), ("/run/slotway.sock:0", 0));
    }
}
