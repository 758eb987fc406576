//! What every request asked for and what became of it; whatever must not be is found here.

mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::resp::Value;

use super::Report;
use super::link::LinkId;
use super::replicas::LAG;
use super::schedule::{Key, Request};
use entry::{Answer, Entry, Part, Place};

/// A request's number: later ones of a client are higher.
pub(super) type Number = u32;

/// Requests that one client has numbers for.
const EACH: Number = 10_000;

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
    /// When each of those ran.
    times: Vec<Instant>,
    /// What each client has seen of each key, and which writes to it were acknowledged to it.
    seen: BTreeMap<(usize, Key), Log>,
    acknowledged: BTreeMap<(usize, Key), Log>,
    /// What went wrong first.
    pub(super) fault: Option<String>,
    uncertain: usize,
    refused: usize,
    elsewhere: usize,
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
                elsewhere: false,
                strayed: false,
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
            asked: Instant::now(),
            answer: None,
        };
        self.entries.insert(number, entry);
        number
    }

    /// A node has received it, or its part for this tag, `elsewhere`: as one to read from, primary or not.
    pub(super) fn arrived(&mut self, number: Number, tag: usize, link: LinkId, elsewhere: bool) {
        tracing::debug!(number, tag, link, elsewhere, "arrived");
        self.overtakes(number, tag, link);
        let later = self.later_write(number, tag);
        let Some(entry) = self.entries.get_mut(&number) else {
            return self.fail(format!("a request that nobody sent: {number}"));
        };
        let writes = entry.request.writes();
        let Some(part) = entry.part(tag) else {
            return self.fail(format!("request {number} is for another slot than {tag}"));
        };
        let (before, overtaken_by) = (part.place, part.overtaken_by);
        part.place = Place::On(link);
        let had_strayed = part.strayed;
        part.elsewhere = elsewhere;
        part.strayed |= elsewhere;
        let known = std::mem::replace(&mut part.known, true);
        entry.repeated |= known;
        if let Some(later) = overtaken_by {
            self.fail(format!("request {later} was sent before {number}, which came first"));
        } else if before == Place::Lost && writes {
            self.fail(format!("write {number} was sent again after its connection was lost"));
        } else if elsewhere && writes {
            self.fail(format!("write {number} was sent to where clients only read"));
        } else if let Some(later) = later.filter(|_| had_strayed) {
            self.fail(format!("write {later} was sent while replicas were asked for {number}"));
        }
    }

    /// Notes which earlier requests of its client for the same slot are still in the gateway's hands.
    fn overtakes(&mut self, number: Number, tag: usize, link: LinkId) {
        let now = Instant::now();
        let Some(entry) = self.entries.get_mut(&number) else { return };
        let writes = entry.request.writes();
        let is_new = entry.part(tag).is_some_and(|part| !part.known);
        let oldest = self.oldest.get(client_of(number)).copied().unwrap_or(number);
        for (_, earlier) in self.entries.range_mut(oldest..number) {
            if earlier.answer.is_some() || !earlier.request.is_numbered() {
                continue;
            }
            let Some(part) = earlier.part(tag) else { continue };
            match part.place {
                // In which order a client reads at several nodes is nobody's concern.
                _ if part.strayed && !writes => {}
                Place::Gateway if part.refused == Some((link, now)) => {}
                Place::Gateway => part.overtaken_by = Some(number),
                // What was redirected may follow one that was redirected further.
                Place::On(other) if other != link && is_new => part.overtaken_by = Some(number),
                _ => {}
            }
        }
    }

    /// A write of the same client for the same slot that was sent later, and has reached a node.
    fn later_write(&mut self, number: Number, tag: usize) -> Option<Number> {
        let end = (number / EACH + 1) * EACH;
        let mut later = self.entries.range_mut(number + 1..end);
        later.find_map(|(number, entry)| {
            let is_known = entry.request.writes() && entry.part(tag)?.known;
            is_known.then_some(*number)
        })
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
        self.times.push(Instant::now());
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

    /// Its reply leaves the node; `refused`: it did not run. What stands behind it on its connection crosses the refusal.
    /// Of a request without a number nobody knows who sent it, so it may be anybody's.
    pub(super) fn replied(
        &mut self,
        number: Option<Number>,
        tag: usize,
        link: LinkId,
        refused: bool,
    ) {
        tracing::debug!(number, tag, link, refused, "replied");
        let entry = number.and_then(|number| self.entries.get_mut(&number));
        if let Some(part) = entry.and_then(|entry| entry.part(tag))
            && part.place == Place::On(link)
        {
            part.place = if refused { Place::Gateway } else { Place::Answered };
            part.refused = refused.then(|| (link, Instant::now()));
        }
        let behind = match number {
            Some(number) => number + 1..(number / EACH + 1) * EACH,
            None => 0..Number::MAX,
        };
        for (_, later) in self.entries.range_mut(behind).filter(|_| refused) {
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
        let entry = self.entries.get_mut(&number);
        let part =
            entry.and_then(|entry| entry.part(key.tag).map(|part| (part.elsewhere, part.strayed)));
        let (elsewhere, strayed) = part.unwrap_or_default();
        if elsewhere {
            self.elsewhere += 1;
            self.told_by_replica(number, key, &log);
        }
        let crossed = self.entries.get(&number).is_some_and(|entry| entry.crossed);
        let seen = self.seen.entry((client, key)).or_default();
        if !strayed && !crossed && !log.starts_with(seen) {
            let seen = seen.clone();
            return self.fail(format!("{number} read {log:?} of {key}, and before that {seen:?}"));
        }
        if !strayed && log.len() > seen.len() {
            seen.clone_from(&log);
        }
        let own = self.acknowledged.get(&(client, key)).map(Vec::as_slice).unwrap_or_default();
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

    /// A replica may not know the latest, but everything from before the time that it may lag, and nothing else.
    fn told_by_replica(&mut self, number: Number, key: Key, log: &Log) {
        let Some(asked) = self.entries.get(&number).map(|entry| entry.asked) else { return };
        let runs = self.runs.iter().zip(&self.times);
        let writes = runs.filter_map(|((run, at), time)| {
            let run = run.filter(|run| *at == key && self.writes_to(*run, key))?;
            Some((run, *time))
        });
        let writes: Vec<(Number, Instant)> = writes.collect();
        let is_past = writes.iter().map(|(write, _)| write).take(log.len()).eq(log);
        let missing = writes.iter().skip(log.len()).find(|(_, time)| *time + LAG < asked);
        if !is_past {
            self.fail(format!("{number} read {log:?} of {key} at a replica: that never was"));
        } else if let Some((missing, _)) = missing {
            self.fail(format!("{number} read {key} as it was long ago, before {missing}"));
        }
    }

    fn writes_to(&self, number: Number, key: Key) -> bool {
        let request = self.entries.get(&number).map(|entry| &entry.request);
        request.is_some_and(|request| request.keys().contains(&(key, true)))
    }

    pub(super) fn report(&self, took: Duration) -> Report {
        Report {
            fault: self.fault.clone(),
            requests: self.entries.len(),
            uncertain: self.uncertain,
            refused: self.refused,
            elsewhere: self.elsewhere,
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
