//! SCAN: one call asks one primary, and the cursor says where the next call goes on (`route::cursor`).
//!
//! A node's cursor is good for that process alone. So each call is for one node and no other; when that node
//! cannot answer, the call waits until the topology tells who has its slots now, and begins there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::backend::micros;
use crate::cluster::{Slot, Topology};
use crate::resp::{Value, elements, write};
use crate::route::{Cursor, Visit, pattern_slot};

use super::stage::is_stage;
use super::stragglers::stragglers;
use super::{Call, Outcome, Steps, Stop};

/// Pauses while the node to ask cannot answer.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let cursor = Cursor::parse(call.arg(1))?;
    let filter = Filter::of(call);
    let began = steps.worker.clock.tick();
    let patience = micros(steps.worker.gateway.settings().backend.hold_time);
    let mut pause = FIRST_PAUSE;
    loop {
        let answered = ask(steps, call, cursor, &filter).await;
        let reply = match answered {
            Ok(Some(reply)) => return Ok(reply),
            Err(Stop::Node(reply)) if is_unavailable(&reply) => Err(Stop::Node(reply)),
            Err(stop) => return Err(stop),
            Ok(None) => Err(Stop::Unsettled),
        };
        if steps.worker.clock.tick().saturating_sub(began) >= patience {
            return reply;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks the node whose turn it is, as the topology is now. `None`: the node says that the topology is another.
async fn ask(
    steps: &Steps,
    call: &Call,
    cursor: Cursor,
    filter: &Filter,
) -> Result<Option<Vec<u8>>, Stop> {
    let (topology, visit) = visit(steps, cursor, filter)?;
    let node = visit.node(&topology).ok_or(Stop::NotCovered)?;
    let mut request = Vec::new();
    write_request(call, visit.cursor(), &mut request);
    let reply =
        steps.one(steps.at_node(&node.address.as_ref().into(), request).repeatable()).await?;
    let mut parts = elements(&reply).ok_or(Stop::Unexpected)?;
    let (cursor, keys) = parts.next().zip(parts.next()).ok_or(Stop::Unexpected)?;
    let cursor = node_cursor(cursor)?;
    let mut handed_over = Vec::new();
    if cursor == 0 {
        let Some(found) = stragglers(steps, filter, &visit, &topology).await? else {
            steps.worker.pool.look_again(&node.address);
            return Ok(None);
        };
        handed_over = found;
    }
    let mut out = Vec::with_capacity(reply.len() + 16);
    write::array(&mut out, 2);
    write::bulk(&mut out, visit.after(cursor)?.to_string());
    let found = elements(keys).ok_or(Stop::Unexpected)?;
    let found: Vec<&[u8]> = found.filter(|key| !is_stage(steps, key)).collect();
    write::array(&mut out, found.len() + handed_over.len());
    found.iter().for_each(|key| out.extend_from_slice(key));
    handed_over.iter().for_each(|key| write::bulk(&mut out, key));
    Ok(Some(out))
}

fn node_cursor(reply: &[u8]) -> Result<u64, Stop> {
    let cursor = Value::parse(reply)?;
    let text = cursor.as_str().ok_or(Stop::Unexpected)?;
    text.parse().map_err(|_| Stop::Unexpected)
}

/// Which keys are wanted.
pub(super) struct Filter {
    /// A glob pattern.
    pub(super) pattern: Option<Vec<u8>>,
    /// The name of a type.
    pub(super) kind: Option<Vec<u8>>,
}

impl Filter {
    /// As far as the request makes sense; what does not, the node refuses.
    fn of(call: &Call) -> Self {
        let mut filter = Self { pattern: None, kind: None };
        for at in (2..call.len().saturating_sub(1)).step_by(2) {
            let value = || Some(call.arg(at + 1).to_vec());
            if call.arg(at).eq_ignore_ascii_case(b"MATCH") {
                filter.pattern = value();
            } else if call.arg(at).eq_ignore_ascii_case(b"TYPE") {
                filter.kind = value();
            }
        }
        filter
    }

    /// The one slot that all wanted keys are in, if there is one.
    fn slot(&self) -> Option<Slot> {
        self.pattern.as_deref().and_then(pattern_slot)
    }
}

/// Whom to ask now.
fn visit(steps: &Steps, cursor: Cursor, filter: &Filter) -> Result<(Arc<Topology>, Visit), Stop> {
    let (topology, itinerary) = steps.worker.itinerary();
    let only = match filter.slot() {
        Some(slot) => Some(topology.shard_of(slot).ok_or(Stop::NotCovered)?),
        None if topology.covered() < Slot::COUNT => return Err(Stop::NotCovered),
        None => None,
    };
    let visit = itinerary.visit(cursor, only).ok_or(Stop::NotCovered)?;
    Ok((topology, visit))
}

/// The request as it came, with the node's own cursor.
fn write_request(call: &Call, cursor: u64, out: &mut Vec<u8>) {
    let cursor = cursor.to_string();
    let request = call.request();
    let words: Vec<&[u8]> = request
        .args()
        .enumerate()
        .map(|(at, word)| if at == 1 { cursor.as_bytes() } else { word })
        .collect();
    write::command(out, &words);
}

/// Whether the node says that it cannot answer now, or the gateway says so for it.
fn is_unavailable(reply: &[u8]) -> bool {
    ["-CLUSTERDOWN ", "-LOADING ", "-MASTERDOWN ", "-UNCERTAIN "]
        .iter()
        .any(|code| reply.starts_with(code.as_bytes()))
}
