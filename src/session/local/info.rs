//! INFO: one server's worth of facts, as far as the gateway itself knows them.
//!
//! Facts that only the nodes know (keyspace, replication behind a primary, dataset memory) are left out
//! rather than invented.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::command::CommandSpec;
use crate::metrics::Usage;
use crate::resp::{Request, write};

use super::super::conversation::{Conversation, Flow};
use super::super::family::family;

const DAY: u64 = 24 * 60 * 60;

/// `name:value` lines.
type Lines = Vec<(&'static str, String)>;

struct Section {
    title: &'static str,
    /// Whether it is shown when none is asked for by name.
    usual: bool,
    lines: fn(&Conversation) -> Lines,
}

/// In the order in which a server shows them.
const SECTIONS: [Section; 13] = [
    Section { title: "Server", usual: true, lines: server },
    Section { title: "Clients", usual: true, lines: clients },
    Section { title: "Memory", usual: true, lines: memory },
    Section { title: "Persistence", usual: true, lines: persistence },
    Section { title: "Stats", usual: true, lines: stats },
    Section { title: "Replication", usual: true, lines: replication },
    Section { title: "CPU", usual: true, lines: cpu },
    Section { title: "Modules", usual: true, lines: nothing },
    Section { title: "Commandstats", usual: false, lines: nothing },
    Section { title: "Errorstats", usual: true, lines: nothing },
    Section { title: "Latencystats", usual: false, lines: nothing },
    Section { title: "Cluster", usual: true, lines: cluster },
    Section { title: "Keyspace", usual: true, lines: nothing },
];

/// `INFO [section..]`
pub(super) fn answer(
    conversation: &Conversation,
    spec: &CommandSpec,
    request: &Request<'_>,
) -> Flow {
    let mut text = String::new();
    for section in SECTIONS.iter().filter(|section| section.is_wanted(request)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        section.write(conversation, &mut text);
    }
    let protocol = conversation.protocol;
    conversation.answer(family(spec), |out| write::verbatim(out, protocol, "txt", text))
}

impl Section {
    fn is_wanted(&self, request: &Request<'_>) -> bool {
        if request.len() == 1 {
            return self.usual;
        }
        request.args().skip(1).any(|word| {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            is(self.title) || is("all") || is("everything") || (self.usual && is("default"))
        })
    }

    fn write(&self, conversation: &Conversation, text: &mut String) {
        // Writing to a string does not fail.
        let _ = write!(text, "# {}\r\n", self.title);
        for (name, value) in (self.lines)(conversation) {
            let _ = write!(text, "{name}:{value}\r\n");
        }
    }
}

fn server(conversation: &Conversation) -> Lines {
    let gateway = &conversation.worker.gateway;
    let software = gateway.software();
    let uptime = conversation.worker.clock.now() / 1_000_000;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut lines = vec![("redis_version", software.redis_version().to_string())];
    if software.name() == "valkey" {
        lines.push(("server_name", software.name().to_owned()));
        lines.push(("valkey_version", software.version().to_string()));
    }
    lines.extend([
        ("slotway_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("redis_mode", "standalone".to_owned()),
        ("os", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("arch_bits", usize::BITS.to_string()),
        ("process_id", std::process::id().to_string()),
        ("run_id", gateway.run_id.clone()),
        ("tcp_port", conversation.client.local_address.port().to_string()),
        ("server_time_usec", now.as_micros().to_string()),
        ("uptime_in_seconds", uptime.to_string()),
        ("uptime_in_days", (uptime / DAY).to_string()),
    ]);
    lines
}

fn clients(conversation: &Conversation) -> Lines {
    let gateway = &conversation.worker.gateway;
    vec![
        ("connected_clients", gateway.metrics.totals().connected_clients.to_string()),
        ("cluster_connections", "0".to_owned()),
        ("maxclients", gateway.settings.limits.max_clients.to_string()),
        ("blocked_clients", "0".to_owned()),
        ("tracking_clients", "0".to_owned()),
    ]
}

/// The gateway's own memory. It keeps no data, and sets no limit to it.
fn memory(_: &Conversation) -> Lines {
    let resident = Usage::now().resident;
    vec![
        ("used_memory", resident.to_string()),
        ("used_memory_human", human(resident)),
        ("used_memory_rss", resident.to_string()),
        ("used_memory_rss_human", human(resident)),
    ]
}

/// Nothing is ever loaded here; what the nodes load shows as errors or waits.
fn persistence(_: &Conversation) -> Lines {
    vec![("loading", "0".to_owned()), ("async_loading", "0".to_owned())]
}

fn stats(conversation: &Conversation) -> Lines {
    let totals = conversation.worker.gateway.metrics.totals();
    vec![
        ("total_connections_received", totals.connections_received.to_string()),
        ("total_commands_processed", totals.commands_processed.to_string()),
        ("total_net_input_bytes", totals.bytes_in.to_string()),
        ("total_net_output_bytes", totals.bytes_out.to_string()),
        ("rejected_connections", totals.rejected_connections.to_string()),
    ]
}

/// A primary without replicas and without a backlog.
fn replication(conversation: &Conversation) -> Lines {
    let zero = || "0".to_owned();
    vec![
        ("role", "master".to_owned()),
        ("connected_slaves", zero()),
        ("master_failover_state", "no-failover".to_owned()),
        ("master_replid", conversation.worker.gateway.run_id.clone()),
        ("master_replid2", "0".repeat(40)),
        ("master_repl_offset", zero()),
        ("second_repl_offset", "-1".to_owned()),
        ("repl_backlog_active", zero()),
        ("repl_backlog_size", zero()),
        ("repl_backlog_first_byte_offset", zero()),
        ("repl_backlog_histlen", zero()),
    ]
}

fn cpu(_: &Conversation) -> Lines {
    let Usage { cpu_user, cpu_system, .. } = Usage::now();
    vec![("used_cpu_sys", format!("{cpu_system:.6}")), ("used_cpu_user", format!("{cpu_user:.6}"))]
}

fn cluster(_: &Conversation) -> Lines {
    vec![("cluster_enabled", "0".to_owned())]
}

fn nothing(_: &Conversation) -> Lines {
    Lines::new()
}

/// A size as servers shorten it: `1.62M`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = "K";
    for larger in UNITS.iter().skip(1) {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    format!("{size:.2}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Limits, Parsed, RequestParser};

    fn wanted(line: &str) -> Vec<&'static str> {
        let line = format!("{line}\r\n");
        let mut parser = RequestParser::new();
        let parsed = parser.parse(line.as_bytes(), &Limits::default(), true).unwrap();
        assert!(matches!(parsed, Parsed::Request(_)));
        let request = parser.request(line.as_bytes());
        let sections = SECTIONS.iter().filter(|section| section.is_wanted(&request));
        sections.map(|section| section.title).collect()
    }

    #[test]
    fn sections_are_chosen() {
        let usual = [
            "Server",
            "Clients",
            "Memory",
            "Persistence",
            "Stats",
            "Replication",
            "CPU",
            "Modules",
            "Errorstats",
            "Cluster",
            "Keyspace",
        ];
        assert_eq!(wanted("INFO"), usual);
        assert_eq!(wanted("INFO default"), usual);
        assert_eq!(wanted("INFO ALL").len(), SECTIONS.len());
        assert_eq!(wanted("INFO everything").len(), SECTIONS.len());
        assert_eq!(wanted("INFO keyspace foo SERVER server"), ["Server", "Keyspace"]);
        assert_eq!(wanted("INFO default commandstats").len(), usual.len() + 1);
        assert_eq!(wanted("INFO foo"), [] as [&str; 0]);
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_693_928, "1.62M"),
            (25_276_510_208, "23.54G"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
