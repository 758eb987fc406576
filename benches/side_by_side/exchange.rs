//! What is sent and what must come back, byte for byte.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::loads::{Load, Placement, Verb};

/// Bytes of values, and of exchanges, that one load keeps ready.
const PREPARED_BYTES: usize = 24 << 20;
/// A script that every node knows, and its name.
pub(crate) const SCRIPT: &str = "return redis.call('GET',KEYS[1])";
const DIGEST: &str = "620cd258c2c9c88c9d10db67812ccf663d96bdc6";

/// One or several requests written at once, and all their replies.
#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) request: Vec<u8>,
    pub(crate) reply: Vec<u8>,
    /// How many requests it holds.
    pub(crate) requests: u64,
    /// The server makes up what comes back: its lines are counted, one byte of `reply` for each, and the first byte is
    /// compared.
    pub(crate) made_up: bool,
}

/// A small generator of numbers (xorshift), so that every peer is sent the same.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Different seeds give different numbers.
    pub(crate) fn new(seed: usize) -> Self {
        // An odd factor maps no two seeds onto one, and none of ours onto 0, where xorshift stays.
        Self((seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// An element; `None` only from an empty slice.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let upper = self.next() >> 32;
        from.get(((upper * from.len() as u64) >> 32) as usize)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// The keys of one size and placement, with their values.
pub(crate) struct Keyspace {
    pairs: Vec<(String, Vec<u8>)>,
}

impl Keyspace {
    /// Keys whose values tell them apart, so that a crossed reply is noticed.
    pub(crate) fn new(placement: Placement, value_bytes: usize) -> Self {
        let keys = (PREPARED_BYTES / value_bytes).clamp(16, 10_000);
        let pair = |number| {
            let key = format!("{}{value_bytes}:{number}", placement.prefix());
            (key, value(number, value_bytes))
        };
        Self { pairs: (0..keys).map(pair).collect() }
    }

    /// One SET for each key, with the key.
    pub(crate) fn fill(&self) -> impl Iterator<Item = (&str, Exchange)> {
        self.pairs.iter().map(|pair| {
            let (request, reply) = (set(&[pair]), b"+OK\r\n".to_vec());
            (pair.0.as_str(), Exchange { request, reply, requests: 1, made_up: false })
        })
    }

    /// What a load sends: random keys, enough of it that nobody's caches hold just a few.
    pub(crate) fn exchanges(&self, load: &Load) -> Result<Vec<Exchange>> {
        let mut random = Random::new(load.pipeline);
        let mut exchanges = Vec::new();
        let mut bytes = 0;
        while exchanges.len() < 16 || (bytes < PREPARED_BYTES && exchanges.len() < 4096) {
            let mut exchange =
                Exchange { made_up: load.verb == Verb::Append, ..Exchange::default() };
            for _ in 0..load.pipeline {
                self.append(load, &mut random, &mut exchange)?;
            }
            bytes += exchange.request.len() + exchange.reply.len();
            exchanges.push(exchange);
        }
        Ok(exchanges)
    }

    fn append(&self, load: &Load, random: &mut Random, exchange: &mut Exchange) -> Result<()> {
        let pairs: Vec<&(String, Vec<u8>)> =
            (0..load.keys).map_while(|_| random.pick(&self.pairs)).collect();
        ensure!(pairs.len() == load.keys, "an empty keyspace");
        let (request, reply) = match load.verb {
            Verb::Get => (get(&pairs), get_reply(&pairs)),
            Verb::Set => (set(&pairs), b"+OK\r\n".to_vec()),
            Verb::Delete => (delete(&pairs), b":0\r\n".to_vec()),
            Verb::Transaction => transaction(&pairs),
            Verb::Script => script(&pairs),
            Verb::Append => append(&pairs),
        };
        exchange.request.extend(request);
        exchange.reply.extend(reply);
        exchange.requests += 1;
        Ok(())
    }
}

impl Exchange {
    /// One request and its reply.
    pub(crate) fn one(words: &[&str], reply: &str) -> Self {
        Self { request: request(words), reply: reply.into(), requests: 1, made_up: false }
    }

    /// Sends it on a blocking connection and checks what comes back.
    pub(crate) fn run(&self, mut connection: &TcpStream) -> Result<()> {
        connection.write_all(&self.request)?;
        self.receive(connection)
    }

    /// Waits for the replies on a blocking connection and checks them.
    pub(crate) fn receive(&self, mut connection: &TcpStream) -> Result<()> {
        let mut seen = 0;
        let mut scratch = vec![0; self.reply.len()];
        while seen < self.reply.len() {
            let count = connection.read(&mut scratch)?;
            let got = scratch.get(..count).unwrap_or_default();
            ensure!(!got.is_empty(), "the connection was closed");
            seen = self.check(seen, got)?;
        }
        Ok(())
    }

    /// How much of the reply is there after `got`, which must be what comes after `seen` bytes.
    pub(crate) fn check(&self, seen: usize, got: &[u8]) -> Result<usize> {
        let expected = self.reply.get(seen..).unwrap_or_default();
        let begins = seen > 0 || got.first() == expected.first();
        if self.made_up && begins {
            return Ok(seen + got.iter().filter(|byte| **byte == b'\n').count());
        }
        ensure!(
            expected.starts_with(got),
            "wrong reply to \"{}\": \"{}\" in place of \"{}\"",
            excerpt(&self.request),
            excerpt(got),
            excerpt(expected),
        );
        Ok(seen + got.len())
    }
}

/// A blocking connection that gives up on a peer that stays silent.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let connection = TcpStream::connect(address).context("cannot connect")?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(connection)
}

/// A request, and the line or bulk string that a server answers to it: for the set-up.
pub(crate) fn ask(connection: &TcpStream, arguments: &[&str]) -> Result<String> {
    let mut connection = std::io::BufReader::new(connection);
    connection.get_mut().write_all(&request(arguments))?;
    let mut line = String::new();
    std::io::BufRead::read_line(&mut connection, &mut line)?;
    ensure!(!line.starts_with('-') && !line.is_empty(), "{arguments:?} was answered {line:?}");
    let Some(length) = line.trim_end().strip_prefix('$') else { return Ok(line) };
    let mut text = vec![0; length.parse::<usize>().context("no such key")? + 2];
    connection.read_exact(&mut text)?;
    Ok(String::from_utf8(text)?)
}

/// A request of these words.
pub(crate) fn request(words: &[&str]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|word| bulk(&mut request, word.as_bytes()));
    request
}

/// Printable, without a period, and different for each key.
fn value(number: usize, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(number);
    std::iter::repeat_with(|| b'a' + (random.next() >> 32) as u8 % 26).take(bytes).collect()
}

fn get(pairs: &[&(String, Vec<u8>)]) -> Vec<u8> {
    let keys = pairs.iter().map(|(key, _)| key.clone());
    of_keys(if pairs.len() == 1 { "GET" } else { "MGET" }, keys)
}

/// Nobody writes these keys.
fn delete(pairs: &[&(String, Vec<u8>)]) -> Vec<u8> {
    of_keys("DEL", pairs.iter().map(|(key, _)| format!("{key}:gone")))
}

/// One SET for each key.
fn transaction(pairs: &[&(String, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
    let sets = pairs.iter().flat_map(|pair| set(&[pair]));
    let request = [request(&["MULTI"]), sets.collect(), request(&["EXEC"])].concat();
    let count = pairs.len();
    let array = format!("*{count}\r\n{}", "+OK\r\n".repeat(count));
    (request, format!("+OK\r\n{}{array}", "+QUEUED\r\n".repeat(count)).into())
}

/// The script is on every node. It reads the key.
fn script(pairs: &[&(String, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
    let keys = pairs.iter().flat_map(|(key, _)| request(&["EVALSHA", DIGEST, "1", key]));
    (keys.collect(), get_reply(pairs))
}

/// Streams are kept short. The reply is a bulk string of two lines.
fn append(pairs: &[&(String, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
    let mut all = (vec![], vec![]);
    for (key, value) in pairs {
        let (key, value) = (format!("{key}:stream"), String::from_utf8_lossy(value));
        let words = ["XADD", &key, "MAXLEN", "~", "100", "*", "field", &value];
        all.0.extend(request(&words));
        all.1.extend_from_slice(b"$i");
    }
    all
}

fn of_keys(name: &str, keys: impl ExactSizeIterator<Item = String>) -> Vec<u8> {
    let mut request = format!("*{}\r\n${}\r\n{name}\r\n", keys.len() + 1, name.len()).into_bytes();
    keys.for_each(|key| bulk(&mut request, key.as_bytes()));
    request
}

fn get_reply(pairs: &[&(String, Vec<u8>)]) -> Vec<u8> {
    let mut reply = vec![];
    if pairs.len() > 1 {
        reply.extend(format!("*{}\r\n", pairs.len()).into_bytes());
    }
    pairs.iter().for_each(|(_, value)| bulk(&mut reply, value));
    reply
}

fn set(pairs: &[&(String, Vec<u8>)]) -> Vec<u8> {
    let name = if pairs.len() == 1 { "SET" } else { "MSET" };
    let mut request =
        format!("*{}\r\n${}\r\n{name}\r\n", 2 * pairs.len() + 1, name.len()).into_bytes();
    for (key, value) in pairs {
        bulk(&mut request, key.as_bytes());
        bulk(&mut request, value);
    }
    request
}

fn bulk(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(format!("${}\r\n", bytes.len()).into_bytes());
    to.extend_from_slice(bytes);
    to.extend_from_slice(b"\r\n");
}

fn excerpt(bytes: &[u8]) -> String {
    let shown = bytes.get(..100).unwrap_or(bytes);
    let dots = if shown.len() < bytes.len() { "..." } else { "" };
    format!("{}{dots}", shown.escape_ascii())
}
