//! Counters: many clients add one, and each is told the sum.

use std::collections::{BTreeMap, HashMap};

use super::{Fault, Losses, Moment, Span, Told};

#[derive(Clone, Debug)]
pub(crate) struct Count {
    pub(crate) key: String,
    pub(crate) span: Span,
    pub(crate) told: Told<u64>,
}

/// Sums grow in the order of time, nobody is told one that another was told, and every number that was skipped has
/// somebody who was told that the outcome is unknown: so nothing counted twice in silence.
pub(crate) fn check(
    counts: &[Count],
    at_the_end: &HashMap<String, u64>,
    losses: &impl Losses,
) -> Vec<Fault> {
    let mut keys: BTreeMap<&str, Vec<&Count>> = BTreeMap::new();
    for count in counts {
        keys.entry(&count.key).or_default().push(count);
    }
    let mut faults = Vec::new();
    for (key, counts) in keys {
        let left = at_the_end.get(key).copied().unwrap_or_default();
        let history = History::new(key, &counts);
        faults.extend(history.order(losses));
        faults.extend(history.vanished(left, losses));
        faults.extend(history.silence(left));
    }
    faults
}

/// Of one counter.
struct History<'a> {
    key: &'a str,
    /// What was told, in the order in which it was asked.
    told: Vec<(Span, u64)>,
    /// When each value was told first.
    first: BTreeMap<u64, Span>,
    unknown: usize,
}

impl<'a> History<'a> {
    fn new(key: &'a str, counts: &[&Count]) -> Self {
        let mut history = Self { key, told: Vec::new(), first: BTreeMap::new(), unknown: 0 };
        for count in counts {
            match count.told {
                Told::Refused => {}
                Told::Unknown => history.unknown += 1,
                Told::Done(value) => {
                    history.told.push((count.span, value));
                    let first = history.first.entry(value).or_insert(count.span);
                    if count.span.answered < first.answered {
                        *first = count.span;
                    }
                }
            }
        }
        history.told.sort_by_key(|(span, _)| span.sent);
        history
    }

    /// Values told again, and values not above those that were known when they were asked for.
    fn order(&self, losses: &impl Losses) -> Vec<Fault> {
        let mut answers: Vec<(Moment, u64)> =
            self.told.iter().map(|(span, value)| (span.answered, *value)).collect();
        answers.sort_unstable();
        let mut answers = answers.into_iter().peekable();
        let (mut highest, mut met): (_, HashMap<u64, Span>) = (0, HashMap::new());
        let mut faults = Vec::new();
        for (span, value) in &self.told {
            while let Some((_, known)) = answers.next_if(|(at, _)| *at <= span.sent) {
                highest = highest.max(known);
            }
            let is_lost =
                |lost: &u64, known: &Span| losses.counter(self.key, *lost, *known, span.answered);
            let stays = self.first.range(*value..=highest.max(*value)).find(|(known, at)| {
                **known <= highest && at.answered <= span.sent && !is_lost(known, at)
            });
            if let Some((known, _)) = stays {
                faults.push(format!(
                    "{}: told {value} at {span:?}, after {known} was known",
                    self.key
                ));
            }
            if let Some(before) = met.insert(*value, *span)
                && !losses.counter(self.key, *value, before, before.answered.max(span.answered))
            {
                faults.push(format!("{}: {value} was told twice, again at {span:?}", self.key));
            }
        }
        faults
    }

    /// What was told and is not there at the end.
    fn vanished(&self, left: u64, losses: &impl Losses) -> Option<Fault> {
        let (value, _) = self
            .first
            .range(left + 1..)
            .find(|(value, at)| !losses.counter(self.key, **value, **at, Moment::MAX))?;
        Some(format!("{}: {value} was told, and at the end it is {left}", self.key))
    }

    /// Numbers that nobody was told.
    fn silence(&self, left: u64) -> Option<Fault> {
        let highest = self.first.last_key_value().map_or(0, |(value, _)| *value).max(left);
        let skipped = usize::try_from(highest).unwrap_or(usize::MAX) - self.first.len();
        let unknown = self.unknown;
        (skipped > unknown).then(|| {
            format!("{}: {skipped} counted that nobody was told of, {unknown} unknown", self.key)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Lost, span};
    use super::*;

    fn count(at: Moment, told: Told<u64>) -> Count {
        Count { key: "c".to_owned(), span: span(at, at + 2), told }
    }

    fn check_with(counts: &[(Moment, Told<u64>)], left: u64, lost: bool) -> Vec<Fault> {
        let counts: Vec<Count> = counts.iter().map(|(at, told)| count(*at, *told)).collect();
        check(&counts, &HashMap::from([("c".to_owned(), left)]), &Lost(lost))
    }

    fn faults(counts: &[(Moment, Told<u64>)], left: u64) -> usize {
        check_with(counts, left, false).len()
    }

    use Told::{Done, Refused, Unknown};

    #[test]
    fn what_may_be_is_no_fault() {
        assert_eq!(faults(&[(1, Done(1)), (5, Done(2)), (6, Done(3)), (9, Refused)], 3), 0);
        assert_eq!(faults(&[(5, Done(2)), (6, Done(1))], 2), 0, "at the same time");
        assert_eq!(faults(&[(1, Done(1)), (5, Unknown), (9, Done(3))], 3), 0, "it ran");
        assert_eq!(faults(&[(1, Done(1)), (5, Unknown), (9, Done(2))], 2), 0, "it did not");
        assert_eq!(faults(&[(1, Done(1)), (5, Unknown)], 2), 0, "it ran last");
    }

    #[test]
    fn a_silent_repetition() {
        assert_eq!(faults(&[(1, Done(1)), (5, Done(3))], 3), 1);
        assert_eq!(faults(&[(1, Done(1)), (5, Done(2))], 3), 1, "of the last one");
        assert_eq!(faults(&[(1, Unknown), (5, Done(3))], 3), 1, "of one that is unknown");
        assert_eq!(faults(&[(1, Done(1)), (5, Refused), (9, Done(3))], 3), 1, "refused, and ran");
    }

    #[test]
    fn what_was_told_is_lost() {
        assert_eq!(faults(&[(1, Done(1)), (5, Done(2))], 1), 1, "at the end");
        let again = [(1, Done(1)), (5, Done(2)), (9, Done(2)), (12, Done(3))];
        assert_eq!(faults(&again, 3), 2, "not above what was known, and told twice");
        assert_eq!(check_with(&again, 3, true), Vec::<Fault>::new(), "by replication");
        assert_eq!(faults(&[(5, Done(1)), (6, Done(1))], 1), 1, "twice at the same time");
        assert_eq!(faults(&[(1, Done(2)), (5, Done(1))], 2), 1, "backwards");
    }
}
