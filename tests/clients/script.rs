//! One script of a client: a child process that must end well, within a bound, with its output shown when it does not.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::harness::{Gateway, wait_within};
use crate::packages;

/// Generous: the machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Characters that a failure shows: the last ones.
const MOST_SHOWN: usize = 4_000;

/// A script that runs. Dropping it kills it.
pub(crate) struct Script {
    name: String,
    child: Child,
    output: PathBuf,
}

/// A script of `tests/clients/python`, or of `guide` by its path from there.
pub(crate) fn python(name: &str, gateway: &Gateway) -> Command {
    let path = packages::sources().join("python").join(name);
    let mut command = Command::new(packages::python());
    command.arg(&path).current_dir(path.parent().unwrap()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("REDIS_PORT", gateway.address().port().to_string());
    command
}

/// A script of `tests/clients/node` or `guide`.
pub(crate) fn node(name: &str, gateway: &Gateway) -> Command {
    let mut command = Command::new("node");
    command.arg(packages::node().join(name));
    command.env("REDIS_PORT", gateway.address().port().to_string());
    command
}

/// A script of `tests/clients/ruby`.
pub(crate) fn ruby(name: &str, gateway: &Gateway) -> Command {
    let mut command = Command::new("ruby");
    command.arg(packages::sources().join("ruby").join(name));
    command.env("REDIS_PORT", gateway.address().port().to_string());
    command
}

/// A script of `tests/clients/php`.
pub(crate) fn php(name: &str, gateway: &Gateway) -> Command {
    let mut command = Command::new("php");
    command.arg(packages::sources().join("php").join(name));
    command.env("REDIS_PORT", gateway.address().port().to_string());
    command
}

/// One of the Rust clients.
pub(crate) fn rust(name: &str, gateway: &Gateway) -> Command {
    let mut command = Command::new(packages::rust());
    command.arg(name).env("REDIS_PORT", gateway.address().port().to_string());
    command
}

/// Whether the machine has this program.
pub(crate) fn is_installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn passes(command: Command) {
    Script::start(command).wait_for_end();
}

impl Script {
    pub(crate) fn start(mut command: Command) -> Self {
        let last = command.get_args().last().unwrap().to_owned();
        let name = Path::new(&last).file_name().unwrap().to_string_lossy().into_owned();
        let output = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let output = output.into_temp_path().keep().unwrap();
        let file = File::create(&output).unwrap();
        command.stdin(Stdio::piped()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { name, child, output }
    }

    /// What it has printed.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits until it has printed the text.
    pub(crate) fn wait_for_text(&mut self, text: &str) {
        wait_within(PATIENCE, &format!("{text:?} from {}", self.name), || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended with {ended:?}:\n{}", self.name, self.printed());
            self.printed().contains(text)
        });
    }

    /// Tells it to finish: a line on its standard input.
    pub(crate) fn finish(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap(), "finish").unwrap();
    }

    #[track_caller]
    pub(crate) fn wait_for_end(mut self) {
        let mut status: Option<ExitStatus> = None;
        let deadline = std::time::Instant::now() + PATIENCE;
        while status.is_none() && std::time::Instant::now() < deadline {
            status = self.child.try_wait().unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        let printed = self.printed();
        let cut = printed.char_indices().rev().nth(MOST_SHOWN).map_or(0, |(at, _)| at);
        let printed = &printed[cut..];
        match status {
            Some(status) if status.success() => {
                assert!(printed.contains("ok"), "{} checked nothing:\n{printed}", self.name);
            }
            Some(status) => panic!("{} ended with {status}:\n{printed}", self.name),
            None => panic!("{} hangs:\n{printed}", self.name),
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.output);
    }
}
