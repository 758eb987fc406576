//! Sorted sets, put together from the replies of several slots.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::MergeError;
use super::score::Digits;
use crate::resp::{Protocol, Value, elements, write};

/// What the scores of one member in several sets become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

impl Aggregate {
    fn join(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum => {
                let sum = one + other;
                // Infinities of both signs: the servers agree on nothing rather than on no number.
                if sum.is_nan() { 0.0 } else { sum }
            }
            // Of zeros with different signs the first one stays.
            Self::Min => {
                if other < one {
                    other
                } else {
                    one
                }
            }
            Self::Max => {
                if other > one {
                    other
                } else {
                    one
                }
            }
        }
    }
}

/// A member with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored<'a> {
    /// The member itself.
    pub member: &'a [u8],
    /// Its score.
    pub score: f64,
}

/// What any of the replies has, in the order of a sorted set. Each lists members and scores in turn.
///
/// # Errors
/// A reply is not such a list.
pub fn union(replies: &[Vec<u8>], aggregate: Aggregate) -> Result<Vec<Scored<'_>>, MergeError> {
    let mut scores: HashMap<&[u8], f64, RandomState> = HashMap::default();
    for reply in replies {
        for Scored { member, score } in read(reply)? {
            let joined = scores.get(member).map_or(score, |known| aggregate.join(*known, score));
            scores.insert(member, joined);
        }
    }
    Ok(sorted(scores.into_iter().map(|(member, score)| Scored { member, score }).collect()))
}

/// What all of the replies have, in the order of a sorted set. Each lists members and scores in turn.
///
/// # Errors
/// A reply is not such a list.
pub fn intersection(
    replies: &[Vec<u8>],
    aggregate: Aggregate,
) -> Result<Vec<Scored<'_>>, MergeError> {
    let mut scores: HashMap<&[u8], (f64, usize), RandomState> = HashMap::default();
    for (place, reply) in replies.iter().enumerate() {
        for Scored { member, score } in read(reply)? {
            if place == 0 {
                scores.insert(member, (score, 1));
            } else if let Some((known, count)) = scores.get_mut(member) {
                *known = aggregate.join(*known, score);
                *count += 1;
            }
        }
    }
    let everywhere = |&(_, (_, count)): &(&[u8], (f64, usize))| count == replies.len();
    let common = scores.into_iter().filter(everywhere);
    Ok(sorted(common.map(|(member, (score, _))| Scored { member, score }).collect()))
}

/// What the first reply has and none of the others, in the order of a sorted set. The first lists members and
/// scores in turn, the others only members.
///
/// # Errors
/// A reply is not such a list.
pub fn difference(replies: &[Vec<u8>]) -> Result<Vec<Scored<'_>>, MergeError> {
    let Some((first, others)) = replies.split_first() else { return Ok(Vec::new()) };
    let mut gone: HashSet<&[u8], RandomState> = HashSet::default();
    for reply in others {
        for member in elements(reply).ok_or(MergeError::Unexpected)? {
            gone.insert(text(member)?);
        }
    }
    let mut left = read(first)?;
    left.retain(|entry| !gone.contains(entry.member));
    Ok(sorted(left))
}

/// Members and scores that a reply lists in turn.
///
/// # Errors
/// The reply is not such a list.
pub fn read(reply: &[u8]) -> Result<Vec<Scored<'_>>, MergeError> {
    let mut elements = elements(reply).ok_or(MergeError::Unexpected)?;
    let mut found = Vec::new();
    while let Some(member) = elements.next() {
        let score = text(elements.next().ok_or(MergeError::Unexpected)?)?;
        let score = std::str::from_utf8(score).ok().and_then(|score| score.parse().ok());
        let score = score.ok_or(MergeError::Unexpected)?;
        found.push(Scored { member: text(member)?, score });
    }
    Ok(found)
}

/// Writes members, with their scores when wanted: in turn, or in RESP3 as pairs.
pub fn write(
    entries: &[Scored<'_>],
    scores: Option<Digits>,
    protocol: Protocol,
    out: &mut Vec<u8>,
) {
    let flat = scores.is_some() && protocol == Protocol::Resp2;
    write::array(out, if flat { 2 * entries.len() } else { entries.len() });
    for entry in entries {
        if scores.is_some() && !flat {
            write::array(out, 2);
        }
        write::bulk(out, entry.member);
        if let Some(digits) = scores {
            write::double_text(out, protocol, digits.text(entry.score));
        }
    }
}

fn text(element: &[u8]) -> Result<&[u8], MergeError> {
    match Value::parse(element) {
        Ok(Value::Bulk(text)) => Ok(text),
        _ => Err(MergeError::Unexpected),
    }
}

/// By score, and where scores are equal by bytes.
fn sorted(mut entries: Vec<Scored<'_>>) -> Vec<Scored<'_>> {
    entries.sort_unstable_by(|one, other| {
        let by_score = one.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal);
        by_score.then_with(|| one.member.cmp(other.member))
    });
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(all: &[&str]) -> Vec<Vec<u8>> {
        let list = |words: &&str| {
            let words: Vec<&str> = words.split_whitespace().collect();
            let mut out = Vec::new();
            write::command(&mut out, &words);
            out
        };
        all.iter().map(list).collect()
    }

    fn shown(entries: &[Scored<'_>]) -> String {
        let entry = |entry: &Scored<'_>| {
            format!("{} {}", String::from_utf8_lossy(entry.member), write::shortest(entry.score))
        };
        entries.iter().map(entry).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn unions_by_every_aggregate() {
        let parts = lists(&["a 1 b 2", "b 3 c 0.5", "b -1"]);
        let table = [
            (Aggregate::Sum, "c 0.5 a 1 b 4"),
            (Aggregate::Min, "b -1 c 0.5 a 1"),
            (Aggregate::Max, "c 0.5 a 1 b 3"),
        ];
        for (aggregate, expected) in table {
            assert_eq!(shown(&union(&parts, aggregate).unwrap()), expected);
        }
    }

    #[test]
    fn intersections_by_every_aggregate() {
        let parts = lists(&["a 1 b 2 d 7", "b 3 d 1 c 0.5", "d 2 b -1"]);
        let table = [
            (Aggregate::Sum, "b 4 d 10"),
            (Aggregate::Min, "b -1 d 1"),
            (Aggregate::Max, "b 3 d 7"),
        ];
        for (aggregate, expected) in table {
            assert_eq!(shown(&intersection(&parts, aggregate).unwrap()), expected);
        }
        assert_eq!(intersection(&lists(&["a 1", ""]), Aggregate::Sum).unwrap(), []);
    }

    #[test]
    fn differences() {
        let table: [(&[&str], &str); 4] = [
            (&["a 1 b 2 c 0", "b x"], "c 0 a 1"),
            (&["a 1", ""], "a 1"),
            (&["", "a"], ""),
            (&["b 1 a 1"], "a 1 b 1"),
        ];
        for (parts, expected) in table {
            assert_eq!(shown(&difference(&lists(parts)).unwrap()), expected);
        }
    }

    #[test]
    fn infinities_cancel_out() {
        let parts = lists(&["a inf b inf", "a -inf b 1"]);
        assert_eq!(shown(&union(&parts, Aggregate::Sum).unwrap()), "a 0 b inf");
    }

    #[test]
    fn equal_scores_are_sorted_by_bytes() {
        let parts = lists(&["b 0 a -0 ab 0 B 0"]);
        assert_eq!(shown(&union(&parts, Aggregate::Sum).unwrap()), "B 0 a -0 ab 0 b 0");
    }

    #[test]
    fn every_form_of_the_reply() {
        let entries = [Scored { member: b"a", score: 0.1 }];
        let table = [
            (None, Protocol::Resp2, "*1\r\n$1\r\na\r\n"),
            (None, Protocol::Resp3, "*1\r\n$1\r\na\r\n"),
            (
                Some(Digits::Seventeen),
                Protocol::Resp2,
                "*2\r\n$1\r\na\r\n$19\r\n0.10000000000000001\r\n",
            ),
            (Some(Digits::Shortest), Protocol::Resp2, "*2\r\n$1\r\na\r\n$3\r\n0.1\r\n"),
            (Some(Digits::Shortest), Protocol::Resp3, "*1\r\n*2\r\n$1\r\na\r\n,0.1\r\n"),
        ];
        for (scores, protocol, expected) in table {
            let mut out = Vec::new();
            write(&entries, scores, protocol, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_list_of_scores_is_refused() {
        for reply in
            ["+OK\r\n", "*1\r\n$1\r\na\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n:1\r\n:1\r\n"]
        {
            assert_eq!(
                union(&[reply.as_bytes().to_vec()], Aggregate::Sum),
                Err(MergeError::Unexpected),
                "{reply:?}"
            );
        }
    }
}
