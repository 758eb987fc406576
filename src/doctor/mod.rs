//! Examines a living cluster and says what is wrong, why, and what to do about it.
//!
//! Every node is asked once, with commands that read; then each check looks at the answers. A check is a function
//! from facts to findings, without I/O. Nothing is changed anywhere.

mod checks;
mod facts;
mod report;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};

use crate::backend::connect::Credentials;
use crate::config::Settings;

use facts::Facts;

pub use report::{Form, Report};

/// How bad a finding is; the worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Data is not served, or is in danger now.
    Critical,
    /// It will be when the next thing goes wrong.
    Warning,
    /// It could be better.
    Advice,
}

impl Severity {
    /// One word, for scripts and people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Advice => "advice",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The check that found it, such as `slots-uncovered`. Scripts may rely on it.
    pub check: &'static str,
    /// The node concerned; empty when it is the cluster.
    pub node: String,
    /// What is wrong.
    pub what: String,
    /// Why that is, as far as it can be told.
    pub cause: String,
    /// What to do about it.
    pub cure: String,
}

/// Examines the cluster of the settings.
///
/// # Errors
/// No node that the settings name can be asked.
pub fn examine(settings: Settings) -> anyhow::Result<Report> {
    let credentials = Credentials::load(&settings.cluster)?;
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let credentials = Arc::new(ArcSwap::from_pointee(credentials));
    let facts = runtime.block_on(Facts::gather(&settings, &credentials))?;
    Ok(Report::new(&facts, checks::all(&facts)))
}
