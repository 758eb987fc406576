//! The work of every curve, at every size.

use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

use super::{Rounds, on_stage, raise_descriptors};
use crate::cpu::{Cores, Usage};
use crate::curves::{Curve, Step};
use crate::exchange::{Exchange, Keyspace, ask, connect, request};
use crate::generator::Drive;
use crate::harness::FakeCluster;
use crate::loads::{LOADS, Load, Placement, Verb};
use crate::options::Options;
use crate::peers::{Peer, Program, Stage};
use crate::say;

/// Clients of the curves that are not about their number.
const CLIENTS: usize = 50;
/// Bytes that all clients of a curve ask for at once, at most.
const AT_ONCE: usize = 32 << 20;
/// The least work of one measurement: where a step has less, it is done several times.
const SUBSCRIPTIONS: usize = 2_000;
const MESSAGES: usize = 2_000;
const CHANGES: usize = 50;
/// Connections that share the subscriptions, and channels that one SUBSCRIBE names.
const LISTENERS: usize = 10;
const CHANNELS: usize = 100;

/// One curve: its name, what grows, what one cost is for, its sizes, and how a size is measured.
type Row = (&'static str, &'static str, &'static str, &'static [u64], Measure);
type Measure = fn(&Rounds<'_>, &Program, usize) -> Result<f64>;

const CURVES: &[Row] = &[
    ("clients", "clients", "GET", &[1, 10, 100, 1_000, 10_000], clients),
    ("keys", "keys of one MGET", "key", &[1, 10, 100, 1_000], keys),
    ("get-bytes", "bytes of a value", "byte read", BYTES, get_bytes),
    ("set-bytes", "bytes of a value", "byte written", BYTES, set_bytes),
    ("nodes", "nodes", "GET", &[3, 10, 30, 100, 300], nodes),
    ("subscriptions", "subscriptions", "subscription", MANY, subscriptions),
    ("messages", "subscriptions", "message to one of them", MANY, messages),
    ("users", "users", "GET", &[1, 100, 1_000, 10_000], users),
    ("acl-setuser", "users", "ACL SETUSER of one", &[1, 100, 1_000, 10_000], changes),
];
const BYTES: &[u64] = &[16, 256, 4 << 10, 64 << 10, 1 << 20, 16 << 20];
const MANY: &[u64] = &[1, 10, 100, 1_000, 10_000, 100_000];

/// Measures all curves that the options want, every step once in each round.
pub(crate) fn curves(options: &Options, cores: Cores, program: &Program) -> Result<Vec<Curve>> {
    let held = raise_descriptors(options.connections)?;
    on_stage(options, cores, &[], held, |rounds| {
        let mut curves = vec![];
        for (name, of, unit, sizes, measure) in CURVES {
            if !options.wants(name) {
                continue;
            }
            // A relay needs two open files for each client, slotway only one.
            let fits = |size: &&u64| *name != "clients" || **size <= 2 * held as u64;
            let sizes = sizes.iter().filter(fits);
            let mut steps: Vec<Step> =
                sizes.map(|size| Step { size: *size, costs: vec![] }).collect();
            for round in 1..=options.rounds {
                for step in &mut steps {
                    let cost = measure(rounds, program, step.size as usize)
                        .with_context(|| format!("{name}, {}", step.size))?;
                    say(&format!("{round}: {name:<14} {:>9} {cost:.4} us", step.size))?;
                    step.costs.push(cost);
                }
            }
            curves.push(Curve { name, of, unit, steps });
        }
        ensure!(!curves.is_empty(), "no such curve");
        Ok(curves)
    })
}

fn clients(rounds: &Rounds<'_>, program: &Program, size: usize) -> Result<f64> {
    let peer = Peer::start(program, &rounds.stage)?;
    rounds.cost(&peer, &plain(), size)
}

fn keys(rounds: &Rounds<'_>, program: &Program, size: usize) -> Result<f64> {
    let peer = Peer::start(program, &rounds.stage)?;
    let load = Load { keys: size, ..plain() };
    Ok(rounds.cost(&peer, &load, CLIENTS)? / size as f64)
}

fn get_bytes(rounds: &Rounds<'_>, program: &Program, size: usize) -> Result<f64> {
    bytes(rounds, program, Load { value_bytes: size, ..plain() })
}

fn set_bytes(rounds: &Rounds<'_>, program: &Program, size: usize) -> Result<f64> {
    bytes(rounds, program, Load { value_bytes: size, verb: Verb::Set, ..plain() })
}

fn bytes(rounds: &Rounds<'_>, program: &Program, load: Load) -> Result<f64> {
    let peer = Peer::start(program, &rounds.stage)?;
    let clients = (AT_ONCE / load.value_bytes).clamp(1, CLIENTS);
    Ok(rounds.cost(&peer, &load, clients)? / load.value_bytes as f64)
}

/// Fake nodes: they answer a GET with the key. So many real ones would be more than most machines have room for.
fn nodes(rounds: &Rounds<'_>, program: &Program, size: usize) -> Result<f64> {
    let fakes = FakeCluster::of(u16::try_from(size)?);
    let addresses = fakes.addresses();
    let first = addresses.first_chunk::<3>().context("too few nodes")?;
    let peer = Peer::before(program, &rounds.stage, *first)?;
    let exchange = |number: usize| {
        let key = format!("key:{number:05}");
        Exchange::one(&["GET", &key], &format!("$9\r\n{key}\r\n"))
    };
    let exchanges: Vec<Exchange> = (0..4096).map(exchange).collect();
    rounds.cost_of(&peer, &Drive::closed(CLIENTS, &exchanges))
}

fn subscriptions(rounds: &Rounds<'_>, program: &Program, size: usize) -> Result<f64> {
    let peer = Peer::start(program, &rounds.stage)?;
    let times = (SUBSCRIPTIONS / size).max(1);
    let mut cost = 0.0;
    for _ in 0..times {
        let before = spent(&peer)?;
        let listeners = Listeners::new(&peer, size)?;
        cost += spent(&peer)?.since(before).total();
        drop(listeners);
    }
    Ok(cost / (times * size) as f64)
}

fn messages(rounds: &Rounds<'_>, program: &Program, size: usize) -> Result<f64> {
    let peer = Peer::start(program, &rounds.stage)?;
    let listeners = Listeners::new(&peer, size)?;
    let speaker = connect(peer.address)?;
    let before = spent(&peer)?;
    for number in 0..MESSAGES {
        // A step that has no factor in common with any number of subscriptions reaches all of them.
        listeners.hear((number * 7_919) % size, &speaker)?;
    }
    Ok(spent(&peer)?.since(before).total() / MESSAGES as f64)
}

/// As many clients as ever, each another of the users.
fn users(rounds: &Rounds<'_>, program: &Program, size: usize) -> Result<f64> {
    with_users(rounds, program, size, |peer| {
        let greeting = |number: usize| {
            let user = (number * size / CLIENTS).min(size - 1).to_string();
            Exchange::one(&["AUTH", &format!("user{user}"), "secret"], "+OK\r\n")
        };
        let greetings: Vec<Exchange> = (0..CLIENTS).map(greeting).collect();
        let exchanges = rounds.filled(&plain())?;
        rounds.cost_of(peer, &Drive { greetings: &greetings, ..Drive::closed(CLIENTS, &exchanges) })
    })
}

fn changes(rounds: &Rounds<'_>, program: &Program, size: usize) -> Result<f64> {
    with_users(rounds, program, size, |peer| {
        let connection = connect(peer.address)?;
        let before = spent(peer)?;
        for number in 0..CHANGES {
            let user = format!("user{}", number * size / CHANGES);
            ask(&connection, &["ACL", "SETUSER", &user, "+@all"])?;
        }
        Ok(spent(peer)?.since(before).total() / CHANGES as f64)
    })
}

/// slotway with a file of so many users, beside the default one.
fn with_users(
    rounds: &Rounds<'_>,
    program: &Program,
    size: usize,
    measure: impl FnOnce(&Peer) -> Result<f64>,
) -> Result<f64> {
    let file = rounds.stage.folder.join("users.acl");
    let line = |user: usize| format!("user user{user} on >secret ~key:* ~{{b}}:* &* +@all\n");
    let users: String = (0..size).map(line).collect();
    std::fs::write(&file, format!("user default on nopass ~* &* +@all\n{users}"))?;
    let settings = [("SLOTWAY_AUTH__USERS_FILE", file.display().to_string())];
    measure(&Peer::start(program, &Stage { settings: &settings, ..rounds.stage })?)
}

/// The first load.
fn plain() -> Load {
    let [load, ..] = LOADS else { unreachable!("there are loads") };
    Load { ..*load }
}

fn spent(peer: &Peer) -> Result<Usage> {
    Usage::of(&[peer.pid().context("no proxy to look at")?])
}

impl Rounds<'_> {
    /// CPU time of the proxy for a request of the load.
    fn cost(&self, peer: &Peer, load: &Load, clients: usize) -> Result<f64> {
        self.cost_of(peer, &Drive::closed(clients, &self.filled(load)?))
    }

    fn cost_of(&self, peer: &Peer, clients: &Drive<'_>) -> Result<f64> {
        self.drive(peer, &peer.plain_door(), clients)?.proxy_us.context("no cost")
    }

    fn filled(&self, load: &Load) -> Result<Vec<Exchange>> {
        let keyspace = Keyspace::new(Placement::Spread, load.value_bytes);
        self.stage.cluster.fill(&keyspace)?;
        keyspace.exchanges(load)
    }
}

/// Connections that share so many channels.
struct Listeners {
    connections: Vec<TcpStream>,
    each: usize,
}

impl Listeners {
    /// Subscribed, and told so.
    fn new(peer: &Peer, channels: usize) -> Result<Self> {
        let each = channels.div_ceil(LISTENERS);
        let mut connections = vec![];
        for first in (0..channels).step_by(each) {
            let connection = connect(peer.address)?;
            let end = (first + each).min(channels);
            for start in (first..end).step_by(CHANNELS) {
                let names =
                    (start..(start + CHANNELS).min(end)).map(|number| (number, name(number)));
                let names: Vec<(usize, String)> = names.collect();
                let words = names.iter().map(|(_, name)| name.as_str());
                let words: Vec<&str> = std::iter::once("SUBSCRIBE").chain(words).collect();
                let told = names.iter().map(|(number, name)| {
                    let place = number - first + 1;
                    format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{name}\r\n:{place}\r\n", name.len())
                });
                let (reply, request) = (told.collect::<String>().into(), request(&words));
                Exchange { request, reply, ..Exchange::default() }.run(&connection)?;
            }
            connections.push(connection);
        }
        Ok(Self { connections, each })
    }

    /// A message to one channel, and its arrival.
    fn hear(&self, channel: usize, speaker: &TcpStream) -> Result<()> {
        let listener = self.connections.get(channel / self.each).context("no listener")?;
        let name = name(channel);
        Exchange::one(&["PUBLISH", &name, "x"], ":1\r\n").run(speaker)?;
        let heard = format!("*3\r\n$7\r\nmessage\r\n${}\r\n{name}\r\n$1\r\nx\r\n", name.len());
        Exchange { reply: heard.into(), ..Exchange::default() }.receive(listener)
    }
}

fn name(channel: usize) -> String {
    format!("channel:{channel}")
}
