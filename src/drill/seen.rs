//! What clients saw: every request with its time and its outcome.

use std::collections::BTreeMap;
use std::time::Duration;

/// Most requests that are remembered one by one; the drill's own clients come nowhere near.
const MOST_SAMPLES: usize = 4 << 20;
/// Most kinds of errors that are told apart.
const MOST_KINDS: usize = 16;

/// What a group of clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    samples: Vec<Sample>,
    /// Requests that failed, by the error's first word or what happened to the connection.
    pub(super) errors: BTreeMap<String, u64>,
    /// Redirections that were followed.
    pub(super) redirects: u64,
    /// Writes that were acknowledged and are gone.
    pub(super) lost: u64,
    /// The longest time that a client was without an answer of use.
    pub(super) longest_pause: Duration,
}

/// A request that was answered as it should be. Times count from the start of the drill.
#[derive(Clone, Copy, Debug)]
struct Sample {
    sent: Duration,
    answered: Duration,
}

/// When the event began and when the shard was served again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases {
    pub(super) began: Duration,
    pub(super) ended: Duration,
}

/// How long requests took: half of them at most the first, all but one in a hundred at most the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Seen {
    pub(super) fn answered(&mut self, sent: Duration, answered: Duration) {
        if self.samples.len() < MOST_SAMPLES {
            self.samples.push(Sample { sent, answered });
        }
    }

    pub(super) fn failed(&mut self, kind: String) {
        let kind = match self.errors.len() < MOST_KINDS || self.errors.contains_key(&kind) {
            true => kind,
            false => "other".to_owned(),
        };
        *self.errors.entry(kind).or_default() += 1;
    }

    pub(super) fn paused(&mut self, time: Duration) {
        self.longest_pause = self.longest_pause.max(time);
    }

    /// Requests that were answered.
    pub(super) fn count(&self) -> usize {
        self.samples.len()
    }

    /// Of requests before, during and after. A request belongs to the event if it was under way in it.
    pub(super) fn latencies(&self, Phases { began, ended }: Phases) -> [Latency; 3] {
        let mut times = [const { Vec::new() }; 3];
        let [before, during, after] = &mut times;
        for Sample { sent, answered } in &self.samples {
            let phase = match () {
                () if *answered < began => &mut *before,
                () if *sent > ended => &mut *after,
                () => &mut *during,
            };
            phase.push(answered.saturating_sub(*sent));
        }
        times.map(Latency::of)
    }
}

impl Phases {
    /// How long the event took.
    pub(super) fn length(self) -> Duration {
        self.ended.saturating_sub(self.began)
    }
}

impl Latency {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(place).copied().unwrap_or_default()
        };
        Self { p50: at(50), p99: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn latencies_belong_to_their_phases() {
        let mut seen = Seen::default();
        for n in 0..100 {
            seen.answered(millis(n), millis(2 * n + 1));
        }
        seen.answered(millis(250), millis(400));
        seen.answered(millis(600), millis(607));
        let phases = Phases { began: millis(300), ended: millis(500) };
        let [before, during, after] = seen.latencies(phases);
        assert_eq!(before, Latency { p50: millis(50), p99: millis(99) });
        assert_eq!(during, Latency { p50: millis(150), p99: millis(150) });
        assert_eq!(after, Latency { p50: millis(7), p99: millis(7) });
        assert_eq!(phases.length(), millis(200));
        assert_eq!(Seen::default().latencies(phases), [Latency::default(); 3]);
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let mut seen = Seen::default();
        for n in 0..100 {
            seen.failed(format!("E{n}"));
            seen.failed("E1".to_owned());
        }
        assert_eq!(seen.errors.len(), MOST_KINDS + 1);
        assert_eq!(seen.errors["E1"], 101);
        assert_eq!(seen.errors.values().sum::<u64>(), 200);
    }
}
