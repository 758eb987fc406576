//! Whether the nodes let a client listen that they know as another user than the gateway's own.
//!
//! Messages come over subscriptions that all clients of a worker share, whoever they are. So a node is asked once, when
//! the client subscribes, as the user that the client is there.

use std::iter::once;
use std::sync::Arc;

use tokio::time::timeout;

use crate::backend::{Kind, LeaseError, Login, Manner, NotSubscribed};
use crate::cluster::Slot;
use crate::resp::{Protocol, write};

use super::super::worker::Worker;

/// # Errors
/// The client's reply: the node's own words, or why no node could be asked.
pub(super) async fn permitted(
    worker: &Worker,
    manner: Manner,
    kind: Kind,
    names: &[Arc<[u8]>],
) -> Result<(), String> {
    let Some(first) = names.first().filter(|_| manner.login != Login::OWN) else { return Ok(()) };
    let ask = async {
        let manner = manner.in_database(0).in_protocol(Protocol::Resp3);
        let mut lease = worker.pool.lease(Slot::of(first), manner).await?;
        let words: Vec<&[u8]> = once(kind.subscribe().as_bytes())
            .chain(names.iter().map(|name| name.as_ref()))
            .collect();
        let mut request = Vec::new();
        write::command(&mut request, &words);
        // The connection listens from then on, so it is not given back.
        lease.ask(&request, 1).await
    };
    let patience = worker.gateway.settings().backend.request_timeout;
    let unserved = || NotSubscribed::Unserved.to_string();
    match timeout(patience, ask).await {
        Err(_) | Ok(Err(LeaseError::Lost(_))) => Err(unserved()),
        Ok(Err(why)) => Err(why.to_string()),
        // Rules come first: whatever else it objects to, it would let this user listen.
        Ok(Ok(replies)) => {
            match replies.first().and_then(|reply| reply.strip_prefix(b"-NOPERM ")) {
                Some(why) => Err(format!("NOPERM {}", String::from_utf8_lossy(why).trim_end())),
                None => Ok(()),
            }
        }
    }
}
