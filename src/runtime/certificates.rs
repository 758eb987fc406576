//! Certificates, keys and passwords: loaded again when their files change.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::time::sleep;

use crate::backend::connect::Credentials;
use crate::config::{Cluster, Listen, Live, Logins, Secret, Settings};
use crate::metrics::Metrics;
use crate::session::Gateway;
use crate::tls::{Acceptor, Expiry, TlsError, expiries};

/// How often the files are looked at. Nodes that have a new password already refuse the gateway until then, and
/// requests for them are held meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// What connections to come are made with.
pub(super) struct Certificates {
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    pub(super) credentials: Arc<ArcSwap<Credentials>>,
    pub(super) acceptor: Arc<ArcSwapOption<Acceptor>>,
}

/// What the files hold.
pub(super) struct Read {
    credentials: Credentials,
    acceptor: Option<Acceptor>,
    expiries: Vec<Expiry>,
}

impl Read {
    /// What these settings name.
    ///
    /// # Errors
    /// The setting whose file is of no use, and why.
    pub(super) fn new(listen: &Listen, cluster: &Cluster) -> Result<Self, TlsError> {
        Ok(Self {
            credentials: Credentials::load(cluster)?,
            acceptor: Acceptor::load(listen)?,
            expiries: expiries(listen, cluster)?,
        })
    }

    fn tell(&self, metrics: &Metrics) {
        metrics.certificates_loaded(self.expiries.iter().map(|expiry| (expiry.setting, expiry.at)));
    }
}

impl Certificates {
    /// # Errors
    /// The setting whose file is of no use, and why.
    pub(super) fn load(live: &Arc<Live>, metrics: &Arc<Metrics>) -> Result<Self, TlsError> {
        let settings = live.now();
        let read = Read::new(&settings.listen, &settings.cluster)?;
        read.tell(metrics);
        Ok(Self {
            live: live.clone(),
            metrics: metrics.clone(),
            credentials: Arc::new(ArcSwap::from_pointee(read.credentials)),
            acceptor: Arc::new(ArcSwapOption::from_pointee(read.acceptor)),
        })
    }

    /// Connections to come are made with these.
    pub(super) fn take(&self, read: Read) {
        read.tell(&self.metrics);
        self.credentials.store(Arc::new(read.credentials.succeeding(&self.credentials.load())));
        self.acceptor.store(read.acceptor.map(Arc::new));
    }

    /// Loads them again whenever a file changes, for as long as it is awaited.
    pub(super) async fn follow(&self, gateway: &Gateway) {
        gateway.logins_changed();
        let mut known = self.stamps();
        loop {
            sleep(LOOK).await;
            let now = self.stamps();
            if now != known {
                known = now;
                self.reload(gateway);
            }
        }
    }

    /// Loads them again. What is broken changes nothing.
    fn reload(&self, gateway: &Gateway) {
        match self.load_again(gateway) {
            Ok(()) => tracing::info!("certificates, keys and passwords loaded again"),
            Err(error) => {
                tracing::error!(%error, "certificates, keys and passwords stay as they are");
            }
        }
    }

    fn load_again(&self, gateway: &Gateway) -> anyhow::Result<()> {
        let settings = self.live.now();
        let Settings { cluster, listen, auth, .. } = &**settings;
        let password = read("cluster.password_file", &cluster.password_file, Secret::read)?;
        let logins = read("cluster.logins_file", &cluster.logins_file, Logins::read)?;
        let own_password = read("auth.password_file", &auth.password_file, Secret::read)?;
        let cluster = Cluster {
            password: password.unwrap_or_else(|| cluster.password.clone()),
            logins: logins.unwrap_or_else(|| cluster.logins.clone()),
            ..cluster.clone()
        };
        self.take(Read::new(listen, &cluster)?);
        gateway.logins_changed();
        own_password.inspect(|password| gateway.change_password(password));
        Ok(())
    }

    /// When each file was changed; a link that points elsewhere now counts as a change.
    fn stamps(&self) -> Vec<Option<SystemTime>> {
        let settings = self.live.now();
        let Settings { cluster, listen, auth, .. } = &**settings;
        let files = [
            &auth.password_file,
            &cluster.password_file,
            &cluster.logins_file,
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

/// What is in the file that the setting names; `None`: it names none.
fn read<T>(
    setting: &str,
    file: &str,
    parse: fn(&Path) -> Result<T, String>,
) -> anyhow::Result<Option<T>> {
    if file.is_empty() {
        return Ok(None);
    }
    parse(Path::new(file)).map(Some).map_err(|why| anyhow!("`{setting}` {why}"))
}
