use super::*;

use super::super::Message;

struct Nobody;

impl Hearer for Nobody {
    fn hear(&self, _: &Message<'_>) -> usize {
        0
    }

    fn missed(&self) {}
}

/// Topics with one channel in them, which somebody wants, and orders not looked at yet.
struct Scene {
    topics: Topics,
    topic: Topic,
    index: usize,
    hearer: Rc<dyn Hearer>,
    missed: usize,
}

const HOME: Site = Site { feed: 0, source: true };
const OTHER: Site = Site { feed: 1, source: false };

fn source(feed: FeedId) -> Site {
    Site { feed, source: true }
}

impl Scene {
    fn new() -> Self {
        let mut topics = Topics::default();
        let topic = Topic { kind: Kind::Channel, name: Arc::from(&b"ch"[..]) };
        let hearer: Rc<dyn Hearer> = Rc::new(Nobody);
        let index = topics.enter(&topic, Rc::downgrade(&hearer));
        Self { topics, topic, index, hearer, missed: 0 }
    }

    fn place(&mut self, sites: &[Site]) -> Vec<(FeedId, Order)> {
        let mut orders = Vec::new();
        let missed = self.topics.place(self.index, sites, &mut orders);
        self.missed += usize::from(missed.is_some());
        orders
    }

    fn done(&mut self, feed: FeedId) {
        let missed = self.topics.done(feed, self.index);
        self.missed += usize::from(missed.is_some());
    }

    fn standing(&mut self) -> Standing {
        self.topics.standing(&self.topic, Waker::noop())
    }

    /// Whether a message counts that comes just after the home node has changed.
    fn hears_late(&self, feed: FeedId, event: bool) -> bool {
        self.topics.hearer(feed, Kind::Channel, b"ch", Nature { event, late: true }).is_some()
    }

    fn hears(&self, feed: FeedId, event: bool) -> bool {
        self.topics.hearer(feed, Kind::Channel, b"ch", Nature { event, late: false }).is_some()
    }
}

#[test]
fn a_topic_is_established_when_the_node_says_so() {
    let mut scene = Scene::new();
    assert_eq!(scene.standing(), Standing::UnderWay);
    assert_eq!(scene.place(&[HOME]), [(0, Order::Join)]);
    assert_eq!(scene.place(&[HOME]), []);
    assert_eq!(scene.standing(), Standing::UnderWay);
    assert!(!scene.hears(0, false));
    scene.done(0);
    assert_eq!(scene.standing(), Standing::Established);
    assert!(scene.hears(0, false) && !scene.hears(1, false));
    assert!(!scene.topics.is_unsettled(scene.index));
}

#[test]
fn a_topic_moves_without_a_break() {
    let mut scene = Scene::new();
    scene.place(&[HOME]);
    scene.done(0);
    assert_eq!(scene.place(&[source(1)]), [(1, Order::Join)]);
    assert!(scene.hears(0, false), "the old place counts until the new one is there");
    assert_eq!(scene.missed, 0);
    scene.done(1);
    assert!(scene.hears(1, false) && !scene.hears(0, false));
    assert_eq!(scene.missed, 1, "a message may have been on its way");
    assert_eq!(scene.place(&[source(1)]), [(0, Order::Leave)]);
    scene.done(0);
    assert_eq!(scene.place(&[source(1)]), []);
    assert_eq!(scene.standing(), Standing::Established);
}

#[test]
fn what_comes_late_counts_if_nobody_heard_it_before() {
    let mut scene = Scene::new();
    scene.place(&[HOME]);
    scene.done(0);
    assert!(scene.hears_late(0, false), "it never came from elsewhere");
    scene.place(&[source(1)]);
    scene.done(1);
    assert!(scene.hears(1, false) && !scene.hears_late(1, false));
    assert!(scene.hears_late(1, true), "no other node knows of it");
    scene.topics.lost(1);
    scene.place(&[source(2)]);
    scene.done(2);
    assert!(scene.hears(2, false) && !scene.hears_late(2, false));
}

#[test]
fn events_count_wherever_they_come_from() {
    let mut scene = Scene::new();
    assert_eq!(scene.place(&[HOME, OTHER]), [(0, Order::Join), (1, Order::Join)]);
    scene.done(0);
    assert_eq!(scene.standing(), Standing::UnderWay);
    scene.done(1);
    assert_eq!(scene.standing(), Standing::Established);
    assert!(scene.hears(0, true) && scene.hears(0, false));
    assert!(scene.hears(1, true) && !scene.hears(1, false));
    // The other becomes home: it carries the topic already.
    assert_eq!(scene.place(&[source(1), Site { feed: 0, source: false }]), []);
    assert!(scene.hears(1, false) && !scene.hears(0, false));
}

#[test]
fn a_lost_connection_is_a_gap_if_it_was_the_source() {
    let mut scene = Scene::new();
    scene.place(&[HOME, OTHER]);
    scene.done(0);
    scene.done(1);
    assert_eq!(scene.topics.lost(1).len(), 0);
    assert_eq!(scene.topics.lost(0).len(), 1);
    assert!(scene.topics.is_unsettled(scene.index));
    assert_eq!(scene.standing(), Standing::UnderWay);
    assert_eq!(scene.place(&[source(2)]), [(2, Order::Join)]);
    scene.done(2);
    assert_eq!(scene.standing(), Standing::Established);
    assert_eq!(scene.missed, 0, "the gap was told of already");
}

#[test]
fn what_nobody_wants_is_left_and_forgotten() {
    let mut scene = Scene::new();
    scene.place(&[HOME]);
    scene.done(0);
    assert_eq!(scene.topics.leave(&scene.topic), Some(scene.index));
    assert!(!scene.hears(0, false));
    assert_eq!(scene.place(&[HOME]), [(0, Order::Leave)]);
    assert!(scene.topics.is_leaving(&scene.topic, Waker::noop()));
    scene.done(0);
    assert!(!scene.topics.is_leaving(&scene.topic, Waker::noop()));
    assert_eq!(scene.standing(), Standing::Gone);
    assert!(scene.topics.is_empty());
}

#[test]
fn the_answer_to_the_last_order_counts() {
    let mut scene = Scene::new();
    scene.place(&[HOME]);
    scene.topics.leave(&scene.topic);
    assert_eq!(scene.place(&[]), [(0, Order::Leave)]);
    let index = scene.topics.enter(&scene.topic, Rc::downgrade(&scene.hearer));
    assert_eq!(index, scene.index);
    assert_eq!(scene.place(&[HOME]), [(0, Order::Join)]);
    scene.done(0);
    assert_eq!(scene.standing(), Standing::UnderWay, "joined, and about to be left");
    scene.done(0);
    assert_eq!(scene.standing(), Standing::UnderWay, "left, and about to be joined");
    scene.done(0);
    assert_eq!(scene.standing(), Standing::Established);
}

#[test]
fn a_topic_that_is_wanted_again_is_not_there_before_the_node_says_so() {
    let mut scene = Scene::new();
    scene.place(&[HOME]);
    scene.done(0);
    scene.topics.leave(&scene.topic);
    scene.place(&[]);
    scene.topics.enter(&scene.topic, Rc::downgrade(&scene.hearer));
    assert_eq!(scene.standing(), Standing::UnderWay);
    assert_eq!(scene.place(&[HOME]), [(0, Order::Join)]);
    scene.done(0);
    assert_eq!(scene.standing(), Standing::UnderWay);
    scene.done(0);
    assert_eq!(scene.standing(), Standing::Established);
}

#[test]
fn objections_reach_whoever_waits() {
    let mut scene = Scene::new();
    scene.place(&[HOME]);
    scene.topics.refused(0, scene.index, Some(b"-NOPERM no\r\n"));
    assert_eq!(scene.standing(), Standing::Refused(Bytes::from_static(b"-NOPERM no\r\n")));
    assert_eq!(scene.place(&[HOME]), [(0, Order::Join)]);
    scene.done(0);
    assert_eq!(scene.standing(), Standing::Established);
}

#[test]
fn a_node_may_end_a_subscription() {
    let mut scene = Scene::new();
    scene.place(&[HOME]);
    assert!(scene.topics.dropped(0, Kind::Channel, b"ch").is_none(), "an answer is on its way");
    scene.done(0);
    let (index, missed) = scene.topics.dropped(0, Kind::Channel, b"ch").unwrap();
    assert_eq!((index, missed.is_some()), (scene.index, true));
    assert!(scene.topics.dropped(0, Kind::Channel, b"ch").is_none());
    assert!(scene.topics.dropped(0, Kind::Channel, b"other").is_none());
    assert_eq!(scene.place(&[HOME]), [(0, Order::Join)]);
}

#[test]
fn whoever_is_sent_around_in_a_circle_pauses() {
    let mut scene = Scene::new();
    let follows: Vec<bool> = (0..5).map(|_| scene.topics.may_follow(scene.index)).collect();
    assert_eq!(follows, [true, true, true, false, false]);
    scene.place(&[HOME]);
    scene.done(0);
    assert!(scene.topics.may_follow(scene.index));
}
