//! The figures of a run: what the gateway counted, how long clients waited, and what it cost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, thread};

use crate::harness::Gateway;
use crate::history::Moment;
use crate::load::{Asked, Journal};
use crate::witness::Outage;

/// Counters of the gateway that tell of calm, and what they are called on its metrics page.
const COUNTERS: [(&str, &str); 5] = [
    ("retried", "slotway_retries_total"),
    ("held", "slotway_holds_total"),
    ("uncertain", "slotway_uncertain_total"),
    ("gaps", "slotway_subscription_gaps_total"),
    ("panics", "slotway_panics_total"),
];

/// Seconds in which a process has taken up what it needs, and something that grows would show.
const LONG_ENOUGH: usize = 60;

/// What gateways counted, by the names above.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted(BTreeMap<&'static str, u64>);

impl Counted {
    /// Adds what this gateway says now. It counts from its start, so it is to be asked once, before it ends.
    pub(crate) fn add(&mut self, gateway: &Gateway) {
        let (_, page) = gateway.page("/metrics");
        for (name, series) in COUNTERS {
            let values =
                page.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
            let sum: f64 = values.filter_map(|value| value.parse::<f64>().ok()).sum();
            *self.0.entry(name).or_default() += sum as u64;
        }
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

/// The longest times that clients waited, without those who wanted to wait.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pauses {
    pub(crate) longest: Moment,
    /// While the cluster itself served everything.
    pub(crate) beyond: Moment,
    /// Whose that was.
    pub(crate) of: Option<Asked>,
}

impl Pauses {
    pub(crate) fn of(asked: &[Asked], outages: &[Outage]) -> Self {
        let mut pauses = Self::default();
        for asked in asked.iter().filter(|asked| asked.class.is_prompt()) {
            let span = asked.span;
            pauses.longest = pauses.longest.max(span.answered - span.sent);
            let met = |outage: &&Outage| outage.begin < span.answered && outage.end > span.sent;
            let served = outages.iter().filter(met).map(|outage| outage.end).max();
            let since = served.unwrap_or_default().max(span.sent);
            let beyond = span.answered.saturating_sub(since);
            if beyond > pauses.beyond {
                (pauses.beyond, pauses.of) = (beyond, Some(*asked));
            }
        }
        pauses
    }
}

/// The time within which 99 of 100 of these were answered.
pub(crate) fn p99<'a>(asked: impl Iterator<Item = &'a Asked>) -> Moment {
    let prompt = asked.filter(|asked| asked.class.is_prompt());
    let mut times: Vec<Moment> =
        prompt.map(|asked| asked.span.answered - asked.span.sent).collect();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// How many errors there were of each kind: its first word, and for whom.
pub(crate) fn kinds(journal: &Journal) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for trouble in &journal.troubles {
        let word = trouble.text.split(' ').next().unwrap_or_default();
        *kinds.entry(format!("{word} ({:?})", trouble.asked.class)).or_default() += 1;
    }
    kinds
}

/// Memory and descriptors of a gateway's processes, one after the other, once a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weight(Vec<Weighed>);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Weighed {
    process: u32,
    pub(crate) bytes: usize,
    pub(crate) descriptors: usize,
}

impl Weight {
    /// Looks once a second at whatever process is the one, until it is told to stop.
    pub(crate) fn watch(process: &AtomicU32, stop: &AtomicBool) -> Self {
        let mut weight = Self::default();
        while !stop.load(Ordering::Relaxed) {
            weight.0.extend(weigh(process.load(Ordering::Relaxed)));
            for _ in 0..20 {
                thread::sleep(Duration::from_millis(50));
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
        weight
    }

    /// Most bytes at any time.
    pub(crate) fn most(&self) -> usize {
        self.0.iter().map(|weighed| weighed.bytes).max().unwrap_or_default()
    }

    /// All of it, and what one process has of it that was there long enough to grow.
    pub(crate) fn stretches(&self) -> Vec<&[Weighed]> {
        let each = self.0.chunk_by(|one, next| one.process == next.process);
        each.filter(|stretch| stretch.len() >= LONG_ENOUGH).chain([&self.0[..]]).collect()
    }

    /// Medians of the second quarter of the time and of the last one: at first there is nothing to hold yet.
    pub(crate) fn growth(stretch: &[Weighed], of: impl Fn(&Weighed) -> usize) -> (usize, usize) {
        let quarter = stretch.len() / 4;
        let median = |part: &[Weighed]| {
            let mut part: Vec<usize> = part.iter().map(&of).collect();
            part.sort_unstable();
            part.get(part.len() / 2).copied().unwrap_or_default()
        };
        (median(&stretch[quarter..2 * quarter]), median(&stretch[3 * quarter..]))
    }
}

/// `None` when it has just ended.
fn weigh(process: u32) -> Option<Weighed> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
    let pages = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let resident: usize = pages.split(' ').nth(1)?.parse().ok()?;
    Some(Weighed { process, bytes: resident * rustix::param::page_size(), descriptors })
}
