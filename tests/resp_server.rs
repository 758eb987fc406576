//! The parser of requests against a real server: the same bytes, the same answer.
//!
//! Each case is sent to the server as it is. What the parser makes of it, requests in their
//! canonical form and then perhaps an error, must lead to the same bytes and the same end.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use slotway::resp::{Limits, ParseError, Parsed, RequestParser};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that wants a password, stopped at the end of the test.
struct Server {
    process: Child,
    port: u16,
    /// Removed when the server has stopped.
    _folder: tempfile::TempDir,
}

/// The server under test, as in the end-to-end tests.
fn server_program() -> String {
    std::env::var("SLOTWAY_TEST_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = Command::new(server_program())
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--requirepass", "secret", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests need a server on the PATH");
        let server = Self { process, port, _folder: folder };
        let deadline = SystemTime::now() + PATIENCE;
        while !server.ready() {
            assert!(SystemTime::now() < deadline, "the server did not start");
        }
        server
    }

    fn ready(&self) -> bool {
        let Ok(mut connection) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = [0; 5];
        connection.write_all(b"AUTH secret\r\n").is_ok()
            && connection.read_exact(&mut answer).is_ok()
            && answer == *b"+OK\r\n"
    }

    fn connect(&self, authenticated: bool) -> TcpStream {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        if authenticated {
            let mut answer = [0; 5];
            connection.write_all(b"AUTH secret\r\n").unwrap();
            connection.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"+OK\r\n");
        }
        connection
    }

    /// Sends bytes and answers all that comes back. The end of what is sent is announced, unless
    /// the server is expected to end the connection by itself.
    fn answer(&self, bytes: &[u8], authenticated: bool, server_closes: bool) -> Vec<u8> {
        let mut connection = self.connect(authenticated);
        connection.write_all(bytes).unwrap();
        if !server_closes {
            connection.shutdown(Shutdown::Write).unwrap();
        }
        let mut answer = Vec::new();
        match connection.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&answer)),
        }
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the parser makes of a stream: the frames to forward, and what ends the connection.
fn parsed(mut stream: &[u8], authenticated: bool) -> (Vec<u8>, Option<ParseError>) {
    let (mut parser, mut frames) = (RequestParser::new(), Vec::new());
    loop {
        let used = match parser.parse(stream, &Limits::default(), authenticated) {
            Ok(Parsed::Incomplete) => return (frames, None),
            Ok(Parsed::Skip(length)) => length,
            Ok(Parsed::Request(length)) => {
                frames.extend_from_slice(parser.request(stream).frame());
                length
            }
            Err(error) => return (frames, Some(error)),
        };
        stream = &stream[used..];
    }
}

/// Compares the server's answer to a stream with its answer to what the parser makes of it.
fn compare(server: &Server, stream: &[u8], authenticated: bool) {
    let (frames, error) = parsed(stream, authenticated);
    let mut expected = server.answer(&frames, authenticated, false);
    if let Some(error) = error {
        error.write_to(&mut expected);
    }
    let answer = server.answer(stream, authenticated, error.is_some());
    let sent = String::from_utf8_lossy(stream.get(..200).unwrap_or(stream));
    assert_eq!(
        String::from_utf8_lossy(&answer),
        String::from_utf8_lossy(&expected),
        "sent {} bytes: {sent:?}, parsed with {error:?}",
        stream.len(),
    );
    assert_eq!(answer, expected);
}

fn long(start: &str, length: usize) -> Vec<u8> {
    let mut bytes = start.as_bytes().to_vec();
    bytes.resize(length, b'1');
    bytes
}

/// What a client sends that has logged in.
const STREAMS: &[&[u8]] = &[
    b"*a\r\n",
    b"*\r\n",
    b"*+1\r\n",
    b"*01\r\n",
    b"*-0\r\n",
    b"* 3\r\n",
    b"*3 \r\n",
    b"*2147483648\r\n",
    b"*-9223372036854775809\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n\r\n",
    b"*1\r\n\n\r\n",
    b"*1\r\n\xff\r\n",
    b"*1\r\n\x01\r\n",
    b"*1\r\nPING",
    b"*1\r\n$a\r\n",
    b"*1\r\n$\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$+4\r\n",
    b"*1\r\n$04\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$536870912\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*0\r\n*-1\r\n*-10\r\n\r\n\n  \r\nPING\r\n",
    b"PING\nPING\r\nPING\r\r\n",
    b"PING\r\n*1\r\n$4\r\nPING\r\n*a\r\n",
    b"SET k \"a\r\n",
    b"SET k \"a\"b\r\n",
    b"SET k 'a'b\r\n",
    b"ECHO 'it\\'s'\r\nECHO \"a\\x41\\n\"\r\nECHO \"\"\r\n",
    b"GET \"x\\x4\"\r\nPING \"ax\\xff\"\r\n",
    b"ECHO a\"b c\"\r\nECHO a'b c'd\r\n",
    b"\"\" a\r\n",
    b"ECHO a\x0bb\r\nECHO a\x0c\r\n\x0bPING\r\nECHO \"a\"\x0b\r\n",
    b"ECHO a\rb\r\n",
    b"POST / HTTP/1.1\r\n",
    b"post\r\n",
    b"Host: localhost\r\n",
    b"*1\r\n$4\r\nPOST\r\n",
    b"*2\r\n$5\r\nhost:\r\n$1\r\nx\r\n",
    b"*1\r\n$4\r\nHost\r\n",
];

/// What a client sends that has not.
const STRANGERS: &[&[u8]] = &[
    b"*11\r\n",
    b"*10\r\n",
    b"*2147483648\r\n",
    b"*1\r\n$16385\r\n",
    b"*1\r\n$16384\r\n",
    b"PING\r\n",
    b"ECHO x\r\n",
    b"POST / HTTP/1.1\r\n",
];

#[test]
fn the_server_says_the_same() {
    let server = Server::start();
    for stream in STREAMS {
        compare(&server, stream, true);
    }
    for stream in STRANGERS {
        compare(&server, stream, false);
    }
    let endless = ["*", "*1\r\n$", "*1\r\nP", "PING "];
    for (start, before) in endless.into_iter().zip([0, 4, 4, 0]) {
        compare(&server, &long(start, before + 65_536), true);
        compare(&server, &long(start, before + 65_537), true);
    }
}

/// Requests in all forms. Left out is what the parser refuses on purpose and the server lets pass:
/// NUL bytes in lines, and anything but a line end behind an argument or a length.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let letters = prop::sample::select(&b"abx4fn \t\r\x0b\x0c\"\"'\\\\\xff"[..]);
    let words = prop::collection::vec(letters, 0..20);
    let inline = words.prop_map(|words| [b"ECHO ", &words[..], b"\r\n"].concat());
    let length = prop_oneof![
        20 => Just(None),
        1 => "[+-]?[0-9 ]{0,3}".prop_map(Some),
        1 => prop::sample::select(&["99999999999999999999", "536870913", "-1"][..])
            .prop_map(|text| Some(text.to_owned())),
    ];
    let argument =
        (length, prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(length, bytes)| {
            let length = length.unwrap_or_else(|| bytes.len().to_string());
            [b"$", length.as_bytes(), b"\r\n", &bytes, b"\r\n"].concat()
        });
    let array = argument.prop_map(|argument| [b"*2\r\n$4\r\nECHO\r\n", &argument[..]].concat());
    let count = "[+-]?[0-9]{0,2}x?".prop_map(|count| format!("*{count}\r\n").into_bytes());
    prop_oneof![8 => inline, 4 => array, 1 => count, 1 => Just(b"\r\n".to_vec())]
}

/// Whether the stream shows one of the deliberate differences once a wrong length has shifted it.
fn deliberate(stream: &[u8]) -> bool {
    stream.contains(&0) || matches!(parsed(stream, true).1, Some(ParseError::BulkLength))
}

#[test]
fn the_server_reads_random_requests_alike() {
    let server = Server::start();
    let streams = prop::collection::vec(requests(), 1..4).prop_map(|list| list.concat());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&streams, |stream| {
        if !deliberate(&stream) {
            compare(&server, &stream, true);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
