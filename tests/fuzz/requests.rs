//! Requests: whole and damaged, at once and in pieces.

use slotway::resp::{Limits, ParseError, Parsed, RequestParser, write};

use crate::random::Random;

#[derive(Debug, PartialEq)]
enum Event {
    Request { length: usize, arguments: Vec<Vec<u8>> },
    Skip(usize),
    Refused(ParseError),
}

fn limits(random: &mut Random) -> Limits {
    if random.once_in(2) {
        return Limits::default();
    }
    let (arguments, bulk_bytes) = (1 + random.below(20), random.below(100));
    Limits {
        arguments,
        bulk_bytes,
        line_bytes: 5 + random.below(60),
        request_bytes: random.below(300),
    }
}

/// What a session does with bytes that arrive up to one cut after the other.
fn events(bytes: &[u8], cuts: &[usize], limits: &Limits, authenticated: bool) -> Vec<Event> {
    let (mut parser, mut events, mut start) = (RequestParser::new(), Vec::new(), 0);
    for cut in cuts {
        while start < *cut {
            let buffer = &bytes[start..*cut];
            let length = match parser.parse(buffer, limits, authenticated) {
                Ok(Parsed::Incomplete) => break,
                Ok(Parsed::Skip(length)) => {
                    events.push(Event::Skip(length));
                    length
                }
                Ok(Parsed::Request(length)) => {
                    let request = parser.request(buffer);
                    let arguments: Vec<_> = request.args().map(<[u8]>::to_vec).collect();
                    assert_canonical(request.frame(), &arguments);
                    events.push(Event::Request { length, arguments });
                    length
                }
                Err(error) => {
                    events.push(Event::Refused(error));
                    return events;
                }
            };
            assert!(length > 0 && length <= buffer.len());
            start += length;
        }
    }
    events
}

/// A frame is forwarded as it is, so it must be exactly what would be written for its arguments.
fn assert_canonical(frame: &[u8], arguments: &[Vec<u8>]) {
    let mut expected = Vec::new();
    write::command(&mut expected, arguments);
    assert_eq!(frame, expected);
}

fn arguments(random: &mut Random) -> Vec<Vec<u8>> {
    let most = if random.once_in(30) { 300 } else { 5 };
    let mut list = vec![random.pick(&["GET", "set", "POST", "x", ""]).as_bytes().to_vec()];
    list.extend((0..random.below(most)).map(|_| random.bytes(20_000)));
    list
}

/// A stream of requests in every form.
fn stream(random: &mut Random) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..random.below(5) {
        match random.below(6) {
            0 => stream.extend_from_slice(&random.bytes(200)),
            1 => stream.extend_from_slice(random.pick(&[
                &b"PING\r\n"[..],
                b"\r\n",
                b"*0\r\n",
                b"*-1\r\n",
                b"ECHO \"a\\x41\" 'b'\n",
                b"*1000000000\r\n",
                b"*1000000\r\n",
            ])),
            _ => write::command(&mut stream, &arguments(random)),
        }
    }
    stream
}

/// However the bytes are cut, the outcome is the same.
pub(crate) fn in_pieces(random: &mut Random) {
    let mut bytes = stream(random);
    if random.once_in(2) {
        random.damage(&mut bytes);
    }
    let (limits, authenticated) = (limits(random), random.once_in(2));
    let whole = events(&bytes, &[bytes.len()], &limits, authenticated);
    let cuts = random.cuts(bytes.len());
    assert_eq!(events(&bytes, &cuts, &limits, authenticated), whole);
}

/// What is well formed arrives as it was sent.
pub(crate) fn as_sent(random: &mut Random) {
    let mut requests: Vec<_> = (0..random.below(6)).map(|_| arguments(random)).collect();
    requests.retain(|list| list[0] != b"POST");
    let mut bytes = Vec::new();
    let expected: Vec<_> = requests
        .into_iter()
        .map(|arguments| {
            let start = bytes.len();
            write::command(&mut bytes, &arguments);
            Event::Request { length: bytes.len() - start, arguments }
        })
        .collect();
    let cuts = random.cuts(bytes.len());
    assert_eq!(events(&bytes, &cuts, &Limits::default(), true), expected);
}
