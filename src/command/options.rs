//! What a request's options change about its command's row.

use super::{CommandSpec, Cross, Key, KeyError, Need, Retry};
use crate::resp::request::Request;

/// The commands whose options change what their row says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Options {
    /// None that matter.
    #[default]
    Plain,
    /// `SET`: conditions, `GET`.
    Set,
    /// `BITFIELD`: only `GET`.
    Bitfield,
    /// `ZADD`: `INCR`.
    Zadd,
    /// `RESTORE`, `FUNCTION LOAD` and `FUNCTION RESTORE`: `REPLACE`.
    Replace,
    /// `HSETEX`: conditions.
    HashSetEx,
    /// `MSETEX`: conditions.
    ManySetEx,
    /// `GEORADIUS` and `SORT`: `STORE`.
    Store,
    /// `XREAD` and `XREADGROUP`: `BLOCK`, and bounds on all streams together.
    Streams,
}

/// What each condition of `SET` begins with; newer servers added comparisons.
const SET_CONDITIONS: [&str; 7] = ["NX", "XX", "GET", "IFEQ", "IFNE", "IFDEQ", "IFDNE"];

impl CommandSpec {
    /// Whether this very request may be sent again after a lost connection.
    pub fn retry_for(&self, request: &Request<'_>) -> Retry {
        let never = |found: bool| if found { Retry::Never } else { self.retry };
        match self.options {
            Options::Plain | Options::Streams => self.retry,
            Options::Bitfield if bitfield_writes(request) => self.retry,
            Options::Bitfield => Retry::Read,
            Options::Set => never(has_any(request, 3, &SET_CONDITIONS)),
            Options::Zadd => never(zadd_increments(request)),
            Options::HashSetEx => never(hash_conditions(request)),
            Options::ManySetEx => never(self.pairs_conditions(request)),
            Options::Replace if has_any(request, 2, &["REPLACE"]) => Retry::Idempotent,
            Options::Replace => self.retry,
            Options::Store if self.stores(request) => self.retry,
            Options::Store => Retry::Read,
        }
    }

    /// What happens to this very request when its keys stand in several slots.
    pub fn cross_for(&self, request: &Request<'_>) -> Cross {
        match self.options {
            Options::ManySetEx if self.pairs_conditions(request) => Cross::Move,
            // What all streams may give together: no node could tell when it is reached.
            Options::Streams if streams_say(request, &["MAXCOUNT", "MAXSIZE"]) => Cross::Error,
            _ => self.cross,
        }
    }

    /// Whether this very request can make its connection wait.
    pub fn blocks(&self, request: &Request<'_>) -> bool {
        self.blocking && (self.options != Options::Streams || streams_say(request, &["BLOCK"]))
    }

    /// Every key of the request with its role and with what happens to its value.
    pub fn keys(&self, request: &Request<'_>, mut found: impl FnMut(Key)) -> Result<(), KeyError> {
        let need = self.need_for(request);
        self.keys.each(request, |key| found(Key { need: need.unwrap_or(key.need), ..key }))
    }

    /// Whether `SORT` or `SORT_RO` looks at other keys, named by `BY` or `GET` patterns. `BY`
    /// without a `*` (`BY nosort`) names none.
    pub fn reads_patterns(&self, request: &Request<'_>) -> bool {
        self.pattern_option(request).is_some()
    }

    /// The first option, `BY` or `GET`, by which it does so.
    pub fn pattern_option(&self, request: &Request<'_>) -> Option<&'static str> {
        let sorts = matches!(&*self.name, "SORT" | "SORT_RO");
        sorts.then(|| sort_patterns(request)).flatten()
    }

    /// The server's own refinement where the row cannot tell: `SET ... GET` also reads,
    /// `BITFIELD` with nothing but `GET` only reads.
    fn need_for(&self, request: &Request<'_>) -> Option<Need> {
        match self.options {
            Options::Set if has_any(request, 3, &["GET"]) => Some(Need::READ | Need::WRITE),
            Options::Bitfield if !bitfield_writes(request) => Some(Need::READ),
            _ => None,
        }
    }

    fn stores(&self, request: &Request<'_>) -> bool {
        let mut keys = 0;
        let known = self.keys.each(request, |_| keys += 1);
        known.is_err() || keys > 1
    }

    fn pairs_conditions(&self, request: &Request<'_>) -> bool {
        let mut last = 0;
        let known = self.keys.each(request, |key| last = key.at);
        known.is_ok() && has_any(request, last + 2, &["NX", "XX"])
    }
}

fn is_any(argument: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| argument.eq_ignore_ascii_case(word.as_bytes()))
}

fn has_any(request: &Request<'_>, from: usize, words: &[&str]) -> bool {
    (from..request.len()).filter_map(|at| request.arg(at)).any(|argument| is_any(argument, words))
}

/// Options stand before the first score.
fn zadd_increments(request: &Request<'_>) -> bool {
    let options = (2..request.len()).map_while(|at| {
        request.arg(at).filter(|argument| is_any(argument, &["NX", "XX", "GT", "LT", "CH", "INCR"]))
    });
    options.into_iter().any(|argument| is_any(argument, &["INCR"]))
}

/// Options stand before `FIELDS`, behind which stand names and values.
fn hash_conditions(request: &Request<'_>) -> bool {
    (2..request.len())
        .map_while(|at| request.arg(at).filter(|argument| !is_any(argument, &["FIELDS"])))
        .any(|argument| is_any(argument, &["FNX", "FXX", "NX", "XX"]))
}

/// Walks the options up to `STREAMS`, skipping their arguments: a group may be called `block`.
fn streams_say(request: &Request<'_>, words: &[&str]) -> bool {
    let mut at = 1;
    while let Some(argument) = request.arg(at) {
        at += match argument {
            word if is_any(word, &["STREAMS"]) => return false,
            word if is_any(word, words) => return true,
            word if is_any(word, &["GROUP"]) => 3,
            word if is_any(word, &["BLOCK", "CLAIM", "COUNT", "MAXCOUNT", "MAXSIZE"]) => 2,
            _ => 1,
        };
    }
    false
}

fn sort_patterns(request: &Request<'_>) -> Option<&'static str> {
    let mut at = 2;
    while let Some(argument) = request.arg(at) {
        let pattern = request.arg(at + 1).unwrap_or_default();
        at += match argument {
            word if is_any(word, &["GET"]) => return Some("GET"),
            word if is_any(word, &["BY"]) && pattern.contains(&b'*') => return Some("BY"),
            word if is_any(word, &["LIMIT"]) => 3,
            word if is_any(word, &["BY", "STORE"]) => 2,
            _ => 1,
        };
    }
    None
}

/// As the server looks for it: each subcommand with the number of its arguments.
fn bitfield_writes(request: &Request<'_>) -> bool {
    let mut at = 2;
    while let Some(argument) = request.arg(at) {
        at += match argument {
            word if is_any(word, &["GET"]) && request.len() > at + 2 => 3,
            word if is_any(word, &["OVERFLOW"]) && request.len() > at + 1 => 2,
            _ => return true,
        };
    }
    false
}
