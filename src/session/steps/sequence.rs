//! `LMPOP` and `ZMPOP` over several slots: one part after the other, until one of them has something.

use std::collections::VecDeque;

use super::call::Call;
use super::gather::Group;
use super::inbox::TRY_AGAIN;
use super::{Outcome, Steps, Stop, request};

/// Asks runs of neighbouring keys of one slot in their order. Never two at once: both could pop.
pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let keys = call.sources();
    let mut runs = VecDeque::from(Group::runs(call, &keys));
    let mut reply = Err(Stop::Unexpected);
    while let Some(run) = runs.pop_front() {
        let step = steps.raw(run.slot, part(call, &keys, &run.keys)).splittable();
        let answer = steps.ask_one(step).await?;
        if answer == TRY_AGAIN && run.keys.len() > 1 {
            run.singles().into_iter().rev().for_each(|single| runs.push_front(single));
            continue;
        }
        let nothing = matches!(answer.as_slice(), b"*-1\r\n" | b"_\r\n");
        reply = Ok(answer);
        if !nothing {
            break;
        }
    }
    reply
}

/// The request with these keys instead of all.
fn part(call: &Call, all: &[usize], keys: &[usize]) -> Vec<u8> {
    let count = keys.len().to_string();
    let behind = all.last().map_or(call.len(), |last| last + 1);
    let mut words = vec![call.arg(0), count.as_bytes()];
    words.extend(keys.iter().copied().chain(behind..call.len()).map(|at| call.arg(at)));
    request(&words)
}
