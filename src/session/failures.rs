//! Failed logins are answered late, the later the more of them an address has made.
//!
//! Only the answer to the failed login waits, so nobody is kept out who knows the password.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::backend::Micros;

use super::origin::origin;

/// Addresses remembered at most.
const MOST: usize = 1024;
/// The pause doubles so often at most.
const DOUBLINGS: u32 = 6;
/// Without a failure for so long, an address is forgotten.
const FORGOTTEN: Micros = 60_000_000;

/// The failed logins of late at one worker.
#[derive(Default)]
pub(super) struct Failures {
    /// How often the pause has doubled, and when the last failure was.
    recent: RefCell<HashMap<IpAddr, (u32, Micros)>>,
}

impl Failures {
    /// A login failed; its answer waits so long, where the first one waits for `pause`.
    pub(super) fn failed(&self, address: IpAddr, now: Micros, pause: Duration) -> Duration {
        if pause.is_zero() {
            return Duration::ZERO;
        }
        let mut recent = self.recent.borrow_mut();
        if recent.len() >= MOST {
            make_room(&mut recent, now);
        }
        let known = recent.get(&origin(address)).filter(|(_, last)| is_recent(*last, now));
        let doublings = known.map_or(0, |(doublings, _)| (doublings + 1).min(DOUBLINGS));
        recent.insert(origin(address), (doublings, now));
        pause * (1 << doublings)
    }

    /// Somebody there knows the password.
    pub(super) fn succeeded(&self, address: IpAddr) {
        let mut recent = self.recent.borrow_mut();
        if !recent.is_empty() {
            recent.remove(&origin(address));
        }
    }
}

fn make_room(recent: &mut HashMap<IpAddr, (u32, Micros)>, now: Micros) {
    recent.retain(|_, (_, last)| is_recent(*last, now));
    if recent.len() >= MOST {
        let oldest = recent.iter().min_by_key(|(_, (_, last))| *last).map(|(address, _)| *address);
        oldest.and_then(|address| recent.remove(&address));
    }
}

fn is_recent(last: Micros, now: Micros) -> bool {
    now.saturating_sub(last) <= FORGOTTEN
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(10);

    fn millis(failures: &Failures, address: &str, now: Micros) -> u128 {
        failures.failed(address.parse().unwrap(), now, PAUSE).as_millis()
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_are_forgotten() {
        let failures = Failures::default();
        let start = 7;
        let pauses: Vec<_> = (0..9).map(|now| millis(&failures, "10.0.0.1", start + now)).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 640, 640]);
        assert_eq!(millis(&failures, "10.0.0.2", start), 10, "another address");
        assert_eq!(millis(&failures, "10.0.0.1", start + 10 + FORGOTTEN * 2), 10, "long ago");
        failures.succeeded("10.0.0.1".parse().unwrap());
        assert_eq!(millis(&failures, "10.0.0.1", start + 10 + FORGOTTEN * 2), 10, "after success");
    }

    #[test]
    fn addresses_of_one_block_are_one() {
        let failures = Failures::default();
        let now = 7;
        assert_eq!(millis(&failures, "2001:db8::1", now), 10);
        assert_eq!(millis(&failures, "2001:db8::2", now), 20);
        assert_eq!(millis(&failures, "2001:db8:0:1::2", now), 10);
        assert_eq!(millis(&failures, "::ffff:10.0.0.1", now), 10);
        assert_eq!(millis(&failures, "10.0.0.1", now), 20);
    }

    #[test]
    fn it_remembers_few_and_may_be_off() {
        let failures = Failures::default();
        for number in 0..5000_u32 {
            failures.failed(IpAddr::from(number.to_be_bytes()), u64::from(number), PAUSE);
        }
        assert_eq!(failures.recent.borrow().len(), MOST);
        assert!(failures.failed(IpAddr::from([10, 0, 0, 1]), 1, Duration::ZERO).is_zero());
    }
}
