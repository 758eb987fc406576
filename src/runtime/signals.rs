//! The signals that the gateway takes: SIGTERM and SIGINT end it, SIGHUP reloads, SIGUSR2 hands over.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::Reloading;
use super::service;
use super::succession::Successor;

/// Why the gateway stops accepting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Somebody wants it to end.
    Told,
    /// Another process goes on in its place.
    Succession,
}

impl End {
    pub(super) fn is_succession(self) -> bool {
        self == Self::Succession
    }
}

/// The signals, and what hands over; `None`: this gateway does not, or not any more.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    hand_over: Signal,
    pub(super) successor: Option<Successor>,
}

type Start<'a> = Pin<Box<dyn Future<Output = anyhow::Result<u32>> + 'a>>;

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            hand_over: signal(SignalKind::user_defined2())?,
            successor: None,
        })
    }

    /// Returns when somebody wants the gateway to end, or another process has taken over.
    pub(super) async fn told_to_end(&mut self, reloading: &Reloading) -> End {
        let Self { terminate, interrupt, hang_up, hand_over, successor } = self;
        let successor = successor.as_ref();
        let mut start: Option<Start<'_>> = None;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => service::reload(reloading),
                _ = hand_over.recv() => match successor {
                    Some(_) if start.is_some() => tracing::warn!("a new process is being started already"),
                    Some(successor) => {
                        tracing::info!("a new process is started, to hand over to");
                        start = Some(Box::pin(successor.start()));
                    }
                    None => {
                        const WHY: &str = "this gateway cannot hand over now";
                        tracing::error!("{WHY}");
                        reloading.pages.hand_overs.failed(WHY.to_owned());
                    }
                },
                started = outcome(&mut start) => {
                    start = None;
                    match started {
                        Ok(process) => {
                            tracing::info!(process, "the new process is ready and takes over");
                            service::tell(&[NotifyState::MainPid(process), NotifyState::Ready]);
                            return End::Succession;
                        }
                        Err(error) => {
                            let error = format!("{error:#}");
                            tracing::error!(error, "the new process did not take over; this one goes on");
                            reloading.pages.hand_overs.failed(error);
                        }
                    }
                }
            }
        }
        service::tell(&[NotifyState::Stopping]);
        End::Told
    }
}

async fn outcome(start: &mut Option<Start<'_>>) -> anyhow::Result<u32> {
    match start {
        Some(start) => start.await,
        None => pending().await,
    }
}
