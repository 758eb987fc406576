//! Registers: each key has one writer, which numbers its writes, and many readers.

use std::collections::{BTreeMap, HashMap};

use super::{Fault, Losses, Moment, Span, Told};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) key: u32,
    /// Counted from one, without a gap.
    pub(crate) number: u64,
    pub(crate) span: Span,
    pub(crate) told: Told,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) key: u32,
    pub(crate) span: Span,
    /// Number of the write that it saw; zero: none.
    pub(crate) seen: u64,
    /// What the writer itself reads, in the order of its requests: no older than what it knew to be written by then..
    pub(crate) least: u64,
    /// ..and nothing that it sent later. A read that is repeated when its node was lost may see what was sent behind it
    /// and was lost, too, if its writer was told that nobody knows.
    pub(crate) most: u64,
}

impl Read {
    /// A read by anybody but the writer.
    pub(crate) fn by_another(key: u32, span: Span, seen: u64) -> Self {
        Self { key, span, seen, least: 0, most: u64::MAX }
    }
}

/// Every read sees a write that was sent and not refused, and none that is older than what was known to be written
/// when the read was sent, whether its writer or a reader knew it.
pub(crate) fn check(writes: &[Write], reads: &[Read], losses: &impl Losses) -> Vec<Fault> {
    let mut keys: HashMap<u32, (BTreeMap<u64, &Write>, Vec<&Read>)> = HashMap::new();
    for write in writes {
        keys.entry(write.key).or_default().0.insert(write.number, write);
    }
    for read in reads {
        keys.entry(read.key).or_default().1.push(read);
    }
    let mut faults = Vec::new();
    for (key, (writes, mut reads)) in keys {
        reads.sort_by_key(|read| read.span.sent);
        let known = known(&writes, &reads);
        let mut in_time: Vec<(Moment, u64)> =
            known.iter().map(|(number, span)| (span.answered, *number)).collect();
        in_time.sort_unstable();
        let mut in_time = in_time.into_iter().peekable();
        let mut newest = 0;
        for read in reads {
            while let Some((_, number)) = in_time.next_if(|(at, _)| *at <= read.span.sent) {
                newest = newest.max(number);
            }
            faults.extend(impossible(&writes, read));
            let least = newest.max(read.least);
            // The oldest that it should have seen and that was not lost.
            let expected = known.range(read.seen..).take_while(|(number, _)| **number <= least);
            let missing = expected.into_iter().find(|(number, span)| {
                **number > read.seen
                    && (span.answered <= read.span.sent || **number <= read.least)
                    && !losses.register(key, **number, **span, read.span.answered)
            });
            if let Some((number, _)) = missing {
                faults.push(format!(
                    "register {key}: {read:?} does not see write {number}, which was known by then"
                ));
            }
        }
    }
    faults
}

/// From when on each write was known to have run.
fn known(writes: &BTreeMap<u64, &Write>, reads: &[&Read]) -> BTreeMap<u64, Span> {
    let done = writes.values().filter(|write| matches!(write.told, Told::Done(())));
    let told = done.map(|write| (write.number, write.span));
    let seen = reads.iter().map(|read| (read.seen, read.span));
    let mut known: BTreeMap<u64, Span> = BTreeMap::new();
    for (number, span) in told.chain(seen) {
        let first = known.entry(number).or_insert(span);
        if span.answered < first.answered {
            *first = span;
        }
    }
    known
}

/// Why the read cannot have seen what it saw.
fn impossible(writes: &BTreeMap<u64, &Write>, read: &Read) -> Option<Fault> {
    if read.seen == 0 {
        return None;
    }
    let why = match writes.get(&read.seen) {
        None => "a value from nowhere",
        Some(write) if write.told == Told::Refused => "a write that was refused",
        Some(write) if write.span.sent > read.span.answered => "a write that was not sent yet",
        Some(write) if read.seen > read.most && write.told != Told::Unknown => {
            "a later write of the same client"
        }
        Some(_) => return None,
    };
    Some(format!("register {}: {read:?} sees {why}", read.key))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Lost, span};
    use super::*;

    fn write(number: u64, at: Moment, told: Told) -> Write {
        Write { key: 7, number, span: span(at, at + 2), told }
    }

    fn read(seen: u64, at: Moment) -> Read {
        Read::by_another(7, span(at, at + 2), seen)
    }

    const DONE: Told = Told::Done(());

    fn faults(writes: &[Write], reads: &[Read]) -> usize {
        check(writes, reads, &Lost(false)).len()
    }

    #[test]
    fn what_may_be_is_no_fault() {
        let writes = [write(1, 10, DONE), write(2, 20, Told::Unknown), write(3, 30, Told::Refused)];
        let seen = [(0, 5), (0, 9), (1, 11), (1, 22), (2, 23), (2, 40)];
        assert_eq!(faults(&writes, &seen.map(|(number, at)| read(number, at))), 0);
        assert_eq!(faults(&writes, &[read(1, 50)]), 0, "what is unknown may not have run");
    }

    #[test]
    fn values_that_cannot_be() {
        let writes = [write(1, 10, DONE), write(2, 20, Told::Refused)];
        assert_eq!(faults(&writes, &[read(9, 15)]), 1, "from nowhere");
        assert_eq!(faults(&writes, &[read(2, 25)]), 1, "refused");
        assert_eq!(faults(&writes, &[read(1, 3)]), 1, "not sent yet");
    }

    #[test]
    fn writes_that_disappear() {
        let writes = [write(1, 10, DONE), write(2, 20, DONE)];
        assert_eq!(faults(&writes, &[read(1, 25)]), 1, "acknowledged");
        assert_eq!(check(&writes, &[read(1, 25)], &Lost(true)), Vec::<Fault>::new());
        let unknown = [write(1, 10, DONE), write(2, 20, Told::Unknown)];
        assert_eq!(faults(&unknown, &[read(2, 25), read(1, 30)]), 1, "seen before");
        assert_eq!(faults(&unknown, &[read(2, 25), read(1, 26)]), 0, "at the same time");
    }

    /// What was told first counts, also when a part of what is missing is excused.
    #[test]
    fn a_loss_excuses_nothing_else() {
        struct LostOne;
        impl Losses for LostOne {
            fn register(&self, key: u32, number: u64, known: Span, by: Moment) -> bool {
                (key, number, known.answered, by) == (7, 2, 22, 42)
            }
            fn counter(&self, _: &str, _: u64, _: Span, _: Moment) -> bool {
                false
            }
            fn push(&self, _: u32, _: u64, _: Span, _: Moment) -> bool {
                false
            }
            fn pop(&self, _: u32, _: Span, _: Moment) -> bool {
                false
            }
        }
        let writes = [write(1, 10, DONE), write(2, 20, DONE), write(3, 30, DONE)];
        assert_eq!(check(&writes[..2], &[read(1, 40)], &LostOne).len(), 0);
        assert_eq!(check(&writes, &[read(1, 40)], &LostOne).len(), 1);
    }

    #[test]
    fn the_writers_own_order() {
        let writes = [write(1, 10, DONE), write(2, 10, DONE)];
        let own = |seen, least, most| Read { least, most, ..read(seen, 10) };
        assert_eq!(faults(&writes, &[own(1, 1, 1), own(2, 2, 2)]), 0);
        assert_eq!(faults(&writes, &[own(2, 1, 1)]), 1, "overtaken by a later write");
        assert_eq!(faults(&writes, &[own(0, 1, 1)]), 1, "overtakes an earlier write");
        let unknown = [writes[0], write(2, 10, Told::Unknown)];
        assert_eq!(faults(&unknown, &[own(2, 1, 1)]), 0, "both were lost, and the read repeated");
    }
}
