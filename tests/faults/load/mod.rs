//! The load: clients of several classes, each of which writes down what it asked and what it was told.

mod line;
mod queues;
mod strings;
mod topics;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::Clock;
use crate::harness::{Reply, key_slot, request_line};
use crate::history::counters::Count;
use crate::history::queues::{Pop, Push};
use crate::history::registers::{Read, Write};
use crate::history::topics::{Heard, Sent};
use crate::history::{Moment, Span, Told};

use line::Line;
pub(crate) use line::{Ending, Place};

/// Keys of each kind. Few enough that clients meet, and enough to be everywhere.
pub(crate) const COUNTERS: u32 = 24;
pub(crate) const PAIRS: u32 = 12;
pub(crate) const QUEUES: u32 = 12;
const TOPICS: u32 = 4;
/// Registers that one client writes.
const OWN_REGISTERS: u32 = 8;

/// Clients of all classes together, and those of them that write registers, who come first.
const GROUP: u32 = 16;
const WRITERS: u32 = 6;

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Get,
    Mget,
    Set,
    Incr,
    Multi,
    Push,
    /// It waits for elements, so that its time says nothing.
    Pop,
    Publish,
    Subscribe,
}

impl Class {
    /// Whether it wants its answer at once.
    pub(crate) fn is_prompt(self) -> bool {
        !matches!(self, Self::Pop | Self::Subscribe)
    }

    /// Whether it has more than one key, or may have.
    pub(crate) fn has_keys(self) -> bool {
        matches!(self, Self::Mget | Self::Pop)
    }

    pub(crate) fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::Mget)
    }
}

/// One request, for its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) class: Class,
    pub(crate) client: u32,
    pub(crate) span: Span,
    /// Of its only or first key.
    pub(crate) slot: u16,
}

/// An error reply.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) asked: Asked,
    pub(crate) text: String,
}

/// All that clients were told.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) asked: Vec<Asked>,
    pub(crate) troubles: Vec<Trouble>,
    /// Replies that cannot be the answer to what was asked, and answers that never came.
    pub(crate) wrong: Vec<String>,
    pub(crate) writes: Vec<Write>,
    pub(crate) reads: Vec<Read>,
    pub(crate) counts: Vec<Count>,
    pub(crate) pushes: Vec<Push>,
    pub(crate) pops: Vec<Pop>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) heard: Vec<Heard>,
    /// Connections that ended before an answer.
    pub(crate) ended: usize,
}

impl Journal {
    pub(crate) fn absorb(&mut self, other: Self) {
        self.asked.extend(other.asked);
        self.troubles.extend(other.troubles);
        self.wrong.extend(other.wrong);
        self.writes.extend(other.writes);
        self.reads.extend(other.reads);
        self.counts.extend(other.counts);
        self.pushes.extend(other.pushes);
        self.pops.extend(other.pops);
        self.sent.extend(other.sent);
        self.heard.extend(other.heard);
        self.ended += other.ended;
    }

    /// All registers that anybody wrote.
    pub(crate) fn registers(&self) -> BTreeSet<u32> {
        self.writes.iter().map(|write| write.key).collect()
    }
}

/// What all clients have in common.
pub(crate) struct Terms<'a> {
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
    pub(crate) pace: Duration,
    pub(crate) clients: usize,
    pub(crate) stop: &'a AtomicBool,
}

/// One client at its place.
struct Seat<'a> {
    terms: &'a Terms<'a>,
    number: u32,
    line: Line,
    random: fastrand::Rng,
    journal: Journal,
}

/// One request of a client.
struct Request {
    class: Class,
    key: String,
    line: String,
}

impl Request {
    fn new(class: Class, key: String, line: String) -> Self {
        Self { class, key, line }
    }
}

/// The client of that number, until it is told to stop.
pub(crate) fn client(terms: &Terms<'_>, number: usize, place: Place) -> Journal {
    let number = number as u32;
    let seat = Seat {
        terms,
        number,
        line: Line::new(place, terms.clock),
        random: fastrand::Rng::with_seed(
            terms.seed.wrapping_mul(1_000).wrapping_add(number.into()),
        ),
        journal: Journal::default(),
    };
    // Of every sixteen: six read and write, three count, two count in pairs, two push, two take, one publishes or listens.
    match number % GROUP {
        0..=5 => seat.keep_registers(),
        6..=8 => seat.count(),
        9 | 10 => seat.count_in_pairs(),
        11 | 12 => seat.push(),
        13 | 14 => seat.pop(),
        _ if number % 32 == 15 => seat.publish(),
        _ => seat.listen(),
    }
}

impl Seat<'_> {
    /// Rests, and says whether to go on.
    fn goes_on(&mut self) -> bool {
        let most = self.terms.pace.as_micros() as u64;
        thread::sleep(Duration::from_micros(self.random.u64(0..=most)));
        !self.terms.stop.load(Ordering::Relaxed)
    }

    fn leave(self) -> Journal {
        Journal { ended: self.line.ended, ..self.journal }
    }

    fn ask_one(&mut self, request: Request) -> (Span, Told<Reply>) {
        let mut told = self.ask(&[request], false);
        told.pop().unwrap_or((Span { sent: 0, answered: 0 }, Told::Unknown))
    }

    /// Sends the requests in one piece. What each was told, in their order; errors and times are noted.
    fn ask(&mut self, requests: &[Request], is_block: bool) -> Vec<(Span, Told<Reply>)> {
        let bytes: Vec<Vec<u8>> =
            requests.iter().map(|request| request_line(&request.line)).collect();
        let sent = self.terms.clock.now();
        let came = match self.line.ask(&bytes, is_block) {
            Ok(came) => came,
            Err(error) => {
                let lines: Vec<&str> = requests.iter().map(|request| &*request.line).collect();
                self.journal.wrong.push(format!("{lines:?} at {sent}: {error}"));
                return requests.iter().map(|_| (self.since(sent), Told::Unknown)).collect();
            }
        };
        let mut told = Vec::with_capacity(came.len());
        for (request, came) in requests.iter().zip(came) {
            let span = Span { sent, answered: came.at };
            let slot = key_slot(request.key.as_bytes());
            let asked = Asked { class: request.class, client: self.number, span, slot };
            told.push((span, self.note(asked, came.reply)));
        }
        told
    }

    fn since(&self, sent: Moment) -> Span {
        Span { sent, answered: self.terms.clock.now() }
    }

    fn note(&mut self, asked: Asked, reply: Option<Reply>) -> Told<Reply> {
        self.journal.asked.push(asked);
        let Some(reply) = reply else { return Told::Unknown };
        if !reply.is_error() {
            return Told::Done(reply);
        }
        let text = reply.text();
        let is_unknown = text.starts_with("UNCERTAIN ");
        self.journal.troubles.push(Trouble { asked, text });
        if is_unknown { Told::Unknown } else { Told::Refused }
    }

    fn wrong(&mut self, asked: &str, reply: &Reply) {
        self.journal.wrong.push(format!("{asked} was answered {reply}"));
    }
}
