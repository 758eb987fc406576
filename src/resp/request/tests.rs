use proptest::prelude::*;

use super::*;

/// What a client sees of a stream of requests.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Request { frame: Vec<u8>, arguments: Vec<Vec<u8>> },
    Refused(ParseError),
}

fn event(request: Request<'_>) -> Event {
    let arguments = request.args().map(<[u8]>::to_vec).collect();
    Event::Request { frame: request.frame().to_vec(), arguments }
}

/// A session as the parser sees it: a buffer that grows by pieces and is cut by whole requests.
#[derive(Default)]
struct Client {
    parser: RequestParser,
    buffer: Vec<u8>,
    /// The same bytes, except that what the parser has understood is overwritten: were it looked at
    /// again when more arrives, which would make a long frame in small pieces quadratic, the outcome
    /// would differ.
    spoiled: Vec<u8>,
    events: Vec<Event>,
}

impl Client {
    fn receive(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        self.spoiled.extend_from_slice(piece);
        while !self.buffer.is_empty() && !self.refused() {
            match self.parser.parse(&self.spoiled, &Limits::default(), true) {
                Ok(Parsed::Incomplete) => return self.spoil(),
                Ok(Parsed::Skip(length)) => self.cut(length),
                Ok(Parsed::Request(length)) => {
                    self.events.push(event(self.parser.request(&self.buffer)));
                    self.cut(length);
                }
                Err(error) => self.events.push(Event::Refused(error)),
            }
        }
    }

    fn refused(&self) -> bool {
        matches!(self.events.last(), Some(Event::Refused(_)))
    }

    fn cut(&mut self, length: usize) {
        self.buffer.drain(..length);
        self.spoiled.drain(..length);
    }

    /// The name is left, for it is looked at once more when the request is complete.
    fn spoil(&mut self) {
        let name = self.parser.spans.first().map(|&(start, end)| start as usize..end as usize);
        for index in 0..self.parser.position {
            if !name.as_ref().is_some_and(|name| name.contains(&index)) {
                self.spoiled[index] = b'!';
            }
        }
    }
}

fn events(pieces: &[&[u8]]) -> Vec<Event> {
    let mut client = Client::default();
    pieces.iter().for_each(|piece| client.receive(piece));
    client.events
}

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
    use ParseError::{BulkLength, ExpectedBulk, Hangup, MultibulkLength, UnbalancedQuotes};
    let table: [(&[u8], Result<Parsed, ParseError>); 35] = [
        (b"*a\r\n", Err(MultibulkLength)),
        (b"*\r\n", Err(MultibulkLength)),
        (b"*+1\r\n", Err(MultibulkLength)),
        (b"*01\r\n", Err(MultibulkLength)),
        (b"*-0\r\n", Err(MultibulkLength)),
        (b"* 3\r\n", Err(MultibulkLength)),
        (b"*3 \r\n", Err(MultibulkLength)),
        (b"*1\rx", Err(MultibulkLength)),
        (b"*1048577\r\n", Err(MultibulkLength)),
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
        (b"*1\r\n$536870913\r\n", Err(BulkLength)),
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
    let mut line = vec![b'x'; 65_535];
    line.extend_from_slice(b"\r\n");
    assert_eq!(first(&line, true), Ok(Parsed::Request(65_537)));
}

#[test]
fn a_request_that_outgrows_its_bound_ends_the_connection() {
    let limits = Limits { request_bytes: 30, ..Limits::default() };
    let parse = |bytes: &[u8]| RequestParser::new().parse(bytes, &limits, true);
    // Four bytes of count line, five of length line, nineteen of argument, two of line end.
    assert_eq!(parse(b"*1\r\n$19\r\n"), Ok(Parsed::Incomplete));
    assert_eq!(parse(b"*1\r\n$20\r\n"), Err(ParseError::Hangup));
    assert_eq!(parse(b"*2\r\n$10\r\n0123456789\r\n$3\r\n"), Ok(Parsed::Incomplete));
    assert_eq!(parse(b"*2\r\n$10\r\n0123456789\r\n$4\r\n"), Err(ParseError::Hangup));
}

#[test]
fn bounds_hold_when_the_whole_request_is_there() {
    let whole = frame(&["ECHO", &"x".repeat(20_000)]);
    let exact = Limits { bulk_bytes: 20_000, request_bytes: whole.len(), ..Limits::default() };
    let table = [
        (exact, true, Ok(Parsed::Request(whole.len()))),
        (exact, false, Err(ParseError::UnauthenticatedBulkLength)),
        (Limits { bulk_bytes: 19_999, ..exact }, true, Err(ParseError::BulkLength)),
        (Limits { request_bytes: whole.len() - 1, ..exact }, true, Err(ParseError::Hangup)),
        (Limits { arguments: 1, ..exact }, true, Err(ParseError::MultibulkLength)),
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
    parser.shrink();
    assert_eq!(parser.spans.capacity(), 0);
    assert_eq!(parser.parse(b"PING\r\n", &Limits::default(), true), Ok(Parsed::Request(6)));
    parser.shrink();
    assert_eq!(parser.inline.capacity(), 0);

    let half = b"*2\r\n$4\r\nECHO\r\n$2\r\n";
    assert_eq!(parser.parse(half, &Limits::default(), true), Ok(Parsed::Incomplete));
    parser.shrink();
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

/// A request in one of its forms, rarely a broken one.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let argument = prop::collection::vec(any::<u8>(), 0..40);
    let line = prop::collection::vec(
        prop_oneof![6 => Just(b'a'), 1 => Just(b' '), 1 => prop::sample::select(&b"\"'\\x4\t\0\r"[..])],
        0..30,
    );
    prop_oneof![
        6 => prop::collection::vec(argument, 1..12).prop_map(|list| frame(&list)),
        3 => line.prop_map(|mut line| { line.extend_from_slice(b"\r\n"); line }),
        1 => Just(b"*0\r\n".to_vec()),
        1 => prop::sample::select(&["*-1\r\n", "\n", "*1\r\n$x\r\n", "*1\r\nx\r\n", "*1\r\n$1\r\nabc"][..])
            .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

proptest! {
    #[test]
    fn any_split_gives_the_same_requests(
        stream in prop::collection::vec(requests(), 1..8).prop_map(|list| list.concat()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        let whole = events(&[&stream]);
        prop_assert_eq!(&events(&pieces), &whole);
        let single: Vec<_> = stream.chunks(1).collect();
        prop_assert_eq!(&events(&single), &whole);
    }

    #[test]
    fn arguments_come_out_as_they_went_in(
        arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
    ) {
        prop_assume!(!arguments[0].eq_ignore_ascii_case(b"post"));
        let bytes = frame(&arguments);
        let mut parser = RequestParser::new();
        prop_assert_eq!(first(&bytes, true), Ok(Parsed::Request(bytes.len())));
        parser.parse(&bytes, &Limits::default(), true).unwrap();
        let request = parser.request(&bytes);
        prop_assert!(request.args().eq(arguments.iter().map(Vec::as_slice)));
        let mut copied = Vec::new();
        write::array(&mut copied, request.len());
        for index in 0..request.len() {
            copied.extend_from_slice(request.encoded_arg(index).unwrap());
        }
        prop_assert_eq!(copied, bytes);
    }

    #[test]
    fn an_inline_request_has_a_canonical_frame(line in "[a-z \"'\\\\x0-9]{0,60}") {
        let line = format!("{line}\n").into_bytes();
        let mut parser = RequestParser::new();
        if let Ok(Parsed::Request(length)) = parser.parse(&line, &Limits::default(), true) {
            prop_assert_eq!(length, line.len());
            let inline = event(parser.request(&line));
            let frame = parser.request(&line).frame().to_vec();
            prop_assert_eq!(events(&[&frame]), vec![inline]);
        }
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(&b"*$\r\n0123-\"'"[..])], 0..200,
    )) {
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(events(&[&bytes]), events(&single));
    }
}
