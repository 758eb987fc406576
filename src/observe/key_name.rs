//! A key as it is shown and told from others, whatever its length.

use std::fmt;
use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use serde::{Serialize, Serializer};

/// Bytes of a key that are kept.
const SHOWN: usize = 128;

/// The beginning of a key, its length, and a hash of it all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    shown: Vec<u8>,
    length: usize,
    hash: u64,
}

impl KeyName {
    /// The name of this key; the same in every worker.
    pub fn of(key: &[u8]) -> Self {
        let shown = key.get(..SHOWN).unwrap_or(key).to_vec();
        Self { shown, length: key.len(), hash: Self::hash_of(key) }
    }

    /// What tells keys apart here. Two that are alike would be counted as one, nothing worse.
    pub(super) fn hash_of(key: &[u8]) -> u64 {
        FixedState::default().hash_one(key)
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}

/// Bytes as text: as they are if they are readable, else escaped.
pub(super) fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&readable(&self.shown))?;
        match self.length - self.shown.len() {
            0 => Ok(()),
            more => write!(f, "... ({more} more bytes)"),
        }
    }
}

impl Serialize for KeyName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
