//! `slotway upgrade`: tells a running gateway to hand over to its program as it is on disk now, and waits for what
//! comes of it.
//!
//! The gateway says itself which process it is, so no file about it can be out of date; and it is told by a signal, so
//! nobody makes it start anything who may not signal it.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use crate::admin::{self, Process};
use crate::config::Admin;
use crate::metrics;

use super::succession;

/// How often it is asked how far it is.
const PAUSE: Duration = Duration::from_millis(50);
/// What the gateway may need beyond the time that it gives its new process.
const GRACE: Duration = Duration::from_secs(10);

/// Returns when another process serves at the gateway's admin port, with a line that says so.
pub(super) async fn hand_over(admin: &Admin) -> anyhow::Result<String> {
    let former = ask(admin)?;
    ensure!(
        former.started.is_some() && metrics::started(former.number) == former.started,
        "the gateway at {} does not run on this machine, or in a container of its own: signal it there (SIGUSR2)",
        admin.address
    );
    let process = i32::try_from(former.number).ok().and_then(Pid::from_raw);
    let process = process.context("the gateway says that it is no process")?;
    kill_process(process, Signal::USR2)
        .with_context(|| format!("process {} cannot be signalled", former.number))?;

    match timeout(succession::PATIENCE + GRACE, outcome(admin, &former)).await {
        Ok(outcome) => outcome,
        Err(_) => bail!("nobody says what came of it: see the log of process {}", former.number),
    }
}

async fn outcome(admin: &Admin, former: &Process) -> anyhow::Result<String> {
    loop {
        sleep(PAUSE).await;
        match ask(admin) {
            Ok(now) if now.number != former.number => {
                return Ok(format!("process {} took over from {}", now.number, former.number));
            }
            Ok(now) if now.failures > former.failures => {
                bail!("process {} goes on, for no other took over: {}", former.number, now.why)
            }
            // It is at it, or nobody answers for the moment between the two.
            _ => {}
        }
    }
}

fn ask(admin: &Admin) -> anyhow::Result<Process> {
    let address = admin.address;
    let answer = admin::probe(admin, "/process.json")
        .with_context(|| format!("no answer from {address} (admin.address)"))?;
    ensure!(answer.ok, "{address} (admin.address) answers: {}", answer.body);
    serde_json::from_str(&answer.body)
        .with_context(|| format!("{address} (admin.address) is not the admin port of a gateway"))
}
