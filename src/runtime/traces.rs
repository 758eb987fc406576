//! The task that sends traces away.

use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_local};
use tokio_util::sync::CancellationToken;

use crate::observe::traces::export;
use crate::session::Gateway;

/// Sends traces to the collector that the settings name, if they name one, until `stop`.
pub(super) fn start(gateway: &Arc<Gateway>, stop: &CancellationToken) -> Option<JoinHandle<()>> {
    if gateway.settings().traces.endpoint.is_empty() {
        return None;
    }
    let spans = gateway.traces.open();
    let (live, metrics) = (gateway.live.clone(), gateway.metrics.clone());
    Some(spawn_local(export(spans, live, metrics, stop.clone())))
}

/// Returns when what was left has been sent, or could not be in time.
pub(super) async fn finish(exporting: Option<JoinHandle<()>>) {
    if let Some(exporting) = exporting {
        // It bounds itself, and a panic in it is no reason not to end.
        let _ = exporting.await;
    }
}
