//! The keys that are asked for most, by the Space-Saving algorithm (Metwally, Agrawal, El Abbadi, 2005).
//!
//! A bounded list of counted keys: a key that is not in it takes the place of the one counted least, and its
//! count as a possible error. Counts fade with time, so the list follows the traffic. Crates with this algorithm
//! have no counts that fade, which is most of what is here.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use super::key_name::KeyName;

/// Keys that are counted: what is asked for more often than one in so many is certain to be among them.
const COUNTED: usize = 128;
/// In this time a count fades to half.
const HALF_LIFE: Duration = Duration::from_secs(20);
/// So many samples of a key must not have faded yet for it to be called hot: one says nothing.
const LEAST_SAMPLES: f64 = 2.0;
/// A count that has faded to this is nothing.
const FADED: f64 = 0.05;

/// A key, and how often it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HotKey {
    /// Its name.
    pub key: KeyName,
    /// Requests a second for it lately, at least.
    pub per_second: f64,
    /// Of all requests for keys, 0 to 1.
    pub share: f64,
    /// The command that it was seen with last.
    pub command: Cow<'static, str>,
}

#[derive(Debug)]
struct Counted {
    key: KeyName,
    command: Cow<'static, str>,
    count: f64,
    /// How much of the count may belong to others.
    error: f64,
}

/// What one worker counts.
#[derive(Debug, Default)]
pub(super) struct HotKeys {
    counted: Vec<Counted>,
    /// What all keys together were counted.
    all: f64,
    /// The time in which it was, fading as the counts do.
    seconds: f64,
}

impl HotKeys {
    /// A request for the key was seen, one of so many.
    pub(super) fn count(&mut self, key: &[u8], command: Cow<'static, str>, weight: f64) {
        self.all += weight;
        let hash = KeyName::hash_of(key);
        if let Some(known) = self.counted.iter_mut().find(|known| known.key.hash() == hash) {
            known.count += weight;
            known.command = command;
            return;
        }
        let key = KeyName::of(key);
        if self.counted.len() < COUNTED {
            self.counted.push(Counted { key, command, count: weight, error: 0.0 });
            return;
        }
        let least = self.counted.iter_mut().min_by(|a, b| a.count.total_cmp(&b.count));
        if let Some(least) = least {
            let error = least.count;
            *least = Counted { key, command, count: error + weight, error };
        }
    }

    /// So much time has passed.
    pub(super) fn fade(&mut self, passed: Duration) {
        let left = 0.5_f64.powf(passed.as_secs_f64() / HALF_LIFE.as_secs_f64());
        self.seconds = (self.seconds + passed.as_secs_f64()) * left;
        self.all *= left;
        for counted in &mut self.counted {
            counted.count *= left;
            counted.error *= left;
        }
        self.counted.retain(|counted| counted.count >= FADED);
    }

    /// The keys that stand out, the hottest first, where one of so many requests is seen.
    pub(super) fn hottest(&self, most: usize, weight: f64) -> Vec<HotKey> {
        let seconds = self.seconds.max(f64::MIN_POSITIVE);
        let certain = |counted: &Counted| counted.count - counted.error;
        let mut hot: Vec<_> = self
            .counted
            .iter()
            .filter(|counted| certain(counted) >= LEAST_SAMPLES * weight)
            .map(|counted| HotKey {
                key: counted.key.clone(),
                per_second: certain(counted) / seconds,
                share: certain(counted) / self.all.max(f64::MIN_POSITIVE),
                command: counted.command.clone(),
            })
            .collect();
        hot.sort_by(|a, b| b.per_second.total_cmp(&a.per_second));
        hot.truncate(most);
        hot
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counted.is_empty()
    }

    /// Requests a second for all keys together.
    pub(super) fn all_per_second(&self) -> f64 {
        self.all / self.seconds.max(f64::MIN_POSITIVE)
    }
}
