//! The gateway killed at every step of a command that writes in two slots, or gathers and then stores: after the
//! first request that reaches a node, after the second, and so on to the end. Nothing may be lost.

use std::thread;

use crate::harness::{Client, Cluster, Gateway, Relay, Shape, wait_for};
use crate::moves::{keys, stages};

/// What may be found after the gateway was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// The source's value is whole at the source, at the destination, or at both; no key holds anything else.
    Somewhere,
    /// Every member of both is in one of them, or in both; nothing else is.
    Members,
    /// Every element is in one of the lists, and in no list twice, once somebody has looked for what was left.
    Elements,
    /// Each key has what it had, or what it is to get.
    BeforeOrAfter,
}

/// A command between `a` and `b`, two keys in slots of two nodes, and `c` in a third: what there is before, the
/// command, and what may be left.
type Story = (&'static [&'static str], &'static str, Left);

const STORIES: &[Story] = &[
    (&["RPUSH a 1 2 3", "PEXPIREAT a 32503680000000"], "RENAME a b", Left::Somewhere),
    (&["RPUSH a 1 2 3", "SET b old"], "RENAME a b", Left::Somewhere),
    (&["HSET a f v g w"], "RENAMENX a b", Left::Somewhere),
    (&["SADD a x y", "SADD b z"], "SMOVE a b x", Left::Members),
    (&["SADD a x"], "SMOVE a b x", Left::Members),
    (&["RPUSH a 1 2 3", "RPUSH b 4"], "LMOVE a b LEFT RIGHT", Left::Elements),
    (&["RPUSH a 1"], "RPOPLPUSH a b", Left::Elements),
    (&["RPUSH a 1 2 3"], "BLMOVE a b RIGHT LEFT 1", Left::Elements),
    (&["RPUSH a 1 2 3"], "BRPOPLPUSH a b 1", Left::Elements),
    (&[], "MSETNX a 1 b 2 c 3", Left::BeforeOrAfter),
    (&["SADD a 1 2", "SADD b 2 3", "SET c old"], "SUNIONSTORE c a b", Left::BeforeOrAfter),
    (&["SADD a 1 2", "SADD b 3", "SET c old"], "SINTERSTORE c a b", Left::BeforeOrAfter),
    (&["SADD a 1 2", "SADD b 2 3"], "SDIFFSTORE a a b", Left::BeforeOrAfter),
    (&["ZADD a 1 x", "ZADD b 2 x 3 y", "ZADD c 9 z"], "ZUNIONSTORE c 2 a b", Left::BeforeOrAfter),
    (&["ZADD a 1 x 2 y 3 z"], "ZRANGESTORE b a 0 1", Left::BeforeOrAfter),
    (&["SET a ab", "SET b b", "SET c old"], "BITOP XOR c a b", Left::BeforeOrAfter),
    (&["PFADD a x y", "PFADD b z", "PFADD c w"], "PFMERGE c a b", Left::BeforeOrAfter),
    (&["HSET a f v", "PEXPIREAT a 32503680000000"], "COPY a b", Left::BeforeOrAfter),
    (&["RPUSH a 3 1 2", "SET b old"], "SORT a STORE b", Left::BeforeOrAfter),
    (
        &["GEOADD a 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"],
        "GEOSEARCHSTORE b a FROMLONLAT 15 37 BYRADIUS 200 km",
        Left::BeforeOrAfter,
    ),
    (&["SET a old"], "MSET a 1 b 2 c 3", Left::BeforeOrAfter),
    (&["SET a old", "SET c old"], "DEL a b c", Left::BeforeOrAfter),
];

/// Stories that run at once.
const SIDE_BY_SIDE: usize = 8;

/// More steps than any of the commands has.
const MOST_STEPS: usize = 60;

/// One run of a story: its keys, and what they held before and after.
struct Run {
    story: Story,
    steps: usize,
    keys: [String; 3],
    before: [String; 3],
    left: [String; 3],
    /// Whether the command came to its end.
    whole: bool,
}

#[test]
fn a_gateway_killed_at_any_step_loses_nothing() {
    let cluster = Cluster::start(Shape { primaries: 3, replicas: 0, node_timeout_ms: 15_000 });
    // The keys are not those of the story's neighbours, so stories run side by side.
    let runs: Vec<Run> = thread::scope(|scope| {
        let of_share = |share: usize| {
            let cluster = &cluster;
            scope.spawn(move || {
                let relay = Relay::before(cluster);
                let stories = STORIES.iter().enumerate().skip(share).step_by(SIDE_BY_SIDE);
                stories.flat_map(|(place, story)| tell(cluster, &relay, place, *story)).collect()
            })
        };
        let shares: Vec<thread::ScopedJoinHandle<'_, Vec<Run>>> =
            (0..SIDE_BY_SIDE).map(of_share).collect();
        shares.into_iter().flat_map(|share| share.join().unwrap()).collect()
    });
    // Somebody else's gateway sends back what is on its way for too long.
    let gateway = Gateway::before(&cluster)
        .setting("routing.cross_slot", "move")
        .setting("routing.stage_return", "300ms")
        .start();
    wait_for("empty stages", || stages(&cluster).iter().all(|name| name.contains("receipt")));
    drop(gateway);
    for run in &runs {
        let after =
            &runs.iter().find(|whole| whole.story == run.story && whole.whole).unwrap().left;
        check(&cluster, run, after);
    }
}

/// Runs the story with the gateway killed after no request, after one, and so on until it comes to its end.
fn tell(cluster: &Cluster, relay: &Relay, place: usize, story: Story) -> Vec<Run> {
    let mut runs = Vec::new();
    for steps in 0..MOST_STEPS {
        let run = run(cluster, relay, story, steps, keys(&format!("killed:{place}:{steps}")));
        let whole = run.whole;
        runs.push(run);
        if whole {
            println!("{}: {steps} steps", story.1);
            return runs;
        }
    }
    panic!("{} has no end", story.1);
}

fn run(cluster: &Cluster, relay: &Relay, story: Story, steps: usize, keys: [String; 3]) -> Run {
    let (fixture, command, _) = story;
    for line in fixture {
        let line = named(line, &keys);
        let key = line.split(' ').nth(1).unwrap().to_owned();
        assert!(!cluster.owner_client(&key).call(&line).is_error(), "{line}");
    }
    let before = contents(cluster, &keys);
    let gateway = relay.gateway().setting("routing.cross_slot", "move").start();
    let mut client = gateway.client();
    relay.allow(steps);
    let call = named(command, &keys);
    let whole = thread::scope(|scope| {
        let waiting = scope.spawn(move || client.try_call(&call));
        wait_for("a reply or a shut relay", || waiting.is_finished() || relay.is_shut());
        let shut = relay.is_shut();
        gateway.kill();
        let reply = waiting.join().unwrap();
        // Some requests are sent when the client has its reply already: what a stage leaves is cleared away.
        if let (false, Ok(reply)) = (shut, &reply) {
            assert!(!reply.is_error(), "{command}: {reply}");
        }
        !shut
    });
    let left = contents(cluster, &keys);
    Run { story, steps, keys, before, left, whole }
}

fn check(cluster: &Cluster, run: &Run, after: &[String; 3]) {
    let (_, command, kind) = run.story;
    let found = format!(
        "{command} killed after {} requests\n  before {:?}\n  left   {:?}\n  after  {after:?}",
        run.steps, run.before, run.left
    );
    let members = |contents: &[String; 3]| -> Vec<String> {
        let words = contents.iter().flat_map(|text| text.split(' ').skip(2).map(str::to_owned));
        let mut all: Vec<String> = words.collect();
        all.sort();
        all
    };
    match kind {
        Left::Somewhere => {
            assert!(run.left.contains(&run.before[0]), "{found}");
            assert!(run.left[0] == run.before[0] || run.left[0] == after[0], "{found}");
            assert!(run.left[1] == run.before[1] || run.left[1] == after[1], "{found}");
        }
        Left::Members => {
            let mut left = members(&run.left);
            left.dedup();
            assert_eq!(left, members(&run.before), "{found}");
        }
        Left::Elements => {
            let now = contents(cluster, &run.keys);
            assert_eq!(members(&now), members(&run.before), "{found}\n  now    {now:?}");
        }
        Left::BeforeOrAfter => {
            for (at, left) in run.left.iter().enumerate() {
                assert!(*left == run.before[at] || *left == after[at], "{found}");
            }
        }
    }
}

fn named(line: &str, keys: &[String; 3]) -> String {
    let name = |word: &str| match word {
        "a" => keys[0].clone(),
        "b" => keys[1].clone(),
        "c" => keys[2].clone(),
        other => other.to_owned(),
    };
    line.split(' ').map(name).collect::<Vec<_>>().join(" ")
}

/// When each key expires, its type, and what it holds.
fn contents(cluster: &Cluster, keys: &[String; 3]) -> [String; 3] {
    keys.each_ref().map(|key| content(&mut cluster.owner_client(key), key))
}

fn content(client: &mut Client, key: &str) -> String {
    let kind = client.call(&format!("TYPE {key}")).text();
    let read = match kind.as_str() {
        "string" => format!("GET {key}"),
        "list" => format!("LRANGE {key} 0 -1"),
        "set" => format!("SMEMBERS {key}"),
        "hash" => format!("HGETALL {key}"),
        "zset" => format!("ZRANGE {key} 0 -1 WITHSCORES"),
        _ => return kind,
    };
    let reply = client.call(&read);
    let mut words: Vec<String> = match reply.items() {
        none if none.is_empty() => vec![reply.to_string()],
        items => items.iter().map(|item| item.text()).collect(),
    };
    if kind == "set" {
        words.sort();
    }
    let expires = client.call(&format!("PEXPIRETIME {key}")).integer();
    format!("{expires} {kind} {}", words.join(" "))
}
