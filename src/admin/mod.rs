//! HTTP for machines and people: `/metrics`, `/healthz`, `/readyz`, `/status.json`.
//!
//! It runs on the control thread and is bounded in every direction, so that nobody who can reach
//! the port can take more than a little memory and 64 connections.

mod guard;
mod probe;
mod readiness;
mod routes;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Live;
use crate::metrics::Metrics;
use crate::observe::Sights;

use guard::Guard;

pub use probe::{Answer, probe};
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

/// What the pages show.
#[derive(Debug)]
pub struct State {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    sights: Arc<Sights>,
    guard: Guard,
}

impl State {
    /// The pages show these metrics, this readiness, and to whom the settings allow it what the workers see.
    pub fn new(
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
        sights: Arc<Sights>,
        live: Arc<Live>,
    ) -> Self {
        Self { metrics, readiness, sights, guard: Guard::new(live) }
    }
}

/// Serves the pages until `stop`, then lets answers under way leave.
///
/// Must run inside a `LocalRuntime`, since connections are tasks of its thread.
pub async fn serve(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn_local(converse(stream, Arc::clone(&state), stop.clone()));
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
async fn converse(stream: TcpStream, state: Arc<State>, stop: CancellationToken) {
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
