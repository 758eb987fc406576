//! Nodes that answer late, half, twice, for ever or something else: the connection is cut, and no reply crosses.

use std::thread;
use std::time::Duration;

use crate::harness::{Act, FakeCluster, Gateway, request_line, tag_in_slot};

const UNCERTAIN: &str =
    "UNCERTAIN backend connection lost after the command was sent; it may have been executed";

fn before(fake: &FakeCluster) -> Gateway {
    let builder = Gateway::before_nodes(&fake.addresses()).setting("backend.hold_time", "1s");
    builder
        .setting("backend.request_timeout", "2s")
        .setting("backend.probe_interval", "300ms")
        .start()
}

#[test]
fn a_reply_cut_short_is_uncertain_for_a_write() {
    let fake = FakeCluster::of(1);
    let gateway = before(&fake);
    let mut client = gateway.client();
    let cuts = [
        Act::SayAndReset(Vec::new()),
        Act::SayAndReset(b"+O".to_vec()),
        Act::SayAndClose(Vec::new()),
        Act::SayAndClose(b":1".to_vec()),
        Act::SayAndClose(b"$10\r\nabc".to_vec()),
        Act::SayAndReset(b"*2\r\n$1\r\na\r\n".to_vec()),
    ];
    for cut in cuts {
        for write in ["INCR n", "SET k v", "DEL k", "LPUSH l v", "GETDEL k"] {
            let (name, before) = (write.split(' ').next().unwrap(), fake.seen(0, write));
            fake.once(0, name, vec![cut.clone()]);
            assert_eq!(client.call(write).text(), UNCERTAIN, "{write}: {cut:?}");
            assert_eq!(fake.seen(0, write) - before, 1, "{write} was sent again");
            assert_eq!(client.call("GET after").text(), "after", "the client's connection stays");
        }
    }
}

#[test]
fn a_reply_cut_short_is_asked_for_again_by_a_read() {
    let fake = FakeCluster::of(1);
    let gateway = before(&fake);
    let mut client = gateway.client();
    for cut in [
        Act::SayAndReset(Vec::new()),
        Act::SayAndReset(b"$3\r\nwr".to_vec()),
        Act::SayAndClose(b"$".to_vec()),
    ] {
        let before = fake.seen(0, "GET right");
        fake.once(0, "GET", vec![cut]);
        assert_eq!(client.call("GET right").text(), "right");
        assert_eq!(fake.seen(0, "GET right") - before, 2);
    }
}

/// Once a part of a large value has left, nothing can mend it: the client must not take what follows for its rest.
#[test]
fn a_large_reply_cut_short_ends_its_client() {
    let fake = FakeCluster::of(1);
    let gateway = before(&fake);
    let mut half = b"$4000000\r\n".to_vec();
    half.extend(vec![b'x'; 2_000_000]);
    fake.always(0, "GET large", Act::SayAndReset(half));
    let mut client = gateway.client();
    client.send(b"GET large\r\nGET next\r\n");
    let seen = client.read_to_end();
    assert!(
        seen.starts_with(b"-") || (seen.len() < 4_000_000 && !seen.ends_with(b"$4\r\nnext\r\n")),
        "{} bytes",
        seen.len()
    );
    assert_eq!(gateway.client().call("GET other").text(), "other");
}

#[test]
fn rubbish_cuts_the_connection_to_the_node() {
    let fake = FakeCluster::of(1);
    let gateway = before(&fake);
    let rubbish: [&[u8]; 8] = [
        b"?\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$abc\r\n",
        b"$-7\r\n",
        b"*-5\r\n",
        b"*9999999999999999999999\r\n",
        b"$3\r\nabcdef\r\n",
        b"\x00\x01\x02\x03\r\n",
    ];
    for bytes in rubbish {
        let mut client = gateway.client();
        let connections = fake.connections(0);
        fake.once(0, "GET right", vec![Act::Say(bytes.to_vec())]);
        let reply = client.call("GET right");
        // Asked again, as after any lost connection, or an error: never the rubbish.
        assert!(reply.text() == "right" || reply.is_error(), "{}: {reply}", bytes.escape_ascii());
        assert_eq!(client.call("GET next").text(), "next", "{}", bytes.escape_ascii());
        assert!(
            fake.connections(0) > connections,
            "{} was taken for a reply",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn an_endless_reply_neither_grows_nor_stays() {
    let endless: [(&[u8], &[u8]); 4] = [
        (b"+", b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        (b"", b"*1\r\n"),
        (b"", b"%1\r\n+a\r\n"),
        (b"$", b"11111111"),
    ];
    let fake = FakeCluster::of(1);
    let gateway = before(&fake);
    for (first, again) in endless {
        fake.once(0, "SET", vec![Act::SayForEver(first.to_vec(), again.repeat(500))]);
        // What has left cannot be taken back: then its client is closed.
        if let Ok(reply) = gateway.client().try_call("SET k v") {
            assert!(reply.is_error(), "{reply}");
        }
        assert_eq!(gateway.client().call("GET next").text(), "next");
        assert!(gateway.resident_bytes() < 200 << 20, "{} bytes", gateway.resident_bytes());
    }
}

/// A second reply that nobody asked for must not answer the next request.
#[test]
fn a_reply_too_many_answers_nobody() {
    let fake = FakeCluster::of(1);
    let gateway = before(&fake);
    for round in 0..20 {
        fake.once(0, "GET twice", vec![Act::say("$5\r\ntwice\r\n$5\r\ntwice\r\n")]);
        assert_eq!(gateway.client().call("GET twice").text(), "twice");
        assert_eq!(gateway.client().call("GET once").text(), "once", "round {round}");
    }
}

#[test]
fn a_push_is_no_reply() {
    let fake = FakeCluster::of(1);
    let gateway = before(&fake);
    fake.always(
        0,
        "GET pushed",
        Act::say(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n$6\r\npushed\r\n"),
    );
    let mut client = gateway.client_of(3);
    let lines = ["GET a", "GET pushed", "GET b", "GET pushed"];
    let texts: Vec<String> =
        client.pipeline(&lines).iter().map(crate::harness::Reply::text).collect();
    assert_eq!(texts, ["a", "pushed", "b", "pushed"]);
}

#[test]
fn a_silent_node_costs_its_own_slots_only() {
    let fake = FakeCluster::of(2);
    let gateway = before(&fake);
    let (silent, talking) = (tag_in_slot(1), tag_in_slot(16_000));
    fake.always(0, "GET", Act::Freeze);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| gateway.client().call(&format!("GET {{{silent}}}")));
        fake.wait_until_seen(0, "GET", 1);
        let mut client = gateway.client();
        for number in 0..10 {
            let key = format!("{{{talking}}}{number}");
            assert_eq!(client.call(&format!("GET {key}")).text(), key);
        }
        assert!(!waiting.is_finished(), "others wait as long");
        let reply = waiting.join().unwrap();
        assert!(reply.is_error(), "{reply}");
        let address = fake.addresses()[0].to_string();
        assert!(reply.text().contains(&address), "the error names the node: {reply}");
    });
}

#[test]
fn replies_of_a_fast_node_wait_for_those_of_a_slow_one() {
    let fake = FakeCluster::of(2);
    let gateway = before(&fake);
    let (slow, fast) = (tag_in_slot(1), tag_in_slot(16_000));
    fake.always(0, "GET", Act::SayLate(Duration::from_millis(200), b"$4\r\nslow\r\n".to_vec()));
    let lines = [
        format!("GET {{{slow}}}"),
        format!("GET {{{fast}}}"),
        format!("MGET {{{fast}}} {{{fast}}}2"),
        format!("GET {{{slow}}}"),
        "PING".to_owned(),
    ];
    let replies = gateway.client().pipeline(&lines);
    let texts: Vec<String> = replies.iter().map(crate::harness::Reply::text).collect();
    assert_eq!(texts, ["slow", &format!("{{{fast}}}"), "2", "slow", "PONG"]);
}

/// Clients come, ask and leave at any moment, nodes cut connections at any moment: every value still names its key.
#[test]
fn no_reply_reaches_another_client() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses()).workers(2).start();
    let answered: usize = thread::scope(|scope| {
        let crowd: Vec<_> = (0..6)
            .map(|number| {
                scope.spawn({
                    let (gateway, fake) = (&gateway, &fake);
                    move || {
                        (0..60)
                            .map(|round| come_and_go(gateway, fake, number, round))
                            .sum::<usize>()
                    }
                })
            })
            .collect();
        crowd.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(answered, 6 * 40 * 100);
}

/// One client's life; says how many replies it got.
fn come_and_go(gateway: &Gateway, fake: &FakeCluster, number: usize, round: usize) -> usize {
    let mut client = gateway.client_of(2 + (round % 2) as u8);
    let lines: Vec<String> =
        (0..100).map(|key| format!("GET owner:{number}:{round}:{key}")).collect();
    if round % 5 == number % 5 {
        let cut = if round.is_multiple_of(2) {
            Act::SayAndReset(b"$9\r\nown".to_vec())
        } else {
            Act::SayAndClose(Vec::new())
        };
        fake.once((round + number) % 2, "GET", vec![cut]);
    }
    if round.is_multiple_of(3) {
        // Leaves with everything in flight.
        client.send(&lines.iter().flat_map(|line| request_line(line)).collect::<Vec<u8>>());
        client.reset();
        return 0;
    }
    let replies = client.pipeline(&lines);
    for (line, reply) in lines.iter().zip(&replies) {
        assert_eq!(format!("GET {}", reply.text()), *line);
    }
    replies.len()
}

/// A node that demands a password the gateway does not have is an error with a cause, not a hang.
#[test]
fn a_node_that_wants_a_password_is_named() {
    let fake = FakeCluster::of(1);
    let gateway = before(&fake);
    fake.always(0, "GET", Act::say("-NOAUTH Authentication required.\r\n"));
    let reply = gateway.client().call("GET k");
    assert!(reply.is_error(), "{reply}");
}
