//! Certificates and keys from files: how the gateway believes nodes, and how it shows itself to clients.
//!
//! What is loaded is a snapshot; connections made later use a later one, those that stand keep theirs.

mod acceptor;
mod connector;
mod expiry;

use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::{self, RootCertStore};

pub use acceptor::{Acceptor, ServerConnection, common_name};
pub use connector::{BlockingNodeStream, Connector, NodeStream, certificate_end};
pub use expiry::{Expiry, expiries};

/// Why certificates or keys cannot be used: the setting that names them, and what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {why}")]
pub struct TlsError {
    setting: &'static str,
    why: String,
}

impl TlsError {
    fn new(setting: &'static str, why: impl std::fmt::Display) -> Self {
        Self { setting, why: why.to_string() }
    }
}

/// A file that a setting names.
#[derive(Clone, Copy)]
struct File<'a> {
    setting: &'static str,
    path: &'a str,
}

impl File<'_> {
    fn wrong(&self, why: impl std::fmt::Display) -> TlsError {
        TlsError::new(self.setting, format!("{}: {why}", self.path))
    }

    /// All certificates of the file, the first one's issuers behind it.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let read = CertificateDer::pem_file_iter(self.path).map_err(|error| self.wrong(error))?;
        let chain: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| self.wrong(error))?;
        if chain.is_empty() { Err(self.wrong("holds no certificate")) } else { Ok(chain) }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_file(self.path).map_err(|error| self.wrong(error))
    }

    /// The file's certificates as those that others are believed by.
    fn authorities(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| self.wrong(error))?;
        }
        Ok(Arc::new(roots))
    }
}

/// Has libraries that make connections of their own use the same cryptography.
pub fn choose_cryptography() {
    // A second time it is chosen already.
    let _ = ring::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The library refuses what the files hold.
fn refused(setting: &'static str) -> impl Fn(rustls::Error) -> TlsError {
    move |error| TlsError::new(setting, error)
}
