//! The server processes: one thread starts all of them, watches them, and ends them.
//!
//! That thread is their parent as far as the kernel's parent-death signal is concerned, so it lives as
//! long as they do: nodes may be started from any thread, also one that ends at once.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::error::LaunchError;
use super::{now, pause};

/// A node's log, in its folder.
pub(super) const LOG: &str = "node.log";
/// Tells `exec_node` whose child it has to be.
const PARENT: &str = "NODE_EXEC_PARENT";
/// How often children are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Time for a node to end by itself after SIGTERM; its template gives replicas three seconds to catch up.
const GRACE: Duration = Duration::from_secs(10);
/// Pauses before a node that died is started again: the first, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A node that lived this long died of something new.
const STABLE: Duration = Duration::from_secs(60);
/// How much of a log is shown when its node dies.
const TAIL_LINES: usize = 8;
const TAIL_BYTES: u64 = 16 << 10;

/// Becomes the server: what the hidden subcommand `node-exec` does. Returns only if it could not.
///
/// Before that it asks the kernel to end this process when the thread that started it ends, so that no
/// server outlives a gateway that was killed. SIGTERM rather than SIGKILL, because a server then still
/// writes down what it acknowledged.
pub fn exec_node<I>(server: &Path, args: I) -> io::Error
where
    I: IntoIterator,
    I::Item: AsRef<std::ffi::OsStr>,
{
    #[cfg(target_os = "linux")]
    if let Err(error) = follow_parent() {
        return error;
    }
    Command::new(server).args(args).env_remove(PARENT).exec()
}

#[cfg(target_os = "linux")]
fn follow_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // The parent may have gone before the signal was asked for; then nobody will send it.
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().to_string());
    match std::env::var(PARENT) {
        Ok(expected) if Some(&expected) != parent.as_ref() => {
            Err(io::Error::other("the process that wanted this node is gone"))
        }
        _ => Ok(()),
    }
}

/// How nodes are started.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) server: PathBuf,
    /// Runs `exec_node` for its argument `node-exec`; without it, a node survives a killed parent.
    pub(super) launcher: Option<PathBuf>,
}

/// A node that ended by itself.
#[derive(Clone, Debug)]
pub(super) struct Death {
    pub(super) port: u16,
    pub(super) status: ExitStatus,
    pub(super) log: PathBuf,
    pub(super) tail: Vec<String>,
}

impl From<Death> for LaunchError {
    fn from(death: Death) -> Self {
        Self::NodeDied {
            port: death.port,
            status: death.status.to_string(),
            log: death.log,
            tail: death.tail,
        }
    }
}

/// Every node's process. Dropped, it ends them at once.
#[derive(Debug)]
pub(super) struct Nodes {
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Order {
    Start(usize, Sender<io::Result<u32>>),
    Kill(usize, Sender<()>),
    Pid(usize, Sender<Option<u32>>),
    FirstDeath(Sender<Option<Death>>),
    Heal,
    Stop { gently: bool },
}

impl Nodes {
    /// Makes the thread; no node runs yet.
    pub(super) fn new(
        recipe: Recipe,
        places: impl IntoIterator<Item = (u16, PathBuf)>,
    ) -> Result<Self, LaunchError> {
        let (orders, received) = mpsc::channel();
        let nodes = places.into_iter().map(|(port, folder)| Node::new(port, folder)).collect();
        let keeper = Keeper { recipe, nodes, healing: false };
        let thread = std::thread::Builder::new()
            .name("nodes".to_owned())
            .spawn(move || keeper.run(&received))
            .map_err(LaunchError::system("start a thread"))?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Starts a node that does not run. Returns its process.
    pub(super) fn start(&self, index: usize) -> io::Result<u32> {
        self.ask(|reply| Order::Start(index, reply)).unwrap_or_else(|| Err(gone()))
    }

    /// Ends a node at once, as a power failure would; it stays down until it is started.
    pub(super) fn kill(&self, index: usize) {
        self.ask(|reply| Order::Kill(index, reply));
    }

    /// The process of a node that runs.
    pub(super) fn pid(&self, index: usize) -> Option<u32> {
        self.ask(|reply| Order::Pid(index, reply)).flatten()
    }

    /// A node that ended by itself, if one did.
    pub(super) fn first_death(&self) -> Option<Death> {
        self.ask(Order::FirstDeath).flatten()
    }

    /// From now on, a node that ends by itself is started again.
    pub(super) fn heal(&self) {
        let _ = self.orders.send(Order::Heal);
    }

    /// Ends all nodes, and returns when they are gone: gently, each writes down what it has.
    pub(super) fn stop(&mut self, gently: bool) {
        let _ = self.orders.send(Order::Stop { gently });
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// `None` if the thread is gone, which it is only after `stop`.
    fn ask<T>(&self, order: impl FnOnce(Sender<T>) -> Order) -> Option<T> {
        let (reply, answer) = mpsc::channel();
        self.orders.send(order(reply)).ok()?;
        answer.recv().ok()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.stop(false);
    }
}

fn gone() -> io::Error {
    io::Error::other("the cluster was stopped")
}

#[derive(Debug)]
struct Keeper {
    recipe: Recipe,
    nodes: Vec<Node>,
    healing: bool,
}

impl Keeper {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(LOOK) {
                Ok(Order::Stop { gently }) => return self.stop(gently),
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.stop(false),
            }
            self.look_after();
        }
    }

    /// An answer that nobody waits for any more is dropped.
    fn obey(&mut self, order: Order) {
        match order {
            Order::Start(index, reply) => {
                let started = match self.nodes.get_mut(index) {
                    Some(node) => node.start(&self.recipe),
                    None => Err(io::Error::from(io::ErrorKind::NotFound)),
                };
                let _ = reply.send(started);
            }
            Order::Kill(index, reply) => {
                if let Some(node) = self.nodes.get_mut(index) {
                    node.again_at = None;
                    node.kill();
                }
                let _ = reply.send(());
            }
            Order::Pid(index, reply) => {
                let _ = reply.send(self.nodes.get(index).and_then(Node::pid));
            }
            Order::FirstDeath(reply) => {
                self.look_after();
                let _ = reply.send(self.nodes.iter_mut().find_map(|node| node.death.take()));
            }
            Order::Heal => {
                self.healing = true;
                // One may have ended after the last question about it.
                let ended = self.nodes.iter_mut().filter(|node| node.death.is_some());
                ended.for_each(Node::plan_again);
            }
            Order::Stop { .. } => {}
        }
    }

    fn look_after(&mut self) {
        for node in &mut self.nodes {
            if node.ended_by_itself() && self.healing {
                node.plan_again();
            }
            if node.again_at.is_some_and(|time| time <= now())
                && let Err(error) = node.start(&self.recipe)
            {
                tracing::error!(port = node.port, %error, "node does not start");
                node.plan_again();
            }
        }
    }

    fn stop(mut self, gently: bool) {
        if gently {
            self.nodes.iter().for_each(|node| node.signal(Signal::TERM));
            let deadline = now() + GRACE;
            while self.nodes.iter_mut().any(Node::runs) && now() < deadline {
                pause(Duration::from_millis(10));
            }
        }
        self.nodes.iter_mut().for_each(Node::kill);
    }
}

#[derive(Debug)]
struct Node {
    port: u16,
    folder: PathBuf,
    child: Option<Child>,
    started: Instant,
    /// Where this run's part of the log begins.
    log_begin: u64,
    death: Option<Death>,
    again_at: Option<Instant>,
    rest: Duration,
}

impl Node {
    fn new(port: u16, folder: PathBuf) -> Self {
        Self {
            port,
            folder,
            child: None,
            started: now(),
            log_begin: 0,
            death: None,
            again_at: None,
            rest: AGAIN.0,
        }
    }

    fn start(&mut self, recipe: &Recipe) -> io::Result<u32> {
        self.again_at = None;
        if let Some(pid) = self.pid() {
            return Ok(pid);
        }
        let log = File::options().create(true).append(true).open(self.folder.join(LOG))?;
        self.log_begin = log.metadata()?.len();
        let mut command = match &recipe.launcher {
            Some(launcher) => {
                let mut command = Command::new(launcher);
                command
                    .arg("node-exec")
                    .arg(&recipe.server)
                    .env(PARENT, std::process::id().to_string());
                command
            }
            None => Command::new(&recipe.server),
        };
        // A group of its own keeps a Ctrl-C on the terminal from the node: the gateway drains first.
        let child = command
            .arg("node.conf")
            .current_dir(&self.folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let pid = child.id();
        self.child = Some(child);
        self.death = None;
        self.started = now();
        Ok(pid)
    }

    fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether the process is there; a zombie is buried on the way.
    fn runs(&mut self) -> bool {
        self.ended_by_itself();
        self.child.is_some()
    }

    /// Whether it ended since the last look, although nobody told it to.
    fn ended_by_itself(&mut self) -> bool {
        let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) else { return false };
        self.child = None;
        let log = self.folder.join(LOG);
        let tail = tail(&log, self.log_begin);
        self.death = Some(Death { port: self.port, status, log, tail });
        true
    }

    /// Says so in one line, and sets the time of the next start: sooner for a node that had lived long.
    fn plan_again(&mut self) {
        if now().duration_since(self.started) > STABLE {
            self.rest = AGAIN.0;
        }
        let rest = self.rest;
        self.rest = (self.rest * 2).min(AGAIN.1);
        self.again_at = Some(now() + rest);
        if let Some(death) = self.death.take() {
            let last = death.tail.last().map_or("", String::as_str);
            tracing::error!(
                port = death.port, status = %death.status, last, log = %death.log.display(),
                "node ended, starting it again in {rest:?}"
            );
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.group() {
            // Already gone is as good as told.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// The whole group, because a server's own child (which rewrites its log) would live on.
    fn kill(&mut self) {
        if let Some(group) = self.group() {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn group(&self) -> Option<Pid> {
        self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
    }
}

/// The last lines of what was logged after `begin`.
fn tail(log: &Path, begin: u64) -> Vec<String> {
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(begin.max(end.saturating_sub(TAIL_BYTES))))?;
        file.read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        return vec![format!("(cannot be read: {error})")];
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(skipped).map(str::to_owned).collect()
}
