//! Threads and lifetimes: one control thread, N workers, and how they end.
//!
//! The control thread accepts, looks after the topology, serves the admin port and takes the signals. What
//! it shares with the workers: accepted sockets, the topology's snapshot, metrics, and the word to drain.

mod certificates;
mod inherited;
mod lag;
mod listener;
pub mod logging;
pub mod proxied;
mod question;
mod reload;
mod repeats;
mod seats;
mod service;
mod signals;
mod succession;
pub mod topology;
#[cfg(feature = "traces")]
mod traces;
mod unix_socket;
mod upgrade;
mod vitals;
mod worker;

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::backend::Home;
use crate::cluster::Topology;
use crate::config::{Live, Mistakes, Settings};
use crate::metrics::Metrics;
use crate::session::{Access, Colleagues, Gateway};

pub use reload::Again;

use certificates::Certificates;
use inherited::Inherited;
use listener::Listener;
use reload::Reloading;
use repeats::Repeats;
use signals::{End, Signals};
use succession::Successor;
use topology::{Entry, News};
use worker::{Known, Workers};

/// Messages to the refresher that may wait; more of them would say nothing new.
const WANTED: usize = 64;
/// Pause after the last reply of a drain, so that the kernel can hand it over.
const AFTERWORD: Duration = Duration::from_millis(10);

/// Serves until SIGTERM or SIGINT, or until another process has taken over, then drains. Prints
/// `slotway ready on HOST:PORT` on standard output once the slots are covered.
pub fn serve(settings: Settings, again: Again) -> anyhow::Result<()> {
    let inherited = Inherited::take().context("the sockets that were passed")?;
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(control(settings, again, inherited))
}

/// Dials the nodes of the settings and says what the cluster looks like.
pub fn try_cluster(settings: &Settings) -> anyhow::Result<String> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(question::try_cluster(settings))
}

/// Has the gateway that runs with these settings hand over to a new process. Returns what came of it, in words.
///
/// # Errors
/// It cannot be found, or has not handed over, and why.
pub fn upgrade(settings: &Settings) -> anyhow::Result<String> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(upgrade::hand_over(&settings.admin))
}

async fn control(settings: Settings, again: Again, mut inherited: Inherited) -> anyhow::Result<()> {
    let live = Live::new(settings);
    let settings = Arc::clone(&live.now());
    let metrics = metrics(&settings)?;
    let certificates = Rc::new(Certificates::load(&live, &metrics)?);
    let access = Access::open(&settings)?;
    let mut signals = Signals::listen()?;
    let listener = Listener::bind(live.clone(), certificates.acceptor.clone(), &mut inherited)?;
    let admin = admin_port(&settings, &mut inherited)?;
    let (predecessor, home) = inherited.finish()?;
    if again.may_hand_over {
        signals.successor = Some(successor(&listener, &admin, home.clone())?);
    }

    let readiness = Arc::new(Readiness::new(settings.admin.ready_share));
    let snapshot = Arc::new(ArcSwap::from_pointee(Topology::empty()));
    let (changed, changes) = watch::channel(0);
    let (wanted, wants) = mpsc::channel(WANTED);
    let (stop, leave) = (CancellationToken::new(), CancellationToken::new());
    let (colleagues, inboxes) = Colleagues::new(workers(&settings));
    let credentials = || certificates.credentials.clone();
    let gateway = Gateway::new(live.clone(), metrics.clone(), access, colleagues, credentials())?;
    let (topology, standings) = (snapshot.clone(), Arc::default());
    let known = Known { topology, changes: changes.clone(), standings, home };
    let workers = Workers::start(inboxes, &gateway, &known, &wanted)?;

    let on_news = on_news(&gateway, &readiness, changed);
    let entry = Entry { settings: live.clone(), credentials: credentials() };
    spawn_local(lag::watch(entry.clone(), known, stop.clone()));
    spawn_local(topology::run(entry.clone(), snapshot.clone(), wants, on_news, stop.clone()));
    spawn_local(announce(readiness.clone(), listener.address(), changes.clone()));
    spawn_local(service::keep_watchdog_calm(gateway.clone()));

    let last_words = last_words(gateway.clone(), again.levels.repeats.clone(), &stop);
    let state = admin_state(&gateway, &readiness, snapshot, entry, &leave)?;
    let pages = state.clone();
    let reloading = Reloading { again, gateway: gateway.clone(), certificates, readiness, pages };
    let open = async {
        if let Some(predecessor) = predecessor {
            until_ready(&reloading.readiness, changes).await;
            predecessor.take_over()?;
        }
        spawn_local(admin::serve(admin, state, leave.clone()));
        listener.accept(&workers, &gateway).await;
        anyhow::Ok(End::Told)
    };
    let end = tokio::select! {
        end = open => end?,
        () = reloading.certificates.follow(&gateway) => End::Told,
        end = signals.told_to_end(&reloading) => end,
    };
    signals.successor = None;
    if end.is_succession() {
        // The admin port is the new process's; without one it tells of the drain.
        listener.leave_files();
        leave.cancel();
    }
    drop(listener);
    drain(&workers, &mut signals, &reloading).await;
    stop.cancel();
    leave.cancel();
    last_words.await;
    Ok(())
}

/// What is said to the very end: starts what sends traces away, and returns how to end, for when all else has.
fn last_words(
    gateway: Arc<Gateway>,
    repeats: Repeats,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    spawn_local(repeats.clone().keep_telling());
    #[cfg(feature = "traces")]
    let exporting = traces::start(&gateway, stop);
    #[cfg(not(feature = "traces"))]
    let _ = stop;
    async move {
        tokio::time::sleep(AFTERWORD).await;
        #[cfg(feature = "traces")]
        traces::finish(exporting).await;
        gateway.audit.finish();
        repeats.tell();
        tracing::info!("stopped");
    }
}

fn metrics(settings: &Settings) -> anyhow::Result<Arc<Metrics>> {
    let metrics = Metrics::new(workers(settings))?;
    metrics.sessions_limited(settings.limits.max_clients);
    Ok(metrics)
}

fn admin_port(settings: &Settings, inherited: &mut Inherited) -> anyhow::Result<TcpListener> {
    let address = settings.admin.address;
    listener::tcp(address, settings.listen.backlog, inherited)
        .with_context(|| format!("cannot listen on {address} (admin.address)"))
}

/// What the admin port shows. Until `leave` it remembers the last minutes, and asks the nodes how they are while
/// somebody looks.
fn admin_state(
    gateway: &Gateway,
    readiness: &Arc<Readiness>,
    topology: Arc<ArcSwap<Topology>>,
    entry: Entry,
    leave: &CancellationToken,
) -> anyhow::Result<Rc<admin::State>> {
    let (metrics, live) = (gateway.metrics.clone(), gateway.live.clone());
    let (sights, readiness) = (gateway.sights.clone(), readiness.clone());
    let state = admin::State::new(metrics, readiness, sights, topology.clone(), live)?;
    let state = Rc::new(state);
    spawn_local(admin::remember(state.clone(), leave.clone()));
    spawn_local(vitals::watch(entry, topology, state.clone(), leave.clone()));
    Ok(state)
}

/// Lets every session end, unless somebody wants the end at once.
async fn drain(workers: &Workers, signals: &mut Signals, reloading: &Reloading) {
    let gateway = &reloading.gateway;
    reloading.readiness.drain();
    gateway.metrics.draining(true);
    tracing::info!(clients = workers.clients(), "draining");
    let limit = gateway.settings().runtime.drain_time;
    tokio::select! {
        () = workers.drain(limit) => {}
        _ = signals.told_to_end(reloading) => {
            tracing::warn!(clients = workers.clients(), "told to stop at once");
        }
    }
}

fn successor(listener: &Listener, admin: &TcpListener, home: Home) -> io::Result<Successor> {
    let (mut sockets, files_are_own) = listener.sockets()?;
    sockets.push(admin.as_fd().try_clone_to_owned()?);
    Ok(Successor::new(sockets, files_are_own, home))
}

/// Says what is wrong with the users file that the settings name.
pub fn check_users(settings: &Settings) -> Result<(), Mistakes> {
    Access::open(settings).map(drop)
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

/// Returns when the gateway is ready.
async fn until_ready(readiness: &Readiness, mut changes: watch::Receiver<u64>) {
    while !readiness.verdict().ready {
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Says once that the gateway is ready: scripts and systemd wait for that.
async fn announce(
    readiness: Arc<Readiness>,
    address: std::net::SocketAddr,
    changes: watch::Receiver<u64>,
) {
    until_ready(&readiness, changes).await;
    service::tell(&[NotifyState::Ready]);
    let mut out = io::stdout();
    // A closed standard output is no reason to stop serving.
    let _ = writeln!(out, "slotway ready on {address}").and_then(|()| out.flush());
}
