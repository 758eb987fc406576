//! Child processes that die with the test binary, whatever ends it.

use std::ffi::OsString;
use std::io;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::{fs::File, path::Path, thread};

use rustix::process::{Pid, Signal, kill_process};

use super::wait_for;

/// A running child. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

impl Process {
    /// Starts the program with standard error in a file and standard output in a pipe.
    pub(crate) fn start(
        program: &str,
        arguments: &[OsString],
        errors: &Path,
    ) -> (Self, ChildStdout) {
        let mut command = with_parent_death_signal(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(errors).unwrap());
        let mut child =
            spawn(command).unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let output = child.stdout.take().unwrap();
        (Self { child }, output)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The exit status, once the process has ended.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub(crate) fn wait_for_end(&mut self, what: &str) -> ExitStatus {
        wait_for(what, || self.status().is_some());
        self.status().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn with_parent_death_signal(program: &str) -> Command {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    let available = AVAILABLE.get_or_init(|| {
        let probe = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "true"])
            .stderr(Stdio::null())
            .status();
        probe.is_ok_and(|status| status.success())
    });
    if !available {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// The kernel sends the parent's death signal when the thread that started a child ends, and a test's thread ends
/// with its test: so one thread that lasts as long as the binary starts them all.
fn spawn(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in receiver {
                // The test that asked may have failed meanwhile; then the child is dropped with the answer.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (answer, child) = mpsc::channel();
    orders.lock().unwrap().send((command, answer)).unwrap();
    child.recv().unwrap()
}
