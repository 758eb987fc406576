//! What every request asked for and what became of it; whatever must not be is found here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::resp::Value;

use super::Report;
use super::link::LinkId;
use super::schedule::{Key, Request};

/// A request's number: later ones of a client are higher.
pub(super) type Number = u32;

/// Requests that one client has numbers for.
const EACH: Number = 10_000;

/// Where a request, or its part for one tag, is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Not at any node: the gateway has it, again or still.
    Gateway,
    /// On its way to a node, there, or its reply on the way back.
    On(LinkId),
    /// Its reply has left the node.
    Answered,
    /// Its connection broke.
    Lost,
}

/// What is known of a request.
struct Entry {
    request: Request,
    parts: Vec<Part>,
    /// The keys for which it ran.
    ran: BTreeSet<Key>,
    /// A node has it, or had it, more than once.
    repeated: bool,
    /// It was on a connection that broke.
    lost: bool,
    /// It was on its way already when an earlier one, before it on its connection, was refused. What the node is ready
    /// to serve by then, it serves out of order, and nobody can know.
    crossed: bool,
    /// The client has its reply, an error or not.
    answer: Option<Answer>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Done,
    Uncertain,
    NotDone,
}

struct Part {
    tag: usize,
    place: Place,
    /// A node has had it.
    known: bool,
    /// Where and when a node last refused it. What is sent there at that very time crosses the refusal.
    refused: Option<(LinkId, Instant)>,
    /// A later request of its client for the same slot was sent while the gateway had this one.
    overtaken_by: Option<Number>,
}

/// Numbers of writes, as a key's reads have shown them.
type Log = Vec<Number>;

/// The history of a run.
#[derive(Default)]
pub(super) struct Ledger {
    entries: BTreeMap<Number, Entry>,
    /// For each client, the number of its oldest request without a reply.
    oldest: Vec<Number>,
    /// What ran, in order: which request, if it told, and for which key.
    runs: Vec<(Option<Number>, Key)>,
    /// What each client has seen of each key, and which writes to it were acknowledged to it.
    seen: BTreeMap<(usize, Key), Log>,
    acknowledged: BTreeMap<(usize, Key), Log>,
    /// What went wrong first.
    pub(super) fault: Option<String>,
    uncertain: usize,
    refused: usize,
}

impl Request {
    /// Keys, and whether they are written. Those of a block may be there twice.
    pub(super) fn keys(&self) -> Vec<(Key, bool)> {
        let all = |keys: &[Key], written: bool| keys.iter().map(|key| (*key, written)).collect();
        match self {
            Self::Append(key) | Self::Set(key) => vec![(*key, true)],
            Self::Get(key) => vec![(*key, false)],
            Self::GetMany(keys) => all(keys, false),
            Self::SetMany(keys) => all(keys, true),
            Self::SetNew(one, two) => vec![(*one, true), (*two, true)],
            Self::Block(keys) => keys.clone(),
        }
    }

    fn writes(&self) -> bool {
        self.keys().iter().any(|(_, written)| *written)
    }

    /// Whether a node can tell by its bytes which request it is.
    fn is_numbered(&self) -> bool {
        !matches!(self, Self::GetMany(_))
    }

    /// Whether it may be refused for good while its slot moves.
    fn may_be_refused(&self) -> bool {
        matches!(self, Self::SetNew(..) | Self::Block(_) | Self::SetMany(_) | Self::GetMany(_))
    }
}

impl Entry {
    fn part(&mut self, tag: usize) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.tag == tag)
    }
}

fn client_of(number: Number) -> usize {
    (number / EACH) as usize
}

impl Ledger {
    pub(super) fn new(clients: usize) -> Self {
        let oldest = (0..clients).map(|client| client as Number * EACH).collect();
        Self { oldest, ..Self::default() }
    }

    fn fail(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }

    /// A client is about to send this.
    pub(super) fn asked(&mut self, client: usize, request: Request) -> Number {
        let first = client as Number * EACH;
        let last = self.entries.range(first..first + EACH).next_back();
        let number = last.map_or(first, |(number, _)| number + 1);
        let tags: BTreeSet<usize> = request.keys().iter().map(|(key, _)| key.tag).collect();
        let parts = tags
            .into_iter()
            .map(|tag| Part {
                tag,
                place: Place::Gateway,
                known: false,
                refused: None,
                overtaken_by: None,
            })
            .collect();
        let entry = Entry {
            request,
            parts,
            ran: BTreeSet::new(),
            repeated: false,
            lost: false,
            crossed: false,
            answer: None,
        };
        self.entries.insert(number, entry);
        number
    }

    /// A node has received it, or its part for this tag.
    pub(super) fn arrived(&mut self, number: Number, tag: usize, link: LinkId) {
        tracing::debug!(number, tag, link, "arrived");
        let now = Instant::now();
        let entry = self.entries.get_mut(&number);
        let is_new = entry.and_then(|entry| entry.part(tag)).is_some_and(|part| !part.known);
        let oldest = self.oldest.get(client_of(number)).copied().unwrap_or(number);
        for (_, earlier) in self.entries.range_mut(oldest..number) {
            if earlier.answer.is_some() || !earlier.request.is_numbered() {
                continue;
            }
            let Some(part) = earlier.part(tag) else { continue };
            match part.place {
                Place::Gateway if part.refused == Some((link, now)) => {}
                Place::Gateway => part.overtaken_by = Some(number),
                // What was redirected may follow one that was redirected further.
                Place::On(other) if other != link && is_new => part.overtaken_by = Some(number),
                _ => {}
            }
        }
        let Some(entry) = self.entries.get_mut(&number) else {
            return self.fail(format!("a request that nobody sent: {number}"));
        };
        let writes = entry.request.writes();
        let Some(part) = entry.part(tag) else {
            return self.fail(format!("request {number} is for another slot than {tag}"));
        };
        let (before, overtaken_by) = (part.place, part.overtaken_by);
        part.place = Place::On(link);
        let known = std::mem::replace(&mut part.known, true);
        entry.repeated |= known;
        if let Some(later) = overtaken_by {
            self.fail(format!("request {later} was sent before {number}, which came first"));
        } else if before == Place::Lost && writes {
            self.fail(format!("write {number} was sent again after its connection was lost"));
        }
    }

    /// A node runs it for this key; returns the number of the run. `alive`: its connection stands.
    pub(super) fn ran(
        &mut self,
        number: Option<Number>,
        key: Key,
        writes: bool,
        alive: bool,
    ) -> usize {
        tracing::debug!(number, %key, "ran");
        self.runs.push((number, key));
        let run = self.runs.len() - 1;
        let Some(number) = number else { return run };
        let Some(entry) = self.entries.get_mut(&number) else { return run };
        let overtaken_by = entry.part(key.tag).and_then(|part| part.overtaken_by);
        let again = !entry.ran.insert(key) && writes;
        let answer = entry.answer;
        match (answer, overtaken_by) {
            _ if again => self.fail(format!("write {number} ran twice")),
            (Some(Answer::NotDone), _) if writes => {
                self.fail(format!("write {number} ran after its client was told that it had not"));
            }
            (None, Some(later)) if alive => {
                self.fail(format!("request {later} was sent before {number} had run"));
            }
            _ => {}
        }
        run
    }

    /// Its reply leaves the node; `refused`: it did not run.
    pub(super) fn replied(&mut self, number: Number, tag: usize, link: LinkId, refused: bool) {
        tracing::debug!(number, tag, link, refused, "replied");
        let Some(part) = self.entries.get_mut(&number).and_then(|entry| entry.part(tag)) else {
            return;
        };
        if part.place == Place::On(link) {
            part.place = if refused { Place::Gateway } else { Place::Answered };
            part.refused = refused.then(|| (link, Instant::now()));
        }
        let end = (number / EACH + 1) * EACH;
        for (_, later) in self.entries.range_mut(number + 1..end).filter(|_| refused) {
            let place = later.part(tag).map(|part| part.place);
            later.crossed |= place == Some(Place::On(link));
        }
    }

    /// The connection is no more: what was on it has no reply.
    pub(super) fn lost(&mut self, link: LinkId) {
        tracing::debug!(link, "lost");
        for entry in self.entries.values_mut() {
            for part in &mut entry.parts {
                if part.place == Place::On(link) {
                    part.place = Place::Lost;
                    entry.lost = true;
                }
            }
        }
    }

    /// The client has the reply to its oldest request.
    pub(super) fn answered(&mut self, number: Number, reply: &[u8]) {
        tracing::debug!(number, reply = %reply.escape_ascii(), "answered");
        let client = client_of(number);
        let Some(entry) = self.entries.get_mut(&number) else { return };
        let (lost, request, ran) = (entry.lost, entry.request.clone(), entry.ran.clone());
        let written = |key: &Key| request.keys().contains(&(*key, true));
        let answer = match Value::parse(reply) {
            Err(error) => return self.fail(format!("no reply to {number}: {error}")),
            Ok(value) => match value.as_error() {
                None => Answer::Done,
                Some(error) if error.starts_with(b"UNCERTAIN ") => Answer::Uncertain,
                Some(_) => Answer::NotDone,
            },
        };
        entry.answer = Some(answer);
        if let Some(oldest) = self.oldest.get_mut(client) {
            *oldest = number + 1;
        }
        let text = reply.escape_ascii();
        match answer {
            Answer::Uncertain if !request.writes() => {
                self.fail(format!("read {number} was answered {text}"));
            }
            Answer::Uncertain if !lost => {
                self.fail(format!("no connection of write {number} was lost: {text}"));
            }
            Answer::Uncertain => self.uncertain += 1,
            Answer::NotDone if ran.iter().any(written) => {
                self.fail(format!("write {number} ran, and its client was told {text}"));
            }
            Answer::NotDone => {
                self.refused += 1;
                let is_expected =
                    request.may_be_refused() && reply.windows(8).any(|word| word == b"TRYAGAIN");
                if !is_expected {
                    self.fail(format!("request {number} failed: {text}"));
                }
            }
            Answer::Done => self.acknowledged(number, &request, &ran, reply),
        }
    }

    fn acknowledged(
        &mut self,
        number: Number,
        request: &Request,
        ran: &BTreeSet<Key>,
        reply: &[u8],
    ) {
        let client = client_of(number);
        for (key, written) in request.keys() {
            if !ran.contains(&key) && request.is_numbered() {
                return self.fail(format!("{number} was acknowledged and did not run for {key}"));
            }
            if written {
                self.acknowledged.entry((client, key)).or_default().push(number);
            }
        }
        let Ok(value) = Value::parse(reply) else { return };
        let single = [value];
        let values = match &single {
            [Value::Array(values)] => values.as_slice(),
            values => values.as_slice(),
        };
        for ((key, written), value) in request.keys().into_iter().zip(values) {
            match (value, written) {
                (Value::Bulk(text), false) => self.read(number, key, text),
                (Value::Integer(run), true) => {
                    if self.runs.get(*run as usize).is_none_or(|run| run.0 != Some(number)) {
                        self.fail(format!("{number} has the reply to another request"));
                    }
                }
                (Value::Simple(b"OK"), true) => {}
                _ => self.fail(format!("{number} has a reply of another kind: {value:?}")),
            }
        }
    }

    /// A client has read a key: `run;write,write,..`.
    fn read(&mut self, number: Number, key: Key, text: &[u8]) {
        let client = client_of(number);
        let text = String::from_utf8_lossy(text);
        let Some((run, log)) = text.split_once(';') else {
            return self.fail(format!("{number} read {text:?}"));
        };
        let log: Log = log.split(',').filter_map(|write| write.parse().ok()).collect();
        let run = run.parse().ok().and_then(|run: usize| self.runs.get(run)).copied();
        let fits = |(of, at): (Option<Number>, Key)| at == key && of.is_none_or(|of| of == number);
        if !run.is_some_and(fits) {
            return self.fail(format!("{number} has the reply to another request"));
        }
        let seen = self.seen.entry((client, key)).or_default();
        if !log.starts_with(seen) {
            let seen = seen.clone();
            return self.fail(format!("{number} read {log:?} of {key}, and before that {seen:?}"));
        }
        seen.clone_from(&log);
        let own = self.acknowledged.get(&(client, key)).map(Vec::as_slice).unwrap_or_default();
        let crossed = self.entries.get(&number).is_some_and(|entry| entry.crossed);
        let missing = own.iter().find(|write| **write < number && !log.contains(write));
        if let Some(missing) = missing.filter(|_| !crossed) {
            return self.fail(format!("{number} read {key} as it was before {missing}"));
        }
        let repeated = self
            .entries
            .get(&number)
            .is_none_or(|entry| entry.repeated || !entry.request.is_numbered());
        let early = log.iter().find(|write| client_of(**write) == client && **write > number);
        if let Some(later) = early.filter(|_| !repeated) {
            self.fail(format!("{number} read {key} as it was after {later}"));
        }
    }

    pub(super) fn report(&self, took: Duration) -> Report {
        Report {
            fault: self.fault.clone(),
            requests: self.entries.len(),
            uncertain: self.uncertain,
            refused: self.refused,
            took,
            runs: self.runs.clone(),
        }
    }

    /// The requests that have no reply.
    pub(super) fn unanswered(&self) -> Vec<Number> {
        let waiting = self.entries.iter().filter(|(_, entry)| entry.answer.is_none());
        waiting.map(|(number, _)| *number).collect()
    }
}
