//! Address: where a node says it is, and where the gateway dials it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node's place as a cluster writes it: `host:port`, in which the host may be empty (the node does not
/// know its own name, or hides it) or an IPv6 address without brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced<'a> {
    host: &'a str,
    port: u16,
}

impl<'a> Announced<'a> {
    /// A host and a port that stand apart. An unknown host (`?`) and port 0 are no place.
    pub fn new(host: &'a str, port: u16) -> Option<Self> {
        let host = host.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(host);
        let sane = host.len() <= 255 && host.chars().all(|c| c.is_ascii_graphic() || !c.is_ascii());
        (sane && host != "?" && port != 0).then_some(Self { host, port })
    }

    /// Reads `host:port`, as in MOVED and ASK. The last colon ends the host, so IPv6 needs no brackets.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::new(host, port.parse().ok()?)
    }

    /// Where to dial, as `host:port` with IPv6 in brackets: what the address map says for this place, else the
    /// place itself. An empty host stands for the host of `asked`, the address that the answer came from.
    pub fn dialled(self, asked: &str, map: &BTreeMap<String, String>) -> Arc<str> {
        let written = self.to_string();
        if let Some(mapped) =
            map.get(&written).or_else(|| map.get(&format!("{}:{}", self.host, self.port)))
        {
            return Arc::from(mapped.as_str());
        }
        let host = match Announced::parse(asked) {
            Some(asked) if self.host.is_empty() => asked.host,
            _ => self.host,
        };
        Arc::from(Announced { host, port: self.port }.to_string())
    }

    /// Whether the host is left out.
    pub fn host_is_empty(&self) -> bool {
        self.host.is_empty()
    }
}

impl std::fmt::Display for Announced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = if self.host.contains(':') {
            Cow::Owned(format!("[{}]", self.host))
        } else {
            self.host.into()
        };
        write!(f, "{host}:{}", self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialled() {
        let map = BTreeMap::from([
            ("10.0.0.7:7000".to_owned(), "gate.example:17000".to_owned()),
            ("[fd00::7]:7000".to_owned(), "gate.example:17001".to_owned()),
            ("fd00::8:7000".to_owned(), "gate.example:17002".to_owned()),
        ]);
        let cases = [
            ("127.0.0.1:7000", Some("127.0.0.1:7000")),
            ("node0.example:7000", Some("node0.example:7000")),
            (":7000", Some("seed.example:7000")),
            ("::1:7000", Some("[::1]:7000")),
            ("[::1]:7000", Some("[::1]:7000")),
            ("10.0.0.7:7000", Some("gate.example:17000")),
            ("10.0.0.7:7001", Some("10.0.0.7:7001")),
            ("fd00::7:7000", Some("gate.example:17001")),
            ("[fd00::8]:7000", Some("gate.example:17002")),
            ("?:7000", None),
            ("127.0.0.1:0", None),
            ("127.0.0.1:65536", None),
            ("127.0.0.1:", None),
            ("127.0.0.1", None),
            ("", None),
            ("a b:7000", None),
            ("a\r\nb:7000", None),
        ];
        for (text, expected) in cases {
            let dialled =
                Announced::parse(text).map(|place| place.dialled("seed.example:6379", &map));
            assert_eq!(dialled.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn an_empty_host_is_the_host_asked() {
        let here = Announced::parse(":7001").unwrap();
        assert!(here.host_is_empty());
        assert_eq!(&*here.dialled("[::1]:7000", &BTreeMap::new()), "[::1]:7001");
    }
}
