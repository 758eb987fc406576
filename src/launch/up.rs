//! `slotway up`: the cluster, then the gateway before it, then the cluster's end.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::ports::{self, Use};
use super::{BUS_OFFSET, LaunchError, Layout, LocalCluster, Options, Progress, SLOTS};
use crate::config::Settings;

/// Starts the cluster or finds it again, runs the gateway before it, and stops the cluster when the
/// gateway has ended. `serve` is the gateway: it blocks until it was told to stop.
///
/// # Errors
/// What `serve` returned, or a [`LaunchError`]. A start that the user stopped is none.
pub fn up(
    mut options: Options,
    mut settings: Settings,
    serve: impl FnOnce(Settings) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    check_gateway_ports(options.layout()?, &settings)?;
    if options.launcher.is_none() {
        options.launcher = Some(own_program()?);
    }
    let interrupted = watch_signals().context("cannot watch for signals")?;
    let terminal = Terminal::default();
    let started = LocalCluster::start_unless(&options, &|step| terminal.show(step), &|| {
        interrupted.load(Ordering::Relaxed)
    });
    terminal.end_line();
    let cluster = match started {
        Ok(cluster) => cluster,
        Err(LaunchError::Interrupted) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if interrupted.load(Ordering::Relaxed) {
        return Ok(());
    }
    point_at(&cluster, &mut settings);
    let served = serve(settings);
    cluster.stop();
    served
}

/// The nodes of the local cluster and nothing else: what a settings file says of another cluster's
/// passwords and addresses does not hold for them.
fn point_at(cluster: &LocalCluster, settings: &mut Settings) {
    cluster.point_at(&mut settings.cluster);
    if let Some(certificates) = cluster.certificates() {
        certificates.show_to_clients(&mut settings.listen);
        tracing::info!(authority = %certificates.authority().display(), "clients believe the gateway by this file");
    }
}

/// The gateway's own ports are looked at before the cluster takes its time to start.
fn check_gateway_ports(layout: Layout, settings: &Settings) -> Result<(), LaunchError> {
    for (address, role) in
        [(settings.listen.address, Use::Gateway), (settings.admin.address, Use::Admin)]
    {
        let port = address.port();
        if layout.ports().any(|node| port == node || port == node.saturating_add(BUS_OFFSET)) {
            return Err(LaunchError::Options(format!(
                "port {port} is wanted twice, by {role} and by a node; choose another --base-port"
            )));
        }
        if port != 0 && !ports::is_free(address) {
            return Err(LaunchError::PortTaken { port, role, holder: ports::holder(port) });
        }
    }
    Ok(())
}

/// The program to be the nodes' launcher: this one. On Linux by way of the kernel's own link, which also holds when the file was replaced meanwhile.
///
/// # Errors
/// The system does not say where it is.
pub fn own_program() -> anyhow::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    std::env::current_exe().context("cannot find the program itself")
}

/// Becomes true with the first SIGINT or SIGTERM, which must not end this process while it starts a
/// cluster: nodes are stopped and a temporary folder is removed first. The gateway has its own ears.
fn watch_signals() -> std::io::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let seen = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&seen);
    std::thread::Builder::new().name("launch-signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        flag.store(true, Ordering::Relaxed);
    })?;
    Ok(seen)
}

/// What a person sees of the start, on standard error; a script sees nothing.
#[derive(Debug)]
struct Terminal {
    shown: bool,
    /// Whether the cursor stands behind a line that the next one replaces.
    open: Cell<bool>,
}

impl Default for Terminal {
    fn default() -> Self {
        Self { shown: std::io::stderr().is_terminal(), open: Cell::new(false) }
    }
}

impl Terminal {
    fn show(&self, step: Progress<'_>) {
        match step {
            Progress::Server { path, version } => {
                self.line(&format!("server    {} {version}", path.display()));
            }
            Progress::Folder { path, layout, found } => {
                let state = if found { "found again" } else { "new" };
                self.line(&format!("folder    {} ({state})", path.display()));
                self.line(&format!("cluster   {layout}"));
            }
            Progress::Started { port, pid } => {
                self.line(&format!("node      {port} started, process {pid}"))
            }
            Progress::Slots { covered } => {
                self.replace(&format!("slots     {covered} of {SLOTS} served"), covered == SLOTS);
            }
            Progress::Replicas { in_step, total } => {
                self.replace(&format!("replicas  {in_step} of {total} in step"), in_step == total);
            }
        }
    }

    fn line(&self, text: &str) {
        self.replace(text, true);
    }

    /// Writes over an unfinished line. A terminal that is gone is no reason to stop.
    fn replace(&self, text: &str, finished: bool) {
        if self.shown {
            let begin = if self.open.replace(!finished) { "\r\x1b[K" } else { "" };
            let end = if finished { "\n" } else { "" };
            let _ = write!(std::io::stderr(), "{begin}{text}{end}");
        }
    }

    fn end_line(&self) {
        if self.shown && self.open.replace(false) {
            let _ = writeln!(std::io::stderr());
        }
    }
}
