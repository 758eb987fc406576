//! How the generator's clients connect: plain, or through TLS.

use std::fs::write;
use std::io::{Read, Result as IoResult, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::exchange::Exchange;

/// The name in the certificate.
const HOST: &str = "localhost";

/// The certificate that all peers show, and clients that believe it.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    pub(crate) both: PathBuf,
    clients: Arc<ClientConfig>,
}

/// Where to connect.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    /// How to begin; `None`: the peer speaks plain there.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// A client's connection, which does not block.
pub(crate) enum Wire {
    Plain(mio::net::TcpStream),
    Tls(Box<StreamOwned<ClientConnection, mio::net::TcpStream>>),
}

impl Identity {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()])?;
        let [certificate, key, both] =
            ["cert.pem", "key.pem", "both.pem"].map(|file| folder.join(file));
        write(&certificate, cert.pem())?;
        write(&key, signing_key.serialize_pem())?;
        write(&both, cert.pem() + &signing_key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone())?;
        // Left to choose, each peer takes another cipher.
        let suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let provider = CryptoProvider { cipher_suites: suites, ..ring::default_provider() };
        let clients = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { certificate, key, both, clients: Arc::new(clients) })
    }

    /// An encrypted door.
    pub(crate) fn door(&self, address: SocketAddr) -> Door {
        Door { address, tls: Some(self.clients.clone()) }
    }
}

impl Door {
    /// Connects, and if need be encrypts, before anything is measured. A greeting goes over plain connections only.
    pub(crate) fn open(&self, greeting: Option<&Exchange>) -> Result<Wire> {
        let mut socket = TcpStream::connect(self.address).context("cannot connect")?;
        socket.set_nodelay(true)?;
        let Some(config) = &self.tls else {
            greeting.map_or(Ok(()), |greeting| greeting.run(&socket))?;
            socket.set_nonblocking(true)?;
            return Ok(Wire::Plain(mio::net::TcpStream::from_std(socket)));
        };
        let mut connection = ClientConnection::new(config.clone(), ServerName::try_from(HOST)?)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).context("cannot encrypt")?;
        }
        socket.set_nonblocking(true)?;
        let socket = mio::net::TcpStream::from_std(socket);
        Ok(Wire::Tls(Box::new(StreamOwned::new(connection, socket))))
    }
}

impl Wire {
    pub(crate) fn socket(&mut self) -> &mut mio::net::TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// Whether a read that filled so much of the room has left nothing for which there will be no new event.
    pub(crate) fn has_emptied(&self, count: usize, room: usize) -> bool {
        // An encrypted one gives a record at a time, and may have read several.
        matches!(self, Self::Plain(_)) && count < room
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    /// Sends what was encrypted and not yet taken by the socket.
    fn flush(&mut self) -> IoResult<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
