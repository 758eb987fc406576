//! Nodes that do not answer, or not yet: what comes for them waits and runs once, and nobody is asked too often.

use std::thread;
use std::time::Instant;

use crate::harness::{
    Act, Client, Cluster, FakeCluster, Gateway, Reply, key_slot, tag_in_slot, wait_for,
};

/// The value of a metric, or what one node has of it.
fn metric(gateway: &Gateway, series: &str) -> u64 {
    let page = gateway.page("/metrics").1;
    let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
}

fn of_node(name: &str, cluster: &Cluster, node: usize) -> String {
    format!("{name}{{node=\"{}\"}}", cluster.node(node).address())
}

/// A key whose slot this node serves.
fn key_of(cluster: &Cluster, node: usize) -> String {
    let mut names = (0..).map(|number| format!("key:{number}"));
    names.find(|name| cluster.owner(key_slot(name.as_bytes())) == node).unwrap()
}

/// Sends each line from a client of its own, all at once; what each of them gets.
fn each(gateway: &Gateway, lines: Vec<String>) -> Vec<thread::JoinHandle<Reply>> {
    send(lines.iter().map(|_| gateway.client()).collect(), lines)
}

fn send(clients: Vec<Client>, lines: Vec<String>) -> Vec<thread::JoinHandle<Reply>> {
    let send = |(mut client, line): (Client, String)| thread::spawn(move || client.call(&line));
    clients.into_iter().zip(lines).map(send).collect()
}

fn texts(replies: Vec<thread::JoinHandle<Reply>>) -> Vec<String> {
    replies.into_iter().map(|reply| reply.join().unwrap().text()).collect()
}

#[test]
fn writes_for_a_frozen_primary_wait_for_the_new_one() {
    let cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let key = key_of(&cluster, 0);
    // One for each worker, so that each has a connection to the node.
    let mut clients = vec![gateway.client(), gateway.client()];
    for client in &mut clients {
        assert_eq!(client.call(&format!("SET {key} 0")).text(), "OK");
    }
    assert_eq!(cluster.node(0).client().call("WAIT 1 10000").integer(), 1);
    cluster.node(0).freeze();
    // These are sent, for nobody knows yet.
    let early = send(clients, vec![format!("INCR {key}"); 2]);
    let open = of_node("slotway_node_circuit_open", &cluster, 0);
    let half = of_node("slotway_node_circuit_half_open", &cluster, 0);
    wait_for("both workers to hold back", || {
        let tried = metric(&gateway, &open) + metric(&gateway, &half);
        tried > 0 && metric(&gateway, "slotway_probe_failures_total") >= 4
    });
    let late = each(&gateway, vec![format!("INCR {key}"); 40]);
    wait_for("requests that wait", || metric(&gateway, "slotway_held_requests") == 40);
    let mut counted: Vec<i64> = texts(late).iter().map(|text| text.parse().unwrap()).collect();
    counted.sort_unstable();
    assert_eq!(counted, (1..=40).collect::<Vec<i64>>(), "each ran once, on the new primary");
    for reply in texts(early) {
        assert!(reply.starts_with("UNCERTAIN "), "{reply}");
    }
    assert_eq!(metric(&gateway, "slotway_uncertain_total"), 2);
    assert_eq!(gateway.client().call(&format!("GET {key}")).text(), "40");
    cluster.node(0).thaw();
}

/// A node that runs a long command is like a frozen one, and then it answers.
#[test]
fn a_node_that_was_only_busy_answers_what_it_was_sent() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let (slow, quick) = (key_of(&cluster, 0), key_of(&cluster, 1));
    assert_eq!(gateway.client().call(&format!("SET {slow} 0")).text(), "OK");
    cluster.node(0).freeze();
    let early = each(&gateway, vec![format!("INCR {slow}")]);
    wait_for("a probe without an answer", || metric(&gateway, "slotway_probe_failures_total") > 0);
    let late = each(&gateway, vec![format!("INCR {slow}"), format!("GET {slow}")]);
    wait_for("requests that wait", || metric(&gateway, "slotway_held_requests") == 2);
    assert_eq!(gateway.client().call(&format!("INCR {quick}")).integer(), 1, "the other node");
    cluster.node(0).thaw();
    assert_eq!(texts(early), ["1"]);
    let late = texts(late);
    assert_eq!(late[0], "2");
    assert!(late[1] == "1" || late[1] == "2", "{late:?}");
    assert_eq!(metric(&gateway, "slotway_uncertain_total"), 0);
    assert_eq!(metric(&gateway, &of_node("slotway_node_circuit_open", &cluster, 0)), 0);
}

/// However many wait for a slot, one of them asks whether it is served.
#[test]
fn a_storm_is_not_multiplied() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    fake.always(0, "SET", Act::say("-CLUSTERDOWN The cluster is down\r\n"));
    let tag = tag_in_slot(7);
    let storm: Vec<_> = (0..20)
        .map(|client| {
            let lines: Vec<String> =
                (0..50).map(|number| format!("SET {{{tag}}}{client}:{number} x")).collect();
            let mut client = gateway.client();
            thread::spawn(move || client.pipeline(&lines))
        })
        .collect();
    // All thousand, unless the machine is busy: a client that comes after the first refusal has one held, and its others
    // are not read meanwhile. What comes for the first time is no retry, however late it is.
    wait_for("requests that wait", || metric(&gateway, "slotway_held_requests") >= 20);
    let retries = || metric(&gateway, "slotway_retries_total");
    let (start, before) = (Instant::now(), retries());
    wait_for("some retries", || retries() >= before + 5);
    let again = retries() - before;
    // After the first pauses, twelve in a second; all that wait would be 20 at once.
    let bound = 15 + 14 * start.elapsed().as_secs();
    assert!(again < bound, "{again} times in {:?}", start.elapsed());
    fake.forget(0);
    for client in storm {
        assert!(client.join().unwrap().iter().all(|reply| reply.text() == "OK"));
    }
}

#[test]
fn one_client_holds_no_more_than_its_share() {
    let fake = FakeCluster::of(1);
    let gateway = Gateway::before_nodes(&fake.addresses())
        .setting("backend.hold_session_requests", 10)
        .start();
    fake.always(0, "SET", Act::say("-CLUSTERDOWN The cluster is down\r\n"));
    let lines: Vec<String> = (0..50).map(|number| format!("SET k{number} x")).collect();
    let mut greedy = gateway.client();
    let greedy = thread::spawn(move || greedy.pipeline(&lines));
    wait_for("the others to be refused", || {
        metric(&gateway, "slotway_hold_rejections_total") >= 40
    });
    let modest = each(&gateway, vec!["SET modest x".to_owned()]);
    wait_for("two clients that wait", || metric(&gateway, "slotway_held_requests") == 11);
    fake.forget(0);
    assert_eq!(texts(modest), ["OK"]);
    let replies = greedy.join().unwrap();
    let served = replies.iter().filter(|reply| reply.text() == "OK").count();
    let refused = replies.iter().filter(|r| r.text() == "CLUSTERDOWN The cluster is down").count();
    assert_eq!((served, refused), (10, 40));
}

#[test]
fn a_dead_node_is_dialled_now_and_then() {
    let mut cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).setting("backend.hold_time", "2s").start();
    let (dead, alive) = (key_of(&cluster, 1), key_of(&cluster, 0));
    cluster.node_mut(1).kill();
    let start = Instant::now();
    let waiting = each(&gateway, vec![format!("GET {dead}"); 30]);
    let mut client = gateway.client();
    while !waiting.iter().all(thread::JoinHandle::is_finished) {
        assert_eq!(client.call(&format!("SET {alive} x")).text(), "OK");
    }
    for reply in texts(waiting) {
        assert!(reply.starts_with("CLUSTERDOWN "), "{reply}");
        assert!(reply.contains(&cluster.node(1).address().to_string()), "{reply}");
    }
    let failures = metric(&gateway, &of_node("slotway_node_connect_failures_total", &cluster, 1));
    // Pauses of 20 ms and more, doubled each time up to a quarter of a second.
    let bound = 8 + 6 * (1 + start.elapsed().as_secs());
    assert!((1..=bound).contains(&failures), "{failures} in {:?}", start.elapsed());
    assert_eq!(metric(&gateway, &of_node("slotway_node_circuit_open", &cluster, 1)), 1);
    cluster.node_mut(1).start();
    wait_for("the node that came back", || !client.call(&format!("GET {dead}")).is_error());
    assert_eq!(metric(&gateway, &of_node("slotway_node_circuit_open", &cluster, 1)), 0);
}
