use bytes::Bytes;

use super::super::{Manner, Terms, Ticket};
use super::*;

/// Not empty, so that two have two addresses.
struct Client(#[expect(dead_code, reason = "only takes room")] u8);

impl Asker for Client {
    fn settle(&self, _: Ticket, _: &[u8]) {}
    fn piece(&self, _: Ticket, _: &[u8], _: bool) {}
    fn retract(&self, _: Ticket) -> bool {
        true
    }
    fn split(&self, _: Ticket, _: Bytes) {}
    fn disturbed(&self) {}
}

/// A hold, and the clients that use it.
struct Bench {
    hold: Hold,
    clients: Vec<Rc<dyn Asker>>,
    budget: Budget,
}

const FOREVER: Micros = Micros::MAX;

impl Bench {
    fn new() -> Self {
        Self::with(config::Backend::default())
    }

    fn with(settings: config::Backend) -> Self {
        let clients: Vec<Rc<dyn Asker>> = vec![Rc::new(Client(0)), Rc::new(Client(1))];
        Self { hold: Hold::new(&settings), clients, budget: Budget::new(&settings) }
    }

    /// Holds a request of 10 bytes, named by its place among all. All are of one turn, and so of one time.
    fn add(&mut self, slot: u16, serial: u64, cause: Cause) {
        self.add_of(0, slot, serial, cause);
    }

    /// The same, for a client of that number.
    fn add_of(&mut self, client: usize, slot: u16, serial: u64, cause: Cause) {
        let question = Question {
            asker: self.clients[client].clone(),
            ticket: Ticket::new(serial as u32, 0),
            terms: Terms::new(Slot::new(slot), Manner::own()),
            serial,
            born: 0,
            hops: 0,
            tries: 0,
            scout: None,
        };
        let errand = Errand { question, bytes: Bytes::from_static(b"0123456789") };
        self.hold.add(Held { errand, cause, since: 0, until: FOREVER }, 0);
    }

    fn take_due(&mut self) -> Vec<Held> {
        self.hold.take_due(LONGEST_PAUSE, &mut self.budget, |_| true).0
    }
}

fn names(held: &[Held]) -> Vec<u32> {
    held.iter().map(|held| held.errand.question.ticket.place).collect()
}

fn refused(line: &'static str) -> Cause {
    Cause::Refused(Bytes::from_static(line.as_bytes()))
}

fn down() -> Cause {
    refused("-CLUSTERDOWN The cluster is down\r\n")
}

#[test]
fn one_request_goes_ahead_and_the_others_follow_when_it_is_served() {
    let mut bench = Bench::new();
    [1, 2, 3].into_iter().for_each(|serial| bench.add(7, serial, down()));
    assert!(bench.hold.take_due(0, &mut bench.budget, |_| true).0.is_empty(), "not due yet");
    let mut scout = bench.take_due();
    assert_eq!(names(&scout), [1]);
    assert!(bench.take_due().is_empty(), "the others wait for it");
    assert!(
        bench.hold.take_all().is_empty() && bench.hold.take_slot(Slot::new(7).unwrap()).is_empty()
    );
    scout[0].errand.question.scout.as_mut().unwrap().was_served();
    drop(scout);
    assert_eq!(names(&bench.hold.take_scouted(0)), [2, 3]);
    assert!(bench.hold.is_empty());
    assert!(bench.hold.queues.is_empty() && bench.hold.askers.is_empty());
}

#[test]
fn a_scout_that_is_refused_is_first_again() {
    let mut bench = Bench::new();
    [1, 2].into_iter().for_each(|serial| bench.add(7, serial, down()));
    let scout = bench.take_due().pop().unwrap();
    bench.hold.add(scout, 0);
    assert!(bench.hold.take_scouted(0).is_empty());
    assert_eq!(names(&bench.take_due()), [1]);
}

/// What a client sends in one piece is born at one time.
#[test]
fn a_clients_own_order_is_kept_within_one_time() {
    let mut bench = Bench::new();
    [1, 2, 3].into_iter().for_each(|serial| bench.add(7, serial, down()));
    bench.add_of(1, 7, 4, down());
    let scout = bench.take_due().pop().unwrap();
    bench.hold.add(scout, 0);
    assert!(bench.hold.take_scouted(0).is_empty());
    assert_eq!(names(&bench.hold.take_all()), [1, 2, 3, 4], "the scout is first again");

    // One that was sent again alone comes back behind what was sent after it.
    [6, 7].into_iter().for_each(|serial| bench.add(7, serial, down()));
    bench.add_of(1, 7, 8, down());
    bench.add(7, 5, down());
    assert_eq!(names(&bench.hold.take_all()), [5, 6, 7, 8]);
}

#[test]
fn a_scout_that_is_lost_is_replaced_at_once() {
    let mut bench = Bench::new();
    [1, 2, 3].into_iter().for_each(|serial| bench.add(7, serial, down()));
    drop(bench.take_due());
    assert!(bench.hold.take_scouted(0).is_empty());
    assert_eq!(names(&bench.hold.take_due(0, &mut bench.budget, |_| true).0), [2]);
}

#[test]
fn what_concerns_one_request_needs_no_scout() {
    for line in ["-TRYAGAIN Multiple keys\r\n", "-MOVED 7 a:1\r\n", "-ASK 7 a:1\r\n"] {
        let mut bench = Bench::new();
        [1, 2].into_iter().for_each(|serial| bench.add(7, serial, refused(line)));
        assert_eq!(names(&bench.take_due()), [1, 2], "{line}");
    }
}

#[test]
fn what_a_node_gives_back_comes_before_what_was_held_meanwhile() {
    let mut bench = Bench::new();
    [5, 6, 2, 3, 9, 5].into_iter().for_each(|serial| bench.add(7, serial, down()));
    assert_eq!(names(&bench.hold.take_all()), [2, 3, 5, 5, 6, 9]);
}

#[test]
fn the_budget_bounds_retries_and_the_longest_wait_is_first() {
    let mut bench = Bench::with(config::Backend { retry_floor: 1, ..config::Backend::default() });
    (0..20).for_each(|slot| bench.add(slot, Micros::from(slot), down()));
    bench.hold.queues.get_mut(&Slot::new(13)).unwrap().due = 1;
    let (taken, postponed) = bench.hold.take_due(LONGEST_PAUSE, &mut bench.budget, |_| true);
    assert_eq!((taken.len(), postponed), (5, 15), "five seconds' worth");
    assert_eq!(names(&taken)[0], 13);
    bench.budget.earn(10, 0);
    assert_eq!(bench.take_due().len(), 2, "a fifth of what is new");
}

#[test]
fn what_cannot_be_sent_costs_nothing() {
    let mut bench = Bench::with(config::Backend { retry_floor: 1, ..config::Backend::default() });
    (0..20).for_each(|slot| bench.add(slot, Micros::from(slot), down()));
    let only_19 = |slot: Option<Slot>| slot == Slot::new(19);
    let (taken, postponed) = bench.hold.take_due(LONGEST_PAUSE, &mut bench.budget, only_19);
    assert_eq!((names(&taken), postponed), (vec![19], 0));
}

#[test]
fn bounded_for_each_client_and_for_all() {
    let settings = config::Backend {
        hold_requests: 3,
        hold_bytes: 45,
        hold_session_requests: 2,
        hold_session_bytes: 25,
        ..config::Backend::default()
    };
    let mut bench = Bench::with(settings);
    bench.add(1, 1, down());
    let room =
        |bench: &Bench, client: usize, bytes| bench.hold.has_room(&bench.clients[client], bytes);
    assert!(room(&bench, 0, 15) && !room(&bench, 0, 16));
    assert!(room(&bench, 1, 25) && !room(&bench, 1, 26));
    bench.add(2, 2, down());
    assert!(!room(&bench, 0, 1) && room(&bench, 1, 1));
    bench.hold.take_slot(Slot::new(2).unwrap());
    assert!(room(&bench, 0, 15));
    bench.add(3, 3, down());
    bench.add(4, 4, down());
    assert!(!room(&bench, 1, 1));
}

#[test]
fn time_is_over_for_each_request_by_itself() {
    let mut bench = Bench::new();
    [1, 2, 3, 4].into_iter().for_each(|serial| bench.add(7, serial, down()));
    let queue = bench.hold.queues.get_mut(&Slot::new(7)).unwrap();
    queue.held.iter_mut().zip([9, 20, 10, 11]).for_each(|(held, until)| held.until = until);
    assert_eq!(names(&bench.hold.take_expired(10)), [1, 3]);
    assert_eq!(names(&bench.hold.take_all()), [2, 4]);
    assert!(bench.hold.is_empty());
}
