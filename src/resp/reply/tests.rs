use proptest::prelude::*;

use super::*;
use crate::resp::nesting::{DEPTH, SHALLOW};
use crate::resp::tree::{Tree, trees};

/// Scans bytes that arrive in pieces, and answers where each reply ended.
fn ends(pieces: &[&[u8]]) -> Result<Vec<usize>, ReplyError> {
    let mut scanner = ReplyScanner::new();
    let (mut buffer, mut ends, mut gone) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while !buffer.is_empty() {
            let Some(length) = scanner.scan(&buffer)? else { break };
            buffer.drain(..length);
            gone += length;
            ends.push(gone);
        }
    }
    Ok(ends)
}

/// The same, passing on and forgetting whatever may be passed on. The bytes left over are so few
/// that looking at them again makes no difference: the work is linear in the bytes received.
fn ends_when_streamed(pieces: &[&[u8]]) -> Result<Vec<usize>, ReplyError> {
    let mut scanner = ReplyScanner::new();
    let (mut buffer, mut ends, mut gone) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while !buffer.is_empty() {
            let end = scanner.scan(&buffer)?;
            let length = end.unwrap_or_else(|| scanner.scanned());
            buffer.drain(..length);
            gone += length;
            if end.is_none() {
                scanner.forget(length);
                assert_eq!(scanner.scanned(), 0);
                assert!(buffer.len() <= LENGTH_LINE + 1, "{} bytes left", buffer.len());
                break;
            }
            ends.push(gone);
        }
    }
    Ok(ends)
}

fn scan(bytes: &[u8]) -> Result<Option<usize>, ReplyError> {
    ReplyScanner::new().scan(bytes)
}

#[test]
fn every_type_ends_where_it_ends() {
    let table = [
        "+OK\r\n",
        "+\r\n",
        "+a\rb\nc\r\n",
        "-ERR no\r\n",
        ":1\r\n",
        ":-12\r\n",
        ":9223372036854775807\r\n",
        "$3\r\nabc\r\n",
        "$0\r\n\r\n",
        "$4\r\n\r\n\r\n\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n$1\r\na\r\n:1\r\n",
        "*2\r\n*0\r\n*1\r\n*-1\r\n",
        "_\r\n",
        "#t\r\n",
        ",1.5\r\n",
        ",-inf\r\n",
        "(12345678901234567890123\r\n",
        "!5\r\nERR x\r\n",
        "=7\r\ntxt:abc\r\n",
        "%1\r\n+a\r\n:1\r\n",
        "%0\r\n",
        "~2\r\n:1\r\n:2\r\n",
        ">3\r\n+message\r\n$1\r\nc\r\n$1\r\nm\r\n",
        "|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n",
        "|0\r\n:1\r\n",
        "*2\r\n|1\r\n+a\r\n*1\r\n:1\r\n:1\r\n:2\r\n",
        "$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n",
        "$?\r\n;0\r\n",
        "*?\r\n:1\r\n*?\r\n.\r\n.\r\n",
        "~?\r\n:1\r\n.\r\n",
        "%?\r\n+a\r\n:1\r\n.\r\n",
        "*?\r\n|1\r\n+a\r\n:1\r\n:2\r\n.\r\n",
    ];
    for text in table {
        let bytes = text.as_bytes();
        assert_eq!(scan(bytes), Ok(Some(bytes.len())), "{text:?}");
        for cut in 0..bytes.len() {
            assert_eq!(scan(&bytes[..cut]), Ok(None), "{:?}", &text[..cut]);
        }
        let twice = [bytes, bytes].concat();
        assert_eq!(ends(&[&twice]), Ok(vec![bytes.len(), twice.len()]), "{text:?}");
        let single: Vec<_> = twice.chunks(1).collect();
        assert_eq!(ends(&single), Ok(vec![bytes.len(), twice.len()]), "{text:?}");
        assert_eq!(ends_when_streamed(&single), Ok(vec![bytes.len(), twice.len()]), "{text:?}");
    }
}

#[test]
fn what_is_not_a_reply() {
    let table = [
        ("HTTP/1.1 200 OK\r\n", ReplyError::Kind(b'H')),
        ("\r\n", ReplyError::Kind(b'\r')),
        (".\r\n", ReplyError::Kind(b'.')),
        (";0\r\n", ReplyError::Kind(b';')),
        ("*1\r\n.\r\n", ReplyError::Kind(b'.')),
        ("%?\r\n+a\r\n.\r\n", ReplyError::Kind(b'.')),
        ("*?\r\n|0\r\n.\r\n", ReplyError::Kind(b'.')),
        ("*?\r\n.x\r\n", ReplyError::Value),
        ("$?\r\n$1\r\na\r\n", ReplyError::Kind(b'$')),
        ("$?\r\n;-1\r\n", ReplyError::Length),
        ("$?\r\n;?\r\n", ReplyError::Length),
        ("$3\r\nabcde", ReplyError::Trailer),
        ("$3\r\nabc\rx", ReplyError::Trailer),
        ("$-2\r\n", ReplyError::Length),
        ("$\r\n", ReplyError::Length),
        ("$x\r\n", ReplyError::Length),
        ("$03\r\n", ReplyError::Length),
        ("$+3\r\n", ReplyError::Length),
        ("$3\n", ReplyError::Length),
        ("$3\rx", ReplyError::Length),
        ("$1000000000000000000\r\n", ReplyError::Length),
        ("*9999999999999999999999999", ReplyError::Length),
        ("%-1\r\n", ReplyError::Length),
        ("~-1\r\n", ReplyError::Length),
        (">-1\r\n", ReplyError::Length),
        (">?\r\n", ReplyError::Length),
        ("|-1\r\n", ReplyError::Length),
        ("|?\r\n", ReplyError::Length),
        ("=-1\r\n", ReplyError::Length),
        ("!?\r\n", ReplyError::Length),
    ];
    for (text, error) in table {
        assert_eq!(scan(text.as_bytes()), Err(error), "{text:?}");
        let single: Vec<_> = text.as_bytes().chunks(1).collect();
        assert_eq!(ends(&single), Err(error), "{text:?}");
    }
}

#[test]
fn depth_is_bounded_and_costs_no_recursion() {
    for head in ["*1\r\n", "|0\r\n", "*?\r\n", "%1\r\n:1\r\n"] {
        let deepest = head.repeat(DEPTH);
        assert_eq!(scan(deepest.as_bytes()), Ok(None), "{head:?}");
        let deeper = head.repeat(DEPTH + 1);
        assert_eq!(scan(deeper.as_bytes()), Err(ReplyError::Depth), "{head:?}");
    }
    let nested = format!("{}:1\r\n", "*1\r\n".repeat(DEPTH));
    assert_eq!(scan(nested.as_bytes()), Ok(Some(nested.len())));
}

#[test]
fn usual_nesting_allocates_nothing() {
    let mut scanner = ReplyScanner::new();
    assert_eq!(scanner.scan("*1\r\n".repeat(SHALLOW).as_bytes()), Ok(None));
    assert!(scanner.nesting.is_inline());
}

#[test]
fn huge_announcements_cost_nothing() {
    for text in
        ["*999999999999999999\r\n:1\r\n", "%999999999999999999\r\n", "$999999999999999999\r\nab"]
    {
        let mut scanner = ReplyScanner::new();
        assert_eq!(scanner.scan(text.as_bytes()), Ok(None), "{text:?}");
        assert!(scanner.nesting.is_inline());
    }
    let mut scanner = ReplyScanner::new();
    assert_eq!(scanner.scan(b"$100\r\nab"), Ok(None));
    assert_eq!((scanner.scanned(), scanner.missing()), (8, 100));
}

#[test]
fn endless_lines_end() {
    for (kind, most) in [(b':', NUMBER_LINE), (b',', NUMBER_LINE), (b'#', NUMBER_LINE)] {
        let mut bytes = vec![kind];
        bytes.resize(1 + most as usize, b'1');
        assert_eq!(scan(&bytes), Ok(None));
        assert_eq!(scan(&[&bytes[..], b"\r\n"].concat()), Ok(Some(bytes.len() + 2)));
        bytes.push(b'1');
        assert_eq!(scan(&bytes), Err(ReplyError::Line));
        bytes.extend_from_slice(b"\r\n");
        assert_eq!(scan(&bytes), Err(ReplyError::Line), "the same when the end is in the buffer");
    }
}

#[test]
fn a_long_text_arrives_in_pieces_without_being_kept() {
    let mut scanner = ReplyScanner::new();
    let piece = [b'x'; 16_384];
    assert_eq!(scanner.scan(b"-ERR "), Ok(None));
    scanner.forget(scanner.scanned());
    let mut sent = 5;
    let error = loop {
        assert!(sent <= TEXT_LINE + piece.len() as u64);
        match scanner.scan(&piece) {
            Ok(end) => assert_eq!(end, None),
            Err(error) => break error,
        }
        assert_eq!(scanner.scanned(), piece.len());
        scanner.forget(piece.len());
        sent += piece.len() as u64;
    };
    assert_eq!(error, ReplyError::Line);
    assert!(sent > TEXT_LINE - piece.len() as u64);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_ends(
        list in prop::collection::vec(trees(), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let replies: Vec<_> = list.iter().map(Tree::encoded).collect();
        let stream = replies.concat();
        let expected: Vec<_> = replies
            .iter()
            .scan(0, |end, reply| { *end += reply.len(); Some(*end) })
            .collect();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        let single: Vec<_> = stream.chunks(1).collect();
        for pieces in [vec![&stream[..]], pieces, single] {
            prop_assert_eq!(ends(&pieces), Ok(expected.clone()));
            prop_assert_eq!(ends_when_streamed(&pieces), Ok(expected.clone()));
        }
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(&b"*$+-:%~>|!=(,#_;.?\r\n\r\n0123"[..])], 0..200,
    )) {
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(ends(&[&bytes]), ends(&single));
    }
}
