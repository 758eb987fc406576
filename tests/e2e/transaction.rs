//! MULTI to EXEC: what one server answers, the gateway answers, whatever slots the keys stand in.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::harness::{Client, Cluster, Gateway, Reply, Server, request};

/// Requests that belong together; `K` stands for a prefix that all keys of the sequence share.
pub(crate) const SEQUENCES: &[&[&str]] = &[
    &["MULTI", "SET Ka 1", "INCR Ka", "GET Ka", "EXEC", "GET Ka"],
    &["MULTI", "EXEC", "EXEC", "DISCARD", "UNWATCH"],
    &["MULTI", "MULTI", "SET Ka 1", "MULTI", "EXEC", "GET Ka"],
    &["MULTI", "SET Ka 1", "WATCH Ka", "EXEC", "GET Ka"],
    &["MULTI", "UNWATCH", "SET Ka 1", "EXEC"],
    &["MULTI", "SET Ka 1", "DISCARD", "EXEC", "GET Ka"],
    &["MULTI", "SET Ka 1", "FOO bar baz", "SET Ka 2", "EXEC", "GET Ka"],
    &["MULTI", "GET", "GET Ka Kb", "EXEC"],
    &["MULTI", "CLIENT FOO", "EXEC"],
    &["MULTI", "SET Ka 1", "EXEC now", "GET Ka", "EXEC"],
    &["EXEC now", "MULTI now", "DISCARD now", "WATCH", "UNWATCH now", "EXEC", "PING"],
    &["MULTI", "DISCARD now", "EXEC"],
    &["MULTI", "WATCH", "EXEC"],
    &["MULTI", "SET Ka word", "INCR Ka", "LPUSH Ka x", "SET Ka other", "EXEC", "GET Ka"],
    &["MULTI", "SET Ka v EX nonsense", "SET Kb v", "EXEC", "GET Kb"],
    &[
        "MULTI",
        "BLPOP Ka 0",
        "BRPOP Ka 0",
        "BLMOVE Ka Kb LEFT RIGHT 0",
        "BRPOPLPUSH Ka Kb 0",
        "EXEC",
    ],
    &["MULTI", "BZPOPMIN Ka 0", "BZPOPMAX Ka 0", "BLMPOP 0 1 Ka LEFT", "BZMPOP 0 1 Ka MIN", "EXEC"],
    &[
        "MULTI",
        "XREAD BLOCK 0 STREAMS Ka $",
        "XADD Ka 1-1 f v",
        "XREAD BLOCK 0 STREAMS Ka 0",
        "EXEC",
    ],
    &["RPUSH Ka x y", "MULTI", "BLPOP Ka 0", "BLMOVE Ka Kb LEFT RIGHT 0", "EXEC", "LRANGE Kb 0 -1"],
    &["MULTI", "PING", "SET Ka 1", "PING hello", "ECHO there", "GET Ka", "PING a b", "EXEC"],
    &["MULTI", "PING", "EXEC", "PING"],
    &[
        "MULTI",
        "SELECT 0",
        "SELECT x",
        "CLIENT SETNAME me",
        "CLIENT GETNAME",
        "GET Ka",
        "EXEC",
        "CLIENT GETNAME",
    ],
    &["MULTI", "CLIENT SETNAME me", "DISCARD", "CLIENT GETNAME"],
    &["MULTI", "CLIENT SETNAME me", "FOO", "EXEC", "CLIENT GETNAME"],
    &["MULTI", "CLUSTER INFO", "GET Ka", "CLUSTER NODES", "EXEC"],
    &["MULTI", "SAVE", "EXEC"],
    &["MULTI", "SHUTDOWN NOSAVE", "EXEC"],
    &["MULTI", "SYNC", "EXEC"],
    &["MULTI", "EVAL return~1 0", "EVAL return~{KEYS[1],ARGV[1]} 1 Ka v", "EVAL x y", "EXEC"],
    &["MULTI", "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0", "SET Ka 1", "EXEC", "GET Ka"],
    &[
        "MULTI",
        "MSET Ka 1 Kb 2",
        "MGET Ka Kb Kc",
        "DEL Ka Kb Kc",
        "SINTER Ka Kb",
        "RENAME Ka Kb",
        "EXEC",
    ],
    &[
        "MULTI",
        "HSET Ka f v g w",
        "HGETALL Ka",
        "SADD Kb x",
        "SMEMBERS Kb",
        "ZADD Kc 1.5 m",
        "ZRANGE Kc 0 -1 WITHSCORES",
        "EXEC",
    ],
    &["MULTI", "SET Ka 1", "RESET", "EXEC", "GET Ka"],
    &["MULTI", "SET Ka 1", "QUIT", "GET Ka"],
    &["WATCH Ka", "MULTI", "SET Ka 1", "GET Ka", "EXEC", "GET Ka"],
    &["WATCH Ka", "SET Ka own", "MULTI", "SET Ka 1", "EXEC", "GET Ka"],
    &["WATCH Ka", "SET Kb own", "MULTI", "SET Ka 1", "EXEC", "GET Ka"],
    &["WATCH Ka", "SET Ka own", "DEL Ka", "MULTI", "SET Ka 1", "EXEC", "GET Ka"],
    &[
        "SET Ka 1",
        "WATCH Ka Kb Ka",
        "WATCH Kc",
        "DEL Kc",
        "MULTI",
        "EXEC",
        "SET Ka 2",
        "MULTI",
        "EXEC",
    ],
    &["WATCH Ka", "SET Ka own", "UNWATCH", "MULTI", "SET Ka 1", "EXEC"],
    &[
        "WATCH Ka",
        "SET Ka own",
        "WATCH Kb",
        "MULTI",
        "SET Ka 1",
        "EXEC",
        "MULTI",
        "SET Ka 2",
        "EXEC",
    ],
    &["WATCH Ka", "MULTI", "SET Ka 1", "DISCARD", "SET Ka own", "MULTI", "GET Ka", "EXEC"],
    &["WATCH Ka", "MULTI", "FOO", "EXEC", "SET Ka own", "MULTI", "GET Ka", "EXEC"],
    &["WATCH Ka", "SET Ka own", "MULTI", "FOO", "EXEC", "MULTI", "GET Ka", "EXEC"],
    &["WATCH Ka", "SET Ka own", "MULTI", "EXEC"],
    &["WATCH Ka", "MULTI", "EXEC", "WATCH Ka"],
    &["WATCH Ka", "SET Ka own", "EXEC", "MULTI", "GET Ka", "EXEC"],
    &["WATCH Ka", "SET Ka own", "MULTI", "PING", "CLIENT SETNAME me", "EXEC", "CLIENT GETNAME"],
    &["WATCH Ka", "MULTI", "PING", "SET Ka 1", "ECHO x", "GET Ka", "INCR Ka", "EXEC"],
    &["WATCH Ka", "MULTI", "SET Ka word", "INCR Ka", "EXEC"],
    &["WATCH Ka", "HELLO 3", "MULTI", "HSET Ka f v", "HGETALL Ka", "EXEC", "HGETALL Ka"],
    &["WATCH Ka", "SET Ka own", "HELLO 3", "MULTI", "HGETALL Kb", "EXEC", "HELLO 2"],
    &["WATCH Ka", "SET Ka own", "RESET", "MULTI", "GET Ka", "EXEC"],
    &["CLIENT REPLY OFF", "MULTI", "SET Ka 1", "EXEC", "CLIENT REPLY ON", "GET Ka"],
    &["CLIENT REPLY SKIP", "MULTI", "SET Ka 1", "EXEC", "GET Ka"],
    &["MULTI", "GET Ka", "EXEC", "MULTI", "SET Ka 1", "EXEC", "MULTI", "GET Ka", "EXEC"],
];

/// The lines with the keys of this run, each word a word of the request; `~` stands for a space in a word.
fn lines(sequence: &[&str], prefix: &str) -> Vec<String> {
    let word = |word: &str| match word {
        "Ka" | "Kb" | "Kc" => word.replacen('K', prefix, 1),
        word => word.to_owned(),
    };
    let line = |line: &&str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    sequence.iter().map(line).collect()
}

fn encode(line: &str) -> Vec<u8> {
    request(&line.split(' ').map(|word| word.replace('~', " ")).collect::<Vec<_>>())
}

fn connect(address: SocketAddr, protocol: u8) -> Client {
    let mut client = Client::connect(address);
    if protocol == 3 {
        client.call("HELLO 3");
    }
    client
}

/// Everything that comes back when all is sent in one packet.
fn stream(address: SocketAddr, protocol: u8, lines: &[String]) -> String {
    let mut client = connect(address, protocol);
    let mut bytes: Vec<u8> = lines.iter().flat_map(|line| encode(line)).collect();
    bytes.extend(encode("QUIT"));
    client.send(&bytes);
    String::from_utf8_lossy(&client.read_to_end()).into_owned()
}

/// The replies when each request waits for the one before; the connection may end early.
fn turns(address: SocketAddr, protocol: u8, lines: &[String]) -> String {
    let mut client = connect(address, protocol);
    let mut replies = String::new();
    for line in lines {
        let sent = client.try_send(&encode(line)).and_then(|()| client.try_reply());
        match sent {
            // It tells who answers.
            Ok(_) if line.starts_with("HELLO") => {}
            Ok(reply) => replies += &reply.to_string(),
            Err(_) => break,
        }
    }
    replies
}

/// How the gateway's replies differ from the server's.
fn differences(server: &Server, gateway: &Gateway, protocol: u8, lines: &[String]) -> Vec<String> {
    let addresses = [server.address(), gateway.address()];
    let mut broken = Vec::new();
    let mut compare = |way: &str, replies: &dyn Fn(SocketAddr) -> String| {
        let [expected, found] = addresses.map(replies);
        if expected != found {
            broken.push(format!(
                "RESP{protocol} {way}: {lines:?}\n  expected {expected:?}\n  found    {found:?}"
            ));
        }
    };
    if !lines.iter().any(|line| line.starts_with("HELLO")) {
        compare("in one packet", &|address| stream(address, protocol, lines));
    }
    for address in addresses {
        clear(&mut Client::connect(address), lines);
    }
    if !lines.iter().any(|line| line.starts_with("CLIENT REPLY")) {
        compare("one by one", &|address| turns(address, protocol, lines));
    }
    broken
}

fn clear(client: &mut Client, lines: &[String]) {
    let words = lines.iter().flat_map(|line| line.split(' '));
    let keys: HashSet<&str> = words.filter(|word| word.contains(":key:")).collect();
    let deletions: Vec<String> = keys.iter().map(|key| format!("DEL {key}")).collect();
    client.pipeline(&deletions);
}

fn assert_none(broken: &[String]) {
    let shown = broken.len().min(20);
    assert!(broken.is_empty(), "{} differ\n{}", broken.len(), broken[..shown].join("\n"));
}

#[test]
fn sequences_are_answered_alike() {
    let (server, gateway) = (Server::standalone(), Gateway::before(Cluster::shared()).start());
    let mut broken = Vec::new();
    for protocol in [2, 3] {
        for (place, sequence) in SEQUENCES.iter().enumerate() {
            let prefix = format!("{{one{protocol}:{place}}}:key:");
            let lines = lines(sequence, &prefix);
            broken.extend(differences(&server, &gateway, protocol, &lines));
        }
    }
    assert_none(&broken);
}

/// Sequences by chance, so that states meet that nobody thought of.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// `K` stands for any key, `W` for one that may be watched.
    fn line(&mut self) -> &'static str {
        match self.below(20) {
            0..=2 => "MULTI",
            3..=5 => "EXEC",
            6 => self.one_of(&["DISCARD", "UNWATCH", "MULTI now", "EXEC now", "DISCARD now"]),
            7 => self.one_of(&["FOO bar", "GET", "SET K", "CLIENT FOO"]),
            8 | 9 => self.one_of(&["WATCH W", "WATCH W W", "SET W own"]),
            10 => self.one_of(&["PING", "PING x", "ECHO y", "CLIENT GETNAME", "CLIENT SETNAME z"]),
            11 => self.one_of(&["BLPOP K 0.001", "BRPOP K 0.001", "EVAL return~1 0", "GET W"]),
            12 | 13 => self.one_of(&["GET K", "STRLEN K", "TTL K", "TYPE K", "EXISTS K"]),
            14 => {
                self.one_of(&["LPUSH K x", "LRANGE K 0 -1", "SADD K x", "HSET K f v", "HGETALL K"])
            }
            _ => {
                self.one_of(&["SET K 1", "INCR K", "APPEND K 2", "DEL K", "SET K word", "GETDEL K"])
            }
        }
    }

    /// Keys stand in one slot, or each in another.
    fn sequence(&mut self, run: &str, apart: bool) -> Vec<String> {
        let length = 4 + self.below(16);
        let word = |dice: &mut Self, word: &str| {
            let tag = |number: usize| {
                if apart { format!("{{{run}{number}}}") } else { format!("{{{run}}}") }
            };
            match word {
                "K" => {
                    let number = dice.below(4);
                    format!("{}:key:{number}", tag(number))
                }
                "W" => format!("{}:key:w{}", tag(0), dice.below(2)),
                word => word.to_owned(),
            }
        };
        let mut lines = Vec::new();
        while lines.len() < length {
            let line = self.line();
            lines.push(line.split(' ').map(|part| word(self, part)).collect::<Vec<_>>().join(" "));
        }
        only_queued_blocking(lines)
    }
}

fn compare_by_chance(seed: u64, apart: bool, count: usize) {
    let (server, gateway) =
        (Server::standalone(), Gateway::before(Cluster::shared()).workers(2).start());
    let mut dice = Dice(seed);
    let mut broken = Vec::new();
    for place in 0..count {
        let protocol = 2 + (place % 2) as u8;
        let lines = dice.sequence(&format!("chance{seed}:{place}:"), apart);
        broken.extend(differences(&server, &gateway, protocol, &lines));
    }
    assert_none(&broken);
}

/// Leaves blocking commands out where no MULTI is open: they are not what is looked at here.
fn only_queued_blocking(lines: Vec<String>) -> Vec<String> {
    let mut open = false;
    lines
        .into_iter()
        .filter(|line| {
            match line.as_str() {
                "MULTI" => open = true,
                "EXEC" | "EXEC now" | "DISCARD" => open = false,
                _ => {}
            }
            open || !(line.starts_with("BLPOP") || line.starts_with("BRPOP"))
        })
        .collect()
}

#[test]
fn chance_sequences_of_one_slot_are_answered_alike() {
    compare_by_chance(1, false, 300);
}

#[test]
fn chance_sequences_of_several_slots_are_answered_alike() {
    compare_by_chance(2, true, 300);
}

/// Commands that a server lets into a transaction and the gateway does not, and those whose keys it cannot take.
#[test]
fn what_cannot_be_queued_spoils_the_transaction() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    let not_allowed = "ERR Command not allowed inside a transaction";
    let crossed = "CROSSSLOT Keys in request don't hash to the same slot";
    let table = [
        ("SUBSCRIBE c", not_allowed),
        ("SCAN 0", not_allowed),
        ("KEYS *", not_allowed),
        ("FLUSHALL", not_allowed),
        ("DBSIZE", not_allowed),
        ("CLIENT REPLY OFF", not_allowed),
        ("AUTH x", not_allowed),
        ("HELLO 3", not_allowed),
        ("SCRIPT LOAD x", not_allowed),
        ("MONITOR", not_allowed),
        ("DEBUG JMAP", "ERR command 'debug' is not allowed through the gateway"),
        ("MOVE k 1", "ERR MOVE is not allowed in cluster mode"),
        ("MGET spoil:a spoil:b", crossed),
        ("RENAME spoil:a spoil:b", crossed),
        ("SINTERSTORE spoil:a spoil:b", crossed),
        ("BLPOP spoil:a spoil:b 0", crossed),
    ];
    for (line, expected) in table {
        let lines = ["MULTI", "SET spoil:x 1", line, "SET spoil:x 2", "EXEC", "GET spoil:x"];
        let mut replies: Vec<String> = client.pipeline(&lines).iter().map(Reply::text).collect();
        if expected == not_allowed && replies[2].starts_with("ERR Command '") {
            // Valkey 9 names the command.
            replies[2] = not_allowed.to_owned();
        }
        let aborted = "EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(replies, ["OK", "QUEUED", expected, "QUEUED", aborted, "-1"], "{line}");
    }
}

/// Whoever is woken by a message finds what was written before it, in its transaction and before that.
#[test]
fn a_message_published_in_a_transaction_comes_after_what_was_written() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let (mut writer, mut listener, mut reader) =
        (gateway.client(), gateway.client(), gateway.client());
    assert_eq!(listener.call("SUBSCRIBE in-transaction").items()[2].integer(), 1);
    for round in 0..100 {
        let lines = [
            format!("SET published:before {round}"),
            "MULTI".to_owned(),
            format!("SET published:inside {round}"),
            format!("PUBLISH in-transaction {round}"),
            "EXEC".to_owned(),
        ];
        let bytes: Vec<u8> = lines.iter().flat_map(|line| encode(line)).collect();
        writer.send(&bytes);
        let round = round.to_string();
        assert_eq!(listener.reply().items()[2].text(), round);
        let seen = reader.pipeline(&["GET published:before", "GET published:inside"]);
        assert!(seen.iter().all(|value| value.text() == round), "{round}: {seen:?}");
        for _ in 0..4 {
            writer.reply();
        }
        let replies = writer.reply().items();
        assert_eq!((replies[0].text().as_str(), replies[1].kind()), ("OK", b':'));
    }
}

/// Raw replies of one pipeline, without line ends.
pub(crate) fn say(client: &mut Client, lines: &[&str]) -> Vec<String> {
    let text = |reply: &Reply| String::from_utf8_lossy(reply.bytes()).replace("\r\n", " ");
    client.pipeline(lines).iter().map(|reply| text(reply).trim_end().to_owned()).collect()
}

#[test]
fn the_setting_says_how_far_a_transaction_goes() {
    let crossed = "-CROSSSLOT Keys in request don't hash to the same slot";
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    let cluster = Cluster::shared();
    let refuse = Gateway::before(cluster).setting("routing.transactions", "refuse").start();
    let mut client = refuse.client();
    let written = say(&mut client, &["MULTI", "SET far:a 1", "SET far:b 1", "EXEC"]);
    assert_eq!(written, ["+OK", "+QUEUED", crossed, aborted]);
    let read = say(&mut client, &["MULTI", "GET far:a", "GET far:b", "PING", "GET far:c", "EXEC"]);
    assert_eq!(read[1..], ["+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED", "*4 $-1 $-1 +PONG $-1"]);
    let mixed = say(&mut client, &["MULTI", "GET far:a", "GET far:b", "SET far:a 1", "EXEC"]);
    assert_eq!(mixed, ["+OK", "+QUEUED", "+QUEUED", crossed, aborted]);
    let watched = say(&mut client, &["WATCH far:a", "MULTI", "GET far:b", "EXEC"]);
    assert_eq!(watched, ["+OK", "+OK", crossed, aborted]);
    assert_eq!(
        say(&mut client, &["WATCH far:a far:b", "WATCH far:a", "WATCH far:b"]),
        [crossed, "+OK", crossed]
    );

    let strict = Gateway::before(cluster)
        .setting("routing.transactions", "refuse")
        .setting("routing.cross_slot", "off")
        .start();
    let read = say(&mut strict.client(), &["MULTI", "GET far:a", "GET far:b", "EXEC"]);
    assert_eq!(read, ["+OK", "+QUEUED", crossed, aborted]);

    let usual = Gateway::before(cluster).start();
    let mut client = usual.client();
    let elsewhere = say(&mut client, &["WATCH far:a", "MULTI", "SET far:b 1", "EXEC"]);
    assert_eq!(elsewhere[3], "*1 +OK");
    assert_eq!(
        say(&mut client, &["WATCH far:a far:b", "WATCH far:a", "WATCH far:b", "UNWATCH"])[..3],
        [crossed, "+OK", crossed]
    );
    let (_, metrics) = usual.page("/metrics");
    assert!(metrics.contains("slotway_transactions_spread_total 0"), "{metrics}");
    assert_eq!(
        say(
            &mut client,
            &["MULTI", "SET far:a 1", "SET far:b 1", "DEL far:a", "DEL far:b", "EXEC"]
        )[5],
        "*4 +OK +OK :1 :1"
    );
    let (_, metrics) = usual.page("/metrics");
    assert!(metrics.contains("slotway_transactions_spread_total 1"));
    assert_eq!(usual.errors().matches("atomic in each slot only").count(), 1);
}

#[test]
fn watch_over_several_slots_is_a_setting() {
    let gateway =
        Gateway::before(Cluster::shared()).setting("routing.transactions", "best-effort").start();
    let (mut client, mut other) = (gateway.client(), gateway.client());
    let keys = ["best:a", "best:b", "best:c"];
    let begin = ["WATCH best:a", "WATCH best:b", "WATCH best:c"];
    let at_once = ["WATCH best:c best:a best:b best:a"];
    for (changed, begin) in keys.into_iter().flat_map(|key| [(key, &begin[..]), (key, &at_once)]) {
        assert!(say(&mut client, begin).iter().all(|reply| reply == "+OK"));
        other.call(&format!("SET {changed} x"));
        let replies =
            say(&mut client, &["MULTI", "SET best:a 1", "SET best:d 1", "EXEC", "GET best:d"]);
        assert_eq!(replies[3..], ["*-1", "$-1"], "{changed}");
    }
    assert_eq!(say(&mut client, &begin), ["+OK"; 3]);
    let replies = say(
        &mut client,
        &[
            "MULTI",
            "GET best:a",
            "SET best:b 2",
            "SET best:d 1",
            "PING",
            "GET best:b",
            "DEL best:d",
            "EXEC",
        ],
    );
    assert_eq!(replies[7], "*6 $1 x +OK +OK +PONG $1 2 :1");
}

/// The replies to a sequence, one by one; an empty line is nothing.
fn run(client: &mut Client, sequence: &[&str], prefix: &str) -> String {
    let mut replies = String::new();
    for line in lines(sequence, prefix).iter().filter(|line| !line.is_empty()) {
        client.send(&encode(line));
        replies += &client.reply().to_string();
    }
    replies
}

/// Another client's change between WATCH and EXEC, for every kind of change that a server notices or does not.
#[test]
fn a_concurrent_change_is_found_as_on_one_server() {
    let server = Server::standalone();
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let changes: [(&str, &[&str]); 16] = [
        ("", &["SET Ka other"]),
        ("SET Ka 1", &["SET Ka 1"]),
        ("SET Ka 1", &["DEL Ka"]),
        ("", &["DEL Ka"]),
        ("", &["SET Ka 1", "DEL Ka"]),
        ("SET Ka 1", &["EXPIRE Ka 100"]),
        ("SET Ka 1", &["PEXPIRE Ka -1"]),
        ("SET Ka 1", &["GET Ka"]),
        ("SET Ka 1", &["TOUCH Ka"]),
        ("SET Ka 1", &["SET Ka 2 NX"]),
        ("SET Kb 1", &["RENAME Kb Ka"]),
        ("SET Kb 1", &["COPY Kb Ka"]),
        ("RPUSH Ka x", &["LPOP Ka"]),
        ("SADD Ka x", &["SADD Ka x"]),
        ("", &["MULTI", "SET Ka 1", "EXEC"]),
        ("", &["EVAL return~redis.call('set',KEYS[1],'x') 1 Ka"]),
    ];
    let mut broken = Vec::new();
    for protocol in [2, 3] {
        for (place, (before, change)) in changes.iter().enumerate() {
            let prefix = format!("{{change{protocol}:{place}}}:key:");
            let outcome = |address: SocketAddr| {
                let (mut one, mut other) = (connect(address, protocol), connect(address, protocol));
                let mut replies = run(&mut one, &[before, "WATCH Ka"], &prefix);
                replies += &run(&mut other, change, &prefix);
                replies + &run(&mut one, &["MULTI", "SET Kc done", "EXEC", "GET Kc"], &prefix)
            };
            let (expected, found) = (outcome(server.address()), outcome(gateway.address()));
            if expected != found {
                broken.push(format!(
                    "RESP{protocol} {before} {change:?}\n  {expected:?}\n  {found:?}"
                ));
            }
        }
    }
    assert_none(&broken);
}
