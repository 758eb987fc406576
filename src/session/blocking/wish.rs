//! What a waiting client wants: which keys, for how long, and how to ask for it without waiting.

use std::borrow::Cow;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::super::dialect::Dialect;
use super::super::steps::Call;
use super::order::{Kind, Manner, Turn};
use crate::cluster::Slot;
use crate::command::{CommandSpec, Retry};
use crate::resp::{Value, number, write};

/// A blocking request, understood.
pub(super) struct Wish {
    pub(super) call: Call,
    pub(super) verb: Verb,
    /// The keys that are waited for, each once, in the order of the request.
    watched: Rc<[Bytes]>,
    /// Streams: the argument behind `STREAMS`, and for each key its ID, if it is another one than the request
    /// says.
    streams: usize,
    ids: Vec<Option<Vec<u8>>>,
    time: Time,
}

/// What a blocking command does when it need not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Takes one element of a list: from which side it pops, and how it is put back.
    Pop { pop: &'static str, push: &'static str },
    /// Takes one member of a sorted set.
    PopScored { pop: &'static str },
    /// Takes several elements: `BLMPOP`.
    PopMany,
    /// Takes several members: `BZMPOP`.
    PopManyScored,
    /// Moves an element to another list.
    Move,
    /// Reads streams, with a group or without.
    Streams { group: bool },
    /// Nothing is known but that it blocks.
    Other,
}

/// Where the request says how long to wait, and in which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    Seconds(usize),
    Millis(usize),
    Untold,
}

/// What is wrong with a request, as the server words it.
pub(super) type Fault = Cow<'static, str>;

impl Verb {
    fn of(spec: &CommandSpec) -> Self {
        match &*spec.name {
            "BLPOP" => Self::Pop { pop: "LPOP", push: "LPUSH" },
            "BRPOP" => Self::Pop { pop: "RPOP", push: "RPUSH" },
            "BZPOPMIN" => Self::PopScored { pop: "ZPOPMIN" },
            "BZPOPMAX" => Self::PopScored { pop: "ZPOPMAX" },
            "BLMPOP" => Self::PopMany,
            "BZMPOP" => Self::PopManyScored,
            "BLMOVE" | "BRPOPLPUSH" => Self::Move,
            "XREAD" => Self::Streams { group: false },
            "XREADGROUP" => Self::Streams { group: true },
            _ => Self::Other,
        }
    }
}

impl Wish {
    /// Reads a request whose keys can be told.
    pub(super) fn of(call: Call) -> Self {
        let verb = Verb::of(call.spec());
        let keys = call.keys();
        let (streams, time) = match verb {
            Verb::Pop { .. } | Verb::PopScored { .. } => (0, Time::Seconds(call.len() - 1)),
            Verb::PopMany | Verb::PopManyScored => (0, Time::Seconds(1)),
            // The last argument of both: `BLMOVE from to side side time`, `BRPOPLPUSH from to time`.
            Verb::Move => (0, Time::Seconds(call.len() - 1)),
            Verb::Streams { .. } => (keys.first().map_or(0, |key| key.at), block_option(&call)),
            Verb::Other => (0, Time::Untold),
        };
        let waited = if verb == Verb::Move { 1 } else { keys.len() };
        let mut seen = HashSet::new();
        let distinct = keys.iter().take(waited).map(|key| call.arg(key.at));
        let watched = distinct
            .filter(|key| seen.insert(*key))
            .map(Bytes::copy_from_slice)
            .collect::<Vec<_>>()
            .into();
        Self { verb, watched, streams, ids: vec![None; keys.len()], time, call }
    }

    /// The keys that are waited for, each once.
    pub(super) fn watched(&self) -> &Rc<[Bytes]> {
        &self.watched
    }

    /// How those who wait for the same keys come to their turns.
    pub(super) fn manner(&self) -> Manner {
        match self.verb {
            Verb::Pop { .. } | Verb::PopMany => Manner::Take(Kind::List),
            Verb::PopScored { .. } | Verb::PopManyScored => Manner::Take(Kind::SortedSet),
            Verb::Move => Manner::Take(Kind::Move),
            Verb::Streams { .. } | Verb::Other => Manner::Look,
        }
    }

    /// Whether its keys can be watched in place of blocking a node's connection.
    pub(super) fn can_track(&self) -> bool {
        self.verb != Verb::Other
    }

    /// Whether it moves an element from one slot to another.
    pub(super) fn crosses_slots(&self) -> bool {
        self.verb == Verb::Move && self.call.slot(1) != self.call.slot(2)
    }

    /// Whether it may be sent again when its first run may have happened.
    pub(super) fn is_repeatable(&self) -> bool {
        self.call.spec().retry == Retry::Read
    }

    /// How long to wait; `None` means for ever.
    ///
    /// # Errors
    /// As the server says it.
    pub(super) fn time(&self) -> Result<Option<Duration>, Fault> {
        let millis = match self.time {
            Time::Untold => 0,
            Time::Seconds(at) => millis_of_seconds(self.call.arg(at))?,
            Time::Millis(at) => number::integer(self.call.arg(at))
                .ok_or("ERR timeout is not an integer or out of range")?,
        };
        let millis = u64::try_from(millis).map_err(|_| "ERR timeout is negative")?;
        Ok((millis > 0).then(|| Duration::from_millis(millis)))
    }

    /// Looks at what the server would object to before it looks at any key.
    ///
    /// # Errors
    /// As the server says it.
    pub(super) fn check(&self, dialect: Dialect) -> Result<(), Fault> {
        self.time()?;
        let call = &self.call;
        let is_side = |at: usize, sides: [&str; 2]| {
            sides.iter().any(|side| call.arg(at).eq_ignore_ascii_case(side.as_bytes()))
        };
        let sides = match self.verb {
            Verb::PopMany => ["LEFT", "RIGHT"],
            Verb::PopManyScored => ["MIN", "MAX"],
            Verb::Move if call.len() == 6 => {
                let known = [3, 4].iter().all(|at| is_side(*at, ["LEFT", "RIGHT"]));
                return if known { Ok(()) } else { Err("ERR syntax error".into()) };
            }
            Verb::Streams { .. } if !(call.len() - self.streams).is_multiple_of(2) => {
                return Err(dialect.unbalanced_streams(call.spec()).into());
            }
            _ => return Ok(()),
        };
        let at = self.side_at();
        if !is_side(at, sides) {
            return Err("ERR syntax error".into());
        }
        let mut end = at + 1;
        if call.len() > at + 2 && call.arg(at + 1).eq_ignore_ascii_case(b"COUNT") {
            let count = number::integer(call.arg(at + 2)).filter(|count| *count > 0);
            count.ok_or("ERR count should be greater than 0")?;
            end = at + 3;
        }
        if call.len() == end { Ok(()) } else { Err("ERR syntax error".into()) }
    }

    /// The argument that says from which end `BLMPOP` and `BZMPOP` take.
    pub(super) fn side_at(&self) -> usize {
        self.call.keys().last().map_or(0, |key| key.at + 1)
    }

    /// The request as it came, with the IDs that are known by now, and with less time to wait when some of it has
    /// passed.
    pub(super) fn frame(&self, left: Option<Duration>) -> Vec<u8> {
        let time = left.and_then(|left| match self.time {
            Time::Seconds(at) => Some((at, format!("{:.3}", left.as_secs_f64().max(0.001)))),
            Time::Millis(at) => Some((at, left.as_millis().max(1).to_string())),
            Time::Untold => None,
        });
        if time.is_none() && self.ids.iter().all(Option::is_none) {
            return self.call.frame().to_vec();
        }
        let request = self.call.request();
        let mut out = Vec::new();
        write::array(&mut out, request.len());
        for at in 0..request.len() {
            match (&time, self.id(at)) {
                (Some((place, time)), _) if *place == at => write::bulk(&mut out, time),
                (_, Some(id)) => write::bulk(&mut out, id),
                _ => out.extend_from_slice(request.encoded_arg(at).unwrap_or_default()),
            }
        }
        out
    }

    /// The ID that stands in place of this argument.
    fn id(&self, at: usize) -> Option<&Vec<u8>> {
        let number = at.checked_sub(self.streams + self.ids.len())?;
        self.ids.get(number)?.as_ref()
    }

    /// Keys of which only what comes from now on is wanted, and it is not known yet what is there: each with its
    /// number among the keys.
    pub(super) fn latest(&self) -> Vec<(usize, Bytes)> {
        if self.verb != (Verb::Streams { group: false }) {
            return Vec::new();
        }
        let first_id = self.streams + self.ids.len();
        let open = self
            .ids
            .iter()
            .enumerate()
            .filter(|(number, id)| id.is_none() && self.call.arg(first_id + number) == b"$");
        let key = |number| Bytes::copy_from_slice(self.call.arg(self.streams + number));
        open.map(|(number, _)| (number, key(number))).collect()
    }

    /// The request that tells the last ID of a stream.
    pub(super) fn ask_latest(key: &[u8]) -> Vec<u8> {
        let mut request = Vec::new();
        write::command(&mut request, &[&b"XINFO"[..], b"STREAM", key]);
        request
    }

    /// Takes the answer to [`Self::ask_latest`]. False: it did not tell.
    pub(super) fn note_latest(&mut self, number: usize, reply: &[u8]) -> bool {
        let id = if reply.starts_with(b"-ERR no such key") {
            Some(b"0-0".to_vec())
        } else {
            let value = Value::parse(reply).ok();
            let id = value.as_ref().and_then(|value| value.get("last-generated-id")?.bytes());
            id.map(<[u8]>::to_vec)
        };
        if let Some(place) = self.ids.get_mut(number) {
            *place = id;
        }
        self.ids.get(number).is_some_and(Option::is_some)
    }

    /// What to ask now that it is this waiter's turn.
    pub(super) fn tries(&self, turn: &Turn) -> Vec<(Slot, Vec<u8>)> {
        match turn {
            Turn::Key(at) => {
                let key = self.watched.get(*at).map_or(&b""[..], |key| &key[..]);
                vec![(Slot::of(key), self.take(key))]
            }
            _ => (0..self.ids.len()).map(|number| self.read(number)).collect(),
        }
    }

    fn take(&self, key: &[u8]) -> Vec<u8> {
        let call = &self.call;
        let mut words: Vec<&[u8]> = Vec::new();
        match self.verb {
            Verb::Pop { pop, .. } | Verb::PopScored { pop } => {
                words.extend([pop.as_bytes(), key]);
            }
            Verb::PopMany | Verb::PopManyScored => {
                let name: &[u8] = if self.verb == Verb::PopMany { b"LMPOP" } else { b"ZMPOP" };
                words.extend([name, b"1", key]);
                words.extend((self.side_at()..call.len()).map(|at| call.arg(at)));
            }
            // `LMOVE from to side side`, or `RPOPLPUSH from to`: the same without the time.
            _ => {
                words.push(if call.len() == 6 { b"LMOVE" } else { b"RPOPLPUSH" });
                words.extend((1..call.len() - 1).map(|at| call.arg(at)));
            }
        }
        let mut request = Vec::new();
        write::command(&mut request, &words);
        request
    }

    /// Reads one stream, with all options but `BLOCK`.
    fn read(&self, number: usize) -> (Slot, Vec<u8>) {
        let call = &self.call;
        let block = match self.time {
            Time::Millis(at) => at - 1..at + 1,
            _ => 0..0,
        };
        let key = call.arg(self.streams + number);
        let at = self.streams + self.ids.len() + number;
        let options = (0..self.streams).filter(|at| !block.contains(at)).map(|at| call.arg(at));
        let id = self.id(at).map_or_else(|| call.arg(at), |id| &id[..]);
        let words: Vec<&[u8]> = options.chain([key, id]).collect();
        let mut request = Vec::new();
        write::command(&mut request, &words);
        (Slot::of(key), request)
    }
}

/// Where `BLOCK` has its time. Options stand before `STREAMS`; a group may be called `block`.
fn block_option(call: &Call) -> Time {
    let mut at = 1;
    while at < call.len() {
        let is = |word: &str| call.arg(at).eq_ignore_ascii_case(word.as_bytes());
        if is("BLOCK") {
            return Time::Millis(at + 1);
        }
        if is("STREAMS") {
            break;
        }
        at += if is("GROUP") { 3 } else { 1 + usize::from(is("COUNT")) };
    }
    Time::Untold
}

/// Seconds with a fraction, rounded up to milliseconds.
fn millis_of_seconds(text: &[u8]) -> Result<i64, Fault> {
    let text = std::str::from_utf8(text).ok();
    let seconds: Option<f64> = text.and_then(|text| text.parse().ok());
    let seconds = seconds
        .filter(|seconds| !seconds.is_nan())
        .ok_or("ERR timeout is not a float or out of range")?;
    let millis = (seconds * 1000.0).ceil();
    // What is too much for a server's clock becomes negative there.
    if millis < 0.0 || millis > i64::MAX as f64 / 2.0 {
        return Err("ERR timeout is negative".into());
    }
    Ok(millis as i64)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cluster::Software;
    use crate::command::Commands;
    use crate::resp::{Limits, Parsed, RequestParser};

    pub(in crate::session::blocking) fn wish(line: &str) -> Wish {
        let line = format!("{line}\r\n");
        let mut parser = RequestParser::new();
        let parsed = parser.parse(line.as_bytes(), &Limits::default(), true);
        assert!(matches!(parsed, Ok(Parsed::Request(_))));
        let request = parser.request(line.as_bytes());
        let commands = Commands::baseline();
        let spec = commands.resolve(&request).unwrap();
        Wish::of(Call::of(spec, &request, &Limits::default()).unwrap())
    }

    fn words(request: &[u8]) -> String {
        let value = Value::parse(request).unwrap();
        let words = value.as_array().unwrap().iter().map(|word| word.as_str().unwrap());
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn times() {
        for (line, expected) in [
            ("BLPOP a b 0", Ok(None)),
            ("BLPOP a 1.5", Ok(Some(1_500))),
            ("BRPOP a 0.0001", Ok(Some(1))),
            ("BLMPOP 2 1 a LEFT", Ok(Some(2_000))),
            ("BLMOVE a b LEFT LEFT .25", Ok(Some(250))),
            ("BRPOPLPUSH a b 3", Ok(Some(3_000))),
            ("XREAD COUNT 1 BLOCK 70 STREAMS a 0", Ok(Some(70))),
            ("XREADGROUP GROUP block c BLOCK 0 STREAMS a >", Ok(None)),
            ("BLPOP a x", Err("ERR timeout is not a float or out of range")),
            ("BLPOP a nan", Err("ERR timeout is not a float or out of range")),
            ("BLPOP a -1", Err("ERR timeout is negative")),
            ("BLPOP a inf", Err("ERR timeout is negative")),
            ("BLPOP a 1e300", Err("ERR timeout is negative")),
            ("XREAD BLOCK 1.5 STREAMS a 0", Err("ERR timeout is not an integer or out of range")),
            ("XREAD BLOCK -1 STREAMS a 0", Err("ERR timeout is negative")),
        ] {
            let time = wish(line).time();
            let expected = expected.map(|millis| millis.map(Duration::from_millis));
            assert_eq!(time, expected.map_err(Cow::from), "{line}");
        }
    }

    #[test]
    fn faults() {
        for (line, expected) in [
            ("BLMPOP 0 2 a b LEFT", Ok(())),
            ("BLMPOP 0 2 a b right COUNT 3", Ok(())),
            ("BZMPOP 0 2 a b MAX COUNT 3", Ok(())),
            ("BLMOVE a b LEFT right 0", Ok(())),
            ("BRPOPLPUSH a b 0", Ok(())),
            ("BLPOP a b x", Err("ERR timeout is not a float or out of range")),
            ("BLMPOP 0 2 a b", Err("ERR syntax error")),
            ("BLMPOP 0 2 a b MIN", Err("ERR syntax error")),
            ("BZMPOP 0 2 a b LEFT", Err("ERR syntax error")),
            ("BLMPOP 0 2 a b LEFT COUNT 0", Err("ERR count should be greater than 0")),
            ("BLMPOP 0 2 a b LEFT COUNT", Err("ERR syntax error")),
            ("BLMPOP 0 2 a b LEFT FOO 1", Err("ERR syntax error")),
            ("BLMPOP 0 2 a b LEFT COUNT 1 COUNT 1", Err("ERR syntax error")),
            ("BLMOVE a b LEFT UP 0", Err("ERR syntax error")),
            ("XREAD BLOCK 0 STREAMS a b 0 0", Ok(())),
            (
                "XREAD BLOCK 0 STREAMS a b 0",
                Err(
                    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
                ),
            ),
        ] {
            let found = wish(line).check(Dialect::of(Software::OLDEST));
            assert_eq!(found, expected.map_err(Cow::from), "{line}");
        }
    }

    #[test]
    fn tries_do_not_wait() {
        for (line, turn, expected) in [
            ("BLPOP a b 0", Turn::Key(1), &["LPOP b"][..]),
            ("BRPOP a b 0", Turn::Key(0), &["RPOP a"]),
            ("BZPOPMAX a b a 0", Turn::Key(1), &["ZPOPMAX b"]),
            ("BLMPOP 1 2 a b LEFT COUNT 2", Turn::Key(1), &["LMPOP 1 b LEFT COUNT 2"]),
            ("BZMPOP 1 2 a b MIN", Turn::Key(0), &["ZMPOP 1 a MIN"]),
            ("BLMOVE a b LEFT RIGHT 5", Turn::Key(0), &["LMOVE a b LEFT RIGHT"]),
            ("BRPOPLPUSH a b 5", Turn::Key(0), &["RPOPLPUSH a b"]),
            (
                "XREAD COUNT 2 BLOCK 5 STREAMS a b 0 7-1",
                Turn::All,
                &["XREAD COUNT 2 STREAMS a 0", "XREAD COUNT 2 STREAMS b 7-1"],
            ),
            (
                "XREADGROUP GROUP g c NOACK BLOCK 5 STREAMS a >",
                Turn::All,
                &["XREADGROUP GROUP g c NOACK STREAMS a >"],
            ),
        ] {
            let tries = wish(line).tries(&turn);
            let found: Vec<String> = tries.iter().map(|(_, request)| words(request)).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn only_the_source_of_a_move_is_watched_and_every_key_once() {
        assert_eq!(wish("BLMOVE a b LEFT LEFT 0").watched()[..], ["a"]);
        assert_eq!(wish("BLPOP a b a 0").watched()[..], ["a", "b"]);
    }

    #[test]
    fn what_is_sent_again_has_less_time_and_the_ids_of_the_first_time() {
        let left = Some(Duration::from_millis(1_250));
        for (line, expected) in [
            ("BLPOP a b 10", "BLPOP a b 1.250"),
            ("BLMPOP 10 1 a LEFT", "BLMPOP 1.250 1 a LEFT"),
            ("XREAD BLOCK 9000 STREAMS a 5", "XREAD BLOCK 1250 STREAMS a 5"),
        ] {
            assert_eq!(words(&wish(line).frame(left)), expected);
            assert_eq!(words(&wish(line).frame(None)), line);
        }
        let mut wish = wish("XREAD BLOCK 0 STREAMS a b c $ 5 $");
        assert_eq!(wish.latest(), [(0, Bytes::from("a")), (2, Bytes::from("c"))]);
        assert!(wish.note_latest(0, b"-ERR no such key\r\n"));
        assert!(!wish.note_latest(2, b"-MOVED 1 a:1\r\n"));
        assert!(wish.note_latest(2, b"*2\r\n$17\r\nlast-generated-id\r\n$3\r\n7-1\r\n"));
        assert_eq!(words(&wish.frame(None)), "XREAD BLOCK 0 STREAMS a b c 0-0 5 7-1");
        assert_eq!(wish.latest(), []);
    }
}
