//! Log lines: to standard error, as text for people and as JSON for machines.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Log, LogFormat};

/// Starts logging for the whole process. Standard output stays free for the line that says that
/// the gateway is ready.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level)
        .with_context(|| format!("`log.level` {:?} cannot be used", log.level))?;
    let lines = fmt().with_env_filter(filter).with_writer(stderr);
    let started = match as_json(log.format, stderr().is_terminal()) {
        true => lines.json().flatten_event(true).try_init(),
        false => lines.with_ansi(stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot start: {error}"))
}

fn as_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}
