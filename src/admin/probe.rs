//! A question from the command line: one page of a running gateway's admin port.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::guard::sent_with;
use crate::config::Admin;

/// How long dialling may take, and how long the answer may be silent.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pages asked for are a few hundred bytes long.
const MOST_BYTES: u64 = 64 * 1024;

/// What the gateway answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the status was 200.
    pub ok: bool,
    /// The page.
    pub body: String,
}

/// Asks the gateway with these settings for the page at `path`.
///
/// An address that stands for all of this machine's, as a listener's may, is asked on loopback.
pub fn probe(admin: &Admin, path: &str) -> io::Result<Answer> {
    let address = admin.address;
    let mut stream = TcpStream::connect_timeout(&reachable(address), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let login = if admin.password.is_empty() {
        String::new()
    } else {
        format!("Authorization: {}\r\n", sent_with(&admin.password))
    };
    let head = format!("Host: {address}\r\n{login}Connection: close\r\n");
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{head}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?;
    Some(Answer { ok: status == "200", body: body.trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_everything_is_asked_on_loopback() {
        for (given, asked) in [
            ("0.0.0.0:9121", "127.0.0.1:9121"),
            ("[::]:9121", "[::1]:9121"),
            ("10.0.0.1:9121", "10.0.0.1:9121"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(reachable(given.parse().unwrap()), asked.parse().unwrap());
        }
    }

    #[test]
    fn only_200_is_ok() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\na: b\r\n\r\nok\n", Some((true, "ok"))),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n{}", Some((false, "{}"))),
            ("HTTP/1.1 2000\r\n\r\n", Some((false, ""))),
            ("-ERR unknown command 'GET'\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n", None),
            ("", None),
        ] {
            let found = parse(answer);
            let expected = expected.map(|(ok, body)| Answer { ok, body: body.to_owned() });
            assert_eq!(found, expected, "{answer:?}");
        }
    }
}
