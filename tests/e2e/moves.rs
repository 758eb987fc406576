//! Commands that write in two slots (`cross_slot = "move"`): what they answer, and that nothing is lost when others
//! write at the same time. What is left when the gateway is killed is `killed.rs`'s.

use std::thread;

use crate::harness::{Act, Cluster, FakeCluster, Gateway, Server, key_slot};

fn moving(cluster: &Cluster) -> Gateway {
    Gateway::before(cluster).setting("routing.cross_slot", "move").workers(2).start()
}

/// Keys in three slots of three nodes, unlike those of any other test.
pub(crate) fn keys(test: &str) -> [String; 3] {
    let in_third = |third: u16| {
        let names = (0_u32..).map(|number| format!("{test}:{number}"));
        names.into_iter().find(|name| key_slot(name.as_bytes()) / 5462 == third).unwrap()
    };
    [in_third(0), in_third(1), in_third(2)]
}

/// A story told to the gateway and to one server: `a`, `b` and `c` stand for keys in three slots.
fn tell(test: &str, story: &[&str]) {
    let cluster = Cluster::shared();
    let (gateway, server) = (moving(cluster), Server::standalone());
    for protocol in [2, 3] {
        let (mut ours, mut theirs) = (gateway.client_of(protocol), server.client());
        if protocol == 3 {
            theirs.call("HELLO 3");
        }
        let names = keys(test);
        let name = |word: &str| match word {
            "a" => names[0].clone(),
            "b" => names[1].clone(),
            "c" => names[2].clone(),
            other => other.to_owned(),
        };
        for line in story {
            let words: Vec<String> = line.split(' ').map(name).collect();
            let (here, there) = (ours.call_args(&words), theirs.call_args(&words));
            assert_eq!(here, there, "RESP{protocol}: {line}");
        }
        ours.call(&format!("DEL {}", names.join(" ")));
        theirs.call("FLUSHALL");
    }
}

#[test]
fn renaming() {
    tell(
        "rename",
        &[
            "RENAME a b",
            "SET a x",
            "RENAME a b",
            "EXISTS a",
            "GET b",
            "SET a y EX 1000",
            "RPUSH b wrong",
            "RENAME a b",
            "RPUSH a 1 2 3",
            "RENAME a b",
            "TTL b",
            "LRANGE b 0 -1",
            "PEXPIREAT b 32503680000000",
            "RENAME b c",
            "PEXPIRETIME c",
            "LRANGE c 0 -1",
            "RENAMENX a b",
            "HSET a f v",
            "RENAMENX a c",
            "HGETALL a",
            "RENAMENX a b",
            "EXISTS a",
            "HGETALL b",
            "RENAME b b",
            "RENAME a",
            "RENAMENX a b c",
        ],
    );
}

#[test]
fn moving_members() {
    tell(
        "smove",
        &[
            "SMOVE a b x",
            "SET b string",
            "SMOVE a b x",
            "SADD a x y",
            "SMOVE a b x",
            "SMOVE a b none",
            "DEL b",
            "SMOVE a b none",
            "EXISTS b",
            "SMOVE a b x",
            "SISMEMBER a x",
            "SMEMBERS b",
            "SADD a x",
            "SMOVE a b x",
            "SMOVE a b y",
            "EXISTS a",
            "SCARD b",
            "SET a string",
            "SMOVE a b x",
            "SMOVE b c",
        ],
    );
}

#[test]
fn moving_elements() {
    tell(
        "lmove",
        &[
            "LMOVE a b LEFT RIGHT",
            "SET b string",
            "LMOVE a b LEFT RIGHT",
            "RPOPLPUSH a b",
            "RPUSH a 1 2 3 4 5 6",
            "LMOVE a b LEFT RIGHT",
            "RPOPLPUSH a b",
            "LRANGE a 0 -1",
            "DEL b",
            "LMOVE a b LEFT LEFT",
            "LMOVE a b left RIGHT",
            "LMOVE a b RIGHT LEFT",
            "LMOVE a b RIGHT right",
            "RPOPLPUSH a b",
            "LRANGE a 0 -1",
            "LRANGE b 0 -1",
            "LMOVE a b RIGHT LEFT",
            "EXISTS a",
            "LMOVE a b RIGHT LEFT",
            "RPOPLPUSH a c",
            "SET a string",
            "LMOVE a b LEFT RIGHT",
            "LMOVE a b LEFT UP",
            "LMOVE b c MIDDLE LEFT",
            "LMOVE a b LEFT",
        ],
    );
}

#[test]
fn setting_what_is_new() {
    tell(
        "msetnx",
        &[
            "MSETNX a 1 b 2",
            "MSETNX b 3 c 4",
            "EXISTS c",
            "MGET a b c",
            "DEL a b",
            "MSETNX a 1 b 2 c 3 a 4",
            "MGET a b c",
            "MSETNX a 1 b",
            "MSETNX a",
        ],
    );
}

#[test]
fn below_that_level_they_are_refused() {
    let gateway = Gateway::before(Cluster::shared()).setting("routing.cross_slot", "store").start();
    let mut client = gateway.client();
    let [a, b, _] = keys("below");
    for line in [
        format!("RENAME {a} {b}"),
        format!("SMOVE {a} {b} x"),
        format!("LMOVE {a} {b} LEFT LEFT"),
        format!("MSETNX {a} 1 {b} 2"),
    ] {
        let expected = "CROSSSLOT Keys in request don't hash to the same slot";
        assert_eq!(client.call(&line).text(), expected, "{line}");
    }
}

/// Values of every type keep what they are, and their time to live.
#[test]
fn what_is_renamed_is_the_same_afterwards() {
    let gateway = moving(Cluster::shared());
    let mut client = gateway.client();
    let [a, b, _] = keys("types");
    let makes = [
        "SET K long-string-value",
        "SETRANGE K 100000 x",
        "RPUSH K 1 two 3.5",
        "SADD K 1 2 3",
        "SADD K x",
        "HSET K f 1 g two",
        "ZADD K 1 a 2.5 b -inf c",
        "XADD K 5-1 f v",
        "PFADD K a b c",
        "GEOADD K 13.361389 38.115556 Palermo",
        "BITFIELD K SET u8 0 200",
    ];
    for make in makes {
        for ttl in [false, true] {
            client.call(&make.replace('K', &a));
            if ttl {
                client.call(&format!("PEXPIREAT {a} 32503680000000"));
            }
            let before = client.call(&format!("DUMP {a}"));
            assert_eq!(client.call(&format!("RENAME {a} {b}")).text(), "OK", "{make}");
            assert_eq!(client.call(&format!("DUMP {b}")), before, "{make}");
            let expires = client.call(&format!("PEXPIRETIME {b}")).integer();
            assert_eq!(expires, if ttl { 32_503_680_000_000 } else { -1 }, "{make}");
            assert_eq!(client.call(&format!("DEL {a} {b}")).integer(), 1);
        }
    }
}

#[test]
fn a_rename_loses_no_write_to_its_source() {
    const WRITERS: usize = 3;
    const WRITES: usize = 1500;
    let gateway = moving(Cluster::shared());
    let [a, b, _] = keys("sum");
    let mut client = gateway.client();
    client.call(&format!("SET {a} 0"));
    let (renamed, finished) = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = gateway.client();
                    for _ in 0..WRITES {
                        assert!(!client.call(&format!("INCR {a}")).is_error());
                    }
                })
            })
            .collect();
        let (mut renamed, mut refused) = (0, 0);
        let mut sums = 0;
        while writers.iter().any(|writer| !writer.is_finished()) {
            let reply = client.call(&format!("RENAME {a} {b}"));
            match reply.text().as_str() {
                "OK" => {
                    renamed += 1;
                    sums += client.call(&format!("GETDEL {b}")).text().parse::<usize>().unwrap();
                }
                "ERR no such key" => {}
                // The copy is no write of anybody's: the source still has all of it.
                text if text.contains("changing too fast") => refused += 1,
                _ => panic!("{reply}"),
            }
        }
        (renamed, (sums, refused))
    });
    let (sums, refused) = finished;
    let rest = client.call(&format!("GET {a}"));
    let rest = if rest.is_nil() { 0 } else { rest.text().parse().unwrap() };
    client.call(&format!("DEL {a} {b}"));
    println!("{renamed} renamed, {refused} refused");
    assert!(renamed > 0, "{refused} refused");
    assert_eq!(sums + rest, WRITERS * WRITES, "{renamed} renamed, {refused} refused");
}

#[test]
fn three_movers_deliver_each_element_once() {
    const ELEMENTS: usize = 1500;
    let gateway = moving(Cluster::shared());
    let [a, b, c] = keys("movers");
    let mut client = gateway.client();
    let elements: Vec<String> = (0..ELEMENTS).map(|number| number.to_string()).collect();
    client.call(&format!("RPUSH {a} {}", elements.join(" ")));
    thread::scope(|scope| {
        for target in [&b, &c, &b] {
            let (gateway, a) = (&gateway, &a);
            scope.spawn(move || {
                let mut client = gateway.client();
                while !client.call(&format!("LMOVE {a} {target} LEFT RIGHT")).is_nil() {}
            });
        }
    });
    let mut found: Vec<usize> = Vec::new();
    for key in [&a, &b, &c] {
        let list = client.call(&format!("LRANGE {key} 0 -1")).items();
        found.extend(list.iter().map(|element| element.text().parse::<usize>().unwrap()));
    }
    found.sort_unstable();
    assert_eq!(found, (0..ELEMENTS).collect::<Vec<_>>());
    client.call(&format!("DEL {a} {b} {c}"));
    assert_eq!(stages(Cluster::shared()), Vec::<String>::new(), "no stage is left");
}

#[test]
fn of_two_that_set_the_same_new_keys_one_wins() {
    let gateway = moving(Cluster::shared());
    let [a, b, c] = keys("race");
    let mut client = gateway.client();
    for round in 0..40 {
        let won: Vec<(usize, i64)> = thread::scope(|scope| {
            let racers: Vec<_> = (0..3)
                .map(|racer| {
                    let (gateway, a, b, c) = (&gateway, &a, &b, &c);
                    scope.spawn(move || {
                        let line = format!("MSETNX {a} r{racer} {b} r{racer} {c} r{racer}");
                        (racer, gateway.client().call(&line).integer())
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winners: Vec<usize> =
            won.iter().filter(|(_, reply)| *reply == 1).map(|(racer, _)| *racer).collect();
        assert!(winners.len() <= 1, "round {round}: {won:?}");
        let expected = winners.first().map_or(String::new(), |winner| format!("r{winner}"));
        let values = client.call(&format!("MGET {a} {b} {c}")).items();
        for value in values {
            let value = if value.is_nil() { String::new() } else { value.text() };
            assert_eq!(value, expected, "round {round}: {won:?}");
        }
        client.call(&format!("DEL {a} {b} {c}"));
    }
}

/// Names of the gateway's own keys, at every primary.
pub(crate) fn stages(cluster: &Cluster) -> Vec<String> {
    let names = (0..3).flat_map(|node| cluster.node(node).client().call("KEYS __gw:*").items());
    names.map(|name| name.text()).collect()
}

#[test]
fn a_rename_goes_where_its_slots_go() {
    let cluster = Cluster::small();
    let gateway = moving(&cluster);
    let mut client = gateway.client();
    let (a, b) = ("{a}1", "{b}1");
    let slot = key_slot(b"a");
    let (source, target) = (cluster.owner(slot), 1 - cluster.owner(slot));
    client.call(&format!("SET {a} x"));
    // The owner has changed, and the gateway has not heard of it.
    cluster.migrate_slot(slot, target);
    assert_eq!(client.call(&format!("RENAME {a} {b}")).text(), "OK");
    assert_eq!(client.call(&format!("RENAME {b} {a}")).text(), "OK");
    // On its way: what is there already is asked for at the target.
    cluster.begin_migration(slot, source);
    while cluster.migrate_keys(slot, source, 100) > 0 {}
    assert_eq!(client.call(&format!("RENAME {a} {b}")).text(), "OK");
    assert_eq!(client.call(&format!("RENAME {b} {a}")).text(), "OK");
    assert_eq!(client.call(&format!("GET {a}")).text(), "x");
    cluster.finish_migration(slot, source);
    assert_eq!(client.call(&format!("GET {a}")).text(), "x");
    assert!(client.call(&format!("RENAMENX {a} {b}")).integer() == 1);
}

#[test]
fn keys_of_the_gateways_own_are_not_shown() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).setting("routing.stage_prefix", "own:").start();
    let mut client = gateway.client();
    for number in 0..50 {
        client.call(&format!("SET own:{{{number}}}:1 x"));
    }
    for line in ["KEYS *", "KEYS own:*", "KEYS own:{7}:*"] {
        assert_eq!(client.call(line).items().len(), 0, "{line}");
    }
    client.call("SET shown x");
    assert_eq!(client.call("KEYS *").items()[0].text(), "shown");
    let mut found = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = client.call(&format!("SCAN {cursor} COUNT 1000")).items();
        found.extend(reply[1].items().iter().map(|key| key.text()));
        cursor = reply[0].text();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found, ["shown"]);
    for _ in 0..10 {
        let key = client.call("RANDOMKEY");
        assert!(key.is_nil() || key.text() == "shown", "{key}");
    }
}

#[test]
fn a_silent_node_does_not_hold_a_rename_for_ever() {
    let fake = FakeCluster::of(2);
    for node in 0..2 {
        fake.always(node, "WATCH", Act::Freeze);
    }
    let gateway = Gateway::before_nodes(&fake.addresses())
        .setting("routing.cross_slot", "move")
        .setting("backend.request_timeout", "300ms")
        .setting("backend.hold_time", "300ms")
        .start();
    let mut client = gateway.client();
    let [a, _, b] = keys("silent");
    let reply = client.call(&format!("RENAME {a} {b}"));
    assert_eq!(reply.text(), "CLUSTERDOWN The cluster is down");
    assert_eq!(fake.seen(0, "DEL") + fake.seen(1, "RESTORE"), 0, "nothing was written");
    assert_eq!(client.call("PING").text(), "PONG");
}
