//! Questions to all workers of the process: about clients and scripts, of which every worker has its own.
//!
//! Invariant: a worker that answers never asks, and nobody blocks: who asks waits in a task of its own.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use super::blocking::Ending;
use super::local::Selection;
use super::pubsub::{Desk, desks};
use super::scripts::Digest;
use super::tracking::{Mailbox, Notice};
use super::worker::Worker;

/// Questions that may wait at one worker. Who finds no room waits.
const WAITING: usize = 64;
/// Clients looked at before the worker's other tasks get their turn.
const AT_ONCE: usize = 256;

/// The way to every worker of the process.
pub struct Colleagues {
    inboxes: Vec<mpsc::Sender<Question>>,
}

/// Where one worker's questions come in.
pub struct Inbox {
    questions: mpsc::Receiver<Question>,
    /// Where the workers tell each other who listens to what.
    desk: Desk,
}

/// What is to be done with the clients that are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Describe them.
    List,
    /// End their sessions.
    Kill,
    /// End their waits; those that do not wait are not meant.
    Unblock(Ending),
    /// End the sessions of those whose user is deleted, or may not listen any more to what they listen to.
    Expel,
    /// Have them hear of changes to what others have read.
    Hear,
}

/// A client that was meant.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: u64,
    /// Its line, if the deed was to list.
    pub(super) line: String,
    /// The way to it, if it was to hear of changes.
    pub(super) mailbox: Option<mpsc::Sender<Notice>>,
}

enum Question {
    Clients { selection: Arc<Selection>, deed: Deed, answer: oneshot::Sender<Vec<Found>> },
    Script { digest: Digest, answer: oneshot::Sender<Option<Bytes>> },
    ForgetScripts { answer: oneshot::Sender<()> },
    Pulse { answer: oneshot::Sender<()> },
}

impl Colleagues {
    /// Lines to as many workers; each takes one inbox.
    pub fn new(workers: usize) -> (Self, Vec<Inbox>) {
        let (inboxes, questions): (_, Vec<_>) =
            (0..workers).map(|_| mpsc::channel(WAITING)).unzip();
        let takers = questions
            .into_iter()
            .zip(desks(workers))
            .map(|(questions, desk)| Inbox { questions, desk });
        (Self { inboxes }, takers.collect())
    }

    /// How many workers there are.
    pub(super) fn count(&self) -> usize {
        self.inboxes.len()
    }

    /// Asks all workers at once; clients come in the order in which they connected. A worker that has ended
    /// has no clients.
    pub(super) async fn ask(&self, selection: Selection, deed: Deed) -> Vec<Found> {
        let selection = Arc::new(selection);
        let question = |answer| Question::Clients { selection: selection.clone(), deed, answer };
        let mut found: Vec<Found> = self.each(question).await.into_iter().flatten().collect();
        found.sort_unstable_by_key(|found| found.id);
        found
    }

    /// The text of a script, if any worker knows it.
    pub(super) async fn script(&self, digest: Digest) -> Option<Bytes> {
        self.each(|answer| Question::Script { digest, answer }).await.into_iter().flatten().next()
    }

    /// No worker remembers any script from then on, except those that come in after.
    pub(super) async fn forget_scripts(&self) {
        self.each(|answer| Question::ForgetScripts { answer }).await;
    }

    /// Returns when every worker has had a turn.
    pub(super) async fn feel_pulse(&self) {
        self.each(|answer| Question::Pulse { answer }).await;
    }

    /// The answers of all workers that have not ended.
    async fn each<T>(&self, question: impl Fn(oneshot::Sender<T>) -> Question) -> Vec<T> {
        let mut answers = Vec::with_capacity(self.inboxes.len());
        for inbox in &self.inboxes {
            let (answer, coming) = oneshot::channel();
            if inbox.send(question(answer)).await.is_ok() {
                answers.push(coming);
            }
        }
        let mut given = Vec::with_capacity(answers.len());
        for answer in answers {
            given.extend(answer.await);
        }
        given
    }
}

impl Inbox {
    /// Answers for as long as the worker lives.
    pub async fn answer(mut self, worker: Rc<Worker>) {
        spawn_local(worker.rooms.census.clone().keep(self.desk));
        while let Some(question) = self.questions.recv().await {
            // Who asked may be gone by the time of the answer.
            match question {
                Question::Clients { selection, deed, answer } => {
                    let _ = answer.send(look(&worker, &selection, deed).await);
                }
                Question::Script { digest, answer } => {
                    let _ = answer.send(worker.scripts.body(&digest));
                }
                Question::Pulse { answer } => drop(answer.send(())),
                Question::ForgetScripts { answer } => {
                    worker.scripts.forget();
                    let _ = answer.send(());
                }
            }
        }
    }
}

async fn look(worker: &Worker, selection: &Selection, deed: Deed) -> Vec<Found> {
    let mut found = Vec::new();
    let mut next = 0;
    let users = worker.gateway.access.users();
    loop {
        let now = worker.clock.tick();
        let end = next + AT_ONCE;
        let places = {
            let clients = worker.clients.borrow();
            let present = (next..end).filter_map(|place| clients.get(place));
            for client in present {
                let Some(portrait) = client.portrait(now).filter(|one| selection.holds(one)) else {
                    continue;
                };
                let line = match deed {
                    Deed::List => portrait.to_string(),
                    Deed::Expel if client.is_welcome(&users) => continue,
                    Deed::Kill | Deed::Expel => {
                        client.kill();
                        String::new()
                    }
                    Deed::Unblock(how) if client.end_wait(how) => String::new(),
                    Deed::Unblock(_) => continue,
                    Deed::Hear => String::new(),
                };
                let mailbox = (deed == Deed::Hear).then(|| Mailbox::of(client));
                found.push(Found { id: portrait.id, line, mailbox });
            }
            clients.capacity()
        };
        if end >= places {
            return found;
        }
        next = end;
        tokio::task::yield_now().await;
    }
}
