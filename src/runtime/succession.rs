//! A restart without a lost request: the gateway starts its program again, as it is on disk now, passes it the
//! sockets that it listens on, and drains when the new process is ready.
//!
//! The two talk over the new process's standard input: one line says that it is ready, and the end of the stream
//! that it is gone. Until then the new one accepts nobody, so that nothing is lost when it fails.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use command_fds::{CommandFdExt, FdMapping};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::backend::Home;

/// Tells the new process that its standard input leads to the old one, whether the files of Unix sockets are the
/// gateway's, and behind that, which node is home.
const PREDECESSOR: &str = "SLOTWAY_PREDECESSOR";
const OWN: &str = "own";
const LENT: &str = "lent";

/// What the new process says.
const READY: &[u8] = b"ready\n";
/// The new process has so long to become ready.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The first descriptor that is passed, by the rules of `LISTEN_FDS`.
const FIRST: i32 = 3;

/// The way back to the process that this one takes over from.
pub(super) struct Predecessor {
    line: UnixStream,
    pub(super) files_are_own: bool,
    /// The address of its home node, if it had chosen one.
    pub(super) home: Option<String>,
}

impl Predecessor {
    /// `None`: this process was not started by a gateway.
    pub(super) fn of_this_process() -> io::Result<Option<Self>> {
        let Some(said) = std::env::var_os(PREDECESSOR) else { return Ok(None) };
        let said = said.to_string_lossy();
        let mut words = said.split(' ');
        let files_are_own = words.next() == Some(OWN);
        let line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Some(Self { line, files_are_own, home: words.next().map(str::to_owned) }))
    }

    /// This process accepts clients from now on, and the other one stops.
    ///
    /// # Errors
    /// It is gone: whoever ended it meant this gateway to end.
    pub(super) fn take_over(mut self) -> anyhow::Result<()> {
        self.line.write_all(READY).context("the process to take over from has ended")
    }
}

/// What it takes to start the new process.
pub(super) struct Successor {
    /// As typed: a link may lead to another version by now.
    program: OsString,
    arguments: Vec<OsString>,
    sockets: Vec<OwnedFd>,
    files_are_own: bool,
    home: Home,
}

impl Successor {
    pub(super) fn new(sockets: Vec<OwnedFd>, files_are_own: bool, home: Home) -> Self {
        let mut arguments = std::env::args_os();
        let program = arguments.next().unwrap_or_default();
        Self { program, arguments: arguments.collect(), sockets, files_are_own, home }
    }

    /// Starts the new process and waits until it is ready. Returns its number.
    ///
    /// # Errors
    /// It did not become ready. Then it is gone, and nothing has changed.
    pub(super) async fn start(&self) -> anyhow::Result<u32> {
        if std::process::id() == 1 {
            bail!(
                "this is the first process of a container, which ends with it: replace the container"
            );
        }
        let (line, theirs) = UnixStream::pair()?;
        line.set_nonblocking(true)?;
        let mut line = tokio::net::UnixStream::from_std(line)?;
        let mut child =
            self.command(theirs)?.spawn().with_context(|| format!("{:?}", self.program))?;
        let mut said = [0; READY.len()];
        let why = match timeout(PATIENCE, line.read_exact(&mut said)).await {
            Ok(Ok(_)) if said == READY => return Ok(child.id()),
            Ok(_) => "it ended before it was ready".to_owned(),
            Err(_) => format!("it was not ready within {PATIENCE:?}"),
        };
        // It may have ended by itself.
        let _ = child.kill();
        let status = tokio::task::spawn_blocking(move || child.wait()).await??;
        bail!("{why}: {status}")
    }

    fn words(&self) -> String {
        let files = if self.files_are_own { OWN } else { LENT };
        match self.home.address() {
            Some(home) => format!("{files} {home}"),
            None => files.to_owned(),
        }
    }

    fn command(&self, line: UnixStream) -> anyhow::Result<Command> {
        let passed =
            self.sockets.iter().zip(FIRST..).map(|(socket, child_fd)| {
                Ok(FdMapping { parent_fd: socket.try_clone()?, child_fd })
            });
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env(PREDECESSOR, self.words())
            .env("LISTEN_FDS", self.sockets.len().to_string())
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            // Both name this process; without them, what they go with counts for the new one.
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(OwnedFd::from(line)))
            .fd_mappings(passed.collect::<io::Result<_>>()?)?;
        Ok(command)
    }
}
