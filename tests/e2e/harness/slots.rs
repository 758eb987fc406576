//! Which slot a key is in, computed apart from the code under test.

use std::sync::OnceLock;

/// CRC16 of the key's hash tag, modulo the number of slots.
pub(crate) fn key_slot(key: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(tag(key)) % 16_384
}

fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let after = &key[open + 1..];
    match after.iter().position(|byte| *byte == b'}') {
        Some(length) if length > 0 => &after[..length],
        _ => key,
    }
}

/// A short tag whose slot is the wanted one, to be put between braces.
pub(crate) fn tag_in_slot(slot: u16) -> String {
    static TAGS: OnceLock<Vec<u32>> = OnceLock::new();
    let tags = TAGS.get_or_init(|| {
        let mut tags = vec![None; 16_384];
        let mut missing = tags.len();
        for number in 0_u32.. {
            let place = &mut tags[usize::from(key_slot(number.to_string().as_bytes()))];
            if place.is_none() {
                *place = Some(number);
                missing -= 1;
            }
            if missing == 0 {
                break;
            }
        }
        tags.into_iter().map(Option::unwrap).collect()
    });
    tags[usize::from(slot)].to_string()
}

#[test]
fn agrees_with_the_server() {
    let keys: [&[u8]; 6] = [b"foo", b"{foo}bar", b"{}x", b"a{b}{c}", b"a}{b", b""];
    let server = super::Cluster::shared();
    for key in keys {
        let reply = server.node(0).client().call_args(&[b"CLUSTER", b"KEYSLOT", key]);
        assert_eq!(reply.integer(), i64::from(key_slot(key)), "{}", String::from_utf8_lossy(key));
    }
    assert_eq!(key_slot(format!("{{{}}}", tag_in_slot(77)).as_bytes()), 77);
}
