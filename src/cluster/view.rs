//! View: the cluster as one node describes it, read from its own words.
//!
//! The source is `CLUSTER NODES`, together with `CLUSTER INFO`: of the three descriptions that servers give it
//! alone carries the config epochs, without which a stale view cannot be told from a new one, and it has had
//! the same form since 4.0. It does not say by which name clients are meant to reach the nodes; that is
//! learned from `CLUSTER SLOTS` (see [`Preferred`]). The forms are those of the pages of these commands in the
//! Redis and Valkey manuals, checked against 7.0.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{Announced, Health, Slot, words};
use crate::resp::Value;

/// Most nodes that a view may list. A cluster is meant for at most 1000.
const MOST_NODES: usize = 16384;

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Whether the node takes the cluster for working (`cluster_state:ok`). A node that is cut off does not.
    pub healthy: bool,
    /// The highest epoch that it knows.
    pub current_epoch: u64,
    /// The nodes that it knows, itself among them.
    pub nodes: Vec<Seen>,
}

/// One node, as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The name that the cluster gave it.
    pub id: String,
    /// `host:port` to dial, unless the viewer does not know it.
    pub address: Option<Arc<str>>,
    /// The other ways in which the cluster may write its `host:port`.
    pub announced: Vec<String>,
    /// Whether this is the viewer itself.
    pub myself: bool,
    /// Primary, or whose replica.
    pub role: Role,
    /// The viewer's opinion.
    pub health: Health,
    /// Config epoch; a replica's is that of its primary.
    pub epoch: u64,
    /// Slots that it owns.
    pub slots: Vec<RangeInclusive<u16>>,
}

/// What a node is to its shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Copies the node with this id.
    ReplicaOf(String),
    /// Not yet known, or still shaking hands.
    Unknown,
}

/// By which of its names a node wants to be dialled (`cluster-preferred-endpoint-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preferred {
    /// Its IP address.
    #[default]
    Ip,
    /// Its host name.
    Hostname,
    /// The host that was asked, with the node's port.
    HostAsked,
}

/// Why an answer is not a view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// The node answered with an error.
    #[error("{0}")]
    Refused(String),
    /// The answer has the wrong type.
    #[error("the answer is not a text")]
    NotText,
    /// A line lacks a field, or a field cannot be read.
    #[error("line {line} of CLUSTER NODES: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The node does not list itself, so this is not a whole answer.
    #[error("CLUSTER NODES does not list the node asked")]
    NoSelf,
    /// `CLUSTER INFO` lacks a field.
    #[error("CLUSTER INFO has no {0}")]
    NoField(&'static str),
    /// More nodes than any cluster has.
    #[error("CLUSTER NODES lists more than {MOST_NODES} nodes")]
    TooMany,
}

/// How a node's address is found from what is announced.
pub struct Dialling<'a> {
    /// `host:port` of the node asked, as it was dialled.
    pub asked: &'a str,
    /// Which name counts.
    pub preferred: Preferred,
    /// Announced `host:port` to the one that the gateway can reach.
    pub map: &'a BTreeMap<String, String>,
}

impl View {
    /// Reads the replies to `CLUSTER NODES` and `CLUSTER INFO` as they were received.
    ///
    /// # Errors
    /// Whatever is not a whole and sound answer: half a view must never be taken for the cluster.
    pub fn from_replies(
        nodes: &[u8],
        info: &[u8],
        dialling: &Dialling<'_>,
    ) -> Result<Self, TopologyError> {
        Self::parse(text(nodes)?, text(info)?, dialling)
    }

    /// Reads the texts of `CLUSTER NODES` and `CLUSTER INFO`.
    ///
    /// # Errors
    /// As [`View::from_replies`].
    pub fn parse(nodes: &str, info: &str, dialling: &Dialling<'_>) -> Result<Self, TopologyError> {
        let healthy = field(info, "cluster_state")? == "ok";
        let current_epoch = field(info, "cluster_current_epoch")?
            .parse()
            .map_err(|_| TopologyError::NoField("cluster_current_epoch"))?;
        let lines = nodes.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        if lines.clone().count() > MOST_NODES {
            return Err(TopologyError::TooMany);
        }
        let nodes = lines
            .map(|(text, line)| {
                Seen::parse(text, dialling).map_err(|what| TopologyError::Line { line, what })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if nodes.iter().filter(|node| node.myself).count() != 1 {
            return Err(TopologyError::NoSelf);
        }
        Ok(Self { healthy, current_epoch, nodes })
    }

    /// The node that gave this view, as it sees itself.
    pub fn viewer(&self) -> Option<&Seen> {
        self.nodes.iter().find(|node| node.myself)
    }

    /// How many slots somebody owns in this view.
    pub fn covered(&self) -> usize {
        let mut owned = vec![false; Slot::COUNT];
        for range in self.nodes.iter().flat_map(|node| &node.slots) {
            let (first, last) = (usize::from(*range.start()), usize::from(*range.end()));
            owned.get_mut(first..=last).into_iter().flatten().for_each(|slot| *slot = true);
        }
        owned.into_iter().filter(|&slot| slot).count()
    }
}

impl Preferred {
    /// Learns it from the first node in a reply to `CLUSTER SLOTS`, as it was received: a host that is null is to be
    /// taken from the connection, and where the further details give the IP, the host is the name. Servers before 7.0
    /// give no details and mean the IP. None when no slot is assigned yet, or the reply is something else.
    pub fn from_slots(reply: &[u8]) -> Option<Self> {
        let slots = Value::parse(reply).ok()?;
        let first_node = slots.as_array()?.first()?.as_array()?.get(2)?.as_array()?;
        let [host, _port, _id, details @ ..] = first_node else { return Some(Self::Ip) };
        let names_ip = details.first().is_some_and(|details| details.get("ip").is_some());
        Some(match () {
            () if host.is_null() => Self::HostAsked,
            () if names_ip => Self::Hostname,
            () => Self::Ip,
        })
    }
}

impl Seen {
    /// Reads one line: `id ip:port@cport[,hostname[,name=value]..] flags primary ping pong epoch link slot..`.
    fn parse(line: &str, dialling: &Dialling<'_>) -> Result<Self, &'static str> {
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let id = words.next().filter(|id| id.len() <= 64).ok_or("no id")?;
        let place = words.next().ok_or("no address")?;
        let flags = words.next().ok_or("no flags")?;
        let primary = words.next().ok_or("no primary")?;
        let epoch = words.nth(2).and_then(|epoch| epoch.parse().ok()).ok_or("no config epoch")?;
        words.next().ok_or("no link state")?;
        // `[93-<-id]` and `[93->-id]` tell of slots on their way: the owner is still named by the others.
        let slots = words
            .filter(|word| !word.starts_with('['))
            .map(|word| words::slot_range(word).ok_or("not a range of slots"))
            .collect::<Result<Vec<_>, _>>()?;

        let has = |name| flags.split(',').any(|flag| flag == name);
        let (address, announced) = if has("noaddr") {
            (None, Vec::new())
        } else {
            addresses(place, has("myself"), dialling)?
        };
        Ok(Self {
            id: id.to_owned(),
            address,
            announced,
            myself: has("myself"),
            role: match primary {
                _ if has("handshake") => Role::Unknown,
                _ if has("master") => Role::Primary,
                "-" => Role::Unknown,
                id => Role::ReplicaOf(id.to_owned()),
            },
            health: match () {
                () if has("fail") => Health::Failed,
                () if has("fail?") => Health::Suspected,
                () => Health::Online,
            },
            epoch,
            slots,
        })
    }
}

/// The address to dial and every way to write it, from `ip:port@cport[,hostname[,name=value]..]`.
fn addresses(
    place: &str,
    myself: bool,
    dialling: &Dialling<'_>,
) -> Result<(Option<Arc<str>>, Vec<String>), &'static str> {
    let (socket, further) = place.split_once(',').unwrap_or((place, ""));
    let hostname = further.split(',').next().filter(|name| !name.contains('=')).unwrap_or_default();
    let (socket, _bus_port) = socket.split_once('@').unwrap_or((socket, ""));
    let (ip, port) = socket.rsplit_once(':').ok_or("no port")?;
    let port: u16 = port.parse().map_err(|_| "no port")?;

    let by_ip = Announced::new(ip, port);
    let by_name = Announced::new(hostname, port).filter(|place| !place.host_is_empty());
    let by_host_asked = Announced::new("", port);
    let chosen = match dialling.preferred {
        Preferred::HostAsked => by_host_asked,
        Preferred::Hostname => by_name.or(by_ip),
        Preferred::Ip => by_ip.filter(|place| !place.host_is_empty()).or(by_name).or(by_ip),
    };
    // A node that has met nobody yet does not know its own IP; the viewer is where it was asked.
    let chosen = chosen.filter(|place| {
        !place.host_is_empty() || myself || dialling.preferred == Preferred::HostAsked
    });
    let known = [by_ip, by_name].into_iter().flatten().filter(|place| !place.host_is_empty());
    let address = chosen.map(|place| place.dialled(dialling.asked, dialling.map));
    Ok((address, known.map(|place| place.to_string()).collect()))
}

/// The value of `name:value` in the text of `CLUSTER INFO`.
fn field<'a>(info: &'a str, name: &'static str) -> Result<&'a str, TopologyError> {
    words::field(info, name).ok_or(TopologyError::NoField(name))
}

/// A reply that is one text.
fn text(reply: &[u8]) -> Result<&str, TopologyError> {
    let value = Value::parse(reply).map_err(|_| TopologyError::NotText)?;
    match value.as_error() {
        Some(error) => Err(TopologyError::Refused(String::from_utf8_lossy(error).into_owned())),
        None => value.as_str().ok_or(TopologyError::NotText),
    }
}

#[cfg(test)]
mod tests;
