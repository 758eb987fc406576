//! Streams of requests, however they are cut.

use proptest::prelude::*;

use super::*;

/// What a client sees of a stream of requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Request { frame: Vec<u8>, arguments: Vec<Vec<u8>> },
    Refused(ParseError),
}

pub(super) fn event(request: Request<'_>) -> Event {
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

pub(super) fn events(pieces: &[&[u8]]) -> Vec<Event> {
    let mut client = Client::default();
    pieces.iter().for_each(|piece| client.receive(piece));
    client.events
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
