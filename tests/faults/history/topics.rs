//! Topics: whoever listens hears the messages of each publisher in their order, each once.

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

/// Messages that a listener should have heard between the first and the last that it heard, and did not. The servers
/// promise no more than to try, so these are for whoever knows why.
pub(crate) fn check(sent: &[Sent], heard: &[Heard]) -> (Vec<Fault>, usize) {
    let messages: HashMap<(u32, u64), &Sent> =
        sent.iter().map(|message| ((message.publisher, message.number), message)).collect();
    let mut done: HashMap<u32, BTreeSet<u64>> = HashMap::new();
    for message in sent.iter().filter(|message| matches!(message.told, Told::Done(()))) {
        done.entry(message.publisher).or_default().insert(message.number);
    }
    let mut last: HashMap<(u32, u32), u64> = HashMap::new();
    // A node that was given up may still pass on what nobody knows the fate of, behind what came after it.
    let is_uncertain = |message: &Heard| {
        let sent = messages.get(&(message.publisher, message.number));
        sent.is_some_and(|sent| sent.told == Told::Unknown)
    };
    let mut came = HashSet::new();
    let (mut faults, mut missed) = (Vec::new(), 0);
    for message in heard {
        let why = match messages.get(&(message.publisher, message.number)) {
            None => Some("from nowhere"),
            Some(sent) if sent.told == Told::Refused => Some("refused"),
            Some(sent) if sent.span.sent > message.at => Some("not sent yet"),
            Some(_) => None,
        };
        faults.extend(why.map(|why| format!("{message:?} is {why}")));
        let key = (message.listener, message.publisher);
        if !came.insert((key, message.number)) {
            faults.push(format!("{message:?} comes twice"));
            continue;
        }
        let before = last.get(&key).copied().unwrap_or(message.number - 1);
        if before < message.number {
            let between = done.get(&message.publisher).into_iter();
            missed += between.flat_map(|done| done.range(before + 1..message.number)).count();
            last.insert(key, message.number);
        } else if !is_uncertain(message) {
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
        let (faults, missed) = check(sent, &numbers.iter().map(hear).collect::<Vec<_>>());
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
        assert_eq!(check(&messages, &[hear(1, 1), hear(2, 3)]), (Vec::new(), 0));
    }
}
