//! One scenario from its beginning to its verdict.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::micros;
use crate::figures::{Counted, Pauses, Weight};
use crate::happenings::{BETWEEN, planned};
use crate::harness::{Client, key_slot};
use crate::history::registers::Read;
use crate::history::{self, Fault, Span};
use crate::load::{self, COUNTERS, Ending, Journal, PAIRS, Place, QUEUES, Terms};
use crate::names;
use crate::options::Options;
use crate::scenario::Scenario;
use crate::stage::{Blow, Stage};
use crate::witness::{self, Outage};

/// Before the first blow: every client has asked, and every connection is there.
const WARM_UP: Duration = Duration::from_secs(1);
/// Clients that wait for elements do so for a second.
const COOL_DOWN: Duration = Duration::from_millis(500);
/// A slot of each primary, as they are at the start.
const WATCHED: [u16; 3] = [1_000, 7_000, 13_000];
/// Faults of one kind that are named; there may be as many as requests.
const NAMED: usize = 5;

/// What came of a scenario.
pub(crate) struct Outcome<'a> {
    pub(crate) options: &'a Options,
    pub(crate) journal: Journal,
    pub(crate) blows: Vec<Blow>,
    pub(crate) pauses: Pauses,
    pub(crate) counted: Counted,
    pub(crate) weight: Weight,
    /// Messages that listeners missed.
    pub(crate) missed: usize,
    /// What the histories show that must not be.
    pub(crate) faults: Vec<Fault>,
}

/// Tells threads to stop when it is dropped, also by a panic: the scope waits for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn play<'a>(scenario: &Scenario, options: &'a Options) -> Outcome<'a> {
    let mut stage = Stage::set(&scenario.ground, options);
    let stop = AtomicBool::new(false);
    let terms = Terms {
        clock: stage.clock,
        seed: options.seed,
        pace: Duration::from_millis(options.pace),
        clients: options.clients,
        stop: &stop,
    };
    let places: Vec<Place> = (0..options.clients).map(|number| place(&stage, number)).collect();
    let (process, nodes) = (Arc::clone(&stage.process), stage.cluster.addresses());
    let (journal, weight, outages) = thread::scope(|scope| {
        let stopped_in_any_case = Stop(&stop);
        let terms = &terms;
        let clients: Vec<_> = places
            .into_iter()
            .enumerate()
            .map(|(number, place)| scope.spawn(move || load::client(terms, number, place)))
            .collect();
        let weight = scope.spawn(|| Weight::watch(&process, &stop));
        let witness = |slot| {
            scope.spawn({
                let nodes = &nodes;
                move || witness::watch(nodes, slot, terms.clock, terms.stop)
            })
        };
        let witnesses = WATCHED.map(witness);
        stage.rest(WARM_UP);
        stage.until = stage.clock.now() + micros(options.duration(scenario));
        loop {
            (scenario.happen)(&mut stage);
            if !stage.goes_on() {
                break;
            }
            stage.rest(BETWEEN);
        }
        stage.rest(COOL_DOWN);
        drop(stopped_in_any_case);
        let mut journal = Journal::default();
        for client in clients {
            journal.absorb(client.join().unwrap());
        }
        let outages = witnesses.into_iter().flat_map(|witness| witness.join().unwrap()).collect();
        (journal, weight.join().unwrap(), outages)
    });
    stage.wait_until_whole();
    judge(stage, journal, weight, outages)
}

/// Where a client connects: clients are shared out evenly, and each speaks one of the protocols.
fn place(stage: &Stage<'_>, number: usize) -> Place {
    let mut gateways = stage.gateway_addresses();
    let count = gateways.len();
    gateways.rotate_left(number % count);
    // Half of each class: there are as many of them as there is an even number.
    let protocol = 2 + (number / 16 % 2) as u8;
    let ending = if count > 1 { Ending::Unknown } else { Ending::NotRun };
    Place { gateways, protocol, ending }
}

fn judge<'a>(
    mut stage: Stage<'a>,
    mut journal: Journal,
    weight: Weight,
    mut outages: Vec<Outage>,
) -> Outcome<'a> {
    let left = Left::of(&stage, &journal);
    journal.reads.extend(&left.reads);
    let mut faults = left.faults;
    let losses = &stage.lost;
    faults.extend(journal.wrong.iter().cloned());
    let (of_topics, missed) =
        history::topics::check(&journal.sent, &journal.heard, &stage.standstills);
    let found = [
        history::registers::check(&journal.writes, &journal.reads, losses),
        history::counters::check(&journal.counts, &left.counts, losses),
        history::queues::check(&journal.pushes, &journal.pops, &left.elements, losses),
        of_topics,
    ];
    for mut found in found {
        let more = found.len().saturating_sub(NAMED);
        found.truncate(NAMED);
        faults.extend(found);
        faults.extend((more > 0).then(|| format!(".. and {more} more of that kind")));
    }
    for gateway in &stage.gateways {
        stage.counted.add(gateway);
    }
    if stage.counted.get("panics") > 0 {
        faults.push("the gateway panicked".to_owned());
    }
    // Nobody else sees that a gateway is cut off.
    outages.extend(stage.blows.iter().map(|blow| Outage { begin: blow.begin, end: blow.served }));
    let pauses = Pauses::of(&journal.asked, &outages);
    let (blows, counted) = (std::mem::take(&mut stage.blows), stage.counted.clone());
    let options = stage.options;
    Outcome { options, journal, blows, pauses, counted, weight, missed, faults }
}

/// What stands in the cluster at the end, as its nodes say.
#[derive(Default)]
struct Left {
    reads: Vec<Read>,
    counts: HashMap<String, u64>,
    elements: Vec<u64>,
    faults: Vec<Fault>,
}

impl Left {
    fn of(stage: &Stage<'_>, journal: &Journal) -> Self {
        let mut left = Self::default();
        let mut nodes = Nodes::of(stage);
        let at = stage.clock.now();
        let span = Span { sent: at, answered: at };
        let mut gateway = stage.gateways[0].client();
        for register in journal.registers() {
            let key = names::register(register);
            let line = format!("GET {key}");
            let (reply, through) = (nodes.client(&key).call(&line), gateway.call(&line));
            if reply != through {
                left.faults.push(format!("{line}: {reply} at the node, {through} at the gateway"));
            }
            let seen = names::value(reply.payload()).map_or(0, |(_, number)| number);
            left.reads.push(Read::by_another(register, span, seen));
        }
        let counters = (0..COUNTERS).map(names::counter);
        for key in counters.chain((0..PAIRS).flat_map(names::pair)) {
            let count = nodes.client(&key).call(&format!("GET {key}")).text().parse();
            left.counts.insert(key, count.unwrap_or_default());
        }
        for queue in 0..QUEUES {
            let key = names::queue_key(queue);
            let items = nodes.client(&key).call(&format!("LRANGE {key} 0 -1")).items();
            let elements = items.iter().filter_map(|item| names::element(item.payload()));
            left.elements.extend(elements.map(|(_, element)| element));
        }
        left
    }
}

/// A connection to each primary.
struct Nodes {
    owners: Vec<usize>,
    clients: HashMap<usize, Client>,
}

impl Nodes {
    fn of(stage: &Stage<'_>) -> Self {
        let mut owners = vec![usize::MAX; 16_384];
        let mut clients = HashMap::new();
        for (primary, _) in stage.shards() {
            for slot in planned::slots_of(stage, primary) {
                owners[usize::from(slot)] = primary;
            }
            clients.insert(primary, stage.cluster.node(primary).client());
        }
        Self { owners, clients }
    }

    fn client(&mut self, key: &str) -> &mut Client {
        let owner = self.owners[usize::from(key_slot(key.as_bytes()))];
        self.clients.get_mut(&owner).unwrap()
    }
}
