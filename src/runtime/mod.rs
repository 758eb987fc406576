//! Threads and lifetimes.

pub mod logging;
mod question;
pub mod topology;

use crate::config::Settings;

/// Serves until told to stop. Placeholder, replaced at merge.
pub fn serve(_settings: Settings) -> anyhow::Result<()> {
    anyhow::bail!("serving is not built yet")
}

/// Dials each node and says what the cluster looks like. Placeholder, replaced at merge.
pub fn try_cluster(_settings: &Settings) -> anyhow::Result<String> {
    anyhow::bail!("trying a cluster is not built yet")
}
