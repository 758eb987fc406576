//! Clients that mean harm, or do it: no growth, no panic, no effect on their neighbours.

use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::harness::{Client, Cluster, Gateway, request, request_line, wait_for};

const MEBIBYTE: usize = 1 << 20;

#[test]
fn what_is_announced_costs_no_memory() {
    let gateway = Gateway::before(Cluster::shared()).start();
    assert_eq!(gateway.client().call("PING").text(), "PONG");
    let before = gateway.resident_bytes();
    let mut refused = gateway.client();
    refused.send(b"*1000000000\r\n");
    assert_eq!(refused.read_to_end(), b"-ERR Protocol error: invalid multibulk length\r\n");
    let announcements: [&[u8]; 4] = [
        b"*1048576\r\n$4\r\nMGET\r\n",
        b"*2\r\n$536870912\r\nabc",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc",
        b"*1048576\r\n$4\r\nMSET\r\n$536870912\r\nabc",
    ];
    let mut waiting: Vec<Client> = (0..400).map(|_| gateway.client()).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.send(announcements[number % announcements.len()]);
    }
    // Each is read by the time that a later client is answered on the same worker.
    assert_eq!(gateway.client().call("GET none").kind(), b'$');
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MEBIBYTE, "{grown} bytes for {} announcements", waiting.len());
}

#[test]
fn a_request_beyond_its_limit_is_cut_off() {
    let builder = Gateway::before(Cluster::shared()).setting("limits.request_bytes", "8MiB");
    let gateway = builder.setting("limits.bulk_bytes", "1MiB").start();
    let before = gateway.resident_bytes();
    for _ in 0..4 {
        let mut client = gateway.client();
        client.send(b"*1000001\r\n$4\r\nMSET\r\n");
        let pair = request(&[b"key" as &[u8], &[b'v'; 10_000]]);
        let mut sent = 0;
        // Without the array's own head: only the arguments repeat.
        while client.try_send(&pair[4..]).is_ok() {
            sent += pair.len() - 4;
            assert!(sent < 64 * MEBIBYTE, "still reading after {sent} bytes");
        }
        assert_eq!(client.read_to_end(), b"", "closed without a reply");
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MEBIBYTE, "{grown} bytes");
}

#[test]
fn a_client_that_leaves_before_its_big_reply_leaves_nothing_behind() {
    // A busy machine takes its time for gigabytes.
    let gateway =
        Gateway::before(Cluster::shared()).setting("backend.request_timeout", "10m").start();
    let mut owner = gateway.client();
    let value = vec![b'x'; 8 * MEBIBYTE];
    assert_eq!(owner.call_args(&[b"SET", b"left:big" as &[u8], &value]).text(), "OK");
    let leave = |rounds: usize| {
        for round in 0..rounds {
            let mut client = gateway.client();
            client.send(&request_line("GET left:big").repeat(4));
            if round % 2 == 0 {
                client.reset();
            }
        }
        assert_eq!(gateway.client().call("GET left:big").payload().len(), value.len());
    };
    leave(20);
    let before = gateway.resident_bytes();
    leave(60);
    let grown = gateway.resident_bytes().saturating_sub(before);
    // One reply for each client that left would be 480 MiB; what the allocator keeps is less.
    assert!(grown < 160 * MEBIBYTE, "{grown} bytes more after three times as many");
    assert_eq!(owner.call("DEL left:big").integer(), 1);
}

#[test]
fn a_client_that_does_not_read_is_bounded_and_alone() {
    let gateway =
        Gateway::before(Cluster::shared()).setting("limits.inflight_bytes", "4MiB").start();
    let mut owner = gateway.client();
    assert_eq!(owner.call_args(&[b"SET", b"unread" as &[u8], &vec![b'x'; MEBIBYTE]]).text(), "OK");
    let mut sluggard = gateway.client();
    let asked = 400;
    sluggard.send(&request_line("GET unread").repeat(asked));
    let mut most = 0;
    for number in 0..2_000 {
        assert_eq!(owner.call(&format!("SET neighbour {number}")).text(), "OK");
        most = most.max(gateway.resident_bytes());
    }
    assert!(most < 128 * MEBIBYTE, "{most} bytes for one client that does not read");
    assert!(gateway.limited("in_flight") >= 1.0);
    // It was not cut off: reading, it gets everything.
    for _ in 0..asked {
        assert_eq!(sluggard.reply().payload().len(), MEBIBYTE);
    }
    owner.call("DEL unread");
}

#[test]
fn a_client_that_pipelines_without_end_does_not_starve_its_neighbours() {
    let gateway = Gateway::before(Cluster::shared()).workers(1).start();
    let mut greedy = gateway.client();
    let count = 300_000;
    let bytes = request_line("GET greedy").repeat(count);
    let served = thread::scope(|scope| {
        let flood = scope.spawn(|| greedy.exchange(&bytes, count).len());
        let mut neighbour = gateway.client();
        let mut served = 0;
        while !flood.is_finished() {
            assert_eq!(neighbour.call("SET neighbour x").text(), "OK");
            served += 1;
        }
        assert_eq!(flood.join().unwrap(), count);
        served
    });
    assert!(served > 10, "a neighbour was served {served} times meanwhile");
}

#[test]
fn one_client_too_many_is_told_so() {
    let gateway =
        Gateway::before(Cluster::shared()).workers(2).setting("limits.max_clients", 5).start();
    let mut clients: Vec<Client> = (0..5).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call("PING").text(), "PONG");
    }
    assert_eq!(gateway.client().read_to_end(), b"-ERR max number of clients reached\r\n");
    assert!(gateway.rejected("max_clients") >= 1.0);
    drop(clients.pop());
    wait_for("a free place", || gateway.serves());
    assert_eq!(clients[0].call("PING").text(), "PONG");
}

#[test]
fn silent_clients_and_strangers_are_sent_away() {
    let builder = Gateway::before(Cluster::shared()).setting("limits.idle_timeout", "1s");
    let gateway =
        builder.setting("limits.auth_timeout", "1s").setting("auth.password", "secret").start();
    let glance = || gateway.client().patience(Duration::from_millis(10));
    let (mut active, mut idle, mut stranger, mut chatty) =
        (gateway.client(), glance(), glance(), gateway.client());
    assert_eq!(active.call("AUTH secret").text(), "OK");
    idle.send(&request_line("AUTH secret"));
    let (mut is_idle_gone, mut is_stranger_gone, mut is_chatty_gone) = (false, false, false);
    wait_for("three ends", || {
        assert_eq!(active.call("PING").text(), "PONG", "an active client stays");
        is_idle_gone |= idle.is_closed();
        is_stranger_gone |= stranger.is_closed();
        // Talking is not logging in.
        is_chatty_gone |= chatty.try_call("PING").is_err();
        is_idle_gone && is_stranger_gone && is_chatty_gone
    });
    let strangers = gateway.rejected("auth_timeout");
    assert!(strangers >= 2.0 && strangers + gateway.rejected("idle") >= 3.0);
}

#[test]
fn running_out_of_descriptors_ends_nothing() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut first = gateway.client();
    assert_eq!(first.call("SET few 1").text(), "OK");
    assert!(
        Command::new("prlimit")
            .args(["--pid", &gateway.id().to_string(), "--nofile=64:64"])
            .status()
            .unwrap()
            .success()
    );
    let crowd: Vec<Client> =
        (0..200).filter_map(|_| Client::try_connect(gateway.address()).ok()).collect();
    for _ in 0..100 {
        assert_eq!(first.call("GET few").text(), "1");
    }
    drop(crowd);
    wait_for("new clients that are served", || gateway.serves());
    assert!(gateway.metric("slotway_accept_pauses_total") >= 1.0);
}

#[test]
fn sequences_that_ended_other_gateways_end_nothing() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut neighbour = gateway.client();
    let sequences: [&[&str]; 9] = [
        &["MULTI", "SET sequence 1", "EXEC", "GET sequence"],
        &["MULTI", "FOO", "EXEC", "DISCARD"],
        &["BLPOP a b 0.01", "MGET a b"],
        &["CLIENT", "OBJECT", "XINFO", "CONFIG", "COMMAND GETKEYS", "MEMORY USAGE"],
        &["MSET a", "MSET a 1 b", "MGET {a}1 {b}1", "MGET"],
        &["SUBSCRIBE a", "PING", "GET a", "UNSUBSCRIBE a"],
        &[
            "EVAL return 0",
            "EVAL return 1 x",
            "EVALSHA a 99999999999 k",
            "XREAD STREAMS",
            "XREAD COUNT",
            "XREADGROUP GROUP g c STREAMS",
        ],
        &[
            "ZUNION 3 a",
            "ZUNION -1 a",
            "ZUNION x a",
            "SINTERCARD 0",
            "LMPOP 9999999999 a LEFT",
            "GEORADIUS k 1 1 1 m STORE",
        ],
        &[
            "SORT k BY",
            "SORT k STORE",
            "MIGRATE h 1 k 0 1 KEYS",
            "BITOP NOT",
            "OBJECT ENCODING",
            "PFDEBUG x",
        ],
    ];
    for sequence in sequences {
        let mut client = gateway.client();
        let bytes: Vec<u8> = sequence.iter().flat_map(|line| request_line(line)).collect();
        client.send(&bytes);
        client.send(&request_line("QUIT"));
        let said = client.read_to_end();
        assert!(!said.is_empty(), "{sequence:?}");
        gateway.client().send(&bytes);
        assert_eq!(neighbour.call("PING").text(), "PONG", "{sequence:?}");
    }
}

#[test]
fn noise_ends_nothing() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut neighbour = gateway.client();
    let words: [&[u8]; 18] = [
        b"*",
        b"$",
        b"\r\n",
        b"3",
        b"-1",
        b"GET",
        b"SET",
        b"\"",
        b"'",
        b"\\x",
        b" ",
        b"\0",
        b"\xff",
        b"k",
        b"PING",
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b"\n",
        b"MGET",
    ];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..1_500 {
        let mut noise = Vec::new();
        for _ in 0..(round % 60) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            noise.extend(words[usize::try_from(random >> 40).unwrap() % words.len()]);
        }
        let mut client = gateway.client();
        // The gateway may have closed already.
        let _ = client.try_send(&noise);
        drop(client);
        assert_eq!(neighbour.call("PING").text(), "PONG", "after {}", noise.escape_ascii());
    }
}
