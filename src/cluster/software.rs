//! What the nodes run. Clients choose features by the version they are told, so it is the lowest one.

use std::fmt;

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
    pub const OLDEST: Self = Self { redis: Version([7, 0, 0]), valkey: None };

    /// Reads a node's answer to `INFO server`, as received. `None`: it does not tell.
    pub fn from_reply(reply: &[u8]) -> Option<Self> {
        Value::parse(reply).ok()?.as_str().and_then(Self::from_info)
    }

    /// Reads the text of that answer.
    pub fn from_info(text: &str) -> Option<Self> {
        let version = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Version::parse(line.strip_prefix(':')?)
        };
        Some(Self { redis: version("redis_version")?, valkey: version("valkey_version") })
    }

    /// What all nodes have in common: the lowest versions, and Valkey only when there is nothing else.
    pub fn in_common(nodes: impl IntoIterator<Item = Self>) -> Option<Self> {
        nodes.into_iter().reduce(|one, other| Self {
            redis: one.redis.min(other.redis),
            valkey: one.valkey.zip(other.valkey).map(|(one, other)| one.min(other)),
        })
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
