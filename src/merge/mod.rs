//! Many partial replies become one: by a policy of their command ([`Merge`]), or by computing what a single
//! server would have computed ([`set`], [`scored`], [`hyperloglog`] and the others).

pub mod bits;
pub mod geo;
pub mod hyperloglog;
pub mod lcs;
pub mod score;
pub mod scored;
pub mod set;
pub mod sort;
pub mod streams;

pub mod info;
mod memory;
pub mod report;

use std::ops::Range;
use std::rc::Rc;

use crate::resp::{reply, write};

/// How the replies of a request's parts become the client's reply. A command's row names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResponsePolicy {
    /// One node answers: its reply is the reply.
    #[default]
    None,
    /// The first part's reply when all succeed; else the first error in part order, unchanged.
    AllSucceeded,
    /// Any success; else `UNKILLABLE`, then `BUSY`, then `NOTBUSY`.
    OneSucceeded,
    /// Integers are added.
    Sum,
    /// The least integer.
    Min,
    /// The least integer of each place in arrays of integers (`WAITAOF`).
    MinEach,
    /// Arrays of 0 and 1: the element-wise and.
    LogicalAnd,
    /// Arrays, one after the other.
    Concat,
    /// The elements of each part go back to the places that their keys had in the request.
    Positions,
    /// Streams in the order of the request; a nil array when every part is one (`XREAD`).
    Streams,
    /// The first part, in key order, whose reply is not nil.
    FirstSome,
    /// The gateway computes the reply from the parts (`SINTER`, `ZUNION`, `PFCOUNT`, `LCS`).
    Computed,
    /// The steps run one after the other and the last one gives the reply (`RENAME`, `SINTERSTORE`).
    LastStep,
    /// A rule of the command's own (`INFO`, `SCAN`, `SLOWLOG GET`).
    Special,
}

/// Why parts do not become a reply. `Display` is the line that the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A reply of a kind that the node should not have given.
    #[error("ERR unexpected reply from a node")]
    Unexpected,
    /// A value that the command cannot compute with, in the server's words.
    #[error("{0}")]
    Value(&'static str),
}

/// The part of a split request that a reply belongs to.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Its units are `order[first .. first + count]`.
    first: u32,
    count: u32,
}

/// What has been learned from the parts so far.
#[derive(Debug)]
enum Sum {
    /// The first successful reply.
    First(Vec<u8>),
    /// A sum of integers.
    Integer(i64),
    /// A minimum of integers.
    Least(i64),
    /// A minimum for each place in arrays of the same length, once there is one.
    LeastEach(Option<Vec<i64>>),
    /// Elements one after the other: how many, and their bytes.
    List { count: usize, bytes: Vec<u8> },
    /// Every unit's element: a range of `bytes`, empty until its part is there.
    Elements { bytes: Vec<u8>, ranges: Vec<Range<u32>> },
}

/// One split request: its parts' replies come in any order, its own reply is written when the last is in.
///
/// A *unit* is a key with what belongs to it, numbered in the order of the request.
#[derive(Debug)]
pub struct Merge {
    /// Unit numbers, those of one part next to each other.
    order: Rc<[u32]>,
    parts: Vec<Part>,
    outstanding: u32,
    sum: Sum,
    /// One success is enough.
    one_is_enough: bool,
    /// The error of the part whose first key came first in the request; where one success is enough, the one that
    /// says most.
    error: Option<((u8, u32), Vec<u8>)>,
    /// Some part succeeded, so an error leaves a change half done.
    succeeded: bool,
    /// Replies that arrive in pieces, by part.
    pieces: Vec<(u32, Vec<u8>)>,
}

impl Merge {
    /// For parts that are consecutive runs of `order`, given by their lengths.
    pub fn new(
        policy: ResponsePolicy,
        order: Rc<[u32]>,
        lengths: impl Iterator<Item = u32>,
    ) -> Self {
        let mut first = 0;
        let parts: Vec<Part> = lengths
            .map(|count| {
                let part = Part { first, count };
                first += count;
                part
            })
            .collect();
        let sum = match policy {
            ResponsePolicy::Sum => Sum::Integer(0),
            ResponsePolicy::Min => Sum::Least(i64::MAX),
            // Of 0 and 1, the least is the conjunction.
            ResponsePolicy::MinEach | ResponsePolicy::LogicalAnd => Sum::LeastEach(None),
            ResponsePolicy::Concat => Sum::List { count: 0, bytes: Vec::new() },
            ResponsePolicy::Positions => {
                Sum::Elements { bytes: Vec::new(), ranges: vec![0..0; order.len()] }
            }
            _ => Sum::First(Vec::new()),
        };
        let outstanding = parts.len() as u32;
        Self {
            order,
            parts,
            outstanding,
            sum,
            one_is_enough: policy == ResponsePolicy::OneSucceeded,
            error: None,
            succeeded: false,
            pieces: Vec::new(),
        }
    }

    /// Takes a part's whole reply. True: it was the last one.
    pub fn fold(&mut self, part: u32, reply: &[u8]) -> bool {
        self.outstanding = self.outstanding.saturating_sub(1);
        let units = self.units(part);
        if matches!(reply.first(), Some(b'-' | b'!')) {
            self.fail(units, reply);
        } else if self.add(units, reply) {
            self.succeeded = true;
        } else {
            self.fail(self.units(part), b"-ERR unexpected reply from a node\r\n");
        }
        self.outstanding == 0
    }

    /// Takes a piece of a part's reply. True: that was the end of the last one.
    pub fn fold_piece(&mut self, part: u32, piece: &[u8], end: bool) -> bool {
        match self.pieces.iter_mut().find(|(of, _)| *of == part) {
            Some((_, so_far)) => so_far.extend_from_slice(piece),
            None => self.pieces.push((part, piece.to_vec())),
        }
        if !end {
            return false;
        }
        let Some(at) = self.pieces.iter().position(|(of, _)| *of == part) else { return false };
        let (_, whole) = self.pieces.swap_remove(at);
        self.fold(part, &whole)
    }

    /// The pieces of this part were in vain; returns how many bytes they were.
    pub fn retract(&mut self, part: u32) -> usize {
        let Some(at) = self.pieces.iter().position(|(of, _)| *of == part) else { return 0 };
        self.pieces.swap_remove(at).1.len()
    }

    /// The units of a part, in the order they were sent.
    pub fn units(&self, part: u32) -> Range<usize> {
        let part = self.parts.get(part as usize).copied().unwrap_or(Part { first: 0, count: 0 });
        part.first as usize..(part.first + part.count) as usize
    }

    /// Replaces a part by one part per unit; returns the numbers of the new parts, in the part's order.
    pub fn divide(&mut self, part: u32) -> Range<u32> {
        let units = self.units(part);
        let first = self.parts.len() as u32;
        self.parts.extend(units.clone().map(|at| Part { first: at as u32, count: 1 }));
        self.outstanding = self.outstanding + units.len() as u32 - 1;
        first..self.parts.len() as u32
    }

    /// Whether an error hides parts that succeeded.
    pub fn is_partial(&self) -> bool {
        self.succeeded && self.error.is_some() && !self.one_is_enough
    }

    /// Writes the reply.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some((_, error)) = &self.error
            && !(self.one_is_enough && self.succeeded)
        {
            out.extend_from_slice(error);
            return;
        }
        match &self.sum {
            Sum::First(reply) => out.extend_from_slice(reply),
            Sum::Integer(number) | Sum::Least(number) => write::integer(out, *number),
            Sum::LeastEach(numbers) => {
                let numbers = numbers.as_deref().unwrap_or_default();
                write::array(out, numbers.len());
                numbers.iter().for_each(|number| write::integer(out, *number));
            }
            Sum::List { count, bytes } => {
                write::array(out, *count);
                out.extend_from_slice(bytes);
            }
            Sum::Elements { bytes, ranges } => {
                out.reserve(bytes.len() + 16);
                write::array(out, ranges.len());
                for range in ranges {
                    let range = range.start as usize..range.end as usize;
                    out.extend_from_slice(bytes.get(range).unwrap_or_default());
                }
            }
        }
    }

    fn fail(&mut self, units: Range<usize>, error: &[u8]) {
        let first =
            self.order.get(units).and_then(|units| units.iter().min()).copied().unwrap_or_default();
        let order = (if self.one_is_enough { rank(error) } else { 0 }, first);
        if self.error.as_ref().is_none_or(|(known, _)| order < *known) {
            self.error = Some((order, error.to_vec()));
        }
    }

    /// False when the reply is not of the kind that the policy adds up.
    fn add(&mut self, units: Range<usize>, reply: &[u8]) -> bool {
        match &mut self.sum {
            Sum::First(first) => {
                if first.is_empty() {
                    first.extend_from_slice(reply);
                }
                true
            }
            Sum::Integer(sum) => reply::integer(reply).map(|number| *sum += number).is_some(),
            Sum::Least(least) => {
                reply::integer(reply).map(|number| *least = number.min(*least)).is_some()
            }
            Sum::LeastEach(numbers) => match (integers(reply), numbers) {
                (Some(found), numbers @ None) => {
                    *numbers = Some(found);
                    true
                }
                (Some(found), Some(numbers)) if found.len() == numbers.len() => {
                    numbers.iter_mut().zip(found).for_each(|(least, one)| *least = one.min(*least));
                    true
                }
                _ => false,
            },
            Sum::List { count, bytes } => {
                let Some(elements) = reply::elements(reply) else { return false };
                for element in elements {
                    *count += 1;
                    bytes.extend_from_slice(element);
                }
                true
            }
            Sum::Elements { bytes, ranges } => {
                let units = self.order.get(units).unwrap_or_default();
                let Some(elements) = reply::elements(reply) else { return false };
                let mut placed = 0;
                for (unit, element) in units.iter().zip(elements) {
                    let Some(range) = ranges.get_mut(*unit as usize) else { return false };
                    let start = bytes.len() as u32;
                    bytes.extend_from_slice(element);
                    *range = start..bytes.len() as u32;
                    placed += 1;
                }
                placed == units.len()
            }
        }
    }
}

/// The numbers in an array of integers.
fn integers(reply: &[u8]) -> Option<Vec<i64>> {
    reply::elements(reply)?.map(reply::integer).collect()
}

/// How little an error of `SCRIPT KILL` says: that nothing runs on one node says least.
fn rank(error: &[u8]) -> u8 {
    let is = |code: &str| error.get(1..).is_some_and(|text| text.starts_with(code.as_bytes()));
    match () {
        () if is("UNKILLABLE ") => 0,
        () if is("BUSY ") => 1,
        () if is("NOTBUSY ") => 3,
        () => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(policy: ResponsePolicy, order: &[u32], parts: &[(u32, &str)]) -> String {
        let lengths = parts.iter().map(|(count, _)| *count);
        let mut merge = Merge::new(policy, order.into(), lengths);
        // In reverse, since nodes answer in any order.
        for (at, (_, reply)) in parts.iter().enumerate().rev() {
            assert_eq!(merge.fold(at as u32, reply.as_bytes()), at == 0);
        }
        let mut out = Vec::new();
        merge.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn elements_return_to_their_places() {
        let parts = [(2, "*2\r\n$1\r\nb\r\n$-1\r\n"), (1, "*1\r\n$1\r\na\r\n")];
        assert_eq!(
            merged(ResponsePolicy::Positions, &[1, 2, 0], &parts),
            "*3\r\n$1\r\na\r\n$1\r\nb\r\n$-1\r\n"
        );
    }

    #[test]
    fn integers_are_added() {
        assert_eq!(
            merged(ResponsePolicy::Sum, &[0, 1, 2], &[(1, ":1\r\n"), (2, ":2\r\n")]),
            ":3\r\n"
        );
        assert_eq!(merged(ResponsePolicy::Min, &[0, 1], &[(1, ":1\r\n"), (1, ":0\r\n")]), ":0\r\n");
    }

    #[test]
    fn arrays_are_joined_or_compared() {
        let lists = [(1, "*2\r\n$1\r\na\r\n$1\r\nb\r\n"), (1, "*0\r\n"), (1, "*1\r\n$1\r\nc\r\n")];
        assert_eq!(
            merged(ResponsePolicy::Concat, &[0, 1, 2], &lists),
            "*3\r\n$1\r\nc\r\n$1\r\na\r\n$1\r\nb\r\n"
        );
        let table = [
            (
                ResponsePolicy::LogicalAnd,
                "*2\r\n:1\r\n:1\r\n",
                "*2\r\n:0\r\n:1\r\n",
                "*2\r\n:0\r\n:1\r\n",
            ),
            (
                ResponsePolicy::MinEach,
                "*2\r\n:1\r\n:0\r\n",
                "*2\r\n:0\r\n:3\r\n",
                "*2\r\n:0\r\n:0\r\n",
            ),
            (
                ResponsePolicy::MinEach,
                "*1\r\n:1\r\n",
                "*2\r\n:0\r\n:3\r\n",
                "-ERR unexpected reply from a node\r\n",
            ),
            (
                ResponsePolicy::LogicalAnd,
                "*1\r\n:1\r\n",
                "*1\r\n+OK\r\n",
                "-ERR unexpected reply from a node\r\n",
            ),
        ];
        for (policy, one, other, expected) in table {
            assert_eq!(merged(policy, &[0, 1], &[(1, one), (1, other)]), expected);
        }
    }

    #[test]
    fn one_success_is_enough() {
        let table = [
            (["+OK\r\n", "-NOTBUSY no\r\n", "-UNKILLABLE x\r\n"], "+OK\r\n"),
            (["-NOTBUSY no\r\n", "-UNKILLABLE x\r\n", "-BUSY y\r\n"], "-UNKILLABLE x\r\n"),
            (["-NOTBUSY no\r\n", "-ERR z\r\n", "-BUSY y\r\n"], "-BUSY y\r\n"),
            (["-NOTBUSY no\r\n", "-ERR z\r\n", "-NOTBUSY no\r\n"], "-ERR z\r\n"),
            (["-NOTBUSY no\r\n", "-NOTBUSY no\r\n", "-NOTBUSY no\r\n"], "-NOTBUSY no\r\n"),
        ];
        for (replies, expected) in table {
            let parts = replies.map(|reply| (1, reply));
            assert_eq!(merged(ResponsePolicy::OneSucceeded, &[0, 1, 2], &parts), expected);
        }
    }

    #[test]
    fn the_error_of_the_earliest_key_wins() {
        let parts = [(1, "-OOM second\r\n"), (1, "+OK\r\n"), (1, "-OOM first\r\n")];
        assert_eq!(merged(ResponsePolicy::AllSucceeded, &[2, 0, 1], &parts), "-OOM first\r\n");
        assert_eq!(
            merged(ResponsePolicy::AllSucceeded, &[0, 1], &[(1, "+OK\r\n"), (1, "+OK\r\n")]),
            "+OK\r\n"
        );
    }

    #[test]
    fn a_reply_of_the_wrong_kind_is_an_error_not_a_hole() {
        let wrong = "-ERR unexpected reply from a node\r\n";
        assert_eq!(merged(ResponsePolicy::Sum, &[0, 1], &[(1, ":1\r\n"), (1, "+OK\r\n")]), wrong);
        assert_eq!(merged(ResponsePolicy::Positions, &[0, 1], &[(2, "*1\r\n:1\r\n")]), wrong);
    }

    #[test]
    fn a_divided_part_keeps_its_units_places() {
        let mut merge = Merge::new(ResponsePolicy::Positions, [2, 0, 1].into(), [2, 1].into_iter());
        assert_eq!(merge.divide(0), 2..4);
        assert!(!merge.fold(1, b"*1\r\n:1\r\n"));
        assert!(!merge.fold(2, b"*1\r\n:2\r\n"));
        assert!(merge.fold(3, b"*1\r\n:0\r\n"));
        let mut out = Vec::new();
        merge.write(&mut out);
        assert_eq!(out, b"*3\r\n:0\r\n:1\r\n:2\r\n");
    }

    #[test]
    fn pieces_become_a_reply() {
        let mut merge = Merge::new(ResponsePolicy::Positions, [0, 1].into(), [1, 1].into_iter());
        assert!(!merge.fold_piece(0, b"*1\r\n$5\r\nhe", false));
        assert!(!merge.fold_piece(1, b"*1\r\n$3", false));
        assert!(!merge.fold_piece(0, b"llo\r\n", true));
        merge.retract(1);
        assert!(merge.fold(1, b"*1\r\n:1\r\n"));
        let mut out = Vec::new();
        merge.write(&mut out);
        assert_eq!(out, b"*2\r\n$5\r\nhello\r\n:1\r\n");
    }
}
