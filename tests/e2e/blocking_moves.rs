//! Waits while the cluster moves: no element is lost or delivered twice, and the time that is left goes along.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::blocking::wait_until_blocked;
use crate::harness::{
    Client, Cluster, Gateway, Reply, key_slot, request_line, tag_in_slot, wait_for,
};
use crate::load::Stop;

const PRODUCERS: usize = 4;
const WAITERS: usize = 12;
const LISTS: [&str; 6] = ["once:a", "once:b", "once:c", "once:d", "once:e", "once:f"];

/// Elements that go through the lists; `SLOTWAY_TEST_ELEMENTS` says another number.
fn elements() -> usize {
    let number = env::var("SLOTWAY_TEST_ELEMENTS").ok();
    number.map_or(20_000, |number| number.parse().unwrap())
}

/// What one waiter was given.
#[derive(Default)]
struct Haul {
    elements: Vec<usize>,
    /// Waits of which nobody knows whether they took something.
    uncertain: usize,
    /// Errors of any other kind.
    failed: Vec<String>,
}

impl Haul {
    fn take(&mut self, reply: &Reply) {
        if reply.is_error() {
            match reply.text().starts_with("UNCERTAIN ") {
                true => self.uncertain += 1,
                false => self.failed.push(reply.text()),
            }
            return;
        }
        // `[key, element]`, or `[key, [element ..]]`.
        if let Some(taken) = reply.items().get(1) {
            let many = taken.items();
            let elements = if many.is_empty() { vec![taken.clone()] } else { many };
            self.elements.extend(elements.iter().map(|one| one.text().parse::<usize>().unwrap()));
        }
    }
}

/// Waiters come and go, a replica takes over, a slot moves: each element is delivered once, or stays in its list.
#[test]
fn each_element_is_delivered_once() {
    let cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).setting("backend.leases", 6).start();
    let (stop, delivered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _stopped_in_any_case = Stop(&stop);
        let waiters: Vec<_> = (0..WAITERS)
            .map(|number| {
                let (gateway, stop, delivered) = (&gateway, &stop, &delivered);
                scope.spawn(move || wait_until_stopped(gateway, number, stop, delivered))
            })
            .collect();
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|number| {
                let (gateway, stop, delivered) = (&gateway, &stop, &delivered);
                scope.spawn(move || produce(gateway, number, stop, delivered))
            })
            .collect();
        wait_for("elements on their way", || delivered.load(Ordering::Relaxed) > elements() / 10);
        cluster.fail_over_to(3);
        cluster.wait_until_whole();
        let slot = key_slot(LISTS[0].as_bytes());
        let target =
            (0..6).find(|place| *place != cluster.owner(slot) && is_owner(&cluster, *place));
        cluster.migrate_slot(slot, target.unwrap());
        for producer in producers {
            producer.join().unwrap();
        }
        wait_for("empty lists", || left_over(&gateway).is_empty());
        stop.store(true, Ordering::Relaxed);
        let hauls: Vec<Haul> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
        assert_once(&hauls, &left_over(&gateway));
    });
}

fn is_owner(cluster: &Cluster, place: usize) -> bool {
    LISTS.iter().any(|list| cluster.owner(key_slot(list.as_bytes())) == place)
}

fn left_over(gateway: &Gateway) -> Vec<usize> {
    let mut client = gateway.client();
    let lists = LISTS.iter().flat_map(|list| client.call(&format!("LRANGE {list} 0 -1")).items());
    lists.map(|element| element.text().parse().unwrap()).collect()
}

fn assert_once(hauls: &[Haul], left_over: &[usize]) {
    let mut count: BTreeMap<usize, usize> = BTreeMap::new();
    let delivered = hauls.iter().flat_map(|haul| &haul.elements);
    for element in delivered.chain(left_over) {
        *count.entry(*element).or_default() += 1;
    }
    let uncertain: usize = hauls.iter().map(|haul| haul.uncertain).sum();
    let twice: Vec<_> = count.iter().filter(|(_, times)| **times > 1).collect();
    let missing: Vec<usize> =
        (0..elements()).filter(|element| !count.contains_key(element)).collect();
    let failed: Vec<_> = hauls.iter().flat_map(|haul| &haul.failed).take(5).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(twice.is_empty(), "delivered twice: {twice:?}");
    assert!(missing.len() <= uncertain, "{uncertain} uncertain, lost: {missing:?}");
    for (number, haul) in hauls.iter().enumerate() {
        assert!(haul.elements.len() > 10, "waiter {number} got {}", haul.elements.len());
    }
}

/// Never far ahead of the waiters, so that they really wait.
fn produce(gateway: &Gateway, number: usize, stop: &AtomicBool, delivered: &AtomicUsize) {
    let mut client = gateway.client_of(2 + (number % 2) as u8);
    for (sent, element) in (number..elements()).step_by(PRODUCERS).enumerate() {
        let reply = client.call(&format!("RPUSH {} {element}", LISTS[(element / 7) % LISTS.len()]));
        assert!(!reply.is_error(), "{reply}");
        while sent > delivered.load(Ordering::Relaxed) / PRODUCERS + 30 {
            if stop.load(Ordering::Relaxed) {
                // The test has failed, and nobody takes anything any more.
                return;
            }
            thread::yield_now();
        }
    }
}

fn wait_until_stopped(
    gateway: &Gateway,
    number: usize,
    stop: &AtomicBool,
    delivered: &AtomicUsize,
) -> Haul {
    let mut haul = Haul::default();
    let line = match number % 4 {
        0 => format!("BLPOP {} 1", LISTS.join(" ")),
        1 => format!("BRPOP {} 1", LISTS[number % LISTS.len()]),
        2 => format!("BLMPOP 1 3 {} LEFT COUNT 3", LISTS[..3].join(" ")),
        _ => format!("BLPOP {} {} 1", LISTS[4], LISTS[1]),
    };
    let mut client = gateway.client_of(2 + (number % 2) as u8);
    let mut rounds = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        rounds += 1;
        let before = haul.elements.len();
        // Now and then a client goes, at any moment of its wait, and another comes. What the gateway has sent before
        // it saw that counts.
        if rounds.is_multiple_of(23) {
            client.send(&request_line(&line));
            thread::sleep(Duration::from_micros(rounds * 37 % 1_500));
            client.close_writing();
            while let Ok(reply) = client.try_reply() {
                haul.take(&reply);
            }
            client = gateway.client_of(2 + (number % 2) as u8);
        } else {
            haul.take(&client.call(&line));
        }
        delivered.fetch_add(haul.elements.len() - before, Ordering::Relaxed);
    }
    haul
}

/// One client in each kind of wait: on one slot, on several, and before and while the slot moves.
#[test]
fn who_waits_for_a_slot_goes_where_it_goes() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let mut other = gateway.client();
    let slot = 700;
    let (moving, target) = (format!("{{{}}}", tag_in_slot(slot)), 1 - cluster.owner(slot));
    let lines = [
        format!("BLPOP {moving}a 30"),
        format!("BLPOP {moving}b elsewhere 30"),
        format!("BLPOP {moving}c {moving}d 30"),
        format!("XREAD BLOCK 30000 STREAMS {moving}s $"),
        format!("BLPOP {moving}none 3"),
    ];
    let start = |lines: &[String]| -> Vec<Client> {
        let begin = |(number, line): (usize, &String)| {
            let mut client = gateway.client_of(2 + (number % 2) as u8);
            client.send(&request_line(line));
            client
        };
        lines.iter().enumerate().map(begin).collect()
    };
    let begun = Instant::now();
    let mut before = start(&lines);
    wait_until_blocked(&mut other, 5);
    cluster.begin_migration(slot, target);
    // Keys that are absent are asked for at the target from now on.
    let mut during = start(&lines[..3]);
    wait_until_blocked(&mut other, 8);
    for key in ["a", "b", "d"] {
        assert_eq!(other.call(&format!("RPUSH {moving}{key} during")).kind(), b':');
    }
    for (client, waits_for) in during.iter_mut().zip(["a", "b", "d"]) {
        let items = client.reply().items();
        assert_eq!(items[0].text(), format!("{moving}{waits_for}"));
        assert_eq!(items[1].text(), "during");
    }
    cluster.finish_migration(slot, target);
    other.call(&format!("XADD {moving}s 1-1 f v"));
    for key in ["a", "b", "d"] {
        other.call(&format!("RPUSH {moving}{key} after"));
    }
    for (client, waits_for) in before.iter_mut().zip(["a", "b", "d", "s"]) {
        let reply = client.reply();
        assert!(reply.to_string().contains(&format!("{moving}{waits_for}")), "{reply}");
    }
    assert!(before[4].reply().is_nil());
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(2_990), "{took:?}");
    wait_until_blocked(&mut other, 0);
}

/// A replica takes over, first in order and then because its primary is killed.
#[test]
fn who_waits_on_a_primary_goes_to_its_successor() {
    let mut cluster = Cluster::quick_failover();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let mut other = gateway.client();
    let key = (0..).map(|number| format!("succeeded:{number}"));
    let key = key.clone().find(|key| cluster.owner(key_slot(key.as_bytes())) == 0).unwrap();
    let start = |lines: &[String]| -> Vec<Client> {
        let begin = |line: &String| {
            let mut client = gateway.client();
            client.send(&request_line(line));
            client
        };
        lines.iter().map(begin).collect()
    };
    let lines = [
        format!("BLPOP {key} elsewhere 60"),
        format!("XREAD BLOCK 60000 STREAMS {{{key}}}stream $"),
        format!("BRPOP {key} 60"),
    ];
    let wake = |other: &mut Client, element: &str| {
        let id = format!("{element}-1");
        assert_eq!(other.call(&format!("XADD {{{key}}}stream {id} f v")).text(), id);
        assert_eq!(other.call(&format!("RPUSH {key} {element} {element}")).kind(), b':');
    };

    let mut waiters = start(&lines);
    wait_until_blocked(&mut other, 3);
    cluster.fail_over_to(3);
    wake(&mut other, "1");
    for waiter in &mut waiters {
        let reply = waiter.reply();
        assert!(!reply.is_error() && !reply.is_nil(), "{reply}");
    }

    cluster.wait_until_whole();
    let mut waiters = start(&lines);
    wait_until_blocked(&mut other, 3);
    cluster.node_mut(3).kill();
    // An element may have gone with the connection: nobody can know.
    let reply = waiters.pop().unwrap().reply();
    assert!(reply.text().starts_with("UNCERTAIN backend connection lost"), "{reply}");
    cluster.wait_for_primary(0);
    wake(&mut other, "2");
    for waiter in &mut waiters {
        let reply = waiter.reply();
        assert!(!reply.is_error() && !reply.is_nil(), "{reply}");
    }
    wait_until_blocked(&mut other, 0);
}
