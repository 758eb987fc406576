//! Slot: CRC16 of a key, or of the hash tag in it.

use std::sync::LazyLock;

use crc16::{State, XMODEM};
use memchr::memchr;

/// Bytes that are taken into a checksum at once.
const STRIDE: usize = 8;

/// `TABLES[n][byte]` is the checksum of the byte with so many zero bytes behind it. A checksum of several bytes is the
/// exclusive or of what each of them gives by itself, so bytes looked up side by side need not wait for each other:
/// half the time of one after the other.
static TABLES: LazyLock<[[u16; 256]; STRIDE]> = LazyLock::new(|| {
    std::array::from_fn(|zeros| {
        std::array::from_fn(|byte| {
            let mut sum = State::<XMODEM>::new();
            sum.update(&[byte as u8]);
            (0..zeros).for_each(|_| sum.update(&[0]));
            sum.get()
        })
    })
});

/// One of the 16384 hash slots.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// How many slots a cluster has.
    pub const COUNT: usize = 16384;

    /// The slot that `key` stands in: CRC16/XMODEM of its hash tag, modulo the number of slots.
    #[inline]
    pub fn of(key: &[u8]) -> Self {
        Self(checksum(hash_tag(key)) % 16384)
    }

    /// The slot with this number, if there is one.
    pub fn new(number: u16) -> Option<Self> {
        (usize::from(number) < Self::COUNT).then_some(Self(number))
    }

    /// Every slot, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map_while(Self::new)
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

/// CRC16/XMODEM.
#[inline]
fn checksum(bytes: &[u8]) -> u16 {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &*TABLES;
    let look =
        |table: &[u16; 256], byte: u8| table.get(usize::from(byte)).copied().unwrap_or_default();
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    let mut sum = 0_u16;
    for &[a, b, c, d, e, f, g, h] in strides {
        let [high, low] = sum.to_be_bytes();
        sum = look(t7, a ^ high)
            ^ look(t6, b ^ low)
            ^ look(t5, c)
            ^ look(t4, d)
            ^ look(t3, e)
            ^ look(t2, f)
            ^ look(t1, g)
            ^ look(t0, h);
    }
    rest.iter().fold(sum, |sum, byte| (sum << 8) ^ look(t0, byte ^ (sum >> 8) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_slots() {
        // Answers of `CLUSTER KEYSLOT` on a 7.0.15 server, from the middle on to random keys.
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
            (b"Ma\x1d\xde{:\x1f{", 1533),
            (b" }}\x7f}a{}\xd7}\xfe::a}\xb5{{{}a\xc2}b", 1212),
            (b"0}}\x1f{{a\x0d{\xb1}\xf7}\xf5}\x0d", 16151),
            (b"}r{{{}0\xb24b}b}0b+{}O4l0}{", 7007),
            (b"\xa1}\x9b\xbb\xef}{\xce{a\xeac", 15736),
            (b" {\x14\xd8}\x1d\x89", 1474),
            (b"{}\xd5\x16\x86\x9fc", 12784),
            (b"}{", 12793),
            (b"{", 4092),
            (b"}{o}}\x02I{c}a0", 7497),
            (b"\xf8", 11799),
            (b"a}<{}{:}{}{a}{}}}b}\x18{}0\xcc", 4821),
            (b"{{}\x85c}}{}b\xaf0{:}a:", 4092),
            (b"n}\xddb\xf2\xc87{\x14:{\xdf{{}", 6389),
            (b"|b\x9d}t{}{\x22{}7b\x1cm\xd4b", 41),
            (b"a{{}\x11\x83}:\xa2!}}C\x9b}({c\xa6${\xe4c{", 4092),
            (b"{\xaec{}\x9f}:O}}\xb6b{P\xcf{{{\x91{e{:", 14104),
            (b"{ye\x8e0}c}{)0:\xa0a}", 3933),
            (b"\x17{b{\xf3|0}:c\xfc\x16\xcf{d{ ", 80),
            (b"{:\xe7\x85:aao}{a00bw\xc8J6\x0e\x15}!i0", 9590),
            (b"{{", 7007),
            (b"\x987\xc6\xcc\x97{::u}}}{{}ao0{}}^{\xc3", 1544),
            (b"{}}{}0{\x07\x96", 9049),
            (b"{{:b{{{\x1d\xfb{}}{\x0e{\xf8", 481),
            (b"{{l{>}:aa}\x1a{{a\xe0a}", 12638),
            (b"\x06\x12'\xe4}{\xbb{J\x88a\x97}\xe9{\x92\xba", 5886),
            (b"}0\x96\xe20", 6671),
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
    fn strides_give_the_sum_of_single_bytes() {
        proptest::proptest!(|(key: Vec<u8>)| {
            proptest::prop_assert_eq!(checksum(&key), State::<XMODEM>::calculate(&key));
        });
    }

    #[test]
    fn every_key_has_a_slot_in_range() {
        proptest::proptest!(|(key: Vec<u8>)| {
            proptest::prop_assert!(Slot::of(&key).index() < Slot::COUNT);
        });
    }
}
