//! Until when certificates are believed.

use rustls_pki_types::CertificateDer;

use crate::config::{Cluster, Listen};

use super::{File, TlsError};

/// Until when the certificates of one file are of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The setting that names the file.
    pub setting: &'static str,
    /// Seconds since 1970.
    pub at: i64,
}

/// When the certificates in use expire. Of a chain it is the first that counts, for a chain with a gap is no use; of
/// authorities the last, for the old one stays in the file while a new one takes its place.
///
/// # Errors
/// The setting whose file is of no use, and why.
pub fn expiries(listen: &Listen, cluster: &Cluster) -> Result<Vec<Expiry>, TlsError> {
    let serves = !listen.tls_certificate_file.is_empty();
    type Counts = fn(i64, i64) -> i64;
    let (first, last): (Counts, Counts) = (i64::min, i64::max);
    let files = [
        (serves, "listen.tls_certificate_file", &listen.tls_certificate_file, first),
        (serves, "listen.tls_client_ca_file", &listen.tls_client_ca_file, last),
        (cluster.tls, "cluster.tls_ca_file", &cluster.tls_ca_file, last),
        (cluster.tls, "cluster.tls_certificate_file", &cluster.tls_certificate_file, first),
    ];
    let mut found = Vec::new();
    for (is_used, setting, path, counts) in files {
        if is_used && !path.is_empty() {
            let certificates = File { setting, path }.certificates()?;
            let at = certificates.iter().filter_map(|one| end_of(one)).reduce(counts);
            found.extend(at.map(|at| Expiry { setting, at }));
        }
    }
    Ok(found)
}

/// When a certificate expires, in seconds since 1970.
pub(super) fn end_of(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A file with certificates that expire in these years.
    fn file(years: &[i32]) -> (tempfile::NamedTempFile, String) {
        let pem = years.iter().map(|&year| {
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, 1, 1);
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem.collect::<String>()).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        (file, path)
    }

    fn start_of(year: i32) -> i64 {
        date_time_ymd(year, 1, 1).unix_timestamp()
    }

    #[test]
    fn a_chain_ends_with_its_first_certificate_and_authorities_with_their_last() {
        let ((_chain, chain), (_authorities, authorities)) =
            (file(&[2040, 2031]), file(&[2031, 2040]));
        let listen = Listen {
            tls_certificate_file: chain.clone(),
            tls_client_ca_file: authorities.clone(),
            ..Listen::default()
        };
        let cluster = Cluster {
            tls: true,
            tls_ca_file: authorities,
            tls_certificate_file: chain,
            ..Cluster::default()
        };
        let expected = [
            ("listen.tls_certificate_file", 2031),
            ("listen.tls_client_ca_file", 2040),
            ("cluster.tls_ca_file", 2040),
            ("cluster.tls_certificate_file", 2031),
        ];
        let expected = expected.map(|(setting, year)| Expiry { setting, at: start_of(year) });
        assert_eq!(expiries(&listen, &cluster).unwrap(), expected);

        let unused = Cluster { tls: false, ..cluster };
        assert_eq!(expiries(&listen, &unused).unwrap(), expected[..2]);
        assert_eq!(expiries(&Listen::default(), &unused).unwrap(), []);
    }
}
