//! The parts of a whole reply, looked at without building a tree.

use super::number;
use super::reply::{Length, ReplyScanner, quick, read_length};

/// The number in a complete `:123` reply.
#[must_use]
pub fn integer(reply: &[u8]) -> Option<i64> {
    number::integer(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The elements of a complete array, set or push, or the keys and values of a map in turn. `None`
/// if the reply is no aggregate. Attributes before it are passed over.
#[must_use]
pub fn elements(reply: &[u8]) -> Option<Elements<'_>> {
    let mut rest = reply;
    loop {
        let kind = *rest.first()?;
        let (length, used) = read_length(rest).ok()??;
        rest = rest.get(used..)?;
        let left = match (kind, length) {
            (b'*' | b'~' | b'>', Length::Known(count)) => Some(count),
            (b'%', Length::Known(pairs)) => Some(2 * pairs),
            (b'*' | b'~' | b'%', Length::Streamed) => None,
            (b'|', Length::Known(pairs)) => {
                let mut attribute = Elements { rest, left: Some(2 * pairs) };
                attribute.by_ref().for_each(drop);
                rest = attribute.rest;
                continue;
            }
            _ => return None,
        };
        return Some(Elements { rest, left });
    }
}

/// The bytes of one element after the other.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    /// Elements still to come, if the aggregate said how many it has.
    left: Option<u64>,
}

impl Elements<'_> {
    /// How many elements are still announced; 0 for a streamed aggregate, which does not say.
    #[must_use]
    pub fn announced(&self) -> usize {
        usize::try_from(self.left.unwrap_or(0)).unwrap_or(usize::MAX)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.left {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None if self.rest.starts_with(b".") => return None,
            None => {}
        }
        let size = match quick(self.rest) {
            Some(size) => size,
            None => ReplyScanner::new().scan(self.rest).ok()??,
        };
        let (element, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Each element takes at least three bytes, whatever was announced.
        (0, Some(self.rest.len() / 3))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resp::tree::{Tree, trees};

    #[test]
    fn integers_without_a_tree() {
        let table: [(&[u8], Option<i64>); 6] = [
            (b":123\r\n", Some(123)),
            (b":-1\r\n", Some(-1)),
            (b":1", None),
            (b"+1\r\n", None),
            (b":1x\r\n", None),
            (b"", None),
        ];
        for (reply, expected) in table {
            assert_eq!(integer(reply), expected);
        }
    }

    #[test]
    fn elements_of_aggregates() {
        let table: [(&str, Option<&[&str]>); 12] = [
            ("*2\r\n$1\r\na\r\n$-1\r\n", Some(&["$1\r\na\r\n", "$-1\r\n"])),
            ("*2\r\n*1\r\n:1\r\n-ERR x\r\n", Some(&["*1\r\n:1\r\n", "-ERR x\r\n"])),
            ("%1\r\n+a\r\n:1\r\n", Some(&["+a\r\n", ":1\r\n"])),
            ("~1\r\n:1\r\n", Some(&[":1\r\n"])),
            (">1\r\n:1\r\n", Some(&[":1\r\n"])),
            ("*?\r\n:1\r\n:2\r\n.\r\n", Some(&[":1\r\n", ":2\r\n"])),
            ("|1\r\n+a\r\n:1\r\n*1\r\n:2\r\n", Some(&[":2\r\n"])),
            ("*0\r\n", Some(&[])),
            ("*-1\r\n", None),
            ("$?\r\n;0\r\n", None),
            ("+OK\r\n", None),
            ("", None),
        ];
        for (reply, expected) in table {
            let found = elements(reply.as_bytes()).map(|list| list.collect::<Vec<_>>());
            let expected = expected.map(|list| list.iter().map(|text| text.as_bytes()).collect());
            assert_eq!(found, expected, "{reply:?}");
        }
        assert_eq!(elements(b"*3\r\n:1\r\n").unwrap().announced(), 3);
        assert_eq!(
            elements(b"*999999999999\r\n:1\r\n").unwrap().count(),
            1,
            "a cut reply just ends"
        );
    }

    proptest! {
        #[test]
        fn elements_are_whole_replies(list in prop::collection::vec(trees(), 0..6)) {
            let encoded: Vec<_> = list.iter().map(Tree::encoded).collect();
            let reply = [format!("*{}\r\n", list.len()).into_bytes(), encoded.concat()].concat();
            let found: Vec<_> = elements(&reply).unwrap().collect();
            prop_assert_eq!(found, encoded);
        }
    }
}
