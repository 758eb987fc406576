//! A server and a gateway that are asked the same.

use crate::harness::{Client, Reply, request};

/// A client of each.
pub(super) struct Pair {
    pub(super) server: Client,
    pub(super) gateway: Client,
    pub(super) asked: usize,
}

impl Pair {
    pub(super) fn ask<A: AsRef<[u8]>>(&mut self, words: &[A]) -> (Reply, Reply) {
        self.asked += 1;
        let bytes = request(words);
        self.server.send(&bytes);
        self.gateway.send(&bytes);
        (self.server.reply(), self.gateway.reply())
    }

    /// The replies must be the same, but for the order in which a server names single commands: it is that
    /// of a table with a random seed.
    pub(super) fn compare<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Reply {
        let (expected, found) = self.ask(words);
        let line: Vec<_> =
            words.iter().map(|word| String::from_utf8_lossy(word.as_ref()).into_owned()).collect();
        assert_eq!(ordered(&found), ordered(&expected), "{}", line.join(" "));
        found
    }

    /// What both say to a call of this user.
    pub(super) fn compare_decision(&mut self, user: &str, call: Vec<String>) {
        let with = |start: &[&str]| -> Vec<String> {
            start.iter().map(|word| (*word).to_owned()).chain(call.iter().cloned()).collect()
        };
        let question = with(&["ACL", "DRYRUN", user]);
        let (expected, found) = self.ask(&question);
        if expected != found {
            // Where a server cannot tell the keys of a call, it looks at none, and the call fails. The gateway
            // knows some of them, and may deny these.
            let keys = self.server.call_args(&with(&["COMMAND", "GETKEYS"]));
            let stricter = expected.text() == "OK" && found.text().ends_with("' key");
            assert!(keys.is_error() && stricter, "{}: {found} {expected}", call.join(" "));
        }
    }
}

fn ordered(reply: &Reply) -> String {
    if reply.kind() == b'*' && !reply.is_nil() {
        let items: Vec<String> = reply.items().iter().map(ordered).collect();
        return format!("[{}]", items.join(", "));
    }
    let text = reply.bytes().escape_ascii().to_string();
    let Some(at) = text.find("+@all").or_else(|| text.find("-@all")) else { return text };
    let (before, rules) = text.split_at(at);
    // The last word of a selector is another one in another order.
    let rules = rules.replace(['(', ')'], " ");
    let mut words: Vec<&str> =
        rules.split(' ').map(|word| word.trim_end_matches("\\r\\n")).collect();
    words.sort_unstable();
    format!("{}{}", before.split_once("\\r\\n").map_or("", |(_, rest)| rest), words.join(" "))
}

/// Whether servers write about rules as version 7.0 does, with which the texts here are compared.
pub(super) fn is_7_0(client: &mut Client) -> bool {
    client.call("INFO server").text().contains("redis_version:7.0.")
}
