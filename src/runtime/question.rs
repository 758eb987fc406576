//! One question to one node: what does the cluster look like? For the refresher, and for `slotway check --connect`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::join_all;

use crate::backend::connect::{Cause, ConnectError, Conversation, Credentials, Handshake, dial};
use crate::cluster::{
    Dialling, Preferred, Slot, Software, Topology, TopologyError, View, merge_views,
};
use crate::config::{Live, Settings};

/// Most bytes in one answer: 16384 ranges of one slot with ten replicas each have half of it.
const ANSWER_BYTES: usize = 64 << 20;

/// How the control thread gets in to nodes.
#[derive(Clone)]
pub struct Entry {
    /// Time limits and the address map.
    pub settings: Arc<Live>,
    /// As whom it logs in; connections made later use what is there by then.
    pub credentials: Arc<ArcSwap<Credentials>>,
}

impl Entry {
    pub(super) fn handshake(&self) -> Handshake {
        let credentials = self.credentials.load().as_ref().clone();
        Handshake::control(credentials, self.settings.now().backend.connect_timeout)
    }
}

impl Entry {
    /// Asks over the connection that is there, or else over a new one: nodes close idle connections.
    ///
    /// # Errors
    /// The node cannot be dialled, or does not answer.
    pub(super) async fn ask<const N: usize>(
        &self,
        address: &str,
        kept: Option<Conversation>,
        questions: [&[&str]; N],
    ) -> Result<([Bytes; N], Conversation), ConnectError> {
        if let Some(mut kept) = kept
            && let Ok(answers) = kept.ask(questions).await
        {
            return Ok((answers, kept));
        }
        let mut fresh = Conversation::open(address, &self.handshake(), ANSWER_BYTES).await?;
        Ok((fresh.ask(questions).await?, fresh))
    }
}

/// What a node said, and the connection to ask it again.
pub(super) struct Answer {
    pub(super) view: View,
    pub(super) line: Line,
    /// Its reply to `COMMAND`, on a new connection: a node that comes back may run another version.
    pub(super) commands: Option<Bytes>,
}

/// Why a node gave no view.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

/// Asks one node, over the connection that is there or a new one.
pub(super) async fn question(
    address: &str,
    line: Option<Line>,
    entry: &Entry,
) -> Result<Answer, Failure> {
    let settings = Arc::clone(&entry.settings.now());
    if let Some(line) = line {
        match line.ask(&settings).await {
            // Nodes close idle connections. That says nothing about the node; a new one does.
            Err(Failure::Connect(ConnectError { cause: Cause::Io(_) | Cause::Closed, .. })) => {}
            answer => return answer,
        }
    }
    Line::open(address, &entry.handshake()).await?.ask(&settings).await
}

/// A connection to a node, and what that node is asked only once.
pub(super) struct Line {
    conversation: Conversation,
    /// By which name the nodes are to be dialled.
    preferred: Option<Preferred>,
    /// What it runs; absent when it does not tell.
    pub(super) software: Option<Software>,
}

impl Line {
    async fn open(address: &str, handshake: &Handshake) -> Result<Self, ConnectError> {
        let conversation = Conversation::open(address, handshake, ANSWER_BYTES).await?;
        Ok(Self { conversation, preferred: None, software: None })
    }

    async fn ask(mut self, settings: &Settings) -> Result<Answer, Failure> {
        let mut commands = None;
        if self.preferred.is_none() {
            let questions: [&[&str]; 4] = [
                &["CLUSTER", "SLOTS"],
                &["INFO", "server"],
                &["CONFIG", "GET", "cluster-databases"],
                &["COMMAND"],
            ];
            let [slots, server, databases, known] = self.conversation.ask(questions).await?;
            commands = Some(known);
            self.preferred = Preferred::from_slots(&slots);
            self.software =
                Software::from_reply(&server).map(|software| software.with_databases(&databases));
        }
        let questions: [&[&str]; 2] = [&["CLUSTER", "NODES"], &["CLUSTER", "INFO"]];
        let [nodes, info] = self.conversation.ask(questions).await?;
        let dialling = Dialling {
            asked: self.conversation.address(),
            preferred: self.preferred.unwrap_or_default(),
            map: &settings.cluster.address_map,
        };
        let view = View::from_replies(&nodes, &info, &dialling)?;
        Ok(Answer { view, line: self, commands })
    }
}

/// Asks every seed, then dials every node that they name, for `slotway check --connect`. The report has a line for
/// each.
///
/// # Errors
/// Slots are not served, or a primary cannot be dialled. The error's text is the report.
pub async fn try_cluster(settings: &Settings) -> anyhow::Result<String> {
    let credentials = Credentials::load(&settings.cluster)?;
    let handshake = Handshake::control(credentials, settings.backend.connect_timeout);
    let mut report = Vec::new();
    let mut views = Vec::new();
    for seed in &settings.cluster.nodes {
        let said = match introduce(seed, settings, &handshake).await {
            Ok((said, view)) => {
                views.push(view);
                said
            }
            Err(failure) => failure.to_string(),
        };
        report.push(format!("seed {seed}: {said}"));
    }

    let topology = merge_views(&views, &Topology::empty()).unwrap_or_else(Topology::empty);
    let dialled =
        join_all(topology.nodes().map(async |node| (node, dial(&node.address, &handshake).await)))
            .await;
    let mut served = topology.covered() == Slot::COUNT && views.iter().any(|view| view.healthy);
    for (node, outcome) in dialled {
        let is_primary = topology.shards().iter().any(|shard| shard.primary.id == node.id);
        let role = if is_primary { "primary" } else { "other node" };
        match outcome {
            Ok(_) => report.push(format!("{role} {}: reached", node.address)),
            Err(error) => {
                report.push(format!("{role} {error}; {REMEDY}"));
                served &= !is_primary;
            }
        }
    }
    report.push(format!("{} of {} slots have an owner", topology.covered(), Slot::COUNT));
    let report = report.join("\n");
    anyhow::ensure!(served, "{report}");
    Ok(report)
}

/// Why a node that runs may be out of reach.
const REMEDY: &str =
    "if it announces an address that is not valid here, put the right one in cluster.address_map";

/// What a seed says of itself and of the cluster.
async fn introduce(
    seed: &str,
    settings: &Settings,
    handshake: &Handshake,
) -> Result<(String, View), Failure> {
    let mut line = Line::open(seed, handshake).await?;
    let [server] = line.conversation.ask([&["INFO", "server"]]).await?;
    let Answer { view, .. } = line.ask(settings).await?;
    let server = String::from_utf8_lossy(&server);
    let version = Software::name_in(&server).unwrap_or_else(|| "unknown version".to_owned());
    let state = if view.healthy { "ok" } else { "fail" };
    let slots = view.covered();
    Ok((format!("{version}, cluster_state {state}, knows an owner for {slots} slots"), view))
}
