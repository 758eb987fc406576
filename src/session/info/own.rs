//! What the gateway itself knows.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::backend::Kind;
use crate::merge::info::human;
use crate::metrics::Usage;

use super::super::conversation::Conversation;

const DAY: u64 = 24 * 60 * 60;

/// `name:value` lines.
pub(super) type Lines = Vec<(&'static str, String)>;

pub(super) fn server(conversation: &Conversation) -> Lines {
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
        ("redis_mode", gateway.mode().to_owned()),
        ("os", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("arch_bits", usize::BITS.to_string()),
        ("process_id", std::process::id().to_string()),
        ("run_id", gateway.run_id.clone()),
        ("tcp_port", conversation.client.ends.local.port().to_string()),
        ("server_time_usec", now.as_micros().to_string()),
        ("uptime_in_seconds", uptime.to_string()),
        ("uptime_in_days", (uptime / DAY).to_string()),
    ]);
    lines
}

pub(super) fn clients(conversation: &Conversation) -> Lines {
    let gateway = &conversation.worker.gateway;
    let totals = gateway.totals();
    vec![
        ("connected_clients", totals.connected_clients.to_string()),
        ("cluster_connections", "0".to_owned()),
        ("maxclients", gateway.settings().limits.max_clients.to_string()),
        ("blocked_clients", totals.blocked_clients.to_string()),
        ("tracking_clients", "0".to_owned()),
    ]
}

/// The gateway's own memory, while the nodes do not tell theirs.
pub(super) fn memory(_: &Conversation) -> Lines {
    let resident = Usage::now().resident;
    vec![
        ("used_memory", resident.to_string()),
        ("used_memory_human", human(resident)),
        ("used_memory_rss", resident.to_string()),
        ("used_memory_rss_human", human(resident)),
    ]
}

/// Nothing is ever loaded here; what the nodes load shows as errors or waits.
pub(super) fn persistence(_: &Conversation) -> Lines {
    vec![("loading", "0".to_owned()), ("async_loading", "0".to_owned())]
}

pub(super) fn stats(conversation: &Conversation) -> Lines {
    let totals = conversation.worker.gateway.totals();
    let census = &conversation.worker.rooms.census;
    let subscribed = |kind| census.names(kind).len().to_string();
    vec![
        ("total_connections_received", totals.connections_received.to_string()),
        ("total_commands_processed", totals.commands_processed.to_string()),
        ("total_net_input_bytes", totals.bytes_in.to_string()),
        ("total_net_output_bytes", totals.bytes_out.to_string()),
        ("rejected_connections", totals.rejected_connections.to_string()),
        ("pubsub_channels", subscribed(Kind::Channel)),
        ("pubsub_patterns", subscribed(Kind::Pattern)),
        ("pubsubshard_channels", subscribed(Kind::Shard)),
    ]
}

/// A primary without replicas and without a backlog.
pub(super) fn replication(conversation: &Conversation) -> Lines {
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

/// The gateway's own work, while the nodes do not tell theirs.
pub(super) fn cpu(_: &Conversation) -> Lines {
    let Usage { cpu_user, cpu_system, .. } = Usage::now();
    vec![("used_cpu_sys", format!("{cpu_system:.6}")), ("used_cpu_user", format!("{cpu_user:.6}"))]
}

pub(super) fn cluster(conversation: &Conversation) -> Lines {
    let enabled = conversation.worker.gateway.mode() == "cluster";
    vec![("cluster_enabled", u8::from(enabled).to_string())]
}

pub(super) fn nothing(_: &Conversation) -> Lines {
    Lines::new()
}
