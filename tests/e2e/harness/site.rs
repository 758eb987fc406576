//! Where a process runs: here, or in a network namespace with an address of its own.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;

use super::Process;

/// An address, and the network namespace that has it if it is not the test's own.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) ip: IpAddr,
    pub(crate) namespace: Option<PathBuf>,
}

impl Site {
    /// Loopback.
    pub(crate) fn here() -> Self {
        Self { ip: Ipv4Addr::LOCALHOST.into(), namespace: None }
    }

    /// As [`Process::start`], there.
    pub(super) fn start(
        &self,
        program: &str,
        arguments: &[OsString],
        errors: &Path,
    ) -> (Process, ChildStdout) {
        let Some(namespace) = &self.namespace else {
            return Process::start(program, arguments, errors);
        };
        // It replaces itself with the program, so that the process is the program's.
        let mut all = vec![format!("--net={}", namespace.display()).into(), program.into()];
        all.extend_from_slice(arguments);
        Process::start("nsenter", &all, errors)
    }
}
