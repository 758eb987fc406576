//! Why a local cluster did not start: each error says what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::folder::Layout;
use super::ports::{Holder, Use};

/// Why a local cluster did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The numbers asked for make no cluster.
    #[error("{0}")]
    Options(String),
    /// The ports asked for do not exist.
    #[error(
        "the ports of {nodes} nodes from {base} do not exist: a node with port P also needs P + 10000, \
         which ends at 65535; choose --base-port {highest} or lower"
    )]
    PortRange {
        /// The first port asked for.
        base: u16,
        /// How many nodes were asked for.
        nodes: u32,
        /// The highest first port that would do.
        highest: u32,
    },
    /// Somebody else listens on a port.
    #[error("port {port} ({role}) is taken{}; {}", held(.holder.as_ref()), cure_for(*.role, *.port, .holder.as_ref()))]
    PortTaken {
        /// The port.
        port: u16,
        /// What it was wanted for.
        role: Use,
        /// Who has it, where the system tells.
        holder: Option<Holder>,
    },
    /// No server is installed.
    #[error("no redis-server or valkey-server is on the PATH; {0}; or name one with --server PATH")]
    NoServer(String),
    /// The file given as the server is none.
    #[error("{} cannot be used as the server: {reason}; name a redis-server or valkey-server with --server PATH", .path.display())]
    NotAServer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The server lacks what a cluster needs here.
    #[error(
        "{} is version {version}; slotway needs Redis 7.0 or later, or any Valkey; install a newer one or name it with --server PATH",
        .path.display()
    )]
    TooOld {
        /// The server.
        path: PathBuf,
        /// What it says of itself.
        version: String,
    },
    /// Another `slotway up` runs in the folder.
    #[error(
        "{} is in use by another slotway up{}; stop that one, or choose another --dir and --base-port",
        .dir.display(), process(*.pid)
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The other one.
        pid: Option<u32>,
    },
    /// The folder holds a cluster of another shape.
    #[error(
        "{} holds a cluster with {was}, but {wanted} was asked for; start it as it is ({}), choose another --dir, \
         or remove the folder and the data in it: rm -r '{}'",
        .dir.display(), .was.flags(), .dir.display()
    )]
    Mismatch {
        /// The folder.
        dir: PathBuf,
        /// The shape found.
        was: Layout,
        /// The shape asked for.
        wanted: Layout,
    },
    /// The folder holds something that `slotway up` did not put there, or that was damaged.
    #[error("{} is not a folder of slotway up: {reason}; choose another --dir, or remove it: rm -r '{}'", .dir.display(), .dir.display())]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Some nodes of an earlier cluster have slots, and some do not.
    #[error(
        "the cluster in {} is only half there: {}; put back what is missing, or start afresh by removing the folder \
         and the data in it: rm -r '{}'",
        .dir.display(), .found.join(", "), .dir.display()
    )]
    HalfFormed {
        /// The folder.
        dir: PathBuf,
        /// What is wrong, node by node.
        found: Vec<String>,
    },
    /// A server ended while the cluster started.
    #[error("node {port} ended while starting ({status}); its log {} says:\n{}", .log.display(), indented(.tail))]
    NodeDied {
        /// Its port.
        port: u16,
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: Vec<String>,
    },
    /// The nodes run, but they made no cluster in time.
    #[error(
        "the cluster is not ready after {seconds} s: {state}; see node.log in the folders below {}, \
         or try again on a machine with less to do",
        .dir.display()
    )]
    NotReady {
        /// How long it was given.
        seconds: u64,
        /// What was missing last.
        state: String,
        /// Where the logs are.
        dir: PathBuf,
    },
    /// A node refused a command that forms the cluster.
    #[error("node {port} refused {command}: {reply}; if the folder {} was changed by hand, remove it and start afresh", .dir.display())]
    Refused {
        /// Its port.
        port: u16,
        /// What it was asked.
        command: String,
        /// What it said.
        reply: String,
        /// Where the cluster lives.
        dir: PathBuf,
    },
    /// The node is none that `slotway up` runs in this folder.
    #[error("{address} is no node that a slotway up runs in {}: {reason}", .dir.display())]
    NotOurs {
        /// The node.
        address: String,
        /// The folder.
        dir: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The user stopped the start.
    #[error("stopped before the cluster was ready")]
    Interrupted,
    /// The file system or the process table said no.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl LaunchError {
    /// Whether the command line asked for what cannot be, rather than the machine refusing it.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Options(_) | Self::PortRange { .. } | Self::Mismatch { .. })
    }

    /// For `map_err`: `System` with what was tried.
    pub(super) fn system(action: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action: action.to_string(), source }
    }
}

fn held(holder: Option<&Holder>) -> String {
    holder.map(|holder| format!(" by {holder}")).unwrap_or_default()
}

fn process(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

fn cure_for(role: Use, port: u16, holder: Option<&Holder>) -> String {
    // Killed, the server that comes with a package is started again by the system.
    const PACKAGED: u16 = 6379;
    let stop = match holder {
        _ if port == PACKAGED => "stop what listens there (a server that the system runs: \
                                  systemctl disable --now redis-server)"
            .to_owned(),
        Some(holder) => format!("stop that process (kill {})", holder.pid),
        None => "find who has it with `ss -ltnp`".to_owned(),
    };
    let elsewhere = match role {
        Use::Node | Use::Bus => "choose another --base-port",
        Use::Gateway => "choose another address with --listen",
        Use::Admin => "choose another address with --admin",
    };
    format!("{stop}, or {elsewhere}")
}

fn indented(lines: &[String]) -> String {
    if lines.is_empty() {
        return "    (nothing)".to_owned();
    }
    lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
