//! Topics: whoever listens hears the messages of each publisher in their order, each once.
//!
//! What a node passed on to its own clients just before it was stopped, and to its colleagues only when it went on, is
//! excused: it comes late, or once more, to whoever listens elsewhere by then. No gateway can know.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Fault, Moment, Span, Told};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) publisher: u32,
    /// Counted from one by the publisher.
    pub(crate) number: u64,
    pub(crate) span: Span,
    pub(crate) told: Told,
}

/// In the order in which they came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// One subscription of one client: another after it has connected again.
    pub(crate) listener: u32,
    pub(crate) publisher: u32,
    pub(crate) number: u64,
    pub(crate) at: Moment,
}

/// A node stood still for a while, or nobody heard it, and then went on where it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standstill {
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
}

/// On a busy machine, a message is under way this long at most.
const UNDER_WAY: Moment = 2_000_000;

impl Standstill {
    /// Whether the node may have had this message when it stopped, and passed it on when it went on.
    fn kept(&self, sent: Span, heard: Moment) -> bool {
        let when_it_stopped =
            sent.sent <= self.begin + UNDER_WAY && sent.answered + UNDER_WAY >= self.begin;
        when_it_stopped && (self.end..=self.end + UNDER_WAY).contains(&heard)
    }
}

/// Messages that a listener should have heard between the first and the last that it heard, and did not. The servers
/// promise no more than to try, so these are for whoever knows why.
pub(crate) fn check(
    sent: &[Sent],
    heard: &[Heard],
    standstills: &[Standstill],
) -> (Vec<Fault>, usize) {
    let messages: HashMap<(u32, u64), &Sent> =
        sent.iter().map(|message| ((message.publisher, message.number), message)).collect();
    let mut done: HashMap<u32, BTreeSet<u64>> = HashMap::new();
    for message in sent.iter().filter(|message| matches!(message.told, Told::Done(()))) {
        done.entry(message.publisher).or_default().insert(message.number);
    }
    let mut last: HashMap<(u32, u32), u64> = HashMap::new();
    let of = |message: &Heard| messages.get(&(message.publisher, message.number));
    // A node that was given up may still pass on what nobody knows the fate of, behind what came after it.
    let is_uncertain = |message: &Heard| of(message).is_some_and(|sent| sent.told == Told::Unknown);
    let was_kept = |message: &Heard| {
        let kept = |sent: &&Sent| standstills.iter().any(|still| still.kept(sent.span, message.at));
        of(message).is_some_and(kept)
    };
    let mut came = HashSet::new();
    let (mut faults, mut missed) = (Vec::new(), 0);
    for message in heard {
        let why = match of(message) {
            None => Some("from nowhere"),
            Some(sent) if sent.told == Told::Refused => Some("refused"),
            Some(sent) if sent.span.sent > message.at => Some("not sent yet"),
            Some(_) => None,
        };
        faults.extend(why.map(|why| format!("{message:?} is {why}")));
        let key = (message.listener, message.publisher);
        if !came.insert((key, message.number)) {
            if !was_kept(message) {
                faults.push(format!("{message:?} comes twice"));
            }
            continue;
        }
        let before = last.get(&key).copied().unwrap_or(message.number - 1);
        if before < message.number {
            let between = done.get(&message.publisher).into_iter();
            missed += between.flat_map(|done| done.range(before + 1..message.number)).count();
            last.insert(key, message.number);
        } else if !is_uncertain(message) && !was_kept(message) {
            faults.push(format!("{message:?} comes after {before}"));
        }
    }
    (faults, missed)
}

#[cfg(test)]
mod tests {
    use super::super::sample::span;
    use super::*;

    fn sent(number: u64, told: Told) -> Sent {
        Sent { publisher: 1, number, span: span(10 * number, 10 * number + 2), told }
    }

    fn check_heard(sent: &[Sent], numbers: &[u64]) -> (usize, usize) {
        let hear = |number: &u64| Heard { listener: 1, publisher: 1, number: *number, at: 100 };
        let (faults, missed) = check(sent, &numbers.iter().map(hear).collect::<Vec<_>>(), &[]);
        (faults.len(), missed)
    }

    #[test]
    fn each_fault_is_found() {
        let done = Told::Done(());
        let messages =
            [sent(1, done), sent(2, done), sent(3, Told::Unknown), sent(4, Told::Refused)];
        assert_eq!(check_heard(&messages, &[1, 2, 3]), (0, 0));
        assert_eq!(check_heard(&messages, &[1, 3]), (0, 1), "missed");
        assert_eq!(check_heard(&messages, &[2]), (0, 0), "it came late");
        assert_eq!(check_heard(&messages, &[2, 1]), (1, 0), "out of order");
        assert_eq!(check_heard(&messages, &[1, 1]), (1, 0), "twice");
        assert_eq!(check_heard(&messages, &[3, 1]), (1, 0), "early");
        assert_eq!(check_heard(&messages, &[4]), (1, 0), "refused");
        assert_eq!(check_heard(&messages, &[9]), (1, 0), "from nowhere");
        assert_eq!(check_heard(&[sent(11, done)], &[11]), (1, 0), "before it was sent");
        let uncertain = [sent(1, Told::Unknown), sent(2, done)];
        assert_eq!(check_heard(&uncertain, &[2, 1]), (0, 0), "late, as it may be");
        assert_eq!(check_heard(&uncertain, &[2, 1, 1]), (1, 0), "late and twice");
    }

    #[test]
    fn another_subscription_begins_anew() {
        let messages = [sent(1, Told::Done(())), sent(2, Told::Done(())), sent(3, Told::Done(()))];
        let hear = |listener, number| Heard { listener, publisher: 1, number, at: 100 };
        assert_eq!(check(&messages, &[hear(1, 1), hear(2, 3)], &[]), (Vec::new(), 0));
    }

    #[test]
    fn what_a_node_kept_while_it_stood_still() {
        let told = Told::Done(());
        let message = |number, at| Sent { publisher: 1, number, span: span(at, at + 1_000), told };
        let sent = [message(1, 9_000_000), message(2, 20_000_000)];
        let still = [Standstill { begin: 10_000_000, end: 30_000_000 }];
        let faults = |heard: &[(u64, Moment)]| {
            let hear = |&(number, at)| Heard { listener: 1, publisher: 1, number, at };
            let heard: Vec<Heard> = heard.iter().map(hear).collect();
            check(&sent, &heard, &still).0.len()
        };
        assert_eq!(faults(&[(1, 9_001_000), (2, 20_001_000), (1, 30_000_500)]), 0, "once more");
        assert_eq!(faults(&[(2, 20_001_000), (1, 30_000_500)]), 0, "late");
        assert_eq!(faults(&[(1, 9_001_000), (1, 9_002_000)]), 1, "it has not stopped yet");
        assert_eq!(faults(&[(1, 9_001_000), (1, 25_000_000)]), 1, "it stands still");
        assert_eq!(faults(&[(1, 9_001_000), (1, 40_000_000)]), 1, "long after");
        assert_eq!(faults(&[(2, 20_001_000), (2, 30_000_500)]), 1, "sent to another node");
    }
}
