//! How far replicas lag: asked on a timer, off the path of requests, and only when replicas are read from.
//!
//! A primary's offset is noted with the time at which it was asked. A replica of the same history that has applied so
//! much has everything that the primary held then.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::backend::connect::{ConnectError, Conversation};
use crate::backend::{Standing, Standings};
use crate::cluster::{Course, Progress, Topology, zone_of};
use crate::config::ReadFrom;

use super::question::Entry;
use super::worker::Known;

/// Questions to a node within the time that a replica may lag.
const LOOKS: u32 = 5;
/// Most bytes of an answer.
const ANSWER_BYTES: usize = 1 << 20;

/// Asks every node of a shard that has replicas, until `stop`, and tells the workers how they stand.
pub(super) async fn watch(entry: Entry, known: Known, stop: CancellationToken) {
    let mut changes = entry.settings.changes();
    let mut watcher = Watcher::new(entry.clone());
    let mut next = Instant::now();
    let watching = async {
        loop {
            let is_wanted = entry.settings.now().cluster.read_from != ReadFrom::Primary;
            tokio::select! {
                Ok(()) = changes.changed() => {}
                () = sleep_until(next), if is_wanted => {
                    watcher.ask_all(&known.topology.load());
                    next = Instant::now() + entry.settings.now().cluster.replica_lag / LOOKS;
                }
                Some(answer) = watcher.asking.join_next() => {
                    // A question that panicked is asked again with the next tick.
                    if let Ok((address, told)) = answer {
                        watcher.hear(&address, told);
                    }
                    let standings = watcher.standings(&known.topology.load());
                    known.standings.store(Arc::new(standings));
                }
                else => return,
            }
        }
    };
    tokio::select! {
        () = watching => {}
        () = stop.cancelled() => {}
    }
}

/// What a node said, and the connection to ask it again.
struct Told {
    asked: Instant,
    replication: Bytes,
    server: Option<Bytes>,
    conversation: Conversation,
}

struct Watcher {
    entry: Entry,
    nodes: HashMap<Arc<str>, Node>,
    asking: JoinSet<(Arc<str>, Result<Told, ConnectError>)>,
}

#[derive(Default)]
struct Node {
    conversation: Option<Conversation>,
    is_asked: bool,
    zone: Option<String>,
    course: Course<Instant>,
}

impl Watcher {
    fn new(entry: Entry) -> Self {
        Self { entry, nodes: HashMap::new(), asking: JoinSet::new() }
    }

    /// Asks every node that owes no answer.
    fn ask_all(&mut self, topology: &Topology) {
        let shards = topology.shards().iter().filter(|shard| !shard.replicas.is_empty());
        let nodes = shards.flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas));
        let addresses: Vec<Arc<str>> = nodes.map(|node| node.address.clone()).collect();
        self.nodes.retain(|address, node| node.is_asked || addresses.contains(address));
        for address in addresses {
            let node = self.nodes.entry(address.clone()).or_default();
            if !std::mem::replace(&mut node.is_asked, true) {
                let (conversation, entry) = (node.conversation.take(), self.entry.clone());
                self.asking.spawn_local(async move {
                    let told = ask(&address, conversation, &entry).await;
                    (address, told)
                });
            }
        }
    }

    fn hear(&mut self, address: &Arc<str>, told: Result<Told, ConnectError>) {
        let Some(node) = self.nodes.get_mut(address) else { return };
        node.is_asked = false;
        let Ok(told) = told else { return };
        if let Some(server) = told.server {
            let zones = &self.entry.settings.now().cluster.zones;
            node.zone = zones.get(&**address).cloned().or_else(|| zone_of(&server));
        }
        node.conversation = Some(told.conversation);
        if let Some(progress) = Progress::from_reply(&told.replication) {
            node.course.note(told.asked, progress);
        }
    }

    /// How all nodes stand now.
    fn standings(&self, topology: &Topology) -> Standings {
        let settings = self.entry.settings.now();
        let zone = &settings.cluster.zone;
        let mut standings = Standings::new();
        for shard in topology.shards() {
            let primary = self.nodes.get(&shard.primary.address);
            for replica in &shard.replicas {
                let Some(node) = self.nodes.get(&replica.address) else { continue };
                let as_of = primary.and_then(|primary| node.course.is_as_of(&primary.course));
                let is_near = node.zone.as_ref() == Some(zone);
                standings.insert(replica.address.clone(), Standing { as_of, is_near });
            }
        }
        standings
    }
}

async fn ask(
    address: &str,
    conversation: Option<Conversation>,
    entry: &Entry,
) -> Result<Told, ConnectError> {
    if let Some(mut conversation) = conversation {
        let asked = Instant::now();
        // Nodes close idle connections; a new one tells what is the matter.
        if let Ok([replication]) = conversation.ask([&["INFO", "replication"]]).await {
            return Ok(Told { asked, replication, server: None, conversation });
        }
    }
    let mut conversation = Conversation::open(address, &entry.handshake(), ANSWER_BYTES).await?;
    let asked = Instant::now();
    let questions: [&[&str]; 2] = [&["INFO", "replication"], &["INFO", "server"]];
    let [replication, server] = conversation.ask(questions).await?;
    Ok(Told { asked, replication, server: Some(server), conversation })
}
