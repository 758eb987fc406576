//! What one worker sees of a known stream of requests, and what several show together.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::big_keys::BigKeys;
use super::hot_keys::HotKeys;
use super::pace::Pace;
use super::*;
use crate::command::Commands;
use crate::config::{Live, Observe, Settings};
use crate::metrics::Metrics;
use crate::resp::write;

const SECOND: Duration = Duration::from_secs(1);
const GET: Cow<'static, str> = Cow::Borrowed("GET");

/// The settings, what workers show, and one of them.
fn watched(observe: Observe) -> (Arc<Live>, Arc<Sights>, Lens) {
    let live = Live::new(Settings { observe, ..Settings::default() });
    let sights = Sights::new(2, live.clone());
    let lens = lens(&live, &sights);
    (live, sights, lens)
}

fn lens(live: &Arc<Live>, sights: &Arc<Sights>) -> Lens {
    let commands = Arc::new(ArcSwap::from_pointee(Commands::baseline()));
    Lens::new(live.clone(), sights.clone(), commands, Metrics::new(1).unwrap())
}

fn frames(calls: &[&str]) -> Vec<u8> {
    let mut frames = Vec::new();
    for call in calls {
        write::command(&mut frames, &call.split(' ').collect::<Vec<_>>());
    }
    frames
}

fn look(lens: &mut Lens, calls: &[&str], total: u64, reply: usize, sample: bool) {
    let request = &frames(calls)[..];
    let who = || Who { client: "10.0.0.1:5".into(), name: String::new(), user: "app".into() };
    let sender = || ("7-1".to_owned(), who());
    lens.look(&Look { request, total, node: Some(total), reply, sample }, sender);
}

#[test]
fn the_hottest_of_many_keys_is_found_with_its_rate() {
    let mut keys = HotKeys::default();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..60 {
        for number in 0..1000 {
            // One in ten is for the same key, the rest for a hundred thousand others.
            let key = if number % 10 == 0 { 0 } else { random.u32(1..100_000) };
            keys.count(&key.to_be_bytes(), GET, 8.0);
        }
        keys.fade(SECOND);
    }
    let hot = keys.hottest(10, 8.0);
    assert_eq!(hot[0].key, KeyName::of(&0_u32.to_be_bytes()));
    assert!((700.0..=850.0).contains(&hot[0].per_second), "{hot:?}");
    assert!((0.08..=0.11).contains(&hot[0].share), "{hot:?}");
    assert!(hot.iter().skip(1).all(|other| other.per_second < 100.0), "{hot:?}");
}

#[test]
fn what_is_hot_no_more_is_forgotten() {
    let mut keys = HotKeys::default();
    (0..1000).for_each(|_| keys.count(b"yesterday", GET, 1.0));
    keys.fade(SECOND);
    assert_eq!(keys.hottest(10, 1.0).len(), 1);
    for _ in 0..120 {
        (0..100).for_each(|_| keys.count(b"today", GET, 1.0));
        keys.fade(SECOND);
    }
    let hot = keys.hottest(10, 1.0);
    assert_eq!(hot[0].key, KeyName::of(b"today"));
    assert!((95.0..=105.0).contains(&hot[0].per_second), "{hot:?}");
    keys.fade(600 * SECOND);
    assert!(keys.is_empty());
}

#[test]
fn a_single_look_makes_no_hot_key() {
    let mut keys = HotKeys::default();
    (0..50_u8).for_each(|key| keys.count(&[key], GET, 1.0));
    assert_eq!(keys.hottest(10, 1.0), []);
}

#[test]
fn whatever_the_load_the_looks_are_bounded() {
    let mut pace = Pace::new(100);
    let mut looks = 0;
    for _ in 0..10 {
        let mut requests = 0;
        while requests < 1_000_000 {
            requests += pace.every();
            pace.looked();
            looks += 1;
        }
        pace.turn();
    }
    assert!(looks < 100 * 40, "{looks}");
    (0..40).for_each(|_| pace.turn());
    assert_eq!(pace.every(), 1);
}

#[test]
fn the_largest_stay() {
    let mut keys = BigKeys::default();
    let big = |number: u32, bytes| BigKey {
        key: KeyName::of(&number.to_be_bytes()),
        bytes,
        request: 10,
        reply: bytes,
        command: GET,
        seen: 5000,
    };
    (0..200).for_each(|number| keys.see(big(number, 2000 + number as usize)));
    keys.see(big(199, 9000));
    let all = keys.all();
    assert_eq!(all.iter().map(|big| big.bytes).max(), Some(9000));
    assert_eq!(all.iter().map(|big| big.bytes).min(), Some(keys.floor()));
    assert_eq!(keys.floor(), 2136);
    keys.forget(10_000);
    assert_eq!((keys.all().len(), keys.floor()), (0, 1024));
}

#[test]
fn a_lens_shows_what_it_saw_once_a_second() {
    let (live, sights, first) = watched(Observe::default());
    let mut lenses = [first, lens(&live, &sights)];
    for lens in &mut lenses {
        for _ in 0..100 {
            look(lens, &["GET hot"], 10, 5, true);
            look(lens, &["GET unseen"], 10, 5, false);
        }
        look(lens, &["MULTI", "SET hot 1", "INCR counted", "EXEC"], 20_000, 5, true);
        look(lens, &["MGET large other"], 10, 5000, false);
        assert!(sights.hot_keys(10).iter().all(|hot| hot.per_second < 102.0));
        lens.turn(SECOND);
    }
    let hot = sights.hot_keys(10);
    assert_eq!(hot.len(), 1, "{hot:?}");
    assert_eq!((hot[0].key.to_string().as_str(), &*hot[0].command), ("hot", "SET"));
    assert!((199.0..=203.0).contains(&hot[0].per_second), "{hot:?}");
    let big = sights.big_keys(10);
    assert_eq!((big.len(), big[0].key.to_string().as_str(), big[0].bytes), (1, "large", 5000));
    let slow = sights.slow_log(10);
    let ids: Vec<u64> = slow.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [1, 0]);
    assert_eq!(slow[0].command.join(&b' '), b"MULTI SET hot 1 INCR counted EXEC");
    assert_eq!((slow[0].micros, slow[0].who.user.as_str()), (20_000, "app"));
}

#[test]
fn what_is_turned_off_is_not_looked_for() {
    let off = Observe { keys: false, slow_time: Duration::ZERO, ..Observe::default() };
    let (live, sights, mut lens) = watched(off);
    let nothing = Aim { slow: u64::MAX, large: usize::MAX, skip: None };
    assert_eq!(lens.aim(), nothing);
    look(&mut lens, &["GET hot"], u64::MAX - 1, 1 << 20, true);
    lens.turn(SECOND);
    assert_eq!((sights.hot_keys(9), sights.big_keys(9)), (vec![], vec![]));
    assert!(sights.slow_log(9).is_empty());

    live.replace(Settings::default());
    lens.turn(SECOND);
    assert_eq!((lens.aim().slow, lens.aim().large, lens.aim().skip), (10_000, 1024, Some(0)));
}

#[test]
fn when_everything_is_slow_some_of_it_is_logged() {
    let (_, sights, mut lens) = watched(Observe { slow_length: 10, ..Observe::default() });
    let mut logged = 0;
    while lens.aim().slow != u64::MAX {
        look(&mut lens, &["GET k"], 10_000, 5, false);
        logged += 1;
    }
    assert_eq!(logged, 64);
    lens.turn(SECOND);
    assert_eq!(lens.aim().slow, 10_000);
    let slow = sights.slow_log(usize::MAX);
    assert_eq!(slow.len(), 10);
    assert_eq!(slow[0].id, 63);
}

#[test]
fn arguments_are_cut_as_a_server_cuts_them() {
    let (_, sights, mut lens) = watched(Observe::default());
    let long = format!("SET k {}", "x".repeat(130));
    let many = format!("DEL {}", (0..40).map(|n| n.to_string()).collect::<Vec<_>>().join(" "));
    let exact = format!("DEL {}", (0..31).map(|n| n.to_string()).collect::<Vec<_>>().join(" "));
    for call in [long.as_str(), &many, &exact, "CONFIG SET requirepass hunter2"] {
        look(&mut lens, &[call], 10_000, 5, false);
    }
    lens.turn(SECOND);
    let slow = sights.slow_log(9);
    let [secret, exact, many, long] = &slow[..] else { panic!("{slow:?}") };
    assert_eq!(long.command[2], [&[b'x'; 128][..], b"... (2 more bytes)"].concat());
    assert_eq!((many.command.len(), &many.command[31][..]), (32, &b"... (10 more arguments)"[..]));
    assert_eq!((exact.command.len(), &exact.command[31][..]), (32, &b"30"[..]));
    assert_eq!(secret.command.join(&b' '), b"CONFIG SET requirepass (redacted)");
}

#[test]
fn keys_are_shown_readably() {
    for (key, shown) in [
        (&b"user:1"[..], "user:1".to_owned()),
        ("schlüssel".as_bytes(), "schlüssel".to_owned()),
        (b"\x00\xff\"", "\\x00\\xff\\\"".to_owned()),
        (&[b'k'; 130], format!("{}... (2 more bytes)", "k".repeat(128))),
    ] {
        assert_eq!(KeyName::of(key).to_string(), shown);
    }
    assert_ne!(KeyName::of(&[b'k'; 130]), KeyName::of(&[b'k'; 131]));
}
