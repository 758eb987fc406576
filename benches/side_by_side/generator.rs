//! The load generator: one thread, one epoll, every reply checked. Clients are in a closed loop, or asked to send at a
//! pace, whether what they sent before has been answered or not.
//!
//! A client writes one prepared exchange and compares what comes back with the bytes that are
//! expected, so the generator spends little beyond its system calls.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token};

use crate::exchange::{Exchange, Random};
use crate::wait::{go_on, now};
use crate::wire::{Door, Wire};

/// How long a reply may take before the run fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who sends what.
#[derive(Clone, Copy)]
pub(crate) struct Drive<'a> {
    pub(crate) clients: usize,
    pub(crate) exchanges: &'a [Exchange],
    /// Exchanges of all clients together in a second; `None`: as many as they can.
    pub(crate) pace: Option<f64>,
    /// What clients say first, in turn; nothing where it is empty. Only on plain connections.
    pub(crate) greetings: &'a [Exchange],
}

impl<'a> Drive<'a> {
    /// So many clients in a closed loop.
    pub(crate) fn closed(clients: usize, exchanges: &'a [Exchange]) -> Self {
        Self { clients, exchanges, pace: None, greetings: &[] }
    }
}

/// What was counted between two snapshots.
pub(crate) struct Outcome<T> {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Of each exchange in nanoseconds, from when it should have been sent to the end of its last reply, sorted.
    pub(crate) latencies: Vec<u32>,
    pub(crate) before: T,
    pub(crate) after: T,
}

/// Drives the load through its warm-up and its window.
pub(crate) fn drive<T>(
    door: &Door,
    drive: &Drive<'_>,
    [warm_up, window]: [Duration; 2],
    snapshot: impl Fn() -> Result<T>,
) -> Result<Outcome<T>> {
    let mut generator = Generator::connect(door, drive)?;
    generator.run_until(now() + warm_up)?;
    generator.run_until_all_were_heard()?;
    generator.requests = 0;
    generator.latencies.clear();
    let before = snapshot()?;
    let start = now();
    generator.run_until(start + window)?;
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
    /// When the next exchange of all is due; none in a closed loop.
    schedule: Option<Schedule>,
    /// Set at the end: a client whose replies are complete sends nothing more.
    finishing: bool,
    /// Clients with an exchange under way, and when one of them last had news.
    busy: usize,
    heard: Instant,
}

/// Exchanges at equal distances, each the next client's.
struct Schedule {
    next: Instant,
    distance: Duration,
    client: usize,
}

struct Client<'a> {
    stream: Wire,
    exchange: &'a Exchange,
    /// Bytes of the request written, and bytes of the reply seen.
    sent: usize,
    seen: usize,
    began: Instant,
    active: bool,
    /// It has had a reply.
    was_heard: bool,
    /// When exchanges were due that wait for the one under way.
    waiting: VecDeque<Instant>,
    random: Random,
}

impl<'a> Generator<'a> {
    fn connect(door: &Door, drive: &Drive<'a>) -> Result<Self> {
        let mut generator = Self {
            poll: Poll::new()?,
            clients: Vec::with_capacity(drive.clients),
            exchanges: drive.exchanges,
            scratch: vec![0; 256 << 10],
            requests: 0,
            latencies: Vec::new(),
            schedule: None,
            finishing: false,
            busy: 0,
            heard: now(),
        };
        for number in 0..drive.clients {
            let mut client = Client::connect(door, drive, number)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            generator.poll.registry().register(client.stream.socket(), Token(number), interest)?;
            generator.clients.push(client);
        }
        generator.schedule = drive.pace.map(|pace| {
            let distance = Duration::from_secs_f64(1.0 / pace);
            Schedule { next: now(), distance, client: 0 }
        });
        if generator.schedule.is_none() {
            for client in &mut generator.clients {
                client.begin(client.exchange, now())?;
            }
            generator.busy = drive.clients;
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

    /// What a first request costs its client, nobody's later ones cost.
    fn run_until_all_were_heard(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.clients.iter().all(|client| client.was_heard) {
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
        let due = self.schedule.as_ref().filter(|_| !self.finishing);
        let longest = due.map_or(PATIENCE, |it| it.next.saturating_duration_since(now()));
        match self.poll.poll(events, Some(longest)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return go_on(),
            polled => polled.context("epoll")?,
        }
        go_on()?;
        if !events.is_empty() || self.busy == 0 {
            self.heard = now();
        }
        ensure!(self.heard.elapsed() < PATIENCE, "no reply for {} s", PATIENCE.as_secs());
        self.hear(events)?;
        self.keep_pace()
    }

    fn hear(&mut self, events: &Events) -> Result<()> {
        for event in events {
            let client = self.clients.get_mut(event.token().0).context("an unknown token")?;
            if event.is_writable() && client.active {
                client.write()?;
            }
            if !client.receive(&mut self.scratch)? {
                continue;
            }
            let moment = now();
            self.requests += client.exchange.requests;
            let latency = (moment - client.began).as_nanos();
            self.latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
            (client.active, client.was_heard) = (false, true);
            self.busy -= 1;
            let due = match self.schedule {
                None => Some(moment),
                Some(_) => client.waiting.pop_front(),
            };
            if let Some(due) = due.filter(|_| !self.finishing) {
                let next = client.random.pick(self.exchanges).context("nothing to send")?;
                client.begin(next, due)?;
                self.busy += 1;
            }
        }
        Ok(())
    }

    /// Sends what is due. Who still waits for a reply sends after that, and its time runs already now: so a peer that
    /// is slow once is not excused from what was due meanwhile. That the generator comes late is not held against it.
    fn keep_pace(&mut self) -> Result<()> {
        let Some(schedule) = self.schedule.as_mut().filter(|_| !self.finishing) else {
            return Ok(());
        };
        let moment = now();
        while schedule.next <= moment {
            schedule.next += schedule.distance;
            schedule.client = (schedule.client + 1) % self.clients.len();
            let client = self.clients.get_mut(schedule.client).context("no clients")?;
            if client.active {
                client.waiting.push_back(moment);
                continue;
            }
            let next = client.random.pick(self.exchanges).context("nothing to send")?;
            client.begin(next, moment)?;
            self.busy += 1;
        }
        Ok(())
    }
}

impl<'a> Client<'a> {
    fn connect(door: &Door, drive: &Drive<'a>, number: usize) -> Result<Self> {
        let greeting = drive.greetings.iter().cycle().nth(number % drive.greetings.len().max(1));
        let stream = door.open(greeting)?;
        let mut random = Random::new(number);
        let exchange = random.pick(drive.exchanges).context("nothing to send")?;
        let (began, waiting) = (now(), VecDeque::new());
        let (active, was_heard) = (false, false);
        Ok(Self { stream, exchange, sent: 0, seen: 0, began, active, was_heard, waiting, random })
    }

    fn begin(&mut self, exchange: &'a Exchange, moment: Instant) -> Result<()> {
        (self.exchange, self.sent, self.seen, self.began) = (exchange, 0, 0, moment);
        self.active = true;
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
