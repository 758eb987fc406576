//! Slot: CRC16 of a key, or of the hash tag in it.

use crc16::{State, XMODEM};
use memchr::memchr;

/// One of the 16384 hash slots.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// How many slots a cluster has.
    pub const COUNT: usize = 16384;

    /// The slot that `key` stands in: CRC16/XMODEM of its hash tag, modulo the number of slots.
    #[inline]
    pub fn of(key: &[u8]) -> Self {
        Self(State::<XMODEM>::calculate(hash_tag(key)) % 16384)
    }

    /// The slot with this number, if there is one.
    pub fn new(number: u16) -> Option<Self> {
        (usize::from(number) < Self::COUNT).then_some(Self(number))
    }

    /// Its number, below [`Slot::COUNT`].
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is hashed: the bytes between the first `{` and the first `}` after it when there are any,
/// else the whole key (Redis Cluster specification, "Hash tags").
#[inline]
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some((_, after)) = memchr(b'{', key).and_then(|open| key.split_at_checked(open + 1)) else {
        return key;
    };
    match memchr(b'}', after).and_then(|close| after.get(..close)) {
        Some(tag) if !tag.is_empty() => tag,
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_slots() {
        // Answers of `CLUSTER KEYSLOT` on a 7.0 server.
        let known: &[(&[u8], usize)] = &[
            (b"", 0),
            (b"123456789", 12739),
            (b"foo", 12182),
            (b"bar", 5061),
            (b"hello", 866),
            (b"user1000", 3443),
            (b"somekey", 11058),
            (b"foo{hash_tag}", 2515),
            (b"bar{hash_tag}", 2515),
            (b"\0", 0),
            (b"\xff\xfe\0z", 11309),
        ];
        for (key, slot) in known {
            assert_eq!(Slot::of(key).index(), *slot, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn tags() {
        let tags: &[(&[u8], &[u8])] = &[
            (b"{user1000}.following", b"user1000"),
            (b"foo{}{bar}", b"foo{}{bar}"),
            (b"{}x", b"{}x"),
            (b"a{b}{c}", b"b"),
            (b"a{{b}}", b"{b"),
            (b"foo{{bar}}zap", b"{bar"),
            (b"a}{b", b"a}{b"),
            (b"a}b{c}", b"c"),
            (b"{", b"{"),
            (b"}", b"}"),
            (b"{}", b"{}"),
            (b"a{b", b"a{b"),
            (b"{a}", b"a"),
            (b"a{\0}", b"\0"),
        ];
        for (key, tag) in tags {
            assert_eq!(hash_tag(key), *tag, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(Slot::new(0).map(Slot::index), Some(0));
        assert_eq!(Slot::new(16383).map(Slot::index), Some(16383));
        assert_eq!(Slot::new(16384), None);
        assert_eq!(Slot::new(u16::MAX), None);
    }

    #[test]
    fn every_key_has_a_slot_in_range() {
        proptest::proptest!(|(key: Vec<u8>)| {
            proptest::prop_assert!(Slot::of(&key).index() < Slot::COUNT);
        });
    }
}
