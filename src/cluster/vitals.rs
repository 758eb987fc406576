//! Vitals: what a node says of its memory, its work and its slots, for people who watch it.

use super::Progress;
use super::words::{field, given_away, text_of};

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
        let (memory, stats, nodes) = (text_of(memory), text_of(stats), text_of(nodes));
        Self {
            memory: number(&memory, "used_memory"),
            memory_limit: number(&memory, "maxmemory"),
            operations: number(&stats, "instantaneous_ops_per_sec"),
            evicted: number(&stats, "evicted_keys"),
            progress: Progress::from_reply(replication),
            moving: given_away(&nodes).collect(),
        }
    }
}

fn number(info: &str, name: &str) -> u64 {
    field(info, name).and_then(|value| value.parse().ok()).unwrap_or(0)
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
}
