//! `ZRANGESTORE` into another slot.

use crate::merge::MergeError;
use crate::merge::scored::{self, Scored};
use crate::resp::{elements, write};

use super::call::Call;
use super::gather::{bytes_of, unbroken};
use super::store::Block;
use super::{Outcome, Steps, Stop, request};

/// Members whose scores one request asks for.
const CHUNK: usize = 1000;

/// `ZRANGESTORE destination source min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]`
pub(super) async fn store(steps: &Steps, call: &Call) -> Outcome {
    let lexical = options(call).any(|at| call.says(at, "BYLEX"));
    let request = request(&words(call, !lexical));
    let reply = steps.one(steps.raw(call.slot(2), request).read()).await?;
    let replies = if lexical { with_scores(steps, call, &reply).await? } else { vec![reply] };
    steps.check_count(&replies, 2)?;
    let key = call.arg(1).to_vec();
    let written = steps.compute(bytes_of(&replies), move || {
        let mut entries: Vec<Scored<'_>> = Vec::new();
        for reply in &replies {
            entries.extend(scored::read(reply)?);
        }
        Ok::<_, MergeError>((Block::scored(&key, &entries), entries.len()))
    });
    steps.commit_counted(call, 1, written.await??).await
}

/// The same range, to be read.
fn words(call: &Call, scores: bool) -> Vec<&[u8]> {
    let mut words = vec![b"ZRANGE", call.arg(2), call.arg(3), call.arg(4)];
    if scores {
        // In front of the others, where it cannot be taken for the argument of one.
        words.push(b"WITHSCORES");
    }
    let unknown: Vec<usize> = options(call).filter(|&at| call.says(at, "WITHSCORES")).collect();
    for at in 5..call.len() {
        // ZRANGE has an option that ZRANGESTORE has not; an empty word is one that neither has.
        words.push(if unknown.contains(&at) { b"" } else { call.arg(at) });
    }
    words
}

/// Where options stand.
fn options(call: &Call) -> impl Iterator<Item = usize> {
    let mut next = 5;
    std::iter::from_fn(move || {
        let at = next;
        next += if call.says(at, "LIMIT") { 3 } else { 1 };
        (at < call.len()).then_some(at)
    })
}

/// Members and scores in turn, in several lists. A range by bytes comes without scores; a member that is gone
/// when it is asked for its score is left out.
async fn with_scores(steps: &Steps, call: &Call, reply: &[u8]) -> Result<Vec<Vec<u8>>, Stop> {
    let members: Vec<&[u8]> = elements(reply).ok_or(Stop::Unexpected)?.collect();
    steps.check_number(members.len())?;
    let ask = |chunk: &[&[u8]]| {
        let mut request = Vec::new();
        write::array(&mut request, 2 + chunk.len());
        write::bulk(&mut request, "ZMSCORE");
        write::bulk(&mut request, call.arg(2));
        chunk.iter().for_each(|member| request.extend_from_slice(member));
        steps.raw(call.slot(2), request).read()
    };
    let scores = unbroken(steps.ask_all(members.chunks(CHUNK).map(ask).collect()).await?)?;
    let scores: Option<Vec<_>> = scores.iter().map(|reply| elements(reply)).collect();
    let scores = scores.ok_or(Stop::Unexpected)?.into_iter().flatten();
    let known = members.iter().zip(scores).filter(|(_, score)| !score.starts_with(b"$-1"));
    let known: Vec<(&[u8], &[u8])> = known.map(|(member, score)| (*member, score)).collect();
    let mut list = Vec::new();
    write::array(&mut list, 2 * known.len());
    for (member, score) in known {
        list.extend_from_slice(member);
        list.extend_from_slice(score);
    }
    Ok(vec![list])
}
