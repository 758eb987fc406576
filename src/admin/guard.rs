//! Who may see pages that show keys and commands.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use hyper::header::{AUTHORIZATION, HOST};
use subtle::ConstantTimeEq as _;

use crate::config::{Live, Secret};

/// With a password whoever knows it, without one whoever is on this machine.
#[derive(Debug)]
pub(super) struct Guard {
    /// Where the port listens, whatever a reload says.
    address: SocketAddr,
    live: Arc<Live>,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// The password is missing or wrong.
    Password,
    /// There is no password, and the port can be reached from elsewhere.
    Exposed,
    /// The browser was led here by another site's name.
    Foreign,
}

impl Guard {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self { address: live.now().admin.address, live }
    }

    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Denial> {
        let header = |name| request.headers().get(name).map_or(&b""[..], |value| value.as_bytes());
        let settings = self.live.now();
        if !settings.admin.password.is_empty() {
            let expected = sent_with(&settings.admin.password);
            let is_right = bool::from(header(AUTHORIZATION).ct_eq(expected.as_bytes()));
            return if is_right { Ok(()) } else { Err(Denial::Password) };
        }
        if !self.address.ip().is_loopback() {
            return Err(Denial::Exposed);
        }
        if is_here(header(HOST)) { Ok(()) } else { Err(Denial::Foreign) }
    }
}

/// What a browser sends for the user `admin` with this password.
pub(super) fn sent_with(password: &Secret) -> String {
    format!("Basic {}", STANDARD.encode(format!("admin:{}", password.expose())))
}

/// Whether a name means this machine. A site whose name was made to point here could read the pages otherwise.
fn is_here(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Admin, Settings};

    fn check(address: &str, password: &str, host: &str, given: &str) -> Result<(), Denial> {
        let address = address.parse().unwrap();
        let admin = Admin { address, password: Secret::new(password), ..Admin::default() };
        let live = Live::new(Settings { admin, ..Settings::default() });
        let mut request = Request::builder().header(HOST, host);
        if !given.is_empty() {
            request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(given)));
        }
        Guard::new(live).check(&request.body(()).unwrap())
    }

    #[test]
    fn without_a_password_only_this_machine_may_look() {
        let here = "127.0.0.1:9121";
        for (address, host, expected) in [
            (here, "127.0.0.1:9121", Ok(())),
            (here, "localhost:9121", Ok(())),
            (here, "LocalHost", Ok(())),
            ("[::1]:9121", "[::1]:9121", Ok(())),
            ("[::1]:9121", "[::1]", Ok(())),
            (here, "rebound.example:9121", Err(Denial::Foreign)),
            (here, "127.0.0.1.example", Err(Denial::Foreign)),
            (here, "", Err(Denial::Foreign)),
            ("0.0.0.0:9121", "127.0.0.1:9121", Err(Denial::Exposed)),
            ("10.0.0.1:9121", "localhost", Err(Denial::Exposed)),
        ] {
            assert_eq!(check(address, "", host, ""), expected, "{address} {host}");
        }
    }

    #[test]
    fn with_a_password_who_knows_it_may_look_from_anywhere() {
        for (given, expected) in [
            ("admin:secret", Ok(())),
            ("admin:wrong", Err(Denial::Password)),
            ("root:secret", Err(Denial::Password)),
            ("admin:secret ", Err(Denial::Password)),
            ("", Err(Denial::Password)),
        ] {
            for address in ["127.0.0.1:9121", "0.0.0.0:9121"] {
                assert_eq!(check(address, "secret", "any.example", given), expected, "{given}");
            }
        }
    }
}
