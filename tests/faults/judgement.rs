//! What a scenario must show, as the conditions of its verdict.

use std::time::Duration;

use crate::clock::micros;
use crate::history::{Fault, Moment};
use crate::load::Trouble;
use crate::run::Outcome;

/// A silent node is found out after an interval and a probe, half a second each; then nothing more is sent to it.
const FOUND_OUT: Duration = Duration::from_millis(1_500);
/// The same on a machine that is busy with other things.
const FOUND_OUT_LATE: Duration = Duration::from_secs(5);
const A_SECOND: Duration = Duration::from_secs(1);
/// Errors that are named; the others are only counted.
const NAMED: usize = 5;

pub(crate) fn all<const N: usize>(faults: [Vec<Fault>; N]) -> Vec<Fault> {
    faults.concat()
}

/// No client was told of an error.
pub(crate) fn no_error(outcome: &Outcome<'_>) -> Vec<Fault> {
    named(outcome.journal.troubles.iter())
}

pub(crate) fn pause_below_a_second(outcome: &Outcome<'_>) -> Vec<Fault> {
    let longest = outcome.pauses.longest;
    let is_long = longest >= micros(A_SECOND) && !outcome.options.short;
    is_long.then(|| format!("a pause of {longest} us")).into_iter().collect()
}

/// Reads never fail, and writes only as UNCERTAIN and when they were sent before the node was found out.
pub(crate) fn only_in_flight(outcome: &Outcome<'_>) -> Vec<Fault> {
    let found_out = if outcome.options.short { FOUND_OUT_LATE } else { FOUND_OUT };
    let in_flight = |trouble: &Trouble| {
        let sent: Moment = trouble.asked.span.sent;
        outcome.blows.iter().any(|blow| {
            sent <= blow.begin + micros(found_out) && trouble.asked.span.answered >= blow.begin
        })
    };
    let is_fair = |trouble: &&Trouble| {
        let is_uncertain = trouble.text.starts_with("UNCERTAIN ");
        !trouble.asked.class.is_read() && is_uncertain && in_flight(trouble)
    };
    named(outcome.journal.troubles.iter().filter(|trouble| !is_fair(trouble)))
}

fn named<'a>(troubles: impl Iterator<Item = &'a Trouble>) -> Vec<Fault> {
    let troubles: Vec<&Trouble> = troubles.collect();
    let mut faults: Vec<Fault> =
        troubles.iter().take(NAMED).map(|trouble| format!("{trouble:?}")).collect();
    if troubles.len() > NAMED {
        faults.push(format!(".. and {} errors more", troubles.len() - NAMED));
    }
    faults
}
