//! A node of a cluster that misbehaves on order. It answers what a gateway asks to find its way; the rest is a script.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::wait_for;

/// What a node does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Sends these bytes, whatever they are.
    Say(Vec<u8>),
    /// Sends these bytes after a pause.
    SayLate(Duration, Vec<u8>),
    /// Sends these bytes and closes the connection in order.
    SayAndClose(Vec<u8>),
    /// Sends these bytes and closes the connection with a reset.
    SayAndReset(Vec<u8>),
    /// Sends the first bytes, then the second ones for ever.
    SayForEver(Vec<u8>, Vec<u8>),
    /// Sends these bytes one by one, with a pause after each.
    Drip(Vec<u8>),
    /// Sends nothing, and reads no further on this connection.
    Freeze,
}

impl Act {
    pub(crate) fn say(bytes: &str) -> Self {
        Self::Say(bytes.as_bytes().to_vec())
    }
}

/// Fake nodes that share the slots evenly.
pub(crate) struct FakeCluster {
    nodes: Vec<Arc<Node>>,
}

struct Node {
    address: SocketAddr,
    id: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// First and last slot, address and ID of each node that owns some. Thousands share it.
    shards: Arc<Vec<(u16, u16, SocketAddr, String)>>,
    /// Rules in order of preference: the first whose words start the request applies.
    rules: Vec<Rule>,
    seen: Vec<Vec<Vec<u8>>>,
    connections: usize,
}

/// What a connection has agreed upon.
struct Chosen {
    protocol: u8,
    database: u16,
}

struct Rule {
    words: Vec<String>,
    /// Acts for the next requests; the last one stays unless the rule is for once only.
    acts: VecDeque<Act>,
    last_stays: bool,
}

impl FakeCluster {
    pub(crate) fn of(count: u16) -> Self {
        let listeners: Vec<TcpListener> =
            (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let shards: Arc<Vec<_>> = listeners
            .iter()
            .zip(0..)
            .map(|(listener, place)| {
                let share = 16_384 / count;
                let last = if place + 1 == count { 16_383 } else { (place + 1) * share - 1 };
                (place * share, last, listener.local_addr().unwrap(), format!("{place:040x}"))
            })
            .collect::<Vec<_>>()
            .into();
        let nodes = listeners
            .into_iter()
            .zip(shards.iter())
            .map(|(listener, (_, _, address, id))| {
                let state = Mutex::new(State { shards: Arc::clone(&shards), ..State::default() });
                let node = Arc::new(Node { address: *address, id: id.clone(), state });
                let accepting = Arc::clone(&node);
                thread::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        let node = Arc::clone(&accepting);
                        thread::spawn(move || node.serve(stream));
                    }
                });
                node
            })
            .collect();
        Self { nodes }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// From now on the node does this with every request that starts with the words.
    pub(crate) fn always(&self, node: usize, words: &str, act: Act) {
        self.add(node, words, vec![act], true);
    }

    /// The node does these, one per request that starts with the words, and then what it did before.
    pub(crate) fn once(&self, node: usize, words: &str, acts: Vec<Act>) {
        self.add(node, words, acts, false);
    }

    /// The node behaves again, whatever it was told to do.
    pub(crate) fn forget(&self, node: usize) {
        self.nodes[node].state.lock().unwrap().rules.clear();
    }

    /// The node remembers nothing of what it was sent so far.
    pub(crate) fn forget_requests(&self, node: usize) {
        self.nodes[node].state.lock().unwrap().seen.clear();
    }

    fn add(&self, node: usize, words: &str, acts: Vec<Act>, last_stays: bool) {
        let words = words.split(' ').map(str::to_owned).collect();
        self.nodes[node]
            .state
            .lock()
            .unwrap()
            .rules
            .insert(0, Rule { words, acts: acts.into(), last_stays });
    }

    /// Requests that the node was sent and that start with the words.
    pub(crate) fn seen(&self, node: usize, words: &str) -> usize {
        let words: Vec<&str> = words.split(' ').collect();
        let state = self.nodes[node].state.lock().unwrap();
        state.seen.iter().filter(|request| starts_with(request, &words)).count()
    }

    pub(crate) fn wait_until_seen(&self, node: usize, words: &str, count: usize) {
        wait_for(&format!("{count} of {words:?} at node {node}"), || {
            self.seen(node, words) >= count
        });
    }

    /// Commands and first arguments in the order in which the node got them.
    pub(crate) fn history(&self, node: usize) -> Vec<String> {
        let state = self.nodes[node].state.lock().unwrap();
        state
            .seen
            .iter()
            .map(|request| {
                request
                    .iter()
                    .take(3)
                    .map(|word| String::from_utf8_lossy(word))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect()
    }

    /// Makes the node the owner of all slots in the eyes of every node.
    pub(crate) fn give_all_slots(&self, node: usize) {
        let owner = &self.nodes[node];
        for other in &self.nodes {
            let all = vec![(0, 16_383, owner.address, owner.id.clone())];
            other.state.lock().unwrap().shards = all.into();
        }
    }

    /// Gives every node the slots of the next one, in the eyes of every node.
    pub(crate) fn pass_slots_on(&self) {
        let mut shards = self.nodes[0].state.lock().unwrap().shards.to_vec();
        let ranges: Vec<(u16, u16)> = shards.iter().map(|shard| (shard.0, shard.1)).collect();
        for (shard, range) in shards.iter_mut().zip(ranges.iter().cycle().skip(1)) {
            (shard.0, shard.1) = *range;
        }
        let shards = Arc::new(shards);
        for node in &self.nodes {
            node.state.lock().unwrap().shards = Arc::clone(&shards);
        }
    }

    /// Connections that the node has accepted so far.
    pub(crate) fn connections(&self, node: usize) -> usize {
        self.nodes[node].state.lock().unwrap().connections
    }
}

impl Node {
    fn serve(&self, mut stream: TcpStream) {
        self.state.lock().unwrap().connections += 1;
        let (mut buffer, mut chosen) = (Vec::new(), Chosen { protocol: 2, database: 0 });
        let mut piece = [0; 16 << 10];
        loop {
            while let Some((request, length)) = parse(&buffer) {
                buffer.drain(..length);
                let act = self.choose(&request, &mut chosen);
                if perform(&mut stream, act).is_none() {
                    return;
                }
            }
            match stream.read(&mut piece) {
                Ok(length) if length > 0 => buffer.extend(&piece[..length]),
                _ => return,
            }
        }
    }

    fn choose(&self, request: &[Vec<u8>], chosen: &mut Chosen) -> Act {
        let mut state = self.state.lock().unwrap();
        state.seen.push(request.to_vec());
        let place = state.rules.iter().position(|rule| {
            let words: Vec<&str> = rule.words.iter().map(String::as_str).collect();
            !rule.acts.is_empty() && starts_with(request, &words)
        });
        if let Some(rule) = place.map(|place| &mut state.rules[place]) {
            let last = rule.acts.len() == 1 && rule.last_stays;
            return if last { rule.acts[0].clone() } else { rule.acts.pop_front().unwrap() };
        }
        Act::Say(self.answer(request, chosen, &state.shards).into_bytes())
    }

    /// What a well-behaved node says: to `GET` the key itself and the database, unless that is 0, so that every value
    /// names its owner.
    fn answer(
        &self,
        request: &[Vec<u8>],
        chosen: &mut Chosen,
        shards: &[(u16, u16, SocketAddr, String)],
    ) -> String {
        let words: Vec<String> =
            request.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let word = |at: usize| words.get(at).map(|word| word.to_uppercase()).unwrap_or_default();
        match (word(0).as_str(), word(1).as_str()) {
            ("CLUSTER", "SLOTS") => cluster_slots(shards),
            ("CLUSTER", "SHARDS") => cluster_shards(shards),
            ("CLUSTER", "NODES") => bulk(&self.cluster_nodes(shards)),
            ("CLUSTER", "MYID") => bulk(&self.id),
            ("CLUSTER", "INFO") => bulk(
                "cluster_enabled:1\r\ncluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:1\r\n",
            ),
            ("INFO", _) => bulk(
                "# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\nrole:master\r\nloading:0\r\n",
            ),
            ("HELLO", version) => {
                chosen.protocol = version.parse().unwrap_or(chosen.protocol);
                hello(chosen.protocol)
            }
            ("SELECT", database) => {
                chosen.database = database.parse().unwrap();
                "+OK\r\n".to_owned()
            }
            ("PING", _) => "+PONG\r\n".to_owned(),
            ("COMMAND", _) => "*0\r\n".to_owned(),
            ("GET", _) if chosen.database > 0 => bulk(&format!("{}@{}", words[1], chosen.database)),
            ("GET", _) => bulk(&words[1]),
            ("MGET", _) => format!(
                "*{}\r\n{}",
                words.len() - 1,
                words[1..].iter().map(|key| bulk(key)).collect::<String>()
            ),
            ("INCR" | "DEL" | "EXISTS" | "UNLINK" | "TOUCH", _) => {
                format!(":{}\r\n", words.len() - 1)
            }
            _ => "+OK\r\n".to_owned(),
        }
    }

    fn cluster_nodes(&self, shards: &[(u16, u16, SocketAddr, String)]) -> String {
        let line = |(first, last, address, id): &(u16, u16, SocketAddr, String)| {
            let myself = if *id == self.id { "myself," } else { "" };
            format!(
                "{id} {address}@{} {myself}master - 0 0 1 connected {first}-{last}\n",
                u32::from(address.port()) + 10_000
            )
        };
        shards.iter().map(line).collect()
    }
}

/// Does what the script says; `None` when the connection is over.
fn perform(stream: &mut TcpStream, act: Act) -> Option<()> {
    match act {
        Act::Say(bytes) => stream.write_all(&bytes).ok(),
        Act::SayLate(pause, bytes) => {
            thread::sleep(pause);
            stream.write_all(&bytes).ok()
        }
        Act::SayAndClose(bytes) => {
            stream.write_all(&bytes).ok()?;
            None
        }
        Act::SayAndReset(bytes) => {
            stream.write_all(&bytes).ok()?;
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).ok()?;
            None
        }
        Act::SayForEver(first, again) => {
            stream.write_all(&first).ok()?;
            while stream.write_all(&again).is_ok() {}
            None
        }
        Act::Drip(bytes) => {
            for byte in bytes.chunks(1) {
                stream.write_all(byte).ok()?;
                thread::sleep(Duration::from_millis(2));
            }
            Some(())
        }
        Act::Freeze => {
            // Until the other side gives up; what it sends is not looked at.
            let mut piece = [0; 1024];
            while stream.read(&mut piece).is_ok_and(|length| length > 0) {}
            None
        }
    }
}

fn starts_with(request: &[Vec<u8>], words: &[&str]) -> bool {
    words.len() <= request.len()
        && words
            .iter()
            .zip(request)
            .all(|(word, argument)| argument.eq_ignore_ascii_case(word.as_bytes()))
}

/// The first complete request and its length. Only arrays of bulk strings: a gateway sends nothing else.
pub(super) fn parse(buffer: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let number = |at: usize, mark: u8| -> Option<(usize, usize)> {
        let line = buffer.get(at..)?;
        let end = memchr::memmem::find(line, b"\r\n")?;
        assert_eq!(line[0], mark, "not a request: {}", line.escape_ascii());
        Some((std::str::from_utf8(&line[1..end]).unwrap().parse().unwrap(), at + end + 2))
    };
    let (count, mut at) = number(0, b'*')?;
    let mut request = Vec::new();
    for _ in 0..count {
        let (length, start) = number(at, b'$')?;
        request.push(buffer.get(start..start + length)?.to_vec());
        at = start + length + 2;
    }
    (at <= buffer.len()).then_some((request, at))
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn cluster_slots(shards: &[(u16, u16, SocketAddr, String)]) -> String {
    let ranges = shards.iter().map(|(first, last, address, id)| {
        let node = format!(
            "*4\r\n{}:{}\r\n{}*0\r\n",
            bulk(&address.ip().to_string()),
            address.port(),
            bulk(id)
        );
        format!("*3\r\n:{first}\r\n:{last}\r\n{node}")
    });
    format!("*{}\r\n{}", shards.len(), ranges.collect::<String>())
}

fn cluster_shards(shards: &[(u16, u16, SocketAddr, String)]) -> String {
    let shard = |(first, last, address, id): &(u16, u16, SocketAddr, String)| {
        let ip = bulk(&address.ip().to_string());
        let fields = [
            ("id", bulk(id)),
            ("port", format!(":{}\r\n", address.port())),
            ("ip", ip.clone()),
            ("endpoint", ip),
            ("role", bulk("master")),
            ("replication-offset", ":1\r\n".to_owned()),
            ("health", bulk("online")),
        ];
        let node: String = fields.iter().map(|(name, value)| bulk(name) + value).collect();
        format!(
            "*4\r\n{}*2\r\n:{first}\r\n:{last}\r\n{}*1\r\n*{}\r\n{node}",
            bulk("slots"),
            bulk("nodes"),
            fields.len() * 2
        )
    };
    format!("*{}\r\n{}", shards.len(), shards.iter().map(shard).collect::<String>())
}

fn hello(protocol: u8) -> String {
    let head = if protocol == 3 { "%7\r\n" } else { "*14\r\n" };
    let texts =
        [("server", "redis"), ("version", "7.0.15"), ("mode", "cluster"), ("role", "master")];
    let texts: String = texts.iter().map(|(name, value)| bulk(name) + &bulk(value)).collect();
    format!(
        "{head}{texts}{}:{protocol}\r\n{}:1\r\n{}*0\r\n",
        bulk("proto"),
        bulk("id"),
        bulk("modules")
    )
}

#[test]
fn a_fake_cluster_answers_and_follows_its_script() {
    let fake = FakeCluster::of(2);
    let mut client = super::Client::connect(fake.addresses()[0]);
    assert_eq!(client.call("CLUSTER SLOTS").items().len(), 2);
    assert_eq!(client.call("CLUSTER SHARDS").items().len(), 2);
    assert_eq!(client.call("HELLO 3").kind(), b'%');
    assert_eq!(client.call("GET mine").text(), "mine");
    fake.once(0, "GET", vec![Act::say("-ASK 1 x\r\n"), Act::SayAndReset(b"$5\r\nab".to_vec())]);
    assert_eq!(client.call("GET mine").text(), "ASK 1 x");
    assert!(client.try_call("GET mine").is_err());
    assert_eq!(fake.seen(0, "get mine"), 3);
    assert_eq!(super::Client::connect(fake.addresses()[0]).call("GET b").text(), "b");
}
