//! Where a command's keys stand among its arguments.
//!
//! The shapes are those of the servers' key specifications (`COMMAND DOCS`, "key specs"): a place
//! to begin (a fixed argument, or the one after a keyword) and a way to go on from there (a run of
//! arguments, or a count followed by that many keys). What this finds equals `COMMAND GETKEYS`.

use std::borrow::Cow;

use bitflags::bitflags;

use crate::resp::request::Request;

bitflags! {
    /// What a command does to a key's value, as access rules see it. Neither flag: it asks only
    /// about the key (`EXISTS`, `TYPE`, `STRLEN`), which any rule that names the key permits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Need: u8 {
        /// The value, or a part of it, can be learned.
        const READ = 1;
        /// The value is inserted, changed or deleted.
        const WRITE = 2;
    }
}

/// What a key is to its command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// One of the keys, no more.
    #[default]
    Key,
    /// Read, and perhaps emptied, for a destination.
    Source,
    /// Where the result goes.
    Destination,
    /// A shard channel: it has a slot like a key, but channel rules apply to it.
    Channel,
}

/// One key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Which argument it is; 0 is the command's name.
    pub at: usize,
    /// What it is to its command.
    pub role: Role,
    /// What the command does to its value.
    pub need: Need,
}

/// Why the keys of a request cannot be named. No node can tell its slot either, so any node may be
/// asked and gives the server's own error text, or (`Unknown`) the keys with `COMMAND GETKEYS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The count of keys is not a number, or larger than what follows it.
    #[error("the number of keys is malformed")]
    Count,
    /// Only the server knows where this command's keys stand.
    #[error("only the server knows where the keys are")]
    Unknown,
}

/// What belongs to each key and travels with it when a request is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Companions {
    /// So many arguments right behind the key: 0 for `DEL`, 1 for `MSET`, 2 for `JSON.MSET`.
    Following(usize),
    /// The argument as far behind the key as there are keys: the IDs of `XREAD`.
    SecondHalf,
}

/// Where the keys of a command stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// The first key's argument when that is the same in every request, else 0.
    first: u8,
    /// What the command does to keys whose part says nothing of its own.
    need: Need,
    parts: Cow<'static, [KeyPart]>,
}

/// One specification: where its keys begin, how they go on, what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// Where they begin.
    pub begin: Begin,
    /// How they go on.
    pub find: Find,
    /// What they are.
    pub role: Role,
    /// What happens to them, when it differs from the rest of the command.
    pub need: Option<Need>,
}

/// Where a part begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument.
    At(u8),
    /// Behind the first argument that is this word, in any case, looked for from this argument on.
    /// A negative start counts from the end and looks towards the front. The last argument is
    /// never the word, since nothing stands behind it.
    Keyword(Cow<'static, str>, i16),
    /// Behind the last `STORE` of `SORT`; other options' arguments are skipped.
    SortStore,
    /// Behind the last `STORE` or `STOREDIST` of `GEORADIUS`, looked for from this argument on, unless it is the
    /// first of its word. It is the one that the server writes to.
    LaterStore(u8),
    /// The third argument of `MIGRATE`, unless it is empty and `KEYS` lists them instead.
    MigrateOne,
    /// Behind the `KEYS` of `MIGRATE`.
    MigrateMany,
    /// Nowhere that could be said: the server has to be asked.
    Unknown,
}

/// How a part goes on from where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to the key `last` arguments further on, or, if negative, up to that place from the end;
    /// every `step`-th argument. `share` 2 takes only the first half of what is left.
    Run {
        /// Distance of the last key.
        last: i16,
        /// Distance from one key to the next.
        step: u8,
        /// The part of the arguments that are keys: 1 all, 2 the first half.
        share: u8,
    },
    /// A number stands there; so many keys follow, every `step`-th argument.
    Count {
        /// Distance from one key to the next.
        step: u8,
    },
}

/// Arguments `first`, `first + step` ... up to `last`, inclusive.
struct Run {
    first: usize,
    last: usize,
    step: usize,
}

impl KeySpec {
    /// A specification of these parts.
    pub const fn of(parts: &'static [KeyPart]) -> Self {
        Self { first: fixed_first(parts), need: Need::READ, parts: Cow::Borrowed(parts) }
    }

    /// A specification that a server published.
    pub fn learned(parts: Vec<KeyPart>, need: Need) -> Self {
        Self { first: fixed_first(&parts), need, parts: Cow::Owned(parts) }
    }

    /// The same, with another default of what happens to the keys.
    pub const fn needing(mut self, need: Need) -> Self {
        self.need = need;
        self
    }

    /// The parts, in the order in which the servers list them.
    pub fn parts(&self) -> &[KeyPart] {
        &self.parts
    }

    /// What happens to the keys of this part.
    pub fn need_of(&self, part: &KeyPart) -> Need {
        part.need.unwrap_or(self.need)
    }

    /// Whether requests of this command never have keys.
    pub fn is_none(&self) -> bool {
        self.parts.is_empty()
    }

    /// The argument that is the first key, if the request has one that can be named.
    pub fn first(&self, request: &Request<'_>) -> Option<usize> {
        let at = usize::from(self.first);
        if at != 0 {
            return (at < request.len()).then_some(at);
        }
        let mut first = None;
        self.each(request, |key| first = first.or(Some(key.at))).ok()?;
        first
    }

    /// All key positions in argument order into `out`, which is cleared first.
    pub fn positions(&self, request: &Request<'_>, out: &mut Vec<u32>) -> Result<(), KeyError> {
        out.clear();
        self.each(request, |key| out.push(key.at as u32))?;
        if self.parts.len() > 1 {
            out.sort_unstable();
        }
        Ok(())
    }

    /// Calls `found` with every key, part after part. On an error it may have been called for some.
    pub fn each(&self, request: &Request<'_>, mut found: impl FnMut(Key)) -> Result<(), KeyError> {
        for part in self.parts.iter() {
            let Some(Run { first, last, step }) = part.run(request)? else { continue };
            let need = part.need.unwrap_or(self.need);
            for at in (first..=last).step_by(step) {
                found(Key { at, role: part.role, need });
            }
        }
        Ok(())
    }

    /// What travels with each key when a request is split. Options that follow the keys, or come
    /// before them, belong to every part and are not counted here.
    pub fn companions(&self) -> Companions {
        match self.parts.first().map(|part| part.find) {
            Some(Find::Run { share: 2, .. }) => Companions::SecondHalf,
            Some(Find::Run { step, .. } | Find::Count { step }) => {
                Companions::Following(usize::from(step).saturating_sub(1))
            }
            None => Companions::Following(0),
        }
    }

    /// The argument that counts the keys, when the command has one (`EVAL`, `ZUNION`, `LMPOP`).
    pub fn count_at(&self) -> Option<usize> {
        self.parts.iter().find_map(|part| match (&part.begin, part.find) {
            (Begin::At(at), Find::Count { .. }) => Some(usize::from(*at)),
            _ => None,
        })
    }
}

/// The argument where the first part's keys always begin, or 0.
const fn fixed_first(parts: &[KeyPart]) -> u8 {
    match parts {
        [KeyPart { begin: Begin::At(at), find: Find::Run { .. }, .. }, ..] => *at,
        _ => 0,
    }
}

impl KeyPart {
    /// One key at a fixed place.
    pub const fn at(at: u8) -> Self {
        Self::new(Begin::At(at), Find::ONE)
    }

    /// Keys without a role of their own.
    pub const fn new(begin: Begin, find: Find) -> Self {
        Self { begin, find, role: Role::Key, need: None }
    }

    /// The same keys in another role.
    pub const fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// The same keys, of which the command wants this.
    pub const fn need(mut self, need: Need) -> Self {
        self.need = Some(need);
        self
    }

    fn run(&self, request: &Request<'_>) -> Result<Option<Run>, KeyError> {
        if self.begin == Begin::Unknown {
            return Err(KeyError::Unknown);
        }
        let Some(first) = self.begin.find(request).filter(|&at| at < request.len()) else {
            return Ok(None);
        };
        match self.find {
            Find::Run { last, step, share } => run(request.len(), first, (last, step, share)),
            Find::Count { step } => counted(request, first, usize::from(step)),
        }
    }
}

fn run(
    length: usize,
    first: usize,
    (last, step, share): (i16, u8, u8),
) -> Result<Option<Run>, KeyError> {
    let distance = usize::from(last.unsigned_abs());
    let last = match (last < 0, share) {
        (false, _) => Some(first + distance),
        (true, 0 | 1) => length.checked_sub(distance),
        (true, share) => (first + (length - first) / usize::from(share)).checked_sub(distance),
    };
    let last = last.filter(|&last| last >= first && last < length).ok_or(KeyError::Count)?;
    Ok(Some(Run { first, last, step: usize::from(step).max(1) }))
}

fn counted(request: &Request<'_>, at: usize, step: usize) -> Result<Option<Run>, KeyError> {
    let count = request.arg(at).and_then(count).ok_or(KeyError::Count)?;
    if count == 0 {
        return Ok(None);
    }
    let step = step.max(1);
    let end = count.checked_mul(step).and_then(|length| length.checked_add(at));
    let end = end.filter(|&end| end < request.len()).ok_or(KeyError::Count)?;
    Ok(Some(Run { first: at + 1, last: end + 1 - step, step }))
}

/// A count as the servers accept it: digits only, and no zero in front.
fn count(digits: &[u8]) -> Option<usize> {
    match digits {
        [b'0'] => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(digits).ok()?.parse().ok()
        }
        _ => None,
    }
}

impl Find {
    /// That argument alone.
    pub const ONE: Self = Self::Run { last: 0, step: 1, share: 1 };
    /// Every argument from there on.
    pub const REST: Self = Self::Run { last: -1, step: 1, share: 1 };
}

impl Begin {
    fn find(&self, request: &Request<'_>) -> Option<usize> {
        match self {
            Self::At(at) => Some(usize::from(*at)),
            Self::Keyword(word, from) => behind(request, word, *from),
            Self::SortStore => sort_store(request),
            Self::LaterStore(from) => later_store(request, *from),
            Self::MigrateOne => migrate_many(request).is_none().then_some(3),
            Self::MigrateMany => migrate_many(request),
            Self::Unknown => None,
        }
    }
}

fn is(request: &Request<'_>, at: usize, word: &str) -> bool {
    request.arg(at).is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
}

fn behind(request: &Request<'_>, word: &str, from: i16) -> Option<usize> {
    let length = request.len();
    let far = usize::from(from.unsigned_abs());
    let found = match from < 0 {
        false => (far..length.saturating_sub(1)).find(|&at| is(request, at, word)),
        true => (2..=length.checked_sub(far)?).rev().find(|&at| is(request, at, word)),
    };
    found.map(|at| at + 1)
}

fn sort_store(request: &Request<'_>) -> Option<usize> {
    let mut found = None;
    let mut at = 2;
    while at < request.len() {
        if is(request, at, "LIMIT") {
            at += 2;
        } else if is(request, at, "GET") || is(request, at, "BY") {
            at += 1;
        } else if is(request, at, "STORE") && at + 1 < request.len() {
            found = Some(at + 1);
        }
        at += 1;
    }
    found
}

fn later_store(request: &Request<'_>, from: u8) -> Option<usize> {
    let mut last = None;
    let mut at = usize::from(from);
    while at + 1 < request.len() {
        let stores = is(request, at, "STORE") || is(request, at, "STOREDIST");
        at += if stores { 2 } else { 1 };
        last = if stores { Some(at - 1) } else { last };
    }
    let first = |word| behind(request, word, from.into());
    last.filter(|_| last != first("STORE") && last != first("STOREDIST"))
}

fn migrate_many(request: &Request<'_>) -> Option<usize> {
    if !request.arg(3)?.is_empty() {
        return None;
    }
    let mut at = 6;
    while at < request.len() {
        if is(request, at, "KEYS") {
            return Some(at + 1);
        }
        at += match (is(request, at, "AUTH"), is(request, at, "AUTH2")) {
            (true, _) => 2,
            (_, true) => 3,
            _ => 1,
        };
    }
    None
}
