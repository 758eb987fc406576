use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use super::*;

const LIST: Manner = Manner::Take(Kind::List);
const SORTED_SET: Manner = Manner::Take(Kind::SortedSet);

fn keys(names: &str) -> Rc<[Bytes]> {
    names.split(' ').map(|name| Bytes::copy_from_slice(name.as_bytes())).collect()
}

/// An order in which the waiters come one after the other, with the keys that were to be armed.
fn order(waiters: &[(&str, Manner)]) -> (Order, Vec<Seat>, Vec<String>) {
    let (mut order, mut arms) = (Order::default(), Vec::new());
    let seats = waiters.iter().map(|(names, manner)| {
        let (seat, more) = order.join(&keys(names), *manner);
        arms.extend(more);
        seat
    });
    let seats = seats.collect();
    (order, seats, named(arms))
}

fn named(arms: Arms) -> Vec<String> {
    arms.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

fn turn(order: &mut Order, seat: Seat) -> Option<Turn> {
    match order.poll_turn(seat, &Context::from_waker(Waker::noop())) {
        Poll::Ready(turn) => Some(turn),
        Poll::Pending => None,
    }
}

fn turns(order: &mut Order, seats: &[Seat]) -> Vec<Option<Turn>> {
    seats.iter().map(|seat| turn(order, *seat)).collect()
}

/// The key has changed, and is there when it is armed again.
fn filled(order: &mut Order, key: &str) {
    assert_eq!(named(order.changed(key.as_bytes())), [key]);
    assert!(order.armed(key.as_bytes(), true).is_empty());
}

#[test]
fn elements_go_to_waiters_in_order_of_arrival() {
    let (mut order, seats, arms) = order(&[("a", LIST); 3]);
    assert_eq!(arms, ["a"], "a key is armed once, however many wait for it");
    order.armed(b"a", false);
    assert_eq!(turns(&mut order, &seats), [Some(Turn::Rest), Some(Turn::Rest), Some(Turn::Rest)]);
    filled(&mut order, "a");
    assert_eq!(turns(&mut order, &seats), [Some(Turn::Key(0)), None, None]);
    order.leave(seats[0]);
    assert_eq!(turns(&mut order, &seats[1..]), [Some(Turn::Key(0)), None]);
    order.tried(seats[1], Tried::Nothing);
    assert_eq!(turns(&mut order, &seats[1..]), [None, None], "what one does not find, none does");
    filled(&mut order, "a");
    assert_eq!(turns(&mut order, &seats[1..]), [Some(Turn::Key(0)), None]);
}

#[test]
fn at_first_keys_are_tried_in_the_order_of_the_request() {
    let (mut order, seats, arms) = order(&[("a b c", LIST)]);
    assert_eq!(arms, ["a", "b", "c"]);
    order.armed(b"c", true);
    order.armed(b"b", true);
    assert_eq!(turn(&mut order, seats[0]), None, "nobody knows about a yet");
    order.armed(b"a", false);
    assert!(order.is_fresh(seats[0]));
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Key(1)));
    assert_eq!(turn(&mut order, seats[0]), None, "one key at a time");
    order.tried(seats[0], Tried::Nothing);
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Key(2)));
    order.tried(seats[0], Tried::Nothing);
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Rest));
    assert!(!order.is_fresh(seats[0]));
}

#[test]
fn a_change_during_a_try_is_not_missed() {
    let (mut order, seats, _) = order(&[("a", LIST)]);
    order.armed(b"a", true);
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Key(0)));
    filled(&mut order, "a");
    assert_eq!(turn(&mut order, seats[0]), None);
    order.tried(seats[0], Tried::Nothing);
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Key(0)));
}

#[test]
fn a_change_between_the_first_look_and_its_end_is_not_missed() {
    let (mut order, seats, _) = order(&[("a", LIST)]);
    order.armed(b"a", false);
    filled(&mut order, "a");
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Rest));
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Key(0)));
}

#[test]
fn arming_again_without_news_gives_no_turn() {
    let (mut order, seats, _) = order(&[("a", LIST)]);
    order.armed(b"a", true);
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Key(0)));
    order.tried(seats[0], Tried::Nothing);
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Rest));
    assert_eq!(named(order.every()), ["a"]);
    assert!(order.every().is_empty(), "it is being armed");
    order.armed(b"a", true);
    assert_eq!(turn(&mut order, seats[0]), None);
    assert!(!order.has_unarmed());
}

#[test]
fn what_no_node_could_say_is_asked_again() {
    let (mut order, seats, _) = order(&[("a", LIST)]);
    order.failed(b"a");
    assert!(order.has_unarmed());
    assert_eq!(named(order.unarmed()), ["a"]);
    assert!(!order.has_unarmed());
    order.armed(b"a", true);
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Key(0)));
    order.tried(seats[0], Tried::Unknown);
    assert_eq!(named(order.unarmed()), ["a"]);
    order.armed(b"a", true);
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Key(0)));
}

#[test]
fn an_answer_from_before_everything_changed_does_not_count() {
    let (mut order, seats, _) = order(&[("a b", LIST)]);
    order.armed(b"b", false);
    assert_eq!(named(order.changed_all()), ["b"]);
    assert_eq!(named(order.armed(b"a", false)), ["a"]);
    order.armed(b"b", false);
    assert_eq!(turn(&mut order, seats[0]), None);
    order.armed(b"a", true);
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Key(0)));
}

#[test]
fn who_only_looks_waits_for_nobody() {
    let (mut order, seats, _) =
        order(&[("a", Manner::Look), ("a", LIST), ("a", Manner::Look), ("a", SORTED_SET)]);
    order.armed(b"a", true);
    let expected = [Some(Turn::All), Some(Turn::Key(0)), Some(Turn::All), None];
    assert_eq!(turns(&mut order, &seats), expected);
    order.tried(seats[1], Tried::Nothing);
    assert_eq!(turn(&mut order, seats[3]), Some(Turn::Key(0)), "another kind");
    for seat in [seats[0], seats[2]] {
        order.tried(seat, Tried::Nothing);
        assert_eq!(turn(&mut order, seat), None);
    }
    assert_eq!(named(order.changed(b"a")), ["a"]);
    order.armed(b"a", false);
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::All), "it may want to know that it is gone");
}

#[test]
fn a_refusal_is_for_all_who_wait_for_the_key() {
    let (mut order, seats, _) = order(&[("a", LIST), ("b", LIST), ("b a", Manner::Look)]);
    order.refused(b"a", b"-NOPERM\r\n");
    let refused = Some(Turn::Refused(b"-NOPERM\r\n".to_vec()));
    assert_eq!(turns(&mut order, &seats), [refused.clone(), None, refused]);
}

#[test]
fn nothing_is_kept_of_those_who_left() {
    let (mut order, seats, _) = order(&[("a b", LIST), ("b c", Manner::Look)]);
    order.armed(b"a", true);
    order.armed(b"b", true);
    assert_eq!(turn(&mut order, seats[0]), Some(Turn::Key(0)));
    seats.iter().for_each(|seat| order.leave(*seat));
    assert!(order.is_empty());
    assert!(order.lines.is_empty() && order.by_key.is_empty());
    assert!(order.armed(b"a", true).is_empty() && order.changed(b"b").is_empty());
}

/// A server with keys that have so many elements, and the connection to it: everything takes a while and keeps its
/// order.
#[derive(Default)]
struct Server {
    elements: BTreeMap<String, usize>,
    armed: Vec<String>,
    asked: VecDeque<String>,
    told: VecDeque<(String, Option<bool>)>,
}

impl Server {
    fn change(&mut self, key: &str, by: isize) {
        let elements = self.elements.entry(key.to_owned()).or_default();
        *elements = elements.checked_add_signed(by).unwrap();
        if let Some(at) = self.armed.iter().position(|armed| armed == key) {
            self.armed.remove(at);
            self.told.push_back((key.to_owned(), None));
        }
    }

    fn count(&self, key: &str) -> usize {
        self.elements.get(key).copied().unwrap_or(0)
    }

    fn answer(&mut self) -> bool {
        let Some(key) = self.asked.pop_front() else { return false };
        if !self.armed.contains(&key) {
            self.armed.push(key.clone());
        }
        self.told.push_back((key.clone(), Some(self.count(&key) > 0)));
        true
    }
}

/// Waiters, a server, and chance.
struct World {
    order: Order,
    server: Server,
    /// By seat: the keys, and the one that is being tried.
    waiters: BTreeMap<Seat, (Vec<String>, Option<usize>)>,
    random: fastrand::Rng,
    served: usize,
}

impl World {
    fn ask(&mut self, arms: Arms) {
        self.server.asked.extend(named(arms));
    }

    fn hear(&mut self) -> bool {
        let Some((key, what)) = self.server.told.pop_front() else { return false };
        let arms = match what {
            Some(present) => self.order.armed(key.as_bytes(), present),
            None => self.order.changed(key.as_bytes()),
        };
        self.ask(arms);
        true
    }

    /// Lets one waiter go on; false when it has nothing to do.
    fn step(&mut self, seat: Seat) -> bool {
        let Some((keys, trying)) = self.waiters.get_mut(&seat) else { return false };
        let Some(at) = trying.take() else {
            let turn = turn(&mut self.order, seat);
            if let Some(Turn::Key(at)) = turn {
                *trying = Some(at);
            }
            return turn.is_some();
        };
        let key = keys[at].clone();
        if self.server.count(&key) == 0 {
            self.order.tried(seat, Tried::Nothing);
            return true;
        }
        self.server.change(&key, -1);
        self.served += 1;
        self.waiters.remove(&seat);
        self.order.leave(seat);
        true
    }

    fn come(&mut self) {
        let all = ["a", "b", "c"];
        let count = self.random.usize(1..=3);
        let names = self.random.choose_multiple(all.iter(), count);
        let names: Vec<String> = names.into_iter().map(|name| (*name).to_owned()).collect();
        let (seat, arms) = self.order.join(&keys(&names.join(" ")), LIST);
        self.waiters.insert(seat, (names, None));
        self.ask(arms);
    }

    fn some_waiter(&mut self) -> Option<Seat> {
        let seats: Vec<Seat> = self.waiters.keys().copied().collect();
        self.random.choice(seats)
    }

    fn chance(&mut self) {
        match self.random.u8(0..12) {
            0 | 1 => self.come(),
            2..=4 => {
                let key = ["a", "b", "c"][self.random.usize(0..3)];
                self.server.change(key, 1);
            }
            5 => {
                // Somebody else takes an element.
                let key = ["a", "b", "c"][self.random.usize(0..3)];
                if self.server.count(key) > 0 {
                    self.server.change(key, -1);
                }
            }
            6 => {
                if let Some(seat) = self.some_waiter() {
                    self.waiters.remove(&seat);
                    self.order.leave(seat);
                }
            }
            7 => drop(self.server.answer()),
            8 | 9 => drop(self.hear()),
            _ => {
                if let Some(seat) = self.some_waiter() {
                    self.step(seat);
                }
            }
        }
    }

    /// Lets everything happen that can.
    fn settle(&mut self) {
        loop {
            let mut moved = self.server.answer() | self.hear();
            let seats: Vec<Seat> = self.waiters.keys().copied().collect();
            for seat in seats {
                moved |= self.step(seat);
            }
            if !moved {
                return;
            }
        }
    }
}

/// Whatever comes in whatever order: in the end nobody waits for a key that has something.
#[test]
fn nobody_sleeps_while_there_is_something() {
    for seed in 0..300 {
        let mut world = World {
            order: Order::default(),
            server: Server::default(),
            waiters: BTreeMap::new(),
            random: fastrand::Rng::with_seed(seed),
            served: 0,
        };
        for _ in 0..8 {
            (0..60).for_each(|_| world.chance());
            world.settle();
            for (names, _) in world.waiters.values() {
                for name in names {
                    assert_eq!(world.server.count(name), 0, "seed {seed}: {name} is waited for");
                }
            }
        }
        assert!(world.served > 5, "seed {seed}: {} served", world.served);
    }
}
