//! What the nodes run. Clients choose features by the version they are told, so it is the lowest one.

use std::fmt;

use super::words::field;
use crate::resp::Value;

/// A version in three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u16; 3]);

/// The server software of one node, or what all nodes have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Software {
    redis: Version,
    /// Valkey's own version; such a node also says which Redis version it behaves like.
    valkey: Option<Version>,
    /// How many databases it has.
    databases: u16,
}

impl Version {
    /// The version of these numbers.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self([major, minor, patch])
    }

    /// Reads `7.0.15`, whatever follows the third number.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..digits)?.parse().ok()
        });
        Some(Self([numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)]))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Software {
    /// What may be promised before any node has spoken: the oldest version that is supported.
    pub const OLDEST: Self = Self { redis: Version([7, 0, 0]), valkey: None, databases: 1 };

    /// Reads a node's answer to `INFO server`, as received. `None`: it does not tell.
    pub fn from_reply(reply: &[u8]) -> Option<Self> {
        Value::parse(reply).ok()?.as_str().and_then(Self::from_info)
    }

    /// Reads the text of that answer.
    pub fn from_info(text: &str) -> Option<Self> {
        let version = |name| Version::parse(field(text, name)?);
        let (redis, valkey) = (version("redis_version")?, version("valkey_version"));
        Some(Self { redis, valkey, databases: 1 })
    }

    /// What a node calls itself in the text of `INFO server`, such as `Redis 7.0.15`.
    pub fn name_in(text: &str) -> Option<String> {
        let valkey = field(text, "valkey_version").map(|version| format!("Valkey {version}"));
        valkey.or_else(|| Some(format!("Redis {}", field(text, "redis_version")?)))
    }

    /// What all nodes have in common: the lowest versions, and Valkey only when there is nothing else.
    pub fn in_common(nodes: impl IntoIterator<Item = Self>) -> Option<Self> {
        nodes.into_iter().reduce(|one, other| Self {
            redis: one.redis.min(other.redis),
            valkey: one.valkey.zip(other.valkey).map(|(one, other)| one.min(other)),
            databases: one.databases.min(other.databases),
        })
    }

    /// The same with as many databases as a node answers to `CONFIG GET cluster-databases`, as received. It has one
    /// unless it says so: only Valkey 9 has several in a cluster, and who keeps its settings to itself may have them.
    #[must_use]
    pub fn with_databases(self, reply: &[u8]) -> Self {
        let answer = Value::parse(reply).ok();
        let told = answer.as_ref().and_then(|answer| answer.get("cluster-databases")?.as_str());
        let told = told.and_then(|count| count.parse::<u16>().ok());
        Self { databases: told.unwrap_or(1).max(1), ..self }
    }

    /// How many databases it has; clients select them by number, from 0.
    pub fn databases(&self) -> u16 {
        self.databases
    }

    /// The name that the server gives itself.
    pub fn name(&self) -> &'static str {
        if self.valkey.is_some() { "valkey" } else { "redis" }
    }

    /// The version that belongs to the name.
    pub fn version(&self) -> Version {
        self.valkey.unwrap_or(self.redis)
    }

    /// Whether it is, or behaves like, this version of Redis or a later one.
    pub fn is_since(&self, major: u16, minor: u16) -> bool {
        self.redis >= Version([major, minor, 0])
    }

    /// The Redis version that it is, or behaves like.
    pub fn redis_version(&self) -> Version {
        self.redis
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let table = [
            ("7.0.15", Some([7, 0, 15])),
            ("7.2", Some([7, 2, 0])),
            ("8.0.0-rc1\r", Some([8, 0, 0])),
            ("255.255.255", Some([255, 255, 255])),
            ("7", None),
            ("", None),
            ("x.y.z", None),
        ];
        for (text, expected) in table {
            assert_eq!(Version::parse(text), expected.map(Version), "{text:?}");
        }
    }

    #[test]
    fn databases_are_counted_where_a_node_tells() {
        let told = |count: &str| {
            format!("*2\r\n$17\r\ncluster-databases\r\n${}\r\n{count}\r\n", count.len())
        };
        let table = [
            (told("16"), 16),
            (told("1"), 1),
            (told("0"), 1),
            (told("70000"), 1),
            (told("many"), 1),
            ("%1\r\n$17\r\ncluster-databases\r\n$1\r\n4\r\n".to_owned(), 4),
            ("*0\r\n".to_owned(), 1),
            ("-NOPERM no\r\n".to_owned(), 1),
            ("+OK\r\n".to_owned(), 1),
        ];
        for (reply, expected) in table {
            let software = Software::OLDEST.with_databases(reply.as_bytes());
            assert_eq!(software.databases(), expected, "{reply:?}");
        }
        let nodes = [16, 4, 1].map(|databases| Software { databases, ..Software::OLDEST });
        assert_eq!(Software::in_common(nodes[..2].to_vec()).unwrap().databases(), 4);
        assert_eq!(Software::in_common(nodes).unwrap().databases(), 1);
    }

    #[test]
    fn the_lowest_speaks_for_all() {
        let redis =
            |version| format!("# Server\r\nredis_version:{version}\r\nredis_mode:cluster\r\n");
        let valkey = |version| {
            format!("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:{version}\r\n")
        };
        let table = [
            (vec![redis("7.0.15")], Some(("redis", "7.0.15", "7.0.15"))),
            (vec![redis("7.0.15"), redis("7.0.9")], Some(("redis", "7.0.9", "7.0.9"))),
            (vec![valkey("8.1.0"), valkey("8.0.2")], Some(("valkey", "8.0.2", "7.2.4"))),
            (vec![valkey("8.1.0"), redis("7.4.0")], Some(("redis", "7.2.4", "7.2.4"))),
            (vec!["nothing".to_owned()], None),
        ];
        for (infos, expected) in table {
            let software =
                Software::in_common(infos.iter().filter_map(|info| Software::from_info(info)));
            let said = software.map(|all| {
                (all.name(), all.version().to_string(), all.redis_version().to_string())
            });
            let expected =
                expected.map(|(name, version, redis)| (name, version.to_owned(), redis.to_owned()));
            assert_eq!(said, expected, "{infos:?}");
        }
    }
}
