//! HTTP for machines and people: `/metrics`, `/healthz`, `/readyz`, and the status page.
//!
//! It runs on the control thread and is bounded in every direction, so that nobody who can reach
//! the port can take more than a little memory and 64 connections.

mod events;
mod guard;
mod history;
mod page;
mod probe;
mod process;
mod readiness;
mod routes;
mod status;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use hyper::header::HeaderValue;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Topology, Vitals};
use crate::config::Live;
use crate::metrics::Metrics;
use crate::observe::Sights;

use guard::Guard;
use history::History;

pub use probe::{Answer, probe};
pub use process::{HandOvers, Process};
pub use readiness::{Readiness, Verdict};

/// Connections served at once; the next ones wait until one of these ends.
const MOST_CONNECTIONS: usize = 64;
/// Within this time a request's head must be there, also the next one of a kept connection.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A request's head must fit; hyper's least value.
const HEAD_BYTES: usize = 8 * 1024;
/// After this time a connection closes with its next answer, so that places come free again.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// How long an answer may take to leave when its connection is about to close.
const LAST_ANSWER_TIME: Duration = Duration::from_secs(5);
/// How long to wait when a connection cannot be accepted, for lack of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time between two points of what the status page draws.
const LOOK: Duration = Duration::from_secs(2);

/// What the pages show.
#[derive(Debug)]
pub struct State {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    sights: Arc<Sights>,
    topology: Arc<ArcSwap<Topology>>,
    guard: Guard,
    history: RefCell<History>,
    policy: HeaderValue,
    /// What the nodes say of themselves, by address. They are asked only while somebody looks.
    vitals: RefCell<HashMap<Arc<str>, Vitals>>,
    looked_at: Notify,
    /// How hand-overs to another process went.
    pub hand_overs: HandOvers,
}

impl State {
    /// The pages show these metrics, this readiness, and to whom the settings allow it the cluster and what the
    /// workers see.
    ///
    /// # Errors
    /// The status page's policy is no header, which a test would have shown.
    pub fn new(
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
        sights: Arc<Sights>,
        topology: Arc<ArcSwap<Topology>>,
        live: Arc<Live>,
    ) -> anyhow::Result<Self> {
        let history = RefCell::new(History::new(metrics.overview(), topology.load_full()));
        let policy = HeaderValue::from_str(&page::policy())?;
        let guard = Guard::new(live);
        let (vitals, looked_at) = (RefCell::default(), Notify::new());
        let hand_overs = HandOvers::default();
        Ok(Self {
            metrics,
            readiness,
            sights,
            topology,
            guard,
            history,
            policy,
            vitals,
            looked_at,
            hand_overs,
        })
    }

    /// Returns when somebody looks at the status page, or has done so since this was last asked.
    pub async fn is_looked_at(&self) {
        self.looked_at.notified().await;
    }

    /// The nodes said this of themselves.
    pub fn nodes_said(&self, vitals: HashMap<Arc<str>, Vitals>) {
        self.vitals.replace(vitals);
    }

    /// Adds a point to what the status page draws, so many seconds after the last one.
    fn look(&self, seconds: f64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (overview, topology) = (self.metrics.overview(), self.topology.load_full());
        self.history.borrow_mut().look(now, overview, topology, seconds);
    }
}

/// Remembers the last minutes for the status page, until `stop`.
pub async fn remember(state: Rc<State>, stop: CancellationToken) {
    let mut last = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK) => {}
        }
        let now = Instant::now();
        state.look(now.duration_since(last).as_secs_f64());
        last = now;
    }
}

/// Serves the pages until `stop`, then lets answers under way leave.
///
/// Must run inside a `LocalRuntime`, since connections are tasks of its thread.
pub async fn serve(listener: TcpListener, state: Rc<State>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn_local(converse(stream, Rc::clone(&state), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One connection, from its first request to its end.
async fn converse(stream: TcpStream, state: Rc<State>, stop: CancellationToken) {
    let service = service_fn(|request| {
        let answer = routes::answer(&request, &state);
        async { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return log_end(ended),
        () = stop.cancelled() => {}
        () = sleep(CONNECTION_TIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = timeout(LAST_ANSWER_TIME, connection).await {
        log_end(ended);
    }
}

fn log_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the admin port broke");
    }
}
