//! Vitals: what a node says of its memory, its work and its slots, for people who watch it.

use super::{Progress, Slot};
use crate::resp::Value;

/// How a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Bytes that its data takes up.
    pub memory: u64,
    /// Bytes that it may take up (`maxmemory`); 0 means any.
    pub memory_limit: u64,
    /// Commands a second, as the node counts them.
    pub operations: u64,
    /// Keys that it has dropped for lack of memory since it started.
    pub evicted: u64,
    /// How far it is in the history of its shard; `None` for a replica that has lost its primary.
    pub progress: Option<Progress>,
    /// Slots that it is giving away, each with the id of the node that gets it.
    pub moving: Vec<(u16, String)>,
}

impl Vitals {
    /// Reads the replies to `INFO memory`, `INFO stats`, `INFO replication` and `CLUSTER NODES`, as they were
    /// received. What a node does not tell is 0.
    pub fn from_replies(memory: &[u8], stats: &[u8], replication: &[u8], nodes: &[u8]) -> Self {
        let (memory, stats, nodes) = (text(memory), text(stats), text(nodes));
        Self {
            memory: number(&memory, "used_memory"),
            memory_limit: number(&memory, "maxmemory"),
            operations: number(&stats, "instantaneous_ops_per_sec"),
            evicted: number(&stats, "evicted_keys"),
            progress: Progress::from_reply(replication),
            moving: open_slots(&nodes).filter_map(given_away).collect(),
        }
    }
}

/// The slots that a node is giving away or taking over, as its own line of `CLUSTER NODES` has them: `[93->-id]`,
/// `[93-<-id]`.
pub fn open_slots(nodes: &str) -> impl Iterator<Item = &str> {
    let is_own = |line: &&str| {
        let flags = line.split(' ').nth(2).unwrap_or_default();
        flags.split(',').any(|flag| flag == "myself")
    };
    let own = nodes.lines().find(is_own).into_iter();
    own.flat_map(|line| line.split(' ')).filter(|word| word.starts_with('['))
}

fn given_away(word: &str) -> Option<(u16, String)> {
    let (slot, id) = word.strip_prefix('[')?.strip_suffix(']')?.split_once("->-")?;
    let slot = slot.parse().ok().filter(|&slot| Slot::new(slot).is_some())?;
    Some((slot, id.to_owned()))
}

fn text(reply: &[u8]) -> String {
    let value = Value::parse(reply).ok().and_then(|value| value.as_str().map(str::to_owned));
    value.unwrap_or_default()
}

fn number(info: &str, name: &str) -> u64 {
    let fields = info.lines().filter_map(|line| line.split_once(':'));
    let mut found = fields.filter(|(key, _)| *key == name);
    found.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Vec<u8> {
        format!("${}\r\n{text}\r\n", text.len()).into_bytes()
    }

    const NODES: &str = "b 10.0.0.2:1@2,name master - 0 0 2 connected 5 [8->-c]\n\
                         a 10.0.0.1:1@2 myself,master - 0 0 1 connected 0-3 [3->-b] [5-<-b] [99999->-b] [x\n";

    #[test]
    fn a_node_is_read() {
        let found = Vitals::from_replies(
            &reply("# Memory\r\nused_memory:1000\r\nused_memory_rss:9\r\nmaxmemory:4000\r\n"),
            &reply("instantaneous_ops_per_sec:7\r\nevicted_keys:2\r\n"),
            &reply("role:master\r\nmaster_replid:h\r\nmaster_repl_offset:5\r\n"),
            &reply(NODES),
        );
        assert!(found.progress.is_some());
        let expected = Vitals {
            memory: 1000,
            memory_limit: 4000,
            operations: 7,
            evicted: 2,
            progress: found.progress.clone(),
            moving: vec![(3, "b".to_owned())],
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_a_node_does_not_tell_is_nothing() {
        let silent = b"-NOPERM no permission\r\n";
        assert_eq!(Vitals::from_replies(silent, silent, silent, silent), Vitals::default());
    }

    #[test]
    fn only_a_node_s_own_line_tells_of_open_slots() {
        let words: Vec<&str> = open_slots(NODES).collect();
        assert_eq!(words, ["[3->-b]", "[5-<-b]", "[99999->-b]", "[x"]);
    }
}
