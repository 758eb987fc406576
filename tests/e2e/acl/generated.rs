//! Thousands of generated rules and calls: the same decisions, descriptions and errors as a real server.

use fastrand::Rng;
use slotway::command::Commands;

use super::pair::{Pair, is_7_0};
use crate::harness::{Cluster, Gateway, Server};

const SEED: u64 = 0x51_07;
/// Generated users; each gets rules several times and is asked about many calls.
const USERS: usize = 150;
const CALLS: usize = 60;

const KEYS: &[&str] =
    &["app:1", "app:2", "app:1:x", "a", "b", "ab", "news:1", "news:", "", "other", "x\u{e9}y"];
const PATTERNS: &[&str] = &[
    "app:*",
    "app:?",
    "*",
    "**",
    "a",
    "a*",
    "news:*",
    "[ab]",
    "[^a]*",
    "app:[0-9]*",
    "*:x",
    "\\*",
    "",
    "news:[",
    "*[\u{e9}]*",
];
const WORDS: &[&str] = &[
    "on",
    "off",
    "nopass",
    "resetpass",
    "reset",
    "allkeys",
    "resetkeys",
    "allchannels",
    "resetchannels",
    "allcommands",
    "nocommands",
    "+@all",
    "-@all",
    "clearselectors",
    "sanitize-payload",
    "skip-sanitize-payload",
    "ON",
    "AllKeys",
    "",
];
const WRONG: &[&str] = &[
    "bogus",
    "+",
    "-",
    "+nosuch",
    "-get|x",
    "+get|",
    "+config|nosuch",
    "+config|set|x",
    "+@nosuch",
    "-@",
    "%X~a",
    "%~a",
    "%RR~x",
    "#abc",
    "!abc",
    "<never",
    "(bogus)",
    "(on)",
    ")",
    "~a b",
    "&a b",
    "+a|b|c",
    "()",
];
const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
    "READ",
];

fn cased(rng: &mut Rng, word: &str) -> String {
    if rng.u8(..6) == 0 { word.to_uppercase() } else { word.to_lowercase() }
}

/// A rule about commands, keys or channels.
fn rule(rng: &mut Rng, names: &[String]) -> String {
    let sign = if rng.bool() { '+' } else { '-' };
    match rng.u8(..10) {
        0..=2 => format!("{sign}{}", pick(rng, names)),
        3 | 4 => format!("{sign}@{}", pick(rng, CATEGORIES)),
        5 => format!("~{}", pick(rng, PATTERNS)),
        6 => format!("%{}~{}", pick(rng, &["R", "W", "RW", "r", "w"]), pick(rng, PATTERNS)),
        7 => format!("&{}", pick(rng, PATTERNS)),
        8 => format!(
            "+{}|{}",
            pick(rng, &["get", "select", "SET", "debug"]),
            pick(rng, &["0", "a", "Key"])
        ),
        _ => pick(rng, WORDS.get(5..14).unwrap()).to_string(),
    }
}

/// Rules for one user, mostly right ones.
fn rules(rng: &mut Rng, names: &[String]) -> Vec<String> {
    (0..1 + rng.usize(..5))
        .map(|_| match rng.u8(..20) {
            0..=11 => rule(rng, names),
            12 => pick(rng, WORDS).to_string(),
            13 => format!("{}{}", pick(rng, &[">", "<"]), pick(rng, &["one", "two", "three"])),
            14 if rng.u8(..3) == 0 => pick(rng, WRONG).to_string(),
            15 | 16 => {
                let inner: Vec<String> = (0..rng.usize(..4)).map(|_| rule(rng, names)).collect();
                format!("({})", inner.join(" "))
            }
            _ => "+@all".to_owned(),
        })
        .collect()
}

fn pick<'a, T>(rng: &mut Rng, list: &'a [T]) -> &'a T {
    &list[rng.usize(..list.len())]
}

/// Any command with as many arguments as it may have, and now and then one too few.
fn call(rng: &mut Rng, rows: &[(String, i16)]) -> Vec<String> {
    let (name, arity) = pick(rng, rows);
    let mut words: Vec<String> = name.split(' ').map(|word| cased(rng, word)).collect();
    let least = usize::from(arity.unsigned_abs());
    let most = if *arity < 0 { least + rng.usize(..4) } else { least };
    let most = if rng.u8(..40) == 0 { most.saturating_sub(1) } else { most };
    while words.len() < most {
        let word = match rng.u8(..6) {
            0 | 1 => pick(rng, &["1", "2", "0", "3"]),
            2 => pick(rng, &["STREAMS", "STORE", "x", "LEFT"]),
            _ => pick(rng, KEYS),
        };
        words.push((*word).to_owned());
    }
    words
}

#[test]
fn generated_rules_mean_the_same_as_on_a_server() {
    let server = Server::standalone();
    let gateway = Gateway::before(Cluster::shared()).setting("auth.trust_scripts", true).start();
    if !is_7_0(&mut server.client()) {
        return;
    }
    let rows: Vec<(String, i16)> = Commands::baseline()
        .iter()
        .filter(|row| row.since == "7.0")
        .map(|row| (row.name.to_string(), row.arity))
        .collect();
    let mut rng = Rng::with_seed(SEED);
    let mut pair = Pair { server: server.client(), gateway: gateway.client(), asked: 0 };
    let names: Vec<String> =
        rows.iter().map(|(name, _)| cased(&mut rng, &name.replace(' ', "|"))).collect();
    for number in 0..USERS {
        let user = format!("user{}", number % 40);
        for _ in 0..4 {
            let mut words = vec!["ACL".to_owned(), "SETUSER".to_owned(), user.clone()];
            words.extend(rules(&mut rng, &names));
            pair.compare(&words);
            pair.compare(&["ACL", "GETUSER", &user]);
        }
        for _ in 0..CALLS {
            pair.compare_decision(&user, call(&mut rng, &rows));
        }
    }
    pair.compare(&["ACL", "LIST"]);
    pair.compare(&["ACL", "USERS"]);
    assert!(pair.asked > 10_000, "only {} questions", pair.asked);
}
