//! How much each user may send and be sent in a second.
//!
//! Invariant: nothing is refused. A request of a user that is ahead of its rate waits for its turn, and what
//! follows it on its connection waits with it; so a client that only goes too fast is slowed down, as if by a
//! slower network. All connections of a user, on all workers, take turns from the same account.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::backend::micros;
use crate::config::{Limits, Rate};
use crate::metrics::Limit;
use crate::resp::Request;

use super::conversation::Conversation;
use super::worker::Gateway;

/// The setting for every user that is not named.
const EVERYONE: &str = "*";

/// Nanoseconds since the rates began.
type Nanos = u64;

/// What has a rate, as an account that is paid off by time alone.
struct Meter {
    /// When everything that was taken will be paid off.
    paid_off: AtomicU64,
    per_second: u64,
    /// How far ahead of time that may be.
    ahead: Nanos,
}

impl Meter {
    fn of(rate: Rate) -> Self {
        let per_second = rate.per_second.max(1) as u64;
        let ahead = price(rate.burst.saturating_sub(1) as u64, per_second);
        Self { paid_off: AtomicU64::new(0), per_second, ahead }
    }

    /// Takes so much, and says when it is its taker's turn. Even what is more than the burst gets one; the next
    /// ones pay for it.
    fn take(&self, amount: u64, now: Nanos) -> Nanos {
        let price = price(amount, self.per_second);
        let taken = |paid_off: Nanos| Some(paid_off.max(now).saturating_add(price));
        let before = self.paid_off.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        before.unwrap_or_default().saturating_sub(self.ahead)
    }
}

fn price(amount: u64, per_second: u64) -> Nanos {
    let nanos = u128::from(amount) * 1_000_000_000 / u128::from(per_second);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// The rates of one user.
pub(super) struct Pace {
    commands: Option<Meter>,
    bytes: Option<Meter>,
    began: Instant,
    /// Other rates are in its place.
    replaced: CancellationToken,
}

impl Pace {
    /// Takes a command with so many bytes, after so many bytes of replies, and says how long it has to wait.
    fn take(&self, bytes: usize, replies: usize) -> Duration {
        let now = self.began.elapsed().as_nanos() as Nanos;
        if let Some(meter) = &self.bytes {
            // They have left, so it is the request that waits for them.
            meter.take(replies as u64, now);
        }
        let turn = |meter: &Option<Meter>, amount| {
            meter.as_ref().map_or(0, |meter| meter.take(amount, now))
        };
        let turn = turn(&self.commands, 1).max(turn(&self.bytes, bytes as u64));
        Duration::from_nanos(turn.saturating_sub(now))
    }
}

/// The rates of all users.
pub(super) struct Rates {
    began: Instant,
    table: ArcSwap<Table>,
}

/// What the settings say, and what follows from it for each user that has been seen.
#[derive(Clone, Default)]
struct Table {
    commands: Arc<BTreeMap<String, Rate>>,
    bytes: Arc<BTreeMap<String, Rate>>,
    paces: HashMap<Vec<u8>, Arc<Pace>>,
}

impl Rates {
    pub(super) fn new(settings: &Limits) -> Self {
        Self { began: Instant::now(), table: ArcSwap::from_pointee(Table::of(settings)) }
    }

    /// Other rates hold from now on. Who waits by one that has changed waits no longer.
    fn limit_to(&self, settings: &Limits) {
        let before = self.table.load();
        let mut table = Table::of(settings);
        let is_same = |name: &[u8]| before.rates(name) == table.rates(name);
        let kept = |(name, _): &(&Vec<u8>, &Arc<Pace>)| is_same(name);
        let (paces, replaced): (HashMap<_, _>, HashMap<_, _>) = before.paces.iter().partition(kept);
        table.paces = paces.into_iter().map(|(name, pace)| (name.clone(), pace.clone())).collect();
        self.table.store(Arc::new(table));
        replaced.values().for_each(|pace| pace.replaced.cancel());
    }

    /// Those of the user of this name, if it has any.
    pub(super) fn of(&self, name: &[u8]) -> Option<Arc<Pace>> {
        if let Some(known) = self.table.load().paces.get(name) {
            return Some(known.clone());
        }
        if self.table.load().rates(name) == (None, None) {
            return None;
        }
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            let (commands, bytes) = table.rates(name);
            let (commands, bytes) = (commands.map(Meter::of), bytes.map(Meter::of));
            let (began, replaced) = (self.began, CancellationToken::new());
            let new = || Arc::new(Pace { commands, bytes, began, replaced });
            table.paces.entry(name.to_vec()).or_insert_with(new);
            table
        });
        self.table.load().paces.get(name).cloned()
    }
}

impl Table {
    fn of(settings: &Limits) -> Self {
        Self {
            commands: Arc::new(settings.user_commands.clone()),
            bytes: Arc::new(settings.user_bytes.clone()),
            paces: HashMap::new(),
        }
    }

    fn rates(&self, name: &[u8]) -> (Option<Rate>, Option<Rate>) {
        (find(&self.commands, name), find(&self.bytes, name))
    }
}

fn find(rates: &BTreeMap<String, Rate>, name: &[u8]) -> Option<Rate> {
    let name = std::str::from_utf8(name).unwrap_or_default();
    rates.get(name).or_else(|| rates.get(EVERYONE)).copied()
}

impl Gateway {
    /// Users have the rates of these settings from now on, those that are connected as well.
    pub fn limit_users(&self, settings: &Limits) {
        self.rates.limit_to(settings);
        self.access.look_again();
    }
}

impl Conversation {
    /// Whether the request has to wait for its user's turn. Then the session is woken when that has come, and
    /// the request is served again, which it has paid for.
    pub(super) fn awaits_turn(&mut self, request: &Request<'_>) -> bool {
        let Some(pace) = self.pace.as_ref().filter(|_| !self.has_paid) else { return false };
        let pause = pace.take(request.frame().len(), self.replies.take_sent());
        self.has_paid = true;
        if pause.is_zero() {
            return false;
        }
        let metrics = &self.worker.metrics;
        metrics.limit_reached(Limit::Rate);
        metrics.rate_waited(u32::try_from(micros(pause)).unwrap_or(u32::MAX));
        self.rests = true;
        self.client.awaits_turn.set(true);
        let (client, replaced) = (self.client.clone(), pace.replaced.clone());
        let turn = spawn_local(async move {
            // Either way it goes on.
            let _ = timeout(pause, replaced.cancelled()).await;
            client.awaits_turn.set(false);
            client.wake();
        });
        self.turn = Some(AbortOnDropHandle::new(turn));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn meter(per_second: usize, burst: usize) -> Meter {
        Meter::of(Rate { per_second, burst })
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_takes_turns() {
        let meter = meter(10, 3);
        let start = 5 * SECOND;
        let turns: Vec<Nanos> = (0..6).map(|_| meter.take(1, start)).collect();
        assert!(turns[..3].iter().all(|turn| *turn <= start), "{turns:?}");
        assert_eq!(turns[3..], [1, 2, 3].map(|tenths| start + tenths * SECOND / 10));
        assert!(meter.take(1, 100 * SECOND) <= 100 * SECOND, "paid off");
    }

    #[test]
    fn what_is_more_than_the_burst_is_paid_for_by_the_next() {
        let meter = meter(1000, 100);
        assert!(meter.take(5000, SECOND) <= SECOND);
        let turn = meter.take(1, SECOND);
        assert!((5..7).contains(&(turn / SECOND)), "{turn}");
        assert!(meter.take(usize::MAX as u64, SECOND) < u64::MAX, "nothing overflows");
        assert_eq!(meter.take(u64::MAX, SECOND), u64::MAX - meter.ahead);
    }

    #[test]
    fn each_user_has_an_account_of_its_own() {
        let named = Rate { per_second: 5, burst: 5 };
        let others = Rate { per_second: 1, burst: 1 };
        let user_commands =
            [("app".to_owned(), named), (EVERYONE.to_owned(), others)].into_iter().collect();
        let user_bytes = [("app".to_owned(), named)].into_iter().collect();
        let rates = Rates::new(&Limits { user_commands, user_bytes, ..Limits::default() });
        let app = rates.of(b"app").unwrap();
        assert!(Arc::ptr_eq(&app, &rates.of(b"app").unwrap()));
        assert!(app.bytes.is_some());
        let (one, two) = (rates.of(b"one").unwrap(), rates.of(b"\xff").unwrap());
        assert!(!Arc::ptr_eq(&one, &two) && one.bytes.is_none());
        assert_eq!(one.commands.as_ref().unwrap().per_second, 1);
        assert!(Rates::new(&Limits::default()).of(b"app").is_none());
    }

    #[test]
    fn other_settings_replace_what_they_change_and_nothing_else() {
        let rate = |per_second| Rate { per_second, burst: 1 };
        let limits = |rates: &[(&str, Rate)]| Limits {
            user_commands: rates.iter().map(|(name, rate)| ((*name).to_owned(), *rate)).collect(),
            ..Limits::default()
        };
        let rates = Rates::new(&limits(&[("one", rate(1)), ("two", rate(2)), ("three", rate(3))]));
        let [one, two, three] =
            ["one", "two", "three"].map(|name| rates.of(name.as_bytes()).unwrap());
        rates.limit_to(&limits(&[("one", rate(1)), ("two", rate(5)), ("four", rate(4))]));
        assert!(Arc::ptr_eq(&one, &rates.of(b"one").unwrap()), "what it has taken, it has taken");
        assert_eq!(rates.of(b"two").unwrap().commands.as_ref().unwrap().per_second, 5);
        assert!(rates.of(b"three").is_none() && rates.of(b"four").is_some());
        let replaced = [one, two, three].map(|pace| pace.replaced.is_cancelled());
        assert_eq!(replaced, [false, true, true]);
    }
}
