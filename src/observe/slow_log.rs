//! The slow log: requests that took long, with what they asked for, as the servers keep one.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::resp::Request;

use super::key_name::readable;

/// As a server cuts what it logs: so many arguments, so many bytes of each.
const ARGUMENTS: usize = 32;
const ARGUMENT_BYTES: usize = 128;
/// Entries in one second; when everything is slow, the rest would say the same.
const EACH_SECOND: usize = 64;

/// A request that took long.
#[derive(Clone, Debug, Serialize)]
pub struct Slow {
    /// Counts the entries of the process.
    pub id: u64,
    /// When it was answered, in seconds since 1970.
    pub at: u64,
    /// Microseconds from its arrival to its answer.
    pub micros: u64,
    /// Microseconds between sending it to a node and the reply; `None` when several were asked, or none answered.
    pub node_micros: Option<u64>,
    /// The request: its client's number and its own, as in the audit log.
    pub request: String,
    /// The command with its arguments, cut.
    #[serde(serialize_with = "as_text")]
    pub command: Vec<Vec<u8>>,
    /// Whose it was.
    #[serde(flatten)]
    pub who: Who,
}

/// Who sent a request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Who {
    /// The client's address.
    pub client: String,
    /// The name that it gave itself.
    pub name: String,
    /// Its user.
    pub user: String,
}

/// What one worker logged, the oldest first.
#[derive(Debug)]
pub(super) struct SlowLog {
    entries: VecDeque<Arc<Slow>>,
    most: usize,
    /// Entries that may still be made in this second.
    left: usize,
}

impl SlowLog {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), most, left: EACH_SECOND }
    }

    pub(super) fn has_room(&self) -> bool {
        self.left > 0
    }

    pub(super) fn add(&mut self, entry: Slow) {
        self.left = self.left.saturating_sub(1);
        if self.entries.len() >= self.most {
            self.entries.pop_front();
        }
        self.entries.push_back(Arc::new(entry));
    }

    /// A second is over, and so many entries are kept from now on.
    pub(super) fn turn(&mut self, most: usize) {
        self.left = EACH_SECOND;
        self.most = most;
        self.entries.drain(..self.entries.len().saturating_sub(most));
    }

    pub(super) fn all(&self) -> Vec<Arc<Slow>> {
        self.entries.iter().cloned().collect()
    }
}

/// The arguments of a request, or of a block of them, as a server's slow log would show them.
#[derive(Debug, Default)]
pub(super) struct Excerpt {
    shown: Vec<Vec<u8>>,
    /// Arguments in all.
    arguments: usize,
}

impl Excerpt {
    /// Adds a request; from the argument numbered `open` on, what stands there is not for everybody's eyes.
    pub(super) fn take(&mut self, request: &Request<'_>, open: usize) {
        let room = ARGUMENTS.saturating_sub(self.shown.len());
        let arguments = request.args().zip(0..).take(room);
        self.shown.extend(
            arguments.map(
                |(argument, at)| {
                    if at < open { cut(argument) } else { b"(redacted)".to_vec() }
                },
            ),
        );
        self.arguments += request.len();
    }

    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        if self.arguments > ARGUMENTS {
            self.shown.truncate(ARGUMENTS - 1);
            let more = self.arguments - self.shown.len();
            self.shown.push(format!("... ({more} more arguments)").into_bytes());
        }
        self.shown
    }
}

fn cut(argument: &[u8]) -> Vec<u8> {
    match argument.split_at_checked(ARGUMENT_BYTES) {
        Some((shown, rest)) if !rest.is_empty() => {
            let more = format!("... ({} more bytes)", rest.len());
            [shown, more.as_bytes()].concat()
        }
        _ => argument.to_vec(),
    }
}

fn as_text<S: Serializer>(command: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(command.iter().map(|argument| readable(argument)))
}
