//! What a node says on a connection that carries subscriptions.

use memchr::memchr;

use crate::resp::number;

use super::Kind;

/// A message that answers no request, or a confirmation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Push<'a> {
    /// Something was published.
    Message {
        kind: Kind,
        /// What is subscribed to: the channel, or a pattern that matches it.
        topic: &'a [u8],
        channel: &'a [u8],
        /// The frame behind its first element, which is the same in both protocols.
        tail: &'a [u8],
    },
    /// A subscription is there.
    Joined(Kind, &'a [u8]),
    /// A subscription ended, whoever wanted that.
    Left(Kind, &'a [u8]),
    /// Nothing that is known here.
    Other,
}

/// The three kinds of frame.
#[derive(Clone, Copy)]
enum Word {
    Message,
    Joined,
    Left,
}

/// How each frame begins, the most frequent first.
const STARTS: [(&[u8], Word, Kind); 9] = [
    (b">3\r\n$7\r\nmessage\r\n", Word::Message, Kind::Channel),
    (b">4\r\n$8\r\npmessage\r\n", Word::Message, Kind::Pattern),
    (b">3\r\n$8\r\nsmessage\r\n", Word::Message, Kind::Shard),
    (b">3\r\n$9\r\nsubscribe\r\n", Word::Joined, Kind::Channel),
    (b">3\r\n$10\r\npsubscribe\r\n", Word::Joined, Kind::Pattern),
    (b">3\r\n$10\r\nssubscribe\r\n", Word::Joined, Kind::Shard),
    (b">3\r\n$11\r\nunsubscribe\r\n", Word::Left, Kind::Channel),
    (b">3\r\n$12\r\npunsubscribe\r\n", Word::Left, Kind::Pattern),
    (b">3\r\n$12\r\nsunsubscribe\r\n", Word::Left, Kind::Shard),
];

impl<'a> Push<'a> {
    /// Reads a whole frame that starts with `>`. `None`: it begins like one of these, but is none.
    pub(super) fn read(frame: &'a [u8]) -> Option<Self> {
        let found = STARTS
            .iter()
            .find_map(|(start, word, kind)| Some((frame.strip_prefix(*start)?, *word, *kind)));
        let Some((tail, word, kind)) = found else { return Some(Self::Other) };
        let (topic, rest) = string(tail)?;
        Some(match word {
            Word::Joined => Self::Joined(kind, topic),
            Word::Left => Self::Left(kind, topic),
            Word::Message if kind == Kind::Pattern => {
                Self::Message { kind, topic, channel: string(rest)?.0, tail }
            }
            Word::Message => Self::Message { kind, topic, channel: topic, tail },
        })
    }
}

/// Takes a bulk string off the front.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let bytes = bytes.strip_prefix(b"$")?;
    let (length, rest) = bytes.split_at_checked(memchr(b'\r', bytes)?)?;
    let length = usize::try_from(number::integer(length)?).ok()?;
    let (text, rest) = rest.strip_prefix(b"\r\n")?.split_at_checked(length)?;
    Some((text, rest.strip_prefix(b"\r\n")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_server() {
        let table: [(&str, Option<Push<'_>>); 11] = [
            (
                ">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$2\r\nhi\r\n",
                Some(Push::Message {
                    kind: Kind::Channel,
                    topic: b"ch",
                    channel: b"ch",
                    tail: b"$2\r\nch\r\n$2\r\nhi\r\n",
                }),
            ),
            (
                ">4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$2\r\nch\r\n$0\r\n\r\n",
                Some(Push::Message {
                    kind: Kind::Pattern,
                    topic: b"c*",
                    channel: b"ch",
                    tail: b"$2\r\nc*\r\n$2\r\nch\r\n$0\r\n\r\n",
                }),
            ),
            (
                ">3\r\n$8\r\nsmessage\r\n$2\r\n\r\n\r\n$1\r\nx\r\n",
                Some(Push::Message {
                    kind: Kind::Shard,
                    topic: b"\r\n",
                    channel: b"\r\n",
                    tail: b"$2\r\n\r\n\r\n$1\r\nx\r\n",
                }),
            ),
            (">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", Some(Push::Joined(Kind::Channel, b"a"))),
            (">3\r\n$10\r\nssubscribe\r\n$0\r\n\r\n:1\r\n", Some(Push::Joined(Kind::Shard, b""))),
            (
                ">3\r\n$12\r\npunsubscribe\r\n$1\r\na\r\n:0\r\n",
                Some(Push::Left(Kind::Pattern, b"a")),
            ),
            (">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n", Some(Push::Left(Kind::Shard, b"a"))),
            (">2\r\n$10\r\ninvalidate\r\n_\r\n", Some(Push::Other)),
            (">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n", None),
            (">3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n", None),
            (">3\r\n$7\r\nmessage\r\n$90\r\nshort\r\n:2\r\n", None),
        ];
        for (frame, expected) in table {
            assert_eq!(Push::read(frame.as_bytes()), expected, "{frame:?}");
        }
    }
}
