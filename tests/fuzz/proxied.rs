//! PROXY headers: whole ones name the address that stands in them, damaged ones are refused or name one of TCP.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use slotway::runtime::proxied::source;

use crate::random::Random;

const MARK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn header(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    [MARK, &[command, kind], &(rest.len() as u16).to_be_bytes(), rest].concat()
}

pub(crate) fn as_sent(random: &mut Random) {
    let bytes: [u8; 40] = std::array::from_fn(|_| random.below(256) as u8);
    let [first, second, ..] = bytes;
    let port = u16::from_be_bytes([first, second]);
    let v4 = SocketAddr::from((Ipv4Addr::new(bytes[2], bytes[3], bytes[4], bytes[5]), port));
    let mut v6 = [0; 16];
    v6.copy_from_slice(&bytes[2..18]);
    let v6 = SocketAddr::from((Ipv6Addr::from(v6), port));
    let more = random.bytes(60);
    let (mut sent, expected) = match random.below(4) {
        0 => {
            let addresses = [&bytes[2..6], &bytes[6..10], &bytes[..2], &bytes[10..12], &more];
            (header(0x21, 0x11, &addresses.concat()), Some(v4))
        }
        1 => {
            let addresses = [&bytes[2..18], &bytes[18..34], &bytes[..2], &bytes[34..36], &more];
            (header(0x21, 0x21, &addresses.concat()), Some(v6))
        }
        2 => (header(0x20, 0x00, &more), None),
        _ => (random.bytes(80), None),
    };
    let is_whole = sent.starts_with(MARK);
    if is_whole {
        assert_eq!(source(&sent).ok(), Some(expected), "{}", sent.escape_ascii());
    }
    random.damage(&mut sent);
    if let Ok(Some(_)) = source(&sent) {
        assert!(sent.starts_with(MARK), "{}", sent.escape_ascii());
    }
}
