//! Many channels with a subscriber each, beside many subscribers of one channel, while the node that carries them is
//! killed: the gap is bounded and counted, order is kept, and nobody is disconnected.
//!
//! Small here. `SLOTWAY_CROWD=full cargo test --release --test e2e pubsub_crowd -- --nocapture` makes it 10,000 channels
//! and 1,000 subscribers of one, and prints what was seen. It needs 12,000 file descriptors.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::harness::{Client, Cluster, Gateway, PATIENCE, request_line, wait_for};
use crate::pubsub::{message, metric};
use crate::pubsub_home::home_of;

/// How many publish to every channel, and how many messages each of them has under way.
const PUBLISHERS: usize = 2;
const AT_ONCE: usize = 200;
/// The channel of many.
const COMMON: &str = "common";

struct Listener {
    client: Client,
    channel: String,
    /// The rounds that it heard, by publisher.
    heard: [Vec<usize>; PUBLISHERS],
}

struct Crowd {
    gateway: Gateway,
    channels: Vec<String>,
    listeners: Vec<Listener>,
    /// Which round each publisher is in.
    rounds: [AtomicUsize; PUBLISHERS],
    marks: usize,
}

impl Listener {
    /// Takes what comes up to this mark; false: it does not come.
    fn hears(&mut self, mark: &str) -> bool {
        loop {
            let reply = match self.client.try_reply() {
                Ok(reply) => reply,
                Err(error) => {
                    let quiet = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    assert!(quiet, "{} was disconnected: {error}", self.channel);
                    return false;
                }
            };
            let (channel, text) = message(&reply);
            assert_eq!(channel, self.channel);
            match text.split_once(':') {
                None if text == mark => return true,
                None => {}
                Some((publisher, round)) => {
                    let publisher: usize = publisher.parse().unwrap();
                    self.heard[publisher].push(round.parse().unwrap());
                }
            }
        }
    }

    /// Which of these rounds it missed. The others it heard in order, and once.
    fn missed(&mut self, rounds: Range<usize>) -> BTreeSet<usize> {
        let mut missed = BTreeSet::new();
        for heard in std::mem::take(&mut self.heard) {
            assert!(heard.is_sorted_by(|one, next| one < next), "{}: {heard:?}", self.channel);
            assert!(
                heard.iter().all(|round| rounds.contains(round)),
                "{}: {heard:?}",
                self.channel
            );
            missed.extend(rounds.clone().filter(|round| !heard.contains(round)));
        }
        missed
    }
}

impl Crowd {
    fn gather(cluster: &Cluster, own: usize, common: usize) -> Self {
        let most = own + common + 100;
        let gateway =
            Gateway::before(cluster).workers(2).setting("limits.max_clients", most).start();
        let mut channels: Vec<String> = (0..own).map(|at| format!("own:{at}")).collect();
        channels.push(COMMON.to_owned());
        let wanted = (0..own + common).map(|at| channels[at.min(own)].clone());
        let listener = |(at, channel): (usize, String)| {
            let mut client = gateway.client_of(2 + (at % 2) as u8).patience(Duration::from_secs(2));
            client.send(&request_line(&format!("SUBSCRIBE {channel}")));
            Listener { client, channel, heard: Default::default() }
        };
        let mut listeners: Vec<Listener> = wanted.enumerate().map(listener).collect();
        for Listener { client, channel, .. } in &mut listeners {
            assert_eq!(client.reply().items()[1].text(), *channel);
        }
        Self { gateway, channels, listeners, rounds: Default::default(), marks: 0 }
    }

    /// Every publisher says its round to every channel, and begins the next one while `goes_on`.
    fn publish(&self, publisher: usize, goes_on: impl Fn(usize) -> bool) {
        let mut client = self.gateway.client();
        let mut round = self.rounds[publisher].load(Ordering::SeqCst);
        while goes_on(round) {
            for channels in self.channels.chunks(AT_ONCE) {
                let say = |channel| format!("PUBLISH {channel} {publisher}:{round}");
                client.pipeline(&channels.iter().map(say).collect::<Vec<_>>());
            }
            round += 1;
            self.rounds[publisher].store(round, Ordering::SeqCst);
        }
    }

    /// Everybody publishes while `goes_on`, and `meanwhile` happens.
    fn all_publish(&self, goes_on: impl Fn(usize) -> bool + Sync, meanwhile: impl FnOnce()) {
        thread::scope(|scope| {
            for publisher in 0..PUBLISHERS {
                let goes_on = &goes_on;
                scope.spawn(move || self.publish(publisher, goes_on));
            }
            meanwhile();
        });
    }

    /// The round that the last one is in; all rounds before it are said, or under way.
    fn round(&self) -> usize {
        self.rounds.iter().map(|round| round.load(Ordering::SeqCst)).max().unwrap()
    }

    /// Everybody has heard all that was published so far.
    fn catch_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut publisher = self.gateway.client();
        let mut behind: Vec<&mut Listener> = self.listeners.iter_mut().collect();
        while !behind.is_empty() {
            assert!(Instant::now() < deadline, "{} hear nothing any more", behind.len());
            self.marks += 1;
            let mark = format!("mark-{}", self.marks);
            let channels: BTreeSet<&String> =
                behind.iter().map(|listener| &listener.channel).collect();
            let lines: Vec<String> =
                channels.iter().map(|channel| format!("PUBLISH {channel} {mark}")).collect();
            lines.chunks(AT_ONCE).for_each(|lines| drop(publisher.pipeline(lines)));
            behind.retain_mut(|listener| !listener.hears(&mark));
        }
    }

    /// What everybody missed of these rounds.
    fn missed(&mut self, rounds: Range<usize>) -> BTreeSet<usize> {
        self.catch_up();
        self.listeners.iter_mut().flat_map(|listener| listener.missed(rounds.clone())).collect()
    }

    fn gaps(&self) -> f64 {
        metric(&self.gateway, "slotway_subscription_gaps_total")
    }

    /// A few rounds in which nothing happens. Everybody hears everything, unless a node that is only busy was taken
    /// for a dead one; then it is tried again.
    fn calm_rounds(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (first, gaps) = (self.round(), self.gaps());
            self.rounds.iter().for_each(|round| round.store(first, Ordering::SeqCst));
            self.all_publish(|round| round < first + 2, || {});
            let missed = self.missed(first..first + 2);
            if missed.is_empty() {
                break;
            }
            assert!(self.gaps() > gaps, "rounds {missed:?} were missed, and no gap was counted");
            assert!(Instant::now() < deadline, "gap after gap");
        }
    }
}

#[test]
fn a_crowd_outlives_the_node_that_carries_it() {
    let full = env::var("SLOTWAY_CROWD").is_ok_and(|word| word == "full");
    let (own, common) = if full { (10_000, 1_000) } else { (300, 100) };
    let mut cluster = Cluster::quick_failover();
    let begun = Instant::now();
    let mut crowd = Crowd::gather(&cluster, own, common);
    let gathered = begun.elapsed();
    crowd.calm_rounds();
    let (before, gaps) = (crowd.round(), crowd.gaps());
    let (mut killed, mut settled) = (begun, (0, begun, gaps));
    let last = AtomicUsize::new(usize::MAX);
    crowd.all_publish(
        |round| round <= last.load(Ordering::SeqCst),
        || {
            wait_for("the publishers", || crowd.round() > before);
            let home = home_of(&cluster, COMMON);
            cluster.node_mut(home).kill();
            killed = Instant::now();
            let others: Vec<usize> = (0..6).filter(|place| *place != home).collect();
            wait_for("all channels at another node", || {
                others.iter().any(|place| carries_all(&cluster, *place, own))
            });
            settled = (crowd.round(), Instant::now(), crowd.gaps());
            last.store(crowd.round(), Ordering::SeqCst);
        },
    );
    let (round, at, counted) = settled;
    let missed = crowd.missed(before..crowd.round());
    // One for each channel, and one more for the channel that both workers carry.
    assert!(counted - gaps > own as f64 + 1.5, "{} gaps counted", counted - gaps);
    if counted >= crowd.gaps() {
        let late = missed.iter().find(|missed| **missed > round);
        assert_eq!(late, None, "missed when all came again in round {round}");
    }
    crowd.calm_rounds();
    assert!(metric(&crowd.gateway, "slotway_slow_subscribers_total") < 0.5);
    println!(
        "{own} channels with one subscriber, {common} subscribers of one more, gathered in {gathered:?}: all came again {:?} after the kill, {} of {} rounds were missed by somebody, {} gaps counted",
        at - killed,
        missed.len(),
        crowd.round() - before,
        counted - gaps
    );
}

/// Whether the node carries all channels, for both workers.
fn carries_all(cluster: &Cluster, place: usize, own: usize) -> bool {
    let mut node = cluster.node(place).client();
    node.call(&format!("PUBSUB NUMSUB {COMMON}")).items()[1].integer() == 2
        && node.call("PUBSUB CHANNELS").items().len() == own + 1
}
