//! A server that the run started, ended with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::wait::{go_on, now, pause};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// A running server; dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `folder/NAME.log`.
    pub(crate) fn start(name: &str, folder: &Path, command: &mut Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tries until it succeeds, as long as the process lives and a start may take.
    pub(crate) fn until<T>(&mut self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let end = now() + START;
        loop {
            go_on()?;
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended, {status}: {}", self.name, self.last_words());
            }
            match attempt() {
                Ok(found) => return Ok(found),
                Err(error) if now() >= end => {
                    return Err(error.context(format!("{}: {}", self.name, self.last_words())));
                }
                Err(_) => pause(),
            }
        }
    }

    /// The last lines of its output.
    fn last_words(&self) -> String {
        let output = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        lines.split_at(lines.len().saturating_sub(8)).1.join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
