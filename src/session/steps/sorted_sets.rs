//! Operations on sorted sets in several slots: `ZUNION`, `ZINTER`, `ZDIFF`, `ZINTERCARD` and those that store.
//!
//! Each slot computes its part with the weights of its own keys; the scores of the parts are aggregated in the
//! same way, now without weights. Of an intersection or a difference of large ones only one is read (`narrow`). Plain sets take part, each member with the score 1.

use crate::merge::MergeError;
use crate::merge::score::number;
use crate::merge::scored::{self, Aggregate, Scored};
use crate::merge::set::Members;

use super::call::Call;
use super::gather::{SYNTAX, bytes_of};
use super::narrow;
use super::sets::{self, Operation};
use super::store::{self, Block};
use super::{Outcome, Steps, Stop, request};

/// What becomes of the result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    Read,
    Count,
    Store,
}

/// What a request says beside its keys.
pub(super) struct Question {
    operation: Operation,
    keys: Vec<usize>,
    /// Where the weights begin.
    weights: Option<usize>,
    /// Where the aggregate stands.
    aggregate: Option<usize>,
    scores: bool,
    limit: usize,
}

/// `ZUNION`, `ZINTER`, `ZDIFF`.
pub(super) async fn read(steps: &Steps, call: &Call, operation: Operation) -> Outcome {
    let question = question(steps, call, operation, Goal::Read).await?;
    let replies = question.parts(steps, call, true).await?;
    let (aggregate, protocol) = (question.joins(call), steps.manner.protocol);
    let scores = question.scores.then(|| steps.digits());
    let written = steps.compute(bytes_of(&replies), move || {
        let mut out = Vec::new();
        let entries = joined(operation, &replies, aggregate)?;
        scored::write(&entries, scores, protocol, &mut out);
        Ok::<_, MergeError>(out)
    });
    Ok(written.await??)
}

/// `ZINTERCARD`.
pub(super) async fn count(steps: &Steps, call: &Call) -> Outcome {
    let question = question(steps, call, Operation::Intersection, Goal::Count).await?;
    let replies = question.parts(steps, call, false).await?;
    let members =
        steps.compute(bytes_of(&replies), move || Members::intersection(&replies)).await??;
    Ok(store::number(members.len().min(question.limit)))
}

/// `ZUNIONSTORE`, `ZINTERSTORE`, `ZDIFFSTORE`.
pub(super) async fn store(steps: &Steps, call: &Call, operation: Operation) -> Outcome {
    let question = question(steps, call, operation, Goal::Store).await?;
    let replies = question.parts(steps, call, true).await?;
    let aggregate = question.joins(call);
    let at = call.destination();
    let key = call.arg(at).to_vec();
    let written = steps.compute(bytes_of(&replies), move || {
        let entries = joined(operation, &replies, aggregate)?;
        Ok::<_, MergeError>((Block::scored(&key, &entries), entries.len()))
    });
    steps.commit_counted(call, at, written.await??).await
}

fn joined(
    operation: Operation,
    replies: &[Vec<u8>],
    aggregate: Aggregate,
) -> Result<Vec<Scored<'_>>, MergeError> {
    match operation {
        Operation::Union => scored::union(replies, aggregate),
        Operation::Intersection => scored::intersection(replies, aggregate),
        Operation::Difference => scored::difference(replies),
    }
}

/// What the request says. The servers look at the keys' types before they look at the options.
async fn question(
    steps: &Steps,
    call: &Call,
    operation: Operation,
    goal: Goal,
) -> Result<Question, Stop> {
    let keys = call.sources();
    match Question::of(call, operation, goal, keys.clone()) {
        Ok(question) => Ok(question),
        Err(stop) => {
            steps.check_types(call, &keys, &[b"zset", b"set"]).await?;
            Err(stop)
        }
    }
}

impl Question {
    fn of(call: &Call, operation: Operation, goal: Goal, keys: Vec<usize>) -> Result<Self, Stop> {
        let count = keys.len();
        let mut at = keys.last().map_or(call.len(), |last| last + 1);
        let mut question = Self {
            operation,
            keys,
            weights: None,
            aggregate: None,
            scores: false,
            limit: usize::MAX,
        };
        if goal == Goal::Count {
            question.limit = sets::limit(call, at)?;
            return Ok(question);
        }
        let weighs = operation != Operation::Difference;
        while at < call.len() {
            let left = call.len() - at;
            if weighs && left > count && call.says(at, "WEIGHTS") {
                question.weights = Some(at + 1);
                at += 1 + count;
            } else if weighs && left > 1 && call.says(at, "AGGREGATE") {
                aggregate(call, at + 1).ok_or(SYNTAX)?;
                question.aggregate = Some(at + 1);
                at += 2;
            } else if goal == Goal::Read && call.says(at, "WITHSCORES") {
                question.scores = true;
                at += 1;
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(question)
    }

    /// The parts of all slots; of a difference the first one has the first key.
    async fn parts(&self, steps: &Steps, call: &Call, scores: bool) -> Result<Vec<Vec<u8>>, Stop> {
        if self.operation != Operation::Union
            && let Some(parts) = narrow::parts(steps, call, self, scores).await?
        {
            return Ok(parts);
        }
        let request = |keys: &[usize]| self.request(call, keys, scores);
        let replies = steps.read_parts(call, &self.keys, request).await?;
        steps.check_count(&replies, if scores { 2 } else { 1 })?;
        Ok(replies)
    }

    pub(super) fn keys(&self) -> &[usize] {
        &self.keys
    }

    /// Whether the result has what all keys have; of a difference it has what only the first one has.
    pub(super) fn intersects(&self) -> bool {
        self.operation == Operation::Intersection
    }

    /// What the key's scores are multiplied with; `None` when only a node can tell.
    pub(super) fn weight(&self, call: &Call, key: usize) -> Option<f64> {
        let first = self.keys.first()?;
        if self.aggregate.is_some_and(|at| call.says(at, "COUNT")) {
            return None;
        }
        self.weights.map_or(Some(1.0), |weights| number(call.arg(weights + key - first)))
    }

    /// The request for the keys of one slot.
    pub(super) fn request(&self, call: &Call, keys: &[usize], scores: bool) -> Vec<u8> {
        let first = self.keys.first().copied().unwrap_or_default();
        let (command, scores) = match self.operation {
            Operation::Union => ("ZUNION", scores),
            Operation::Intersection => ("ZINTER", scores),
            Operation::Difference if keys.first() == Some(&first) => ("ZDIFF", scores),
            // What is taken away; its scores do not matter.
            Operation::Difference => ("ZUNION", false),
        };
        let count = keys.len().to_string();
        let mut words = vec![command.as_bytes(), count.as_bytes()];
        words.extend(keys.iter().map(|&at| call.arg(at)));
        if let Some(weights) = self.weights {
            words.push(b"WEIGHTS");
            words.extend(keys.iter().map(|&at| call.arg(weights + at - first)));
        }
        if let Some(at) = self.aggregate {
            words.extend([b"AGGREGATE", call.arg(at)]);
        }
        if scores {
            words.push(b"WITHSCORES");
        }
        request(&words)
    }

    /// How the scores of the parts are joined.
    fn joins(&self, call: &Call) -> Aggregate {
        self.aggregate.and_then(|at| aggregate(call, at)).unwrap_or(Aggregate::Sum)
    }
}

fn aggregate(call: &Call, at: usize) -> Option<Aggregate> {
    // COUNT is newer than the others: a node that does not know it says so.
    let known = [
        ("SUM", Aggregate::Sum),
        ("MIN", Aggregate::Min),
        ("MAX", Aggregate::Max),
        ("COUNT", Aggregate::Sum),
    ];
    known.into_iter().find(|(word, _)| call.says(at, word)).map(|(_, aggregate)| aggregate)
}
