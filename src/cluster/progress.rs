//! Progress: how far a node is in the history of its shard's writes.

use super::words;
use crate::resp::Value;

/// How many bytes of which history a node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    history: String,
    offset: u64,
    is_primary: bool,
}

impl Progress {
    /// Reads the reply to `INFO replication`. Nothing is known of a replica that has lost its primary.
    pub fn from_reply(reply: &[u8]) -> Option<Self> {
        let value = Value::parse(reply).ok()?;
        let info = value.as_str()?;
        let is_primary = field(info, "role")? == "master";
        let offset = match () {
            () if is_primary => field(info, "master_repl_offset")?,
            () if field(info, "master_link_status")? == "up" => field(info, "slave_repl_offset")?,
            () => return None,
        };
        let history = field(info, "master_replid")?.to_owned();
        Some(Self { history, offset: offset.parse().ok()?, is_primary })
    }

    /// Whether this replica has everything that the primary had then.
    pub fn has_all_of(&self, primary: &Self) -> bool {
        self.behind(primary) == Some(0)
    }

    /// How many bytes of what the primary had then this replica lacks; `None` when they do not share a history.
    pub fn behind(&self, primary: &Self) -> Option<u64> {
        let is_shared = primary.is_primary && self.history == primary.history;
        is_shared.then(|| primary.offset.saturating_sub(self.offset))
    }
}

/// The zone that a node says it is in, in its reply to `INFO server`. Valkey does.
pub fn zone_of(reply: &[u8]) -> Option<String> {
    let value = Value::parse(reply).ok()?;
    field(value.as_str()?, "availability_zone").map(str::to_owned)
}

/// The value of a field; none when it is empty.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    words::field(info, name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(text: &str) -> Option<Progress> {
        let text = text.replace(' ', "\r\n");
        Progress::from_reply(format!("${}\r\n{text}\r\n", text.len()).as_bytes())
    }

    fn primary(history: &str, offset: u64) -> Progress {
        let text = format!(
            "role:master master_replid:{history} master_replid2:old master_repl_offset:{offset}"
        );
        progress(&text).unwrap()
    }

    fn replica(history: &str, offset: u64, link: &str) -> Option<Progress> {
        progress(&format!(
            "role:slave master_link_status:{link} slave_read_repl_offset:999 \
             slave_repl_offset:{offset} master_replid:{history} master_repl_offset:999"
        ))
    }

    #[test]
    fn a_replica_has_what_it_has_applied_of_the_same_history() {
        let table = [("h", 7, true), ("h", 8, true), ("h", 6, false), ("other", 8, false)];
        for (history, offset, has) in table {
            let replica = replica(history, offset, "up").unwrap();
            assert_eq!(replica.has_all_of(&primary("h", 7)), has, "{history} {offset}");
        }
        assert_eq!(replica("h", 2, "up").unwrap().behind(&primary("h", 7)), Some(5));
        let former = replica("h", 1, "up").unwrap();
        assert!(!replica("h", 8, "up").unwrap().has_all_of(&former), "it was no primary then");
    }

    #[test]
    fn what_is_not_known_is_nothing() {
        assert_eq!(replica("h", 7, "down"), None);
        assert_eq!(progress("role:master"), None);
        assert_eq!(progress(""), None);
        assert_eq!(Progress::from_reply(b"-NOPERM no permission\r\n"), None);
    }

    #[test]
    fn zones() {
        let table = [
            ("valkey_version:8.1.0 availability_zone:eu-1a", Some("eu-1a")),
            ("availability_zone:", None),
            ("redis_version:7.0.15", None),
        ];
        for (text, expected) in table {
            let text = text.replace(' ', "\r\n");
            let reply = format!("${}\r\n{text}\r\n", text.len());
            assert_eq!(zone_of(reply.as_bytes()).as_deref(), expected);
        }
    }
}
