//! The command line.

use std::time::Duration;

use clap::Parser;

use crate::scenario::{SCENARIOS, Scenario};

/// Hurts a real cluster behind a real gateway in one way after the other, and checks what every client was told.
#[derive(Debug, Parser)]
#[command(name = "faults")]
pub(crate) struct Options {
    /// Only these scenarios (see --list); without it, all of them
    #[arg(long, value_delimiter = ',')]
    pub(crate) scenario: Vec<String>,
    /// How long each goes on; what has begun is ended
    #[arg(long, default_value_t = 60.0)]
    pub(crate) seconds: f64,
    /// What is left to chance is the same for the same seed
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Clients, of all classes
    #[arg(long, default_value_t = 64)]
    pub(crate) clients: usize,
    /// Longest pause of a client between two requests, in milliseconds
    #[arg(long, default_value_t = 20)]
    pub(crate) pace: u64,
    /// The gateway's workers
    #[arg(long, default_value_t = 2)]
    pub(crate) workers: usize,
    /// The cluster's `cluster-node-timeout`, in milliseconds
    #[arg(long, default_value_t = 5_000)]
    pub(crate) node_timeout: u32,
    /// What a busy machine does in three minutes: a few scenarios, nothing judged by the clock
    #[arg(long)]
    pub(crate) short: bool,
    /// Write the table of results to this file, too
    #[arg(long)]
    pub(crate) write: Option<std::path::PathBuf>,
    /// Name the scenarios and end
    #[arg(long)]
    pub(crate) list: bool,
}

impl Options {
    pub(crate) fn new() -> Self {
        Self::parse()
    }

    /// The chosen scenarios, or the name that none has.
    pub(crate) fn scenarios(&self) -> Result<Vec<&'static Scenario>, &str> {
        if self.scenario.is_empty() {
            let chosen =
                SCENARIOS.iter().filter(|scenario| scenario.short.is_some() || !self.short);
            return Ok(chosen.collect());
        }
        let named = |name: &'_ String| SCENARIOS.iter().find(|scenario| scenario.name == *name);
        self.scenario.iter().map(|name| named(name).ok_or(name.as_str())).collect()
    }

    /// How long this one goes on.
    pub(crate) fn duration(&self, scenario: &Scenario) -> Duration {
        let short = scenario.short.filter(|_| self.short);
        Duration::from_secs_f64(short.unwrap_or(self.seconds))
    }
}
