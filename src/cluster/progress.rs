//! Progress: how far a node is in the history of its shard's writes.

use std::collections::VecDeque;

use super::words;
use crate::resp::Value;

/// How many words on a node's progress are remembered.
const REMEMBERED: usize = 20;

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

/// How far a node was of late, and when it was asked. What is looked for is how old a replica's data may be, which
/// has an answer as long as the replica is not so far behind that its primary's place then is forgotten.
#[derive(Clone, Debug)]
pub struct Course<T>(VecDeque<(T, Progress)>);

impl<T> Default for Course<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Copy> Course<T> {
    /// What the node said when it was asked then, or later.
    pub fn note(&mut self, asked: T, progress: Progress) {
        self.0.push_back((asked, progress));
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    /// The latest time of which this replica has everything that the primary held.
    pub fn is_as_of(&self, primary: &Self) -> Option<T> {
        let (_, reached) = self.0.back()?;
        let held = |(_, progress): &&(T, Progress)| reached.has_all_of(progress);
        primary.0.iter().rev().find(held).map(|(time, _)| *time)
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
    fn a_replica_is_as_old_as_what_its_primary_held_then() {
        let (mut primary_course, mut course) = (Course::default(), Course::default());
        assert_eq!(course.is_as_of(&primary_course), None);
        (1..=30).for_each(|time| primary_course.note(time, primary("h", time)));
        course.note(31, replica("h", 25, "up").unwrap());
        assert_eq!(course.is_as_of(&primary_course), Some(25));
        course.note(32, replica("h", 30, "up").unwrap());
        assert_eq!(course.is_as_of(&primary_course), Some(30));
        course.note(33, replica("h", 3, "up").unwrap());
        assert_eq!(course.is_as_of(&primary_course), None, "that was too long ago");
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
