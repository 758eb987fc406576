//! What a scenario must show, as the conditions of its verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::micros;
use crate::figures::{Weighed, Weight, p99};
use crate::history::{Fault, Moment};
use crate::load::{Asked, Class, Trouble};
use crate::run::Outcome;
use crate::stage::Blow;

/// A silent node is found out after an interval and a probe, half a second each; then nothing more is sent to it.
pub(crate) const FOUND_OUT: Duration = Duration::from_millis(1_500);
/// That a node is gone for good, its machine says at once; and that takes its way through a gateway that is busy.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(500);
/// The same on a machine that is busy with other things.
const FOUND_OUT_LATE: Duration = Duration::from_secs(5);
pub(crate) const A_SECOND: Duration = Duration::from_secs(1);
/// A request is held this long at least before it is given up (`backend.hold_time` is more).
const HELD: Duration = Duration::from_secs(14);
/// A gateway needs a tenth of that for this load.
const MOST_MEMORY: usize = 256 << 20;
/// What a node says of a slot whose owner it takes for dead. It was asked because it answers.
const NODES_WORDS: &str = "CLUSTERDOWN Hash slot not served";
/// Errors that are named; the others are only counted.
const NAMED: usize = 5;

pub(crate) fn all<const N: usize>(faults: [Vec<Fault>; N]) -> Vec<Fault> {
    faults.concat()
}

/// No client was told of an error.
pub(crate) fn no_error(outcome: &Outcome<'_>) -> Vec<Fault> {
    named(outcome.journal.troubles.iter())
}

/// No client was told of an error, but who published when the node that carries the messages was stopped: that one
/// stays the same when it hands over, and a message is not sent twice.
pub(crate) fn no_error_but_of_messages(outcome: &Outcome<'_>) -> Vec<Fault> {
    let is_fair = |trouble: &&Trouble| {
        trouble.asked.class == Class::Publish && trouble.text.starts_with("UNCERTAIN ")
    };
    named(outcome.journal.troubles.iter().filter(|trouble| !is_fair(trouble)))
}

/// Beyond what the cluster itself takes, which may be long on a busy machine.
pub(crate) fn pause_below(outcome: &Outcome<'_>, bound: Duration) -> Vec<Fault> {
    let beyond = outcome.pauses.beyond;
    let is_long = beyond >= micros(bound) && !outcome.options.short;
    is_long
        .then(|| format!("a pause of {beyond} us while the cluster served"))
        .into_iter()
        .collect()
}

/// As [`only_in_flight`], and nobody but those who ask for the slots of the one node.
pub(crate) fn only_in_flight_there(outcome: &Outcome<'_>) -> Vec<Fault> {
    all([only_in_flight(outcome, FOUND_OUT), nobody_else(outcome)])
}

/// Errors are for whoever asks for slots that are not served.
fn nobody_else(outcome: &Outcome<'_>) -> Vec<Fault> {
    let is_dead = |asked: &Asked| {
        let meanwhile = |blow: &&Blow| blow.begin <= asked.span.answered;
        outcome.blows.iter().filter(meanwhile).any(|blow| blow.dead.contains(&asked.slot))
    };
    let elsewhere = |trouble: &&Trouble| {
        let asked = trouble.asked;
        !asked.class.has_keys() && asked.class != Class::Publish && !is_dead(&asked)
    };
    named(outcome.journal.troubles.iter().filter(elsewhere))
}

/// Who asks for the dead shard is told so, by slot and cause or in the words of another node, after the time that
/// requests are held; the others are served as before.
pub(crate) fn one_shard_fails(outcome: &Outcome<'_>) -> Vec<Fault> {
    let is_fair = |trouble: &&Trouble| {
        let span = trouble.asked.span;
        let says_why = trouble.text.starts_with("CLUSTERDOWN Hash slot ")
            && (trouble.text.contains(" not served: ") || trouble.text == NODES_WORDS);
        let was_held = span.answered - span.sent >= micros(HELD);
        let was_in_flight = outcome
            .blows
            .iter()
            .any(|blow| span.sent <= blow.begin + micros(A_SECOND) && span.answered >= blow.begin);
        (says_why && was_held) || (trouble.text.starts_with("UNCERTAIN ") && was_in_flight)
    };
    let unfair = outcome.journal.troubles.iter().filter(|trouble| !is_fair(trouble));
    all([named(unfair), nobody_else(outcome), as_fast_as_before(outcome)])
}

fn as_fast_as_before(outcome: &Outcome<'_>) -> Vec<Fault> {
    let Some(first) = outcome.blows.first().filter(|_| !outcome.options.short) else {
        return Vec::new();
    };
    let is_keyed = |asked: &&Asked| !asked.class.has_keys() && asked.class != Class::Publish;
    let all: Vec<&Asked> = outcome.journal.asked.iter().filter(is_keyed).collect();
    let before = p99(all.iter().copied().filter(|asked| asked.span.answered < first.begin));
    let slow = |blow: &Blow| {
        let is_meanwhile =
            |asked: &&Asked| asked.span.sent >= blow.begin && asked.span.answered < blow.end;
        // Replies come in order, so what was sent in one piece with such a request waits behind it.
        let piece = |asked: &Asked| (asked.client, asked.span.sent);
        let dead = all.iter().filter(|asked| blow.dead.contains(&asked.slot));
        let stuck: BTreeSet<(u32, Moment)> = dead.map(|asked| piece(asked)).collect();
        let free = all.iter().copied().filter(|asked| !stuck.contains(&piece(asked)));
        let during = p99(free.filter(is_meanwhile));
        println!("    p99 of the other shards: {before} us before, {during} us meanwhile");
        (during > 2 * before + micros(Duration::from_millis(20)))
            .then(|| format!("other shards: p99 of {before} us before, {during} us meanwhile"))
    };
    outcome.blows.iter().filter_map(slow).collect()
}

/// While nothing is there, errors say so; and all is well soon after.
pub(crate) fn only_while_down(outcome: &Outcome<'_>) -> Vec<Fault> {
    let is_fair = |trouble: &&Trouble| {
        let says_so =
            ["CLUSTERDOWN ", "UNCERTAIN "].iter().any(|word| trouble.text.starts_with(word));
        let span = trouble.asked.span;
        says_so
            && outcome
                .blows
                .iter()
                .any(|blow| span.sent <= blow.served && span.answered >= blow.begin)
    };
    let unfair = outcome.journal.troubles.iter().filter(|trouble| !is_fair(trouble));
    let heavy = outcome.weight.most() > MOST_MEMORY;
    let heavy = heavy.then(|| format!("{} bytes of memory", outcome.weight.most()));
    all([named(unfair), pause_below(outcome, 2 * A_SECOND), heavy.into_iter().collect()])
}

/// Neither memory nor descriptors grow, not in one process and not from one to the next.
pub(crate) fn flat(outcome: &Outcome<'_>) -> Vec<Fault> {
    let growth = |what: &str, (early, late): (usize, usize), room: usize| {
        (late > early + early / 4 + room).then(|| format!("{what} grew from {early} to {late}"))
    };
    let of = |stretch: &[Weighed]| {
        let bytes = Weight::growth(stretch, |weighed| weighed.bytes);
        let descriptors = Weight::growth(stretch, |weighed| weighed.descriptors);
        [growth("memory", bytes, 16 << 20), growth("descriptors", descriptors, 32)]
    };
    outcome.weight.stretches().into_iter().flat_map(of).flatten().collect()
}

/// Reads never fail. Writes fail only as UNCERTAIN, and only those that were sent before it was found out that the node
/// is gone, which takes so long.
pub(crate) fn only_in_flight(outcome: &Outcome<'_>, found_out: Duration) -> Vec<Fault> {
    let found_out = if outcome.options.short { FOUND_OUT_LATE } else { found_out };
    let in_flight = |trouble: &Trouble| {
        let sent: Moment = trouble.asked.span.sent;
        outcome.blows.iter().any(|blow| {
            sent <= blow.done + micros(found_out) && trouble.asked.span.answered >= blow.begin
        })
    };
    let is_fair = |trouble: &&Trouble| {
        let is_uncertain = trouble.text.starts_with("UNCERTAIN ");
        !trouble.asked.class.is_read() && is_uncertain && in_flight(trouble)
    };
    let unfair = outcome.journal.troubles.iter().filter(|trouble| !is_fair(trouble));
    all([named(unfair), one_piece_each(outcome)])
}

/// What one client has in flight at one time is what it has sent in one piece: whoever was told once that a node is lost
/// must not be told twice. However busy the machine is.
fn one_piece_each(outcome: &Outcome<'_>) -> Vec<Fault> {
    let mut pieces: BTreeMap<(usize, u32), BTreeSet<Moment>> = BTreeMap::new();
    for Trouble { asked, .. } in &outcome.journal.troubles {
        // A wait is on a connection of its own, and who publishes may do so at another node than the one that was lost.
        let is_shared = !matches!(asked.class, Class::Pop | Class::Publish);
        let blow = outcome.blows.iter().rposition(|blow| blow.begin <= asked.span.answered);
        if let Some(blow) = blow.filter(|_| is_shared) {
            pieces.entry((blow, asked.client)).or_default().insert(asked.span.sent);
        }
    }
    let twice = pieces.iter().filter(|(_, sent)| sent.len() > 1);
    let fault = |((blow, client), sent): (&(usize, u32), &BTreeSet<Moment>)| {
        format!(
            "client {client} was told of errors {} times after {:?}",
            sent.len(),
            outcome.blows[*blow]
        )
    };
    twice.map(fault).take(NAMED).collect()
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
