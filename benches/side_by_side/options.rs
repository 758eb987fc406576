//! The command line of the bench.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;

use crate::loads::{
    IDLE, LOADS, Load, Opening, PACED, Paced, Placement, SCALING, TALKS, Talk, described,
};
use crate::peers::Name;

/// slotway beside its peers: the same load through each of them, in interleaved rounds.
#[derive(Debug, Parser)]
#[command(name = "side_by_side")]
pub(crate) struct Options {
    /// How often everything is measured; the figures are the medians
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Length of one measurement
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Length of the warm-up before each measurement
    #[arg(long, default_value_t = 0.5)]
    pub(crate) warm_up: f64,
    /// Only these loads (see --list); a name that ends in * stands for all that begin so
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Only keys of one primary, or only keys spread over the cluster
    #[arg(long)]
    pub(crate) keys: Option<Placement>,
    /// Whom to measure
    #[arg(long, value_delimiter = ',', default_value = "direct,slotway,envoy,haproxy,nutcracker")]
    pub(crate) peers: Vec<Name>,
    /// Fail when one of the peers is not installed, instead of leaving it out
    #[arg(long)]
    pub(crate) require: bool,
    /// Whose figures are divided by the others'
    #[arg(long, default_value = "slotway")]
    pub(crate) base: Name,
    /// Whether the proxies get a core of their own, the generator and the nodes the rest
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    pub(crate) pin: bool,
    /// Connections of the idle loads
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// Measure slotway's CPU time as work grows, instead of the loads; --write-results writes benches/CURVES.md
    #[arg(long)]
    pub(crate) curves: bool,
    /// Write everything to this file, too
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Write the table to benches/RESULTS.md and draw benches/charts
    #[arg(long)]
    pub(crate) write_results: bool,
    /// Measure nothing: take the figures of a file that --json wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// The gateway to measure
    #[arg(long, default_value = env!("CARGO_BIN_EXE_slotway"))]
    pub(crate) slotway: PathBuf,
    /// Envoy
    #[arg(long, default_value = "envoy")]
    pub(crate) envoy: PathBuf,
    /// HAProxy; a package may put it where a user's PATH does not look
    #[arg(long, default_value = "haproxy")]
    pub(crate) haproxy: PathBuf,
    /// nutcracker (twemproxy)
    #[arg(long, default_value = "nutcracker")]
    pub(crate) nutcracker: PathBuf,
    /// The server of the nodes
    #[arg(long, default_value = "redis-server")]
    pub(crate) server: PathBuf,
    /// Name the loads and end
    #[arg(long)]
    pub(crate) list: bool,
    /// What cargo adds to tell a benchmark from a test
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Options {
    /// The chosen loads.
    pub(crate) fn loads(&self) -> Result<Vec<&'static Load>> {
        for wanted in &self.only {
            if !described().any(|(name, _)| matches(wanted, name)) {
                bail!("no load is called {wanted}: see --list");
            }
        }
        Ok(LOADS.iter().filter(|load| self.wants(load.name)).collect())
    }

    /// The chosen loads of several kinds of client. Their keys stand on one primary.
    pub(crate) fn talks(&self) -> impl Iterator<Item = (&'static str, Talk)> {
        let wanted = self.keys != Some(Placement::Spread);
        TALKS.iter().copied().filter(move |(name, _)| wanted && self.wants(name))
    }

    /// The chosen loads at a pace. Their keys stand on one primary.
    pub(crate) fn paced(&self) -> impl Iterator<Item = (&'static str, Paced)> {
        let wanted = self.keys != Some(Placement::Spread);
        PACED.iter().copied().filter(move |(name, _)| wanted && self.wants(name))
    }

    /// The chosen numbers of workers. Their keys are spread.
    pub(crate) fn scaling(&self) -> impl Iterator<Item = (&'static str, u16)> {
        let wanted = self.keys != Some(Placement::One) && self.peers.contains(&Name::Slotway);
        SCALING.iter().copied().filter(move |(name, _)| wanted && self.wants(name))
    }

    /// The chosen loads of idle connections.
    pub(crate) fn idle(&self) -> impl Iterator<Item = (&'static str, Opening)> {
        IDLE.iter().copied().filter(|(name, _)| self.wants(name))
    }

    /// Where a peer's program is; nothing is started for direct clients.
    pub(crate) fn program(&self, peer: Name) -> &PathBuf {
        match peer {
            Name::Direct => &self.server,
            Name::Slotway => &self.slotway,
            Name::Envoy => &self.envoy,
            Name::Haproxy => &self.haproxy,
            Name::Nutcracker => &self.nutcracker,
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| matches(wanted, name))
    }
}

fn matches(wanted: &str, name: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => wanted == name,
    }
}
