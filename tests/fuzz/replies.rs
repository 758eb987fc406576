//! Replies: whole and damaged, at once, in pieces, and passed on before they are complete.

use slotway::resp::{ReplyError, ReplyScanner, Value, elements, integer, write};

use crate::random::Random;

/// Where replies end in bytes that arrive up to one cut after the other. With `streamed`,
/// everything is passed on that may be passed on early.
fn ends(bytes: &[u8], cuts: &[usize], streamed: bool) -> (Vec<usize>, Option<ReplyError>) {
    let (mut scanner, mut ends, mut start) = (ReplyScanner::new(), Vec::new(), 0);
    for cut in cuts {
        while start < *cut {
            let buffer = &bytes[start..*cut];
            match scanner.scan(buffer) {
                Err(error) => return (ends, Some(error)),
                Ok(Some(length)) => {
                    assert!(length <= buffer.len());
                    start += length;
                    ends.push(start);
                }
                Ok(None) => {
                    let scanned = scanner.scanned();
                    assert!(scanned <= buffer.len());
                    if streamed {
                        start += scanned;
                        scanner.forget(scanned);
                        assert!(cut - start < 64, "what is left is at most a line's start");
                    }
                    break;
                }
            }
        }
    }
    (ends, None)
}

/// Writes a value of any type, nested at most `depth` deep.
fn reply(random: &mut Random, out: &mut Vec<u8>, depth: usize) {
    let simple: &[&str] = &[
        "+OK\r\n",
        "-ERR no\r\n",
        ":1\r\n",
        ":-15\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "_\r\n",
        "#t\r\n",
        "#f\r\n",
        ",1.5\r\n",
        ",inf\r\n",
        "(123456789012345678901\r\n",
        "=7\r\ntxt:abc\r\n",
        "!5\r\nERR x\r\n",
        "$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n",
        "$?\r\n;0\r\n",
        "*0\r\n",
        "%0\r\n",
        "+\r\n",
    ];
    if depth == 0 || random.once_in(2) {
        if random.once_in(2) {
            write::bulk(out, random.bytes(20_000));
        } else {
            out.extend_from_slice(random.pick(simple).as_bytes());
        }
        return;
    }
    let count = random.below(5);
    let (kind, values) = match random.below(5) {
        0 => ('*', count),
        1 => ('~', count),
        2 => ('>', count),
        3 => ('%', 2 * count),
        _ => ('|', 2 * count + 1),
    };
    let streamed = matches!(kind, '*' | '~' | '%') && random.once_in(3);
    let head = if streamed { format!("{kind}?\r\n") } else { format!("{kind}{count}\r\n") };
    out.extend_from_slice(head.as_bytes());
    (0..values).for_each(|_| reply(random, out, depth - 1));
    if streamed {
        out.extend_from_slice(b".\r\n");
    }
}

fn stream(random: &mut Random) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..random.below(5) {
        let depth = random.below(12);
        reply(random, &mut bytes, depth);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

/// However the bytes are cut and passed on, the ends are the same, and so is the error.
pub(crate) fn in_pieces(random: &mut Random) {
    let (mut bytes, _) = stream(random);
    random.damage(&mut bytes);
    let whole = ends(&bytes, &[bytes.len()], false);
    let cuts = random.cuts(bytes.len());
    assert_eq!(ends(&bytes, &cuts, false), whole);
    assert_eq!(ends(&bytes, &cuts, true), whole);
    agree(&bytes);
}

/// What is well formed ends where it was meant to end, and is read as a tree.
pub(crate) fn as_sent(random: &mut Random) {
    let (bytes, expected) = stream(random);
    let cuts = random.cuts(bytes.len());
    assert_eq!(ends(&bytes, &cuts, false), (expected.clone(), None));
    assert_eq!(ends(&bytes, &cuts, true), (expected.clone(), None));
    let mut start = 0;
    for end in expected {
        let reply = &bytes[start..end];
        assert!(Value::parse(reply).is_ok());
        agree(reply);
        start = end;
    }
}

/// The ways of looking at a reply agree with each other.
fn agree(bytes: &[u8]) {
    let Ok(value) = Value::parse(bytes) else { return };
    assert_eq!(ReplyScanner::new().scan(bytes), Ok(Some(bytes.len())));
    assert_eq!(integer(bytes).is_some(), matches!(value, Value::Integer(_)) && bytes[0] == b':');
    let parts: Vec<_> = elements(bytes).into_iter().flatten().collect();
    let parsed: Vec<_> = parts.iter().map(|part| Value::parse(part)).collect();
    let expected: Vec<_> = match &value {
        Value::Map(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
        other => other.as_array().unwrap_or_default().iter().collect(),
    };
    assert!(parsed.iter().flatten().eq(expected), "{parts:?}");
    assert!(parsed.iter().all(Result::is_ok));
}
