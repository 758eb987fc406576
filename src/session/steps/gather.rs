//! What commands over several slots have in common: keys grouped by slot, parts read at once, and computing
//! beside the worker when there is much to compute.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tokio::task::spawn_blocking;

use crate::cluster::{Slot, Version};
use crate::merge::MergeError;
use crate::merge::score::Digits;
use crate::resp::elements;

use super::call::Call;
use super::inbox::TRY_AGAIN;
use super::{Step, Steps, Stop, WRONG_TYPE, is_error};

/// Bytes that a worker computes with in its own turn; its other clients wait meanwhile.
const IN_TURN: usize = 256 << 10;

/// Servers write the shortest text of a number from this version on.
const SHORTEST_SINCE: Version = Version::new(7, 2, 0);

pub(super) const SYNTAX: Stop = Stop::Refused("ERR syntax error");
pub(super) const NO_INTEGER: Stop = Stop::Refused("ERR value is not an integer or out of range");

impl From<MergeError> for Stop {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Unexpected => Self::Unexpected,
            MergeError::Value(text) => Self::Refused(text),
        }
    }
}

/// Keys of one slot, by their places among the arguments.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) slot: Slot,
    pub(super) keys: Vec<usize>,
}

impl Group {
    /// One for every slot, in the order in which the slots come first.
    pub(super) fn by_slot(call: &Call, keys: &[usize]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        let mut places: HashMap<Slot, usize, RandomState> = HashMap::default();
        for &key in keys {
            let slot = call.slot(key);
            let place = *places.entry(slot).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.keys.push(key),
                None => groups.push(Self { slot, keys: vec![key] }),
            }
        }
        groups
    }

    /// One for every run of neighbours in one slot.
    pub(super) fn runs(call: &Call, keys: &[usize]) -> Vec<Self> {
        let neighbours = keys.chunk_by(|&one, &other| call.slot(one) == call.slot(other));
        let group = |keys: &[usize]| {
            let slot = call.slot(keys.first().copied().unwrap_or_default());
            Self { slot, keys: keys.to_vec() }
        };
        neighbours.map(group).collect()
    }

    /// One for every key.
    pub(super) fn singles(&self) -> Vec<Self> {
        let single = |&key: &usize| Self { slot: self.slot, keys: vec![key] };
        self.keys.iter().map(single).collect()
    }
}

impl Step {
    /// It may be asked again key by key when its keys stand on both sides of a migration.
    pub(super) fn splittable(mut self) -> Self {
        self.terms.splittable = true;
        self
    }

    /// It reads, and its reply stays here. Whatever the client speaks it is in RESP2, so that what is computed
    /// with has one form.
    pub(super) fn read(mut self) -> Self {
        self.terms.manner = self.terms.manner.read_here();
        self.splittable().repeatable()
    }
}

impl Steps {
    /// Asks each group. One that a node knows only in part, since its slot is on the move, is asked key by key.
    pub(super) async fn ask_groups(
        &self,
        groups: Vec<Group>,
        request: impl Fn(&Group) -> Step,
    ) -> Result<Vec<(Group, Vec<u8>)>, Stop> {
        let replies = self.ask_all(groups.iter().map(&request).collect()).await?;
        let mut answered = Vec::with_capacity(replies.len());
        for (group, reply) in groups.into_iter().zip(replies) {
            if group.keys.len() == 1 || reply != TRY_AGAIN {
                answered.push((group, reply));
                continue;
            }
            let singles = group.singles();
            let replies = self.ask_all(singles.iter().map(&request).collect()).await?;
            answered.extend(singles.into_iter().zip(replies));
        }
        Ok(answered)
    }

    /// Reads a part from each slot of these keys. `request` is what is asked about the keys of one slot.
    pub(super) async fn read_parts(
        &self,
        call: &Call,
        keys: &[usize],
        request: impl Fn(&[usize]) -> Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, Stop> {
        let ask = |group: &Group| self.raw(group.slot, request(&group.keys)).read();
        let answered = self.ask_groups(Group::by_slot(call, keys), ask).await?;
        unbroken(answered.into_iter().map(|(_, reply)| reply).collect())
    }

    /// Asks one thing; an error is a reply like others.
    pub(super) async fn ask_one(&self, step: Step) -> Result<Vec<u8>, Stop> {
        self.ask_all(vec![step]).await?.pop().ok_or(Stop::Unexpected)
    }

    /// Asks the same of every key; errors come among the replies.
    pub(super) async fn ask_each(
        &self,
        call: &Call,
        command: &str,
        keys: &[usize],
    ) -> Result<Vec<Vec<u8>>, Stop> {
        let ask =
            |&at: &usize| self.step(call.slot(at), &[command.as_bytes(), call.arg(at)]).read();
        self.ask_all(keys.iter().map(ask).collect()).await
    }

    /// Ends the request when a key holds something else than these types, or nothing.
    pub(super) async fn check_types(
        &self,
        call: &Call,
        keys: &[usize],
        types: &[&[u8]],
    ) -> Result<(), Stop> {
        let replies = unbroken(self.ask_each(call, "TYPE", keys).await?)?;
        let fits = |reply: &Vec<u8>| {
            let name = reply.strip_prefix(b"+").and_then(|rest| rest.strip_suffix(b"\r\n"));
            name.is_some_and(|name| name == b"none" || types.contains(&name))
        };
        if replies.iter().all(fits) { Ok(()) } else { Err(Stop::Refused(WRONG_TYPE)) }
    }

    /// Ends the request when the gateway would hold too many elements, of so many values each.
    pub(super) fn check_count(&self, replies: &[Vec<u8>], values: usize) -> Result<(), Stop> {
        let counts = replies.iter().filter_map(|reply| elements(reply));
        let count: usize = counts.map(|list| list.announced() / values).sum();
        self.check_number(count)
    }

    /// The same for so many elements.
    pub(super) fn check_number(&self, count: usize) -> Result<(), Stop> {
        let most = self.worker.gateway.settings().routing.gathered_elements;
        if count <= most { Ok(()) } else { Err(Stop::TooLarge) }
    }

    /// Computes, beside the worker when there are so many bytes to look at that its other clients would notice.
    /// Few such computations run at once, so they take few threads and leave processors for those clients.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stop> {
        if bytes <= IN_TURN {
            return Ok(work());
        }
        let _turn = self.worker.computing.acquire().await.map_err(|_| Stop::Unexpected)?;
        spawn_blocking(work).await.map_err(|_| Stop::Unexpected)
    }

    /// How the nodes write numbers.
    pub(super) fn digits(&self) -> Digits {
        match self.worker.gateway.software().redis_version() >= SHORTEST_SINCE {
            true => Digits::Shortest,
            false => Digits::Seventeen,
        }
    }
}

/// The replies, unless there is an error among them. A key of the wrong type is found before anything else is
/// looked at, so that error comes first.
pub(super) fn unbroken(mut replies: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Stop> {
    let wrong = replies.iter().position(|reply| reply.starts_with(b"-WRONGTYPE"));
    match wrong.or_else(|| replies.iter().position(|reply| is_error(reply))) {
        Some(at) => Err(Stop::Node(replies.swap_remove(at))),
        None => Ok(replies),
    }
}

pub(super) fn bytes_of(replies: &[Vec<u8>]) -> usize {
    replies.iter().map(Vec::len).sum()
}
