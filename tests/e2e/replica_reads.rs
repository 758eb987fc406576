//! Replicas that answer reads (`cluster.read_from`): never what is too old, never less than the client wrote, and
//! the primary whenever a replica is no good.

use crate::harness::{Act, Client, Cluster, FakeCluster, Gateway, key_slot, wait_for};
use crate::load::{owners, while_running};

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn count(gateway: &Gateway, metric: &str) -> u64 {
    let page = gateway.page("/metrics").1;
    let found = page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    found.unwrap().parse::<f64>().unwrap() as u64
}

/// A shard of two fake nodes: number 0 is the primary, number 1 its replica.
fn pair() -> FakeCluster {
    let fake = FakeCluster::of(2);
    let places = fake.addresses();
    for node in [0, 1] {
        let me = |other| if node == other { "myself," } else { "" };
        let nodes = format!(
            "{:040x} {}@1 {}master - 0 0 1 connected 0-16383\n{:040x} {}@1 {}slave {:040x} 0 0 1 connected\n",
            0,
            places[0],
            me(0),
            1,
            places[1],
            me(1),
            0
        );
        fake.always(node, "CLUSTER NODES", Act::say(&bulk(&nodes)));
    }
    has_offset(&fake, 0, 100);
    has_offset(&fake, 1, 100);
    fake
}

fn has_offset(fake: &FakeCluster, node: usize, offset: u64) {
    let role = match node {
        0 => format!("role:master\r\nmaster_repl_offset:{offset}"),
        _ => format!("role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:{offset}"),
    };
    let info = format!("# Replication\r\n{role}\r\nmaster_replid:history\r\n");
    fake.always(node, "INFO replication", Act::say(&bulk(&info)));
}

/// Reads until the replica is the one that answers.
fn wait_for_replica(fake: &FakeCluster, client: &mut Client) {
    let before = fake.seen(1, "GET warm");
    wait_for("the replica to answer", || {
        assert_eq!(client.call("GET warm").text(), "warm");
        fake.seen(1, "GET warm") > before
    });
}

fn before_pair(fake: &FakeCluster, lag: &str) -> Gateway {
    Gateway::before_nodes(&fake.addresses())
        .setting("cluster.read_from", "prefer-replica")
        .setting("cluster.replica_lag", lag)
        .start()
}

#[test]
fn a_replica_that_has_everything_answers() {
    let fake = pair();
    let gateway = before_pair(&fake, "30s");
    for protocol in [2, 3] {
        let mut client = gateway.client_of(protocol);
        wait_for_replica(&fake, &mut client);
        let primary = fake.seen(0, "GET");
        for number in 0..50 {
            assert_eq!(client.call(&format!("GET k{number}")).text(), format!("k{number}"));
        }
        assert_eq!(fake.seen(0, "GET"), primary);
    }
    assert!(fake.seen(1, "READONLY") >= 2, "one for each connection");
    assert_eq!(fake.seen(0, "READONLY"), 0);
    assert!(count(&gateway, "slotway_replica_reads_total") >= 102);
    // What writes, and what is each node's own, is for the primary.
    let mut client = gateway.client();
    for line in
        ["INCR n", "GETDEL n", "HSCAN h 0", "OBJECT ENCODING k", "EVAL return 0", "MGET a b"]
    {
        let word = line.split(' ').next().unwrap();
        client.call(line);
        assert_eq!(fake.seen(1, word), 0, "{line}");
    }
}

#[test]
fn what_may_be_too_old_is_never_given() {
    let fake = pair();
    has_offset(&fake, 1, 99);
    let gateway = before_pair(&fake, "500ms");
    let mut client = gateway.client();
    let looks = fake.seen(1, "INFO replication");
    fake.wait_until_seen(1, "INFO replication", looks + 5);
    for _ in 0..50 {
        assert_eq!(client.call("GET k").text(), "k");
    }
    assert_eq!(fake.seen(1, "GET"), 0, "it lags");
    has_offset(&fake, 1, 100);
    wait_for_replica(&fake, &mut client);

    // It falls behind while it thinks: what it says then does not count.
    has_offset(&fake, 0, 200);
    fake.once(
        1,
        "GET",
        vec![Act::SayLate(std::time::Duration::from_secs(2), b"$3\r\nold\r\n".to_vec())],
    );
    let before = fake.seen(1, "GET late");
    wait_for("a read of the replica, or none", || {
        assert_eq!(client.call("GET late").text(), "late");
        fake.seen(1, "GET late") > before || fake.seen(0, "GET late") > 0
    });
    let (behind, looks) = (fake.seen(1, "GET"), fake.seen(1, "INFO replication"));
    fake.wait_until_seen(1, "INFO replication", looks + 10);
    for _ in 0..50 {
        assert_eq!(client.call("GET k").text(), "k");
    }
    assert_eq!(fake.seen(1, "GET"), behind, "it lags again");
}

#[test]
fn another_history_is_no_copy() {
    let fake = pair();
    let info =
        "role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:999\r\nmaster_replid:other\r\n";
    fake.always(1, "INFO replication", Act::say(&bulk(info)));
    let gateway = before_pair(&fake, "30s");
    let looks = fake.seen(1, "INFO replication");
    fake.wait_until_seen(1, "INFO replication", looks + 1);
    let mut client = gateway.client();
    for _ in 0..50 {
        assert_eq!(client.call("GET k").text(), "k");
    }
    assert_eq!(fake.seen(1, "GET"), 0);
}

#[test]
fn the_primary_answers_when_the_replica_does_not() {
    let fake = pair();
    let gateway = before_pair(&fake, "30s");
    let mut client = gateway.client();
    wait_for_replica(&fake, &mut client);
    let moved = format!("-MOVED {} {}\r\n", key_slot(b"k"), fake.addresses()[0]);
    let no_use = [
        &moved,
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-CLUSTERDOWN The cluster is down\r\n",
        "-ERR whatever\r\n",
        // The slot may be migrating, and the key be elsewhere.
        "$-1\r\n",
    ];
    for reply in no_use {
        let (replica, primary) = (fake.seen(1, "GET k"), fake.seen(0, "GET k"));
        fake.once(1, "GET k", vec![Act::say(reply)]);
        assert_eq!(client.call("GET k").text(), "k", "{reply}");
        assert_eq!((fake.seen(1, "GET k"), fake.seen(0, "GET k")), (replica + 1, primary + 1));
    }
    fake.once(1, "GET k", vec![Act::SayAndReset(b"$5\r\nab".to_vec())]);
    assert_eq!(client.call("GET k").text(), "k", "the connection breaks");
    assert!(count(&gateway, "slotway_replica_fallbacks_total") >= 7);
    assert_eq!(count(&gateway, "slotway_uncertain_total"), 0);
}

#[test]
fn who_watches_reads_the_latest() {
    let fake = pair();
    let gateway = before_pair(&fake, "30s");
    let mut client = gateway.client();
    wait_for_replica(&fake, &mut client);
    let before = fake.seen(1, "GET");
    assert_eq!(client.call("WATCH k").text(), "OK");
    assert_eq!(client.call("GET k").text(), "k");
    assert_eq!(fake.seen(1, "GET"), before);
    assert_eq!(client.call("UNWATCH").text(), "OK");
    wait_for_replica(&fake, &mut client);
}

#[test]
fn only_replicas_in_the_zone_answer() {
    for (zone, answers) in [("here", true), ("there", false)] {
        let fake = pair();
        let server = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\navailability_zone:here\r\n";
        fake.always(1, "INFO server", Act::say(&bulk(server)));
        let gateway = Gateway::before_nodes(&fake.addresses())
            .setting("cluster.read_from", "nearest-zone")
            .setting("cluster.replica_lag", "30s")
            .setting("cluster.zone", zone)
            .start();
        let mut client = gateway.client();
        if answers {
            wait_for_replica(&fake, &mut client);
            continue;
        }
        let looks = fake.seen(1, "INFO replication");
        fake.wait_until_seen(1, "INFO replication", looks + 1);
        for _ in 0..50 {
            assert_eq!(client.call("GET k").text(), "k");
        }
        assert_eq!(fake.seen(1, "GET"), 0);
    }
}

/// Sessions that know what every reply must be, on real nodes: each reads what it wrote, in its order.
#[test]
fn a_client_reads_what_it_wrote() {
    let gateway = Gateway::before(Cluster::shared())
        .setting("cluster.read_from", "prefer-replica")
        .setting("cluster.replica_lag", "5s")
        .workers(2)
        .start();
    let keys =
        |owner: usize| (0..40).map(|number| format!("replica-reads:{owner}:{number}")).collect();
    while_running(owners(&gateway, 4, keys), 40, |running| {
        let mut client = gateway.client();
        assert_eq!(client.call("SET replica-reads:steady 7").text(), "OK");
        wait_for("replicas that answer", || {
            assert_eq!(client.call("GET replica-reads:steady").text(), "7");
            running.is_broken() || count(&gateway, "slotway_replica_reads_total") > 1_000
        });
        for number in 0..300 {
            let lines = [
                format!("SET {{replica-reads}}a {number}"),
                "GET {replica-reads}a".to_owned(),
                format!("MSET {{replica-reads}}b {number} replica-reads:c {number}"),
                "GET {replica-reads}b".to_owned(),
                "MULTI".to_owned(),
                "INCR {replica-reads}a".to_owned(),
                "EXEC".to_owned(),
                "GET {replica-reads}a".to_owned(),
                "GET replica-reads:steady".to_owned(),
            ];
            let replies = client.pipeline(&lines);
            let [a, b, after, steady] = [1, 3, 7, 8].map(|at| replies[at].text());
            assert_eq!([a, b], [number.to_string(), number.to_string()]);
            assert_eq!([after, steady], [(number + 1).to_string(), "7".to_owned()]);
        }
    });
    assert_eq!(count(&gateway, "slotway_uncertain_total"), 0);
}

#[test]
fn a_replica_that_freezes_or_dies_costs_no_error() {
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster)
        .setting("cluster.read_from", "prefer-replica")
        .setting("cluster.replica_lag", "30s")
        .start();
    let keys: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
    let mut writer = gateway.client();
    for key in &keys {
        assert_eq!(writer.call(&format!("SET {key} {key}")).text(), "OK");
    }
    let lines: Vec<String> = keys.iter().map(|key| format!("GET {key}")).collect();
    let mut reader = gateway.client();
    let mut read = || {
        for (key, reply) in keys.iter().zip(reader.pipeline(&lines)) {
            assert_eq!(reply.text(), *key);
        }
    };
    wait_for("replicas that answer", || {
        read();
        count(&gateway, "slotway_replica_reads_total") > 100
    });
    let fallbacks = count(&gateway, "slotway_replica_fallbacks_total");
    cluster.node(3).freeze();
    wait_for("reads taken back from the frozen replica", || {
        read();
        count(&gateway, "slotway_replica_fallbacks_total") > fallbacks
    });
    cluster.node(3).thaw();
    cluster.node_mut(4).kill();
    (0..50).for_each(|_| read());
}
