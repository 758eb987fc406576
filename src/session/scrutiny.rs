//! What looks at every request of the process for as long as somebody wants it: CLIENT PAUSE and MONITOR.
//!
//! Mostly nobody does, and then a request costs one look at one counter.

use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use crate::command::{Access, Categories, CommandSpec, Commands};
use crate::resp::Request;

use super::client::Client;
use super::conversation::Conversation;
use super::worker::{Gateway, Worker};

/// Lines that a monitor may be behind before it is cut off.
const FEED: usize = 4096;

/// Until when requests wait, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) until: Instant,
    /// Those that read as well.
    pub(super) everything: bool,
}

/// Who wants to look at every request.
pub(super) struct Scrutiny {
    /// How many reasons there are: a pause, and each monitor.
    reasons: AtomicUsize,
    pause: watch::Sender<Option<Pause>>,
    feed: broadcast::Sender<Bytes>,
}

impl Scrutiny {
    pub(super) fn new() -> Self {
        let (pause, feed) = (watch::Sender::new(None), broadcast::Sender::new(FEED));
        Self { reasons: AtomicUsize::new(0), pause, feed }
    }

    /// Whether anybody wants to look.
    pub(super) fn is_on(&self) -> bool {
        self.reasons.load(Ordering::Relaxed) > 0
    }

    /// Requests wait from now on. Of two pauses the later end and the wider reach hold, as in a server.
    pub(super) fn pause(&self, wanted: Pause) {
        self.pause.send_modify(|pause| {
            *pause = Some(match *pause {
                Some(known) => Pause {
                    until: known.until.max(wanted.until),
                    everything: known.everything || wanted.everything,
                },
                None => {
                    self.reasons.fetch_add(1, Ordering::Relaxed);
                    wanted
                }
            });
        });
    }

    /// The pause ends now.
    pub(super) fn unpause(&self) {
        self.end_pause(|_| true);
    }

    fn end_pause(&self, has_ended: impl FnOnce(Pause) -> bool) {
        self.pause.send_if_modified(|pause| {
            let ends = pause.is_some_and(has_ended);
            if ends {
                *pause = None;
                self.reasons.fetch_sub(1, Ordering::Relaxed);
            }
            ends
        });
    }

    /// The pause, unless its time is over.
    fn present_pause(&self) -> Option<Pause> {
        let now = Instant::now();
        self.end_pause(|pause| pause.until <= now);
        *self.pause.borrow()
    }

    /// Returns when no request has to wait.
    async fn pause_is_over(&self) {
        let mut changes = self.pause.subscribe();
        while let Some(pause) = self.present_pause() {
            changes.mark_unchanged();
            tokio::select! {
                () = sleep_until(pause.until) => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Whether a pause of writes holds the request back: what a server would pass on to its replicas.
fn may_write(spec: &CommandSpec) -> bool {
    spec.access == Access::Write
        || matches!(&*spec.name, "PUBLISH" | "SPUBLISH" | "PFCOUNT" | "EXEC")
}

impl Conversation {
    /// Whether a pause holds the request back. Then the session is woken when the pause is over.
    pub(super) fn is_held_back(&self, commands: &Commands, request: &Request<'_>) -> bool {
        let Some(pause) = self.worker.gateway.scrutiny.present_pause() else { return false };
        // What is refused anyway, a server refuses at once.
        let Ok(spec) = commands.resolve(request) else { return false };
        let held = self.is_authenticated() && (pause.everything || may_write(spec));
        if held {
            self.worker.await_pause();
        }
        held
    }

    /// Tells the monitors of a request.
    pub(super) fn show(&self, commands: &Commands, request: &Request<'_>) {
        let feed = &self.worker.gateway.scrutiny.feed;
        let Ok(spec) = commands.resolve(request) else { return };
        if !spec.is_offered() {
            // A server does not show what it refuses, and there may be passwords in it.
            return;
        }
        // What administers a server is nobody's business, and passwords even less.
        let is_secret = matches!(&*spec.name, "AUTH" | "HELLO");
        if feed.receiver_count() > 0 && !is_secret && !spec.categories.contains(Categories::ADMIN) {
            let (database, address) = (self.manner().database, self.client.ends.client.to_string());
            // Monitors may have gone meanwhile.
            let _ = feed.send(line(database, &address, request).into());
        }
    }
}

impl Worker {
    /// Wakes the sessions of this worker when the pause is over.
    fn await_pause(self: &Rc<Self>) {
        if self.awaits_pause.replace(true) {
            return;
        }
        let worker = self.clone();
        spawn_local(async move {
            worker.gateway.scrutiny.pause_is_over().await;
            worker.awaits_pause.set(false);
            worker.wake_all();
        });
    }
}

/// A client that sees the requests of all others, until this is dropped.
pub(super) struct Monitoring {
    gateway: Arc<Gateway>,
    feeding: JoinHandle<()>,
}

impl Monitoring {
    /// From now on. A client that reads too slowly is cut off.
    pub(super) fn new(gateway: Arc<Gateway>, client: Rc<Client>) -> Self {
        let mut feed = gateway.scrutiny.feed.subscribe();
        gateway.scrutiny.reasons.fetch_add(1, Ordering::Relaxed);
        let feeding = spawn_local(async move {
            loop {
                match feed.recv().await {
                    Ok(line) => client.replies.push(&line, b""),
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(client = %client.ends.client, missed, "client closed: it monitors too slowly");
                        return client.kill();
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Self { gateway, feeding }
    }
}

impl Drop for Monitoring {
    fn drop(&mut self) {
        self.feeding.abort();
        self.gateway.scrutiny.reasons.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request as MONITOR shows it, with the number of its database: `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`.
fn line(database: u16, address: &str, request: &Request<'_>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut line = format!("+{}.{:06} [{database} {address}]", now.as_secs(), now.subsec_micros());
    for argument in request.args() {
        line.push_str(" \"");
        argument.iter().for_each(|&byte| quote(byte, &mut line));
        line.push('"');
    }
    line.push_str("\r\n");
    line
}

/// A byte as servers show it between quotes.
fn quote(byte: u8, line: &mut String) {
    match byte {
        b'\\' | b'"' => {
            line.push('\\');
            line.push(char::from(byte));
        }
        b'\n' => line.push_str("\\n"),
        b'\r' => line.push_str("\\r"),
        b'\t' => line.push_str("\\t"),
        0x07 => line.push_str("\\a"),
        0x08 => line.push_str("\\b"),
        b' '..=b'~' => line.push(char::from(byte)),
        // Writing to a string does not fail.
        other => drop(write!(line, "\\x{other:02x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Limits, RequestParser, write};

    #[test]
    fn requests_are_shown_as_a_server_shows_them() {
        let mut frame = Vec::new();
        write::command(&mut frame, &[b"set".as_slice(), b"a \"b\"\\", b"\x00\xff\r\n\t\x07\x08~"]);
        let mut parser = RequestParser::new();
        parser.parse(&frame, &Limits::default(), true).unwrap();
        let shown = line(0, "127.0.0.1:5", &parser.request(&frame));
        let (time, rest) = shown.split_once(' ').unwrap();
        assert!(time.starts_with('+') && time.len() == "+1339518083.107412".len(), "{time}");
        let expected = r#"[0 127.0.0.1:5] "set" "a \"b\"\\" "\x00\xff\r\n\t\a\b~""#;
        assert_eq!(rest, format!("{expected}\r\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_by_time_or_by_word() {
        let scrutiny = Scrutiny::new();
        let from_now = |millis| Instant::now() + Duration::from_millis(millis);
        assert!(!scrutiny.is_on());
        let started = Instant::now();
        scrutiny.pause(Pause { until: from_now(100), everything: false });
        scrutiny.pause(Pause { until: from_now(50), everything: true });
        assert_eq!(
            scrutiny.present_pause(),
            Some(Pause { until: from_now(100), everything: true }),
            "the later end and the wider reach"
        );
        scrutiny.pause_is_over().await;
        assert_eq!(started.elapsed().as_millis(), 100);
        assert!(!scrutiny.is_on());
        scrutiny.pause(Pause { until: from_now(1000), everything: true });
        let ended = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            scrutiny.unpause();
            scrutiny.unpause();
        };
        let before = Instant::now();
        tokio::join!(scrutiny.pause_is_over(), ended);
        assert_eq!(before.elapsed().as_millis(), 10);
        assert!(!scrutiny.is_on());
    }
}
