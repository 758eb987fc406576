//! Certificates and keys: loaded again when their files change. Passwords are those of the start.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::time::sleep;

use crate::backend::connect::Credentials;
use crate::config::Settings;
use crate::tls::{Acceptor, TlsError};

/// How often the files are looked at. A rotated certificate has hours.
const LOOK: Duration = Duration::from_secs(5);

/// What connections to come are made with.
#[derive(Clone)]
pub(super) struct Certificates {
    settings: Arc<Settings>,
    pub(super) credentials: Arc<ArcSwap<Credentials>>,
    pub(super) acceptor: Arc<ArcSwapOption<Acceptor>>,
}

impl Certificates {
    /// # Errors
    /// The setting whose file is of no use, and why.
    pub(super) fn load(settings: &Arc<Settings>) -> Result<Self, TlsError> {
        let credentials = Credentials::load(&settings.cluster)?;
        let acceptor = Acceptor::load(&settings.listen)?;
        Ok(Self {
            settings: settings.clone(),
            credentials: Arc::new(ArcSwap::from_pointee(credentials)),
            acceptor: Arc::new(ArcSwapOption::from_pointee(acceptor)),
        })
    }

    /// Loads them again whenever a file changes, for as long as it is awaited.
    pub(super) async fn follow(&self) {
        let mut known = self.stamps();
        loop {
            sleep(LOOK).await;
            let now = self.stamps();
            if now != known {
                known = now;
                self.reload();
            }
        }
    }

    /// Loads them again. What is broken changes nothing.
    pub(super) fn reload(&self) {
        match (Credentials::load(&self.settings.cluster), Acceptor::load(&self.settings.listen)) {
            (Ok(credentials), Ok(acceptor)) => {
                self.credentials.store(Arc::new(credentials));
                self.acceptor.store(acceptor.map(Arc::new));
                tracing::info!("certificates and keys loaded again");
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "certificates and keys stay as they are");
            }
        }
    }

    /// When each file was changed; a link that points elsewhere now counts as a change.
    fn stamps(&self) -> Vec<Option<SystemTime>> {
        let (listen, cluster) = (&self.settings.listen, &self.settings.cluster);
        let files = [
            &listen.tls_certificate_file,
            &listen.tls_key_file,
            &listen.tls_client_ca_file,
            &cluster.tls_ca_file,
            &cluster.tls_certificate_file,
            &cluster.tls_key_file,
        ];
        files
            .iter()
            .map(|file| std::fs::metadata(file).and_then(|known| known.modified()).ok())
            .collect()
    }
}
