//! Loads that take several kinds of client: some wait and one wakes them, some listen and one publishes; and
//! transactions at a steady rate, for the connections that they take.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::exchange::{Exchange, connect, request};
use crate::generator::Outcome;
use crate::loads::Talk;
use crate::wait::{go_on, now, wait_until};

/// Clients that wait, each for a key of its own.
const WAITERS: usize = 50;
/// Those who wait are given this long to be blocked at their node before they are woken.
const SETTLE: Duration = Duration::from_millis(2);
/// Clients that listen to one channel.
const LISTENERS: usize = 100;
/// Clients that take turns with transactions, and how many they make in a second.
const STEADY: usize = 50;
const TRANSACTIONS: f64 = 3_000.0;
/// Bytes of a message.
const MESSAGE: usize = 64;

/// A client, and what it asks every time.
struct Part {
    connection: TcpStream,
    exchange: Exchange,
}

/// Who takes part.
struct Cast {
    /// They ask, all at once.
    first: Vec<Part>,
    /// Then these do, for whom nobody has to wait.
    second: Vec<Part>,
    /// Time between the two.
    pause: Duration,
    /// When the next turn may begin, and how far turns are apart at least.
    due: Instant,
    pace: Duration,
    /// What one turn counts for.
    counts: u64,
}

/// Plays the turns of a talk through its warm-up and its window.
pub(crate) fn play<T>(
    talk: Talk,
    address: SocketAddr,
    [warm_up, window]: [Duration; 2],
    mut snapshot: impl FnMut() -> Result<T>,
) -> Result<Outcome<T>> {
    let mut cast = Cast::of(talk, address)?;
    let warm = now() + warm_up;
    while now() < warm {
        cast.turn()?;
    }
    let (before, start) = (snapshot()?, now());
    let (mut requests, mut latencies) = (0, vec![]);
    while latencies.is_empty() || start.elapsed() < window {
        let latency = cast.turn()?.as_nanos();
        latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
        requests += cast.counts;
    }
    let (after, seconds) = (snapshot()?, start.elapsed().as_secs_f64());
    latencies.sort_unstable();
    Ok(Outcome { requests, seconds, latencies, before, after })
}

impl Cast {
    fn of(talk: Talk, address: SocketAddr) -> Result<Self> {
        let mut cast = Self {
            first: vec![],
            second: vec![],
            pause: Duration::ZERO,
            due: now(),
            pace: Duration::ZERO,
            counts: 1,
        };
        let part =
            |exchange| Ok::<_, anyhow::Error>(Part { connection: connect(address)?, exchange });
        match talk {
            Talk::WakeUps => {
                cast.pause = SETTLE;
                cast.counts = WAITERS as u64;
                for number in 0..WAITERS {
                    let key = format!("{{b}}:wake:{number}");
                    let reply = format!("*2\r\n${}\r\n{key}\r\n$1\r\nx\r\n", key.len());
                    cast.first.push(part(Exchange::one(&["BLPOP", &key, "0"], &reply))?);
                    cast.second.push(part(Exchange::one(&["RPUSH", &key, "x"], ":1\r\n"))?);
                }
            }
            Talk::FanOut => {
                cast.counts = LISTENERS as u64;
                let (channel, text) = ("{b}:fan", "x".repeat(MESSAGE));
                let head = format!("${}\r\n{channel}\r\n", channel.len());
                let heard = format!("*3\r\n$7\r\nmessage\r\n{head}${MESSAGE}\r\n{text}\r\n");
                let entered = format!("*3\r\n$9\r\nsubscribe\r\n{head}:1\r\n");
                for _ in 0..LISTENERS {
                    let listener = part(Exchange::one(&["SUBSCRIBE", channel], &entered))?;
                    listener.exchange.run(&listener.connection)?;
                    let exchange = Exchange { reply: heard.clone().into(), ..Exchange::default() };
                    cast.first.push(Part { exchange, ..listener });
                }
                let count = format!(":{LISTENERS}\r\n");
                cast.second.push(part(Exchange::one(&["PUBLISH", channel, &text], &count))?);
            }
            Talk::Steady { watch } => {
                cast.pace = Duration::from_secs_f64(STEADY as f64 / TRANSACTIONS);
                cast.counts = STEADY as u64;
                for number in 0..STEADY {
                    cast.first.push(part(transaction(number, watch))?);
                }
            }
        }
        Ok(cast)
    }

    /// Everybody asks once; the time from the last question to the last reply.
    fn turn(&mut self) -> Result<Duration> {
        go_on()?;
        wait_until(self.due);
        self.due = now().max(self.due) + self.pace;
        for Part { connection, exchange } in &mut self.first {
            connection.write_all(&exchange.request).context("cannot write")?;
        }
        if !self.pause.is_zero() {
            wait_until(now() + self.pause);
        }
        let asked = now();
        for Part { connection, exchange } in &mut self.second {
            connection.write_all(&exchange.request).context("cannot write")?;
        }
        let parts = self.first.iter().chain(&self.second);
        parts.into_iter().try_for_each(|part| part.exchange.receive(&part.connection))?;
        Ok(asked.elapsed())
    }
}

/// Two commands of one client's own keys. The watched key is nobody's.
fn transaction(number: usize, watch: bool) -> Exchange {
    let (key, watched) = (format!("{{b}}:steady:{number}"), format!("{{b}}:still:{number}"));
    let mut words: Vec<&[&str]> = vec![];
    let watching = ["WATCH", &watched];
    let (set, get) = (["SET", &*key, "v"], ["GET", &*key]);
    words.extend(watch.then_some(&watching[..]));
    words.extend([&["MULTI"][..], &set, &get, &["EXEC"]]);
    let start = if watch { "+OK\r\n" } else { "" };
    let reply = format!("{start}+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\nv\r\n");
    let request = words.iter().flat_map(|words| request(words)).collect();
    Exchange { request, reply: reply.into(), requests: 1, made_up: false }
}
