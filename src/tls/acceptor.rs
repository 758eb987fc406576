//! TLS to clients.

use std::sync::Arc;

use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{ServerConfig, crypto::ring::Ticketer};

use crate::config::{ClientCertificates, Listen};

use super::{File, TlsError, provider, refused};

/// The state of one encrypted connection with a client.
pub use tokio_rustls::rustls::ServerConnection;

/// How the gateway shows itself to clients, and whom of them it believes.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Reads what the settings name; `None` when they name no certificate.
    ///
    /// # Errors
    /// The setting whose file is of no use, and why.
    pub fn load(settings: &Listen) -> Result<Option<Self>, TlsError> {
        let certificate =
            File { setting: "listen.tls_certificate_file", path: &settings.tls_certificate_file };
        if certificate.path.is_empty() {
            return Ok(None);
        }
        let key = File { setting: "listen.tls_key_file", path: &settings.tls_key_file };
        let authorities =
            File { setting: "listen.tls_client_ca_file", path: &settings.tls_client_ca_file };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(refused(certificate.setting))?;
        let verifier = |file: File<'_>| {
            let roots = file.authorities()?;
            Ok(WebPkiClientVerifier::builder_with_provider(roots, provider()))
        };
        let wrong = |error| TlsError::new(authorities.setting, error);
        let builder = match settings.tls_client_certificates {
            ClientCertificates::Off => builder.with_no_client_auth(),
            ClientCertificates::Optional => builder.with_client_cert_verifier(
                verifier(authorities)?.allow_unauthenticated().build().map_err(wrong)?,
            ),
            ClientCertificates::Required => {
                builder.with_client_cert_verifier(verifier(authorities)?.build().map_err(wrong)?)
            }
        };
        let mut config = builder
            .with_single_cert(certificate.certificates()?, key.key()?)
            .map_err(refused(certificate.setting))?;
        // A ticket that the client keeps, so that nothing is kept here for clients that may return.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(refused(certificate.setting))?;
        Ok(Some(Self(Arc::new(config))))
    }

    /// The state of a connection that begins.
    ///
    /// # Errors
    /// The library cannot make one.
    pub fn accept(&self) -> std::io::Result<ServerConnection> {
        ServerConnection::new(self.0.clone()).map_err(std::io::Error::other)
    }
}

/// The common name in the certificate that the client has shown; it was believed before anybody asks.
pub fn common_name(connection: &ServerConnection) -> Option<String> {
    let certificate = connection.peer_certificates()?.first()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}
