//! Waits on nodes that answer at the wrong moment, or not at all.

use std::time::Duration;

use crate::harness::{Act, Client, Cluster, FakeCluster, Gateway, request_line, wait_for};

const LATE: Duration = Duration::from_millis(300);

fn returned(gateway: &Gateway) -> String {
    let (_, page) = gateway.page("/metrics");
    let line = page.lines().find(|line| line.starts_with("slotway_returned_elements_total "));
    line.unwrap_or_default().to_owned()
}

/// The node pops at the moment at which the client leaves: the element is on its way when nobody wants it any more.
#[test]
fn what_was_taken_for_a_client_that_has_left_goes_back() {
    let table = [
        ("BLPOP", "a 0", "*2\r\n$1\r\na\r\n$1\r\nx\r\n", "LPUSH a x"),
        ("BRPOP", "a 0", "*2\r\n$1\r\na\r\n$1\r\nx\r\n", "RPUSH a x"),
        ("BZPOPMIN", "a 0", "*3\r\n$1\r\na\r\n$1\r\nm\r\n$1\r\n2\r\n", "ZADD a NX"),
        // Over two slots the command that does not wait is sent.
        ("LPOP", "a b 0", "$1\r\nx\r\n", "LPUSH a x"),
        ("ZPOPMAX", "a b 0", "*2\r\n$1\r\nm\r\n$1\r\n2\r\n", "ZADD a NX"),
    ];
    for (sent, arguments, late, back) in table {
        let fake = FakeCluster::of(1);
        let gateway = Gateway::before_nodes(&fake.addresses()).start();
        fake.always(0, "CLIENT ID", Act::say(":7\r\n"));
        fake.always(0, "CLIENT UNBLOCK 7", Act::say(":0\r\n"));
        fake.always(0, sent, Act::SayLate(LATE, late.as_bytes().to_vec()));
        let mut client = gateway.client();
        let name = sent.strip_prefix('B').unwrap_or(sent);
        client.send(&request_line(&format!("B{name} {arguments}")));
        fake.wait_until_seen(0, sent, 1);
        client.close_writing();
        fake.wait_until_seen(0, back, 1);
        assert_eq!(client.read_to_end(), b"", "{sent}");
        wait_for("one element that went back", || {
            returned(&gateway) == "slotway_returned_elements_total 1"
        });
        assert_eq!(fake.seen(0, sent), 1, "{sent}: one try is under way at most");
    }
}

/// What a client is given before the gateway sees it leave is its own.
#[test]
fn who_stops_sending_still_gets_what_was_taken() {
    let fake = FakeCluster::of(1);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let element = "*2\r\n$1\r\na\r\n$1\r\nx\r\n";
    fake.always(0, "CLIENT ID", Act::say(":7\r\n"));
    fake.always(0, "BLPOP", Act::say(element));
    for line in ["BLPOP a 0", "BLPOP a 1.5"] {
        assert_eq!(gateway.client().call(line).bytes(), element.as_bytes());
    }
    assert_eq!(fake.seen(0, "CLIENT UNBLOCK"), 0);
    assert_eq!(fake.seen(0, "CLIENT ID"), 1, "a connection is asked for its number once");
    assert_eq!(fake.seen(0, "LPUSH"), 0);
}

#[test]
fn a_node_that_falls_silent_does_not_keep_its_waiters() {
    let fake = FakeCluster::of(1);
    let gateway = Gateway::before_nodes(&fake.addresses())
        .setting("backend.hold_time", "1s")
        .setting("backend.request_timeout", "1s")
        .start();
    fake.always(0, "CLIENT ID", Act::say(":7\r\n"));
    fake.always(0, "CLIENT UNBLOCK", Act::say(":0\r\n"));
    fake.always(0, "BLPOP", Act::Freeze);
    let reply = gateway.client().call("BLPOP a 0.1");
    assert!(reply.text().starts_with("UNCERTAIN backend connection lost"), "{reply}");
    // A read is sent again, with the time that is left: none.
    fake.always(0, "XREAD", Act::Freeze);
    assert!(gateway.client().call("XREAD BLOCK 100 STREAMS a 0").is_nil());
}

/// It is known that the node says nothing: who begins to wait now is not sent there, and so loses nothing there.
#[test]
fn a_silent_node_gets_no_new_waiters() {
    let fake = FakeCluster::of(1);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let element = "*2\r\n$1\r\na\r\n$1\r\nx\r\n";
    fake.always(0, "CLIENT ID", Act::say(":7\r\n"));
    fake.always(0, "BLPOP", Act::say(element));
    // The connection for it is kept.
    assert_eq!(gateway.client().call("BLPOP a 0").bytes(), element.as_bytes());
    let (mut reader, mut waiter) = (gateway.client(), gateway.client());
    assert_eq!(reader.call("GET a").text(), "a");
    for words in ["GET", "PING", "HELLO"] {
        fake.always(0, words, Act::Freeze);
    }
    reader.send(&request_line("GET a"));
    let failed = || gateway.metric("slotway_probe_failures_total");
    wait_for("a probe without an answer", || failed() >= 1.0);
    waiter.send(&request_line("BLPOP a 0"));
    wait_for("more probes", || failed() >= 3.0);
    assert_eq!(fake.seen(0, "BLPOP"), 1, "it was sent to a node that says nothing");
    fake.forget(0);
    fake.always(0, "CLIENT ID", Act::say(":7\r\n"));
    fake.always(0, "BLPOP", Act::say(element));
    assert_eq!(waiter.reply().bytes(), element.as_bytes());
}

/// Its slots have gone elsewhere in good order, and it is too busy to say soon that nobody was given anything.
#[test]
fn a_slow_node_that_ends_a_wait_loses_no_element() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses())
        .setting("cluster.refresh_interval", "200ms")
        .start();
    let slow = Duration::from_millis(2_500);
    let element = "*2\r\n$1\r\nb\r\n$1\r\nx\r\n";
    fake.always(0, "CLIENT ID", Act::say(":7\r\n"));
    fake.always(0, "CLIENT UNBLOCK", Act::SayLate(slow, b":1\r\n".to_vec()));
    let ended = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";
    fake.always(0, "BRPOP", Act::SayLate(slow, ended.to_vec()));
    fake.always(1, "BRPOP", Act::say(element));
    fake.always(1, "CLIENT ID", Act::say(":8\r\n"));
    let mut client = gateway.client();
    // Its slot is 3300.
    client.send(&request_line("BRPOP b 60"));
    fake.wait_until_seen(0, "BRPOP", 1);
    fake.give_all_slots(1);
    fake.wait_until_seen(0, "CLIENT UNBLOCK", 1);
    assert_eq!(client.reply().bytes(), element.as_bytes());
}

/// How long it has waited already does not count against the time in which another node must be found.
#[test]
fn a_long_wait_may_still_go_to_another_node() {
    let fake = FakeCluster::of(1);
    let gateway =
        Gateway::before_nodes(&fake.addresses()).setting("backend.hold_time", "500ms").start();
    let element = "*2\r\n$1\r\na\r\n$1\r\nx\r\n";
    let demoted = "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";
    fake.always(0, "CLIENT ID", Act::say(":7\r\n"));
    let acts = vec![Act::SayLate(2 * LATE, demoted.into()), Act::say(element)];
    fake.once(0, "BLPOP", acts);
    assert_eq!(gateway.client().call("BLPOP a 60").bytes(), element.as_bytes());
    let connections = fake.seen(0, "CLIENT ID");
    assert_eq!(connections, 2, "a node that is demoted closes those on which somebody waits");
}

#[test]
fn a_node_that_lets_nobody_watch_its_keys_says_so() {
    let fake = FakeCluster::of(1);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let refusal = "-NOPERM this user has no permissions to run the 'client|tracking' command\r\n";
    fake.always(0, "CLIENT TRACKING", Act::say(refusal));
    assert_eq!(gateway.client().call("BLPOP a b 0").bytes(), refusal.as_bytes());
    assert_eq!(fake.seen(0, "LPOP"), 0);
}

/// A passing state of the node is a delay, and the time that is left shrinks meanwhile.
#[test]
fn a_node_that_cannot_serve_now_is_asked_again() {
    let fake = FakeCluster::of(1);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let element = "*2\r\n$1\r\na\r\n$1\r\nx\r\n";
    fake.always(0, "CLIENT ID", Act::say(":7\r\n"));
    fake.once(
        0,
        "BLPOP",
        vec![
            Act::say("-LOADING Redis is loading the dataset in memory\r\n"),
            Act::say("-CLUSTERDOWN The cluster is down\r\n"),
            Act::say(
                "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n",
            ),
            Act::say(element),
        ],
    );
    assert_eq!(gateway.client().call("BLPOP a 9").bytes(), element.as_bytes());
    let waits: Vec<String> =
        fake.history(0).into_iter().filter(|line| line.starts_with("BLPOP")).collect();
    assert_eq!(waits.len(), 4, "{waits:?}");
    assert_eq!(waits[0], "BLPOP a 9");
    let left = |wait: &String| wait.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    let left: Vec<f64> = waits.iter().map(left).collect();
    assert!(left.is_sorted_by(|one, next| one >= next), "{waits:?}");
    assert!(left[3] > 1.0 && left[3] < 9.0, "{waits:?}");
}

/// A primary pauses its writes before a failover, and puts off what would wait. Told to end that, servers of version
/// 7.0 say that it has ended and run it later all the same; told to end it as if its time were over, they die.
#[test]
fn a_wait_that_its_node_has_put_off_takes_nothing_once_it_was_ended() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let mut node = cluster.owner_client("put_off");
    for how in ["ERROR", "TIMEOUT"] {
        let (mut waiter, mut other) = (gateway.client(), gateway.client());
        let id = waiter.call("CLIENT ID").integer();
        assert_eq!(node.call("CLIENT PAUSE 300000 WRITE").text(), "OK");
        waiter.send(&request_line("BLPOP put_off 0"));
        wait_for("the wait at the node", || {
            node.call("CLIENT LIST").text().lines().any(|line| line.contains("cmd=blpop"))
        });
        let before = unblocked(&mut node);
        assert_eq!(other.call(&format!("CLIENT UNBLOCK {id} {how}")).integer(), 1);
        wait_for("word to the node", || unblocked(&mut node) > before);
        assert_eq!(node.call("CLIENT UNPAUSE").text(), "OK");
        let reply = waiter.reply();
        assert!(
            reply.is_nil() || reply.text().starts_with("UNBLOCKED client unblocked"),
            "{reply}"
        );
        assert_eq!(other.call("RPUSH put_off x").integer(), 1);
        assert_eq!(waiter.call("LPOP put_off").text(), "x", "after {how}");
        assert_eq!(waiter.call("LLEN put_off").integer(), 0);
    }
}

/// How often a node was told to end a wait.
fn unblocked(node: &mut Client) -> usize {
    let counts = node.call("INFO commandstats").text();
    let line = counts.lines().find_map(|line| line.strip_prefix("cmdstat_client|unblock:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}
