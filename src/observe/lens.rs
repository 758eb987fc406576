//! One worker's look at its requests. However many there are, it looks at a bounded number of them each second.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::command::{CommandSpec, Commands, Role};
use crate::config::{Live, Observe};
use crate::metrics::Metrics;
use crate::resp::{Limits, Parsed, Request, RequestParser};

use super::big_keys::{BigKey, BigKeys};
use super::hot_keys::HotKeys;
use super::key_name::KeyName;
use super::pace::Pace;
use super::sights::{Seen, Sights};
use super::slow_log::{Excerpt, Slow, SlowLog, Who};

/// Requests in one second whose keys are counted, and requests and replies whose size is noted, before fewer are.
const SAMPLES: u32 = 1000;
const LARGE_ONES: u32 = 200;
/// Keys of one request that are counted, and requests of one transaction that are looked at.
const KEYS: usize = 64;
const BLOCK: usize = 64;
/// Whoever read the requests has bounded them.
const ANY: Limits =
    Limits { arguments: 1 << 32, bulk_bytes: 1 << 40, line_bytes: 1 << 40, request_bytes: 1 << 40 };
/// Hot keys that a worker shows.
const SHOWN: usize = 64;

/// A request that is answered.
#[derive(Debug)]
pub struct Look<'a> {
    /// As it was sent; of a transaction the whole block.
    pub request: &'a [u8],
    /// Microseconds from its arrival to its answer.
    pub total: u64,
    /// Of those, the ones between sending it to a node and the reply, if it was one node.
    pub node: Option<u64>,
    /// Bytes of the reply.
    pub reply: usize,
    /// It is one of the samples whose keys are counted.
    pub sample: bool,
}

/// A slow request's name, and who sent it.
pub type Sender = (String, Who);

/// Which requests to look at next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// Those that took so many microseconds.
    pub slow: u64,
    /// Those with a request or a reply of so many bytes.
    pub large: usize,
    /// After a sample, the one that follows so many others is the next one; `None`: no samples are taken.
    pub skip: Option<u32>,
}

/// What one worker has seen, and what it looks for.
#[derive(Debug)]
pub struct Lens {
    live: Arc<Live>,
    /// As they were when the last turn ended.
    settings: Observe,
    commands: Arc<ArcSwap<Commands>>,
    metrics: Arc<Metrics>,
    sights: Arc<Sights>,
    seat: usize,
    hot: HotKeys,
    samples: Pace,
    big: BigKeys,
    large_ones: Pace,
    slow: SlowLog,
    /// Something is to be shown.
    news: bool,
}

impl Lens {
    /// For a worker that begins.
    pub fn new(
        live: Arc<Live>,
        sights: Arc<Sights>,
        commands: Arc<ArcSwap<Commands>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let settings = live.now().observe.clone();
        Self {
            seat: sights.take_seat(),
            slow: SlowLog::new(settings.slow_length),
            live,
            settings,
            commands,
            metrics,
            sights,
            hot: HotKeys::default(),
            samples: Pace::new(SAMPLES),
            big: BigKeys::default(),
            large_ones: Pace::new(LARGE_ONES),
            news: false,
        }
    }

    /// What to look for from now on.
    pub fn aim(&self) -> Aim {
        // Chance keeps the samples from falling into step with a client that repeats itself.
        let every = self.samples.every();
        Aim {
            slow: self.slow_from(),
            large: self.large_from(),
            skip: self.settings.keys.then(|| fastrand::u32(0..2 * every - 1)),
        }
    }

    fn slow_from(&self) -> u64 {
        let is_on = !self.settings.slow_time.is_zero() && self.slow.has_room();
        if is_on { self.settings.slow_time.as_micros() as u64 } else { u64::MAX }
    }

    fn large_from(&self) -> usize {
        let floor = self.big.floor().saturating_mul(self.large_ones.every() as usize);
        if self.settings.keys { floor } else { usize::MAX }
    }

    /// Looks at a request. Which it is and whose is asked of those that were slow.
    pub fn look(&mut self, look: &Look<'_>, sender: impl FnOnce() -> Sender) {
        let commands = self.commands.load_full();
        let (slow, sample) = (look.total >= self.slow_from(), look.sample && self.settings.keys);
        let mut excerpt = Excerpt::default();
        let (mut rest, mut parser) = (look.request, RequestParser::new());
        for _ in 0..BLOCK {
            let Ok(Parsed::Request(length)) = parser.parse(rest, &ANY, true) else { break };
            let request = parser.request(rest);
            let spec = commands.resolve(&request).ok();
            if let Some(spec) = spec.filter(|_| sample) {
                self.count(spec, &request);
            }
            if let Some(spec) = spec.filter(|_| length == look.request.len()) {
                self.weigh(spec, &request, look);
            }
            if slow {
                excerpt.take(&request, spec.map_or(1, open_arguments));
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        if sample {
            self.samples.looked();
        }
        if slow {
            self.log(look, excerpt.finish(), sender());
        }
        self.news = true;
    }

    /// A sample: counts its keys.
    fn count(&mut self, spec: &CommandSpec, request: &Request<'_>) {
        let (hot, weight) = (&mut self.hot, f64::from(self.samples.every()));
        let mut left = KEYS;
        // Of a request whose keys cannot be told the ones before are counted.
        let _ = spec.keys(request, |key| {
            if let Some(name) =
                request.arg(key.at).filter(|_| key.role != Role::Channel && left > 0)
            {
                left -= 1;
                hot.count(name, spec.name.clone(), weight);
            }
        });
    }

    /// Notes the key of a request that is large, or has a large reply.
    fn weigh(&mut self, spec: &CommandSpec, request: &Request<'_>, look: &Look<'_>) {
        let bytes = look.request.len().max(look.reply);
        let key = spec.keys.first(request).and_then(|at| request.arg(at));
        let Some(key) = key.filter(|_| bytes >= self.large_from()) else { return };
        self.large_ones.looked();
        self.big.see(BigKey {
            key: KeyName::of(key),
            bytes,
            request: look.request.len(),
            reply: look.reply,
            command: spec.name.clone(),
            seen: now(),
        });
    }

    fn log(&mut self, look: &Look<'_>, command: Vec<Vec<u8>>, (request, who): Sender) {
        self.metrics.slow_logged();
        self.slow.add(Slow {
            id: self.sights.next_entry(),
            at: now(),
            micros: look.total,
            node_micros: look.node,
            request,
            command,
            who,
        });
    }

    /// So much time has passed, about a second: lets counts fade, and shows what there is to see.
    pub fn turn(&mut self, passed: Duration) {
        self.samples.turn();
        self.large_ones.turn();
        self.settings = self.live.now().observe.clone();
        self.slow.turn(self.settings.slow_length);
        if !self.news {
            return;
        }
        self.hot.fade(passed);
        self.big.forget(now());
        let weight = f64::from(self.samples.every());
        let seen = Seen {
            hot: self.hot.hottest(SHOWN, weight),
            per_second: self.hot.all_per_second(),
            big: self.big.all(),
            slow: self.slow.all(),
        };
        self.news = !self.hot.is_empty();
        self.sights.show(self.seat, seen);
    }
}

/// How many arguments of a command anybody may see. What administrators give behind what it is about may be a
/// secret.
fn open_arguments(spec: &CommandSpec) -> usize {
    let words = spec.name.split(' ').count();
    if spec.is_administrative() { words + 1 } else { usize::MAX }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
