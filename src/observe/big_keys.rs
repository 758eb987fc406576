//! The keys with the largest requests and replies that were seen.

use std::borrow::Cow;

use serde::Serialize;

use super::key_name::KeyName;

/// Keys that are kept.
const KEPT: usize = 64;
/// What is smaller is nobody's trouble, in bytes.
const LEAST: usize = 1 << 10;
/// A key that was not seen for so many seconds is forgotten.
const FORGOTTEN: u64 = 3600;

/// A key, and the largest request and reply with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BigKey {
    /// Its name; of a request with several keys the first one.
    pub key: KeyName,
    /// Bytes of the larger of the two.
    pub bytes: usize,
    /// Bytes of the largest request for it.
    pub request: usize,
    /// Bytes of the largest reply.
    pub reply: usize,
    /// The command of the larger of the two.
    pub command: Cow<'static, str>,
    /// When it was last seen to be large, in seconds since 1970.
    pub seen: u64,
}

impl BigKey {
    /// The larger of each.
    pub(super) fn absorb(&mut self, other: Self) {
        self.request = self.request.max(other.request);
        self.reply = self.reply.max(other.reply);
        self.seen = self.seen.max(other.seen);
        if other.bytes > self.bytes {
            self.bytes = other.bytes;
            self.command = other.command;
        }
    }
}

/// What one worker saw.
#[derive(Debug, Default)]
pub(super) struct BigKeys(Vec<BigKey>);

impl BigKeys {
    pub(super) fn see(&mut self, seen: BigKey) {
        let Self(keys) = self;
        if let Some(known) = keys.iter_mut().find(|known| known.key.hash() == seen.key.hash()) {
            known.absorb(seen);
        } else if keys.len() < KEPT {
            keys.push(seen);
        } else if let Some(least) = keys.iter_mut().min_by_key(|known| known.bytes)
            && least.bytes < seen.bytes
        {
            *least = seen;
        }
    }

    /// What is smaller than this makes no difference.
    pub(super) fn floor(&self) -> usize {
        let smallest = self.0.iter().map(|known| known.bytes).min().unwrap_or(0);
        if self.0.len() < KEPT { LEAST } else { smallest.max(LEAST) }
    }

    /// Forgets what was not seen for long.
    pub(super) fn forget(&mut self, now: u64) {
        self.0.retain(|known| known.seen + FORGOTTEN > now);
    }

    pub(super) fn all(&self) -> Vec<BigKey> {
        self.0.clone()
    }
}
