//! Clients that come through a balancer: its first bytes, a PROXY protocol header of version 2, say for whom it
//! speaks.
//!
//! Whether there is a header is never guessed: connections from the networks of the settings begin with one, and
//! those by the Unix socket if the settings say so; all others begin with a request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Time for the header. A balancer sends it at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// What every header begins with: a mark, the command, the kind of address, and the length of the rest.
const HEAD: usize = 16;
/// Longest rest: addresses, and what else a balancer may tell.
const MOST: usize = 4096;

/// Why nobody knows for whom a balancer speaks.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The header did not come in time.
    #[error("no PROXY header in time")]
    Late,
    /// The header is longer than any that makes sense.
    #[error("the PROXY header has {0} bytes")]
    TooLong(usize),
    /// The first bytes are something else, or an older version.
    #[error("no PROXY header of version 2: {0}")]
    Malformed(#[from] proxy_header::Error),
    /// It speaks for somebody who does not use TCP.
    #[error("the PROXY header is not about a TCP connection")]
    NotTcp,
}

/// Whether connections from this address begin with a header.
pub(super) fn is_proxy(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Reads the header, and not a byte more. `None`: the balancer speaks for itself.
pub(super) async fn read(
    socket: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, HeaderError> {
    timeout(PATIENCE, read_header(socket)).await.unwrap_or(Err(HeaderError::Late))
}

async fn read_header(
    socket: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, HeaderError> {
    let mut header = vec![0; HEAD];
    socket.read_exact(&mut header).await?;
    let length = rest(&header)?;
    header.resize(HEAD + length, 0);
    if let Some(rest) = header.get_mut(HEAD..) {
        socket.read_exact(rest).await?;
    }
    source(&header)
}

/// How many bytes follow the head of a header.
fn rest(head: &[u8]) -> Result<usize, HeaderError> {
    // A header whose rest is missing; anything else is none.
    if let Err(error) = ProxyHeader::parse(head, CONFIG)
        && error != proxy_header::Error::BufferTooShort
    {
        return Err(error.into());
    }
    match head.get(HEAD - 2..HEAD) {
        Some(&[high, low]) => match usize::from(u16::from_be_bytes([high, low])) {
            length if length <= MOST => Ok(length),
            length => Err(HeaderError::TooLong(length)),
        },
        _ => Err(proxy_header::Error::BufferTooShort.into()),
    }
}

const CONFIG: ParseConfig = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };

/// For whom a whole header speaks; `None`: for nobody but the balancer itself, or for somebody without an address.
///
/// # Errors
/// It is no header, or not about TCP.
pub fn source(header: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let (header, _) = ProxyHeader::parse(header, CONFIG)?;
    match header.proxied_address() {
        None => Ok(None),
        Some(address) if address.protocol == Protocol::Stream => Ok(Some(address.source)),
        Some(_) => Err(HeaderError::NotTcp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn header(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [MARK, &[command, kind], &length, rest].concat()
    }

    const V4: &[u8] = &[10, 0, 0, 1, 10, 0, 0, 2, 0x04, 0xd2, 0x18, 0xeb];

    #[test]
    fn whom_headers_speak_for() {
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 28], &[0, 7, 0x18, 0xeb]].concat();
        let with_more = [V4, &[4, 0, 1, 0]].concat();
        for (header, expected) in [
            (header(0x21, 0x11, V4), Some(Some("10.0.0.1:1234"))),
            (header(0x21, 0x11, &with_more), Some(Some("10.0.0.1:1234"))),
            (header(0x21, 0x21, &v6), Some(Some("[2001:db8::]:7"))),
            (header(0x20, 0x00, b""), Some(None)),
            (header(0x20, 0x11, V4), Some(None)),
            (header(0x21, 0x00, b""), Some(None)),
            (header(0x21, 0x31, &[b'x'; 216]), Some(None)),
            (header(0x21, 0x12, V4), None),
            (header(0x21, 0x11, &V4[..11]), None),
            (header(0x22, 0x11, V4), None),
            (header(0x31, 0x11, V4), None),
            (header(0x21, 0x41, V4), None),
            (b"PROXY TCP4 10.0.0.1 10.0.0.2 1234 6379\r\n".to_vec(), None),
            (b"*1\r\n$4\r\nPING\r\n".to_vec(), None),
        ] {
            let shown = header.escape_ascii().to_string();
            let found = rest(&header[..HEAD.min(header.len())]).and_then(|_| source(&header));
            let found = found.ok().map(|source| source.map(|source| source.to_string()));
            assert_eq!(found, expected.map(|source| source.map(str::to_owned)), "{shown}");
        }
    }

    #[test]
    fn no_header_is_read_without_end() {
        let head = [MARK, &[0x21, 0x11, 0xff, 0xff]].concat();
        assert!(matches!(rest(&head), Err(HeaderError::TooLong(0xffff))));
        assert!(rest(&head[..15]).is_err());
    }

    #[test]
    fn who_is_a_proxy() {
        let networks: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).into();
        for (address, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(is_proxy(&networks, address.parse().unwrap()), expected, "{address}");
        }
        assert!(!is_proxy(&[], "127.0.0.1".parse().unwrap()));
    }
}
