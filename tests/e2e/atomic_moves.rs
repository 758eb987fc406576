//! Slots that move all at once, as clusters of Valkey 9 move them (`CLUSTER MIGRATESLOTS`): no key is ever in two places,
//! the former owner redirects from one moment to the next, and no client notices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::blocking::wait_until_blocked;
use crate::harness::{
    Client, Cluster, Gateway, Make, Reply, key_slot, request_line, tag_in_slot, wait_for,
};
use crate::load::{Stop, owners, while_running};

/// The slots that move, from the first node of two to the other and back.
const FIRST: u16 = 100;
const LAST: u16 = 163;
const SESSIONS: usize = 8;
const DEPTH: usize = 50;
/// There and back, so many times.
const ROUNDS: usize = 4;

/// A cluster whose slots can move so; none, said why, of other servers.
fn cluster() -> Option<Cluster> {
    let make = Make::of_servers();
    let can = make.name == "valkey" && !make.version.starts_with('8');
    if !can {
        println!("{} {} moves slots key by key: not tried", make.name, make.version);
    }
    can.then(Cluster::small)
}

/// A key in one of the slots that move.
fn moving(number: usize) -> String {
    let slot = FIRST + u16::try_from(number).unwrap() % (LAST - FIRST + 1);
    format!("{{{}}}{number}", tag_in_slot(slot))
}

/// What the node says of moves, one text for each.
fn moves(source: &mut Client) -> Vec<String> {
    let moves = source.call("CLUSTER GETSLOTMIGRATIONS").items();
    moves.iter().map(|one| String::from_utf8_lossy(one.bytes()).into_owned()).collect()
}

/// Moves the slots; a busy machine may let a move fail, and then nothing has moved.
fn move_all(cluster: &Cluster, target: usize) {
    let source = 1 - target;
    let mut client = cluster.node(source).client();
    let order =
        format!("CLUSTER MIGRATESLOTS SLOTSRANGE {FIRST} {LAST} NODE {}", cluster.id(target));
    wait_for("slots that have moved", || {
        let before = moves(&mut client).len();
        let reply = client.call(&order);
        assert_eq!(reply.text(), "OK", "{order}");
        wait_for("the end of a move", || {
            let moves = moves(&mut client);
            let ended = |one: &String| {
                ["success", "failed", "cancelled"].iter().any(|state| one.contains(state))
            };
            moves.len() > before && moves.iter().all(ended)
        });
        cluster.owner(FIRST) == target
    });
    assert_eq!(cluster.owner(LAST), target);
    cluster.wait_until_whole();
}

fn there_and_back(cluster: &Cluster) {
    for target in [1, 0] {
        move_all(cluster, target);
    }
}

/// Sessions that pipeline writes and reads, each of whose replies is known beforehand: of keys that move, of keys that
/// stay, and of both in one request.
#[test]
fn no_reply_is_wrong_while_slots_move_at_once() {
    let Some(cluster) = cluster() else { return };
    let gateway = Gateway::before(&cluster).workers(2).start();
    let keys = |session: usize| {
        let moving = (0..6).map(|number| moving(session * 7 + number * 11));
        moving.chain((0..2).map(|number| format!("stays:{session}:{number}"))).collect()
    };
    while_running(owners(&gateway, SESSIONS, keys), DEPTH, |running| {
        for _ in 0..ROUNDS {
            there_and_back(&cluster);
            assert!(!running.is_broken(), "a session has ended");
        }
    });
    assert!(gateway.metric("slotway_redirects_total{kind=\"moved\"}") > 0.0, "nothing moved");
}

#[test]
fn who_waits_goes_along() {
    let Some(cluster) = cluster() else { return };
    let gateway = Gateway::before(&cluster).workers(2).start();
    let mut other = gateway.client();
    let tag = format!("{{{}}}", tag_in_slot(FIRST));
    let lines = [
        format!("BLPOP {tag}a 60"),
        format!("BLPOP {tag}b elsewhere 60"),
        format!("BRPOP {tag}c {tag}d 60"),
        format!("XREAD BLOCK 60000 STREAMS {tag}s $"),
    ];
    for round in 0..2 {
        let mut waiters: Vec<Client> = lines
            .iter()
            .zip([2, 3, 2, 3])
            .map(|(line, protocol)| {
                let mut client = gateway.client_of(protocol);
                client.send(&request_line(line));
                client
            })
            .collect();
        wait_until_blocked(&mut other, lines.len());
        move_all(&cluster, 1 - round);
        let id = format!("{}-1", round + 1);
        assert_eq!(other.call(&format!("XADD {tag}s {id} f v")).text(), id);
        for key in ["a", "b", "d"] {
            assert_eq!(other.call(&format!("RPUSH {tag}{key} x")).integer(), 1);
        }
        for (waiter, key) in waiters.iter_mut().zip(["a", "b", "d", "s"]) {
            let reply = waiter.reply();
            assert!(reply.to_string().contains(&format!("{tag}{key}")), "{reply}");
        }
    }
    wait_until_blocked(&mut other, 0);
}

#[test]
fn transactions_run_once_and_whole() {
    let Some(cluster) = cluster() else { return };
    let gateway = Gateway::before(&cluster).workers(2).start();
    let tag = format!("{{{}}}", tag_in_slot(LAST));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stopped_in_any_case = Stop(&stop);
        let counters: Vec<_> = [2, 3]
            .into_iter()
            .map(|protocol| {
                let (gateway, tag, stop) = (&gateway, &tag, &stop);
                let mut client = gateway.client_of(protocol);
                scope.spawn(move || {
                    let lines = [
                        "MULTI".to_owned(),
                        format!("INCR {tag}one"),
                        format!("INCR {tag}two"),
                        "EXEC".to_owned(),
                    ];
                    let mut done = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let sums = client.pipeline(&lines).pop().unwrap();
                        let sums: Vec<i64> = sums.items().iter().map(Reply::integer).collect();
                        assert!(sums.len() == 2 && sums[0] == sums[1], "{sums:?}");
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        there_and_back(&cluster);
        drop(stopped_in_any_case);
        let done: i64 = counters.into_iter().map(|counter| counter.join().unwrap()).sum();
        let sum = gateway.client().call(&format!("GET {tag}one")).text();
        assert_eq!(sum, done.to_string(), "each ran once");
    });

    // What was watched before the move may have changed, or not: it is never run half, nor an error.
    let mut client = gateway.client();
    client.call(&format!("SET {tag}watched 1"));
    assert_eq!(client.call(&format!("WATCH {tag}watched")).text(), "OK");
    move_all(&cluster, 1);
    let lines = ["MULTI".to_owned(), format!("INCR {tag}watched"), "EXEC".to_owned()];
    let ran = client.pipeline(&lines).pop().unwrap();
    assert!(!ran.is_error(), "{ran}");
    let expected = if ran.is_nil() { "1" } else { "2" };
    assert_eq!(client.call(&format!("GET {tag}watched")).text(), expected);
}

#[test]
fn subscriptions_of_slots_go_along() {
    let Some(cluster) = cluster() else { return };
    let gateway = Gateway::before(&cluster).workers(2).start();
    let channel = format!("{{{}}}news", tag_in_slot(FIRST));
    assert_eq!(key_slot(channel.as_bytes()), FIRST);
    let mut listener = gateway.client();
    assert_eq!(listener.call(&format!("SSUBSCRIBE {channel}")).items()[0].text(), "ssubscribe");
    let mut publisher = gateway.client();
    let stop = AtomicBool::new(false);
    let published = thread::scope(|scope| {
        let stopped_in_any_case = Stop(&stop);
        let publishing = scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let reply = publisher.call(&format!("SPUBLISH {channel} {number}"));
                assert!(!reply.is_error(), "{reply}");
            }
            number
        });
        there_and_back(&cluster);
        drop(stopped_in_any_case);
        publishing.join().unwrap()
    });
    publisher.call(&format!("SPUBLISH {channel} last"));
    let mut heard: Vec<i64> = Vec::new();
    loop {
        let message = listener.reply().items();
        assert_eq!(
            (message[0].text(), message[1].text()),
            ("smessage".to_owned(), channel.clone())
        );
        match message[2].text().parse() {
            Ok(number) => heard.push(number),
            Err(_) => break,
        }
    }
    assert!(heard.is_sorted_by(|one, next| one < next), "in order, each once: {heard:?}");
    println!("{published} published, {} heard", heard.len());
}
