//! Typed settings: every key has its default here, and `config/slotway.toml` says the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Everything that can be set. `Settings::default()` is what a gateway runs with when no file is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Where clients connect.
    pub listen: Listen,
    /// Where machines and people look.
    pub admin: Admin,
    /// The cluster behind the gateway.
    pub cluster: Cluster,
    /// Connections to the nodes.
    pub backend: Backend,
    /// What a command may do across slots.
    pub routing: Routing,
    /// Who may connect.
    pub auth: Auth,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// Threads and their ends.
    pub runtime: Runtime,
    /// What is logged, and how.
    pub log: Log,
}

/// How a listener shows itself to a client library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Present {
    /// One server; `CLUSTER` is refused as a standalone server refuses it.
    #[default]
    Standalone,
    /// A cluster of one node that owns every slot.
    Cluster,
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Address and port for clients.
    pub address: SocketAddr,
    /// What the gateway looks like from there.
    pub present: Present,
    /// Pending connections that the kernel keeps.
    pub backlog: u32,
    /// TCP keep-alive on client connections; zero turns it off.
    pub tcp_keepalive: Duration,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Address and port for `/metrics`, `/healthz` and `/readyz`.
    pub address: SocketAddr,
    /// Share of the slots that must be covered to be ready, 0 to 1.
    pub ready_share: f64,
}

/// `[cluster]`
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// `host:port` of nodes to ask first; one that answers is enough.
    pub nodes: Vec<String>,
    /// User that the gateway authenticates as; empty means `default`.
    pub username: String,
    /// Password for the nodes; empty means none.
    pub password: Secret,
    /// File that holds the password, read at start and on reload.
    pub password_file: String,
    /// Time between two looks at the topology when nothing happens.
    pub refresh_interval: Duration,
    /// Least time between two looks, however many redirections arrive.
    pub refresh_min_interval: Duration,
    /// Announced `host:port` to the one that the gateway can reach.
    pub address_map: BTreeMap<String, String>,
}

/// `[backend]`
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Time for dialling a node, handshake included.
    pub connect_timeout: Duration,
    /// Time from sending a request to its whole reply, holds included.
    pub request_timeout: Duration,
    /// Longest time that a request waits for a slot to be served again.
    pub hold_time: Duration,
    /// Most requests that one worker holds.
    pub hold_requests: usize,
    /// Most bytes of requests that one worker holds.
    pub hold_bytes: usize,
    /// A connection with pending replies and silent this long is probed; twice this long, it is given up.
    pub probe_interval: Duration,
    /// First pause before dialling a node again; doubles up to `reconnect_max`.
    pub reconnect_min: Duration,
    /// Longest pause before dialling a node again.
    pub reconnect_max: Duration,
    /// Most redirections that one request follows.
    pub max_redirects: u8,
    /// Whether a write with the same end state when repeated is repeated after a lost connection.
    pub retry_idempotent: bool,
}

/// What may be done when the keys of one command stand in several slots. Each level includes the ones before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrossSlot {
    /// CROSSSLOT, as a cluster node says.
    Off,
    /// Independent keys are split.
    Split,
    /// Reads are computed from parts.
    Gather,
    /// Results are stored atomically in the destination's slot.
    #[default]
    Store,
    /// Writes in two slots, step by step.
    Move,
}

/// `[routing]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    /// How far commands reach across slots.
    pub cross_slot: CrossSlot,
}

/// `[auth]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auth {
    /// Password of the default user; empty means none, and then the listener must be on loopback.
    pub password: Secret,
    /// File that holds the password.
    pub password_file: String,
    /// Listens beyond loopback without a password.
    pub allow_open: bool,
}

/// `[limits]`, bytes where not said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Most clients at once.
    pub max_clients: usize,
    /// Most requests of one client that wait for replies; then its socket is not read.
    pub inflight_requests: usize,
    /// Most bytes of one client's requests and replies that wait; then its socket is not read.
    pub inflight_bytes: usize,
    /// Bytes of replies a client may leave unread before it is disconnected.
    pub output_hard: usize,
    /// Most arguments in a request.
    pub request_arguments: usize,
    /// Most bytes in one argument.
    pub bulk_bytes: usize,
    /// Most bytes in an inline request.
    pub inline_bytes: usize,
    /// Most bytes in one request.
    pub request_bytes: usize,
    /// A client silent this long is disconnected; zero turns it off.
    pub idle_timeout: Duration,
    /// A client that has not authenticated within this time is disconnected; zero turns it off.
    pub auth_timeout: Duration,
}

/// `[runtime]`
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// Worker threads; zero means one per available core.
    pub workers: usize,
    /// Time that a drain may take.
    pub drain_time: Duration,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or per-room filters.
    pub level: String,
    /// Text or JSON; by default text on a terminal and JSON elsewhere.
    pub format: LogFormat,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// A password. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the plain text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The plain text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// No password at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(***)" })
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 6379)),
            present: Present::Standalone,
            backlog: 1024,
            tcp_keepalive: Duration::from_secs(300),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 9121)), ready_share: 1.0 }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            username: String::new(),
            password: Secret::default(),
            password_file: String::new(),
            refresh_interval: Duration::from_secs(10),
            refresh_min_interval: Duration::from_millis(200),
            address_map: BTreeMap::new(),
        }
    }
}

impl Default for Backend {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(20),
            hold_time: Duration::from_secs(15),
            hold_requests: 100_000,
            hold_bytes: 64 << 20,
            probe_interval: Duration::from_millis(500),
            reconnect_min: Duration::from_millis(20),
            reconnect_max: Duration::from_secs(1),
            max_redirects: 5,
            retry_idempotent: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_clients: 10_000,
            inflight_requests: 1024,
            inflight_bytes: 32 << 20,
            output_hard: 256 << 20,
            request_arguments: 1_048_576,
            bulk_bytes: 512 << 20,
            inline_bytes: 64 << 10,
            request_bytes: 1 << 30,
            idle_timeout: Duration::ZERO,
            auth_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self { workers: 0, drain_time: Duration::from_secs(30) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto }
    }
}
