//! Sets of members, put together from the replies of several slots.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::MergeError;
use crate::resp::{Protocol, elements, write};

/// Members in the encoding of the wire, one after the other: elements of a reply are arguments of a request as
/// they stand. Their order is that in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    bytes: Vec<u8>,
    /// Where each member ends.
    ends: Vec<usize>,
}

impl Members {
    /// The members that a reply lists.
    ///
    /// # Errors
    /// The reply is no list of strings.
    pub fn read(reply: &[u8]) -> Result<Self, MergeError> {
        let mut members = Self::default();
        for member in strings(reply)? {
            members.push(member?);
        }
        Ok(members)
    }

    /// What any of the replies has, each member once.
    ///
    /// # Errors
    /// A reply is no list of strings.
    pub fn union(replies: &[Vec<u8>]) -> Result<Self, MergeError> {
        let mut seen: HashSet<&[u8], RandomState> = HashSet::default();
        let mut union = Self::default();
        for reply in replies {
            for member in strings(reply)? {
                let member = member?;
                if seen.insert(member) {
                    union.push(member);
                }
            }
        }
        Ok(union)
    }

    /// What all of the replies have. No reply lists a member twice.
    ///
    /// # Errors
    /// A reply is no list of strings.
    pub fn intersection(replies: &[Vec<u8>]) -> Result<Self, MergeError> {
        let mut counts: HashMap<&[u8], usize, RandomState> = HashMap::default();
        for reply in replies {
            for member in strings(reply)? {
                *counts.entry(member?).or_default() += 1;
            }
        }
        let mut common = Self::default();
        for (member, count) in counts {
            if count == replies.len() {
                common.push(member);
            }
        }
        Ok(common)
    }

    /// The members about which every answer says `wanted`. Each answer is a list of 1 and 0, one for each member.
    ///
    /// # Errors
    /// An answer is not such a list.
    pub fn keep(&self, answers: &[Vec<u8>], wanted: bool) -> Result<Self, MergeError> {
        let answers: Option<Vec<_>> = answers.iter().map(|answer| elements(answer)).collect();
        let mut answers = answers.ok_or(MergeError::Unexpected)?;
        let mut kept = Self::default();
        for member in self.iter() {
            let mut agreed = true;
            for answer in &mut answers {
                agreed &= wanted
                    == match answer.next() {
                        Some(b":1\r\n") => true,
                        Some(b":0\r\n") => false,
                        _ => return Err(MergeError::Unexpected),
                    };
            }
            if agreed {
                kept.push(member);
            }
        }
        Ok(kept)
    }

    /// The members in chunks of at most so many, each closed when it has so many bytes.
    pub fn chunks(&self, most: usize, bytes: usize) -> impl Iterator<Item = Self> {
        let mut members = self.iter().peekable();
        std::iter::from_fn(move || {
            members.peek()?;
            let mut chunk = Self::default();
            while chunk.len() < most && chunk.bytes.len() < bytes {
                let Some(member) = members.next() else { break };
                chunk.push(member);
            }
            Some(chunk)
        })
    }

    /// Adds the members of another one, which has none of these.
    pub fn append(&mut self, other: &Self) {
        other.iter().for_each(|member| self.push(member));
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All members as arguments of a request.
    pub fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes a set; RESP2 has an array.
    pub fn write(&self, out: &mut Vec<u8>, protocol: Protocol) {
        out.reserve(self.bytes.len() + 16);
        write::set(out, protocol, self.len());
        out.extend_from_slice(&self.bytes);
    }

    /// Adds a member as it stands in a reply; there is none like it yet.
    pub fn push(&mut self, member: &[u8]) {
        self.bytes.extend_from_slice(member);
        self.ends.push(self.bytes.len());
    }

    /// Every member as it stands in a reply.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| self.bytes.get(start..end).unwrap_or_default())
    }
}

/// The elements of a list of strings, as they stand in the reply.
pub(super) fn strings(
    reply: &[u8],
) -> Result<impl Iterator<Item = Result<&[u8], MergeError>>, MergeError> {
    let elements = elements(reply).ok_or(MergeError::Unexpected)?;
    Ok(elements.map(|element| match element {
        [b'$', b'0'..=b'9', ..] => Ok(element),
        _ => Err(MergeError::Unexpected),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &str) -> Vec<u8> {
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut out = Vec::new();
        write::command(&mut out, &words);
        out
    }

    fn lists(all: &[&str]) -> Vec<Vec<u8>> {
        all.iter().map(|words| list(words)).collect()
    }

    /// The members, sorted.
    fn shown(members: &Members) -> String {
        let mut words: Vec<String> = members
            .iter()
            .map(|member| {
                let text = String::from_utf8(member.to_vec()).unwrap();
                text.split("\r\n").nth(1).unwrap().to_owned()
            })
            .collect();
        words.sort();
        words.join(" ")
    }

    #[test]
    fn unions_and_intersections() {
        let table: [(&[&str], &str, &str); 5] = [
            (&["a b", "b c"], "a b c", "b"),
            (&["a b", ""], "a b", ""),
            (&["", ""], "", ""),
            (&["a b c", "c b", "b"], "a b c", "b"),
            (&["a b"], "a b", "a b"),
        ];
        for (parts, union, intersection) in table {
            let parts = lists(parts);
            assert_eq!(shown(&Members::union(&parts).unwrap()), union);
            assert_eq!(shown(&Members::intersection(&parts).unwrap()), intersection);
        }
    }

    #[test]
    fn a_set_of_resp3_is_a_list_too() {
        let members = Members::read(b"~2\r\n$1\r\na\r\n$2\r\n\r\n\r\n").unwrap();
        let mut out = Vec::new();
        members.write(&mut out, Protocol::Resp3);
        assert_eq!(out, b"~2\r\n$1\r\na\r\n$2\r\n\r\n\r\n");
    }

    #[test]
    fn members_are_kept_when_all_agree() {
        let members = Members::read(&list("a b c")).unwrap();
        let (yes, no) =
            (b"*3\r\n:1\r\n:1\r\n:0\r\n".to_vec(), b"*3\r\n:1\r\n:0\r\n:0\r\n".to_vec());
        let table: [(&[&Vec<u8>], bool, &str); 5] = [
            (&[&yes, &no], true, "a"),
            (&[&yes, &no], false, "c"),
            (&[&yes], true, "a b"),
            (&[&no], false, "b c"),
            (&[], true, "a b c"),
        ];
        for (answers, wanted, expected) in table {
            let answers: Vec<Vec<u8>> = answers.iter().copied().cloned().collect();
            assert_eq!(shown(&members.keep(&answers, wanted).unwrap()), expected);
        }
        let short = b"*2\r\n:1\r\n:1\r\n".to_vec();
        assert_eq!(members.keep(&[short], true), Err(MergeError::Unexpected));
    }

    #[test]
    fn chunks_are_bounded_twice() {
        let members = Members::read(&list("a b c d e")).unwrap();
        let lengths = |most, bytes| -> Vec<usize> {
            members.chunks(most, bytes).map(|chunk| chunk.len()).collect()
        };
        assert_eq!(lengths(2, usize::MAX), [2, 2, 1]);
        assert_eq!(lengths(5, usize::MAX), [5]);
        // Each member takes seven bytes.
        assert_eq!(lengths(usize::MAX, 8), [2, 2, 1]);
        assert_eq!(lengths(usize::MAX, 1), [1; 5]);
        let mut again = Members::default();
        members.chunks(2, 7).for_each(|chunk| again.append(&chunk));
        assert_eq!(again, members);
        assert_eq!(Members::default().chunks(2, 2).count(), 0);
    }

    #[test]
    fn what_is_no_list_of_strings_is_refused() {
        for reply in ["+OK\r\n", "*1\r\n:1\r\n", "*1\r\n$-1\r\n", "*1\r\n*0\r\n", "$1\r\na\r\n", ""]
        {
            assert_eq!(Members::read(reply.as_bytes()), Err(MergeError::Unexpected), "{reply:?}");
        }
    }
}
