//! CONFIG GET: the settings that client libraries look at.

use crate::acl::glob::{self, Case};
use crate::command::CommandSpec;
use crate::resp::{Protocol, Request, Value, write};

use super::super::conversation::{Conversation, Flow};

/// Settings that any client may see; a last `*` stands for any rest.
const ALLOWED: &[&str] = &[
    "acllog-max-len",
    "appendonly",
    "busy-reply-threshold",
    "client-output-buffer-limit",
    "cluster-enabled",
    "databases",
    "hash-max-*",
    "list-compress-depth",
    "list-max-*",
    "lua-time-limit",
    "maxclients",
    "maxmemory*",
    "notify-keyspace-events",
    "port",
    "proto-max-bulk-len",
    "replica-read-only",
    "save",
    "set-max-*",
    "slave-read-only",
    "timeout",
    "zset-max-*",
];

/// Where the gateway differs from the nodes behind it.
type Own = [(&'static str, String); 7];

/// `CONFIG GET pattern..`: a node's answer, without what is nobody's business and with what is the
/// gateway's own.
pub(super) fn get(conversation: &Conversation, spec: &CommandSpec, request: &Request<'_>) -> Flow {
    let own = own(conversation);
    let protocol = conversation.protocol;
    let patterns: Vec<Vec<u8>> = request.args().skip(2).map(<[u8]>::to_vec).collect();
    conversation.ask_any(spec, request, move |reply, out| {
        rewrite(reply, &own, &patterns, protocol, out);
    });
    Flow::Next
}

fn own(conversation: &Conversation) -> Own {
    let gateway = &conversation.worker.gateway;
    let settings = gateway.settings();
    let enabled = if gateway.mode() == "cluster" { "yes" } else { "no" };
    [
        ("acllog-max-len", settings.auth.log_length.to_string()),
        ("cluster-enabled", enabled.to_owned()),
        ("databases", gateway.databases().to_string()),
        ("maxclients", settings.limits.max_clients.to_string()),
        ("port", conversation.client.ends.local.port().to_string()),
        ("proto-max-bulk-len", settings.limits.bulk_bytes.to_string()),
        ("timeout", settings.limits.idle_timeout.as_secs().to_string()),
    ]
}

fn rewrite(reply: &[u8], own: &Own, patterns: &[Vec<u8>], protocol: Protocol, out: &mut Vec<u8>) {
    let pairs: Vec<(&[u8], &[u8])> = match Value::parse(reply) {
        Ok(Value::Error(text)) if is_closed(text) => own
            .iter()
            .filter(|(name, _)| {
                patterns
                    .iter()
                    .any(|pattern| glob::matches(pattern, name.as_bytes(), Case::Ignored))
            })
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect(),
        Ok(Value::Error(_)) | Err(_) => return out.extend_from_slice(reply),
        Ok(map) => map
            .pairs()
            .filter_map(|(name, value)| Some((name.bytes()?, value.bytes()?)))
            .filter(|(name, _)| {
                ALLOWED.iter().any(|one| glob::matches(one.as_bytes(), name, Case::Ignored))
            })
            .map(|(name, value)| (name, own_value(own, name).unwrap_or(value)))
            .collect(),
    };
    write::map(out, protocol, pairs.len());
    for (name, value) in pairs {
        write::bulk(out, name);
        write::bulk(out, value);
    }
}

/// Whether the node never answers CONFIG: hosted services take it away.
fn is_closed(error: &[u8]) -> bool {
    error.starts_with(b"ERR unknown command") || error.starts_with(b"NOPERM ")
}

fn own_value<'a>(own: &'a Own, wanted: &[u8]) -> Option<&'a [u8]> {
    let (_, value) = own.iter().find(|(name, _)| wanted.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(pairs: &[(&str, &str)], protocol: Protocol) -> Vec<u8> {
        let mut bytes = Vec::new();
        write::map(&mut bytes, protocol, pairs.len());
        for (name, value) in pairs {
            write::bulk(&mut bytes, name);
            write::bulk(&mut bytes, value);
        }
        bytes
    }

    fn seen(node: &[u8], patterns: &[&str], protocol: Protocol) -> Vec<u8> {
        let own = [
            ("acllog-max-len", "128".to_owned()),
            ("cluster-enabled", "no".to_owned()),
            ("databases", "1".to_owned()),
            ("maxclients", "10000".to_owned()),
            ("port", "6379".to_owned()),
            ("proto-max-bulk-len", "512".to_owned()),
            ("timeout", "0".to_owned()),
        ];
        let patterns: Vec<Vec<u8>> =
            patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect();
        let mut out = Vec::new();
        rewrite(node, &own, &patterns, protocol, &mut out);
        out
    }

    #[test]
    fn a_nodes_settings_become_the_gateways() {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let node = [
                ("requirepass", "secret"),
                ("SAVE", "3600 1"),
                ("databases", "16"),
                ("maxmemory-policy", "noeviction"),
                ("masterauth", "secret"),
                ("hash-max-listpack-entries", "128"),
                ("cluster-enabled", "yes"),
                ("cluster-node-timeout", "15000"),
            ];
            let expected = [
                ("SAVE", "3600 1"),
                ("databases", "1"),
                ("maxmemory-policy", "noeviction"),
                ("hash-max-listpack-entries", "128"),
                ("cluster-enabled", "no"),
            ];
            let found = seen(&reply(&node, protocol), &["*"], protocol);
            assert_eq!(found, reply(&expected, protocol));
            assert_eq!(seen(&reply(&[], protocol), &["foo"], protocol), reply(&[], protocol));
        }
    }

    #[test]
    fn a_node_that_says_nothing_is_spoken_for() {
        let own = reply(&[("databases", "1"), ("timeout", "0")], Protocol::Resp2);
        for error in ["-ERR unknown command 'CONFIG', with args\r\n", "-NOPERM no\r\n"] {
            let found = seen(error.as_bytes(), &["data*", "TIMEOUT", "save"], Protocol::Resp2);
            assert_eq!(found, own, "{error}");
        }
        let down = b"-CLUSTERDOWN The cluster is down\r\n";
        assert_eq!(seen(down, &["*"], Protocol::Resp2), down);
    }
}
