//! Load that knows what every reply must be: a session that alone writes its keys, and a model of what they hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::harness::{Client, Gateway, Reply, request_line, wait_for};

/// A session, its keys, and what they must hold after all that it has sent.
pub(crate) struct Owner {
    client: Client,
    name: String,
    /// How its protocol says that there is no value.
    nil: &'static str,
    keys: Vec<String>,
    held: HashMap<String, String>,
    counters: HashMap<String, i64>,
    random: u64,
    written: u64,
}

impl Owner {
    /// The keys must be this session's alone, and missing.
    pub(crate) fn new(client: Client, protocol: u8, name: &str, keys: Vec<String>) -> Self {
        let nil = if protocol == 3 { "_\r\n" } else { "$-1\r\n" };
        let random = name.bytes().fold(88_172_645_463_325_252, |seed, byte| {
            seed ^ (u64::from(byte) << 32) ^ u64::from(byte)
        });
        Self {
            client,
            name: name.to_owned(),
            nil,
            keys,
            held: HashMap::new(),
            counters: HashMap::new(),
            random,
            written: 0,
        }
    }

    /// Sends that many requests in one pipeline and compares every reply, raw.
    pub(crate) fn run(&mut self, count: usize) -> Result<(), String> {
        let (lines, expected): (Vec<String>, Vec<String>) = (0..count).map(|_| self.next()).unzip();
        let replies = self.client.pipeline(&lines);
        for (at, (reply, expected)) in replies.iter().zip(&expected).enumerate() {
            if reply.bytes() != expected.as_bytes() {
                let line = &lines[at];
                return Err(format!(
                    "{} at {at} of {count}: {line}\n  expected {}\n  found    {reply}",
                    self.name,
                    expected.escape_debug()
                ));
            }
        }
        Ok(())
    }

    /// A request and its one right reply.
    fn next(&mut self) -> (String, String) {
        let (one, other) = (self.key(), self.key());
        match self.draw(12) {
            0..=2 => {
                let value = self.write(&one);
                (format!("SET {one} {value}"), "+OK\r\n".to_owned())
            }
            3..=5 => (format!("GET {one}"), self.bulk(&one)),
            6 | 7 => {
                let count = self.counters.entry(one.clone()).or_default();
                *count += 1;
                (format!("INCR {one}:count"), format!(":{count}\r\n"))
            }
            8 => {
                let (first, second) = (self.write(&one), self.write(&other));
                (format!("MSET {one} {first} {other} {second}"), "+OK\r\n".to_owned())
            }
            9 => (
                format!("MGET {one} {other} {one}"),
                format!("*3\r\n{0}{1}{0}", self.bulk(&one), self.bulk(&other)),
            ),
            10 => {
                let gone = usize::from(self.held.remove(&one).is_some())
                    + usize::from(self.held.remove(&other).is_some());
                (format!("DEL {one} {other}"), format!(":{gone}\r\n"))
            }
            _ => {
                let present = usize::from(self.held.contains_key(&one))
                    + usize::from(self.held.contains_key(&other));
                (format!("EXISTS {one} {other}"), format!(":{present}\r\n"))
            }
        }
    }

    /// A new value, larger than all before, that names its owner.
    fn write(&mut self, key: &str) -> String {
        self.written += 1;
        let value = format!("{}-{}", self.name, self.written);
        self.held.insert(key.to_owned(), value.clone());
        value
    }

    fn bulk(&self, key: &str) -> String {
        self.held
            .get(key)
            .map_or(self.nil.to_owned(), |value| format!("${}\r\n{value}\r\n", value.len()))
    }

    fn key(&mut self) -> String {
        let place = self.draw(self.keys.len());
        self.keys[place].clone()
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 33).unwrap() % below
    }
}

/// Sessions that run until told to stop, one thread each.
pub(crate) struct Running<'scope> {
    threads: Vec<ScopedJoinHandle<'scope, Result<u64, String>>>,
}

/// Starts every owner; each runs pipelines until `stop`, or until a reply is wrong.
pub(crate) fn run_all<'scope>(
    scope: &'scope Scope<'scope, '_>,
    owners: Vec<Owner>,
    stop: &'scope AtomicBool,
    depth: usize,
) -> Running<'scope> {
    let threads = owners
        .into_iter()
        .map(|mut owner| {
            scope.spawn(move || {
                let mut rounds = 0;
                while !stop.load(Ordering::Relaxed) {
                    owner.run(depth)?;
                    rounds += 1;
                }
                Ok(rounds)
            })
        })
        .collect();
    Running { threads }
}

impl Running<'_> {
    /// Whether one of them has ended early, which is a failure.
    pub(crate) fn is_broken(&self) -> bool {
        self.threads.iter().any(ScopedJoinHandle::is_finished)
    }

    /// Waits for all; fails with the first wrong reply.
    pub(crate) fn join(self) {
        for thread in self.threads {
            match thread.join() {
                Ok(Ok(rounds)) => assert!(rounds > 0, "a session never finished a pipeline"),
                Ok(Err(wrong)) => panic!("{wrong}"),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    }
}

/// Runs the owners while `chaos` goes on, and compares all that they see.
pub(crate) fn while_running(owners: Vec<Owner>, depth: usize, chaos: impl FnOnce(&Running<'_>)) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stopped_in_any_case = Stop(&stop);
        let running = run_all(scope, owners, &stop, depth);
        chaos(&running);
        drop(stopped_in_any_case);
        running.join();
    });
}

/// Tells threads to stop when it is dropped: a failing test must not wait for them for ever.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// That many sessions of both protocols, each with keys of its own made by `keys`.
pub(crate) fn owners(
    gateway: &Gateway,
    count: usize,
    keys: impl Fn(usize) -> Vec<String>,
) -> Vec<Owner> {
    let owner = |number: usize| {
        let protocol = 2 + (number % 2) as u8;
        Owner::new(gateway.client_of(protocol), protocol, &format!("owner{number}"), keys(number))
    };
    (0..count).map(owner).collect()
}

/// What one session saw of one kind of request while a node was killed.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) done: i64,
    pub(crate) uncertain: i64,
    /// Errors of any other kind.
    pub(crate) failed: Vec<String>,
}

impl Tally {
    pub(crate) fn count(&mut self, reply: &Reply) {
        if !reply.is_error() {
            self.done += 1;
        } else if reply.text().starts_with("UNCERTAIN ") {
            self.uncertain += 1;
        } else {
            self.failed.push(reply.text());
        }
    }
}

/// Waits until the gateway answers a write to each key, of the value that names it.
pub(crate) fn wait_until_served(gateway: &Gateway, keys: &[String]) {
    let mut client = gateway.client();
    for key in keys {
        wait_for("a slot that is served again", || {
            client.send(&request_line(&format!("SET {key} {key}")));
            !client.reply().is_error()
        });
    }
}
