//! Gateways that hand over to one another.

use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use super::{Gateway, wait_for};

/// The process that serves after a hand-over: nobody's child by then, so it is ended by its number.
pub(crate) struct Serving(pub(crate) Option<u32>);

impl Serving {
    /// The last process that has taken over, if one has.
    pub(crate) fn after(gateway: &Gateway) -> Self {
        Self(successors(gateway).pop())
    }

    pub(crate) fn signal(number: u32, signal: Signal) {
        let _ = kill_process(Pid::from_raw(number.try_into().unwrap()).unwrap(), signal);
    }

    /// Asks the process that serves to hand over, and waits until the next one has. Returns the number of the former.
    pub(crate) fn hand_over(&mut self, gateway: &Gateway) -> u32 {
        let before = successors(gateway).len();
        let former = self.0.unwrap_or_else(|| gateway.id());
        Self::signal(former, Signal::USR2);
        wait_for("a new process", || successors(gateway).len() > before);
        self.0 = successors(gateway).pop();
        former
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let Some(number) = self.0 else { return };
        Self::signal(number, if thread::panicking() { Signal::KILL } else { Signal::TERM });
        if !thread::panicking() {
            wait_for("the end of the last process", || has_ended(number));
        }
    }
}

/// The processes that have taken over so far.
fn successors(gateway: &Gateway) -> Vec<u32> {
    let errors = gateway.errors();
    let lines = errors.lines().filter(|line| line.contains("is ready and takes over"));
    lines
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["process"].as_u64().unwrap() as u32)
        .collect()
}

/// Nobody may be there to bury it.
pub(crate) fn has_ended(number: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{number}/stat"));
    state.map_or(true, |state| state.rsplit(')').next().unwrap().starts_with(" Z"))
}
