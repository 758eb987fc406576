//! Asks the nodes themselves, all the time, whether they take a write: what a client waits beyond that is the gateway's.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::{Clock, micros};
use crate::harness::{Client, tag_in_slot};
use crate::history::Moment;

/// A node that serves answers within this time.
const PROMPT: Duration = Duration::from_millis(200);
/// One that did not is left alone for a while.
const LATER: Duration = Duration::from_secs(1);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(5);
/// A busy machine lets a witness wait as well: less than this is no outage.
const NOTHING: Duration = Duration::from_millis(30);

/// A time in which no node took a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
}

struct Node {
    address: SocketAddr,
    client: Option<Client>,
    not_before: Instant,
}

/// Watches one slot until told to stop.
pub(crate) fn watch(
    nodes: &[SocketAddr],
    slot: u16,
    clock: Clock,
    stop: &AtomicBool,
) -> Vec<Outage> {
    let node =
        |address: &SocketAddr| Node { address: *address, client: None, not_before: Instant::now() };
    let mut nodes: Vec<Node> = nodes.iter().map(node).collect();
    let line = format!("SET {{{}}}witness 1", tag_in_slot(slot));
    let mut outages = Vec::new();
    let mut served = clock.now();
    while !stop.load(Ordering::Relaxed) {
        // The one that served last is asked first.
        if let Some(at) = nodes.iter_mut().position(|node| node.takes(&line)) {
            nodes.swap(0, at);
            let now = clock.now();
            if now - served > micros(NOTHING) {
                outages.push(Outage { begin: served, end: now });
            }
            served = now;
        }
        thread::sleep(PAUSE);
    }
    if clock.now() - served > micros(PROMPT) {
        outages.push(Outage { begin: served, end: clock.now() });
    }
    outages
}

impl Node {
    fn takes(&mut self, line: &str) -> bool {
        if Instant::now() < self.not_before {
            return false;
        }
        if self.client.is_none() {
            self.client =
                Client::try_connect(self.address).ok().map(|client| client.patience(PROMPT));
        }
        match self.client.as_mut().map(|client| client.try_call(line)) {
            Some(Ok(reply)) => reply.text() == "OK",
            Some(Err(error)) => {
                self.client = None;
                let is_silent = error.kind() == std::io::ErrorKind::WouldBlock;
                self.not_before = Instant::now() + if is_silent { LATER } else { PAUSE };
                false
            }
            None => false,
        }
    }
}
