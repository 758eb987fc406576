//! Queues: every element that was pushed is taken once, or is still there, or somebody was told that nobody knows.

use std::collections::{BTreeMap, HashMap};

use super::{Fault, Losses, Moment, Span, Told};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Push {
    pub(crate) queue: u32,
    /// Unlike any other's.
    pub(crate) element: u64,
    pub(crate) span: Span,
    pub(crate) told: Told,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pop {
    pub(crate) span: Span,
    pub(crate) told: Told<Option<u64>>,
}

pub(crate) fn check(
    pushes: &[Push],
    pops: &[Pop],
    left: &[u64],
    losses: &impl Losses,
) -> Vec<Fault> {
    let mut taken: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
    for pop in pops {
        if let Told::Done(Some(element)) = pop.told {
            taken.entry(element).or_default().push(pop.span);
        }
    }
    for element in left {
        let at_the_end = Span { sent: Moment::MAX, answered: Moment::MAX };
        taken.entry(*element).or_default().push(at_the_end);
    }
    let unknown = pops.iter().filter(|pop| pop.told == Told::Unknown).count();
    let pushed: HashMap<u64, &Push> = pushes.iter().map(|push| (push.element, push)).collect();

    let mut faults = Vec::new();
    for (element, mut times) in taken.clone() {
        times.sort_unstable_by_key(|span| span.answered);
        match pushed.get(&element) {
            None => faults.push(format!("element {element:x} is from nowhere")),
            Some(push) if push.told == Told::Refused => {
                faults.push(format!("{push:?} was refused, and the element was there"));
            }
            Some(push) => {
                let is_lost = |two: &[Span]| losses.pop(push.queue, two[0], two[1].answered);
                let twice = times.windows(2).any(|two| !is_lost(two));
                if twice {
                    faults.push(format!("{push:?}: the element was taken at {times:?}"));
                }
            }
        }
    }
    let missing: Vec<&Push> = pushes
        .iter()
        .filter(|push| matches!(push.told, Told::Done(())) && !taken.contains_key(&push.element))
        .filter(|push| !losses.push(push.queue, push.element, push.span, Moment::MAX))
        .collect();
    if missing.len() > unknown {
        faults.push(format!(
            "{} elements are gone, {unknown} may have been taken: {:?} ..",
            missing.len(),
            missing[0]
        ));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Lost, span};
    use super::*;

    fn push(element: u64, told: Told) -> Push {
        Push { queue: 1, element, span: span(1, 2), told }
    }

    fn pop(told: Told<Option<u64>>) -> Pop {
        Pop { span: span(5, 6), told }
    }

    fn faults(pushes: &[Push], pops: &[Told<Option<u64>>], left: &[u64]) -> usize {
        let pops: Vec<Pop> = pops.iter().map(|told| pop(*told)).collect();
        check(pushes, &pops, left, &Lost(false)).len()
    }

    const DONE: Told = Told::Done(());

    #[test]
    fn what_may_be_is_no_fault() {
        let pushes = [push(1, DONE), push(2, DONE), push(3, Told::Refused), push(4, Told::Unknown)];
        assert_eq!(faults(&pushes, &[Told::Done(Some(1)), Told::Done(None)], &[2]), 0);
        assert_eq!(faults(&pushes, &[Told::Done(Some(1)), Told::Done(Some(4))], &[2]), 0);
        assert_eq!(faults(&pushes, &[Told::Unknown], &[2]), 0, "the first may have been taken");
    }

    #[test]
    fn elements_that_vanish() {
        let pushes = [push(1, DONE), push(2, DONE)];
        assert_eq!(faults(&pushes, &[Told::Done(Some(1)), Told::Done(None)], &[]), 1);
        assert_eq!(faults(&pushes, &[Told::Unknown], &[]), 1, "one takes one");
        assert_eq!(check(&pushes, &[], &[], &Lost(true)).len(), 0, "lost by replication");
    }

    #[test]
    fn elements_that_come_twice_or_from_nowhere() {
        let pushes = [push(1, DONE), push(3, Told::Refused)];
        assert_eq!(faults(&pushes, &[Told::Done(Some(1)), Told::Done(Some(1))], &[]), 1);
        assert_eq!(faults(&pushes, &[Told::Done(Some(1))], &[1]), 1, "taken and still there");
        assert_eq!(faults(&pushes, &[Told::Done(Some(1)), Told::Done(Some(3))], &[]), 1, "refused");
        assert_eq!(faults(&pushes, &[Told::Done(Some(1)), Told::Done(Some(9))], &[]), 1);
        let twice = [pop(Told::Done(Some(1))), pop(Told::Done(Some(1)))];
        assert_eq!(check(&pushes, &twice, &[], &Lost(true)).len(), 0, "lost by replication");
    }
}
