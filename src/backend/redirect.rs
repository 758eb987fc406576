//! What a node's refusal means: send elsewhere, wait, or give up. Decides only; the pool acts.
//!
//! Nothing ran on the node in any case listed here, so the request may be sent again whatever it is.
//! The texts are the servers' (Redis and Valkey differ after the first word, so only that word counts).

use crate::cluster::{Announced, Slot};
use crate::metrics::Redirect;

/// A refusal after which the same request may succeed elsewhere or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal<'a> {
    /// The slot has another owner for good.
    Moved(Slot, Announced<'a>),
    /// This one request is to be sent to another node, after `ASKING`.
    Ask(Announced<'a>),
    /// Another node, which the redirection does not name so that it could be found.
    Elsewhere,
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
    /// The script is not there; whoever knows it can bring it.
    NoScript,
}

impl Refusal<'_> {
    /// As what it is counted, if it says something about the cluster.
    pub(super) fn kind(self) -> Option<Redirect> {
        Some(match self {
            Self::Moved(..) | Self::Elsewhere => Redirect::Moved,
            Self::Ask(..) => Redirect::Ask,
            Self::TryAgain => Redirect::TryAgain,
            Self::ClusterDown => Redirect::ClusterDown,
            Self::Loading => Redirect::Loading,
            Self::MasterDown => Redirect::MasterDown,
            Self::ReadOnly => Redirect::ReadOnly,
            Self::NoScript => return None,
        })
    }
}

/// Reads an error reply; `None` when it is the client's to see.
pub(super) fn refusal(reply: &[u8]) -> Option<Refusal<'_>> {
    let line = reply.strip_prefix(b"-")?.strip_suffix(b"\r\n")?;
    // Most errors are the client's; the first letter tells nearly all of them apart.
    if !matches!(line.first(), Some(b'M' | b'A' | b'T' | b'C' | b'L' | b'R' | b'N')) {
        return None;
    }
    let line = std::str::from_utf8(line).ok()?;
    // A script that met the refusal has run in part: that is an answer, not a refusal.
    if line.contains(" script: ") {
        return None;
    }
    let mut words = line.split(' ');
    match words.next()? {
        "MOVED" => Some(moved(words).unwrap_or(Refusal::Elsewhere)),
        "ASK" => Some(asked(words).unwrap_or(Refusal::Elsewhere)),
        "TRYAGAIN" => Some(Refusal::TryAgain),
        "CLUSTERDOWN" => Some(Refusal::ClusterDown),
        "LOADING" => Some(Refusal::Loading),
        "MASTERDOWN" => Some(Refusal::MasterDown),
        "READONLY" => Some(Refusal::ReadOnly),
        "NOSCRIPT" => Some(Refusal::NoScript),
        _ => None,
    }
}

fn moved<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Refusal<'a>> {
    let slot = Slot::new(words.next()?.parse().ok()?)?;
    Some(Refusal::Moved(slot, Announced::parse(words.next()?)?))
}

fn asked<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Refusal<'a>> {
    Some(Refusal::Ask(Announced::parse(words.nth(1)?)?))
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
        let place = |host, port| Announced::new(host, port).unwrap();
        check(
            "-MOVED 3999 127.0.0.1:6381\r\n",
            Some(Refusal::Moved(slot, place("127.0.0.1", 6381))),
        );
        check("-MOVED 3999 :6381\r\n", Some(Refusal::Moved(slot, place("", 6381))));
        check("-MOVED 3999 ?:6381\r\n", Some(Refusal::Elsewhere));
        check("-MOVED 3999 ::1:6381\r\n", Some(Refusal::Moved(slot, place("::1", 6381))));
        check(
            "-ASK 3999 node-7.example:7000\r\n",
            Some(Refusal::Ask(place("node-7.example", 7000))),
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
        check("-NOSCRIPT No matching script. Please use EVAL.\r\n", Some(Refusal::NoScript));
    }

    #[test]
    fn everything_else_is_the_clients() {
        check("-ERR syntax error\r\n", None);
        check("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", None);
        check("-MOVED 99999 127.0.0.1:6381\r\n", Some(Refusal::Elsewhere));
        check("-MOVED 12\r\n", Some(Refusal::Elsewhere));
        check("-MOVED x y\r\n", Some(Refusal::Elsewhere));
        check("-ASK 12 127.0.0.1:port\r\n", Some(Refusal::Elsewhere));
        check("-READONLY You can't write. script: 5f, on @user_script:1.\r\n", None);
        check("-NOAUTH Authentication required.\r\n", None);
        check("+MOVED 1 a:1\r\n", None);
        check("-", None);
    }
}
