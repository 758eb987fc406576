//! A node that a `slotway up` runs, as another process finds it.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

use super::error::LaunchError;
use super::{folder, ports};

/// A node's process, found by its port and by the folder that it runs in.
#[derive(Debug)]
pub struct RunningNode {
    address: String,
    dir: PathBuf,
    pid: u32,
}

impl RunningNode {
    /// The node with this address, of the `slotway up` that runs in `dir`. Linux only.
    ///
    /// # Errors
    /// It is no such node: another machine's, somebody else's, or of a cluster that does not run.
    pub fn find(dir: &Path, address: &str) -> Result<Self, LaunchError> {
        let refuse = |reason: &str| LaunchError::NotOurs {
            address: address.to_owned(),
            dir: dir.to_owned(),
            reason: reason.to_owned(),
        };
        let place: SocketAddr = address.parse().map_err(|_| refuse("it has no IP address"))?;
        if !place.ip().is_loopback() {
            return Err(refuse("it is not on this machine"));
        }
        if !folder::is_in_use(dir) {
            return Err(refuse("no slotway up runs there"));
        }
        let holder =
            ports::holder(place.port()).ok_or_else(|| refuse("its process is not known"))?;
        if !holder.runs_in(&dir.join(place.port().to_string())) {
            return Err(refuse("its process runs elsewhere"));
        }
        Ok(Self { address: address.to_owned(), dir: dir.to_owned(), pid: holder.pid })
    }

    /// Ends its process with SIGKILL. The `slotway up` that started it starts it again after a pause.
    ///
    /// # Errors
    /// It is not there any more, or belongs to another user.
    pub fn kill(&self) -> Result<(), LaunchError> {
        // The number may be somebody else's by now.
        let found = Self::find(&self.dir, &self.address)?;
        let pid = i32::try_from(found.pid).ok().and_then(Pid::from_raw);
        let killed = pid.ok_or(rustix::io::Errno::SRCH);
        let killed = killed.and_then(|pid| rustix::process::kill_process(pid, Signal::KILL));
        killed.map_err(|error| LaunchError::system(format_args!("kill {self}"))(error.into()))
    }
}

impl fmt::Display for RunningNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.address, self.pid)
    }
}
