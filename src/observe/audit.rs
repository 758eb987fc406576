//! The audit log: who logged in, who failed to, what was denied, what was administered.
//!
//! Sessions hand records over and never wait; a thread of its own writes them, through `tracing` under the target
//! `audit`. A flood of one kind is cut and counted, so that it neither fills a disk nor hides the other kinds.
//! No record has room for a password.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::metrics::Metrics;

/// Under what name the records are logged: `log.level` turns them on and off by it.
const TARGET: &str = "audit";
/// Records of one kind in one second.
const EACH_SECOND: u32 = 1000;
/// Records that may wait to be written.
const WAITING: usize = 4096;
/// How long the end of the process waits for the last of them.
const LAST: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client became a user.
    Login,
    /// It did not, for it had the wrong name or password.
    LoginFailed,
    /// A user's rules denied a request.
    Denied,
    /// A command for administrators was carried out.
    Command,
}

/// One thing that happened. What it has no word for is empty.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Name of the user. Of a failed login only if there is such a user: it may be a password in the wrong place.
    pub user: String,
    /// The client's address.
    pub client: String,
    /// The client's number in CLIENT LIST.
    pub client_id: u64,
    /// The request: the client's number and the request's own, as in the slow log.
    pub request: String,
    /// The command, as errors write it: `config|set`.
    pub command: String,
    /// How a user logged in, or which part of the request was denied: `command`, `key`, `channel`.
    pub reason: &'static str,
    /// The key, the channel, or what the command is about, such as the name of a setting or a user.
    pub object: String,
}

enum Message {
    Record(Kind, Box<Record>),
    /// Something was left out: say so in a while.
    LeftOut,
    /// Say when all before this is written.
    End(SyncSender<()>),
}

/// Where records are handed over.
pub struct Audit {
    messages: SyncSender<Message>,
    budgets: Arc<Budgets>,
    metrics: Arc<Metrics>,
}

impl Audit {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn start(metrics: Arc<Metrics>) -> io::Result<Self> {
        let (audit, writer) = Self::new(metrics);
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run())?;
        Ok(audit)
    }

    fn new(metrics: Arc<Metrics>) -> (Self, Writer) {
        let (messages, received) = sync_channel(WAITING);
        let budgets = Arc::<Budgets>::default();
        let writer = Writer { received, budgets: budgets.clone() };
        (Self { messages, budgets, metrics }, writer)
    }

    /// Records what happened, if somebody wants to know.
    pub fn note(&self, kind: Kind, record: impl FnOnce() -> Record) {
        if kind.is_logged() {
            self.note_in(second(), kind, record);
        }
    }

    fn note_in(&self, second: u64, kind: Kind, record: impl FnOnce() -> Record) {
        let budget = self.budgets.of(kind);
        let fits = budget.take(second);
        if !fits || !self.hand_over(Message::Record(kind, Box::new(record()))) {
            self.metrics.audit_left_out();
            if budget.left_out.fetch_add(1, Ordering::Relaxed) == 0 {
                // Where there is no room the writer is busy, and sees it by itself.
                self.hand_over(Message::LeftOut);
            }
        }
    }

    /// Returns when everything handed over before is written, or could not be in time.
    pub fn finish(&self) {
        let (done, told) = sync_channel(1);
        if self.hand_over(Message::End(done)) {
            // Whether it was written or the time is over, the process ends.
            let _ = told.recv_timeout(LAST);
        }
    }

    fn hand_over(&self, message: Message) -> bool {
        self.messages.try_send(message).is_ok()
    }
}

/// Who writes the records.
struct Writer {
    received: Receiver<Message>,
    budgets: Arc<Budgets>,
}

impl Writer {
    fn run(self) {
        // The second in which something was left out that the log does not tell of yet.
        let mut since = None;
        loop {
            let message = match since {
                None => self.received.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => self.received.recv_timeout(SECOND),
            };
            match message {
                Ok(Message::Record(kind, record)) => write(kind, &record),
                Ok(Message::LeftOut) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::End(done)) => {
                    self.budgets.tell();
                    // Who asked may have lost patience.
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.budgets.are_kept() {
                since = None;
            } else if *since.get_or_insert(second()) != second() {
                self.budgets.tell();
                since = None;
            }
        }
    }
}

/// How much of each kind is written.
#[derive(Default)]
struct Budgets([Budget; Kind::ALL.len()]);

#[derive(Default)]
struct Budget {
    second: AtomicU64,
    /// Records of that second.
    taken: AtomicU32,
    /// Records that the log does not tell of yet.
    left_out: AtomicU64,
}

impl Budgets {
    fn of(&self, kind: Kind) -> &Budget {
        let Self([logins, failures, denials, commands]) = self;
        match kind {
            Kind::Login => logins,
            Kind::LoginFailed => failures,
            Kind::Denied => denials,
            Kind::Command => commands,
        }
    }

    fn are_kept(&self) -> bool {
        self.0.iter().all(|budget| budget.left_out.load(Ordering::Relaxed) == 0)
    }

    /// Says what was left out.
    fn tell(&self) {
        for kind in Kind::ALL {
            let records = self.of(kind).left_out.swap(0, Ordering::Relaxed);
            if records > 0 {
                let event = kind.word();
                tracing::warn!(target: TARGET, event, records, "too many records: some are left out");
            }
        }
    }
}

impl Budget {
    fn take(&self, second: u64) -> bool {
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.taken.store(0, Ordering::Relaxed);
        }
        self.taken.fetch_add(1, Ordering::Relaxed) < EACH_SECOND
    }
}

impl Kind {
    const ALL: [Self; 4] = [Self::Login, Self::LoginFailed, Self::Denied, Self::Command];

    fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::LoginFailed => "login_failed",
            Self::Denied => "denied",
            Self::Command => "command",
        }
    }

    fn is_logged(self) -> bool {
        match self {
            Self::Login | Self::Command => tracing::enabled!(target: TARGET, tracing::Level::INFO),
            Self::LoginFailed | Self::Denied => {
                tracing::enabled!(target: TARGET, tracing::Level::WARN)
            }
        }
    }
}

/// What clients sent stands in fields of text, which every format quotes: no line can be forged.
fn write(kind: Kind, record: &Record) {
    let Record { user, client, client_id, request, command, reason, object } = record;
    let event = kind.word();
    match kind {
        Kind::Login => {
            tracing::info!(target: TARGET, event, user, client, client_id, request, by = reason, "logged in");
        }
        Kind::LoginFailed => {
            tracing::warn!(target: TARGET, event, user, client, client_id, request, "login failed");
        }
        Kind::Denied => {
            tracing::warn!(target: TARGET, event, user, client, client_id, request, command, reason, object, "denied");
        }
        Kind::Command => {
            tracing::info!(target: TARGET, event, user, client, client_id, request, command, object, "administered");
        }
    }
}

fn second() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The lines that are written of what `notes` hands over.
    fn written(level: &str, notes: impl FnOnce(&Audit)) -> Vec<Value> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(level)
            .with_writer(file.reopen().unwrap())
            .json()
            .flatten_event(true)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let (audit, writer) = Audit::new(Metrics::new(1).unwrap());
            notes(&audit);
            let (done, told) = sync_channel(1);
            audit.messages.try_send(Message::End(done)).unwrap();
            writer.run();
            told.try_recv().unwrap();
        });
        let text = std::fs::read_to_string(file.path()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn record() -> Record {
        Record {
            user: "app\nuser".to_owned(),
            client: "10.0.0.1:5".to_owned(),
            client_id: 7,
            request: "7-3".to_owned(),
            command: "config|set".to_owned(),
            reason: "key",
            object: "a\n\"b\"".to_owned(),
        }
    }

    #[test]
    fn each_kind_is_one_structured_line() {
        let lines = written("info", |audit| {
            Kind::ALL.into_iter().for_each(|kind| audit.note(kind, record));
        });
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["login", "login_failed", "denied", "command"]);
        for line in &lines {
            assert_eq!(line["target"], "audit");
            assert_eq!(
                (line["user"].as_str(), line["client_id"].as_u64()),
                (Some("app\nuser"), Some(7))
            );
        }
        assert_eq!((&lines[2]["reason"], &lines[2]["object"]), (&"key".into(), &"a\n\"b\"".into()));
    }

    #[test]
    fn levels_choose() {
        for (level, expected) in [
            ("info,audit=off", 0),
            ("warn", 2),
            ("off,audit=info", 4),
            ("info", 4),
            ("info,audit=warn", 2),
        ] {
            let lines = written(level, |audit| {
                Kind::ALL.into_iter().for_each(|kind| audit.note(kind, record));
            });
            assert_eq!(lines.len(), expected, "{level}");
        }
    }

    #[test]
    fn a_flood_is_cut_and_counted_and_hides_nothing_else() {
        const FLOOD: u64 = 5000;
        let lines = written("info", |audit| {
            for second in 1..=2 {
                (0..FLOOD).for_each(|_| audit.note_in(second, Kind::Denied, record));
            }
            audit.note_in(2, Kind::Login, record);
        });
        let of = |event| lines.iter().filter(move |line| line["event"] == event);
        assert_eq!(of("login").count(), 1);
        let (written, told): (Vec<_>, Vec<_>) =
            of("denied").partition(|line| line["records"].is_null());
        assert_eq!(written.len() as u32, 2 * EACH_SECOND);
        let left_out: u64 = told.iter().filter_map(|line| line["records"].as_u64()).sum();
        assert_eq!(left_out, 2 * FLOOD - u64::from(2 * EACH_SECOND));
    }
}
