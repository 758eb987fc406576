//! The load generator: one thread, one epoll, clients in a closed loop, every reply checked.
//!
//! A client writes one prepared exchange and compares what comes back with the bytes that are
//! expected, so the generator spends little beyond its system calls.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token};

use crate::exchange::{Exchange, Random};
use crate::wait::{go_on, now};
use crate::wire::{Door, Wire};

/// How long a reply may take before the run fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// One measurement to make.
pub(crate) struct Drive<'a> {
    pub(crate) door: Door,
    pub(crate) exchanges: &'a [Exchange],
    pub(crate) clients: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

/// What was counted between two snapshots.
pub(crate) struct Outcome<T> {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Of each exchange in nanoseconds, from its sending to the end of its last reply, sorted.
    pub(crate) latencies: Vec<u32>,
    pub(crate) before: T,
    pub(crate) after: T,
}

/// Drives the load through its warm-up and its window.
pub(crate) fn drive<T>(drive: &Drive<'_>, snapshot: impl Fn() -> Result<T>) -> Result<Outcome<T>> {
    let mut generator = Generator::connect(drive)?;
    generator.run_until(now() + drive.warm_up)?;
    generator.requests = 0;
    generator.latencies.clear();
    let before = snapshot()?;
    let start = now();
    generator.run_until(start + drive.window)?;
    let after = snapshot()?;
    let seconds = start.elapsed().as_secs_f64();
    let requests = generator.requests;
    let mut latencies = std::mem::take(&mut generator.latencies);
    generator.finish()?;
    ensure!(!latencies.is_empty(), "not one reply in {seconds:.1} s");
    latencies.sort_unstable();
    Ok(Outcome { requests, seconds, latencies, before, after })
}

struct Generator<'a> {
    poll: Poll,
    clients: Vec<Client<'a>>,
    exchanges: &'a [Exchange],
    scratch: Vec<u8>,
    requests: u64,
    latencies: Vec<u32>,
    /// Set at the end: a client whose replies are complete sends nothing more.
    finishing: bool,
    /// Clients with an exchange under way.
    busy: usize,
}

struct Client<'a> {
    stream: Wire,
    exchange: &'a Exchange,
    /// Bytes of the request written, and bytes of the reply seen.
    sent: usize,
    seen: usize,
    began: Instant,
    random: Random,
}

impl<'a> Generator<'a> {
    fn connect(drive: &Drive<'a>) -> Result<Self> {
        let mut generator = Self {
            poll: Poll::new()?,
            clients: Vec::with_capacity(drive.clients),
            exchanges: drive.exchanges,
            scratch: vec![0; 256 << 10],
            requests: 0,
            latencies: Vec::new(),
            finishing: false,
            busy: drive.clients,
        };
        for number in 0..drive.clients {
            let mut client = Client::connect(drive, number)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            generator.poll.registry().register(client.stream.socket(), Token(number), interest)?;
            generator.clients.push(client);
        }
        for client in &mut generator.clients {
            client.begin(client.exchange, now())?;
        }
        Ok(generator)
    }

    fn run_until(&mut self, end: Instant) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        while now() < end {
            self.turn(&mut events)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.finishing = true;
        let mut events = Events::with_capacity(1024);
        while self.busy > 0 {
            self.turn(&mut events)?;
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events) -> Result<()> {
        match self.poll.poll(events, Some(PATIENCE)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return go_on(),
            polled => polled.context("epoll")?,
        }
        go_on()?;
        ensure!(!events.is_empty(), "no reply for {} s", PATIENCE.as_secs());
        for event in events.iter() {
            let client = self.clients.get_mut(event.token().0).context("an unknown token")?;
            if event.is_writable() {
                client.write()?;
            }
            if !client.receive(&mut self.scratch)? {
                continue;
            }
            let moment = now();
            self.requests += client.exchange.requests;
            let latency = (moment - client.began).as_nanos();
            self.latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
            if self.finishing {
                self.busy -= 1;
            } else {
                let next = client.random.pick(self.exchanges).context("nothing to send")?;
                client.begin(next, moment)?;
            }
        }
        Ok(())
    }
}

impl<'a> Client<'a> {
    fn connect(drive: &Drive<'a>, number: usize) -> Result<Self> {
        let stream = drive.door.open()?;
        let mut random = Random::new(number);
        let exchange = random.pick(drive.exchanges).context("nothing to send")?;
        Ok(Self { stream, exchange, sent: 0, seen: 0, began: now(), random })
    }

    fn begin(&mut self, exchange: &'a Exchange, moment: Instant) -> Result<()> {
        (self.exchange, self.sent, self.seen, self.began) = (exchange, 0, 0, moment);
        self.write()
    }

    /// Writes what the socket takes; the rest goes when it is writable again.
    fn write(&mut self) -> Result<()> {
        loop {
            let rest = self.exchange.request.get(self.sent..).unwrap_or_default();
            let written = match rest {
                [] => self.stream.flush().map(|()| 0),
                rest => self.stream.write(rest),
            };
            match written {
                Ok(_) if rest.is_empty() => return Ok(()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot write"),
            }
        }
    }

    /// Reads what is there. True when it completed the reply, after which nothing can follow.
    fn receive(&mut self, scratch: &mut [u8]) -> Result<bool> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => bail!("the connection was closed"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("cannot read"),
            };
            let got = scratch.get(..count).unwrap_or_default();
            self.seen = self.exchange.check(self.seen, got)?;
            if self.seen == self.exchange.reply.len() {
                ensure!(self.sent == self.exchange.request.len(), "answered before it was asked");
                return Ok(true);
            }
            if self.stream.has_emptied(count, scratch.len()) {
                return Ok(false);
            }
        }
    }
}
