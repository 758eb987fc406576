//! What systemd is told, if it started this process.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::sleep;

use crate::session::Gateway;

use super::reload::Reloading;

/// Tells it; without it nothing happens.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

/// Reloads, and says when that begins and ends.
pub(super) fn reload(reloading: &Reloading) {
    let begun = NotifyState::monotonic_usec_now();
    tell(&std::iter::once(NotifyState::Reloading).chain(begun).collect::<Vec<_>>());
    reloading.run();
    tell(&[NotifyState::Ready]);
}

/// Says again and again that the gateway lives, as long as every worker does. It never returns.
pub(super) async fn keep_watchdog_calm(gateway: Arc<Gateway>) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let pause = (limit / 3).max(Duration::from_millis(1));
    loop {
        gateway.feel_pulse().await;
        tell(&[NotifyState::Watchdog]);
        sleep(pause).await;
    }
}
