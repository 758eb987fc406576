//! How often the gateway allocates for a request: on the hot path, never. And what it keeps for a client that is idle.
//!
//! The gateway runs in this process, one worker before a real cluster; the client allocates nothing itself, so what is
//! counted is the gateway's. `valgrind --tool=dhat target/debug/slotway serve ..` says where it allocates, if it does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]
#![allow(clippy::print_stdout, reason = "a test shows what it saw")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests block, wait and share as they like"
)]

#[path = "e2e/harness/mod.rs"]
mod harness;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use slotway::config::Settings;
use slotway::runtime::{self, Again};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use harness::{Client, Cluster, PATIENCE, Shape, free_port, local, request, wait_for};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests that are counted together.
const REQUESTS: usize = 160;
/// The gateway does other things as well, about once a second. They only add, so the least of so many counts is what
/// the requests take, also on a machine that is busy.
const COUNTS: usize = 100;
/// Requests before anything is counted, so that every buffer has its size.
const WARM_UP: usize = 2_000;

/// Clients that are opened together and kept, each idle after one request, and how often: what other work of the
/// gateway keeps, or an array that grows, is in some of the counts, so the least is what clients take.
const IDLE: usize = 100;
const IDLE_COUNTS: usize = 4;
/// Bytes of the heap that an idle client may take.
const IDLE_BYTES: usize = 2_100;

/// A kind of request, and what one may take.
struct Class {
    name: &'static str,
    exchange: Exchange,
    /// Requests written at once.
    pipeline: usize,
    /// Allocations for a hundred requests. Anything but 0 is what it takes today: lower it when it takes less.
    most: usize,
}

/// A request and what must come back.
struct Exchange {
    request: Vec<u8>,
    reply: Vec<u8>,
}

fn main() {
    let wanted = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    // `cargo test NAME` runs this program for tests of other names as well, and `--list` only asks what is here.
    if wanted.into_iter().any(|name| !"allocations".contains(&name))
        || std::env::args().any(|argument| argument == "--list")
    {
        return;
    }
    let shape = Shape { primaries: 3, replicas: 0, node_timeout_ms: 15_000 };
    let cluster = Cluster::start(shape);
    let gateway = start_gateway(&cluster);
    let mut socket = TcpStream::connect(gateway).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let classes = classes(gateway);
    let taken: Vec<usize> = classes.iter().map(|class| class.measure(&mut socket)).collect();
    let mut too_many = false;
    for (class, taken) in classes.iter().zip(taken) {
        let verdict = if taken > class.most { "too many" } else { "ok" };
        println!(
            "{:<24} {:>7.2} allocations per request, at most {:.2}: {verdict}",
            class.name,
            taken as f64 / 100.0,
            class.most as f64 / 100.0
        );
        too_many |= taken > class.most;
    }
    assert!(!too_many, "the gateway allocates more than it may");
    let idle = measure_idle(gateway, &classes[0].exchange);
    println!("an idle client: {idle} bytes, at most {IDLE_BYTES}");
    assert!(idle <= IDLE_BYTES, "the gateway keeps more for an idle client than it may");
}

/// Bytes for one of many clients, after one request each.
fn measure_idle(gateway: SocketAddr, exchange: &Exchange) -> usize {
    let mut answer = vec![0; exchange.reply.len()];
    let mut kept = Vec::with_capacity(IDLE * IDLE_COUNTS);
    let counts = (0..IDLE_COUNTS).map(|_| {
        let region = Region::new(ALLOCATOR);
        for _ in 0..IDLE {
            let mut socket = TcpStream::connect(gateway).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.write_all(&exchange.request).unwrap();
            socket.read_exact(&mut answer).unwrap();
            kept.push(socket);
        }
        let change = region.change();
        change.bytes_allocated.saturating_sub(change.bytes_deallocated) / IDLE
    });
    counts.min().unwrap()
}

/// The gateway with one worker, in this process. It ends with it.
fn start_gateway(cluster: &Cluster) -> SocketAddr {
    let (clients, admin) = (local(free_port()), local(free_port()));
    let mut settings = Settings::default();
    settings.listen.address = clients;
    settings.admin.address = admin;
    settings.runtime.workers = 1;
    // Of the requests that are looked at, a sample and the slow ones, notes are taken: some in a second, whatever there is
    // to do, so not a number for each request.
    settings.observe.keys = false;
    settings.observe.slow_time = std::time::Duration::ZERO;
    settings.cluster.nodes = cluster.addresses().iter().map(SocketAddr::to_string).collect();
    let same = settings.clone();
    thread::spawn(move || {
        let levels = runtime::logging::start(&settings.log).unwrap();
        let again =
            Again { settings: Box::new(move || Ok(same.clone())), levels, may_hand_over: false };
        runtime::serve(settings, again).unwrap();
    });
    wait_for("a gateway that serves", || {
        Client::try_connect(clients)
            .and_then(|mut client| client.try_call("GET served"))
            .is_ok_and(|reply| !reply.is_error())
    });
    clients
}

fn classes(gateway: SocketAddr) -> Vec<Class> {
    let value = "v".repeat(64);
    let large = "v".repeat(16 << 10);
    let keys: Vec<String> = (0..10).map(|number| format!("allocations:{number}")).collect();
    let mut client = Client::connect(gateway);
    for key in &keys {
        assert_eq!(client.call(&format!("SET {key} {value}")).text(), "OK");
    }
    assert_eq!(client.call(&format!("SET allocations:large {large}")).text(), "OK");
    assert_eq!(client.call("HSET allocations:hash field 1").integer(), 1);
    let script = client.call_args(&["SCRIPT", "LOAD", "return redis.call('GET',KEYS[1])"]).text();
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let mget: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
    let mset = keys.iter().flat_map(|key| [key, value.as_str()]);
    let mset: Vec<&str> = std::iter::once("MSET").chain(mset).collect();
    let array = format!("*10\r\n{}", bulk(&value).repeat(10));
    let key = keys[0].as_str();
    let get = || Exchange::new(&["GET", key], &bulk(&value));
    let set = || Exchange::new(&["SET", key, &value], "+OK\r\n");
    let transaction = [
        Exchange::new(&["MULTI"], "+OK\r\n"),
        Exchange::new(&["SET", key, &value], "+QUEUED\r\n"),
        Exchange::new(&["GET", key], "+QUEUED\r\n"),
        Exchange::new(&["EXEC"], &format!("*2\r\n+OK\r\n{}", bulk(&value))),
    ];
    let class = |name, pipeline, exchange, most| Class { name, exchange, pipeline, most };
    vec![
        class("GET", 1, get(), 0),
        class("SET", 1, set(), 0),
        class("GET, pipeline 16", 16, get(), 0),
        class("SET, pipeline 16", 16, set(), 0),
        class("GET of 16 KiB", 1, Exchange::new(&["GET", "allocations:large"], &bulk(&large)), 0),
        class(
            "SET of 16 KiB",
            1,
            Exchange::new(&["SET", "allocations:large", &large], "+OK\r\n"),
            0,
        ),
        class("HGET", 1, Exchange::new(&["HGET", "allocations:hash", "field"], &bulk("1")), 0),
        class("EVALSHA", 1, Exchange::new(&["EVALSHA", &script, "1", key], &bulk(&value)), 0),
        class("PING", 1, Exchange::new(&["PING"], "+PONG\r\n"), 0),
        class("MGET of 10 over slots", 1, Exchange::new(&mget, &array), 1_420),
        class("MSET of 10 over slots", 1, Exchange::new(&mset, "+OK\r\n"), 920),
        class("MULTI, SET, GET, EXEC", 1, Exchange::all(&transaction), 810),
    ]
}

impl Class {
    /// Allocations for a hundred requests.
    fn measure(&self, socket: &mut TcpStream) -> usize {
        let written = self.exchange.request.repeat(self.pipeline);
        let expected = self.exchange.reply.repeat(self.pipeline);
        let mut answer = vec![0; expected.len()];
        let mut run = |requests: usize| {
            for _ in 0..requests.div_ceil(self.pipeline) {
                socket.write_all(&written).unwrap();
                socket.read_exact(&mut answer).unwrap();
                assert!(answer == expected, "{}: {}", self.name, answer.escape_ascii());
            }
        };
        run(WARM_UP);
        let mut least = usize::MAX;
        for _ in 0..COUNTS {
            let region = Region::new(ALLOCATOR);
            run(REQUESTS);
            let change = region.change();
            // Rounded up: a single allocation is one too many.
            let taken = (change.allocations + change.reallocations) * 100;
            least = least.min(taken.div_ceil(REQUESTS));
            if least <= self.most {
                break;
            }
        }
        least
    }
}

impl Exchange {
    fn new(words: &[&str], reply: &str) -> Self {
        Self { request: request(words), reply: reply.into() }
    }

    fn all(exchanges: &[Self]) -> Self {
        let parts =
            |part: fn(&Self) -> &Vec<u8>| exchanges.iter().flat_map(part).copied().collect();
        Self { request: parts(|it| &it.request), reply: parts(|it| &it.reply) }
    }
}
