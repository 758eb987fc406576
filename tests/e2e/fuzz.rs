//! Sessions from a seed: clients that speak RESP well and badly, before nodes that answer well and badly.
//!
//! Runs for `SLOTWAY_FUZZ_SECONDS` (2 by default) from `SLOTWAY_FUZZ_SEED`, or a seed of the moment; a failure shows
//! it. Three nodes: the first says anything, the second breaks connections but never lies, the third behaves. A
//! `GET` is answered with its key, and no key is asked for twice, so every reply names the request that it is for.

#[path = "../fuzz/random.rs"]
mod random;

use std::collections::VecDeque;
use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::{
    Act, Client, FakeCluster, Gateway, Reply, StopAtEnd, request_line, tag_in_slot, wait_for,
};
use random::Random;

const MEBIBYTE: usize = 1 << 20;
/// What the gateway may take up, with the limits that it is given: what clients hold, what is computed, and what
/// its connections to the nodes keep.
const MOST_RESIDENT: usize = 256 * MEBIBYTE;
/// Connections that stay open and unread.
const PARKED: usize = 24;
const LIAR: usize = 0;
const BREAKER: usize = 1;

const COMMANDS: &[&str] = &[
    "GET @",
    "GET @",
    "SET @ value",
    "MGET @ @ @",
    "DEL @ @",
    "MSET @ 1 @ 2",
    "INCR @",
    "STRLEN @",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH @",
    "UNWATCH",
    "SUBSCRIBE a b",
    "PSUBSCRIBE a*",
    "SSUBSCRIBE @",
    "UNSUBSCRIBE",
    "PUBLISH a text",
    "SPUBLISH @ text",
    "BLPOP @ 0.1",
    "BLPOP @ @ 0.1",
    "EVAL return(1) 1 @",
    "EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 @",
    "SCAN 0",
    "KEYS *",
    "DBSIZE",
    "RANDOMKEY",
    "INFO",
    "HELLO 3",
    "HELLO 2",
    "CLIENT LIST",
    "CLIENT REPLY OFF",
    "CLIENT REPLY ON",
    "CLIENT REPLY SKIP",
    "RESET",
    "QUIT",
    "SUNION @ @",
    "SUNIONSTORE @ @ @",
    "SORT @",
    "XREAD STREAMS @ @ 0 0",
    "LMPOP 2 @ @ LEFT",
    "CONFIG GET *",
    "COMMAND COUNT",
    "COMMAND DOCS get",
    "ECHO text",
    "PING",
    "FLUSHALL",
    "SCRIPT EXISTS @",
    "RENAME @ @",
    "COPY @ @",
    "LCS @ @",
    "OBJECT ENCODING @",
    "UNKNOWN @",
    "ACL WHOAMI",
    "AUTH x",
];

/// What a node is told to do about requests that start so.
const WORDS: &[&str] = &[
    "GET",
    "SET",
    "MGET",
    "DEL",
    "INCR",
    "EVAL",
    "BLPOP",
    "SUNION",
    "SMEMBERS",
    "SCAN",
    "KEYS",
    "DBSIZE",
    "INFO",
    "CLUSTER SLOTS",
    "CLUSTER SHARDS",
    "COMMAND",
    "CONFIG",
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "SSUBSCRIBE",
    "PUBLISH",
    "MULTI",
    "EXEC",
    "WATCH",
    "PING",
    "HELLO",
    "SCRIPT",
    "XREAD",
];

const REPLIES: &[&str] = &[
    "+OK\r\n",
    "-ERR no\r\n",
    ":1\r\n",
    ":x\r\n",
    "$3\r\nabc\r\n",
    "$3\r\nabcd\r\n",
    "$-1\r\n",
    "$-7\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*2\r\n:1\r\n$1\r\na\r\n",
    "*-9\r\n",
    "%1\r\n+a\r\n+b\r\n",
    "~1\r\n:1\r\n",
    "!5\r\nERR x\r\n",
    "_\r\n",
    "#t\r\n",
    ",nan\r\n",
    "(123456789012345678901234567890\r\n",
    "=7\r\ntxt:abc\r\n",
    "|1\r\n+a\r\n+b\r\n+c\r\n",
    "$?\r\n;3\r\nabc\r\n;0\r\n",
    "*?\r\n:1\r\n.\r\n",
    "$999999999999\r\nabc",
    "*2147483647\r\n:1\r\n",
    "*99999999999999999999\r\n",
    "$536870912\r\nabc",
    "\r\n",
    "GET\r\n",
    "\0\0\0\0",
    ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
    ">2\r\n$10\r\ninvalidate\r\n_\r\n",
    "+OK\r\n+OK\r\n",
    "-MOVED 1 127.0.0.1:1\r\n",
    "-MOVED 99999 x\r\n",
    "-MOVED\r\n",
    "-ASK 1 :0\r\n",
    "-ASK 5 127.0.0.1:2\r\n",
    "-TRYAGAIN x\r\n",
    "-CLUSTERDOWN x\r\n",
    "-LOADING x\r\n",
    "-READONLY x\r\n",
    "-NOSCRIPT x\r\n",
    "-EXECABORT x\r\n",
];

const ENDLESS: &[(&str, &str)] = &[
    ("*1000000000\r\n", ":1\r\n"),
    ("$536870912\r\n", "x"),
    ("+", "x"),
    ("", "*1\r\n"),
    ("*?\r\n", "$1\r\na\r\n"),
    ("", ">1\r\n+push\r\n"),
    ("", ":1\r\n"),
];

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}

/// A client that knows what it must be told, and counts how often it was.
struct Checker {
    tag: String,
    strict: bool,
    served: AtomicU64,
}

impl Checker {
    fn on_slot(slot: u16, strict: bool) -> Self {
        Self { tag: tag_in_slot(slot), strict, served: AtomicU64::new(0) }
    }

    /// Asks until it is told to stop. Panics when it is told anything that is not for it.
    fn run(&self, connect: impl Fn() -> Client, stop: &AtomicBool) {
        let mut client = connect();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let key = format!("{{{}}}:{number}", self.tag);
            match client.try_call(&format!("GET {key}")) {
                Ok(reply) if reply.text() == key => {
                    self.served.fetch_add(1, Ordering::Relaxed);
                }
                Ok(reply) if self.may_be_told(&reply) => {}
                // A node that breaks off in the middle of a reply leaves nothing but the end of the connection.
                Err(_) if !self.strict => client = connect(),
                found => panic!("{key} was told {found:?}"),
            }
        }
    }

    /// Errors that are this client's own: its node was away for too long, on a busy machine even the one that
    /// behaves, or is the one that says such a thing.
    fn may_be_told(&self, reply: &Reply) -> bool {
        let away = reply.text().starts_with("CLUSTERDOWN Hash slot ");
        reply.is_error() && (away || (!self.strict && reply.text() == "LOADING soon"))
    }

    fn wait_until_served_again(&self) {
        let before = self.served.load(Ordering::Relaxed);
        wait_for("a reply for a client of the node that behaves", || {
            self.served.load(Ordering::Relaxed) > before
        });
    }
}

/// What a node that says anything does next.
fn lie(random: &mut Random) -> Act {
    let mut bytes = random.pick(REPLIES).as_bytes().to_vec();
    match random.below(9) {
        0 => {
            let (first, again) = ENDLESS[random.below(ENDLESS.len())];
            Act::SayForEver(first.into(), again.repeat((32 << 10) / again.len()).into())
        }
        1 => Act::Freeze,
        2 => Act::Drip(bytes),
        3 => Act::SayAndClose(bytes),
        4 => Act::SayAndReset(bytes),
        5 => Act::SayLate(Duration::from_millis(20), bytes),
        6 => {
            random.damage(&mut bytes);
            Act::Say(bytes)
        }
        7 => Act::Say(random.bytes(70_000)),
        _ => Act::Say(bytes),
    }
}

/// What a node that only breaks connections does to one.
fn broken(random: &mut Random) -> Act {
    match random.below(5) {
        0 => Act::SayAndReset(b"$30\r\nab".to_vec()),
        1 => Act::SayAndClose(Vec::new()),
        2 => Act::SayAndClose([b"$40000\r\n" as &[u8], &[b'x'; 30_000]].concat()),
        3 => Act::Drip(b"-LOADING soon\r\n".to_vec()),
        _ => Act::Freeze,
    }
}

/// Requests in a row, some of them wrong.
fn stream(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(10) {
        let mut line = random.pick(COMMANDS).to_owned();
        while line.contains('@') {
            line = line.replacen('@', &format!("k{}", random.below(200)), 1);
        }
        match random.below(12) {
            0 => bytes.extend(format!("{line}\r\n").bytes()),
            1 => bytes.extend(random.bytes(20_000)),
            2 => {
                let value = "v".repeat(random.below(200_000));
                bytes.extend(request_line(&format!("SET k{} {value}", random.below(200))));
            }
            3 => bytes.extend(request_line(&line).repeat(300)),
            _ => bytes.extend(request_line(&line)),
        }
    }
    if random.once_in(3) {
        random.damage(&mut bytes);
    }
    bytes
}

/// One client from its first byte to its end, which may be to stay there unread.
fn visit(random: &mut Random, gateway: &Gateway, parked: &mut VecDeque<Client>) {
    let mut client = gateway.client().patience(Duration::from_millis(20));
    let bytes = stream(random);
    // Many pieces of a long stream would take longer than they tell.
    let cuts = if bytes.len() < 4_096 { random.cuts(bytes.len()) } else { vec![0, bytes.len()] };
    for ends in cuts.windows(2) {
        // The gateway may have closed already.
        if client.try_send(&bytes[ends[0]..ends[1]]).is_err() {
            return;
        }
    }
    match random.below(6) {
        0 => client.reset(),
        1 => {
            client.close_writing();
            parked.push_back(client);
        }
        2 => parked.push_back(client),
        3 => {}
        // What it is told may be anything, as long as it is told something or sent away.
        _ => while client.try_reply().is_ok() {},
    }
    if parked.len() > PARKED {
        parked.pop_front();
    }
}

#[test]
fn sessions_from_a_seed_harm_nobody_else() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("SLOTWAY_FUZZ_SEED").unwrap_or(now);
    println!("SLOTWAY_FUZZ_SEED={seed}");
    let limit = Duration::from_secs(number("SLOTWAY_FUZZ_SECONDS").unwrap_or(2));
    let mut random = Random::new(seed);
    let fake = FakeCluster::of(3);
    let gateway = Gateway::before_nodes(&fake.addresses())
        .workers(2)
        .setting("backend.request_timeout", "1s")
        .setting("backend.hold_time", "300ms")
        .setting("runtime.drain_time", "1s")
        .setting("limits.client_memory", "48MiB")
        .setting("limits.output_hard", "16MiB")
        .setting("backend.leases", 3)
        .setting("limits.request_bytes", "16MiB")
        .setting("limits.bulk_bytes", "8MiB")
        .setting("routing.gathered_bytes", "8MiB")
        .setting("routing.gathered_bytes_all", "16MiB")
        .start();
    let steady = Checker::on_slot(16_000, true);
    let checkers = [Checker::on_slot(6_000, false), Checker::on_slot(8_000, false)];
    let stop = AtomicBool::new(false);
    let (start, mut rounds, mut most) = (Instant::now(), 0, 0);
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        for checker in checkers.iter().chain([&steady]) {
            scope.spawn(|| checker.run(|| gateway.client(), &stop));
        }
        let mut parked = VecDeque::new();
        while start.elapsed() < limit {
            fake.forget(LIAR);
            for _ in 0..4 {
                fake.always(LIAR, random.pick(WORDS), lie(&mut random));
            }
            fake.once(BREAKER, "GET", vec![broken(&mut random)]);
            for _ in 0..8 {
                visit(&mut random, &gateway, &mut parked);
            }
            (0..3).for_each(|node| fake.forget_requests(node));
            steady.wait_until_served_again();
            most = most.max(gateway.resident_bytes());
            assert!(most < MOST_RESIDENT, "{most} bytes in round {rounds}");
            rounds += 1;
        }
    });
    assert!(gateway.metric("slotway_panics_total") < 0.5);
    let served = steady.served.load(Ordering::Relaxed);
    println!("{rounds} rounds, {served} requests served beside them, {} MiB at most", most >> 20);
}

/// Whether a checker finds fault with a gateway that answers its second request like this.
fn is_found(strict: bool, reply: &str) -> bool {
    let gateway = FakeCluster::of(1);
    let checker = Checker::on_slot(0, strict);
    let first = format!("GET {{{}}}:1", checker.tag);
    gateway.always(0, &first, Act::say(&reply.replace("TAG", &checker.tag)));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let checking =
            scope.spawn(|| checker.run(|| Client::connect(gateway.addresses()[0]), &stop));
        wait_for("a verdict", || {
            checking.is_finished() || checker.served.load(Ordering::Relaxed) > 10
        });
        stop.store(true, Ordering::Relaxed);
        checking.join().is_err()
    })
}

#[test]
fn replies_that_are_crossed_would_be_found() {
    let length = tag_in_slot(0).len() + 4;
    let value = |key: &str| format!("${length}\r\n{key}\r\n");
    let own = value("{TAG}:1");
    for strict in [true, false] {
        assert!(!is_found(strict, &own), "its own");
        assert!(!is_found(strict, "-CLUSTERDOWN Hash slot 0 not served\r\n"), "its node is away");
        for (what, reply) in [
            ("its last one again", value("{TAG}:0")),
            ("one that it will ask for", value("{TAG}:2")),
            ("another client's", "$3\r\nk17\r\n".to_owned()),
            ("another client's list", "*1\r\n$3\r\nk17\r\n".to_owned()),
            ("another client's number", ":1\r\n".to_owned()),
            ("another client's OK", "+OK\r\n".to_owned()),
            ("another client's error", "-WRONGTYPE no\r\n".to_owned()),
            ("another client's nothing", "$-1\r\n".to_owned()),
            ("a message", ">2\r\n+invalidate\r\n_\r\n".to_owned()),
            ("one too many", own.repeat(2)),
        ] {
            assert!(is_found(strict, &reply), "{what}");
        }
    }
}
