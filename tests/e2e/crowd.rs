//! Crowds beside clients that behave: who never reads, never logs in, sends a byte at a time, or only connects.
//!
//! Small here. `SLOTWAY_CROWD=full cargo test --release --test e2e crowd -- --nocapture --test-threads 1` makes the
//! crowds as large as a gateway must bear, and prints what was seen. It needs 12,000 file descriptors, and a quiet
//! machine for the times to mean anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

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

/// Clients that ask, read, and check what they are told, for as long as `during` takes; returns how long they waited,
/// the shortest first.
fn behave(gateway: &Gateway, clients: usize, during: impl FnOnce()) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    let one = |number: usize| {
        let mut client = gateway.client();
        client.call("AUTH secret");
        let key = format!("crowd:{}:{number}", gateway.address().port());
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
    let before = behave(&gateway, scale.behaved, || thread::sleep(scale.watched));
    let bytes = request_line("GET crowd:piece").repeat(scale.pieces);
    let (mut readers, mut most) = (Vec::new(), 0);
    let during = behave(&gateway, scale.behaved, || {
        for _ in 0..scale.readers {
            let mut reader = gateway.client();
            reader.send(&bytes);
            readers.push(reader);
        }
        let end = Instant::now() + scale.watched;
        while Instant::now() < end {
            most = most.max(gateway.resident_bytes());
            thread::sleep(Duration::from_millis(20));
        }
    });
    // What clients hold is bounded; the rest is the program, its allocator and what the connections cost.
    let allowed = (scale.memory + scale.memory / 4 + 64) * MEBIBYTE + readers.len() * (64 << 10);
    assert!(most < allowed, "{most} bytes for {} slow readers", readers.len());
    println!(
        "{} slow readers: {} MiB resident at most, {} sent away; p99 of {} others {:?} without them, {:?} with them",
        readers.len(),
        most >> 20,
        gateway.rejected("memory"),
        scale.behaved,
        p99(&before),
        p99(&during),
    );
    drop(readers);
    wait_for("memory that is free again", || gateway.metric("slotway_client_memory_bytes") < 1e6);
    owner.call("DEL crowd:piece");
}

#[test]
fn strangers_and_storms_cost_nobody_a_reply() {
    let scale = scale();
    let gateway = Gateway::before(Cluster::shared())
        .setting("auth.password", "secret")
        .setting("limits.max_clients", 20_000)
        .start();
    let before = behave(&gateway, scale.behaved, || thread::sleep(scale.watched));
    let mut connected = 0;
    let during = behave(&gateway, scale.behaved, || {
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
