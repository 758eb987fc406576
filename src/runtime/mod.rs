//! Threads and lifetimes: one control thread, N workers, and how they end.
//!
//! The control thread accepts, looks after the topology, serves the admin port and takes the signals. What
//! it shares with the workers: accepted sockets, the topology's snapshot, metrics, and the word to drain.

mod certificates;
mod lag;
mod listener;
pub mod logging;
pub mod proxied;
mod question;
mod seats;
pub mod topology;
mod worker;

use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::cluster::Topology;
use crate::config::{Live, Mistakes, Settings};
use crate::metrics::Metrics;
use crate::session::{Access, Colleagues, Gateway};

use certificates::Certificates;
use listener::Listener;
use topology::{Entry, News};
use worker::{Known, Workers};

/// Messages to the refresher that may wait; more of them would say nothing new.
const WANTED: usize = 64;
/// Pause after the last reply of a drain, so that the kernel can hand it over.
const AFTERWORD: Duration = Duration::from_millis(10);

/// Serves until SIGTERM or SIGINT, then drains. Prints `slotway ready on HOST:PORT` on standard output once
/// the slots are covered.
pub fn serve(settings: Settings) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(control(Arc::new(settings)))
}

/// Dials the nodes of the settings and says what the cluster looks like.
pub fn try_cluster(settings: &Settings) -> anyhow::Result<String> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(question::try_cluster(settings))
}

async fn control(settings: Arc<Settings>) -> anyhow::Result<()> {
    let certificates = Certificates::load(&settings)?;
    let access = Access::open(&settings)?;
    let mut signals = Signals::listen()?;
    let live = Live::new(Settings::clone(&settings));
    let listener = Listener::bind(live.clone(), certificates.acceptor.clone())?;
    let admin_listener = tokio::net::TcpListener::bind(settings.admin.address)
        .await
        .with_context(|| format!("cannot listen on {} (admin.address)", settings.admin.address))?;

    let metrics = Metrics::new(workers(&settings))?;
    metrics.sessions_limited(settings.limits.max_clients);
    let readiness = Arc::new(Readiness::new(settings.admin.ready_share));
    let snapshot = Arc::new(ArcSwap::from_pointee(Topology::empty()));
    let (changed, changes) = watch::channel(0);
    let (wanted, wants) = mpsc::channel(WANTED);
    let stop = CancellationToken::new();

    let (colleagues, inboxes) = Colleagues::new(workers(&settings));
    let credentials = certificates.credentials.clone();
    let gateway =
        Gateway::new(live.clone(), metrics.clone(), access, colleagues, credentials.clone())?;
    let known =
        Known { topology: snapshot.clone(), changes: changes.clone(), standings: Arc::default() };
    let workers = Workers::start(inboxes, &gateway, &known, &wanted)?;

    let sights = gateway.sights.clone();
    let state = Rc::new(admin::State::new(
        metrics.clone(),
        readiness.clone(),
        sights,
        snapshot.clone(),
        live.clone(),
    )?);
    tokio::task::spawn_local(admin::remember(state.clone(), stop.clone()));
    tokio::task::spawn_local(admin::serve(admin_listener, state, stop.clone()));
    let on_news = on_news(&gateway, &readiness, changed);
    let entry = Entry { settings: live.clone(), credentials };
    tokio::task::spawn_local(lag::watch(entry.clone(), known, stop.clone()));
    tokio::task::spawn_local(topology::run(entry, snapshot, wants, on_news, stop.clone()));
    tokio::task::spawn_local(announce(readiness.clone(), listener.address(), changes));

    tokio::select! {
        () = listener.accept(&workers, &gateway) => {}
        () = certificates.follow(&gateway) => {}
        () = signals.told_to_stop(&certificates, &gateway) => {}
    }
    drop(listener);
    readiness.drain();
    metrics.draining(true);
    tracing::info!(clients = workers.clients(), "draining");
    tokio::select! {
        () = workers.drain(settings.runtime.drain_time) => {}
        () = signals.told_to_stop(&certificates, &gateway) => tracing::warn!(clients = workers.clients(), "told to stop at once"),
    }
    stop.cancel();
    tokio::time::sleep(AFTERWORD).await;
    gateway.audit.finish();
    tracing::info!("stopped");
    Ok(())
}

/// Says what is wrong with the users file that the settings name.
pub fn check_users(settings: &Settings) -> Result<(), Mistakes> {
    Access::open(settings).map(drop)
}

/// Reads the users file again, if there is one.
fn reload_users(gateway: &Arc<Gateway>) {
    let gateway = gateway.clone();
    tokio::task::spawn_local(async move {
        match gateway.reload_users().await {
            Ok(()) => tracing::info!("users reloaded"),
            Err(error) => tracing::error!(%error, "the users stay as they were"),
        }
    });
}

fn workers(settings: &Settings) -> usize {
    match settings.runtime.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

/// What becomes of what the nodes say.
fn on_news(
    gateway: &Arc<Gateway>,
    readiness: &Arc<Readiness>,
    changed: watch::Sender<u64>,
) -> impl Fn(News<'_>) + use<> {
    let (gateway, readiness) = (gateway.clone(), readiness.clone());
    move |news| match news {
        News::Software(software) => gateway.nodes_run(software),
        News::Commands(reply) => gateway.node_knows(reply),
        News::Topology(topology) => {
            publish(topology, &gateway.metrics, &readiness);
            changed.send_replace(topology.version);
        }
    }
}

fn publish(topology: &Topology, metrics: &Metrics, readiness: &Readiness) {
    let primaries = topology.shards().len();
    let replicas = topology.shards().iter().map(|shard| shard.replicas.len()).sum();
    metrics.topology_refreshed(topology.version, topology.covered(), primaries, replicas);
    readiness.slots_covered(topology.covered());
    metrics.ready(readiness.verdict().ready);
    tracing::info!(
        version = topology.version,
        slots = topology.covered(),
        primaries,
        replicas,
        "topology changed"
    );
}

/// Says once that the gateway is ready: scripts wait for this line.
async fn announce(
    readiness: Arc<Readiness>,
    address: std::net::SocketAddr,
    mut changes: watch::Receiver<u64>,
) {
    while !readiness.verdict().ready {
        if changes.changed().await.is_err() {
            return;
        }
    }
    let mut out = std::io::stdout();
    // A closed standard output is no reason to stop serving.
    let _ = writeln!(out, "slotway ready on {address}").and_then(|()| out.flush());
}

/// The signals that the gateway takes.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when somebody wants the gateway to end. A hang-up means to load files again.
    async fn told_to_stop(&mut self, certificates: &Certificates, gateway: &Arc<Gateway>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    certificates.reload(gateway);
                    reload_users(gateway);
                }
            }
        }
    }
}
