//! How the nodes are, for the status page: they are asked only while somebody looks at it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::stream::{self, StreamExt};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::admin::State;
use crate::backend::connect::Conversation;
use crate::cluster::{Topology, Vitals};

use super::question::Entry;

/// Time between two rounds of questions at the least, and for each node that is asked: a large cluster is asked less
/// often, for each node's answer names all of them.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_FOR_EACH: Duration = Duration::from_millis(20);
/// When nobody has looked for this long, what was said is too old to be shown.
const OLD: Duration = Duration::from_secs(10);
/// Nodes that are asked at once.
const AT_ONCE: usize = 16;

/// Asks every node whenever somebody has looked at the page since the last time, until `stop`.
pub(super) async fn watch(
    entry: Entry,
    topology: Arc<ArcSwap<Topology>>,
    page: Rc<State>,
    stop: CancellationToken,
) {
    let watching = async {
        let mut lines = Lines::new();
        loop {
            if timeout(OLD, page.is_looked_at()).await.is_err() {
                page.nodes_said(HashMap::new());
                lines.clear();
                page.is_looked_at().await;
            }
            let addresses: Vec<Arc<str>> =
                topology.load().nodes().map(|node| node.address.clone()).collect();
            let pause =
                PAUSE.max(PAUSE_FOR_EACH * u32::try_from(addresses.len()).unwrap_or(u32::MAX));
            let said = ask_all(&entry, addresses, &mut lines).await;
            page.nodes_said(said);
            sleep(pause).await;
        }
    };
    tokio::select! {
        () = watching => {}
        () = stop.cancelled() => {}
    }
}

/// Connections to ask again.
type Lines = HashMap<Arc<str>, Conversation>;

/// What the nodes say. One that does not answer says nothing; the topology and the metrics tell of it.
async fn ask_all(
    entry: &Entry,
    addresses: Vec<Arc<str>>,
    lines: &mut Lines,
) -> HashMap<Arc<str>, Vitals> {
    let mut kept = std::mem::take(lines);
    let questions = addresses.into_iter().map(|address| {
        let line = kept.remove(&address);
        async move {
            let questions: [&[&str]; 4] = [
                &["INFO", "memory"],
                &["INFO", "stats"],
                &["INFO", "replication"],
                &["CLUSTER", "NODES"],
            ];
            let answered = entry.ask(&address, line, questions).await;
            (address, answered)
        }
    });
    let mut said = HashMap::new();
    let mut answers = stream::iter(questions).buffer_unordered(AT_ONCE);
    while let Some((address, answered)) = answers.next().await {
        if let Ok(([memory, stats, replication, nodes], line)) = answered {
            let vitals = Vitals::from_replies(&memory, &stats, &replication, &nodes);
            said.insert(address.clone(), vitals);
            lines.insert(address, line);
        }
    }
    said
}
