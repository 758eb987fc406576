//! Several databases, as a cluster of Valkey 9 may have them. Fake nodes name the database in every value; where the
//! servers under test have databases, a single server of theirs must answer alike.

use std::thread;
use std::time::Duration;

use crate::harness::{
    Act, Client, Cluster, FakeCluster, Gateway, Make, Server, Shape, request_line, wait_for,
};

/// Fake nodes that say that they have so many databases.
fn fakes(databases: &str) -> FakeCluster {
    let fake = FakeCluster::of(2);
    let length = databases.len();
    let answer = format!("*2\r\n$17\r\ncluster-databases\r\n${length}\r\n{databases}\r\n");
    for node in 0..2 {
        fake.always(node, "CONFIG GET cluster-databases", Act::say(&answer));
    }
    fake
}

/// A gateway that knows how many databases there are.
fn before(fake: &FakeCluster) -> Gateway {
    let gateway = Gateway::before_nodes(&fake.addresses())
        .workers(2)
        .setting("backend.hold_time", "300ms")
        .start();
    wait_for("databases", || gateway.client().call("SELECT 1").text() == "OK");
    gateway
}

/// Keys of many slots.
fn keys() -> impl Iterator<Item = String> {
    (0..20).map(|number| format!("key:{number}"))
}

fn assert_in(client: &mut Client, database: u16) {
    for key in keys() {
        let expected = if database > 0 { format!("{key}@{database}") } else { key.clone() };
        assert_eq!(client.call(&format!("GET {key}")).text(), expected);
    }
}

#[test]
fn everything_that_a_client_asks_is_about_its_database() {
    let fake = fakes("16");
    let gateway = before(&fake);
    for protocol in [2, 3] {
        let mut clients: Vec<(u16, Client)> =
            [0, 3, 5, 3].map(|database| (database, gateway.client_of(protocol))).into();
        for (database, client) in &mut clients {
            assert_eq!(client.call(&format!("SELECT {database}")).text(), "OK");
        }
        for _ in 0..2 {
            for (database, client) in &mut clients {
                assert_in(client, *database);
            }
        }
        let (database, client) = &mut clients[1];
        let shown = client.call("CLIENT INFO").text();
        assert!(shown.contains(&format!(" db={database} ")), "{shown}");
        // From one to the other in one write: none is overtaken.
        let lines =
            ["GET a", "SELECT 0", "GET a", "SELECT 9", "GET a", "GET b", "SELECT 3", "GET b"];
        let seen: Vec<String> = client.pipeline(&lines).iter().map(|reply| reply.text()).collect();
        assert_eq!(seen, ["a@3", "OK", "a", "OK", "a@9", "b@9", "OK", "b@3"]);
        for (line, error) in [
            ("SELECT 16", "ERR DB index is out of range"),
            ("SELECT -1", "ERR DB index is out of range"),
            ("SELECT x", "ERR value is not an integer or out of range"),
        ] {
            assert_eq!(client.call(line).text(), error);
        }
        assert_in(client, 3);
        assert_eq!(client.call("RESET").text(), "RESET");
        assert_in(client, 0);
    }
}

#[test]
fn a_transaction_is_of_one_database() {
    let gateway = before(&fakes("16"));
    let mut client = gateway.client();
    let lines = ["SELECT 2", "MULTI", "SELECT 2", "SELECT 3", "EXEC", "GET a"];
    let seen: Vec<String> = client.pipeline(&lines).iter().map(|reply| reply.text()).collect();
    assert_eq!(
        seen,
        [
            "OK",
            "OK",
            "QUEUED",
            "ERR Command not allowed inside a transaction",
            "EXECABORT Transaction discarded because of previous errors.",
            "a@2"
        ]
    );
}

#[test]
fn a_connection_that_is_made_again_is_in_its_database() {
    let fake = fakes("16");
    let gateway = before(&fake);
    let mut client = gateway.client();
    client.call("SELECT 4");
    assert_in(&mut client, 4);
    for node in 0..2 {
        fake.once(node, "GET", vec![Act::SayAndReset(Vec::new())]);
    }
    assert_in(&mut client, 4);
}

#[test]
fn a_node_that_lacks_a_database_serves_the_others() {
    let fake = fakes("16");
    for node in 0..2 {
        fake.always(node, "SELECT 7", Act::say("-ERR DB index is out of range\r\n"));
    }
    let gateway = before(&fake);
    let (mut lost, mut client) = (gateway.client(), gateway.client());
    assert_eq!(lost.call("SELECT 7").text(), "OK");
    thread::scope(|scope| {
        let waits = scope.spawn(|| lost.call("GET a").text());
        while !waits.is_finished() {
            assert_in(&mut client, 0);
        }
        let error = waits.join().unwrap();
        assert!(error.contains("SELECT: ERR DB index is out of range"), "{error}");
    });
    assert_eq!(lost.call("SELECT 0").text(), "OK");
    assert_in(&mut lost, 0);
}

#[test]
fn databases_are_bounded() {
    let fake = fakes("16");
    let gateway = Gateway::before_nodes(&fake.addresses()).setting("backend.databases", 3).start();
    let mut client = gateway.client();
    wait_for("databases", || client.call("SELECT 2").text() == "OK");
    assert_eq!(client.call("SELECT 3").text(), "ERR DB index is out of range");
    assert_in(&mut client, 2);
}

/// What a client does in several databases, told to the gateway and to a single server. `>` in front: another client
/// does it, in a database of its own.
const STORY: &[&str] = &[
    "SET a zero",
    "SELECT 1",
    "GET a",
    "SET a one",
    "MSET b 1 c 2 d 3 e 4",
    "MGET a b c d e",
    "DBSIZE",
    "SELECT 0",
    "DBSIZE",
    "GET a",
    "SELECT 1",
    "COPY a copied",
    "COPY a copied DB 2",
    "COPY a other DB 2 REPLACE",
    "COPY a a",
    "COPY a a DB 99",
    "MOVE b 2",
    "MOVE b 2",
    "MOVE c 99",
    "SELECT 2",
    "MGET copied other b",
    "DBSIZE",
    "SELECT 1",
    "RENAME c {c}2",
    "RENAME d f",
    "SADD s1 x y",
    "SADD s2 y z",
    "SUNIONSTORE s3 s1 s2",
    "SCARD s3",
    "SELECT 0",
    "EXISTS s1 s2 s3",
    "SELECT 1",
    "EVAL return{redis.call('GET',KEYS[1]),redis.call('STRLEN',KEYS[1])} 1 a",
    "MULTI",
    "INCR n",
    "GET a",
    "EXEC",
    "GET n",
    "WATCH n",
    "MULTI",
    "INCR n",
    "EXEC",
    "WATCH n",
    "> SELECT 0",
    "> SET n 100",
    "MULTI",
    "INCR n",
    "EXEC",
    "WATCH n",
    "> SELECT 1",
    "> SET n 100",
    "MULTI",
    "INCR n",
    "EXEC",
    "WATCH n",
    "SELECT 2",
    "MULTI",
    "INCR n",
    "EXEC",
    "SELECT 1",
    "GET n",
    "RPUSH l1 a b",
    "BLPOP l1 l2 l3 1",
    "BRPOP l1 1",
    "BLPOP l1 l2 l3 0.01",
    "XADD x1 1-1 f v",
    "XREAD BLOCK 10 STREAMS x1 x2 0 0",
    "FLUSHDB",
    "DBSIZE",
    "SELECT 2",
    "GET copied",
    "SELECT 0",
    "GET a",
    "RESET",
    "GET a",
    "FLUSHALL",
    "SELECT 2",
    "DBSIZE",
];

#[test]
fn databases_of_real_servers() {
    let make = Make::of_servers();
    let has_databases = make.name == "valkey" && !make.version.starts_with('8');
    if !has_databases {
        println!("{} {} has one database in a cluster: not compared", make.name, make.version);
        return;
    }
    let shape = Shape { primaries: 3, replicas: 0, node_timeout_ms: 15_000 };
    let cluster = Cluster::with_options(shape, &[("--cluster-databases", "16")]);
    let gateway =
        Gateway::before(&cluster).workers(2).setting("routing.cross_slot", "move").start();
    wait_for("databases", || gateway.client().call("SELECT 1").text() == "OK");
    let server = Server::standalone();
    for protocol in [2, 3] {
        let mut ours = [gateway.client_of(protocol), gateway.client_of(protocol)];
        let mut theirs = [server.client_of(protocol), server.client_of(protocol)];
        for line in STORY {
            let (who, line) = line.strip_prefix("> ").map_or((0, *line), |line| (1, line));
            assert_eq!(ours[who].call(line), theirs[who].call(line), "RESP{protocol}: {line}");
        }
    }
    waits_of_databases_do_not_meet(&gateway);
    scans_see_one_database(&gateway);
    caches_see_one_database(&gateway);
}

/// Clients wait for keys of the same names in two databases, in one slot and in several.
fn waits_of_databases_do_not_meet(gateway: &Gateway) {
    for line in ["BLPOP w1 20", "BLPOP w1 w2 w3 20"] {
        let mut waiters = [1, 2].map(|database| {
            let mut client = gateway.client();
            client.call(&format!("SELECT {database}"));
            client.send(&request_line(line));
            client
        });
        let mut other = gateway.client();
        let blocked = |other: &mut Client| other.call("INFO clients").text();
        wait_for("two that wait", || blocked(&mut other).contains("blocked_clients:2"));
        for (waiter, database) in waiters.iter_mut().zip([1, 2]) {
            other.call(&format!("SELECT {database}"));
            other.call(&format!("RPUSH w1 of{database}"));
            assert_eq!(waiter.reply().items()[1].text(), format!("of{database}"), "{line}");
        }
    }
}

fn scans_see_one_database(gateway: &Gateway) {
    let mut client = gateway.client();
    for database in [0, 6] {
        client.call(&format!("SELECT {database}"));
        for number in 0..200 {
            client.call(&format!("SET scan:{database}:{number} x"));
        }
    }
    let (mut found, mut cursor) = (0, "0".to_owned());
    loop {
        let reply = client.call(&format!("SCAN {cursor} COUNT 50")).items();
        found += reply[1].items().len();
        assert!(reply[1].items().iter().all(|key| key.text().starts_with("scan:6:")));
        cursor = reply[0].text();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!((found, client.call("DBSIZE").integer()), (200, 200));
    assert_eq!(client.call("KEYS *").items().len(), 200);
    assert!(client.call("RANDOMKEY").text().starts_with("scan:6:"));
    let keyspace = client.call("INFO keyspace").text();
    assert!(keyspace.contains("db6:keys=200,"), "{keyspace}");
    assert_eq!(client.call("FLUSHDB").text(), "OK");
    client.call("SELECT 0");
    assert_eq!(client.call("DBSIZE").integer(), 200);
    client.call("FLUSHDB");
}

/// A client that caches goes on doing so in another database.
fn caches_see_one_database(gateway: &Gateway) {
    let mut client = gateway.client_of(3);
    let mut other = gateway.client();
    other.call("SELECT 8");
    other.call("SET cached old");
    assert_eq!(client.call("CLIENT TRACKING ON").text(), "OK");
    client.send(&request_line("SELECT 8"));
    while client.reply().kind() == b'>' {}
    let mut value = client.patience(Duration::from_secs(20));
    value.send(&request_line("GET cached"));
    let old = loop {
        let reply = value.reply();
        if reply.kind() != b'>' {
            break reply;
        }
    };
    assert_eq!(old.text(), "old");
    other.call("SET cached new");
    let told = value.reply();
    assert_eq!((told.kind(), told.items()[1].items()[0].text()), (b'>', "cached".to_owned()));
    other.call("FLUSHDB");
}
