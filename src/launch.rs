//! A local cluster of real servers.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::Settings;

/// What to start. Placeholder, replaced at merge.
#[derive(Clone, Debug)]
pub struct Options {
    /// Primaries.
    pub masters: u16,
    /// Replicas of each primary.
    pub replicas: u16,
    /// Port of the first node.
    pub base_port: u16,
    /// Folder of the data; without one, a default below the user's data folder.
    pub dir: Option<PathBuf>,
    /// Uses a temporary folder, removed at the end.
    pub ephemeral: bool,
    /// The server program; without one, looked up on the PATH.
    pub server: Option<PathBuf>,
}

/// Starts a cluster and the gateway before it. Placeholder, replaced at merge.
pub fn up(_options: Options, _settings: Settings) -> anyhow::Result<()> {
    anyhow::bail!("starting a cluster is not built yet")
}

/// Becomes a server that ends with the process that started it. Placeholder, replaced at merge.
pub fn exec_node(_path: PathBuf, _arguments: Vec<OsString>) -> anyhow::Result<()> {
    anyhow::bail!("starting a server is not built yet")
}
