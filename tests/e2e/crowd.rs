//! Crowds beside clients that behave: who never reads, never logs in, sends a byte at a time, or only connects.
//!
//! Small here. `SLOTWAY_CROWD=full cargo test --release --test e2e crowd -- --nocapture --test-threads 1` makes the
//! crowds as large as a gateway must bear, and prints what was seen. It needs 12,000 file descriptors, and a quiet
//! machine for the times to mean anything.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::harness::{Client, Cluster, Gateway, StopAtEnd, request_line, wait_for};

const MEBIBYTE: usize = 1 << 20;

/// How large the crowds are.
struct Scale {
    behaved: usize,
    /// How long those who behave are watched.
    watched: Duration,
    readers: usize,
    /// Pieces of a mebibyte that each of them asks for.
    pieces: usize,
    /// Mebibytes that all clients may hold.
    memory: usize,
    strangers: usize,
    drips: usize,
    storm: usize,
}

const SMALL: Scale = Scale {
    behaved: 8,
    watched: Duration::from_millis(300),
    readers: 40,
    pieces: 20,
    memory: 32,
    strangers: 300,
    drips: 50,
    storm: 500,
};

const FULL: Scale = Scale {
    behaved: 50,
    watched: Duration::from_secs(10),
    readers: 1_000,
    pieces: 100,
    memory: 1_024,
    strangers: 10_000,
    drips: 1_000,
    storm: 50_000,
};

fn scale() -> Scale {
    if env::var("SLOTWAY_CROWD").is_ok_and(|word| word == "full") { FULL } else { SMALL }
}

/// Clients of the gateway.
fn by(gateway: &Gateway) -> impl Fn(&str) -> Client + Sync {
    |_| {
        let mut client = gateway.client();
        client.call("AUTH secret");
        client
    }
}

/// Clients that ask, read, and check what they are told, for as long as `during` takes; `connect` makes one for a key.
/// Returns how long they waited, the shortest first.
fn behave(
    connect: impl Fn(&str) -> Client + Sync,
    clients: usize,
    during: impl FnOnce(),
) -> Vec<Duration> {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let (stop, run) = (AtomicBool::new(false), RUNS.fetch_add(1, Ordering::Relaxed));
    let one = |number: usize| {
        let key = format!("crowd:{run}:{number}");
        let mut client = connect(&key);
        let mut waits = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let text = format!("{number}-{}", waits.len());
            let start = Instant::now();
            assert_eq!(client.call(&format!("SET {key} {text}")).text(), "OK");
            assert_eq!(client.call(&format!("GET {key}")).text(), text);
            waits.push(start.elapsed() / 2);
        }
        client.call(&format!("DEL {key}"));
        waits
    };
    let mut waits: Vec<Duration> = thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..clients).map(|number| scope.spawn(move || one(number))).collect();
        // They end also when it fails.
        let stop = StopAtEnd(&stop);
        during();
        drop(stop);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    waits.sort_unstable();
    assert!(!waits.is_empty());
    waits
}

fn p99(waits: &[Duration]) -> Duration {
    waits[(waits.len() - 1) * 99 / 100]
}

#[test]
fn slow_readers_cost_bounded_memory() {
    let scale = scale();
    let gateway = Gateway::before(Cluster::shared())
        .setting("limits.client_memory", scale.memory * MEBIBYTE)
        .start();
    let mut owner = gateway.client();
    let value = vec![b'x'; MEBIBYTE];
    assert_eq!(owner.call_args(&[b"SET", b"crowd:piece" as &[u8], &value]).text(), "OK");
    let bytes = request_line("GET crowd:piece").repeat(scale.pieces);
    let most = Cell::new(0);
    let crowd = || {
        let mut readers = Vec::new();
        for _ in 0..scale.readers {
            let mut reader = gateway.client();
            reader.send(&bytes);
            readers.push(reader);
        }
        let end = Instant::now() + scale.watched;
        while Instant::now() < end {
            most.set(most.get().max(gateway.resident_bytes()));
            thread::sleep(Duration::from_millis(20));
        }
        drop(readers);
        wait_for("memory that is free again", || {
            gateway.metric("slotway_client_memory_bytes") < 1e6
        });
    };
    // The same crowd once more beside clients that are connected to the nodes: that much is the nodes' and the
    // machine's doing.
    let direct = |key: &str| Cluster::shared().owner_client(key);
    let calm = || thread::sleep(scale.watched);
    let p99s = [
        p99(&behave(by(&gateway), scale.behaved, calm)),
        p99(&behave(by(&gateway), scale.behaved, crowd)),
        p99(&behave(direct, scale.behaved, calm)),
        p99(&behave(direct, scale.behaved, crowd)),
    ];
    // What clients hold is bounded; the rest is the program, its allocator and what the connections cost.
    let (most, allowed) = (most.get(), (scale.memory + scale.memory / 4 + 64) * MEBIBYTE);
    let allowed = allowed + scale.readers * (64 << 10);
    assert!(most < allowed, "{most} bytes for {} slow readers", scale.readers);
    println!(
        "{} slow readers: {} MiB resident at most, {} sent away; p99 of {} others without and with them: {:?}, {:?}; \
         of as many at the nodes themselves: {:?}, {:?}",
        scale.readers,
        most >> 20,
        gateway.rejected("memory"),
        scale.behaved,
        p99s[0],
        p99s[1],
        p99s[2],
        p99s[3],
    );
    owner.call("DEL crowd:piece");
}

#[test]
fn strangers_and_storms_cost_nobody_a_reply() {
    let scale = scale();
    let gateway = Gateway::before(Cluster::shared())
        .setting("auth.password", "secret")
        .setting("limits.max_clients", 20_000)
        .start();
    let before = behave(by(&gateway), scale.behaved, || thread::sleep(scale.watched));
    let mut connected = 0;
    let during = behave(by(&gateway), scale.behaved, || {
        let strangers: Vec<Client> = (0..scale.strangers).map(|_| gateway.client()).collect();
        let drips: Vec<Client> = (0..scale.drips).map(|_| gateway.client()).collect();
        thread::scope(|scope| {
            scope.spawn(|| drip(drips, scale.watched));
            for _ in 0..scale.storm {
                // One that is not accepted has done its part too.
                let one = Client::try_connect(gateway.address());
                connected += usize::from(one.map(Client::reset).is_ok());
            }
        });
        drop(strangers);
    });
    println!(
        "{} strangers, {} drips, {} connects of which {connected} were taken: {} MiB resident; p99 of {} others {:?} without them, {:?} with them, {} requests answered",
        scale.strangers,
        scale.drips,
        scale.storm,
        gateway.resident_bytes() >> 20,
        scale.behaved,
        p99(&before),
        p99(&during),
        during.len() * 2,
    );
}

/// Each sends one byte a second of a login that never ends, until it is sent away or the time is over.
fn drip(mut clients: Vec<Client>, time: Duration) {
    let end = Instant::now() + time;
    let login = [b"*2\r\n$4\r\nAUTH\r\n$1000\r\n" as &[u8], &[b'x'; 900]].concat();
    for byte in login {
        clients.retain_mut(|client| client.try_send(&[byte]).is_ok());
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return;
        }
        thread::sleep(rest.min(Duration::from_secs(1)));
    }
}

/// CPU time that the gateway's workers have taken so far.
fn time_of_workers(gateway: &Gateway) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap();
    let of_worker = |folder: PathBuf| {
        let name = fs::read_to_string(folder.join("comm")).unwrap();
        let times = fs::read_to_string(folder.join("schedstat")).unwrap();
        let nanos = times.split(' ').next().unwrap().parse().unwrap();
        name.starts_with("worker-").then(|| Duration::from_nanos(nanos))
    };
    let times: Vec<Duration> = tasks.filter_map(|task| of_worker(task.unwrap().path())).collect();
    assert!(!times.is_empty(), "no thread of a worker");
    times.iter().sum()
}

#[test]
fn a_scrape_costs_the_workers_nothing() {
    const SCRAPES: u32 = 10;
    let scale = scale();
    let gateway = Gateway::before(Cluster::shared()).setting("limits.max_clients", 20_000).start();
    let clients: Vec<Client> = (0..scale.strangers).map(|_| gateway.client()).collect();
    wait_for("the crowd", || gateway.metric("slotway_sessions") >= clients.len() as f64);
    // Clients that are silent cost something now and then: what counts is the quickest of several rounds.
    let round = || {
        let before = time_of_workers(&gateway);
        (0..SCRAPES).for_each(|_| assert_eq!(gateway.page("/metrics").0, 200));
        (time_of_workers(&gateway) - before) / SCRAPES
    };
    let least = (0..20).map(|_| round()).min().unwrap();
    println!("a scrape beside {} clients: {least:?} of the workers' time", clients.len());
    assert!(least < Duration::from_millis(1), "{least:?} of the workers' time for a scrape");
}
