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

/// An argument as a person types it: plain, in single quotes, or in double ones.
fn typed(random: &mut Random, argument: &[u8]) -> Vec<u8> {
    let has = |letters: &[u8]| argument.iter().any(|byte| letters.contains(byte));
    let is_plain = !argument.is_empty() && argument.iter().all(u8::is_ascii_alphanumeric);
    match random.below(3) {
        0 if is_plain => argument.to_vec(),
        1 if !has(b"\n\\") => quoted(b'\'', argument, |byte| match byte {
            b'\'' => b"\\'".to_vec(),
            byte => vec![byte],
        }),
        _ => quoted(b'"', argument, |byte| match byte {
            b'\n' => b"\\n".to_vec(),
            b'"' | b'\\' => vec![b'\\', byte],
            byte if random.once_in(4) => format!("\\x{byte:02x}").into_bytes(),
            byte => vec![byte],
        }),
    }
}

fn quoted(quote: u8, argument: &[u8], escape: impl FnMut(u8) -> Vec<u8>) -> Vec<u8> {
    let body: Vec<u8> = argument.iter().copied().flat_map(escape).collect();
    [&[quote], body.as_slice(), &[quote]].concat()
}

/// A line that asks for this.
fn inline(random: &mut Random, arguments: &[Vec<u8>]) -> Vec<u8> {
    let blank = |random: &mut Random| random.pick(&[&b" "[..], b"\t", b"  ", b" \x0b\x0c "]);
    let mut line = if random.once_in(4) { blank(random).to_vec() } else { Vec::new() };
    for argument in arguments {
        line.extend(typed(random, argument));
        line.extend_from_slice(blank(random));
    }
    line.extend_from_slice(random.pick(&[&b"\r\n"[..], b"\n"]));
    line
}

/// A stream of requests in every form.
fn stream(random: &mut Random) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..random.below(5) {
        match random.below(7) {
            0 => stream.extend_from_slice(&random.bytes(200)),
            2 => {
                let arguments = arguments(random);
                stream.extend(inline(random, &arguments));
            }
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
    arrive(random, |_, arguments| {
        let mut frame = Vec::new();
        write::command(&mut frame, arguments);
        frame
    });
}

/// What is typed arrives as it was meant.
pub(crate) fn inline_as_sent(random: &mut Random) {
    arrive(random, inline);
}

fn arrive(random: &mut Random, sent: impl Fn(&mut Random, &[Vec<u8>]) -> Vec<u8>) {
    let mut requests: Vec<_> = (0..random.below(6)).map(|_| arguments(random)).collect();
    requests.retain(|list| list[0] != b"POST");
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for arguments in requests {
        let frame = sent(random, &arguments);
        expected.push(Event::Request { length: frame.len(), arguments });
        bytes.extend(frame);
    }
    let cuts = random.cuts(bytes.len());
    // A typed byte may take four.
    let limits = Limits { line_bytes: 1 << 24, ..Limits::default() };
    assert_eq!(events(&bytes, &cuts, &limits, true), expected);
}
