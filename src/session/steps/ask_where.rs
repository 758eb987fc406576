//! Commands of which only the nodes know where the keys stand: a node is asked, and the answer remembered for
//! requests of the same shape.
//!
//! A remembered place may be wrong for another request of that shape. That costs a redirection and no more,
//! since the node that gets the request finds its keys itself.

use std::collections::HashMap;

use crate::cluster::Slot;
use crate::command::{Access, KeyError};
use crate::resp::{Value, write};

use super::{Call, Outcome, Steps, Stop};

/// Shapes remembered; beyond that all are forgotten.
const MOST: usize = 1024;

/// Where the first key of a request stands, by the name and the number of arguments.
#[derive(Default)]
pub(in crate::session) struct Shapes(HashMap<(String, usize), usize>);

impl Shapes {
    fn remember(&mut self, call: &Call, at: usize) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(shape(call), at);
    }
}

fn shape(call: &Call) -> (String, usize) {
    (call.spec().name.to_string(), call.len())
}

/// Whether only a node can tell the keys of the request.
pub(super) fn is_needed(call: &Call) -> bool {
    call.spec().keys(&call.request(), |_| {}) == Err(KeyError::Unknown)
}

/// Sends the request as it came to the owner of its first key.
pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let known = steps.worker.shapes.borrow().0.get(&shape(call)).copied();
    let at = match known {
        Some(at) => Some(at),
        None => ask(steps, call).await?,
    };
    let slot = at.map(|at| call.slot(at));
    // Without a key any node gives the answer, or the error.
    let mut step = steps.raw(slot.unwrap_or(Slot::of(b"")), call.frame().to_vec());
    step.terms.slot = slot;
    step.terms.repeatable = call.spec().access == Access::Read;
    steps.one(step).await
}

/// Which argument the first key is, if a node finds any.
async fn ask(steps: &Steps, call: &Call) -> Result<Option<usize>, Stop> {
    let request = call.request();
    let mut question: Vec<&[u8]> = vec![b"COMMAND", b"GETKEYS"];
    question.extend(request.args());
    let mut bytes = Vec::new();
    write::command(&mut bytes, &question);
    let mut step = steps.raw(Slot::of(b""), bytes).repeatable();
    step.terms.slot = None;
    let replies = steps.ask_all(vec![step]).await?;
    let reply = replies.first().ok_or(Stop::Unexpected)?;
    let reply = Value::parse(reply)?;
    let key = reply.as_array().and_then(|keys| keys.first()?.bytes());
    // The name is no key, even when it reads the same.
    let at = key.and_then(|key| (1..call.len()).find(|&at| call.arg(at) == key));
    if let Some(at) = at {
        steps.worker.shapes.borrow_mut().remember(call, at);
    }
    Ok(at)
}
