//! Bytes that are not quite requests, and requests in unusual pieces: answered, and closed, as a server does it.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;

use crate::harness::{Client, Cluster, Gateway, Server, request, request_line};

/// What becomes of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Closed,
    Open,
}

use Then::{Closed, Open};

/// Protocol errors, and what looks like one and is none.
const INPUTS: &[(&[u8], Then)] = &[
    (b"*a\r\n", Closed),
    (b"*\r\n", Closed),
    (b"*+1\r\n", Closed),
    (b"*01\r\n", Closed),
    (b"* 1\r\n", Closed),
    (b"*1 \r\n", Closed),
    (b"*2147483648\r\n", Closed),
    (b"*9223372036854775808\r\n", Closed),
    (b"*1\r\nPING\r\n", Closed),
    (b"*1\r\n\r\n", Closed),
    (b"*2\r\n$4\r\nECHO\r\n:1\r\n", Closed),
    (b"*1\r\n*1\r\n", Closed),
    (b"*1\r\n$a\r\n", Closed),
    (b"*1\r\n$\r\n", Closed),
    (b"*1\r\n$-1\r\n", Closed),
    (b"*1\r\n$+4\r\n", Closed),
    (b"*1\r\n$04\r\n", Closed),
    (b"*1\r\n$536870913\r\n", Closed),
    (b"*1\r\n$9999999999999999999999\r\n", Closed),
    (b"GET \"a\r\n", Closed),
    (b"GET \"a\"b\r\n", Closed),
    (b"GET 'a\r\n", Closed),
    (b"GET 'a'b\r\n", Closed),
    (b"GET \"a\\\"\r\n", Closed),
    (b"POST / HTTP/1.1\r\n", Closed),
    (b"Host: example\r\n", Closed),
    (b"host:\r\n", Closed),
    (b"*1\r\n$4\r\nPOST\r\n", Closed),
    (b"PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n$x\r\n", Closed),
    (b"QUIT\r\n", Closed),
    (b"*1\r\n$4\r\nquit\r\n", Closed),
    (b"*0\r\n", Open),
    (b"*-1\r\n", Open),
    (b"*-10\r\n", Open),
    (b"\r\n", Open),
    (b"\n", Open),
    (b"\r\n\r\n\n*0\r\n\r\n", Open),
    (b"PING\r\n", Open),
    (b"PING\n", Open),
    (b"  PING   hello  \r\n", Open),
    (b"PING\tx\r\n", Open),
    (b"ECHO \"a\\x41\\n\\r\\t\\b\\a\\\\\\q\"\r\n", Open),
    (b"ECHO 'it\\'s \\n'\r\n", Open),
    (b"ECHO \"\"\r\n", Open),
    (b"ECHO ''\r\n", Open),
    (b"ECHO a\"b\"\r\n", Open),
    (b"GET \"x\\x4\"\r\n", Open),
    (b"PING \"ax\\xff\"\r\n", Open),
    (b"PING \"\\xzz\"\r\n", Open),
    (b"SET protocol:inline one\r\nGET protocol:inline\r\n", Open),
    (b"PING\r\n*1\r\n$4\r\nPING\r\nPING\r\n", Open),
    (b"*1\r\n$0\r\n\r\n", Open),
    (b"*2\r\n$4\r\necho\r\n$0\r\n\r\n", Open),
    (b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n", Open),
    (b"*2\r\n$4\r\nECHO\r\n$3\r\n\x00\xff\x7f\r\n", Open),
    (b"*3\r\n$3\r\nSET\r\n$10\r\nprotocol:x\r\n$1\r\n1\r\n*2\r\n$3\r\nGET\r\n$10\r\nprotocol:x\r\n", Open),
];

/// The same before the client has given its password.
const STRANGERS_INPUTS: &[(&[u8], Then)] = &[
    (b"*11\r\n", Closed),
    (b"*2\r\n$4\r\nPING\r\n$16385\r\n", Closed),
    (b"*a\r\n", Closed),
    (b"PING\r\n", Open),
    (b"GET a\r\n", Open),
    (b"GET\r\n", Open),
    (b"FOO a\r\n", Open),
    (b"*10\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n", Open),
    (b"HELLO\r\n", Open),
    (b"HELLO 3\r\n", Open),
    (b"HELLO 3 SETNAME a\r\n", Open),
    (b"HELLO 9\r\n", Open),
    (b"HELLO 3 AUTH default wrong\r\n", Open),
    (b"HELLO 3 AUTH nobody secret\r\n", Open),
    (b"AUTH wrong\r\n", Open),
    (b"AUTH nobody secret\r\n", Open),
    (b"AUTH default wrong\r\n", Open),
    (b"AUTH secret\r\nPING\r\n", Open),
    (b"AUTH default secret\r\nPING\r\n", Open),
    (b"AUTH secret\r\nRESET\r\nPING\r\n", Open),
    (b"AUTH secret\r\nAUTH wrong\r\nPING\r\n", Open),
    (b"SELECT 0\r\n", Open),
    (b"CLIENT SETNAME a\r\n", Open),
    (b"RESET\r\n", Open),
    (b"QUIT\r\n", Closed),
];

#[test]
fn odd_input_is_answered_and_closed_as_by_a_server() {
    let (server, gateway) = (Server::standalone(), Gateway::before(Cluster::shared()).start());
    let mut neighbour = gateway.client();
    for (input, then) in INPUTS {
        compare(input, *then, server.address(), gateway.address());
        assert_eq!(neighbour.call("PING").text(), "PONG");
    }
}

#[test]
fn overlong_input_is_answered_and_closed_as_by_a_server() {
    let (server, gateway) = (Server::standalone(), Gateway::before(Cluster::shared()).start());
    for (before, start) in
        [("", "*"), ("*1\r\n", "$"), ("", "PING "), ("*2\r\n$4\r\nECHO\r\n", "$")]
    {
        // Not one byte more than the server looks at: what it leaves unread would turn its close into a reset.
        let input = format!("{before}{start}{}", "1".repeat((64 << 10) + 1 - start.len()));
        compare(input.as_bytes(), Closed, server.address(), gateway.address());
    }
    let longest = format!("PING {}\r\n", "x".repeat((64 << 10) - 5));
    compare(longest.as_bytes(), Open, server.address(), gateway.address());
}

#[test]
fn a_stranger_is_answered_as_by_a_server() {
    let server = Server::with_options(&[("--requirepass", "secret")]);
    let gateway = Gateway::before(Cluster::shared()).setting("auth.password", "secret").start();
    let mute = says_nothing_to_a_wrong_password(&server);
    for (input, then) in STRANGERS_INPUTS {
        if mute && input.starts_with(b"AUTH secret\r\nAUTH wrong") {
            continue;
        }
        compare(input, *then, server.address(), gateway.address());
    }
}

/// A fault of Valkey 8.0 and Redis 8.2: a wrong password behind a right one, in one packet, gets no reply at all.
fn says_nothing_to_a_wrong_password(server: &Server) -> bool {
    let mut client = server.client();
    client.send(b"AUTH secret\r\nAUTH wrong\r\nPING\r\n");
    assert_eq!(client.reply().text(), "OK");
    client.reply().text() == "PONG"
}

/// A server skips two bytes after an argument without looking; the gateway insists, so that nobody can make it and a
/// node disagree on where a request ends.
#[test]
fn an_argument_without_its_line_end_is_refused() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let found =
        answer(gateway.address(), b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n", Closed, usize::MAX);
    assert_eq!(found.escape_ascii().to_string(), r"-ERR Protocol error: invalid bulk length\r\n");
}

#[test]
fn requests_may_come_in_any_pieces() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let (mut client, lines) = (gateway.client(), mixed_lines("pieces", 40));
    client.pipeline(&lines);
    let expected = client.pipeline(&lines);
    let bytes: Vec<u8> = lines.iter().flat_map(|line| request_line(line)).collect();
    for size in [1, 2, 3, 7, 16, 61, 251] {
        for piece in bytes.chunks(size) {
            client.send(piece);
        }
        let found: Vec<_> = lines.iter().map(|_| client.reply()).collect();
        assert_eq!(found, expected, "in pieces of {size}");
    }
}

/// As `printf .. | nc` does it.
#[test]
fn a_client_that_stops_sending_still_gets_its_replies() {
    let gateway = Gateway::before(Cluster::shared()).start();
    for _ in 0..20 {
        let mut client = gateway.client();
        let lines = mixed_lines("half-closed", 40);
        client.send(&lines.iter().flat_map(|line| request_line(line)).collect::<Vec<u8>>());
        client.close_writing();
        for line in &lines {
            assert!(!client.reply().is_error(), "{line}");
        }
        assert!(client.is_closed());
    }
}

#[test]
fn a_pipeline_of_thousands_is_answered_in_order() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let lines: Vec<String> = (0..30_000)
        .map(|number| match number % 4 {
            0 => format!("SET deep:{number} {number}"),
            1 => format!("GET deep:{}", number - 1),
            2 => format!("MGET deep:{} deep:{} none", number - 2, number - 6),
            _ => format!("ECHO {number}"),
        })
        .collect();
    let replies = gateway.client().pipeline(&lines);
    for (number, reply) in replies.iter().enumerate() {
        let expected = match number % 4 {
            0 => "OK".to_owned(),
            1 => (number - 1).to_string(),
            2 => {
                assert_eq!(reply.items()[0].text(), (number - 2).to_string(), "reply {number}");
                continue;
            }
            _ => number.to_string(),
        };
        assert_eq!(reply.text(), expected, "reply {number}");
    }
}

#[test]
fn values_of_every_size_come_back_whole() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut sizes = vec![0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20, 64 << 20];
    for multiple in 1..=4 {
        // The key and the frame around the value take some bytes, so that each of these ends a read somewhere else.
        sizes.extend((16 << 10) * multiple - 60..(16 << 10) * multiple + 3);
    }
    for protocol in [2, 3] {
        let mut client = gateway.client_of(protocol);
        for size in &sizes {
            let value: Vec<u8> = (0..*size).map(|at| (at % 251) as u8).collect();
            let requests = [
                request(&[b"SET", b"sized" as &[u8], &value]),
                request_line("GET sized"),
                request_line("STRLEN sized"),
                request_line("MGET sized other"),
                request_line("PING"),
            ];
            let replies = client.exchange(&requests.concat(), requests.len());
            assert_eq!(replies[0].text(), "OK", "{size}");
            assert!(
                replies[1].payload() == value,
                "{size} bytes came back as {}",
                replies[1].payload().len()
            );
            assert_eq!(replies[2].integer(), i64::from(*size));
            assert!(
                replies[3].items()[0].payload() == value,
                "{size} bytes came back in a list otherwise"
            );
            assert_eq!(replies[4].text(), "PONG", "{size}");
        }
        assert_eq!(client.call("DEL sized").integer(), 1);
    }
}

#[test]
fn an_append_only_file_may_be_piped_through() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut file = request_line("SELECT 0");
    let count = 40_000;
    for number in 1..count {
        file.extend(request_line(&format!("SET piped:{number} {}", "v".repeat(number % 300))));
    }
    let port = gateway.address().port().to_string();
    let mut pipe = Command::new("redis-cli")
        .args(["-p", &port, "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = pipe.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || input.write_all(&file).unwrap());
        let mut neighbour = gateway.client();
        while pipe.try_wait().unwrap().is_none() {
            assert_eq!(neighbour.call("PING").text(), "PONG");
        }
    });
    let output = String::from_utf8(pipe.wait_with_output().unwrap().stdout).unwrap();
    assert!(output.contains(&format!("errors: 0, replies: {count}")), "{output}");
    assert_eq!(gateway.client().call("STRLEN piped:39999").integer(), 99);
}

/// Compares what the two say, given the bytes at once and one by one. That an open connection is open
/// shows in the answer to a last QUIT, which the server gives too.
fn compare(input: &[u8], then: Then, expected_from: SocketAddr, found_from: SocketAddr) {
    let expected = answer(expected_from, input, then, usize::MAX);
    assert!(
        then == Closed || expected.ends_with(b"+OK\r\n"),
        "the server closed at {}",
        input.escape_ascii()
    );
    for piece in [usize::MAX, 1] {
        if piece == 1 && input.len() > 1_000 {
            continue;
        }
        let found = answer(found_from, input, then, piece);
        let shown = input[..input.len().min(80)].escape_ascii();
        assert_eq!(
            found.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "answer to {shown} in pieces of {piece}"
        );
    }
}

/// Everything said in answer to the bytes, and to a QUIT after them where the connection stays open.
fn answer(address: SocketAddr, input: &[u8], then: Then, piece: usize) -> Vec<u8> {
    let mut client = Client::connect(address);
    for piece in input.chunks(piece) {
        client.send(piece);
    }
    if then == Open {
        client.send(b"*1\r\n$4\r\nQUIT\r\n");
    }
    client.read_to_end()
}

fn mixed_lines(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| match number % 5 {
            0 => format!("SET {prefix}:{number} value-{number}"),
            1 => format!("GET {prefix}:{}", number - 1),
            2 => format!("MGET {prefix}:{} {prefix}:{}", number - 2, number + 3),
            3 => format!("ECHO {number}"),
            _ => "PING".to_owned(),
        })
        .collect()
}
