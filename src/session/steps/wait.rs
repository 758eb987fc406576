//! WAIT and WAITAOF: every primary is asked, and the least counts.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::backend::{Lease, LeaseError};
use crate::cluster::Slot;
use crate::merge::Merge;
use crate::resp::write;

use super::{Call, Outcome, Steps, Stop, is_error};

/// How often is looked whether anybody still waits for the answer.
const TICK: Duration = Duration::from_millis(500);

/// Asks every primary on a connection of its own, since the answer may take its time.
pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    let shards = steps.shards()?;
    let answers = join_all(shards.into_iter().map(|slot| ask(steps, slot, call.frame()))).await;
    let replies = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let order = (0..replies.len() as u32).collect();
    let mut merge = Merge::new(call.spec().merge, order, std::iter::repeat_n(1, replies.len()));
    for (reply, part) in replies.iter().zip(0..) {
        merge.fold(part, reply);
    }
    let mut least = Vec::new();
    merge.write(&mut least);
    Ok(least)
}

/// A new connection has written nothing, so its WAIT would be answered at once. After a PING it waits for
/// everything that the primary had answered by then.
async fn ask(steps: &Steps, slot: Slot, request: &[u8]) -> Outcome {
    let pool = &steps.worker.pool;
    let mut lease = pool.lease(slot, steps.manner).await?;
    let mut bytes = Vec::new();
    write::command(&mut bytes, &["PING"]);
    bytes.extend_from_slice(request);
    let began = steps.worker.clock.tick();
    lease.send(&bytes).await?;
    let limit = steps.worker.gateway.settings().backend.request_timeout;
    let silent = |_| Err(LeaseError::Lost("no reply in time".to_owned()));
    let pong = timeout(limit, lease.next()).await.unwrap_or_else(silent)?;
    if is_error(&pong) {
        return Err(Stop::Node(pong.to_vec()));
    }
    let reply = next(steps, &mut lease).await?;
    steps.leased(&lease, request, began, &reply);
    pool.give_back(lease);
    Ok(reply.to_vec())
}

fn is_alone(steps: &Steps) -> bool {
    steps.client.as_ref().is_some_and(|client| client.replies.end().is_some())
}

/// The next reply, unless the client leaves before it comes.
async fn next(steps: &Steps, lease: &mut Lease) -> Result<Bytes, Stop> {
    loop {
        match timeout(TICK, lease.next()).await {
            Ok(reply) => return Ok(reply?),
            Err(_) if is_alone(steps) => return Err(Stop::Unexpected),
            Err(_) => {}
        }
    }
}
