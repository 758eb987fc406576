mod streams;

use super::*;
use streams::{Event, event, events};

fn frame(arguments: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut frame = Vec::new();
    write::command(&mut frame, arguments);
    frame
}

fn called(arguments: &[&str]) -> Event {
    let frame = frame(arguments);
    Event::Request {
        frame,
        arguments: arguments.iter().map(|text| text.as_bytes().into()).collect(),
    }
}

fn first(bytes: &[u8], authenticated: bool) -> Result<Parsed, ParseError> {
    RequestParser::new().parse(bytes, &Limits::default(), authenticated)
}

#[test]
fn streams_of_requests() {
    let table: [(&[u8], Vec<Event>); 12] = [
        (b"*1\r\n$4\r\nPING\r\n", vec![called(&["PING"])]),
        (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", vec![called(&["GET", ""])]),
        (b"PING\r\n", vec![called(&["PING"])]),
        (b"PING\nECHO 'a b'\n", vec![called(&["PING"]), called(&["ECHO", "a b"])]),
        (b"PING\r\r\n", vec![called(&["PING"])]),
        (b"*0\r\n*-1\r\n*-10\r\n\r\n\n  \r\nPING\r\n", vec![called(&["PING"])]),
        (b"GET \"x\\x4\"\r\n", vec![called(&["GET", "xx4"])]),
        (b"PING\r\n*1\r\n$4\r\nPING\r\n", vec![called(&["PING"]), called(&["PING"])]),
        (b"*1\r\n$4\r\nPING\r\nPING\r\n", vec![called(&["PING"]), called(&["PING"])]),
        (b"\"\" a\r\n", vec![called(&["", "a"])]),
        (b"PI\x00NG\r\n", vec![called(&["PI\0NG"])]),
        (
            b"PING\r\n*a\r\nPING\r\n",
            vec![called(&["PING"]), Event::Refused(ParseError::MultibulkLength)],
        ),
    ];
    for (bytes, expected) in table {
        assert_eq!(events(&[bytes]), expected, "{:?}", String::from_utf8_lossy(bytes));
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(events(&single), expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn errors_and_when_they_are_said() {
    use ParseError::{
        ArgumentTooLong, BulkLength, ExpectedBulk, Hangup, MultibulkLength, TooManyArguments,
        UnbalancedQuotes,
    };
    let table: [(&[u8], Result<Parsed, ParseError>); 35] = [
        (b"*a\r\n", Err(MultibulkLength)),
        (b"*\r\n", Err(MultibulkLength)),
        (b"*+1\r\n", Err(MultibulkLength)),
        (b"*01\r\n", Err(MultibulkLength)),
        (b"*-0\r\n", Err(MultibulkLength)),
        (b"* 3\r\n", Err(MultibulkLength)),
        (b"*3 \r\n", Err(MultibulkLength)),
        (b"*1\rx", Err(MultibulkLength)),
        (b"*1048577\r\n", Err(TooManyArguments)),
        (b"*2147483648\r\n", Err(MultibulkLength)),
        (b"*99999999999999999999\r\n", Err(MultibulkLength)),
        (b"*-9223372036854775809\r\n", Err(MultibulkLength)),
        (b"*1048576\r\n", Ok(Parsed::Incomplete)),
        (b"*a\r", Ok(Parsed::Incomplete)),
        (b"*1\r\nPING\r\n", Err(ExpectedBulk(b'P'))),
        (b"*1\r\n\r\n", Err(ExpectedBulk(b'\r'))),
        (b"*1\r\nPING", Ok(Parsed::Incomplete)),
        (b"*1\r\n$a\r\n", Err(BulkLength)),
        (b"*1\r\n$\r\n", Err(BulkLength)),
        (b"*1\r\n$-1\r\n", Err(BulkLength)),
        (b"*1\r\n$+4\r\n", Err(BulkLength)),
        (b"*1\r\n$04\r\n", Err(BulkLength)),
        (b"*1\r\n$4\rxPING\r\n", Err(BulkLength)),
        (b"*1\r\n$4\r\nPINGxx", Err(BulkLength)),
        (b"*1\r\n$4\r\nPING\rx", Err(BulkLength)),
        (b"*1\r\n$536870913\r\n", Err(ArgumentTooLong)),
        (b"*1\r\n$99999999999999999999\r\n", Err(BulkLength)),
        (b"*1\r\n$536870912\r\n", Ok(Parsed::Incomplete)),
        (b"ECHO \"a\r\n", Err(UnbalancedQuotes)),
        (b"ECHO \"a\"b\r\n", Err(UnbalancedQuotes)),
        (b"POST / HTTP/1.1\r\n", Err(Hangup)),
        (b"hOsT: localhost\r\n", Err(Hangup)),
        (b"*1\r\n$4\r\npost\r\n", Err(Hangup)),
        (b"*1\r\n$5\r\nHost:\r\n", Err(Hangup)),
        (b"*1\r\n$4\r\nHost\r\n", Ok(Parsed::Request(14))),
    ];
    for (bytes, expected) in table {
        assert_eq!(first(bytes, true), expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn strangers_may_send_little() {
    let table: [(&[u8], Result<Parsed, ParseError>); 7] = [
        // The server counts the words of a line as little as its length.
        (b"DEL 1 2 3 4 5 6 7 8 9 10 11\n", Ok(Parsed::Request(28))),
        (b"*11\r\n", Err(ParseError::UnauthenticatedMultibulkLength)),
        (b"*2000000\r\n", Err(ParseError::UnauthenticatedMultibulkLength)),
        (b"*2147483648\r\n", Err(ParseError::MultibulkLength)),
        (b"*10\r\n", Ok(Parsed::Incomplete)),
        (b"*1\r\n$16385\r\n", Err(ParseError::UnauthenticatedBulkLength)),
        (b"*1\r\n$16384\r\n", Ok(Parsed::Incomplete)),
    ];
    for (bytes, expected) in table {
        assert_eq!(first(bytes, false), expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn endless_lines_end() {
    let table: [(&[u8], ParseError); 4] = [
        (b"P", ParseError::InlineTooLong),
        (b"*1", ParseError::CountLineTooLong),
        (b"*1\r\n$1", ParseError::LengthLineTooLong),
        (b"*1\r\nP", ParseError::LengthLineTooLong),
    ];
    for (start, error) in table {
        let line = if start.len() > 4 { start.len() - 4 } else { start.len() };
        let mut bytes = start.to_vec();
        bytes.resize(start.len() + 65_536 - line, b'1');
        assert_eq!(first(&bytes, true), Ok(Parsed::Incomplete));
        bytes.push(b'1');
        assert_eq!(first(&bytes, true), Err(error));
        bytes.extend_from_slice(b"1\r\n");
        assert_eq!(first(&bytes, true), Err(error), "the same when the end is in the buffer");
    }
}

#[test]
fn the_longest_inline_request() {
    for (text, end, expected) in [
        (65_536, "\n", Ok(Parsed::Request(65_537))),
        (65_536, "\r\n", Ok(Parsed::Request(65_538))),
        (65_536, "\r", Ok(Parsed::Incomplete)),
        (65_536, "\rx", Err(ParseError::InlineTooLong)),
        (65_537, "\n", Err(ParseError::InlineTooLong)),
        (65_537, "\r\n", Err(ParseError::InlineTooLong)),
    ] {
        let line = "x".repeat(text) + end;
        assert_eq!(first(line.as_bytes(), true), expected, "{text} bytes and {end:?}");
    }
}

#[test]
fn a_request_that_outgrows_its_bound_ends_the_connection() {
    let limits = Limits { request_bytes: 30, ..Limits::default() };
    let parse = |bytes: &[u8]| RequestParser::new().parse(bytes, &limits, true);
    // Four bytes of count line, five of length line, nineteen of argument, two of line end.
    assert_eq!(parse(b"*1\r\n$19\r\n"), Ok(Parsed::Incomplete));
    assert_eq!(parse(b"*1\r\n$20\r\n"), Err(ParseError::RequestTooLong));
    assert_eq!(parse(b"*2\r\n$10\r\n0123456789\r\n$3\r\n"), Ok(Parsed::Incomplete));
    assert_eq!(parse(b"*2\r\n$10\r\n0123456789\r\n$4\r\n"), Err(ParseError::RequestTooLong));
}

#[test]
fn bounds_hold_when_the_whole_request_is_there() {
    let whole = frame(&["ECHO", &"x".repeat(20_000)]);
    let exact = Limits { bulk_bytes: 20_000, request_bytes: whole.len(), ..Limits::default() };
    let table = [
        (exact, true, Ok(Parsed::Request(whole.len()))),
        (exact, false, Err(ParseError::UnauthenticatedBulkLength)),
        (Limits { bulk_bytes: 19_999, ..exact }, true, Err(ParseError::ArgumentTooLong)),
        (Limits { request_bytes: whole.len() - 1, ..exact }, true, Err(ParseError::RequestTooLong)),
        (Limits { arguments: 1, ..exact }, true, Err(ParseError::TooManyArguments)),
    ];
    for (limits, authenticated, expected) in table {
        let mut parser = RequestParser::new();
        assert_eq!(parser.parse(&whole, &limits, authenticated), expected, "{limits:?}");
        // What follows in the buffer belongs to other requests.
        let twice = whole.repeat(2);
        let mut parser = RequestParser::new();
        assert_eq!(parser.parse(&twice, &limits, authenticated), expected, "{limits:?}");
    }
}

#[test]
fn texts_are_the_servers() {
    let table = [
        (ParseError::MultibulkLength, "invalid multibulk length"),
        (ParseError::UnauthenticatedMultibulkLength, "unauthenticated multibulk length"),
        (ParseError::ExpectedBulk(b'P'), "expected '$', got 'P'"),
        (ParseError::ExpectedBulk(b'\r'), "expected '$', got ' '"),
        (ParseError::BulkLength, "invalid bulk length"),
        (ParseError::UnauthenticatedBulkLength, "unauthenticated bulk length"),
        (ParseError::CountLineTooLong, "too big mbulk count string"),
        (ParseError::LengthLineTooLong, "too big bulk count string"),
        (ParseError::InlineTooLong, "too big inline request"),
        (ParseError::UnbalancedQuotes, "unbalanced quotes in request"),
    ];
    for (error, text) in table {
        assert_eq!(error.to_string(), format!("ERR Protocol error: {text}"));
        let mut out = Vec::new();
        error.write_to(&mut out);
        assert_eq!(out, format!("-ERR Protocol error: {text}\r\n").as_bytes());
    }
    let mut out = Vec::new();
    ParseError::Hangup.write_to(&mut out);
    assert!(out.is_empty());
    ParseError::ExpectedBulk(0xff).write_to(&mut out);
    assert_eq!(out, b"-ERR Protocol error: expected '$', got '\xff'\r\n");
}

#[test]
fn what_is_only_announced_costs_nothing() {
    let mut parser = RequestParser::new();
    let limits = Limits { arguments: usize::MAX, ..Limits::default() };
    assert_eq!(parser.parse(b"*1000000000\r\n", &limits, true), Ok(Parsed::Incomplete));
    assert!(parser.spans.capacity() <= RESERVED_ARGUMENTS);
    assert_eq!(parser.missing(), 0);
    assert_eq!(
        parser.parse(b"*1000000000\r\n$500000000\r\nab", &limits, true),
        Ok(Parsed::Incomplete)
    );
    assert!(parser.spans.capacity() <= RESERVED_ARGUMENTS);
    assert_eq!(parser.missing(), 500_000_000);
}

#[test]
fn a_parser_is_small_and_gives_memory_back() {
    assert!(size_of::<RequestParser>() <= 120);
    let mut parser = RequestParser::new();
    let many = frame(&vec!["x"; 10_000]);
    assert_eq!(parser.parse(&many, &Limits::default(), true), Ok(Parsed::Request(many.len())));
    assert_eq!(parser.request(&many).len(), 10_000);
    parser.shrink(0);
    assert_eq!(parser.spans.capacity(), 0);
    assert_eq!(parser.parse(b"PING\r\n", &Limits::default(), true), Ok(Parsed::Request(6)));
    parser.shrink(0);
    assert_eq!(parser.inline.capacity(), 0);

    let half = b"*2\r\n$4\r\nECHO\r\n$2\r\n";
    assert_eq!(parser.parse(half, &Limits::default(), true), Ok(Parsed::Incomplete));
    parser.shrink(0);
    let whole = b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n";
    assert_eq!(parser.parse(whole, &Limits::default(), true), Ok(Parsed::Request(whole.len())));
    assert_eq!(event(parser.request(whole)), called(&["ECHO", "hi"]));
}

#[test]
fn arguments_as_they_stand_in_the_frame() {
    let long = "v".repeat(1000);
    let bytes = frame(&["MSET", "", &long, "0123456789"]);
    let mut parser = RequestParser::new();
    parser.parse(&bytes, &Limits::default(), true).unwrap();
    let request = parser.request(&bytes);
    assert_eq!(request.encoded_arg(0).unwrap(), b"$4\r\nMSET\r\n");
    assert_eq!(request.encoded_arg(1).unwrap(), b"$0\r\n\r\n");
    assert_eq!(request.encoded_arg(2).unwrap(), format!("$1000\r\n{long}\r\n").as_bytes());
    assert_eq!(request.encoded_arg(3).unwrap(), b"$10\r\n0123456789\r\n");
    assert_eq!(request.encoded_arg(4), None);
    assert_eq!(request.arg(4), None);
    assert_eq!(request.name(), b"MSET");
    assert_eq!(request.args().len(), 4);
}

#[test]
fn a_line_is_searched_once() {
    let limits = Limits::default();
    for start in ["x", "*", "*1\r\n$"] {
        let mut bytes = start.as_bytes().to_vec();
        let mut parser = RequestParser::new();
        for _ in 0..1000 {
            bytes.push(b'1');
            assert_eq!(parser.parse(&bytes, &limits, true), Ok(Parsed::Incomplete));
            assert_eq!(parser.position + parser.searched, bytes.len());
        }
    }
}

#[test]
fn a_search_starts_anew_with_every_line() {
    // The line that was searched in vain is longer than the wrong one that comes next.
    let rest = format!("{}\r\n$\r\n", "x".repeat(1000));
    let refused = vec![Event::Refused(ParseError::BulkLength)];
    let together = format!("\r\n{rest}");
    assert_eq!(events(&[b"*2\r\n$1000", together.as_bytes()]), refused);
    assert_eq!(events(&[b"*2\r\n$1000", b"\r\n", rest.as_bytes()]), refused);
}

#[test]
fn many_arguments_in_small_pieces() {
    let arguments: Vec<String> = (0..20_000).map(|index| index.to_string()).collect();
    let bytes = frame(&arguments);
    let mut parser = RequestParser::new();
    let mut end = 0;
    loop {
        end = (end + 7).min(bytes.len());
        match parser.parse(&bytes[..end], &Limits::default(), true).unwrap() {
            // Only the line or argument at the end of the buffer is left for later.
            Parsed::Incomplete => assert!(end - parser.position < 16),
            other => break assert_eq!(other, Parsed::Request(bytes.len())),
        }
    }
    let request = parser.request(&bytes);
    assert!(request.args().eq(arguments.iter().map(String::as_bytes)));
}
