//! A local cluster of real servers: found or started, formed, watched, stopped.
//!
//! ```text
//! up            settings, signals, what the terminal shows       up.rs
//!   Server        which program, and is it new enough            server.rs
//!   Folder        whose folder, which shape, what is in it       folder.rs
//!   ports         free, or who has them                          ports.rs
//!   Certificates  made once, if nodes and gateway speak TLS      authority.rs
//!   Nodes         the processes, and the thread that keeps them  nodes.rs
//!   Formation     slots, introductions, replicas, in step        form.rs, link.rs
//! ```
//!
//! Invariants: no data is ever removed but that of a temporary folder; a folder has one user at a time;
//! no server outlives this process, however it ends (on Linux; elsewhere, a killed gateway leaves them).
//!
//! The crate `redis-server-wrapper` (0.5) was weighed and is not used. It waits for the server program to
//! detach itself, so a server is never a child and cannot follow its parent's death; it forms a cluster
//! with `redis-cli --cluster create` only, which must be installed and refuses nodes that hold data, so a
//! cluster cannot be found again; it renders its own configuration instead of a template; and before it
//! starts, it kills whatever process a stale pid file names.

mod authority;
mod error;
mod folder;
mod form;
mod link;
mod nodes;
mod ports;
mod running;
mod server;
mod up;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use authority::Certificates;
pub use error::LaunchError;
pub use folder::Layout;
pub use nodes::exec_node;
pub use ports::{Holder, Use};
pub use running::RunningNode;
pub use up::{own_program, up};

use folder::Folder;
use form::Formation;
use nodes::{Nodes, Recipe};
use server::Server;

use crate::config;
use crate::tls::Connector;

/// Slots of a cluster.
pub const SLOTS: u16 = 16384;
/// From a node's port to its cluster bus.
const BUS_OFFSET: u16 = 10_000;
/// As many nodes as the servers' makers advise at most.
const MOST_NODES: u32 = 1000;
/// Time for the nodes of an earlier run, which was killed, to end.
const LEFTOVERS: Duration = Duration::from_secs(12);
/// Time for a process that nobody can name, because it is another user's or in the middle of its end.
const NAMELESS: Duration = Duration::from_secs(3);

/// Which cluster to start, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Primaries, at least one. With fewer than three, no failover finds a majority.
    pub masters: u16,
    /// Replicas of each primary.
    pub replicas: u16,
    /// The first node's port; the others follow. A node also needs its port + 10000.
    pub base_port: u16,
    /// Where data is kept; without it, a folder under the user's data folder.
    pub dir: Option<PathBuf>,
    /// Data in a temporary folder that is removed at the end.
    pub ephemeral: bool,
    /// The server program, or its name on the PATH; without it, `redis-server` or else `valkey-server` from the PATH.
    pub server: Option<PathBuf>,
    /// A program whose subcommand `node-exec` calls [`exec_node`]. Without one, the nodes are stopped
    /// when the [`LocalCluster`] is dropped, but outlive a process that is killed.
    pub launcher: Option<PathBuf>,
    /// Nodes and gateway speak TLS, by certificates made at the first start.
    pub tls: bool,
    /// How long a node may be silent before a replica takes its place.
    pub node_timeout: Duration,
    /// What each primary of a new cluster begins with; none: nothing, and equal shares of the slots.
    pub contents: Vec<Contents>,
}

/// What a primary begins with.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The slots that it serves.
    pub slots: Vec<RangeInclusive<u16>>,
    /// An RDB file on the same file system, which is moved into the node's folder.
    pub dump: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            masters: 3,
            replicas: 1,
            base_port: 7000,
            dir: None,
            ephemeral: false,
            server: None,
            launcher: None,
            tls: false,
            node_timeout: Duration::from_secs(5),
            contents: Vec::new(),
        }
    }
}

impl Options {
    /// The shape asked for, if it makes a cluster.
    fn layout(&self) -> Result<Layout, LaunchError> {
        let nodes = u32::from(self.masters) * (u32::from(self.replicas) + 1);
        let wrong = |text: &str| Err(LaunchError::Options(text.to_owned()));
        if nodes == 0 {
            return wrong("a cluster needs at least one primary; choose --masters 3");
        }
        if nodes > MOST_NODES {
            return wrong("a cluster has at most 1000 nodes; choose fewer --masters or --replicas");
        }
        if self.base_port == 0 {
            return wrong("no node can have port 0; choose --base-port 7000");
        }
        if !self.contents.is_empty() && self.contents.len() != usize::from(self.masters) {
            return wrong("every primary, or none, begins with something");
        }
        if self.ephemeral && self.dir.is_some() {
            return wrong("--ephemeral removes its folder and --dir keeps it; choose one of them");
        }
        let highest = u32::from(u16::MAX - BUS_OFFSET) + 1 - nodes;
        if u32::from(self.base_port) > highest {
            return Err(LaunchError::PortRange { base: self.base_port, nodes, highest });
        }
        let Self { masters, replicas, base_port, tls, .. } = *self;
        Ok(Layout { masters, replicas, base_port, tls })
    }
}

/// A step of the start, for whoever watches.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The server program was found.
    Server {
        /// Where.
        path: &'a Path,
        /// Its version.
        version: &'a str,
    },
    /// The folder is ready.
    Folder {
        /// Where.
        path: &'a Path,
        /// What is to be in it.
        layout: Layout,
        /// Whether a cluster was found in it, to be started again.
        found: bool,
    },
    /// A node's process runs.
    Started {
        /// Its port.
        port: u16,
        /// Its process.
        pid: u32,
    },
    /// So many slots are served, as seen by the node that sees fewest.
    Slots {
        /// Of [`SLOTS`].
        covered: u16,
    },
    /// So many replicas hold what their primaries hold.
    Replicas {
        /// How many do.
        in_step: u16,
        /// How many there are.
        total: u16,
    },
}

/// A cluster that runs. It ends when this is dropped: gently if its data is kept, at once if not.
///
/// Nodes are numbered from 0 by port: first the primaries, then the replicas; node `masters + n` starts
/// as a replica of node `n % masters`.
#[derive(Debug)]
pub struct LocalCluster {
    layout: Layout,
    /// The slots of each primary.
    shares: Vec<Vec<RangeInclusive<u16>>>,
    // The order matters: the nodes end before their folder goes.
    nodes: Nodes,
    folder: Folder,
    tls: Option<(Certificates, Connector)>,
}

impl LocalCluster {
    /// Starts a cluster, or the one found in its folder, and returns when every node sees every slot
    /// served and replicas are in step. From then on, a node that ends by itself is started again.
    ///
    /// # Errors
    /// What prevented it, with the cure. Then nothing runs, and what was stored before is still there.
    pub fn start(options: &Options, progress: &dyn Fn(Progress<'_>)) -> Result<Self, LaunchError> {
        Self::start_unless(options, progress, &|| false)
    }

    /// As `start`, but gives up once `interrupted` says so.
    fn start_unless(
        options: &Options,
        progress: &dyn Fn(Progress<'_>),
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Self, LaunchError> {
        let layout = options.layout()?;
        let server = Server::find(options.server.as_deref())?;
        progress(Progress::Server { path: &server.path, version: &server.version });
        let folder = Folder::open(options, layout)?;
        progress(Progress::Folder { path: folder.path(), layout, found: folder.formed() });
        free_ports(&folder, layout)?;
        folder.prepare(options.node_timeout)?;
        folder.plant(&options.contents)?;
        let tls = if layout.tls { certify(&folder)? } else { None };

        let places = layout.ports().map(|port| (port, folder.node(port)));
        let recipe = Recipe { server: server.path, launcher: options.launcher.clone() };
        let nodes = Nodes::new(recipe, places)?;
        let shares = shares(options);
        let mut cluster = Self { layout, shares, nodes, folder, tls };
        for (index, port) in layout.ports().enumerate() {
            let pid = cluster.start_node(index)?;
            progress(Progress::Started { port, pid });
        }
        let formation = cluster.formation(progress, interrupted);
        if !cluster.folder.formed() {
            formation.form()?;
        }
        formation.settle()?;
        cluster.folder.mark_formed()?;
        cluster.nodes.heal();
        Ok(cluster)
    }

    /// Where the nodes listen, in their order.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.layout.ports().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).collect()
    }

    /// The folder that holds the nodes' folders, each named by its port.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The files by which nodes and gateway believe each other, if they speak TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.tls.as_ref().map(|(certificates, _)| certificates)
    }

    /// Has settings name these nodes and nothing else, with what it takes to get in.
    pub fn point_at(&self, nodes: &mut config::Cluster) {
        nodes.nodes = self.addresses().iter().map(SocketAddr::to_string).collect();
        nodes.username.clear();
        nodes.password = config::Secret::default();
        nodes.password_file.clear();
        nodes.address_map.clear();
        nodes.tls = false;
        if let Some(certificates) = self.certificates() {
            certificates.point_at_nodes(nodes);
        }
    }

    /// The process of a node that runs.
    #[must_use]
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.nodes.pid(index)
    }

    /// Ends a node with SIGKILL; it stays down until `restart`. (A node that somebody else kills is
    /// started again after a pause.)
    pub fn kill(&mut self, index: usize) {
        self.nodes.kill(index);
    }

    /// Starts a node that was killed, with the data that it has. Does not wait until it serves.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn restart(&mut self, index: usize) -> Result<(), LaunchError> {
        self.start_node(index).map(drop)
    }

    /// Waits until every node runs and agrees, every slot is served and replicas are in step.
    ///
    /// # Errors
    /// What is missing, when nothing has changed about it for a minute.
    pub fn wait_until_ready(&self) -> Result<(), LaunchError> {
        self.formation(&|_| {}, &|| false).settle()
    }

    /// Ends the nodes gently, and removes the folder if it is a temporary one. Dropping does the same,
    /// but spares a temporary cluster the time to write anything down.
    pub fn stop(mut self) {
        self.nodes.stop(true);
    }

    fn start_node(&self, index: usize) -> Result<u32, LaunchError> {
        self.nodes
            .start(index)
            .map_err(LaunchError::system(format_args!("start node number {index}")))
    }

    fn formation<'a>(
        &'a self,
        progress: &'a dyn Fn(Progress<'_>),
        interrupted: &'a dyn Fn() -> bool,
    ) -> Formation<'a> {
        let (layout, folder, nodes) = (self.layout, self.folder.path(), &self.nodes);
        let tls = self.tls.as_ref().map(|(_, connector)| connector);
        let shares = &self.shares;
        Formation { layout, shares, folder, tls, nodes, progress, interrupted }
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        self.nodes.stop(!self.folder.is_temporary());
    }
}

/// The slots of each primary: what it begins with, or an equal share.
fn shares(options: &Options) -> Vec<Vec<RangeInclusive<u16>>> {
    if !options.contents.is_empty() {
        return options.contents.iter().map(|contents| contents.slots.clone()).collect();
    }
    (0..options.masters).map(|index| vec![form::share_of(index, options.masters)]).collect()
}

fn certify(folder: &Folder) -> Result<Option<(Certificates, Connector)>, LaunchError> {
    let certificates = Certificates::of(folder.path())?;
    let connector = certificates.connector().map_err(|error| {
        LaunchError::system("use the certificates of the cluster")(std::io::Error::other(error))
    })?;
    Ok(connector.map(|connector| (certificates, connector)))
}

/// Makes sure that every port is free. A node that an earlier, killed run left behind is on its way out
/// and given the time for it.
fn free_ports(folder: &Folder, layout: Layout) -> Result<(), LaunchError> {
    let begin = now();
    for port in layout.ports() {
        for (address, role) in ports::node_addresses(port) {
            while !ports::is_free(address) {
                let holder = ports::holder(address.port());
                let patience = match &holder {
                    Some(holder) if holder.runs_in(&folder.node(port)) => LEFTOVERS,
                    Some(_) => Duration::ZERO,
                    None => NAMELESS,
                };
                if begin.elapsed() >= patience {
                    return Err(LaunchError::PortTaken { port: address.port(), role, holder });
                }
                pause(Duration::from_millis(50));
            }
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "no worker runs on the threads of this room")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "no request passes through this room")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_numbers_that_make_no_cluster() {
        for (masters, replicas, base_port, expected) in [
            (3, 1, 7000, "ok"),
            (1, 0, 55535, "ok"),
            (3, 1, 55530, "ok"),
            (3, 1, 55531, "choose --base-port 55530 or lower"),
            (3, 1, 60000, "choose --base-port 55530 or lower"),
            (0, 1, 7000, "at least one primary"),
            (3, u16::MAX, 7000, "at most 1000 nodes"),
            (u16::MAX, u16::MAX, 7000, "at most 1000 nodes"),
            (3, 1, 0, "port 0"),
        ] {
            let options = Options { masters, replicas, base_port, ..Options::default() };
            let found =
                options.layout().map_or_else(|error| error.to_string(), |_| "ok".to_owned());
            assert!(found.contains(expected), "{masters} {replicas} {base_port}: {found}");
        }
    }

    #[test]
    fn refuses_a_folder_that_is_both_kept_and_removed() {
        let options = Options { ephemeral: true, dir: Some("x".into()), ..Options::default() };
        assert!(matches!(options.layout(), Err(LaunchError::Options(_))));
    }
}
