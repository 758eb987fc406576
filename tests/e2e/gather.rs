//! Commands that the gateway computes from several slots, and those that store the result: a standalone server with
//! the same keys must answer alike, and hold the same afterwards.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::gather_calls::{CALLS, ERRORS, FIXTURE, PATTERNS, PROBES, is_key};
use crate::harness::{
    Act, Client, Cluster, FakeCluster, Gateway, Reply, Server, key_slot, request, tag_in_slot,
    wait_for,
};

/// A standalone server and a gateway, given the same requests.
struct Pair {
    server: Client,
    gateway: Client,
}

impl Pair {
    fn new(server: &Server, gateway: &Gateway, protocol: u8) -> Self {
        let mut pair = Self { server: server.client(), gateway: gateway.client_of(protocol) };
        if protocol == 3 {
            pair.server.call("HELLO 3");
        }
        pair
    }

    /// Sends all lines to both in one go; says where the replies differ. Keys of the case begin with `prefix`.
    fn differences(&mut self, prefix: &str, lines: &[String]) -> Vec<String> {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| encode(prefix, line)).collect();
        let expected = self.server.exchange(&bytes, lines.len());
        let found = self.gateway.exchange(&bytes, lines.len());
        let rows = lines.iter().zip(expected.iter().zip(&found));
        rows.filter(|(line, (expected, found))| !alike(line, expected, found))
            .map(|(line, (expected, found))| {
                format!("{line}\n  expected {expected}\n  found    {found}")
            })
            .collect()
    }
}

/// A word that is the name of a key gets the prefix.
fn encode(prefix: &str, line: &str) -> Vec<u8> {
    let words: Vec<Vec<u8>> = line
        .split(' ')
        .map(|word| match word {
            "\"\"" => Vec::new(),
            _ if is_key(word) => format!("{prefix}{word}").into(),
            _ => word.replace("\\0", "\0").into(),
        })
        .collect();
    request(&words)
}

/// Members of a set come in any order.
fn alike(line: &str, expected: &Reply, found: &Reply) -> bool {
    let unordered =
        ["SINTER", "SUNION", "SDIFF", "SMEMBERS"].iter().any(|name| line.starts_with(name));
    if expected == found || !unordered {
        return expected == found;
    }
    let (mut these, mut those) = (expected.items(), found.items());
    these.sort();
    those.sort();
    expected.kind() == found.kind() && !these.is_empty() && these == those
}

fn assert_none(protocol: u8, broken: &[String]) {
    let shown = broken.len().min(30);
    assert!(
        broken.is_empty(),
        "RESP{protocol}: {} replies differ\n{}",
        broken.len(),
        broken[..shown].join("\n")
    );
}

fn compare(gateway: &Gateway, protocol: u8, name: &str, calls: &[&str]) {
    let server = Server::standalone();
    let mut pair = Pair::new(&server, gateway, protocol);
    let mut broken = Vec::new();
    for (place, call) in calls.iter().enumerate() {
        let lines = FIXTURE.iter().chain([call]).chain(PROBES);
        let lines: Vec<String> = lines.map(|line| (*line).to_owned()).collect();
        let prefix = format!("{name}:{protocol}:{place}:");
        let differences = pair.differences(&prefix, &lines);
        broken.extend(differences.into_iter().map(|difference| format!("{call}: {difference}")));
    }
    assert_none(protocol, &broken);
}

#[test]
fn keys_of_a_case_are_in_many_slots() {
    let words = FIXTURE.iter().flat_map(|line| line.split(' ')).filter(|word| is_key(word));
    let slots: HashSet<u16> =
        words.map(|key| key_slot(format!("calls:2:0:{key}").as_bytes())).collect();
    assert!(slots.len() > 20, "{slots:?}");
}

#[test]
fn every_call_is_answered_as_by_one_server() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    for protocol in [2, 3] {
        compare(&gateway, protocol, "calls", CALLS);
    }
}

#[test]
fn every_mistake_is_answered_as_by_one_server() {
    let gateway = Gateway::before(Cluster::shared()).start();
    for protocol in [2, 3] {
        compare(&gateway, protocol, "errors", ERRORS);
    }
}

#[test]
fn sort_looks_at_other_keys_when_it_may() {
    let builder = Gateway::before(Cluster::shared());
    let gateway = builder.setting("routing.sort_patterns", true).start();
    for protocol in [2, 3] {
        compare(&gateway, protocol, "patterns", PATTERNS);
    }
    let refused = Gateway::before(Cluster::shared()).start().client().call("SORT a BY w_*");
    assert!(refused.text().starts_with("ERR BY option of SORT denied"), "{refused}");
}

#[test]
fn random_requests_are_answered_as_by_one_server() {
    compare_random(&Gateway::before(Cluster::shared()).workers(2).start(), "random");
}

/// What is large compared with this bound is not read but asked about.
#[test]
fn random_requests_are_answered_alike_when_sets_are_large() {
    let builder = Gateway::before(Cluster::shared());
    compare_random(&builder.setting("routing.gathered_elements", 2500).start(), "large");
}

fn compare_random(gateway: &Gateway, name: &str) {
    let server = Server::standalone();
    for protocol in [2, 3] {
        let mut pair = Pair::new(&server, gateway, protocol);
        for seed in 0..12 {
            let mut random = fastrand::Rng::with_seed(seed * 10 + u64::from(protocol));
            let mut lines = random_values(&mut random);
            for _ in 0..60 {
                lines.push(random_call(&mut random));
                lines.extend(probes_of(random_key(&mut random, "d")));
            }
            let broken = pair.differences(&format!("{name}:{protocol}:{seed}:"), &lines);
            assert_none(protocol, &broken);
        }
    }
}

/// Keys of the random requests: `s1` to `s6` are sets, `z` sorted sets, `t` strings, `h` HyperLogLogs, `x` streams;
/// `d` are written. One of each may be missing.
const KINDS: usize = 6;

fn random_key(random: &mut fastrand::Rng, kind: &str) -> String {
    format!("{kind}{}", random.usize(1..=KINDS))
}

fn random_values(random: &mut fastrand::Rng) -> Vec<String> {
    let mut lines = Vec::new();
    for number in 1..=KINDS {
        let size = *random.choice([0, 1, 5, 40, 400].iter()).unwrap();
        let mut member = || random.usize(..size * 2);
        if size > 0 {
            let members: Vec<String> = (0..size).map(|_| format!(" m{}", member())).collect();
            lines.push(format!("SADD s{number}{}", members.concat()));
            let scored = (0..size).map(|_| {
                let score = (member() as f64 + 1.0) / 2.0;
                format!(" {score} m{}", member())
            });
            // Alone with its score, of which no sum is made in another order.
            let scored: String = scored.collect::<String>() + &format!(" 0.{number} only{number}");
            lines.push(format!("ZADD z{number}{scored}"));
            let text: String = (0..size).map(|_| char::from(b'a' + (member() % 4) as u8)).collect();
            lines.push(format!("SET t{number} {text}"));
            let elements: Vec<String> = (0..size * 20).map(|_| format!(" e{}", member())).collect();
            lines.push(format!("PFADD h{number}{}", elements.concat()));
            for id in 1..=size.min(5) {
                lines.push(format!("XADD x{number} {id}-{number} f v{}", member()));
            }
        }
    }
    lines
}

fn random_call(random: &mut fastrand::Rng) -> String {
    let count = random.usize(1..=5);
    let mut keys = |kind: &str| -> String {
        (0..count).map(|_| format!(" {}", random_key(random, kind))).collect()
    };
    let (sets, sorted, texts, logs, streams) =
        (keys("s"), keys("z"), keys("t"), keys("h"), keys("x"));
    // A plain set among the sorted ones.
    let sorted = if random.u8(..4) == 0 { sorted.replacen(" z1", " s1", 1) } else { sorted };
    let to = random_key(random, "d");
    let (one, other) = (random_key(random, "t"), random_key(random, "t"));
    let limit = random.usize(..6);
    let names = ["UNION", "INTER", "DIFF"];
    let name = names[random.usize(..3)];
    let weighed = weighed(random, name, count);
    let operation = ["AND", "OR", "XOR"][random.usize(..3)];
    match random.u8(..16) {
        0 | 1 => format!("S{name}{sets}"),
        2 => format!("S{name}STORE {to}{sets}"),
        3 => format!("SINTERCARD {count}{sets} LIMIT {limit}"),
        4 | 5 => format!("Z{name} {count}{sorted}{weighed} WITHSCORES"),
        6 => format!("Z{name} {count}{sorted}{weighed}"),
        7 => format!("Z{name}STORE {to} {count}{sorted}{weighed}"),
        8 => format!("ZINTERCARD {count}{sorted} LIMIT {limit}"),
        9 => format!("PFCOUNT{logs}"),
        10 => format!("PFMERGE {to}{logs}"),
        11 => format!("LCS {one} {other} IDX MINMATCHLEN {limit} WITHMATCHLEN"),
        12 => format!("LCS {one} {other}"),
        13 => format!("BITOP {operation} {to}{texts}"),
        14 => format!("COPY {one} {to} REPLACE"),
        _ => {
            let ids: String = (0..count).map(|_| format!(" {}", random.u8(..6))).collect();
            format!("XREAD COUNT 2 STREAMS{streams}{ids}")
        }
    }
}

fn weighed(random: &mut fastrand::Rng, name: &str, count: usize) -> String {
    let mut options = String::new();
    if name != "DIFF" && random.bool() {
        let mut weight = || [" 1", " 2", " 0.5", " -1", " inf", " 1e3"][random.usize(..6)];
        options += " WEIGHTS";
        (0..count).for_each(|_| options += weight());
    }
    if name != "DIFF" && random.bool() {
        options += [" AGGREGATE SUM", " AGGREGATE MIN", " aggregate max"][random.usize(..3)];
    }
    options
}

fn probes_of(key: String) -> Vec<String> {
    let probes = [
        "TYPE D",
        "GET D",
        "SMEMBERS D",
        "ZRANGE D 0 -1 WITHSCORES",
        "PFCOUNT D",
        "STRLEN D",
        "PERSIST D",
    ];
    probes.iter().map(|probe| probe.replace('D', &key)).collect()
}

#[test]
fn each_level_includes_the_ones_before() {
    let error = "CROSSSLOT Keys in request don't hash to the same slot";
    let calls = ["LMPOP 2 n1 n2 LEFT", "SINTER n1 n2", "SUNIONSTORE d1 n1 n2", "SORT n1 STORE d1"];
    for (level, allowed) in [("off", 0), ("split", 1), ("gather", 2), ("store", 4)] {
        let builder = Gateway::before(Cluster::shared()).setting("routing.cross_slot", level);
        let gateway = builder.start();
        let mut client = gateway.client();
        for (place, call) in calls.iter().enumerate() {
            let reply = client.call(call);
            assert_eq!(reply.text() == error, place >= allowed, "{level}: {call}: {reply}");
        }
    }
}

#[test]
fn what_is_too_large_is_refused_and_nothing_is_written() {
    let cluster = Cluster::shared();
    let error = "ERR cross-slot result too large for the gateway";
    let few = Gateway::before(cluster).setting("routing.gathered_elements", 100).start();
    let small = Gateway::before(cluster).setting("routing.gathered_bytes", 4096).start();
    let mut client = few.client();
    let members: String = (0..150).map(|number| format!(" member-{number}")).collect();
    let scored: String = (0..150).map(|number| format!(" {number} member-{number}")).collect();
    client.call(&format!("SADD large:s1{members}"));
    client.call(&format!("ZADD large:z1{scored}"));
    client.call(&format!("RPUSH large:l1{members}"));
    // Of random letters, so that a dump of it is not small.
    let mut random = fastrand::Rng::with_seed(1);
    let text: String = std::iter::repeat_with(|| random.alphanumeric()).take(20_000).collect();
    client.call(&format!("SET large:t1 {text}"));
    client.call("SET large:t2 y");
    client.call("SADD large:s2 member-1 member-149");
    client.call("SET large:d1 kept");
    for (gateway, calls) in [
        (
            &few,
            &[
                "SUNION large:s1 large:s2",
                "SUNIONSTORE large:d1 large:s1 large:s2",
                "SDIFFSTORE large:d1 large:s1 large:s2",
                "ZUNIONSTORE large:d1 2 large:z1 large:s2",
                "ZRANGESTORE large:d1 large:z1 0 -1",
                "ZRANGESTORE large:d1 large:z1 - + BYLEX",
                "SORT large:l1 ALPHA STORE large:d1",
            ][..],
        ),
        (
            &small,
            &[
                "BITOP AND large:d1 large:t1 large:t2",
                "COPY large:t1 large:d1 REPLACE",
                "LCS large:t1 large:t2",
            ][..],
        ),
    ] {
        let mut client = gateway.client();
        for call in calls {
            assert_eq!(client.call(call).text(), error, "{call}");
        }
        assert_eq!(client.call("GET large:d1").text(), "kept");
        // A set that is only asked about may be of any size.
        assert_eq!(client.call("SINTERSTORE large:d2 large:s1 large:s2").integer(), 2);
    }
    assert_eq!(client.call("ZINTERSTORE large:d3 2 large:z1 large:s2").integer(), 2);
    assert_eq!(client.call("ZDIFFSTORE large:d4 2 large:s2 large:z1").integer(), 0);
}

#[test]
fn large_values_are_computed_beside_the_worker() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    let mut lines = Vec::new();
    for (set, from) in [(1, 0), (2, 20_000), (3, 30_000)] {
        for start in (from..from + 40_000).step_by(1000) {
            let numbers = start..start + 1000;
            let members: String =
                numbers.clone().map(|number| format!(" member:{number}")).collect();
            let scored: String =
                numbers.map(|number| format!(" {number} member:{number}")).collect();
            lines.push(format!("SADD huge:s{set}{members}"));
            lines.push(format!("ZADD huge:z{set}{scored}"));
        }
    }
    assert!(client.pipeline(&lines).iter().all(|reply| reply.integer() == 1000));
    let table = [
        ("SUNIONSTORE huge:d1 huge:s1 huge:s2 huge:s3", 70_000),
        ("SINTERSTORE huge:d2 huge:s1 huge:s2 huge:s3", 10_000),
        ("SDIFFSTORE huge:d3 huge:s1 huge:s2 huge:s3", 20_000),
        ("SINTERCARD 3 huge:s1 huge:s2 huge:s3 LIMIT 4321", 4_321),
        ("ZUNIONSTORE huge:d4 3 huge:z1 huge:z2 huge:z3", 70_000),
        ("ZINTERSTORE huge:d5 3 huge:z1 huge:z2 huge:z3", 10_000),
        ("ZDIFFSTORE huge:d6 3 huge:z1 huge:z2 huge:z3", 20_000),
        ("ZRANGESTORE huge:d7 huge:z1 0 -1", 40_000),
        ("SCARD huge:d1", 70_000),
        ("SCARD huge:d2", 10_000),
        ("SCARD huge:d3", 20_000),
        ("ZCARD huge:d4", 70_000),
        ("ZCARD huge:d7", 40_000),
    ];
    for (call, expected) in table {
        assert_eq!(client.call(call).integer(), expected, "{call}");
    }
    assert_eq!(client.call("ZSCORE huge:d4 member:39999").text(), "119997");
    assert_eq!(client.call("SUNION huge:s1 huge:s2").items().len(), 60_000);
}

#[test]
fn a_stored_set_is_always_one_or_the_other() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut client = gateway.client();
    let names = ["a", "b"];
    for name in names {
        for half in 0..2 {
            let members: String =
                (0..1500).map(|number| format!(" {name}{half}:{number}")).collect();
            client.call(&format!("SADD whole:{name}{half}{members}"));
        }
    }
    let done = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        for name in names {
            let (mut writer, done) = (gateway.client(), &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let call = format!("SUNIONSTORE whole:d whole:{name}0 whole:{name}1");
                    assert_eq!(writer.call(&call).integer(), 3000);
                }
            });
        }
        wait_for("the first value", || client.call("EXISTS whole:d").integer() == 1);
        let mut seen = [0, 0];
        wait_for("both values, many times", || {
            let members = client.call("SMEMBERS whole:d").items();
            assert_eq!(members.len(), 3000);
            let first = members[0].payload()[0];
            assert!(members.iter().all(|member| member.payload()[0] == first), "a mixture");
            seen[usize::from(first - b'a')] += 1;
            seen.iter().all(|count| *count >= 20)
        });
        done.store(true, Ordering::Relaxed);
        seen
    });
    assert!(seen.iter().all(|count| *count >= 20));
}

#[test]
fn values_of_a_slot_that_moves_are_complete() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let mut client = gateway.client();
    let slot = 100;
    let key = |name: &str| format!("{{{}}}{name}", tag_in_slot(slot));
    let (one, two, list, empty) = (key("one"), key("two"), key("list"), key("empty"));
    client.call(&format!("SADD {one} a b"));
    client.call(&format!("SADD {two} b c"));
    client.call(&format!("ZADD {one}z 1 a 2 b"));
    client.call(&format!("ZADD {two}z 1 b"));
    client.call(&format!("XADD {one}x 1-1 f v"));
    client.call(&format!("XADD {two}x 1-1 f v"));
    client.call(&format!("RPUSH {list} e1 e2"));
    client.call("SADD other b d");
    client.call("ZADD otherz 5 b");
    client.call("XADD otherx 1-1 f v");
    cluster.begin_migration(slot, 1 - cluster.owner(slot));
    // Some keys are here and some are there.
    assert_eq!(cluster.migrate_keys(slot, 1 - cluster.owner(slot), 4), 4);
    let check = |client: &mut Client| {
        let members = |reply: Reply| {
            let mut members: Vec<String> = reply.items().iter().map(Reply::text).collect();
            members.sort();
            members.join(" ")
        };
        assert_eq!(members(client.call(&format!("SUNION {one} {two} other"))), "a b c d");
        assert_eq!(members(client.call(&format!("SINTER {one} {two} other"))), "b");
        assert_eq!(members(client.call(&format!("SDIFF {one} {two} other"))), "a");
        let sorted = client.call(&format!("ZUNION 3 {one}z {two}z otherz WITHSCORES"));
        assert_eq!(
            sorted.items().iter().map(Reply::text).collect::<Vec<_>>(),
            ["a", "1", "b", "8"]
        );
        let streams = client.call(&format!("XREAD STREAMS {one}x otherx {two}x 0 0 0"));
        assert_eq!(streams.items().len(), 3);
        assert_eq!(client.call(&format!("SUNIONSTORE {empty} {one} {two} other")).integer(), 4);
        assert_eq!(client.call(&format!("COPY other {empty} REPLACE")).integer(), 1);
        client.call(&format!("DEL {empty}"));
    };
    check(&mut client);
    let popped = client.call(&format!("LMPOP 3 {empty} {list} other:list LEFT"));
    assert_eq!(popped.items()[1].items()[0].text(), "e1");
    cluster.finish_migration(slot, 1 - cluster.owner(slot));
    check(&mut client);
}

/// Two nodes, a key at each, and a gateway before them that knows what a set is.
fn two_fakes() -> (FakeCluster, Gateway, [String; 2]) {
    let nodes = FakeCluster::of(2);
    for node in 0..2 {
        nodes.always(node, "SUNION", Act::say("*1\r\n$1\r\na\r\n"));
        nodes.always(node, "MULTI", Act::say("+OK\r\n"));
        nodes.always(node, "DEL", Act::say("+QUEUED\r\n"));
        nodes.always(node, "SADD", Act::say("+QUEUED\r\n"));
        nodes.always(node, "EXEC", Act::say("*2\r\n:1\r\n:1\r\n"));
    }
    let gateway = Gateway::before_nodes(&nodes.addresses()).start();
    let keys = [100, 16_000].map(|slot| format!("{{{}}}", tag_in_slot(slot)));
    (nodes, gateway, keys)
}

#[test]
fn a_node_lost_while_storing_is_no_reason_to_store_twice() {
    let (nodes, gateway, [one, other]) = two_fakes();
    let mut client = gateway.client();
    let call = format!("SUNIONSTORE {other}d {one}s {other}s");
    assert_eq!(client.call(&call).integer(), 1);
    nodes.once(1, "EXEC", vec![Act::SayAndReset(Vec::new())]);
    let reply = client.call(&call);
    assert!(reply.text().starts_with("UNCERTAIN "), "{reply}");
    assert_eq!(nodes.seen(1, "EXEC"), 2);
    assert_eq!(client.call(&call).integer(), 1);
}

#[test]
fn a_node_lost_while_reading_is_asked_again() {
    let (nodes, gateway, [one, other]) = two_fakes();
    let mut client = gateway.client();
    nodes.once(0, "SUNION", vec![Act::SayAndReset(Vec::new())]);
    assert_eq!(client.call(&format!("SUNION {one}s {other}s")).items().len(), 1);
    assert_eq!(nodes.seen(0, "SUNION"), 2);
}

#[test]
fn an_error_of_a_node_ends_the_request_before_anything_is_written() {
    let (nodes, gateway, [one, other]) = two_fakes();
    let mut client = gateway.client();
    nodes.once(0, "SUNION", vec![Act::say("-BUSY Redis is busy running a script.\r\n")]);
    let call = format!("SUNIONSTORE {other}d {one}s {other}s");
    assert!(client.call(&call).text().starts_with("BUSY "));
    // A queue-time error is the reply, and the node has dropped the transaction.
    nodes.once(
        1,
        "SADD",
        vec![Act::say("-OOM command not allowed when used memory > 'maxmemory'.\r\n")],
    );
    nodes.once(
        1,
        "EXEC",
        vec![Act::say("-EXECABORT Transaction discarded because of previous errors.\r\n")],
    );
    assert!(client.call(&call).text().starts_with("OOM "));
    // A reply that is no list of strings.
    nodes.once(1, "SUNION", vec![Act::say("*1\r\n*1\r\n:1\r\n")]);
    assert_eq!(client.call(&call).text(), "ERR unexpected reply from a node");
    assert_eq!(nodes.seen(1, "EXEC"), 1);
}
