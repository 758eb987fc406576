//! One client that measures: it writes and reads one key in turn, and waits for each answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::backend::connect::{Cause, ConnectError, Conversation, Handshake, Step};
use crate::cluster::Announced;
use crate::resp::Value;

use super::seen::Seen;

/// Pause between two requests of a client: it is to notice, not to be a load.
const PACE: Duration = Duration::from_millis(2);
/// Pause after an error, so that a node that is down is not dialled in a loop.
const AFTER_ERROR: Duration = Duration::from_millis(20);
/// Milliseconds that a key lives on when nobody removes it.
const LIFE: &str = "60000";
/// Redirections followed for one request.
const MOST_REDIRECTS: usize = 5;
/// Most bytes in one answer.
const ANSWER_BYTES: usize = 64 << 10;

/// Where clients knock, and how they get in.
#[derive(Clone, Debug)]
pub(super) struct Door {
    /// A gateway, or nodes to try in turn.
    pub(super) addresses: Vec<Arc<str>>,
    /// The login, and the time for one answer.
    pub(super) handshake: Handshake,
    /// Announced addresses to those that can be dialled.
    pub(super) map: Rc<BTreeMap<String, String>>,
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    door: Door,
    key: String,
    seen: Rc<RefCell<Seen>>,
    talk: Option<Conversation>,
    /// The next of the addresses to try.
    next: usize,
    /// The last number that was written, or was to be.
    sent: u64,
    /// The last number that was acknowledged.
    acknowledged: u64,
}

impl Client {
    pub(super) fn new(door: Door, key: String, seen: Rc<RefCell<Seen>>) -> Self {
        Self { door, key, seen, talk: None, next: 0, sent: 0, acknowledged: 0 }
    }

    /// Writes and reads until it is stopped; then the key is removed.
    pub(super) async fn run(mut self, start: Instant, stop: CancellationToken) {
        let mut last_answer = start.elapsed();
        let mut turns = [Turn::Write, Turn::Read].into_iter().cycle();
        while !stop.is_cancelled() {
            let sent = start.elapsed();
            let outcome = match turns.next() {
                Some(Turn::Read) => self.read().await,
                _ => self.write().await,
            };
            let now = start.elapsed();
            let pause = if outcome.is_ok() { PACE } else { AFTER_ERROR };
            match outcome {
                Ok(()) => {
                    let mut seen = self.seen.borrow_mut();
                    seen.answered(sent, now);
                    seen.paused(now.saturating_sub(last_answer));
                    last_answer = now;
                }
                Err(kind) => self.seen.borrow_mut().failed(kind),
            }
            sleep(pause).await;
        }
        self.seen.borrow_mut().paused(start.elapsed().saturating_sub(last_answer));
        // What cannot be removed expires.
        let key = self.key.clone();
        let _ = self.ask(&["DEL", &key]).await;
    }

    async fn write(&mut self) -> Result<(), String> {
        self.sent += 1;
        let (key, number) = (self.key.clone(), self.sent.to_string());
        self.ask(&["SET", &key, &number, "PX", LIFE]).await?;
        self.acknowledged = self.sent;
        Ok(())
    }

    /// Nobody else writes the key, so it holds the last number that was acknowledged or a later one.
    async fn read(&mut self) -> Result<(), String> {
        let key = self.key.clone();
        let reply = self.ask(&["GET", &key]).await?;
        let value = Value::parse(&reply).ok();
        let held = value.and_then(|value| value.as_str()?.parse().ok()).unwrap_or(0);
        if held < self.acknowledged {
            self.seen.borrow_mut().lost += self.acknowledged - held;
            self.acknowledged = held;
        }
        Ok(())
    }

    /// The answer, wherever redirections lead; or what kind of trouble there was.
    async fn ask(&mut self, words: &[&str]) -> Result<Bytes, String> {
        for _ in 0..MOST_REDIRECTS {
            let reply = match self.ask_once(words).await {
                Ok(reply) => reply,
                Err(error) => {
                    self.talk = None;
                    self.next += 1;
                    return Err(kind_of(&error));
                }
            };
            let Some(error) = Value::parse(&reply).ok().and_then(|value| value.as_error()) else {
                return Ok(reply);
            };
            let error = String::from_utf8_lossy(error).into_owned();
            let Some(place) = moved_to(&error) else {
                // A node that serves nobody now may be the wrong one to ask.
                self.talk = None;
                self.next += 1;
                return Err(first_word(&error));
            };
            self.seen.borrow_mut().redirects += 1;
            self.follow(place).await.map_err(|error| kind_of(&error))?;
        }
        Err("too many redirections".to_owned())
    }

    async fn ask_once(&mut self, words: &[&str]) -> Result<Bytes, ConnectError> {
        let talk = match &mut self.talk {
            Some(talk) => talk,
            none => {
                let turn = self.next % self.door.addresses.len().max(1);
                let address = self.door.addresses.get(turn).cloned().unwrap_or_default();
                none.insert(Conversation::open(&address, &self.door.handshake, ANSWER_BYTES).await?)
            }
        };
        let [reply] = talk.ask([words]).await?;
        Ok(reply)
    }

    async fn follow(&mut self, place: Announced<'_>) -> Result<(), ConnectError> {
        let asked = self.talk.take().map(|talk| talk.address().to_owned()).unwrap_or_default();
        let address = place.dialled(&asked, &self.door.map);
        let opened = Conversation::open(&address, &self.door.handshake, ANSWER_BYTES).await?;
        self.talk = Some(opened);
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Turn {
    Write,
    Read,
}

fn kind_of(error: &ConnectError) -> String {
    match (&error.cause, error.step) {
        (Cause::Timeout, _) => "timed out".to_owned(),
        (Cause::Refused(text), _) => first_word(text),
        (Cause::Io(_) | Cause::Closed, Step::Ask) => "connection lost".to_owned(),
        (_, Step::Ask) => "broken reply".to_owned(),
        (..) => "cannot connect".to_owned(),
    }
}

fn first_word(error: &str) -> String {
    error.split(' ').next().unwrap_or_default().chars().take(32).collect()
}

/// Where `MOVED 3999 127.0.0.1:6381` leads.
fn moved_to(error: &str) -> Option<Announced<'_>> {
    let mut words = error.strip_prefix("MOVED ")?.split(' ');
    Announced::parse(words.nth(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_kinds() {
        let failed = |step, cause| ConnectError { address: "a:1".to_owned(), step, cause };
        for (error, kind) in [
            (failed(Step::Ask, Cause::Timeout), "timed out"),
            (failed(Step::Ask, Cause::Closed), "connection lost"),
            (failed(Step::Connect, Cause::Timeout), "timed out"),
            (failed(Step::Connect, Cause::Closed), "cannot connect"),
            (failed(Step::Ask, Cause::Unasked), "broken reply"),
            (failed(Step::Auth, Cause::Refused("WRONGPASS no".to_owned())), "WRONGPASS"),
        ] {
            assert_eq!(kind_of(&error), kind, "{error}");
        }
    }

    #[test]
    fn redirections_are_read() {
        let to = |text| moved_to(text).map(|place| place.to_string());
        assert_eq!(to("MOVED 3999 127.0.0.1:6381").unwrap(), "127.0.0.1:6381");
        assert_eq!(to("ASK 3999 127.0.0.1:6381"), None);
        assert_eq!(to("MOVED 3999"), None);
        assert_eq!(to("CLUSTERDOWN The cluster is down"), None);
    }
}
