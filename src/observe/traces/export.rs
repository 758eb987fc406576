//! The way to the collector: what comes within a second leaves as one request, over plain HTTP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Span, otlp};
use crate::config::Live;
use crate::metrics::Metrics;

/// Spans in one request, and how long the first of them waits for others.
const TOGETHER: usize = 1024;
const LINGER: Duration = Duration::from_secs(1);
/// How long the collector may take, and what it may say.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_BYTES: usize = 64 << 10;
/// The same for what is left when the process ends.
const LAST: Duration = Duration::from_secs(1);
/// Where a collector takes traces when the settings name no path.
const PATH: &str = "/v1/traces";

/// Sends spans to the collector of the settings until `stop`, and then those that are left. What a collector does not
/// take is left out: traces are no reason to fill memory.
pub async fn export(
    mut spans: Receiver<Span>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut collector = Collector { live, metrics, is_well: true };
    let mut batch = Vec::with_capacity(TOGETHER);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            taken = spans.recv_many(&mut batch, TOGETHER) => if taken == 0 { return },
        }
        if batch.len() < TOGETHER {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(LINGER) => {}
            }
            while batch.len() < TOGETHER
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
        }
        tokio::select! {
            _ = collector.take(&mut batch, PATIENCE) => {}
            () = async { stop.cancelled().await; sleep(LAST).await } => {}
        }
    }
    spans.close();
    while spans.recv_many(&mut batch, TOGETHER).await > 0 {
        if !collector.take(&mut batch, LAST).await {
            return;
        }
    }
}

struct Collector {
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    /// It took the last spans.
    is_well: bool,
}

impl Collector {
    /// Sends the spans away; false when it does not take them.
    async fn take(&mut self, batch: &mut Vec<Span>, patience: Duration) -> bool {
        let settings = Arc::clone(&self.live.now());
        let body = otlp::body(batch, &settings.traces.service);
        let sent = timeout(patience, post(&settings.traces.endpoint, body)).await;
        match sent.unwrap_or_else(|_| Err(anyhow!("no answer in time"))) {
            Ok(()) => {
                self.metrics.spans_sent(batch.len());
                if !std::mem::replace(&mut self.is_well, true) {
                    tracing::info!("the collector takes traces again");
                }
            }
            Err(error) => {
                self.metrics.spans_left_out(batch.len());
                if std::mem::replace(&mut self.is_well, false) {
                    let reason = format!("{error:#}");
                    tracing::warn!(reason, "the collector does not take traces; they are left out");
                }
            }
        }
        batch.clear();
        self.is_well
    }
}

async fn post(endpoint: &str, body: Vec<u8>) -> anyhow::Result<()> {
    let endpoint: Uri = endpoint.parse()?;
    let authority = endpoint.authority().context("the endpoint names no host")?;
    let place = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let path = endpoint.path_and_query().map_or(PATH, |path| path.as_str());
    let request = Request::post(if path == "/" { PATH } else { path })
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))?;
    let stream = TcpStream::connect(place).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer, or when this function does.
    let connection = AbortOnDropHandle::new(spawn_local(connection));
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let said = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
    drop(connection);
    if !status.is_success() {
        let said = said.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        bail!("{status}: {}", String::from_utf8_lossy(said.get(..200).unwrap_or(&said)));
    }
    Ok(())
}
