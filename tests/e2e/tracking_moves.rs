//! Clients that cache while the cluster moves: in the end none of them holds an old value.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::harness::{Client, Cluster, Gateway, Reply, key_slot, request_line, wait_for};
use crate::load::Stop;

/// Tags of keys; the slot of the first one moves.
const TAGS: usize = 12;
const KEYS: usize = 3;

fn keys() -> Vec<String> {
    (0..TAGS).flat_map(|tag| (0..KEYS).map(move |key| format!("{{cache{tag}}}:{key}"))).collect()
}

/// How a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Plain,
    OptIn,
    NoLoop,
    Broadcast,
    /// In RESP2, on another connection.
    Redirect,
}

const MODES: [Mode; 5] = [Mode::Plain, Mode::OptIn, Mode::NoLoop, Mode::Broadcast, Mode::Redirect];

/// A request of the client, and the keys whose values its reply brings.
struct Asked {
    keys: Vec<String>,
    /// The reply is not one value for each key, but this.
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    One,
    Many,
    /// EXEC's array.
    Block,
    /// Nothing of it is cached.
    Nothing,
}

/// A client that caches as the manual says: what it is answered, until it is told that that has changed.
struct Caching {
    mode: Mode,
    client: Client,
    ear: Option<Client>,
    cached: HashMap<String, Vec<u8>>,
    random: fastrand::Rng,
    flushes: usize,
}

impl Caching {
    fn new(gateway: &Gateway, mode: Mode, seed: u64) -> Self {
        let (cached, random) = (HashMap::new(), fastrand::Rng::with_seed(seed));
        let protocol = if mode == Mode::Redirect { 2 } else { 3 };
        let (mut client, mut ear) = (gateway.client_of(protocol), None);
        let on = match mode {
            Mode::Plain => "CLIENT TRACKING ON".to_owned(),
            Mode::OptIn => "CLIENT TRACKING ON OPTIN".to_owned(),
            Mode::NoLoop => "CLIENT TRACKING ON NOLOOP".to_owned(),
            Mode::Broadcast => "CLIENT TRACKING ON BCAST PREFIX {cache".to_owned(),
            Mode::Redirect => {
                let mut other = gateway.client();
                let id = other.call("CLIENT ID").integer();
                other.call("SUBSCRIBE __redis__:invalidate");
                ear = Some(other);
                format!("CLIENT TRACKING ON REDIRECT {id}")
            }
        };
        assert_eq!(client.call(&on).text(), "OK");
        Self { mode, client, ear, cached, random, flushes: 0 }
    }

    fn key(&mut self) -> String {
        format!("{{cache{}}}:{}", self.random.usize(..TAGS), self.random.usize(..KEYS))
    }

    /// Sends several requests at once and takes all their replies.
    fn turn(&mut self) {
        let (mut bytes, mut asked) = (Vec::new(), Vec::new());
        for _ in 0..self.random.usize(1..12) {
            self.ask(&mut bytes, &mut asked);
        }
        self.client.send(&bytes);
        for Asked { keys, form } in asked {
            let reply = self.reply();
            self.learn(&keys, form, &reply);
        }
        self.listen();
    }

    fn ask(&mut self, bytes: &mut Vec<u8>, asked: &mut Vec<Asked>) {
        let mut say = |line: &str, keys: &[String], form| {
            bytes.extend(request_line(line));
            asked.push(Asked { keys: keys.to_vec(), form });
        };
        let keys = [self.key(), self.key(), self.key()];
        let [one, two, three] = &keys;
        let caches = self.mode != Mode::OptIn || self.random.bool();
        if self.mode == Mode::OptIn && caches {
            say("CLIENT CACHING YES", &[], Form::Nothing);
        }
        let form = |form| if caches { form } else { Form::Nothing };
        match self.random.u8(..10) {
            0..4 => say(&format!("GET {one}"), &keys[..1], form(Form::One)),
            4..6 => say(&format!("MGET {one} {two} {three}"), &keys, form(Form::Many)),
            6 => {
                say("MULTI", &[], Form::Nothing);
                say(&format!("GET {one}"), &[], Form::Nothing);
                say(&format!("GET {one}"), &[], Form::Nothing);
                say("EXEC", &[one.clone(), one.clone()], form(Form::Block));
            }
            7 => {
                say("MULTI", &[], Form::Nothing);
                say(&format!("GET {one}"), &[], Form::Nothing);
                say(&format!("GET {two}"), &[], Form::Nothing);
                say("EXEC", &keys[..2], form(Form::Block));
            }
            8 => {
                let script = "return{redis.call('GET',KEYS[1])}";
                say(&format!("EVAL {script} 1 {one}"), &keys[..1], form(Form::Many));
            }
            _ => {
                say(&format!("APPEND {one} x"), &keys[..1], Form::Nothing);
                say(&format!("GET {one}"), &keys[..1], Form::Nothing);
            }
        }
    }

    /// The next reply; what comes before it is heard.
    fn reply(&mut self) -> Reply {
        loop {
            let frame = self.client.reply();
            if frame.kind() != b'>' {
                return frame;
            }
            self.hear(&frame.items());
        }
    }

    fn hear(&mut self, message: &[Reply]) {
        match message {
            [.., keys] if keys.is_nil() => {
                self.flushes += 1;
                self.cached.clear();
            }
            [.., keys] => keys.items().iter().for_each(|key| drop(self.cached.remove(&key.text()))),
            [] => {}
        }
    }

    fn learn(&mut self, keys: &[String], form: Form, reply: &Reply) {
        if reply.is_error() {
            return;
        }
        let values = match form {
            Form::One => vec![reply.clone()],
            Form::Many | Form::Block => reply.items(),
            // With NOLOOP it is the client's to know what it has changed.
            Form::Nothing => return keys.iter().for_each(|key| drop(self.cached.remove(key))),
        };
        for (key, value) in keys.iter().zip(values).filter(|(_, value)| !value.is_error()) {
            self.cached.insert(key.clone(), value.bytes().to_vec());
        }
    }

    /// Hears all that has come until now.
    fn listen(&mut self) {
        self.client.send(&request_line("PING"));
        self.reply();
        let Some(mut ear) = self.ear.take() else { return };
        ear.send(&request_line("PING"));
        loop {
            let frame = ear.reply();
            let items = frame.items();
            if items[0].text() == "pong" {
                break;
            }
            self.hear(&items);
        }
        self.ear = Some(ear);
    }

    /// Keys of which it holds another value than there is.
    fn stale(&mut self, truth: &HashMap<String, Vec<u8>>) -> Vec<String> {
        self.listen();
        let stale = self.cached.iter().filter(|(key, value)| truth.get(*key) != Some(*value));
        stale.map(|(key, _)| key.clone()).collect()
    }
}

/// Clients that cache read while others write; `trouble` comes over the cluster meanwhile.
fn assert_none_is_stale(gateway: &Gateway, trouble: impl FnOnce(&dyn Fn())) {
    let (stop, turns) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _stopped_in_any_case = Stop(&stop);
        let readers: Vec<_> = MODES
            .iter()
            .zip(0..)
            .map(|(mode, seed)| {
                let (stop, turns) = (&stop, &turns);
                scope.spawn(move || {
                    let mut caching = Caching::new(gateway, *mode, seed);
                    while !stop.load(Ordering::Relaxed) {
                        caching.turn();
                        turns.fetch_add(1, Ordering::Relaxed);
                    }
                    caching
                })
            })
            .collect();
        let writer = scope.spawn(|| write(gateway, &stop));
        let work = || {
            let before = turns.load(Ordering::Relaxed);
            wait_for("work", || turns.load(Ordering::Relaxed) > before + 20 * MODES.len());
        };
        work();
        trouble(&work);
        work();
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        let mut client = gateway.client();
        for reader in readers {
            let mut reader = reader.join().unwrap();
            let mut stale = Vec::new();
            wait_for(&format!("a cache without old values: {:?}", reader.mode), || {
                let truth = keys().into_iter().map(|key| {
                    let value = client.call(&format!("GET {key}"));
                    (key, in_protocol(&value, reader.mode))
                });
                let truth = truth.collect();
                stale = reader.stale(&truth);
                stale.is_empty()
            });
        }
    });
}

/// The reply as a client of this mode gets it.
fn in_protocol(reply: &Reply, mode: Mode) -> Vec<u8> {
    let nil = reply.is_nil() && mode != Mode::Redirect;
    if nil { b"_\r\n".to_vec() } else { reply.bytes().to_vec() }
}

fn write(gateway: &Gateway, stop: &AtomicBool) {
    let (mut client, mut random) = (gateway.client(), fastrand::Rng::with_seed(7));
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let keys = keys();
        let key = &keys[random.usize(..keys.len())];
        // Whether one of them fails is not what this is about.
        if random.u8(..4) == 0 {
            client.call(&format!("DEL {key}"));
        } else {
            client.call(&format!("SET {key} {number}"));
        }
    }
}

#[test]
fn nothing_old_is_kept_while_slots_move() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).workers(2).start();
    assert_none_is_stale(&gateway, |work| {
        for tag in 0..4 {
            let slot = key_slot(format!("{{cache{tag}}}").as_bytes());
            for _ in 0..2 {
                let target = 1 - cluster.owner(slot);
                cluster.begin_migration(slot, target);
                work();
                cluster.migrate_keys(slot, target, 1);
                work();
                cluster.finish_migration(slot, target);
                work();
            }
        }
    });
}

#[test]
fn nothing_old_is_kept_when_nodes_are_replaced() {
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    assert_none_is_stale(&gateway, |work| {
        cluster.fail_over_to(3);
        work();
        cluster.node_mut(1).kill();
        cluster.wait_for_primary(4);
        work();
        cluster.node(2).freeze();
        cluster.wait_for_primary(5);
        work();
        cluster.node(2).thaw();
        cluster.node_mut(1).start();
        cluster.wait_until_whole();
    });
}
