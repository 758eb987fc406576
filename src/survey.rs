//! One look at a whole cluster from outside: its shards, who serves which slots, and how far each node has come. For
//! commands that an operator runs beside the gateway.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::backend::connect::{Cause, ConnectError, Conversation, Credentials, Handshake, Step};
use crate::cluster::{
    self, Dialling, Preferred, Slot, Software, Topology, View, field, merge_views, open_slots,
    text_of,
};
use crate::config::Settings;
use crate::resp::Value;

/// Most bytes in one answer: 16384 ranges of one slot with ten replicas each have half of it.
const ANSWER_BYTES: usize = 64 << 20;
/// A replica that has not caught up with its primary after so long is not in step.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Pause between two looks at replicas.
const LOOK: Duration = Duration::from_millis(50);

/// Whom to ask, and how to get in.
#[derive(Debug)]
pub struct Surveyor {
    settings: Settings,
    handshake: Handshake,
}

/// The cluster, as its nodes described it together.
#[derive(Debug)]
pub struct Survey {
    /// The shards that own slots, in the order of their lowest slots.
    pub shards: Vec<Shard>,
    /// Slots on their way from one primary to another, in the words of `CLUSTER NODES`.
    pub open_slots: Vec<String>,
}

/// One primary that owns slots, and its replicas.
#[derive(Debug)]
pub struct Shard {
    /// Its place, from 1.
    pub number: usize,
    /// What it serves.
    pub slots: Vec<RangeInclusive<u16>>,
    /// Grows with every change of what it serves or who its primary is.
    pub epoch: u64,
    /// Serves the slots.
    pub primary: Node,
    /// Copy the primary.
    pub replicas: Vec<Node>,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// The name that the cluster gave it.
    pub id: String,
    /// `host:port` to dial.
    pub address: Arc<str>,
    /// What it says of itself, or why it does not.
    pub state: Result<State, String>,
}

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Such as `Redis 7.0.15`.
    pub software: String,
    /// Whether it takes writes.
    pub is_primary: bool,
    /// Whether it hears its primary; false for a primary.
    pub is_linked: bool,
    /// Whether it takes the cluster for working, without which it serves nobody.
    pub is_serving: bool,
    /// How far it has come in the stream of writes.
    pub offset: u64,
    /// Its own open slots.
    open_slots: Vec<String>,
}

impl Surveyor {
    /// Nodes, login and certificates as the settings say.
    ///
    /// # Errors
    /// A file that the settings name is of no use.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        let credentials = Credentials::load(&settings.cluster)?;
        let handshake = Handshake::control(credentials, settings.backend.connect_timeout);
        Ok(Self { settings, handshake })
    }

    /// How it gets in to nodes.
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// Asks the nodes of the settings who there is, and then all of them.
    ///
    /// # Errors
    /// None of the nodes that the settings name describes a cluster in which every slot has an owner.
    pub async fn look(&self) -> anyhow::Result<Survey> {
        let seeds = &self.settings.cluster.nodes;
        let asked = join_all(seeds.iter().map(async |seed| {
            self.view(seed).await.with_context(|| format!("{seed} does not describe the cluster"))
        }));
        let (mut views, mut why) = (Vec::new(), Vec::new());
        for answer in asked.await {
            match answer {
                Ok(view) => views.push(view),
                Err(error) => why.push(format!("{error:#}")),
            }
        }
        let Some(topology) = merge_views(&views, &Topology::empty()) else {
            bail!("no node can be asked: {}", why.join("; "));
        };
        if topology.covered() < Slot::COUNT {
            bail!("only {} of {} slots have an owner", topology.covered(), Slot::COUNT);
        }
        let shards = topology.numbered_shards().map(async |(index, shard)| {
            let slots: Vec<Slot> =
                Slot::all().filter(|&slot| topology.shard_of(slot) == Some(index)).collect();
            Shard {
                number: index.index() + 1,
                slots: ranges(&slots),
                epoch: shard.epoch,
                primary: self.node(&shard.primary).await,
                replicas: join_all(shard.replicas.iter().map(|node| self.node(node))).await,
            }
        });
        let shards = join_all(shards).await;
        let states = shards.iter().filter_map(|shard| shard.primary.state.as_ref().ok());
        let open_slots = states.flat_map(|state| state.open_slots.iter().cloned()).collect();
        Ok(Survey { shards, open_slots })
    }

    /// A replica that has everything the primary had when it was looked at.
    ///
    /// # Errors
    /// Why there is none, replica by replica.
    pub async fn replica_in_step<'a>(&self, shard: &'a Shard) -> Result<&'a Node, String> {
        let primary = &shard.primary;
        let wanted = match &primary.state {
            Ok(state) => state.offset,
            Err(why) => {
                return Err(format!("the primary {} cannot be asked: {why}", primary.address));
            }
        };
        if shard.replicas.is_empty() {
            return Err(format!("the primary {} has no replica", primary.address));
        }
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let states = join_all(shard.replicas.iter().map(|node| self.state(&node.address)));
            let mut behind = Vec::new();
            for (node, state) in shard.replicas.iter().zip(states.await) {
                match state {
                    Ok(state) if state.is_linked && state.offset >= wanted => return Ok(node),
                    Ok(state) => behind.push(state.shortfall(&node.address, wanted)),
                    Err(error) => behind.push(error.to_string()),
                }
            }
            if Instant::now() >= deadline {
                return Err(format!("no replica is in step: {}", behind.join("; ")));
            }
            sleep(LOOK).await;
        }
    }

    /// What one node says of itself now.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn state(&self, address: &str) -> Result<State, ConnectError> {
        let mut talk = Conversation::open(address, &self.handshake, ANSWER_BYTES).await?;
        let questions: [&[&str]; 4] = [
            &["INFO", "replication"],
            &["INFO", "server"],
            &["CLUSTER", "NODES"],
            &["CLUSTER", "INFO"],
        ];
        let replies = talk.ask(questions).await?;
        let refused = replies.iter().find_map(|reply| error_of(reply));
        if let Some(why) = refused {
            let (step, cause) = (Step::Ask, Cause::Refused(why));
            return Err(ConnectError { address: address.to_owned(), step, cause });
        }
        Ok(State::read(
            replies.each_ref().map(|reply| text_of(reply)).each_ref().map(String::as_str),
        ))
    }

    async fn node(&self, node: &cluster::Node) -> Node {
        let state = self.state(&node.address).await.map_err(|error| error.to_string());
        Node { id: node.id.clone(), address: node.address.clone(), state }
    }

    async fn view(&self, seed: &str) -> anyhow::Result<View> {
        let mut talk = Conversation::open(seed, &self.handshake, ANSWER_BYTES).await?;
        let questions: [&[&str]; 3] =
            [&["CLUSTER", "SLOTS"], &["CLUSTER", "NODES"], &["CLUSTER", "INFO"]];
        let [slots, nodes, info] = talk.ask(questions).await?;
        let dialling = Dialling {
            asked: seed,
            preferred: Preferred::from_slots(&slots).unwrap_or_default(),
            map: &self.settings.cluster.address_map,
        };
        Ok(View::from_replies(&nodes, &info, &dialling)?)
    }
}

impl Survey {
    /// The shard of this number, or whose primary has this address or id.
    pub fn shard(&self, name: &str) -> Option<&Shard> {
        self.shards.iter().find(|shard| {
            shard.number.to_string() == name
                || &*shard.primary.address == name
                || shard.primary.id == name
        })
    }

    /// Whether every slot is where it was, served by the same primaries, and nothing was decided in between.
    pub fn is_as(&self, before: &Self) -> bool {
        let facts = |survey: &Self| -> Vec<_> {
            let shards = survey.shards.iter();
            shards.map(|one| (one.primary.id.clone(), one.epoch, one.slots.clone())).collect()
        };
        facts(self) == facts(before)
    }
}

impl Shard {
    /// Its nodes, the primary first.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }

    /// Its slots as `CLUSTER NODES` writes them, such as `0-5460 9000`.
    pub fn slot_list(&self) -> Vec<String> {
        self.slots.iter().map(range_text).collect()
    }
}

impl State {
    /// From the answers to `INFO replication`, `INFO server`, `CLUSTER NODES` and `CLUSTER INFO`.
    fn read([replication, server, nodes, cluster]: [&str; 4]) -> Self {
        let is_primary = field(replication, "role") == Some("master");
        let offset = if is_primary { "master_repl_offset" } else { "slave_repl_offset" };
        Self {
            software: Software::name_in(server).unwrap_or_else(|| "unknown".to_owned()),
            is_primary,
            is_linked: field(replication, "master_link_status") == Some("up"),
            is_serving: field(cluster, "cluster_state") == Some("ok"),
            offset: field(replication, offset).and_then(|text| text.parse().ok()).unwrap_or(0),
            open_slots: open_slots(nodes).map(str::to_owned).collect(),
        }
    }

    /// What a replica that is not in step lacks.
    fn shortfall(&self, address: &str, wanted: u64) -> String {
        match self.is_linked {
            false => format!("{address} is not connected to its primary"),
            true => format!("{address} is {} bytes behind", wanted.saturating_sub(self.offset)),
        }
    }
}

/// A range of slots as `CLUSTER NODES` writes it.
pub fn range_text(range: &RangeInclusive<u16>) -> String {
    let mut text = range.start().to_string();
    if range.end() > range.start() {
        // Writing to a string does not fail.
        let _ = write!(text, "-{}", range.end());
    }
    text
}

fn error_of(reply: &[u8]) -> Option<String> {
    let value = Value::parse(reply).ok()?;
    value.as_error().map(|error| String::from_utf8_lossy(error).into_owned())
}

fn ranges(slots: &[Slot]) -> Vec<RangeInclusive<u16>> {
    let numbers = slots.iter().filter_map(|slot| u16::try_from(slot.index()).ok());
    let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if *last.end() + 1 == number => *last = *last.start()..=number,
            _ => ranges.push(number..=number),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_become_ranges() {
        let slots: Vec<Slot> =
            [0, 1, 2, 7, 16382, 16383].into_iter().filter_map(Slot::new).collect();
        let texts: Vec<String> = ranges(&slots).iter().map(range_text).collect();
        assert_eq!(texts, ["0-2", "7", "16382-16383"]);
    }

    #[test]
    fn a_node_describes_itself() {
        let primary = State::read([
            "# Replication\r\nrole:master\r\nmaster_repl_offset:70\r\n",
            "redis_version:7.0.15\r\n",
            "b 1:1@2 myself,master - 0 0 1 connected 0-3 [3->-a]\n",
            "cluster_state:ok\r\n",
        ]);
        assert_eq!(primary.software, "Redis 7.0.15");
        assert!(primary.is_primary && primary.is_serving && !primary.is_linked);
        assert_eq!((primary.offset, primary.open_slots), (70, vec!["[3->-a]".to_owned()]));
        let replica = State::read([
            "role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:60\r\nmaster_repl_offset:60\r\n",
            "redis_version:7.2.4\r\nvalkey_version:8.0.1\r\n",
            "",
            "cluster_state:fail\r\n",
        ]);
        assert_eq!(replica.software, "Valkey 8.0.1");
        assert!(!replica.is_primary && !replica.is_serving && replica.is_linked);
        assert_eq!(replica.shortfall("a:1", 70), "a:1 is 10 bytes behind");
    }
}
