//! A certificate authority of the tests' own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::new_folder;

/// Signs certificates, and keeps all files in a folder of its own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

/// The files of a certificate and its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = new_folder("authority");
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// The file with its own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for this machine, under this name; an earlier one of that name is replaced.
    pub(crate) fn certify(&self, name: &str) -> Identity {
        self.certify_until(name, 4000)
    }

    /// The same, valid until this year begins.
    pub(crate) fn certify_until(&self, name: &str, year: i32) -> Identity {
        self.certify_with(name, |params| params.not_after = date_time_ymd(year, 1, 1))
    }

    /// The same, valid for so long from now on.
    pub(crate) fn certify_for(&self, name: &str, time: Duration) -> Identity {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.certify_with(name, |params| params.not_after = date_time_ymd(1970, 1, 1) + now + time)
    }

    fn certify_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let identity = Identity {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        };
        fs::write(&identity.key, key.serialize_pem()).unwrap();
        fs::write(&identity.certificate, certificate.pem()).unwrap();
        identity
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // What stays is removed by the next run.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
