//! Conversations that mix all that a connection carries over several commands, drawn at random: one server and the
//! gateway before a cluster must answer alike, frame by frame.
//!
//! `SLOTWAY_TEST_SEED` begins with another conversation, `SLOTWAY_TEST_MINUTES` goes on for so long.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use std::{env, thread};

use fastrand::Rng;

use crate::harness::{Client, Cluster, Gateway, Reply, Server, request, wait_for};

/// Conversations of a usual run.
const CONVERSATIONS: u64 = 8;
/// Steps of one conversation.
const STEPS: usize = 150;
/// Steps that a failure shows.
const SHOWN: usize = 25;

/// `S`, `N`, `L`, `H`, `T`, `Z`, `X` stand for keys of strings, numbers, lists, hashes, sets, sorted sets, streams, and `ID`
/// for a stream's next ID. Each has one key, or none.
const OF_ONE_KEY: &[&str] = &[
    "SET S one",
    "GET S",
    "APPEND S x",
    "GETSET S two",
    "STRLEN S",
    "GETDEL S",
    "SETNX S three",
    "INCR N",
    "DECRBY N 3",
    "GET N",
    "INCR S",
    "RPUSH L a b",
    "LPUSH L c",
    "LPOP L",
    "RPOP L 2",
    "LRANGE L 0 -1",
    "LLEN L",
    "HSET H f 1 g 2",
    "HINCRBY H f 2",
    "HGET H f",
    "HDEL H g",
    "SADD T a b",
    "SREM T a",
    "SCARD T",
    "SMISMEMBER T a b c",
    "ZADD Z 1 a 2 b",
    "ZINCRBY Z 1.5 a",
    "ZRANGE Z 0 -1 WITHSCORES",
    "ZPOPMIN Z",
    "XADD X ID f v",
    "XLEN X",
    "XRANGE X - +",
    "DEL L",
    "TYPE Z",
    "EXISTS S",
    "TTL S",
    "BLPOP L 0.01",
    "BZPOPMAX Z 0.01",
    "XREAD BLOCK 10 COUNT 2 STREAMS X 0",
    "PING",
    "ECHO word",
    "CLIENT SETNAME name",
    "CLIENT GETNAME",
    "FOO bar",
    "GET",
    "SET S",
    "LPUSH L",
];

/// The keys of each stand in one slot.
const OF_ONE_SLOT: &[&str] = &[
    "LMOVE L L LEFT RIGHT",
    "RPOPLPUSH L L",
    "RENAME S S",
    "COPY S S REPLACE",
    "SMOVE T T a",
    "MSETNX S 1 S 2",
    "SINTERSTORE T T T",
    "BLMOVE L L LEFT LEFT 0.01",
    "BRPOP L L 0.01",
    "BLMPOP 0.01 2 L L LEFT COUNT 2",
];

/// The keys of each may stand in several slots, outside of a transaction.
const OF_SLOTS: &[&str] = &[
    "MGET S N S",
    "MSET S 1 N 2",
    "DEL S L Z",
    "UNLINK H T",
    "EXISTS S L H S",
    "TOUCH S N",
    "SUNIONSTORE T T T",
    "SINTERCARD 2 T T",
    "ZUNIONSTORE Z 2 Z Z",
    "BLPOP L L L 0.01",
    "BZPOPMIN Z Z 0.01",
    "XREAD BLOCK 10 STREAMS X X 0 0",
];

/// What another client does meanwhile, to keys that may be watched.
const OF_ANOTHER: &[&str] = &["SET S other", "INCR N", "RPUSH L other", "DEL S", "HSET H f 9"];

/// Waits, and what ends them. The keys are emptied before; `K` stands for any of them, `I` for the client's number.
const WAITS: &[(&str, &str)] = &[
    ("BLPOP L L 20", "RPUSH K a b"),
    ("BRPOP L 20", "RPUSH K a b"),
    ("BLMPOP 20 2 L L RIGHT COUNT 2", "LPUSH K a"),
    ("BZPOPMIN Z Z 20", "ZADD K 2 a 1 b"),
    ("XREAD BLOCK 20000 STREAMS X X 0 0", "XADD K 9-9 f v"),
    ("BLPOP L L 20", "CLIENT UNBLOCK I"),
    ("BRPOP L 20", "CLIENT UNBLOCK I ERROR"),
];

/// The clients of one side.
struct Side {
    actor: Client,
    other: Client,
    listener: Client,
    /// The number that the actor is known by.
    id: String,
}

/// One request, and how many frames answer it; 0: all up to the first that is no push.
#[derive(Debug)]
struct Ask {
    words: Vec<String>,
    frames: usize,
}

#[derive(Debug)]
enum Step {
    /// The actor's requests, in one write.
    Talk(Vec<Ask>),
    Other(Vec<String>),
    /// Another client publishes; so many of those who hear it are not the actor.
    Publish(Vec<String>, i64),
    /// The actor waits for keys, and another client ends that.
    Wait {
        keys: Vec<String>,
        ask: Ask,
        end: Vec<String>,
    },
}

impl Side {
    fn new(mut actor: Client, other: Client, mut listener: Client, run: &str) -> Self {
        let id = actor.call("CLIENT ID").text();
        assert!(!listener.call(&format!("SUBSCRIBE {run}:always")).is_error());
        Self { actor, other, listener, id }
    }

    fn take(&mut self, step: &Step) -> Vec<Reply> {
        match step {
            Step::Talk(asks) => {
                let bytes: Vec<u8> = asks.iter().flat_map(|ask| request(&ask.words)).collect();
                self.actor.send(&bytes);
                asks.iter().flat_map(|ask| self.frames(ask)).collect()
            }
            Step::Other(words) => vec![self.other.call_args(words)],
            Step::Publish(words, others) => {
                let count = self.other.call_args(words);
                let heard = count.integer() - others;
                let frames = (0..heard).map(|_| self.actor.reply()).collect();
                [vec![count], frames].concat()
            }
            Step::Wait { keys, ask, end } => {
                for key in keys {
                    self.other.call(&format!("DEL {key}"));
                }
                self.actor.send(&request(&ask.words));
                let look = format!("CLIENT LIST ID {}", self.id);
                wait_for("a client that waits", || {
                    let line = self.other.call(&look).text();
                    let flags = line.split(' ').find_map(|word| word.strip_prefix("flags="));
                    flags.is_some_and(|flags| flags.contains('b'))
                });
                let end: Vec<&str> =
                    end.iter().map(|word| if word == "I" { &*self.id } else { word }).collect();
                let ended = self.other.call_args(&end);
                [self.frames(ask), vec![ended]].concat()
            }
        }
    }

    fn frames(&mut self, ask: &Ask) -> Vec<Reply> {
        let mut frames = Vec::new();
        while frames.len() < ask.frames.max(1) || (ask.frames == 0 && is_push(frames.last())) {
            frames.push(self.actor.reply());
        }
        if ask.words[0] == "HELLO" {
            // Numbers, names and versions are each side's own.
            frames.iter_mut().for_each(|frame| assert!(!frame.is_error(), "{frame}"));
            frames.clear();
        }
        frames
    }
}

fn is_push(frame: Option<&Reply>) -> bool {
    frame.is_some_and(|frame| frame.kind() == b'>')
}

/// Draws steps, and knows of the actor's state what it takes to draw those that both sides can answer.
struct Model {
    rng: Rng,
    run: String,
    protocol: u8,
    /// Between MULTI and EXEC.
    open: bool,
    /// Names of channels, patterns and shard channels.
    topics: [BTreeSet<String>; 3],
    next_id: u32,
    digests: Vec<String>,
}

const SUBSCRIBE: [&str; 3] = ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"];
const UNSUBSCRIBE: [&str; 3] = ["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"];

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

impl Model {
    fn listens(&self) -> bool {
        self.topics.iter().any(|topics| !topics.is_empty())
    }

    /// Whether nearly everything is refused.
    fn is_restricted(&self) -> bool {
        self.protocol == 2 && self.listens()
    }

    fn pick<'a>(&mut self, lines: &[&'a str]) -> &'a str {
        lines[self.rng.usize(..lines.len())]
    }

    fn step(&mut self) -> Step {
        match self.rng.u8(..20) {
            0 | 1 => {
                let line = self.pick(OF_ANOTHER);
                Step::Other(self.filled(line, true))
            }
            2 | 3 => {
                let (name, others) = self.channel();
                let command = self.pick(&["PUBLISH", "PUBLISH", "SPUBLISH"]);
                let others = if command == "PUBLISH" { others } else { 0 };
                Step::Publish(vec![command.to_owned(), name, "message".to_owned()], others)
            }
            4 if !self.open && !self.is_restricted() => self.wait(),
            5..=9 => {
                let count = self.rng.usize(2..8);
                Step::Talk((0..count).map(|_| self.ask()).collect())
            }
            _ => Step::Talk(vec![self.ask()]),
        }
    }

    /// A channel, and how many others listen to it all the time.
    fn channel(&mut self) -> (String, i64) {
        let name = self.pick(&["a", "b", "always"]);
        (format!("{}:{name}", self.run), i64::from(name == "always"))
    }

    fn wait(&mut self) -> Step {
        let (line, end) = WAITS[self.rng.usize(..WAITS.len())];
        let one_slot = self.rng.bool();
        let mut words = self.filled(line, one_slot);
        if let [.., one, other, _, _] = &*words
            && words[0] == "XREAD"
            && one == other
        {
            // A stream named twice is read twice, unless the wait had begun at the node before something came.
            words.remove(5);
            words.pop();
        }
        let keys: Vec<String> = words.iter().filter(|word| self.is_key(word)).cloned().collect();
        let key = keys[self.rng.usize(..keys.len())].clone();
        let end =
            end.split(' ').map(|word| if word == "K" { key.clone() } else { word.to_owned() });
        Step::Wait { keys, ask: Ask { words, frames: 0 }, end: end.collect() }
    }

    fn ask(&mut self) -> Ask {
        let mut frames = 0;
        let words = match self.rng.u8(..24) {
            0..=2 => self.control(),
            3 | 4 if !self.open => {
                frames = 1;
                self.subscription()
            }
            5 if !self.open || !self.listens() => {
                let name = self.channel().0;
                let command = self.pick(&["PUBLISH", "SPUBLISH"]);
                vec![command.to_owned(), name, "own".to_owned()]
            }
            6 if !self.open => self.greeting(),
            7 | 8 => self.script(),
            9..=11 => {
                let line = self.pick(OF_ONE_SLOT);
                self.filled(line, true)
            }
            12..=14 if !self.open => {
                let line = self.pick(OF_SLOTS);
                self.filled(line, false)
            }
            _ => {
                let line = self.pick(OF_ONE_KEY);
                let one_slot = self.rng.bool();
                self.filled(line, one_slot)
            }
        };
        Ask { words, frames }
    }

    fn control(&mut self) -> Vec<String> {
        let lines: &[&str] = if self.open {
            &["EXEC", "EXEC", "EXEC", "DISCARD", "MULTI", "WATCH S", "EXEC now"]
        } else {
            &["MULTI", "MULTI", "MULTI", "WATCH S N", "WATCH L", "UNWATCH", "EXEC", "DISCARD"]
        };
        let line = self.pick(lines);
        if !self.is_restricted() {
            self.open = match line {
                "MULTI" => true,
                "EXEC" | "EXEC now" | "DISCARD" => false,
                _ => self.open,
            };
        }
        self.filled(line, true)
    }

    fn subscription(&mut self) -> Vec<String> {
        let kind = self.rng.usize(..3);
        let name = if kind == 1 { format!("{}:?", self.run) } else { self.channel().0 };
        if self.rng.u8(..5) < 2 {
            self.topics[kind].insert(name.clone());
            return vec![SUBSCRIBE[kind].to_owned(), name];
        }
        // In which order a server leaves several of them is its own affair.
        if self.topics[kind].len() < 2 && self.rng.bool() {
            self.topics[kind].clear();
            return vec![UNSUBSCRIBE[kind].to_owned()];
        }
        self.topics[kind].remove(&name);
        vec![UNSUBSCRIBE[kind].to_owned(), name]
    }

    fn greeting(&mut self) -> Vec<String> {
        if self.rng.u8(..4) == 0 {
            (self.protocol, self.topics) = (2, Default::default());
            return words("RESET");
        }
        if self.is_restricted() {
            return words("PING again");
        }
        self.protocol = self.rng.u8(2..4);
        words(&format!("HELLO {}", self.protocol))
    }

    fn script(&mut self) -> Vec<String> {
        let body =
            format!("redis.call('APPEND',KEYS[1],ARGV[1]) return {{KEYS[1],'{}'}}", self.run);
        let digest = self.digests[self.rng.usize(..self.digests.len())].clone();
        let key = self.filled("S", true).remove(0);
        let [one, x] = ["1".to_owned(), "x".to_owned()];
        match self.rng.u8(..4) {
            0 => vec!["EVAL".to_owned(), body, one, key, x],
            1 if !self.open => vec!["SCRIPT".to_owned(), "EXISTS".to_owned(), digest],
            _ => vec!["EVALSHA".to_owned(), digest, one, key, x],
        }
    }

    /// The line with keys in their places. A few are of another type than the command wants.
    fn filled(&mut self, line: &str, one_slot: bool) -> Vec<String> {
        let mut fill = |word: &str| match word {
            "S" | "N" | "L" | "H" | "T" | "Z" | "X" => {
                let kind = if self.rng.u8(..12) == 0 { self.pick(&["S", "L", "H"]) } else { word };
                let number = self.rng.u8(..3);
                if one_slot {
                    format!("{{{}}}{kind}{number}", self.run)
                } else {
                    format!("{}{kind}{number}", self.run)
                }
            }
            "ID" => {
                self.next_id += 1;
                format!("{}-1", self.next_id)
            }
            other => other.to_owned(),
        };
        line.split(' ').map(&mut fill).collect()
    }

    fn is_key(&self, word: &str) -> bool {
        word.starts_with(&self.run) || word.starts_with(&format!("{{{}}}", self.run))
    }
}

/// What was said so far; shown when the conversation fails, in whatever way.
struct History {
    seed: u64,
    steps: Vec<String>,
    /// Who was asked last.
    side: &'static str,
}

impl Drop for History {
    fn drop(&mut self) {
        if thread::panicking() {
            let last = self.steps[self.steps.len().saturating_sub(SHOWN)..].join("\n");
            eprintln!(
                "SLOTWAY_TEST_SEED={}: {} answered, at the end of:\n{last}",
                self.seed, self.side
            );
        }
    }
}

/// One conversation on both sides.
fn converse(seed: u64, server: &Server, gateway: &Gateway) {
    let run = format!("mixed{seed}");
    let side = |connect: &dyn Fn() -> Client| Side::new(connect(), connect(), connect(), &run);
    let (mut expected, mut found) = (side(&|| server.client()), side(&|| gateway.client()));
    let mut model = Model {
        rng: Rng::with_seed(seed),
        protocol: 2,
        open: false,
        topics: Default::default(),
        next_id: 0,
        digests: vec!["f".repeat(40)],
        run: run.clone(),
    };
    for body in [
        format!("return {{KEYS[1],ARGV[1],'{run}'}}"),
        format!("return redis.call('GET',KEYS[1]) --{run}"),
    ] {
        let load = ["SCRIPT", "LOAD", &body];
        let digest = expected.actor.call_args(&load);
        assert_eq!(found.actor.call_args(&load), digest);
        model.digests.push(digest.text());
    }
    let mut history = History { seed, steps: Vec::new(), side: "" };
    for _ in 0..STEPS {
        let step = model.step();
        history.steps.push(format!("{step:?}"));
        history.side = "the server";
        let wanted = expected.take(&step);
        history.side = "the gateway";
        assert_eq!(found.take(&step), wanted);
    }
    // What was published all the time came in order, and once.
    expected.listener.send(&request(&["PING"]));
    let mut heard = vec![expected.listener.reply()];
    while heard.last().is_some_and(|frame| frame.items()[0].text() != "pong") {
        heard.push(expected.listener.reply());
    }
    heard.pop();
    for (place, wanted) in heard.iter().enumerate() {
        assert_eq!(&found.listener.reply(), wanted, "SLOTWAY_TEST_SEED={seed}: message {place}");
    }
}

#[test]
fn mixed_conversations_are_answered_alike() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("SLOTWAY_TEST_SEED").unwrap_or(1);
    let time = number("SLOTWAY_TEST_MINUTES").map(|minutes| Duration::from_secs(60 * minutes));
    let (server, begun) = (Server::standalone(), Instant::now());
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    for seed in first.. {
        match time {
            Some(time) if begun.elapsed() > time => break,
            None if seed == first + CONVERSATIONS => break,
            _ => converse(seed, &server, &gateway),
        }
    }
}
