//! TLS to the nodes.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned,
};

use crate::config::Cluster;

use super::expiry::end_of;
use super::{File, TlsError, provider, refused};

/// An encrypted connection to a node.
pub type NodeStream = TlsStream<TcpStream>;
/// The same, for a thread that may wait.
pub type BlockingNodeStream = StreamOwned<ClientConnection, std::net::TcpStream>;

/// Whom the gateway believes to be a node, and how it shows itself to nodes.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    /// The name that every node's certificate must bear; `None`: the host that was dialled.
    name: Option<ServerName<'static>>,
}

impl Connector {
    /// Reads what the settings name; `None` when they say that nodes speak plain.
    ///
    /// # Errors
    /// The setting whose file or name is of no use, and why.
    pub fn load(settings: &Cluster) -> Result<Option<Self>, TlsError> {
        if !settings.tls {
            return Ok(None);
        }
        let name = match settings.tls_server_name.as_str() {
            "" => None,
            name => Some(
                ServerName::try_from(name.to_owned())
                    .map_err(|error| TlsError::new("cluster.tls_server_name", error))?,
            ),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(refused("cluster.tls"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::load(settings)?));
        let certificate =
            File { setting: "cluster.tls_certificate_file", path: &settings.tls_certificate_file };
        let key = File { setting: "cluster.tls_key_file", path: &settings.tls_key_file };
        let config = if certificate.path.is_empty() {
            builder.with_no_client_auth()
        } else {
            builder
                .with_client_auth_cert(certificate.certificates()?, key.key()?)
                .map_err(refused(certificate.setting))?
        };
        Ok(Some(Self { config: Arc::new(config), name }))
    }

    /// The handshake with the node that was dialled as `host`.
    ///
    /// # Errors
    /// The node is not believed, does not believe the gateway, or does not speak TLS.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<NodeStream> {
        let name = self.name_of(host)?;
        TlsConnector::from(self.config.clone()).connect(name, stream).await
    }
}

impl Connector {
    /// The same for a thread that may wait; the handshake comes with the first bytes.
    ///
    /// # Errors
    /// The library cannot make a connection.
    pub fn connect_blocking(
        &self,
        host: &str,
        stream: std::net::TcpStream,
    ) -> io::Result<BlockingNodeStream> {
        let connection = ClientConnection::new(self.config.clone(), self.name_of(host)?);
        Ok(StreamOwned::new(connection.map_err(io::Error::other)?, stream))
    }

    fn name_of(&self, host: &str) -> io::Result<ServerName<'static>> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => named(host),
        }
    }
}

/// When the certificate that the node has shown expires, in seconds since 1970.
pub fn certificate_end(stream: &NodeStream) -> Option<i64> {
    end_of(stream.get_ref().1.peer_certificates()?.first()?)
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}

fn named(host: &str) -> io::Result<ServerName<'static>> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    let named = ServerName::try_from(host.to_owned());
    named.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// Believes a node whose certificate an authority has signed. Nodes are often known by addresses that no
/// certificate bears; the settings may take the name out of the question, as the servers do among themselves.
#[derive(Debug)]
struct Verifier {
    chain: Arc<WebPkiServerVerifier>,
    names: bool,
}

impl Verifier {
    fn load(settings: &Cluster) -> Result<Self, TlsError> {
        let file = File { setting: "cluster.tls_ca_file", path: &settings.tls_ca_file };
        let roots = if file.path.is_empty() { system()? } else { file.authorities()? };
        let chain = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| TlsError::new(file.setting, error))?;
        Ok(Self { chain, names: settings.tls_check_name })
    }
}

/// The authorities that the system believes.
fn system() -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::new(
            "cluster.tls_ca_file",
            "not set, and the system has no authorities",
        ));
    }
    Ok(Arc::new(roots))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
