//! The clock, and waiting for other processes.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

static STOPPED: AtomicBool = AtomicBool::new(false);

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "a load generator times its own exchanges")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Lets Ctrl-C and SIGTERM end the run in order, so that no server outlives it.
pub(crate) fn watch_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            STOPPED.store(true, Ordering::Relaxed);
        });
    });
    Ok(())
}

/// An error once a signal has asked for the end.
pub(crate) fn go_on() -> Result<()> {
    ensure!(!STOPPED.load(Ordering::Relaxed), "stopped by a signal");
    Ok(())
}

/// A little while, between two looks at another process.
#[expect(clippy::disallowed_methods, reason = "another process has no event to wait for")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Sleeps until a moment that is near.
#[expect(clippy::disallowed_methods, reason = "a load that is given its pace by the clock")]
pub(crate) fn wait_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(now()));
}

/// Does nothing for a while.
pub(crate) fn rest(time: Duration) -> Result<()> {
    let end = now() + time;
    while now() < end {
        go_on()?;
        pause();
    }
    Ok(())
}

/// Addresses on loopback that were free a moment ago, all different.
pub(crate) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let listeners: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    let Ok(addresses) = addresses.try_into() else { bail!("too few free ports") };
    Ok(addresses)
}

/// The content of a file of `/proc`, the error naming it.
pub(crate) fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}
