//! A whole cluster and its clients in memory and in simulated time, from a seed: what holds in every order of events.
//!
//! The gateway in here is the one that ships, from a client's bytes to a node's: [`Session`] and all that it calls,
//! and [`Pool`] with its pipelines, redirections and holds. Simulated are the connections, which are memory, and the time,
//! which leaps to the next event when everybody waits. Around it stand a cluster that moves slots, fails over, loses
//! connections and refuses ([`cluster`], [`events`]), clients that pipeline ([`client`]), and a [`ledger`] that knows where
//! every request is and finds whatever breaks a promise:
//!
//! * every request gets one reply, its own, in order;
//! * a request reaches a node while no earlier one of its client for the same slot is in the gateway's hands;
//! * a write runs once; one that failed never runs, and `UNCERTAIN` is said of lost connections alone;
//! * what a client reads has everything that it wrote or read before;
//! * nothing fails that could have waited, and nothing waits for ever once the cluster is whole;
//! * a replica's answer has everything that the client wrote, and everything from before the time that it may lag
//!   ([`replicas`]); what the client writes next waits for it.
//!
//! Not simulated: several workers, which share nothing on this path but snapshots; blocking commands, `WATCH`, scripts,
//! subscriptions and caching, which have connections of their own; TLS, logins and large values; a takeover that loses
//! data, and a minority that goes on serving, which `tests/faults` has; the control thread, whose part is played here by a
//! look at some nodes. Which request an `MGET` belongs to is not told by its bytes, so its order is seen by what it reads.
//!
//! `SLOTWAY_SIMULATIONS=100000 cargo test --lib simulation` runs more seeds, `SLOTWAY_SEED=7` one alone.

mod client;
mod cluster;
mod command;
mod events;
mod ledger;
mod link;
mod replicas;
mod schedule;
mod store;
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fastrand::Rng;
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use crate::backend::simulated::replace_network;
use crate::backend::{Clock, Pool, PoolParts, Standings};
use crate::cluster::{Topology, View, merge_views};
use crate::config::{Live, ReadFrom, Settings};
use crate::metrics::Metrics;
use crate::session::{Accepted, AcceptedSocket, Access, Colleagues, Gateway, Session, Worker};

use client::Client;
use cluster::{Cluster, NodeId};
use ledger::{Ledger, Number};
use link::{Link, LinkId, WINDOW};
use schedule::{Batch, Key, Millis, Request, Schedule, TAGS};

/// Once the cluster is whole, everything is answered within this time.
const CALM: Duration = Duration::from_millis(750);
/// Nodes that are asked for their views at once.
const ASKED: usize = 3;
/// A worker's buffer; nothing in here is long.
const SCRATCH: usize = 64 << 10;

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    fault: Option<String>,
    requests: usize,
    uncertain: usize,
    refused: usize,
    /// Answers of replicas.
    elsewhere: usize,
    /// Simulated time.
    took: Duration,
    /// What ran on the nodes, for comparing runs.
    runs: Vec<(Option<Number>, Key)>,
}

/// What all tasks of a run share.
struct World {
    cluster: RefCell<Cluster>,
    ledger: RefCell<Ledger>,
    rng: RefCell<Rng>,
    links: Cell<LinkId>,
    /// The gateway wants to look at the topology.
    wanted: Notify,
    /// What it knows of the replicas that it may read from.
    standings: Arc<ArcSwap<Standings>>,
}

impl World {
    fn new(schedule: &Schedule) -> Rc<Self> {
        Rc::new(Self {
            cluster: RefCell::new(Cluster::new(schedule)),
            ledger: RefCell::new(Ledger::new(schedule.clients.len())),
            rng: RefCell::new(Rng::with_seed(schedule.seed)),
            links: Cell::new(0),
            wanted: Notify::new(),
            standings: Arc::default(),
        })
    }

    fn fail(&self, what: String) {
        self.ledger.borrow_mut().fault.get_or_insert(what);
    }

    fn chance(&self, range: RangeInclusive<usize>) -> usize {
        self.rng.borrow_mut().usize(range)
    }

    /// Some time passes, up to so much; none at all as often as not.
    async fn pause(&self, most: Millis) {
        let time = {
            let mut rng = self.rng.borrow_mut();
            if rng.bool() { 0 } else { rng.u64(..=most) }
        };
        if time > 0 {
            sleep(Duration::from_millis(time)).await;
        }
    }

    fn next_link(&self) -> LinkId {
        self.links.replace(self.links.get() + 1)
    }

    /// The gateway dials a node.
    fn dial(self: &Rc<Self>, address: &str) -> io::Result<DuplexStream> {
        let node = self.cluster.borrow().node_at(address).ok_or(io::ErrorKind::NotFound)?;
        if !self.cluster.borrow().nodes[node].up {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(WINDOW);
        tracing::debug!(address, link = self.links.get(), "dialled");
        let link = Link::open(self, node, theirs);
        self.cluster.borrow_mut().nodes[node].links.push(link);
        Ok(ours)
    }

    /// All connections to a node break.
    fn cut(&self, node: NodeId, runs_on: bool) {
        let links = std::mem::take(&mut self.cluster.borrow_mut().nodes[node].links);
        links.iter().for_each(|link| link.cut(self, runs_on));
    }

    /// Every node notes what has reached it.
    fn take_in(&self) {
        let links: Vec<Rc<Link>> =
            self.cluster.borrow().nodes.iter().flat_map(|node| node.links.clone()).collect();
        links.iter().for_each(|link| link.take_in(self));
    }

    /// Looks after the topology as the control thread does, from what some of the nodes say.
    async fn look_after(self: Rc<Self>, worker: Rc<Worker>) {
        let mut known = 0;
        let mut topology = self.first_topology();
        worker.pool.adopt(topology.clone());
        loop {
            self.pause(40).await;
            tokio::select! {
                biased;
                () = self.wanted.notified() => {}
                () = sleep(Duration::from_secs(1)) => {}
            }
            let (heard, views) = {
                let cluster = self.cluster.borrow();
                let mut asked = cluster.answering();
                self.rng.borrow_mut().shuffle(&mut asked);
                asked.truncate(ASKED);
                let heard = asked.iter().map(|node| cluster.heard(*node)).max();
                let views: Vec<View> = asked.iter().map(|node| cluster.view(*node)).collect();
                (heard.unwrap_or_default(), views)
            };
            self.pause(20).await;
            // Older views change nothing, and to merge them takes most of a run's time.
            if heard > known {
                known = heard;
                topology = self.publish(&views, &topology, &worker);
            }
        }
    }

    fn publish(
        &self,
        views: &[View],
        before: &Arc<Topology>,
        worker: &Rc<Worker>,
    ) -> Arc<Topology> {
        let next = merge_views(views, before).filter(|next| next.version != before.version);
        let Some(next) = next.map(Arc::new) else { return before.clone() };
        worker.clock.tick();
        worker.pool.adopt(next.clone());
        worker.topology_changed();
        next
    }

    /// What all nodes say at first.
    fn first_topology(&self) -> Arc<Topology> {
        let cluster = self.cluster.borrow();
        let shape = (cluster.shards.len(), cluster.nodes.len());
        let merged = || merge_views(&[cluster.view(0)], &Topology::empty()).unwrap();
        FIRST.with_borrow_mut(|first| {
            first.entry(shape).or_insert_with(|| Arc::new(merged())).clone()
        })
    }
}

thread_local! {
    /// The first topology of clusters of so many shards and nodes.
    static FIRST: RefCell<BTreeMap<(usize, usize), Arc<Topology>>> = RefCell::default();
    /// Without and with reads from replicas.
    static GATEWAYS: [Arc<Gateway>; 2] = [ReadFrom::Primary, ReadFrom::PreferReplica].map(gateway);
}

/// The process around the worker; what it keeps changes nothing of a run.
fn gateway(read_from: ReadFrom) -> Arc<Gateway> {
    let mut settings = Settings::default();
    settings.cluster.read_from = read_from;
    settings.cluster.replica_lag = replicas::LAG;
    let live = Live::new(settings);
    let metrics = Metrics::new(1).unwrap();
    let access = Access::open(&live.now()).unwrap();
    let (colleagues, _) = Colleagues::new(1);
    Gateway::new(live, metrics, access, colleagues, Arc::default()).unwrap()
}

/// One run.
fn run(schedule: &Schedule) -> Report {
    fastrand::seed(schedule.seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .unwrap();
    runtime.block_on(simulate(schedule))
}

async fn simulate(schedule: &Schedule) -> Report {
    let started = Instant::now();
    let world = World::new(schedule);
    let network = world.clone();
    replace_network(Box::new(move |address| network.dial(address)));
    let worker = worker(&world, schedule);
    spawn_local(world.clone().look_after(worker.clone()));
    if schedule.spreads_reads {
        replicas::attend(&world, &worker);
    }

    let (clients, receiving): (Vec<Rc<Client>>, Vec<JoinHandle<()>>) =
        (0..schedule.clients.len()).map(|number| connect(number, &world, &worker)).unzip();
    let happening: Vec<JoinHandle<()>> = schedule
        .events
        .iter()
        .map(|(begins, event)| spawn_local(events::happen(world.clone(), *begins, event.clone())))
        .collect();
    let sending: Vec<JoinHandle<()>> = clients
        .iter()
        .zip(&schedule.clients)
        .map(|(client, batches)| spawn_local(client.clone().send(batches.clone())))
        .collect();
    for task in happening.into_iter().chain(sending) {
        joined(&world, task).await;
    }
    // The cluster is whole: from now on every request is served.
    let everything = Batch { pause: 0, requests: last_reads() };
    for client in &clients {
        client.clone().send(vec![everything.clone()]).await;
        client.finish();
    }
    let served = timeout(CALM, async {
        for task in receiving {
            joined(&world, task).await;
        }
    });
    if served.await.is_err() {
        let waiting = world.ledger.borrow().unanswered();
        world.fail(format!("still waiting after {CALM:?} of calm: {waiting:?}"));
    }
    world.ledger.borrow().report(started.elapsed())
}

fn last_reads() -> Vec<Request> {
    let keys = (0..TAGS).flat_map(|tag| [0, 1].map(|name| Key { tag, name }));
    keys.map(Request::Get).collect()
}

/// A task that fails has found a fault.
async fn joined(world: &World, task: JoinHandle<()>) {
    if let Err(error) = task.await {
        world.fail(format!("a task ended: {error}"));
    }
}

fn worker(world: &Rc<World>, schedule: &Schedule) -> Rc<Worker> {
    let gateway = GATEWAYS.with(|gateways| gateways[usize::from(schedule.spreads_reads)].clone());
    let clock = Rc::new(Clock::new());
    let scratch = Rc::new(RefCell::new(vec![0; SCRATCH].into_boxed_slice()));
    let metrics = gateway.metrics.worker(0).unwrap();
    let wanted = Rc::downgrade(world);
    let pool = Pool::new(PoolParts {
        settings: gateway.live.clone(),
        credentials: Arc::new(ArcSwap::default()),
        metrics: metrics.clone(),
        clock: clock.clone(),
        scratch: scratch.clone(),
        home: Default::default(),
        standings: world.standings.clone(),
        hint: Box::new(move |_| {
            wanted.upgrade().iter().for_each(|world| world.wanted.notify_one())
        }),
    });
    let worker = Worker::new(gateway, metrics, pool.clone(), clock, scratch);
    spawn_local(worker.flusher.clone().run());
    spawn_local(pool.attend());
    worker
}

/// A client with its session; some speak RESP3.
fn connect(number: usize, world: &Rc<World>, worker: &Rc<Worker>) -> (Rc<Client>, JoinHandle<()>) {
    let (ours, theirs) = tokio::io::duplex(WINDOW);
    let socket = AcceptedSocket::Simulated(theirs);
    let accepted = Accepted { socket, tls: None, seat: None };
    spawn_local(Session::new(worker.clone(), accepted).unwrap());
    let (client, receiving) = Client::new(number, world, ours);
    if world.chance(0..=1) == 0 {
        client.greet();
    }
    (client, receiving)
}
