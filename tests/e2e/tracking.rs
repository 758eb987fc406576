//! Client-side caching: clients are told what has changed as a single server tells them.

use std::time::Duration;

use crate::harness::{
    Act, Client, Cluster, FakeCluster, Gateway, Reply, Server, key_slot, request_line, tag_in_slot,
    wait_for,
};

/// What a client sees that sends a line: its reply, behind what it was told until then.
type Seen = Vec<Reply>;

/// A client on one side of the comparison, and what it was told while it did something else.
struct Side {
    clients: Vec<Client>,
}

impl Side {
    fn new(connect: impl Fn(u8) -> Client, protocols: &[u8]) -> Self {
        Self { clients: protocols.iter().map(|protocol| connect(*protocol)).collect() }
    }

    /// Sends a line, and takes frames up to its reply.
    fn say(&mut self, client: usize, line: &str) -> Seen {
        let client = &mut self.clients[client];
        client.send(&request_line(line));
        let mut seen = Vec::new();
        loop {
            let frame = client.reply();
            let is_push = frame.kind() == b'>';
            seen.push(frame);
            if !is_push {
                return seen;
            }
        }
    }
}

/// Word of keys by their names; a node tells of each by itself, as a server does.
fn told(seen: &[Reply]) -> Vec<String> {
    let mut told: Vec<String> = seen
        .iter()
        .filter(|frame| frame.kind() == b'>')
        .flat_map(|frame| {
            let items = frame.items();
            assert_eq!(items[0].text(), "invalidate", "{frame}");
            if items[1].is_nil() {
                return vec!["everything".to_owned()];
            }
            items[1].items().iter().map(Reply::text).collect()
        })
        .collect();
    told.sort();
    told.dedup();
    told
}

/// Lines of client 0, which caches, and of client 1, which writes.
const SCENES: [&[&str]; 14] = [
    &["0 GET a1", "1 SET a1 x", "1 SET a1 y", "0 GET a1", "1 DEL a1", "0 GET none", "1 SET none 1"],
    &["0 MGET b1 b2 b3 b4 b5", "1 MSET b1 1 b3 1 b5 1", "1 SET b2 1", "0 SET b4 1"],
    &["0 HGETALL c1", "0 EXISTS c2 c3", "1 HSET c1 f v", "1 LPUSH c3 x", "1 SADD c2 y"],
    &["0 SET d1 1", "1 SET d1 2", "0 GET d1", "0 INCR d1", "0 GET d1", "1 INCR d1"],
    &["0 MULTI", "0 GET e1", "0 GET e1", "0 EXEC", "1 SET e1 1", "0 GET e1", "1 RENAME e1 {e1}2"],
    &["0 EVAL return{redis.call('GET',KEYS[1])} 1 f1", "1 SET f1 1", "1 SET f1 2"],
    &[
        "0 CLIENT TRACKING OFF",
        "0 GET g1",
        "1 SET g1 1",
        "0 CLIENT TRACKING ON NOLOOP",
        "0 GET g1",
        "0 SET g1 2",
        "1 SET g1 3",
        "0 GET g1",
        "1 SET g1 4",
    ],
    &[
        "0 CLIENT TRACKING OFF",
        "0 CLIENT TRACKING ON OPTIN",
        "0 GET h1",
        "1 SET h1 1",
        "0 CLIENT CACHING YES",
        "0 GET h1",
        "0 GET h2",
        "1 SET h1 2",
        "1 SET h2 2",
        "0 CLIENT CACHING YES",
        "0 CLIENT ID",
        "0 MGET h1 h2 h3 h4",
        "1 SET h2 3",
        "1 SET h4 3",
        "0 CLIENT CACHING YES",
        "0 MULTI",
        "0 PTTL h5",
        "0 GET h5",
        "0 EXEC",
        "0 GET h6",
        "1 SET h5 1",
        "1 SET h6 1",
    ],
    &[
        "0 CLIENT TRACKING OFF",
        "0 CLIENT TRACKING ON OPTOUT",
        "0 GET i1",
        "1 SET i1 1",
        "0 CLIENT CACHING NO",
        "0 GET i1",
        "1 SET i1 2",
        "0 GET i1",
        "1 SET i1 3",
        "0 CLIENT CACHING NO",
        "0 PING",
        "0 GET i2",
        "1 SET i2 3",
    ],
    &[
        "0 CLIENT TRACKING OFF",
        "0 CLIENT TRACKING ON BCAST PREFIX j: PREFIX k:",
        "1 SET j:1 1",
        "1 SET j:2 1",
        "1 SET k:1 1",
        "1 SET l:1 1",
        "0 SET j:3 1",
        "1 MSET j:4 1 k:2 1 k:3 1 k:4 1",
        "0 CLIENT TRACKING ON BCAST PREFIX l:",
        "1 SET l:1 2",
        "1 SET j:1 2",
        "0 CLIENT TRACKING OFF",
        "1 SET j:1 3",
        "0 CLIENT TRACKING ON BCAST NOLOOP",
        "0 SET j:1 4",
        "1 SET j:1 5",
    ],
    &[
        "0 CLIENT TRACKING OFF",
        "0 CLIENT TRACKING ON",
        "0 GET m1",
        "1 FLUSHALL",
        "0 GET m1",
        "1 FLUSHDB",
    ],
    &[
        "0 SET n1 1",
        "0 GET n1",
        "1 PEXPIRE n1 100000",
        "0 GET n1",
        "1 PERSIST n1",
        "0 GET n1",
        "1 EXPIRE n1 -1",
    ],
    &[
        "0 GET o1",
        "0 CLIENT TRACKING OFF",
        "1 SET o1 1",
        "0 CLIENT TRACKING ON",
        "0 GET o1",
        "1 SET o1 2",
    ],
    &[
        "0 GET p1",
        "0 RESET",
        "0 HELLO 3",
        "1 SET p1 1",
        "0 CLIENT TRACKING ON",
        "0 GET p1",
        "1 SET p1 2",
    ],
];

/// The client that caches asks the server something after each line, so it has been told all there is to tell.
#[test]
fn clients_are_told_what_a_server_tells() {
    let (cluster, server) = (Cluster::small(), Server::standalone());
    let gateway = Gateway::before(&cluster).workers(2).start();
    let mut expected = Side::new(|protocol| server.client_of(protocol), &[3, 3]);
    let mut given = Side::new(|protocol| gateway.client_of(protocol), &[3, 3]);
    for scene in SCENES {
        for side in [&mut expected, &mut given] {
            side.say(0, "CLIENT TRACKING OFF");
            side.say(0, "CLIENT TRACKING ON");
        }
        for line in scene {
            let (client, words) = (usize::from(line.as_bytes()[0] - b'0'), &line[2..]);
            let (mut wanted, mut got) = (expected.say(client, words), given.say(client, words));
            assert_eq!(
                reply(wanted.last(), words),
                reply(got.last(), words),
                "{line} in {scene:?}"
            );
            if reply(got.last(), words).starts_with("+QUEUED") || words == "MULTI" {
                continue;
            }
            wanted.extend(expected.say(0, "PING"));
            wait_for("word of changes", || {
                got.extend(given.say(0, "PING"));
                told(&got).len() >= told(&wanted).len()
            });
            if words.starts_with("CLIENT TRACKING ON") {
                // Who says it again takes new connections, and may have missed something on the old ones.
                got.clear();
            }
            assert_eq!(told(&got), told(&wanted), "{line} in {scene:?}");
        }
    }
}

/// What a line was answered; the numbers of clients differ.
fn reply(seen: Option<&Reply>, words: &str) -> String {
    let reply = seen.unwrap().to_string();
    if words.starts_with("HELLO") || words == "CLIENT ID" { String::new() } else { reply }
}

const OTHER: &str = "CLIENT TRACKING ON REDIRECT";

/// Word goes to another connection, whichever worker it belongs to and whatever it speaks.
#[test]
fn another_client_is_told() {
    let (cluster, server) = (Cluster::small(), Server::standalone());
    let gateway = Gateway::before(&cluster).workers(2).start();
    for protocols in [[2, 2], [2, 3], [3, 2], [3, 3]] {
        let sides = [
            redirected(&|protocol| server.client_of(protocol), protocols, "one"),
            redirected(&|protocol| gateway.client_of(protocol), protocols, "one"),
            // The next connection is the other worker's.
            redirected(&|protocol| gateway.client_of(protocol), protocols, "two"),
        ];
        assert_eq!(sides[0], sides[1], "{protocols:?}");
        assert_eq!(sides[0].len(), sides[2].len(), "{protocols:?}");
    }
}

/// What the other connection hears, and what the one that reads is told of it.
fn redirected(connect: &dyn Fn(u8) -> Client, protocols: [u8; 2], name: &str) -> Vec<String> {
    let (mut writer, mut reader) = (connect(2), connect(protocols[0]));
    let mut other = connect(protocols[1]);
    let id = other.call("CLIENT ID").integer();
    if protocols[1] == 2 {
        other.call("SUBSCRIBE __redis__:invalidate");
    }
    let mut seen = Vec::new();
    let mut note =
        |reply: Reply| seen.push(reply.to_string().replace(&format!("\\n:{id}\\r"), "\\n:ID\\r"));
    note(reader.call(&format!("{OTHER} {id}")));
    note(reader.call(&format!("GET redirect:{name}")));
    note(reader.call("MGET redirect:1 redirect:2 redirect:3"));
    writer.call(&format!("SET redirect:{name} 1"));
    note(other.reply());
    writer.call("SET redirect:2 1");
    note(other.reply());
    assert_eq!(reader.call("CLIENT GETREDIR").integer(), id);
    note(reader.call("CLIENT TRACKINGINFO"));
    note(reader.call("GET redirect:2"));
    drop(other);
    // Until the end of the connection is known, word goes to nobody.
    let mut told = None;
    let mut ask = |line: &str| {
        reader.send(&request_line(line));
        loop {
            let frame = reader.reply();
            if frame.kind() != b'>' {
                return frame;
            }
            told = Some(frame);
        }
    };
    wait_for("the end of the other connection", || {
        ask("GET redirect:2");
        writer.call("SET redirect:2 2");
        ask("CLIENT TRACKINGINFO").to_string().contains("broken_redirect")
    });
    told.map(&mut note);
    seen
}

#[test]
fn mistakes_are_a_servers() {
    let (cluster, server) = (Cluster::shared(), Server::standalone());
    let gateway = Gateway::before(cluster).start();
    let (mut expected, mut given) = (server.client_of(3), gateway.client_of(3));
    let lines = [
        "CLIENT TRACKING",
        "CLIENT TRACKING MAYBE",
        "CLIENT TRACKING ON MAYBE",
        "CLIENT TRACKING ON REDIRECT",
        "CLIENT TRACKING ON REDIRECT x",
        "CLIENT TRACKING ON REDIRECT 0",
        "CLIENT TRACKING ON REDIRECT 123456",
        "CLIENT TRACKING ON PREFIX a",
        "CLIENT CACHING YES",
        "CLIENT CACHING",
        "CLIENT TRACKINGINFO",
        "CLIENT GETREDIR",
        "CLIENT TRACKING ON OPTIN OPTOUT",
        "CLIENT TRACKING ON OPTIN BCAST",
        "CLIENT TRACKING on optin",
        "CLIENT TRACKING ON OPTOUT",
        "CLIENT TRACKING ON BCAST",
        "CLIENT CACHING NO",
        "CLIENT CACHING MAYBE",
        "CLIENT TRACKINGINFO",
        "CLIENT CACHING YES",
        "CLIENT TRACKINGINFO",
        "CLIENT TRACKINGINFO",
        "PING",
        "CLIENT TRACKINGINFO",
        "CLIENT CACHING YES",
        "NONSENSE",
        "CLIENT TRACKINGINFO",
        "CLIENT TRACKING ON NOLOOP",
        "CLIENT TRACKINGINFO",
        "CLIENT GETREDIR",
        "CLIENT TRACKING OFF",
        "CLIENT TRACKING ON BCAST PREFIX ab PREFIX a",
        "CLIENT TRACKING ON BCAST PREFIX b PREFIX a",
        "CLIENT TRACKING ON BCAST PREFIX ab",
        "CLIENT TRACKINGINFO",
        "RESET",
        "CLIENT TRACKINGINFO",
    ];
    for line in lines {
        let mut reply = given.call(line);
        while reply.kind() == b'>' {
            reply = given.reply();
        }
        // No subcommand is told from one with a wrong number of arguments by its text alone.
        assert_eq!(reply.to_string(), expected.call(line).to_string(), "{line}");
    }
    given.call("MULTI");
    let refusal = given.call("CLIENT TRACKING ON").text();
    assert_eq!(refusal, "ERR Command not allowed inside a transaction");
}

/// Word that any key may have changed.
const EVERYTHING: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";

#[test]
fn a_slot_that_moves_takes_what_was_read_along() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let (mut reader, mut elsewhere) = (gateway.client_of(3), gateway.client_of(3));
    let slot = key_slot(b"absent");
    for client in [&mut reader, &mut elsewhere] {
        assert_eq!(client.call("CLIENT TRACKING ON").text(), "OK");
    }
    assert!(reader.call("GET absent").is_nil());
    let other = format!("{{{}}}", tag_in_slot(if slot == 0 { 1 } else { 0 }));
    elsewhere.call(&format!("GET {other}"));
    // The node that it was read from will never hear of it again.
    cluster.migrate_slot(slot, 1 - cluster.owner(slot));
    gateway.client().call("SET absent 1");
    assert_eq!(reader.reply().bytes(), EVERYTHING);
    assert_eq!(reader.call("GET absent").text(), "1");
    gateway.client().call("SET absent 2");
    assert_eq!(told(&[reader.reply()]), ["absent"]);
    // Who has read nothing there is told nothing.
    assert_eq!(elsewhere.call("PING").text(), "PONG");
}

#[test]
fn a_node_that_is_lost_takes_what_was_read_along() {
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).start();
    let (mut reader, mut broadcast) = (gateway.client_of(3), gateway.client_of(3));
    assert_eq!(reader.call("CLIENT TRACKING ON").text(), "OK");
    assert_eq!(broadcast.call("CLIENT TRACKING ON BCAST").text(), "OK");
    let key_of = |place: usize| {
        let mine = |number: &u32| cluster.owner(key_slot(format!("k{number}").as_bytes())) == place;
        format!("k{}", (0..).find(mine).unwrap())
    };
    let keys = [key_of(0), key_of(1)];
    for key in &keys {
        assert!(reader.call(&format!("GET {key}")).is_nil());
    }
    cluster.node_mut(0).kill();
    assert_eq!(reader.reply().bytes(), EVERYTHING);
    assert_eq!(broadcast.reply().bytes(), EVERYTHING);
    cluster.wait_for_primary(3);
    // Not before the one that took over can tell; then what was missed meanwhile is behind it.
    assert_eq!(broadcast.reply().bytes(), EVERYTHING);
    gateway.client().call(&format!("SET {} 1", keys[0]));
    wait_for("word of the key", || told(&[broadcast.reply()]) == [keys[0].clone()]);

    for key in &keys {
        reader.send(&request_line(&format!("GET {key}")));
    }
    wait_for("both values", || reader.reply().is_nil());
    // It keeps its connections and says nothing.
    cluster.node(1).freeze();
    wait_for("word that it was replaced", || reader.reply().bytes() == EVERYTHING);
    cluster.node(1).thaw();
}

/// Connections to nodes that sessions hold.
fn connections(gateway: &Gateway) -> i64 {
    let (_, page) = gateway.page("/metrics");
    let line = page.lines().find(|line| line.starts_with("slotway_tracking_connections"));
    line.and_then(|line| line.rsplit(' ').next()).unwrap().parse::<f64>().unwrap() as i64
}

#[test]
fn connections_are_given_back() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let wait_for_connections =
        |count| wait_for(&format!("{count} connections"), || connections(&gateway) == count);
    let mut client = gateway.client_of(3);
    for end in ["CLIENT TRACKING OFF", "RESET", "HELLO 2"] {
        client.call("HELLO 3");
        assert_eq!(client.call("CLIENT TRACKING ON").text(), "OK");
        wait_for_connections(0);
        client.call("MSET a 1 b 2 c 3 d 4");
        wait_for_connections(2);
        client.call(end);
        wait_for_connections(0);
        client.call("MSET a 1 b 2 c 3 d 4");
        client.call("RESET");
    }
    client.call("HELLO 3");
    client.call("CLIENT TRACKING ON BCAST PREFIX a PREFIX b");
    wait_for_connections(2);
    drop(client);
    wait_for_connections(0);
    // Whoever leaves in a hurry still has its requests carried out.
    let mut client = gateway.client_of(3);
    client.call("CLIENT TRACKING ON");
    client.send(&[request_line("SET hurry 1"), request_line("SET hurry:2 1")].concat());
    drop(client);
    let mut other = gateway.client();
    wait_for("both", || other.call("EXISTS hurry hurry:2").integer() == 2);
    wait_for_connections(0);
}

#[test]
fn who_finds_no_connection_left_is_told_so() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).setting("backend.leases", 2).start();
    let none = "ERR the gateway has no connection left for this command (backend.leases)";
    let mut client = gateway.client_of(3);
    assert_eq!(client.call("CLIENT TRACKING ON BCAST").text(), none);
    assert!(client.call("CLIENT TRACKINGINFO").to_string().contains("off"));
    assert_eq!(client.call("CLIENT TRACKING ON").text(), "OK");
    let tags = [0, 16_383].map(|slot| format!("{{{}}}", tag_in_slot(slot)));
    wait_for("the connection that was of no use", || {
        client.call(&format!("GET {}", tags[0])).is_nil()
    });
    assert_eq!(client.call(&format!("GET {}", tags[1])).text(), none);
    // What it could not read on such terms it can read without them.
    assert_eq!(client.call("CLIENT TRACKING OFF").text(), "OK");
    assert!(client.call(&format!("GET {}", tags[1])).is_nil());
}

const BOTH: &str = "*2\\r\\n$1\\r\\ns\\r\\n$1\\r\\np\\r\\n";

/// A reply that waits for another node's keeps word of its key waiting as well.
#[test]
fn word_of_a_key_never_overtakes_its_value() {
    let fake = FakeCluster::of(2);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let [slow, prompt] = [0, 16_383].map(|slot| format!("{{{}}}", tag_in_slot(slot)));
    let invalidate = |key: &str| {
        let length = key.len();
        format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${length}\r\n{key}\r\n")
    };
    fake.always(0, "CLIENT TRACKING", Act::say("+OK\r\n"));
    fake.always(1, "CLIENT TRACKING", Act::say("+OK\r\n"));
    let late = |text: &str| Act::SayLate(Duration::from_millis(300), text.into());
    fake.always(0, "GET", late("$1\r\ns\r\n"));
    fake.always(0, "MGET", late("*1\r\n$1\r\ns\r\n"));
    fake.always(1, "GET", Act::say(&format!("$1\r\np\r\n{}", invalidate(&prompt))));
    fake.always(1, "MGET", Act::say(&format!("*1\r\n$1\r\np\r\n{}", invalidate(&prompt))));
    let mut client = gateway.client_of(3);
    client.call("CLIENT TRACKING ON");
    let requests = [
        format!("GET {slow}"),
        format!("GET {prompt}"),
        format!("MGET {slow} {prompt}"),
        "PING".to_owned(),
    ];
    client.send(&requests.iter().flat_map(|line| request_line(line)).collect::<Vec<_>>());
    let frames: Vec<String> = (0..6).map(|_| client.reply().to_string()).collect();
    let word = invalidate(&prompt).replace("\r\n", "\\r\\n");
    let place = |what: &str| frames.iter().position(|frame| frame == what).unwrap();
    let replies = frames.iter().filter(|frame| **frame != word);
    let expected = ["$1\\r\\ns\\r\\n", "$1\\r\\np\\r\\n", BOTH, "+PONG\\r\\n"];
    assert!(replies.eq(expected.iter()), "{frames:?}");
    assert!(place(&word) > place(expected[1]), "{frames:?}");
    assert!(frames.iter().rposition(|frame| *frame == word) > Some(place(BOTH)), "{frames:?}");
}

#[test]
fn a_node_that_keeps_no_track_says_so() {
    let fake = FakeCluster::of(1);
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let refusal = "NOPERM this user has no permissions to run the 'client|tracking' command";
    fake.always(0, "CLIENT TRACKING", Act::say(&format!("-{refusal}\r\n")));
    let mut client = gateway.client_of(3);
    let reply = client.call("CLIENT TRACKING ON BCAST").text();
    assert!(reply.starts_with("ERR ") && reply.ends_with(refusal), "{reply}");
    client.call("CLIENT TRACKING ON");
    let reply = client.call("GET key").text();
    assert!(reply.starts_with("ERR ") && reply.ends_with(refusal), "{reply}");
    assert_eq!(fake.seen(0, "GET"), 0, "{:?}", fake.history(0));
}

/// Word that is not read is bounded as messages to subscribers are.
#[test]
fn who_does_not_listen_is_cut_off() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster)
        .setting("pubsub.output_hard", "64KiB")
        .setting("pubsub.output_soft", "64KiB")
        .start();
    let mut deaf = gateway.client_of(3);
    assert_eq!(deaf.call("CLIENT TRACKING ON BCAST").text(), "OK");
    let mut writer = gateway.client();
    let key = "k".repeat(8 << 10);
    wait_for("the end of the client", || {
        writer.call(&format!("MSET {key}1 1 {key}2 2 {key}3 3"));
        connections(&gateway) == 0
    });
    drop(deaf);
}

/// Word of very many keys, or of very long ones, may become word of all.
#[test]
fn word_of_many_keys_at_once() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let mut client = gateway.client_of(3);
    assert_eq!(client.call("CLIENT TRACKING ON BCAST").text(), "OK");
    let mut writer = gateway.client();
    let many: Vec<String> = (0..20_000).map(|number| format!("{{many}}:{number} 1")).collect();
    assert_eq!(writer.call(&format!("MSET {}", many.join(" "))).text(), "OK");
    let count = told(&[client.reply()]);
    assert!(count == ["everything"] || count.len() == many.len(), "{} keys", count.len());
    let long = "k".repeat(1 << 20);
    writer.call(&format!("SET {long} 1"));
    let word = told(&[client.reply()]);
    assert!(word == ["everything"] || word == [long], "{} keys", word.len());
    writer.call("SET short 1");
    assert_eq!(told(&[client.reply()]), ["short"]);
}
