//! What a node's refusal means: send elsewhere, wait, or give up. Decides only; the pool acts.
//!
//! Nothing ran on the node in any case listed here, so the request may be sent again whatever it is.
//! The texts are the servers' (Redis and Valkey differ after the first word, so only that word counts).

use crate::cluster::Slot;

/// A refusal after which the same request may succeed elsewhere or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal<'a> {
    /// The slot has another owner for good.
    Moved(Slot, Endpoint<'a>),
    /// This one request is to be sent to another node, after `ASKING`.
    Ask(Endpoint<'a>),
    /// Keys of the request stand on both sides of a migration.
    TryAgain,
    /// The cluster, or the slot, is not served now.
    ClusterDown,
    /// The node is reading its data.
    Loading,
    /// A replica without its primary.
    MasterDown,
    /// A primary that was demoted.
    ReadOnly,
}

/// `host:port` as a node announces it; an empty host means the host of the node that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
}

impl Endpoint<'_> {
    /// The address to dial, when `asked` gave the answer.
    pub(super) fn address(&self, asked: &str) -> String {
        let host = if self.host.is_empty() { host_of(asked) } else { self.host };
        format!("{host}:{}", self.port)
    }
}

fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// Reads an error reply; `None` when it is the client's to see.
pub(super) fn refusal(reply: &[u8]) -> Option<Refusal<'_>> {
    let line = reply.strip_prefix(b"-")?.strip_suffix(b"\r\n")?;
    // Most errors are the client's; the first letter tells nearly all of them apart.
    if !matches!(line.first(), Some(b'M' | b'A' | b'T' | b'C' | b'L' | b'R')) {
        return None;
    }
    let line = std::str::from_utf8(line).ok()?;
    // A script that met the refusal has run in part: that is an answer, not a refusal.
    if line.contains(" script: ") {
        return None;
    }
    let mut words = line.split(' ');
    match words.next()? {
        "MOVED" => {
            let slot = Slot::new(words.next()?.parse().ok()?)?;
            Some(Refusal::Moved(slot, endpoint(words.next()?)?))
        }
        "ASK" => {
            words.next()?;
            Some(Refusal::Ask(endpoint(words.next()?)?))
        }
        "TRYAGAIN" => Some(Refusal::TryAgain),
        "CLUSTERDOWN" => Some(Refusal::ClusterDown),
        "LOADING" => Some(Refusal::Loading),
        "MASTERDOWN" => Some(Refusal::MasterDown),
        "READONLY" => Some(Refusal::ReadOnly),
        _ => None,
    }
}

fn endpoint(text: &str) -> Option<Endpoint<'_>> {
    let (host, port) = text.rsplit_once(':')?;
    Some(Endpoint { host: if host == "?" { "" } else { host }, port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reply: &str, expected: Option<Refusal<'_>>) {
        assert_eq!(refusal(reply.as_bytes()), expected, "{reply:?}");
    }

    #[test]
    fn refusals_are_read() {
        let slot = Slot::new(3999).unwrap();
        let endpoint = |host, port| Endpoint { host, port };
        check(
            "-MOVED 3999 127.0.0.1:6381\r\n",
            Some(Refusal::Moved(slot, endpoint("127.0.0.1", 6381))),
        );
        check("-MOVED 3999 :6381\r\n", Some(Refusal::Moved(slot, endpoint("", 6381))));
        check("-MOVED 3999 ?:6381\r\n", Some(Refusal::Moved(slot, endpoint("", 6381))));
        check("-MOVED 3999 ::1:6381\r\n", Some(Refusal::Moved(slot, endpoint("::1", 6381))));
        check(
            "-ASK 3999 node-7.example:7000\r\n",
            Some(Refusal::Ask(endpoint("node-7.example", 7000))),
        );
        check(
            "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
            Some(Refusal::TryAgain),
        );
        check("-CLUSTERDOWN Hash slot not served\r\n", Some(Refusal::ClusterDown));
        check("-LOADING Valkey is loading the dataset in memory\r\n", Some(Refusal::Loading));
        check("-MASTERDOWN Link with MASTER is down\r\n", Some(Refusal::MasterDown));
        check(
            "-READONLY You can't write against a read only replica.\r\n",
            Some(Refusal::ReadOnly),
        );
    }

    #[test]
    fn everything_else_is_the_clients() {
        check("-ERR syntax error\r\n", None);
        check("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", None);
        check("-MOVED 99999 127.0.0.1:6381\r\n", None);
        check("-MOVED 12\r\n", None);
        check("-MOVED x y\r\n", None);
        check("-ASK 12 127.0.0.1:port\r\n", None);
        check("-READONLY You can't write. script: 5f, on @user_script:1.\r\n", None);
        check("+MOVED 1 a:1\r\n", None);
        check("-", None);
    }

    #[test]
    fn an_empty_host_is_the_one_that_answered() {
        let announced = Endpoint { host: "", port: 7001 };
        assert_eq!(announced.address("10.0.0.9:7000"), "10.0.0.9:7001");
        assert_eq!(Endpoint { host: "b", port: 1 }.address("10.0.0.9:7000"), "b:1");
    }
}
