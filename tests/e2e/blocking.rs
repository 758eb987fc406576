//! Commands that wait: the answers of one server, whoever wakes them, and nothing lost when somebody leaves.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Client, Cluster, Gateway, Make, Reply, Server, request_line, wait_for};

/// What stands there before each call. `K` is a prefix that puts keys into one slot or into several.
const FIXTURE: &[&str] = &[
    "DEL Klist Klist2 Kzset Kstream Kstream2 Ktext Knone Knone2",
    "RPUSH Klist a b c",
    "ZADD Kzset 1 m 2.5 n inf o",
    "XADD Kstream 1-1 f v",
    "XADD Kstream2 2-1 g w",
    "XGROUP CREATE Kstream g 0",
    "SET Ktext x",
];

/// Calls that need not wait, or not for long.
pub(crate) const CALLS: &[&str] = &[
    "BLPOP Knone Klist 1",
    "BRPOP Klist Knone 1",
    "BLPOP Klist Klist 1",
    "BLPOP Knone Knone2 0.01",
    "BLPOP Knone Knone 0.01",
    "BRPOP Knone Knone2 0.01",
    "BLMPOP 1 2 Knone Klist LEFT",
    "BLMPOP 1 2 Knone Klist right COUNT 2",
    "BLMPOP 0.01 2 Knone Knone2 LEFT",
    "BZPOPMIN Knone Kzset 1",
    "BZPOPMAX Knone Kzset 1",
    "BZPOPMIN Knone Knone2 0.01",
    "BZPOPMAX Knone Knone2 0.01",
    "BZMPOP 1 2 Knone Kzset MIN COUNT 2",
    "BZMPOP 1 2 Knone Kzset MAX",
    "BZMPOP 0.01 2 Knone Knone2 MAX",
    "XREAD BLOCK 1000 STREAMS Kstream Kstream2 0 0",
    "XREAD COUNT 1 BLOCK 1000 STREAMS Kstream2 Knone 0 0",
    "XREAD BLOCK 10 STREAMS Kstream Knone $ $",
    "XREADGROUP GROUP g c BLOCK 1000 STREAMS Kstream >",
    "XREADGROUP GROUP g c BLOCK 1000 STREAMS Kstream 0",
    "XREADGROUP GROUP g c BLOCK 1000 STREAMS Kstream2 >",
    "XREADGROUP GROUP g c BLOCK 1000 STREAMS Kstream Kstream2 > >",
    "BLPOP Ktext Klist 1",
    "BLPOP Klist Ktext 1",
    "BZPOPMIN Klist Kzset 1",
    "BZPOPMIN Knone Klist 1",
    "BLMPOP 1 2 Knone Kzset LEFT",
    "BZMPOP 1 2 Knone Klist MIN",
    "XREAD BLOCK 1000 STREAMS Kstream Ktext 0 0",
    "XREAD BLOCK 1000 STREAMS Knone Ktext $ $",
    "BLPOP Klist Knone x",
    "BLPOP Klist Knone -1",
    "BLPOP Klist Knone nan",
    "BZPOPMAX Kzset Knone -0.5",
    "BLMPOP x 2 Klist Knone LEFT",
    "BLMPOP 1 2 Klist Knone UP",
    "BLMPOP 1 2 Klist Knone LEFT COUNT 0",
    "BLMPOP 1 2 Klist Knone LEFT COUNT",
    "BLMPOP 1 2 Klist Knone LEFT FOO 1",
    "BLMPOP 1 0 Klist LEFT",
    "BLMPOP 1 9 Klist LEFT",
    "BZMPOP 1 2 Kzset Knone LEFT",
    "XREAD BLOCK x STREAMS Kstream Knone 0 0",
    "XREAD BLOCK -1 STREAMS Kstream Knone 0 0",
    "XREAD BLOCK 10 STREAMS Kstream Knone 0 x",
    "XREAD BLOCK 10 STREAMS Kstream Knone 0",
    "XREAD BLOCK 10 COUNT x STREAMS Kstream Knone 0 0",
    "XREADGROUP GROUP g c BLOCK 10 STREAMS Kstream $",
];

/// The same for two keys that must share a slot.
pub(crate) const MOVES: &[&str] = &[
    "BLMOVE Klist Klist2 LEFT RIGHT 1",
    "BLMOVE Klist Klist right left 1",
    "BLMOVE Knone Klist2 LEFT RIGHT 0.01",
    "BLMOVE Ktext Klist2 LEFT RIGHT 1",
    "BLMOVE Klist Ktext LEFT RIGHT 1",
    "BLMOVE Klist Klist2 LEFT UP 1",
    "BLMOVE Klist Klist2 LEFT RIGHT x",
    "BRPOPLPUSH Klist Klist2 1",
    "BRPOPLPUSH Knone Klist2 0.01",
    "BRPOPLPUSH Klist Klist2 -1",
];

/// What looks at the effect.
const PROBES: &[&str] =
    &["LRANGE Klist 0 -1", "LRANGE Klist2 0 -1", "ZRANGE Kzset 0 -1 WITHSCORES"];

/// A call that waits, and what somebody else does then.
const WAKES: &[(&str, &str)] = &[
    ("BLPOP Knone Knone2 30", "RPUSH Knone2 one two"),
    ("BRPOP Knone Knone2 30", "RPUSH Knone one two"),
    ("BLMPOP 30 2 Knone Knone2 LEFT COUNT 5", "RPUSH Knone2 one two"),
    ("BZPOPMIN Knone Knone2 30", "ZADD Knone2 1.5 one"),
    ("BZPOPMAX Knone Knone2 30", "ZADD Knone 1.5 one 7 two"),
    ("BZMPOP 30 2 Knone Knone2 MAX COUNT 5", "ZADD Knone2 1.5 one 7 two"),
    ("XREAD BLOCK 30000 STREAMS Knone Kstream 0 $", "XADD Knone 5-1 f v"),
    ("XREAD BLOCK 30000 STREAMS Knone Kstream $ $", "XADD Kstream 9-1 f v"),
    ("BLPOP Ktext Knone2 30", "RPUSH Knone2 one"),
];

const WAKES_IN_ONE_SLOT: &[(&str, &str)] = &[
    ("BLMOVE Knone Klist2 LEFT RIGHT 30", "RPUSH Knone one two"),
    ("BRPOPLPUSH Knone Klist2 30", "RPUSH Knone one two"),
    ("XREADGROUP GROUP h c BLOCK 30000 STREAMS Kstream >", "XADD Kstream 9-1 f v"),
];

/// Prefixes of keys that share a slot, and of keys that do not.
fn prefixes(name: &str) -> [(String, bool); 2] {
    [(format!("{{{name}}}"), true), (format!("{name}:"), false)]
}

fn filled(line: &str, prefix: &str) -> String {
    line.split(' ')
        .map(|word| match word.strip_prefix('K') {
            Some(name) => format!("{prefix}{name}"),
            None => word.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn prepare(client: &mut Client, prefix: &str) {
    for line in FIXTURE {
        // DEL of keys that are not there is no failure.
        let reply = client.call(&filled(line, prefix));
        assert!(!reply.is_error(), "{line}: {reply}");
    }
}

/// How many clients wait, by the server's or the gateway's own account.
fn blocked(client: &mut Client) -> usize {
    let info = client.call("INFO clients").text();
    let line = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    line.unwrap().parse().unwrap()
}

pub(crate) fn wait_until_blocked(client: &mut Client, count: usize) {
    wait_for("clients that wait", || blocked(client) == count);
}

#[test]
fn answers_without_a_wait_are_alike() {
    compare_calls(&Gateway::before(Cluster::shared()).workers(2).start(), "calls", false);
}

/// Without leases every wait watches its keys.
#[test]
fn answers_without_a_wait_are_alike_without_leases() {
    let gateway = Gateway::before(Cluster::shared()).setting("backend.leases", 0).start();
    compare_calls(&gateway, "watched-calls", false);
}

/// An element that goes from slot to slot is taken when it comes, as well.
#[test]
fn moves_between_slots_wait_too() {
    let gateway = Gateway::before(Cluster::shared()).setting("routing.cross_slot", "move").start();
    compare_calls(&gateway, "move-calls", true);
    compare_wakes(&gateway, "move-wakes", &WAKES_IN_ONE_SLOT[..2]);
}

/// `moves`: also between slots.
fn compare_calls(gateway: &Gateway, name: &str, moves: bool) {
    let server = Server::standalone();
    for protocol in [2, 3] {
        let (mut one, mut other) = (client_of(&server, protocol), gateway.client_of(protocol));
        for (prefix, together) in prefixes(&format!("{name}{protocol}")) {
            let moves = if together || moves { MOVES } else { &[] };
            for line in CALLS.iter().chain(moves) {
                let call = filled(line, &prefix);
                for client in [&mut one, &mut other] {
                    prepare(client, &prefix);
                }
                assert_eq!(one.call(&call), other.call(&call), "{call} in RESP{protocol}");
                for probe in PROBES {
                    let probe = filled(probe, &prefix);
                    assert_eq!(one.call(&probe), other.call(&probe), "{probe} after {call}");
                }
            }
        }
    }
}

fn client_of(server: &Server, protocol: u8) -> Client {
    let mut client = server.client();
    if protocol == 3 {
        assert!(!client.call("HELLO 3").is_error());
    }
    client
}

#[test]
fn others_wake_those_who_wait() {
    compare_wakes(&Gateway::before(Cluster::shared()).workers(2).start(), "wakes", WAKES);
}

#[test]
fn others_wake_those_who_wait_without_leases() {
    let gateway = Gateway::before(Cluster::shared()).setting("backend.leases", 0).start();
    compare_wakes(&gateway, "watched-wakes", WAKES);
}

fn compare_wakes(gateway: &Gateway, name: &str, wakes: &[(&str, &str)]) {
    let server = Server::standalone();
    for protocol in [2, 3] {
        for (prefix, together) in prefixes(&format!("{name}{protocol}")) {
            let more = if together { WAKES_IN_ONE_SLOT } else { &[] };
            for (call, wake) in wakes.iter().chain(more) {
                // A key of the wrong type is an error at first; it must become one later.
                let (call, wake) = (filled(call, &prefix), filled(wake, &prefix));
                let one =
                    woken(client_of(&server, protocol), server.client(), &prefix, [&call, &wake]);
                let other =
                    woken(gateway.client_of(protocol), gateway.client(), &prefix, [&call, &wake]);
                // Since 7.2 a server looks at all keys again when one has something, and finds the wrong type;
                // whoever watches keys one by one is given what came.
                let finds_more = Make::of_servers().is_since(7, 2)
                    && one.text().starts_with("WRONGTYPE ")
                    && other.items().last().is_some_and(|element| element.text() == "one");
                assert!(
                    one == other || finds_more,
                    "{call} woken by {wake} in RESP{protocol}: {one}, {other}"
                );
                assert!(!one.is_nil(), "{call}: {one}");
            }
        }
    }
}

fn woken(mut waiter: Client, mut other: Client, prefix: &str, [call, wake]: [&str; 2]) -> Reply {
    prepare(&mut other, prefix);
    let text = filled("Ktext", prefix);
    other.call(&format!("DEL {text}"));
    other.call(&filled("XGROUP CREATE Kstream h $", prefix));
    waiter.send(&request_line(call));
    wait_until_blocked(&mut other, 1);
    // Whoever waits for it waits on: to those who wait, a key of another type is an absent one.
    other.call(&format!("SET {text} x"));
    assert!(!other.call(wake).is_error());
    let reply = waiter.reply();
    wait_until_blocked(&mut other, 0);
    reply
}

/// A move between two slots needs more than a wait.
#[test]
fn what_cannot_be_done_over_slots_is_refused() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let strict = Gateway::before(Cluster::shared()).setting("routing.cross_slot", "off").start();
    let crossslot = "CROSSSLOT Keys in request don't hash to the same slot";
    for line in ["BLMOVE refused:1 refused:2 LEFT LEFT 0", "BRPOPLPUSH refused:1 refused:2 0"] {
        assert_eq!(gateway.client().call(line).text(), crossslot, "{line}");
        assert_eq!(strict.client().call(line).text(), crossslot, "{line}");
    }
    for line in ["BLPOP refused:1 refused:2 0", "XREAD BLOCK 0 STREAMS refused:1 refused:2 0 0"] {
        assert_eq!(strict.client().call(line).text(), crossslot, "{line}");
    }
    assert!(strict.client().call("BLPOP {refused}1 {refused}2 0.01").is_nil());
}

#[test]
fn a_wait_takes_its_time() {
    let gateway = Gateway::before(Cluster::shared()).start();
    for line in ["BLPOP time:1 0.3", "BLPOP time:1 time:2 0.3", "XREAD BLOCK 300 STREAMS time:1 0"]
    {
        let mut client = gateway.client();
        let start = Instant::now();
        assert!(client.call(line).is_nil(), "{line}");
        let took = start.elapsed();
        assert!(took > Duration::from_millis(295), "{line}: {took:?}");
    }
}

#[test]
fn a_wait_can_be_ended_by_others() {
    let server = Server::standalone();
    let gateways = [
        Gateway::before(Cluster::shared()).workers(2).start(),
        Gateway::before(Cluster::shared()).setting("backend.leases", 0).start(),
    ];
    for how in ["", " TIMEOUT", " ERROR"] {
        for protocol in [2, 3] {
            for keys in ["unblock", "unblock unblock2"] {
                let ended = |mut waiter: Client, mut other: Client| {
                    let id = waiter.call("CLIENT ID").integer();
                    waiter.send(&request_line(&format!("BLPOP {keys} 0")));
                    wait_until_blocked(&mut other, 1);
                    let line = other.call(&format!("CLIENT LIST ID {id}")).text();
                    assert!(line.contains(" flags=b ") && line.contains(" cmd=blpop "), "{line}");
                    assert_eq!(other.call(&format!("CLIENT UNBLOCK {id}{how}")).integer(), 1);
                    let reply = waiter.reply();
                    wait_until_blocked(&mut other, 0);
                    assert_eq!(other.call(&format!("CLIENT UNBLOCK {id}{how}")).integer(), 0);
                    // What comes afterwards is for somebody else, and the client goes on.
                    assert_eq!(other.call("RPUSH unblock x").integer(), 1);
                    assert_eq!(waiter.call("LPOP unblock").text(), "x");
                    reply
                };
                let expected = ended(client_of(&server, protocol), server.client());
                for gateway in &gateways {
                    let reply = ended(gateway.client_of(protocol), gateway.client());
                    assert_eq!(reply, expected, "BLPOP {keys} ended by{how}");
                }
            }
        }
    }
}

/// Clients that leave, in every way, while they wait: nobody pops for them.
#[test]
fn nothing_is_taken_for_a_client_that_has_left() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut other = gateway.client();
    for keys in ["left", "left left2"] {
        for way in 0..5 {
            let mut waiter = gateway.client();
            let id = waiter.call("CLIENT ID").integer();
            waiter.send(&request_line(&format!("BLPOP {keys} 0")));
            wait_until_blocked(&mut other, 1);
            match way {
                0 => drop(waiter),
                1 => waiter.reset(),
                2 => waiter.close_writing(),
                3 => {
                    // More than is read while it waits.
                    waiter.send(&request_line("PING").repeat(3_000));
                    waiter.close_writing();
                }
                _ => assert_eq!(other.call(&format!("CLIENT KILL ID {id}")).integer(), 1),
            }
            wait_until_blocked(&mut other, 0);
            assert_eq!(other.call("RPUSH left x").integer(), 1, "way {way}");
            assert_eq!(other.call("LLEN left").integer(), 1, "way {way}");
            assert_eq!(other.call("LPOP left").text(), "x");
        }
    }
}

/// What a client sends behind a request that waits is answered after it, in order.
#[test]
fn what_follows_a_wait_waits_too() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut other = gateway.client();
    for keys in ["follow", "follow follow2"] {
        let mut waiter = gateway.client();
        let mut lines = vec!["SET follow:before 1".to_owned(), format!("BLPOP {keys} 0")];
        lines.extend((0..4_000).map(|number| format!("ECHO {number}")));
        lines.extend([format!("BLPOP {keys} 0.01"), "GET follow:before".to_owned()]);
        let bytes: Vec<u8> = lines.iter().flat_map(|line| request_line(line)).collect();
        waiter.send(&bytes);
        assert_eq!(waiter.reply().text(), "OK");
        wait_until_blocked(&mut other, 1);
        assert_eq!(other.call("RPUSH follow x").integer(), 1);
        assert_eq!(waiter.reply().items()[1].text(), "x");
        for number in 0..4_000 {
            assert_eq!(waiter.reply().text(), number.to_string());
        }
        assert!(waiter.reply().is_nil());
        assert_eq!(waiter.reply().text(), "1");
    }
}

/// A server that stops closes its connections without a word to those who wait; so does a gateway.
#[test]
fn a_drain_ends_all_waits() {
    // Longer than this test waits for its end.
    let builder = Gateway::before(Cluster::shared()).setting("runtime.drain_time", "10m");
    let mut gateway = builder.workers(2).start();
    let mut waiters: Vec<Client> =
        (0..20).map(|number| gateway.client_of(2 + number % 2)).collect();
    for (number, waiter) in waiters.iter_mut().enumerate() {
        let keys = if number < 10 { "drained" } else { "drained drained2" };
        waiter.send(&request_line(&format!("BLPOP {keys} 0")));
        waiter.send(&request_line("PING"));
    }
    wait_until_blocked(&mut gateway.client(), 20);
    gateway.signal(Signal::TERM);
    gateway.wait_for_end();
    for waiter in &mut waiters {
        assert_eq!(waiter.read_to_end(), b"");
    }
    let mut owner = Cluster::shared().owner_client("drained");
    assert_eq!(owner.call("RPUSH drained x").integer(), 1);
    assert_eq!(owner.call("LPOP drained").text(), "x");
}

/// Those who watch the same keys are served in the order in which they came.
#[test]
fn first_come_first_served() {
    let gateway = Gateway::before(Cluster::shared()).setting("backend.leases", 0).start();
    let mut other = gateway.client();
    for prefix in ["{turns}", "turns:"] {
        let mut waiters = Vec::new();
        for number in 0..6 {
            let mut waiter = gateway.client_of(2 + number % 2);
            waiter.send(&request_line(&format!("BLPOP {prefix}1 {prefix}2 0")));
            wait_until_blocked(&mut other, waiters.len() + 1);
            waiters.push(waiter);
        }
        for (number, waiter) in waiters.iter_mut().enumerate() {
            other.call(&format!("RPUSH {prefix}{} {number}", 1 + number % 2));
            assert_eq!(waiter.reply().items()[1].text(), number.to_string());
        }
    }
}

#[test]
fn a_thousand_wait_at_once() {
    const EACH: usize = 500;
    let gateway =
        Gateway::before(Cluster::shared()).workers(2).setting("backend.leases", 200).start();
    let mut other = gateway.client();
    let mut waiters: Vec<Client> = (0..2 * EACH)
        .map(|number| {
            let mut waiter = gateway.client_of(2 + (number % 2) as u8);
            let keys = if number < EACH { "thousand:1" } else { "thousand:2 thousand:3" };
            waiter.send(&request_line(&format!("BLPOP {keys} 0")));
            waiter
        })
        .collect();
    wait_until_blocked(&mut other, 2 * EACH);
    // They are no burden to others.
    let lines: Vec<String> = (0..1_000).map(|number| format!("SET thousand:k{number} v")).collect();
    assert!(other.pipeline(&lines).iter().all(|reply| reply.text() == "OK"));
    let push = |key: &str, first: usize, count: usize| {
        let elements: Vec<String> =
            (first..first + count).map(|number| number.to_string()).collect();
        format!("RPUSH {key} {}", elements.join(" "))
    };
    other.call(&push("thousand:1", 0, EACH));
    other.call(&push("thousand:2", EACH, EACH / 2));
    other.call(&push("thousand:3", EACH + EACH / 2, EACH / 2));
    let mut got: Vec<usize> = waiters
        .iter_mut()
        .map(|waiter| waiter.reply().items()[1].text().parse().unwrap())
        .collect();
    got.sort_unstable();
    assert_eq!(got, (0..2 * EACH).collect::<Vec<_>>());
    wait_until_blocked(&mut other, 0);
}

#[test]
fn those_who_wait_do_not_delay_others() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut waiters: Vec<Client> = (0..40).map(|_| gateway.client()).collect();
    for (number, waiter) in waiters.iter_mut().enumerate() {
        let line = ["BLPOP delay 0", "BLPOP delay delay2 0", "XREAD BLOCK 0 STREAMS delay3 $"];
        waiter.send(&request_line(line[number % 3]));
    }
    let mut other = gateway.client();
    wait_until_blocked(&mut other, 40);
    let took = (0..200).map(|number| {
        let start = Instant::now();
        assert_eq!(other.call(&format!("SET delay:{number} x")).text(), "OK");
        start.elapsed()
    });
    // A busy machine may delay a few of them.
    let mut took: Vec<Duration> = took.collect();
    took.sort();
    assert!(took[100] < Duration::from_secs(1), "{took:?}");
    // Only those who wait for a stream see it, and all of them do.
    other.call("XADD delay3 1-1 f v");
    for waiter in waiters.iter_mut().skip(2).step_by(3) {
        assert_eq!(waiter.reply().items()[0].items()[0].text(), "delay3");
    }
    wait_until_blocked(&mut other, 27);
}

/// More arrives than one wait takes: whoever comes next finds it at once.
#[test]
fn a_full_list_is_emptied_by_few() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut other = gateway.client();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..4)
            .map(|number| {
                let mut waiter = gateway.client_of(2 + number % 2);
                scope.spawn(move || {
                    (0..50)
                        .map(|_| waiter.call("BLPOP few few2 0").items()[1].text())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for number in 0..200 {
            other.call(&format!("RPUSH {} {number}", if number % 2 == 0 { "few" } else { "few2" }));
        }
        let mut got: Vec<usize> = waiters
            .into_iter()
            .flat_map(|waiter| waiter.join().unwrap())
            .map(|element| element.parse().unwrap())
            .collect();
        got.sort_unstable();
        assert_eq!(got, (0..200).collect::<Vec<_>>());
    });
}
