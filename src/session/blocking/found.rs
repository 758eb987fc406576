//! What a try has found, as the client is told; and how it is put back when the client has gone.

use bytes::Bytes;

use super::order::{Tried, Turn};
use super::wish::{Verb, Wish};
use crate::resp::{Protocol, Value, write};

/// What a try has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The client's reply: something, or an error that ends the wait.
    Reply(Vec<u8>),
    /// Neither.
    Not(Tried),
}

/// What no node says of a key for good.
const PASSING: [&[u8]; 5] =
    [b"-CLUSTERDOWN", b"-TRYAGAIN", b"-LOADING", b"-MASTERDOWN", b"-READONLY"];

impl Wish {
    /// Reads the replies to [`Wish::tries`]. `fresh`: it is the first time that these keys are tried.
    pub(super) fn found(&self, turn: &Turn, replies: &[Vec<u8>], fresh: bool) -> Found {
        let mut parts: Vec<&[u8]> = Vec::new();
        let mut tried = Tried::Nothing;
        for reply in replies {
            if PASSING.iter().any(|text| reply.starts_with(text)) {
                tried = Tried::Unknown;
            } else if self.is_absent(reply, fresh) {
            } else if matches!(reply.first(), Some(b'-' | b'!')) {
                return Found::Reply(reply.clone());
            } else {
                parts.push(reply);
            }
        }
        match (turn, parts.as_slice()) {
            (_, []) => Found::Not(tried),
            (Turn::Key(at), [reply, ..]) => Found::Reply(self.one(*at, reply)),
            (_, replies) => Found::Reply(together(replies)),
        }
    }

    /// Nothing there. A key of another type is as good as absent for those who wait already, as on a server.
    fn is_absent(&self, reply: &[u8], fresh: bool) -> bool {
        let nothing = matches!(reply, b"$-1\r\n" | b"*-1\r\n" | b"_\r\n" | b"*0\r\n");
        nothing || (!fresh && self.verb != Verb::Move && reply.starts_with(b"-WRONGTYPE"))
    }

    /// The reply of the blocking command, from that of the one that does not block.
    fn one(&self, at: usize, reply: &[u8]) -> Vec<u8> {
        let key = self.watched().get(at).cloned().unwrap_or_default();
        let mut out = Vec::new();
        match self.verb {
            Verb::Pop { .. } => {
                write::array(&mut out, 2);
                write::bulk(&mut out, key);
                out.extend_from_slice(reply);
            }
            Verb::PopScored { .. } => {
                write::array(&mut out, 3);
                write::bulk(&mut out, key);
                out.extend_from_slice(reply.strip_prefix(b"*2\r\n").unwrap_or(reply));
            }
            _ => out.extend_from_slice(reply),
        }
        out
    }

    /// The request that undoes what the client never saw, and its key. `None`: nothing was taken, or it is where
    /// a server would have left it too.
    pub(super) fn put_back(&self, reply: &[u8]) -> Option<(Bytes, Vec<u8>)> {
        let value = Value::parse(reply).ok()?;
        let (key, taken) = value.as_array()?.split_first()?;
        let key = key.bytes()?;
        let mut words: Vec<&[u8]> = Vec::new();
        match self.verb {
            Verb::Pop { push, .. } => words.extend([push.as_bytes(), key, taken.first()?.bytes()?]),
            Verb::PopMany => {
                let left = self.call.arg(self.side_at()).eq_ignore_ascii_case(b"LEFT");
                words.extend([if left { b"LPUSH" } else { b"RPUSH" }, key]);
                // What was taken last goes back first.
                words.extend(taken.first()?.as_array()?.iter().rev().filter_map(Value::bytes));
            }
            Verb::PopScored { .. } => {
                let [member, score] = taken else { return None };
                // A member that came back meanwhile keeps its new score.
                words.extend([b"ZADD", key, b"NX", score.bytes()?, member.bytes()?]);
            }
            Verb::PopManyScored => {
                words.extend([&b"ZADD"[..], key, b"NX"]);
                for pair in taken.first()?.as_array()? {
                    let [member, score] = pair.as_array()? else { return None };
                    words.extend([score.bytes()?, member.bytes()?]);
                }
            }
            Verb::Move | Verb::Streams { .. } | Verb::Other => return None,
        }
        let mut request = Vec::new();
        write::command(&mut request, &words);
        Some((Bytes::copy_from_slice(key), request))
    }
}

/// Streams in the order of the request: each reply has one, in an array or in a map.
fn together(replies: &[&[u8]]) -> Vec<u8> {
    let is_map = replies.first().is_some_and(|reply| reply.starts_with(b"%"));
    let mut out = Vec::new();
    if is_map {
        write::map(&mut out, Protocol::Resp3, replies.len());
    } else {
        write::array(&mut out, replies.len());
    }
    for reply in replies {
        let one = reply.strip_prefix(b"*1\r\n").or_else(|| reply.strip_prefix(b"%1\r\n"));
        out.extend_from_slice(one.unwrap_or(reply));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::wish::tests::wish;
    use super::*;

    const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

    fn check(
        line: &str,
        turn: &Turn,
        replies: &[&str],
        fresh: bool,
        expected: Result<&str, Tried>,
    ) {
        let replies: Vec<Vec<u8>> = replies.iter().map(|reply| reply.as_bytes().to_vec()).collect();
        let expected = match expected {
            Ok(reply) => Found::Reply(reply.as_bytes().to_vec()),
            Err(tried) => Found::Not(tried),
        };
        assert_eq!(wish(line).found(turn, &replies, fresh), expected, "{line} {replies:?}");
    }

    #[test]
    fn one_key() {
        let (one, nothing) = (Turn::Key(1), Err(Tried::Nothing));
        check("BLPOP a b 0", &one, &["$1\r\nx\r\n"], true, Ok("*2\r\n$1\r\nb\r\n$1\r\nx\r\n"));
        check("BLPOP a b 0", &one, &["$-1\r\n"], true, nothing);
        check("BLPOP a b 0", &one, &["_\r\n"], true, nothing);
        check("BLPOP a b 0", &one, &[WRONG], true, Ok(WRONG));
        check("BLPOP a b 0", &one, &[WRONG], false, nothing);
        check("BLMOVE a b LEFT LEFT 0", &Turn::Key(0), &[WRONG], false, Ok(WRONG));
        check("BLPOP a b 0", &one, &["-CLUSTERDOWN x\r\n"], true, Err(Tried::Unknown));
        check("BLPOP a b 0", &one, &["-UNCERTAIN x\r\n"], false, Ok("-UNCERTAIN x\r\n"));
        let scored = "*2\r\n$1\r\nm\r\n,1.5\r\n";
        check("BZPOPMIN a b 0", &one, &[scored], false, Ok("*3\r\n$1\r\nb\r\n$1\r\nm\r\n,1.5\r\n"));
        check("BZPOPMIN a b 0", &one, &["*0\r\n"], false, nothing);
        let many = "*2\r\n$1\r\nb\r\n*1\r\n$1\r\nx\r\n";
        check("BLMPOP 0 2 a b LEFT", &one, &[many], false, Ok(many));
    }

    #[test]
    fn streams_come_together() {
        let line = "XREAD BLOCK 0 STREAMS a b c 0 0 0";
        let (a, c) = ("*1\r\n*2\r\n$1\r\na\r\n*0\r\n", "*1\r\n*2\r\n$1\r\nc\r\n*0\r\n");
        let both = "*2\r\n*2\r\n$1\r\na\r\n*0\r\n*2\r\n$1\r\nc\r\n*0\r\n";
        check(line, &Turn::All, &[a, "*-1\r\n", c], true, Ok(both));
        check(line, &Turn::All, &[a, WRONG, c], false, Ok(both));
        check(line, &Turn::All, &[a, WRONG, c], true, Ok(WRONG));
        check(line, &Turn::All, &["*-1\r\n"; 3], true, Err(Tried::Nothing));
        check(line, &Turn::All, &[a, "-NOGROUP x\r\n", c], false, Ok("-NOGROUP x\r\n"));
        let maps = ["%1\r\n$1\r\na\r\n*0\r\n", "_\r\n", "%1\r\n$1\r\nc\r\n*0\r\n"];
        let map = "%2\r\n$1\r\na\r\n*0\r\n$1\r\nc\r\n*0\r\n";
        check(line, &Turn::All, &maps, true, Ok(map));
    }

    #[test]
    fn what_nobody_took_is_put_back() {
        for (line, reply, expected) in [
            ("BLPOP a 0", "*2\r\n$1\r\na\r\n$1\r\nx\r\n", Some("LPUSH a x")),
            ("BRPOP a 0", "*2\r\n$1\r\na\r\n$1\r\nx\r\n", Some("RPUSH a x")),
            ("BZPOPMIN a 0", "*3\r\n$1\r\na\r\n$1\r\nm\r\n$1\r\n2\r\n", Some("ZADD a NX 2 m")),
            ("BZPOPMAX a 0", "*3\r\n$1\r\na\r\n$1\r\nm\r\n,inf\r\n", Some("ZADD a NX inf m")),
            (
                "BLMPOP 0 1 a LEFT COUNT 2",
                "*2\r\n$1\r\na\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
                Some("LPUSH a y x"),
            ),
            (
                "BZMPOP 0 1 a MIN COUNT 2",
                "*2\r\n$1\r\na\r\n*2\r\n*2\r\n$1\r\nx\r\n,1\r\n*2\r\n$1\r\ny\r\n,2\r\n",
                Some("ZADD a NX 1 x 2 y"),
            ),
            ("BLMOVE a b LEFT LEFT 0", "$1\r\nx\r\n", None),
            ("BLPOP a 0", "*-1\r\n", None),
            ("BLPOP a 0", "-UNBLOCKED x\r\n", None),
            ("BLPOP a 0", "", None),
        ] {
            let back = wish(line).put_back(reply.as_bytes()).map(|(_, request)| {
                let value = Value::parse(&request).unwrap();
                let words = value.as_array().unwrap().iter().map(|word| word.as_str().unwrap());
                words.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(back.as_deref(), expected, "{line} {reply:?}");
        }
    }
}
