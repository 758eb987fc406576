//! What every node says of itself and of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::backend::connect::{ConnectError, Conversation, Credentials, Handshake};
use crate::cluster::{Dialling, Preferred, Role, Seen, View, open_slots, text_of};
use crate::config::Settings;
use crate::resp::Value;

/// Most bytes in one answer.
const ANSWER_BYTES: usize = 64 << 20;
/// Round trips measured to each node; the quickest counts, since the others show what else the machine does.
const PINGS: usize = 5;

/// What is known of a cluster.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The nodes that answered.
    pub(super) nodes: Vec<Node>,
    /// Nodes that some other node knows and that cannot be asked, with the reason.
    pub(super) unreachable: Vec<Unreachable>,
}

/// A node that answers.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// As it was dialled.
    pub(super) address: String,
    /// The cluster as it sees it; absent when it is not a node of one.
    pub(super) view: Option<View>,
    /// Slots that it is giving away or taking over: the words of `CLUSTER NODES`, such as `[7->-id]`.
    pub(super) open_slots: Vec<String>,
    /// `INFO everything`.
    pub(super) info: BTreeMap<String, String>,
    /// `CONFIG GET *`; empty where that is not allowed.
    pub(super) config: BTreeMap<String, String>,
    /// `ACL LIST`; empty where that is not allowed.
    pub(super) users: Vec<String>,
    /// Microseconds that the slowest entry of its slow log took.
    pub(super) slowest: Option<u64>,
    /// The quickest round trip.
    pub(super) round_trip: Duration,
    /// Seconds for which its certificate is still valid; absent when it speaks plain.
    pub(super) certificate_left: Option<i64>,
}

/// A node that does not answer.
#[derive(Debug)]
pub(super) struct Unreachable {
    pub(super) address: String,
    pub(super) why: String,
    /// Whether somebody takes it for a primary with slots.
    pub(super) serves: bool,
}

impl Facts {
    /// Asks the nodes of the settings, and all that they know.
    ///
    /// # Errors
    /// None of them answers.
    pub(super) async fn gather(
        settings: &Settings,
        credentials: &Arc<ArcSwap<Credentials>>,
    ) -> anyhow::Result<Self> {
        let handshake = Handshake::control(
            credentials.load().as_ref().clone(),
            settings.backend.connect_timeout,
        );
        let mut facts = Self::default();
        let mut asked = BTreeSet::new();
        let mut next: BTreeSet<String> = settings.cluster.nodes.iter().cloned().collect();
        while !next.is_empty() {
            asked.extend(next.iter().cloned());
            let answers =
                join_all(next.iter().map(|address| Node::ask(address, settings, &handshake))).await;
            for (address, answer) in next.iter().zip(answers) {
                match answer {
                    Ok(node) => facts.nodes.push(node),
                    Err(error) => facts.unreachable.push(Unreachable {
                        address: address.clone(),
                        why: error.to_string(),
                        serves: facts.serves(address),
                    }),
                }
            }
            next = facts.known().filter(|address| !asked.contains(address)).collect();
        }
        if facts.nodes.is_empty() {
            let whys: Vec<_> = facts.unreachable.iter().map(|node| node.why.as_str()).collect();
            bail!("no node can be asked: {}", whys.join("; "));
        }
        facts.forget_aliases();
        Ok(facts)
    }

    /// Every node as every other one sees it.
    pub(super) fn seen(&self) -> impl Iterator<Item = (&Node, &Seen)> {
        let views = self.nodes.iter().filter_map(|node| Some((node, node.view.as_ref()?)));
        views.flat_map(|(node, view)| view.nodes.iter().map(move |seen| (node, seen)))
    }

    /// Nodes that call themselves primaries and own slots.
    pub(super) fn primaries(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| {
            node.own().is_some_and(|own| own.role == Role::Primary && !own.slots.is_empty())
        })
    }

    fn known(&self) -> impl Iterator<Item = String> {
        self.seen().filter_map(|(_, seen)| seen.address.as_ref()).map(|address| address.to_string())
    }

    fn serves(&self, address: &str) -> bool {
        self.seen().any(|(_, seen)| {
            seen.address.as_deref() == Some(address)
                && seen.role == Role::Primary
                && !seen.slots.is_empty()
        })
    }

    /// A node that was asked by two names is one node.
    fn forget_aliases(&mut self) {
        let mut met = BTreeSet::new();
        self.nodes.retain(|node| node.own().is_none_or(|own| met.insert(own.id.clone())));
    }
}

impl Node {
    async fn ask(
        address: &str,
        settings: &Settings,
        handshake: &Handshake,
    ) -> Result<Self, ConnectError> {
        let mut talk = Conversation::open(address, handshake, ANSWER_BYTES).await?;
        let questions: [&[&str]; 4] = [
            &["CLUSTER", "SLOTS"],
            &["CLUSTER", "NODES"],
            &["CLUSTER", "INFO"],
            &["INFO", "everything"],
        ];
        let [slots, nodes, cluster, info] = talk.ask(questions).await?;
        let questions: [&[&str]; 3] =
            [&["CONFIG", "GET", "*"], &["ACL", "LIST"], &["SLOWLOG", "GET", "128"]];
        let [config, users, slow] = talk.ask(questions).await?;
        let dialling = Dialling {
            asked: address,
            preferred: Preferred::from_slots(&slots).unwrap_or_default(),
            map: &settings.cluster.address_map,
        };
        let mut node = Self {
            address: address.to_owned(),
            view: View::from_replies(&nodes, &cluster, &dialling).ok(),
            open_slots: open_slots(&text_of(&nodes)).map(str::to_owned).collect(),
            info: fields(&text_of(&info)),
            config: pairs(&config),
            users: lines(&users),
            slowest: slowest(&slow),
            round_trip: Duration::MAX,
            certificate_left: talk.certificate_end().map(|end| end.saturating_sub(now())),
        };
        for _ in 0..PINGS {
            let sent = Instant::now();
            let questions: [&[&str]; 1] = [&["PING"]];
            talk.ask(questions).await?;
            node.round_trip = node.round_trip.min(sent.elapsed());
        }
        Ok(node)
    }

    /// The node as it sees itself.
    pub(super) fn own(&self) -> Option<&Seen> {
        self.view.as_ref()?.viewer()
    }

    /// A field of INFO; empty when there is none.
    pub(super) fn info(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }

    /// A number of INFO; 0 when there is none.
    pub(super) fn count(&self, name: &str) -> u64 {
        self.info(name).parse().unwrap_or(0)
    }

    /// A setting; empty when it is not known.
    pub(super) fn setting(&self, name: &str) -> &str {
        self.config.get(name).map_or("", String::as_str)
    }

    /// Whether it takes writes.
    pub(super) fn is_primary(&self) -> bool {
        self.info("role") == "master"
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// `name:value` lines.
fn fields(info: &str) -> BTreeMap<String, String> {
    let pairs = info.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn pairs(reply: &[u8]) -> BTreeMap<String, String> {
    let Ok(value) = Value::parse(reply) else { return BTreeMap::new() };
    let pairs = value.pairs().filter_map(|(name, value)| Some((name.as_str()?, value.as_str()?)));
    pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect()
}

fn lines(reply: &[u8]) -> Vec<String> {
    let Ok(value) = Value::parse(reply) else { return Vec::new() };
    let lines = value.as_array().unwrap_or_default().iter().filter_map(Value::as_str);
    lines.map(str::to_owned).collect()
}

fn slowest(reply: &[u8]) -> Option<u64> {
    let value = Value::parse(reply).ok()?;
    let entries = value.as_array()?.iter();
    let times = entries.filter_map(|entry| entry.as_array()?.get(2)?.as_integer());
    times.max().and_then(|micros| u64::try_from(micros).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        assert_eq!(fields("# Server\r\na:1\r\nb:c:d\r\n")["b"], "c:d");
        assert_eq!(pairs(b"*2\r\n$4\r\nSave\r\n$2\r\n60\r\n")["save"], "60");
        assert_eq!(pairs(b"-NOPERM no\r\n"), BTreeMap::new());
        assert_eq!(lines(b"*1\r\n$7\r\nuser me\r\n"), ["user me"]);
        let slow = b"*2\r\n*4\r\n:1\r\n:0\r\n:50\r\n*0\r\n*4\r\n:0\r\n:0\r\n:7\r\n*0\r\n";
        assert_eq!(slowest(slow), Some(50));
        assert_eq!(slowest(b"*0\r\n"), None);
    }
}
