//! The refresher: keeps the published topology true. It lives on the control thread and asks the nodes.
//!
//! One round at a time: up to three nodes are asked at once, the newest word on each slot wins, and what
//! changed is published. A node is asked over one connection that stays open, and never while its last answer
//! is still owed, so a slow node is not made slower.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::backend::Reason;
use crate::cluster::{Health, Slot, Software, Topology, View, merge_views};

use super::question::{Answer, Failure, Line, question};

pub use super::question::{Entry, try_cluster};

/// Nodes asked at once.
const ASKED_AT_ONCE: usize = 3;
/// When one node has answered, the others get this much longer.
const GRACE: Duration = Duration::from_millis(50);
/// Time between two looks while slots are not served or their primaries are in doubt.
const UNSETTLED: Duration = Duration::from_millis(500);
/// Longest time between two looks while no node answers.
const SILENCE: Duration = Duration::from_secs(1);
/// Least time between two looks, whatever the settings say.
const LEAST: Duration = Duration::from_millis(10);

/// A worker's word to the refresher: look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What happened.
    pub reason: Reason,
    /// Address to dial of the node concerned. One that a redirection named is asked first: the topology may not know
    /// it yet.
    pub heard_of: Option<Arc<str>>,
}

/// What the refresher found out.
#[derive(Clone, Copy)]
pub enum News<'a> {
    /// The topology that is published now.
    Topology(&'a Topology),
    /// What the nodes that have been asked run.
    Software(Software),
    /// What a node answered to `COMMAND`, as received.
    Commands(&'a [u8]),
}

/// Keeps `topology` true until `stop`. Looks at the cluster at once, then on a timer, and whenever a message
/// comes in by `wanted`, though never more often than `refresh_min_interval`; messages that come in between are
/// answered by one look. `on_news` is called for every change.
///
/// Must run on a `LocalRuntime` or in a `LocalSet`.
pub async fn run(
    entry: Entry,
    topology: Arc<ArcSwap<Topology>>,
    mut wanted: mpsc::Receiver<Wanted>,
    on_news: impl Fn(News<'_>),
    stop: CancellationToken,
) {
    let mut refresher = Refresher::new(entry, topology);
    let mut heard_of = Vec::new();
    let looking = async {
        loop {
            let started = Instant::now();
            let views = refresher.look(&heard_of).await;
            if let Some(software) = refresher.take_software() {
                on_news(News::Software(software));
            }
            for commands in std::mem::take(&mut refresher.commands) {
                on_news(News::Commands(&commands));
            }
            if let Some(next) = refresher.publish(&views) {
                on_news(News::Topology(&next));
            }
            let pause = refresher.pause(started, &views);
            heard_of = rest(pause, &mut wanted).await;
        }
    };
    tokio::select! {
        () = looking => {}
        () = stop.cancelled() => {}
    }
}

/// State between two looks.
struct Refresher {
    entry: Entry,
    topology: Arc<ArcSwap<Topology>>,
    contacts: HashMap<Arc<str>, Contact>,
    asking: JoinSet<(Arc<str>, Result<Answer, Failure>)>,
    /// Looks in a row that found nobody.
    failures: u32,
    /// What was told last.
    software: Option<Software>,
    /// What nodes said of their commands, and was not told yet.
    commands: Vec<Bytes>,
}

/// What is known of an address that was asked before.
#[derive(Default)]
struct Contact {
    /// The open connection, unless an answer is owed on it.
    line: Option<Line>,
    /// The question that still waits for its answer.
    question: Option<task::Id>,
    /// What went wrong the last time.
    trouble: Option<String>,
    /// What it runs, as far as it has told.
    software: Option<Software>,
}

/// When to look again: not before the first time, and not after the second.
#[derive(Clone, Copy, Debug)]
struct Pause {
    least: Instant,
    most: Instant,
}

impl Refresher {
    fn new(entry: Entry, topology: Arc<ArcSwap<Topology>>) -> Self {
        let (contacts, asking) = (HashMap::new(), JoinSet::new());
        let commands = Vec::new();
        Self { entry, topology, contacts, asking, failures: 0, software: None, commands }
    }

    /// Asks until a working node has answered, or any node when none of the first ones worked, or a fair number of
    /// nodes has been tried.
    async fn look(&mut self, heard_of: &[Arc<str>]) -> Vec<View> {
        // Answers that came too late for the look they belong to only give their connections back.
        while let Some(late) = self.asking.try_join_next() {
            self.settle(late);
        }
        self.forget_strangers();
        let mut views = Vec::new();
        for (turn, batch) in self.batches(heard_of).into_iter().enumerate() {
            batch.iter().for_each(|address| self.ask(address));
            self.listen(batch.into_iter().collect(), &mut views).await;
            // When the whole cluster is down there is no working node to be found.
            let enough = turn > 0 && !views.is_empty();
            if enough || views.iter().any(|view| view.healthy) {
                break;
            }
        }
        self.meet_strangers();
        views
    }

    /// Asks a few nodes that were never asked, without waiting for them, so that what every node runs is
    /// known in time; and some of those in trouble, whom no look comes to as long as the others are well.
    fn meet_strangers(&mut self) {
        let topology = self.topology.load();
        let mut strangers: Vec<_> = topology.nodes().map(|node| &node.address).collect();
        fastrand::shuffle(&mut strangers);
        let is_strange = |address: &&Arc<str>| match self.contacts.get(*address) {
            None => true,
            Some(contact) => contact.trouble.is_some() && contact.question.is_none(),
        };
        let strangers: Vec<_> =
            strangers.into_iter().filter(is_strange).take(ASKED_AT_ONCE).cloned().collect();
        strangers.iter().for_each(|address| self.ask(address));
    }

    /// What the nodes have in common, if that has changed.
    fn take_software(&mut self) -> Option<Software> {
        let told = self.contacts.values().filter_map(|contact| contact.software);
        let software = Software::in_common(told)?;
        (self.software.replace(software) != Some(software)).then_some(software)
    }

    /// Whom to ask, in groups: nodes heard of and known ones, then seeds, then more of both. Primaries come
    /// first, and last those in trouble; otherwise it is chance, so that every node is asked in time.
    fn batches(&self, heard_of: &[Arc<str>]) -> Vec<Vec<Arc<str>>> {
        let topology = self.topology.load();
        let primaries: HashSet<_> =
            topology.shards().iter().map(|shard| &shard.primary.address).collect();
        let mut known: Vec<_> = topology.nodes().collect();
        fastrand::shuffle(&mut known);
        known.sort_by_key(|node| {
            let in_trouble =
                self.contacts.get(&node.address).is_some_and(|contact| contact.trouble.is_some());
            (
                in_trouble || node.health == Health::Failed,
                Reverse(primaries.contains(&node.address)),
            )
        });
        let mut seeds = self.seeds();
        fastrand::shuffle(&mut seeds);

        let mut named = HashSet::new();
        let mut may_be_asked = |address: &Arc<str>| {
            let busy = self.contacts.get(address).is_some_and(|contact| contact.question.is_some());
            !busy && named.insert(address.clone())
        };
        let mut known: Vec<_> =
            heard_of.iter().chain(known.iter().map(|node| &node.address)).cloned().collect();
        known.retain(&mut may_be_asked);
        seeds.retain(&mut may_be_asked);
        let (mut known, mut seeds) = (known.chunks(ASKED_AT_ONCE), seeds.chunks(ASKED_AT_ONCE));
        let turns = [known.next(), seeds.next(), known.next(), seeds.next()];
        turns.into_iter().flatten().map(<[_]>::to_vec).collect()
    }

    fn seeds(&self) -> Vec<Arc<str>> {
        let settings = self.entry.settings.now();
        settings.cluster.nodes.iter().map(|node| node.as_str().into()).collect()
    }

    /// Starts a question. Its answer comes out of `asking`.
    fn ask(&mut self, address: &Arc<str>) {
        let contact = self.contacts.entry(address.clone()).or_default();
        let (address, line, entry) = (address.clone(), contact.line.take(), self.entry.clone());
        let question = self.asking.spawn_local(async move {
            let answer = question(&address, line, &entry).await;
            (address, answer)
        });
        contact.question = Some(question.id());
    }

    /// Waits until everybody in `awaited` has answered or failed; not much longer once somebody answered.
    async fn listen(&mut self, mut awaited: HashSet<Arc<str>>, views: &mut Vec<View>) {
        let mut deadline = None;
        while !awaited.is_empty() {
            let next = self.asking.join_next();
            let next = match deadline {
                Some(deadline) => timeout_at(deadline, next).await.unwrap_or_default(),
                None => next.await,
            };
            let Some((address, view)) = next.and_then(|next| self.settle(next)) else { return };
            // What was asked in an earlier look is out of date by now.
            if !awaited.remove(&address) {
                continue;
            }
            if view.is_some() {
                deadline.get_or_insert_with(|| Instant::now() + GRACE);
            }
            views.extend(view);
        }
    }

    /// Notes what became of a question. Trouble is logged when it begins and when it ends.
    fn settle(&mut self, ended: Ended) -> Option<(Arc<str>, Option<View>)> {
        let (address, answer) = match ended {
            Ok((address, answer)) => (address, answer.map_err(|failure| failure.to_string())),
            Err(error) => {
                let asked = |contact: &Contact| contact.question == Some(error.id());
                let address = self.contacts.iter().find(|(_, contact)| asked(contact))?.0.clone();
                (address, Err(error.to_string()))
            }
        };
        let contact = self.contacts.entry(address.clone()).or_default();
        contact.question = None;
        let view = match answer {
            Ok(Answer { view, line, commands }) => {
                self.commands.extend(commands);
                contact.software = line.software.or(contact.software);
                contact.line = Some(line);
                if contact.trouble.take().is_some() {
                    tracing::info!(node = %address, "the node describes the cluster again");
                }
                Some(view)
            }
            Err(reason) => {
                if contact.trouble.is_none() {
                    tracing::warn!(node = %address, %reason, "the node does not describe the cluster");
                }
                contact.trouble = Some(reason);
                None
            }
        };
        Some((address, view))
    }

    /// Closes connections to nodes that have left.
    fn forget_strangers(&mut self) {
        let topology = self.topology.load();
        let seeds = self.seeds();
        let nodes = topology.nodes().map(|node| &*node.address);
        let known: HashSet<&str> = nodes.chain(seeds.iter().map(|seed| &**seed)).collect();
        self.contacts
            .retain(|address, contact| contact.question.is_some() || known.contains(&**address));
    }

    /// Publishes what the views change, if anything.
    fn publish(&self, views: &[View]) -> Option<Arc<Topology>> {
        let published = self.topology.load_full();
        let next =
            merge_views(views, &published).filter(|next| next.version != published.version)?;
        let next = Arc::new(next);
        self.topology.store(next.clone());
        Some(next)
    }

    /// When to look again after a look that `started` then and brought these views.
    fn pause(&mut self, started: Instant, views: &[View]) -> Pause {
        let least = self.entry.settings.now().cluster.refresh_min_interval.max(LEAST);
        if views.is_empty() {
            if self.failures == 0 {
                tracing::warn!("no node describes the cluster; trying on");
            }
            let longer = least.saturating_mul(1 << self.failures.min(16)).min(SILENCE.max(least));
            self.failures = self.failures.saturating_add(1);
            let again = Instant::now() + spread(longer);
            return Pause { least: again, most: again };
        }
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!("the cluster is described again");
        }
        let topology = self.topology.load();
        let settled = topology.covered() == Slot::COUNT
            && topology.shards().iter().all(|shard| shard.primary.health == Health::Online)
            && views.iter().any(|view| view.healthy);
        let interval = self.entry.settings.now().cluster.refresh_interval;
        let most = if settled { interval } else { interval.min(UNSETTLED) };
        Pause { least: started + least, most: started + spread(most).max(least) }
    }
}

/// What comes out of a question's task.
type Ended = Result<(Arc<str>, Result<Answer, Failure>), task::JoinError>;

/// Up to an eighth more or less, so that gateways started together do not ask together.
fn spread(time: Duration) -> Duration {
    time.mul_f64(0.875 + fastrand::f64() / 4.0)
}

/// Waits for a message or the time. Answers the addresses to ask first.
async fn rest(pause: Pause, wanted: &mut mpsc::Receiver<Wanted>) -> Vec<Arc<str>> {
    let first = tokio::select! {
        () = sleep_until(pause.most) => None,
        Some(first) = wanted.recv() => {
            sleep_until(pause.least).await;
            Some(first)
        }
    };
    let rest = std::iter::from_fn(|| wanted.try_recv().ok());
    let mut ask_first: Vec<Arc<str>> = Vec::new();
    for Wanted { reason, heard_of } in first.into_iter().chain(rest) {
        tracing::debug!(?reason, node = heard_of.as_deref(), "a look at the cluster is wanted");
        // A lost node is no good to ask, and one that is known is asked as well.
        let named = heard_of.filter(|named| reason == Reason::Moved && !ask_first.contains(named));
        ask_first.extend(named.filter(|_| ask_first.len() + 1 < ASKED_AT_ONCE));
    }
    ask_first
}

#[cfg(test)]
mod tests;
