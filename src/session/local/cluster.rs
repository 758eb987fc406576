//! CLUSTER, from a gateway that shows itself as a cluster (`listen.present = "cluster"`): one node that owns
//! every slot, or the gateways of `listen.peers`, each with an equal share of them.
//!
//! Any gateway serves any slot, so the shares only spread the clients. Where a key really stands is nobody's
//! business: the nodes behind the gateway never appear.

use std::fmt::Write;
use std::ops::RangeInclusive;

use crate::cluster::Slot;
use crate::command::CommandSpec;
use crate::resp::{Protocol, Request, number, write};

use super::super::conversation::{Conversation, Flow};
use super::super::family::family;
use super::super::socket::Address;
use super::error::{Refused, shown};

/// Answers `CLUSTER subcommand`.
pub(super) fn answer(
    conversation: &Conversation,
    subcommand: &str,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Result<Flow, Refused> {
    let (family, protocol) = (family(spec), conversation.protocol);
    let argument = request.arg(2).unwrap_or_default();
    let cast = Cast::of(conversation);
    Ok(match subcommand {
        "SLOTS" => conversation.answer(family, |out| cast.slots(protocol, out)),
        "SHARDS" => conversation.answer(family, |out| cast.shards(protocol, out)),
        "NODES" => {
            conversation.answer(family, |out| write::verbatim(out, protocol, "txt", cast.lines()))
        }
        "INFO" => {
            let text = cast.info(conversation.worker.pool.topology().covered());
            conversation.answer(family, |out| write::verbatim(out, protocol, "txt", text))
        }
        "MYID" => conversation.answer(family, |out| write::bulk(out, &cast.own().id)),
        "MYSHARDID" => {
            let shard = name_of(&format!("shard {}", cast.own().address()));
            conversation.answer(family, |out| write::bulk(out, shard))
        }
        // Gateways do not speak with each other.
        "LINKS" => conversation.answer(family, |out| write::array(out, 0)),
        "REPLICAS" | "SLAVES" => {
            cast.find(argument)?;
            conversation.answer(family, |out| write::array(out, 0))
        }
        "COUNT-FAILURE-REPORTS" => {
            cast.find(argument)?;
            conversation.answer(family, |out| write::integer(out, 0))
        }
        "COUNTKEYSINSLOT" | "GETKEYSINSLOT" => {
            // A number that is none is for any node to judge.
            let slot = number::integer(argument).and_then(|number| u16::try_from(number).ok());
            conversation.pass_on(spec, request, slot.and_then(Slot::new))
        }
        // The one that a gateway answers also when it shows itself as a single server.
        "KEYSLOT" => {
            let slot = Slot::of(argument).index() as i64;
            conversation.answer(family, |out| write::integer(out, slot))
        }
        "HELP" => conversation.pass_on(spec, request, None),
        _ => return Err(Refused::unsupported(spec)),
    })
}

/// One gateway as the presented cluster's node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    id: String,
    host: String,
    port: u16,
    slots: RangeInclusive<u16>,
}

/// The presented cluster: never empty.
#[derive(Debug)]
struct Cast {
    members: Vec<Member>,
    /// The one that answers.
    own: Member,
}

impl Cast {
    fn of(conversation: &Conversation) -> Self {
        let settings = conversation.worker.gateway.settings();
        let listen = &settings.listen;
        let own = match (&listen.announce, &conversation.client.ends.local) {
            (Some(announced), _) => announced.clone(),
            (None, local @ Address::Ip(_)) => local.to_string(),
            // A path is no address of a cluster's node.
            (None, Address::Unix(_)) => listen.address.to_string(),
        };
        Self::new(&own, &listen.peers)
    }

    fn new(own: &str, peers: &[String]) -> Self {
        let addresses: Vec<&str> =
            if peers.is_empty() { vec![own] } else { peers.iter().map(String::as_str).collect() };
        let count = addresses.len();
        let member = |(place, address): (usize, &str)| {
            let first = Slot::COUNT * place / count;
            let last = (Slot::COUNT * (place + 1) / count).saturating_sub(1);
            Member::new(address, first as u16..=last as u16)
        };
        let members: Vec<Member> =
            addresses.iter().enumerate().map(|(place, address)| member((place, address))).collect();
        let alone = || Member::new(own, 0..=(Slot::COUNT - 1) as u16);
        let known = members.iter().find(|member| member.address() == own).cloned();
        Self { own: known.unwrap_or_else(alone), members }
    }

    fn own(&self) -> &Member {
        &self.own
    }

    fn find(&self, id: &[u8]) -> Result<&Member, Refused> {
        let found = self.members.iter().find(|member| member.id.as_bytes() == id);
        found.ok_or_else(|| Refused::Node(shown(id)))
    }

    fn slots(&self, protocol: Protocol, out: &mut Vec<u8>) {
        write::array(out, self.members.len());
        for Member { id, host, port, slots } in &self.members {
            write::array(out, 3);
            write::integer(out, i64::from(*slots.start()));
            write::integer(out, i64::from(*slots.end()));
            write::array(out, 4);
            write::bulk(out, host);
            write::integer(out, i64::from(*port));
            write::bulk(out, id);
            write::map(out, protocol, 0);
        }
    }

    fn shards(&self, protocol: Protocol, out: &mut Vec<u8>) {
        write::array(out, self.members.len());
        for Member { id, host, port, slots } in &self.members {
            write::map(out, protocol, 2);
            write::bulk(out, "slots");
            write::array(out, 2);
            write::integer(out, i64::from(*slots.start()));
            write::integer(out, i64::from(*slots.end()));
            write::bulk(out, "nodes");
            write::array(out, 1);
            write::map(out, protocol, 7);
            write::bulk(out, "id");
            write::bulk(out, id);
            write::bulk(out, "port");
            write::integer(out, i64::from(*port));
            for (name, value) in [("ip", &**host), ("endpoint", host), ("role", "master")] {
                write::bulk(out, name);
                write::bulk(out, value);
            }
            write::bulk(out, "replication-offset");
            write::integer(out, 0);
            write::bulk(out, "health");
            write::bulk(out, "online");
        }
    }

    /// One line for each gateway. None has a cluster bus: its port is 0.
    fn lines(&self) -> String {
        let mut text = String::new();
        for (member, epoch) in self.members.iter().zip(1..) {
            let Member { id, host, port, slots } = member;
            let flags = if *member == self.own { "myself,master" } else { "master" };
            let (first, last) = (slots.start(), slots.end());
            // Writing to a string does not fail.
            let _ = write!(text, "{id} {host}:{port}@0 {flags} - 0 0 {epoch} connected {first}");
            let _ = if first == last { writeln!(text) } else { writeln!(text, "-{last}") };
        }
        text
    }

    fn info(&self, covered: usize) -> String {
        let state = if covered == Slot::COUNT { "ok" } else { "fail" };
        let (all, failed, nodes) = (Slot::COUNT, Slot::COUNT - covered, self.members.len());
        let epoch = self.members.iter().position(|member| *member == self.own).unwrap_or(0) + 1;
        [
            ("state", state.to_owned()),
            ("slots_assigned", all.to_string()),
            ("slots_ok", covered.to_string()),
            ("slots_pfail", "0".to_owned()),
            ("slots_fail", failed.to_string()),
            ("known_nodes", nodes.to_string()),
            ("size", nodes.to_string()),
            ("current_epoch", nodes.to_string()),
            ("my_epoch", epoch.to_string()),
            ("stats_messages_sent", "0".to_owned()),
            ("stats_messages_received", "0".to_owned()),
        ]
        .iter()
        .map(|(name, value)| format!("cluster_{name}:{value}\r\n"))
        .chain(["total_cluster_links_buffer_limit_exceeded:0\r\n".to_owned()])
        .collect()
    }
}

impl Member {
    fn new(address: &str, slots: RangeInclusive<u16>) -> Self {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let bare = host.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(host);
        Self {
            id: name_of(address),
            host: bare.to_owned(),
            port: port.parse().unwrap_or_default(),
            slots,
        }
    }

    fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// 40 hexadecimal digits, as a node's name has. The same for the same address on every gateway and after every
/// start, so that all of them describe one cluster.
fn name_of(address: &str) -> String {
    /// Offset and prime of the 32-bit FNV-1a hash.
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let hash = |round: u32| {
        address
            .bytes()
            .fold(OFFSET ^ round, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME))
    };
    (0..5).map(|round| format!("{:08x}", hash(round))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> Vec<String> {
        ["10.0.0.1:6379", "gate.example:6380", "[fd00::1]:6379"].map(str::to_owned).to_vec()
    }

    #[test]
    fn one_gateway_owns_every_slot() {
        let cast = Cast::new("127.0.0.1:6379", &[]);
        let id = name_of("127.0.0.1:6379");
        assert_eq!(
            cast.lines(),
            format!("{id} 127.0.0.1:6379@0 myself,master - 0 0 1 connected 0-16383\n")
        );
        assert_eq!(id.len(), 40);
        let mut out = Vec::new();
        cast.slots(Protocol::Resp2, &mut out);
        let expected = format!(
            "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:6379\r\n$40\r\n{id}\r\n*0\r\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn several_share_the_slots() {
        let cast = Cast::new("gate.example:6380", &peers());
        let shares: Vec<_> = cast.members.iter().map(|member| member.slots.clone()).collect();
        assert_eq!(shares, [0..=5460, 5461..=10921, 10922..=16383]);
        assert_eq!(cast.own, cast.members[1]);
        let lines = cast.lines();
        let lines: Vec<&str> = lines.lines().collect();
        assert!(
            lines[1].ends_with(" gate.example:6380@0 myself,master - 0 0 2 connected 5461-10921")
        );
        assert!(lines[2].contains(" fd00::1:6379@0 master - "));
        assert!(cast.info(16_384).starts_with("cluster_state:ok\r\n"));
        assert!(cast.info(16_383).contains("cluster_slots_fail:1\r\n"));
    }

    #[test]
    fn all_gateways_describe_one_cluster() {
        let casts: Vec<Cast> = peers().iter().map(|own| Cast::new(own, &peers())).collect();
        assert!(casts.iter().all(|cast| cast.members == casts[0].members));
        let ids: std::collections::HashSet<&String> =
            casts.iter().map(|cast| &cast.own().id).collect();
        assert_eq!(ids.len(), 3);
        assert!(casts[0].find(casts[1].own().id.as_bytes()).is_ok());
        assert_eq!(casts[0].find(b"x").unwrap_err(), Refused::Node("x".to_owned()));
    }
}
