//! Redirections end inside the gateway: a client sees delays at most.

use std::time::{Duration, Instant};

use crate::harness::{
    Act, Client, Cluster, FakeCluster, Gateway, Server, key_slot, tag_in_slot, wait_for,
};
use crate::load::{owners, while_running};

#[test]
fn slots_full_of_keys_move_under_load_without_an_error() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let slots = [10_u16, 20, 12_000];
    let keys = |owner: usize| -> Vec<String> {
        let of_slot = |slot: &u16| {
            let tag = tag_in_slot(*slot);
            (0..40).map(move |number| format!("{{{tag}}}{owner}:{number}"))
        };
        slots
            .iter()
            .flat_map(of_slot)
            .chain((0..40).map(|number| format!("elsewhere:{owner}:{number}")))
            .collect()
    };
    while_running(owners(&gateway, 4, keys), 300, |running| {
        for _ in 0..6 {
            for slot in slots {
                let target = 1 - cluster.owner(slot);
                cluster.begin_migration(slot, target);
                while cluster.migrate_keys(slot, target, 3) > 0 && !running.is_broken() {}
                cluster.finish_migration(slot, target);
            }
        }
    });
}

/// A slot whose keys stand half here and half there, one request at a time so that each state is certain.
#[test]
fn a_half_moved_slot_is_one_slot() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let (slot, mut client) = (500, gateway.client());
    let target = 1 - cluster.owner(slot);
    let key = |number: usize| format!("{{{}}}{number}", tag_in_slot(slot));
    for number in 0..20 {
        assert_eq!(client.call(&format!("SET {} {number}", key(number))).text(), "OK");
    }
    cluster.begin_migration(slot, target);
    assert_eq!(cluster.migrate_keys(slot, target, 10), 10);
    let all: String = (0..20).map(|number| format!(" {}", key(number))).collect();
    for number in 0..20 {
        assert_eq!(client.call(&format!("GET {}", key(number))).text(), number.to_string());
    }
    let values = |client: &mut Client, more: &str| -> Vec<String> {
        client
            .call(&format!("MGET{all}{more}"))
            .items()
            .iter()
            .map(crate::harness::Reply::text)
            .collect()
    };
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(values(&mut client, ""), expected, "a read of both halves");
    assert_eq!(values(&mut client, " elsewhere").len(), 21, "and of another slot");
    assert_eq!(client.call(&format!("EXISTS{all}")).integer(), 20);
    assert_eq!(client.call(&format!("TOUCH{all}")).integer(), 20);
    let pairs: String =
        (0..20).map(|number| format!(" {} {}", key(number), number + 100)).collect();
    assert_eq!(
        client.call(&format!("MSET{pairs} {} new", key(20))).text(),
        "OK",
        "a write to both halves"
    );
    assert_eq!(client.call(&format!("INCR {}", key(21))).integer(), 1, "a new key");
    assert_eq!(client.call(&format!("INCR {}", key(21))).integer(), 2);
    assert_eq!(client.call(&format!("DEL {} {} {}", key(0), key(19), key(22))).integer(), 2);
    cluster.finish_migration(slot, target);
    let after: Vec<String> = (1..19).map(|number| (number + 100).to_string()).collect();
    assert_eq!(values(&mut client, "")[1..19], after);
    assert_eq!(client.call(&format!("UNLINK{all} {} {}", key(20), key(21))).integer(), 20);
}

#[test]
fn a_node_that_joined_later_is_found_by_redirection() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).setting("cluster.refresh_interval", "1h").start();
    let mut client = gateway.client();
    let slot = key_slot(b"moving");
    assert_eq!(client.call("SET moving 1").text(), "OK");
    let cluster = cluster.with_one_more(Server::node(15_000));
    cluster.migrate_slot(slot, 2);
    assert_eq!(client.call("INCR moving").integer(), 2);
    assert_eq!(client.call("GET moving").text(), "2");
}

#[test]
fn asking_is_never_parted_from_its_command() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let (here, there) = (tag_in_slot(1), fake.addresses()[1]);
    fake.always(
        0,
        &format!("GET {{{here}}}moved"),
        Act::Say(format!("-ASK 1 {there}\r\n").into_bytes()),
    );
    let mut lines = Vec::new();
    for number in 0..300 {
        lines.push(format!("GET {{{}}}{number}", tag_in_slot(16_000)));
        lines.push(format!("GET {{{here}}}moved"));
    }
    for (line, reply) in lines.iter().zip(gateway.client().pipeline(&lines)) {
        assert_eq!(format!("GET {}", reply.text()), *line);
    }
    let history = fake.history(1);
    let asked: Vec<&str> = history
        .iter()
        .zip(history.iter().skip(1))
        .filter(|(word, _)| *word == "ASKING")
        .map(|(_, next)| next.as_str())
        .collect();
    assert_eq!(asked.len(), 300);
    assert!(asked.iter().all(|next| *next == format!("GET {{{here}}}moved")), "{asked:?}");
}

#[test]
fn a_circle_of_redirections_ends_in_an_error() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    for (node, other) in [(0, 1), (1, 0)] {
        fake.always(
            node,
            "GET circle",
            Act::Say(
                format!("-MOVED {} {}\r\n", key_slot(b"circle"), fake.addresses()[other])
                    .into_bytes(),
            ),
        );
    }
    let mut client = gateway.client();
    assert_eq!(client.call("GET circle").text(), "CLUSTERDOWN Hash slot not served");
    let hops = fake.seen(0, "GET circle") + fake.seen(1, "GET circle");
    assert!((2..=6).contains(&hops), "{hops} hops");
    assert_eq!(client.call("GET other").text(), "other");
}

#[test]
fn an_empty_host_means_the_node_that_answered() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let key = format!("{{{}}}k", tag_in_slot(3));
    fake.once(
        0,
        "GET",
        vec![Act::Say(format!("-MOVED 3 :{}\r\n", fake.addresses()[1].port()).into_bytes())],
    );
    assert_eq!(gateway.client().call(&format!("GET {key}")).text(), key);
    assert_eq!(fake.seen(1, "GET"), 1);
}

#[test]
fn the_timer_finds_what_no_redirection_told() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses())
        .setting("cluster.refresh_interval", "200ms")
        .start();
    let (key, mut client) = (format!("{{{}}}k", tag_in_slot(3)), gateway.client());
    assert_eq!(client.call(&format!("GET {key}")).text(), key);
    assert_eq!(fake.seen(1, "GET"), 0);
    fake.give_all_slots(1);
    wait_for("requests at the new owner", || {
        assert_eq!(client.call(&format!("GET {key}")).text(), key);
        fake.seen(1, "GET") > 0
    });
}

/// What a node says when it cannot serve for a while; it recovers before the hold ends.
#[test]
fn passing_states_of_a_node_are_waited_for() {
    let states = [
        "-CLUSTERDOWN The cluster is down\r\n",
        "-CLUSTERDOWN Hash slot not served\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-LOADING Valkey is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        "-READONLY You can't write against a read only replica.\r\n",
    ];
    let fake = FakeCluster::of(1);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let mut client = gateway.client();
    for state in states {
        let before = fake.seen(0, "INCR");
        fake.once(0, "INCR", vec![Act::say(state), Act::say(state)]);
        let replies = client.pipeline(&["INCR n", "GET n", "INCR n"]);
        let texts: Vec<String> = replies.iter().map(crate::harness::Reply::text).collect();
        assert_eq!(texts, ["1", "n", "1"], "{state}");
        assert_eq!(fake.seen(0, "INCR") - before, 4, "{state}");
    }
}

/// Errors that say nothing about where a slot is are the client's.
#[test]
fn other_errors_of_a_node_are_passed_on() {
    let fake = FakeCluster::of(1);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let mut client = gateway.client();
    let errors = [
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
        "-MISCONF Redis is configured to save RDB snapshots\r\n",
        "-NOREPLICAS Not enough good replicas to write.\r\n",
        "-ERR anything else\r\n",
        "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        "-MOVEDX 1 127.0.0.1:1\r\n",
    ];
    for error in errors {
        fake.once(0, "SET", vec![Act::say(error)]);
        assert_eq!(client.call("SET k v").bytes(), error.as_bytes());
    }
    assert_eq!(fake.seen(0, "SET"), errors.len());
}

#[test]
fn a_state_that_lasts_is_told_after_the_hold() {
    let fake = FakeCluster::of(1);
    let gateway =
        Gateway::before_nodes(&fake.addresses()).setting("backend.hold_time", "300ms").start();
    fake.always(0, "SET", Act::say("-CLUSTERDOWN The cluster is down\r\n"));
    let mut client = gateway.client();
    let start = Instant::now();
    let reply = client.call("SET k v");
    assert!(reply.is_error(), "{reply}");
    assert!(
        start.elapsed() > Duration::from_millis(250),
        "{:?}: given up too early",
        start.elapsed()
    );
    assert_eq!(client.call("GET k").text(), "k", "the session goes on");
}

/// Redirections ask for a look at the topology, at a limited rate.
#[test]
fn a_storm_of_redirections_does_not_become_a_storm_of_questions() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses())
        .setting("cluster.refresh_min_interval", "1s")
        .start();
    let to_other = Act::Say(format!("-MOVED 1 {}\r\n", fake.addresses()[1]).into_bytes());
    fake.always(0, "GET", to_other);
    let topology = || fake.seen(0, "CLUSTER") + fake.seen(1, "CLUSTER");
    let before = topology();
    let start = Instant::now();
    let lines: Vec<String> = (0..2_000)
        .map(|number| format!("GET {{{}}}{number}", tag_in_slot(number % 8_000)))
        .collect();
    for reply in gateway.client().pipeline(&lines) {
        assert!(!reply.is_error(), "{reply}");
    }
    wait_for("a look at the topology", || topology() > before);
    // Each look may ask more than one node, and with more than one question.
    let bound = 8 * (2 + usize::try_from(start.elapsed().as_secs()).unwrap());
    assert!(topology() - before <= bound, "{} questions", topology() - before);
}
