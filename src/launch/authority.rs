//! A certificate authority of a local cluster's own: it signs one certificate, for the nodes and the gateway, and
//! then its key is gone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::error::LaunchError;
use crate::config::{Cluster, Listen};
use crate::tls::{Connector, TlsError};

/// The certificate files of a local cluster.
#[derive(Clone, Debug)]
pub struct Certificates {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// Where they are, below the cluster's folder.
const FOLDER: &str = "tls";

impl Certificates {
    /// Those in the cluster's folder, made at its first start.
    pub(super) fn of(folder: &Path) -> Result<Self, LaunchError> {
        let folder = folder.join(FOLDER);
        let files = Self {
            authority: folder.join("ca.pem"),
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        };
        if ![&files.authority, &files.certificate, &files.key].iter().all(|file| file.exists()) {
            fs::create_dir_all(&folder)
                .and_then(|()| files.make().map_err(io::Error::other)?)
                .map_err(LaunchError::system(format_args!(
                    "make certificates in {}",
                    folder.display()
                )))?;
        }
        Ok(files)
    }

    /// They are good for as long as the folder is: nobody but its user has the key, and nobody else believes the
    /// authority.
    fn make(&self) -> Result<io::Result<()>, rcgen::Error> {
        let mut authority = CertificateParams::new([])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.distinguished_name.push(DnType::CommonName, "slotway up");
        let authority_key = KeyPair::generate()?;
        let authority_file = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, "slotway");
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(write_private(&self.key, &key.serialize_pem())
            .and_then(|()| fs::write(&self.certificate, certificate))
            .and_then(|()| fs::write(&self.authority, authority_file)))
    }

    /// The file by which clients believe the gateway.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Has the nodes spoken to through TLS.
    pub(super) fn point_at_nodes(&self, cluster: &mut Cluster) {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        cluster.tls = true;
        cluster.tls_ca_file = text(&self.authority);
        cluster.tls_certificate_file = text(&self.certificate);
        cluster.tls_key_file = text(&self.key);
        cluster.tls_check_name = true;
        cluster.tls_server_name.clear();
    }

    /// Shows the certificate to clients, unless the settings have one for them.
    pub(super) fn show_to_clients(&self, listen: &mut Listen) {
        if listen.tls_certificate_file.is_empty() {
            listen.tls_certificate_file = self.certificate.to_string_lossy().into_owned();
            listen.tls_key_file = self.key.to_string_lossy().into_owned();
        }
    }

    /// How the nodes are believed.
    pub(super) fn connector(&self) -> Result<Option<Connector>, TlsError> {
        let mut cluster = Cluster::default();
        self.point_at_nodes(&mut cluster);
        Connector::load(&cluster)
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
