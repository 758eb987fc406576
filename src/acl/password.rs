//! Passwords as the servers keep them: only their SHA-256, compared in constant time.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A longer password is none. Hashing what a client may send at most, half a gigabyte, would keep the worker's
/// other clients waiting.
const LONGEST: usize = 64 << 10;

/// The SHA-256 of a password. Its display is the form of the users file, 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    /// `None`: the password is too long to be one.
    pub fn of(password: &[u8]) -> Option<Self> {
        (password.len() <= LONGEST).then(|| Self(Sha256::digest(password).into()))
    }

    /// Reads 64 hexadecimal digits in lower case.
    pub(super) fn from_hex(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        let (pairs, rest) = text.as_chunks();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(bytes))
    }

    /// Takes the same time whatever the answer.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard() {
        let table = [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ];
        for (password, hex) in table {
            let hash = Hash::of(password.as_bytes()).unwrap();
            assert_eq!(hash.to_string(), hex);
            assert!(Hash::from_hex(hex.as_bytes()).unwrap().is(&hash));
        }
    }

    #[test]
    fn only_a_whole_hash_in_lower_case_is_one() {
        let good = "0123456789abcdef".repeat(4);
        assert!(Hash::from_hex(good.as_bytes()).is_some());
        for bad in
            [good.to_uppercase(), good.replace('0', "g"), format!("{good}0"), good[1..].to_owned()]
        {
            assert!(Hash::from_hex(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(Hash::from_hex(b"").is_none());
    }

    #[test]
    fn a_password_without_end_is_none() {
        assert!(Hash::of(&[b'x'; LONGEST]).is_some());
        assert!(Hash::of(&[b'x'; LONGEST + 1]).is_none());
    }
}
