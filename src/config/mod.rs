//! Typed settings: one row each, below; `config/slotway.toml` is written from these rows.
//!
//! A flag beats the environment, the environment beats the file, the file beats the default
//! (`load.rs`). Every mistake is reported at once, with its place, and no message shows a password.

mod check;
mod declare;
mod given;
mod kind;
mod live;
mod load;
mod logins;
mod mistake;
mod reload;
mod secret;
mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

pub use declare::Key;
pub use kind::Rate;
pub use live::Live;
pub use load::{Flag, Sources};
pub use logins::{Logins, NodeUser};
pub use mistake::{Mistake, Mistakes, Place};
pub use reload::Reload;
pub use secret::Secret;
pub use words::{
    CertificateUser, ClientCertificates, CrossSlot, LogFormat, OnLoss, Present, ReadFrom,
    Transactions,
};

use declare::settings;
use kind::{
    Address, Bytes, Count, Filter, Hidden, HostPort, Kind, List, Maybe, Mode, Network, OneOf,
    Pairs, PerSecond, Share, Text, Time, Truth,
};
use logins::Lines;

/// What the name of every environment variable starts with.
const VARIABLE_PREFIX: &str = "SLOTWAY_";

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;
const TIB: usize = 1 << 40;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

settings! {
    /// Where clients connect.
    listen: Listen {
        /// Address and port for clients.
        /// Beyond loopback it needs a password, see `[auth]`.
        address: SocketAddr = loopback(6379), Address, restart;
        /// What the gateway looks like from there: one server, or a cluster of one node that owns every slot.
        present: Present = Present::Standalone, OneOf, restart;
        /// Address and port for clients that speak TLS, beside `address`, which stays plain then. Without it,
        /// and with a certificate, `address` itself speaks TLS.
        tls_address: Option<SocketAddr> = None, Maybe(Address), restart;
        /// File with the certificate for clients, its issuers behind it; empty means no TLS.
        tls_certificate_file: String = String::new(), Text;
        /// File with the key of that certificate.
        tls_key_file: String = String::new(), Text;
        /// Whether clients show certificates.
        tls_client_certificates: ClientCertificates = ClientCertificates::Off, OneOf;
        /// Which user a client is by its certificate, without AUTH: "CN" is the user with the certificate's common
        /// name, if there is one and it is on. Any other client has to log in as usual.
        tls_client_user: CertificateUser = CertificateUser::Off, OneOf;
        /// File with the certificates of the authorities that clients are believed by.
        tls_client_ca_file: String = String::new(), Text;
        /// Networks of balancers: connections from there, plain or TLS, must begin with a header of the PROXY protocol,
        /// version 2, and the address in it counts as the client's. Whoever is in these networks can claim any.
        proxy_networks: Vec<IpNet> = Vec::new(), List(Network);
        /// Path of a Unix socket for clients on this machine; empty means none.
        unix_socket: String = String::new(), Text, restart;
        /// Who may use the Unix socket.
        unix_permissions: u32 = 0o770, Mode, restart;
        /// User that the Unix socket belongs to, by name or number; empty means the one that the gateway runs as. Only
        /// root may give files away.
        unix_owner: String = String::new(), Text, restart;
        /// Group that the Unix socket belongs to, by name or number; empty means that of the gateway.
        unix_group: String = String::new(), Text, restart;
        /// Connections by the Unix socket must begin with a header of the PROXY protocol, version 2, as a balancer on
        /// this machine sends it. Whoever may use the socket can claim any address, so only that balancer should.
        unix_proxy: bool = false, Truth;
        /// Address that clients of the presented cluster are told; without it, the one that each
        /// connected to.
        announce: Option<String> = None, Maybe(HostPort);
        /// The gateways that together are the presented cluster, as clients reach them, with
        /// `announce` among them: each shows itself and the others as owners of an equal share of
        /// the slots. Empty means this one alone.
        peers: Vec<String> = Vec::new(), List(HostPort);
        /// Pending connections that the kernel keeps.
        backlog: u32 = 1024, Count(1..=65_535), restart;
        /// TCP keep-alive on client connections; zero turns it off.
        tcp_keepalive: Duration = seconds(300), Time(Duration::ZERO..=DAY);
    }

    /// Where machines and people look.
    admin: Admin {
        /// Address and port for `/metrics`, `/healthz`, `/readyz`, and for what shows keys and commands, such as
        /// the status page. The latter asks for the password, and beyond loopback is there only with one.
        address: SocketAddr = loopback(9121), Address, restart;
        /// Password for pages that show keys and commands, for the user `admin` by HTTP Basic authentication; empty
        /// means none.
        password: Secret = Secret::default(), Hidden;
        /// Share of the slots that must be covered to be ready.
        ready_share: f64 = 1.0, Share;
    }

    /// The cluster behind the gateway.
    cluster: Cluster {
        /// Nodes to ask first; one that answers is enough, the others are learned from it.
        nodes: Vec<String> = Vec::new(), List(HostPort);
        /// User that the gateway authenticates as; empty means `default`.
        username: String = String::new(), Text;
        /// Password for the nodes; empty means none.
        password: Secret = Secret::default(), Hidden;
        /// File that holds the password, read at start, on reload and when it changes. Connections that stand are
        /// kept; new ones are made with the new password, and with the one before it at nodes that refuse it.
        password_file: String = String::new(), Text;
        /// As whom the requests of single users are sent: a line for each, with its name, a user of the nodes and
        /// that one's password. `*` is for all users that are not named; without it they are sent as `username`.
        logins: Logins = Logins::default(), Lines;
        /// File that holds these lines, read as `password_file` is.
        logins_file: String = String::new(), Text;
        /// Whether the nodes are spoken to through TLS.
        tls: bool = false, Truth;
        /// File with the certificates of the authorities that nodes are believed by; empty means those of the system.
        tls_ca_file: String = String::new(), Text;
        /// Whether a node's certificate must bear the name that was dialled, or `tls_server_name`.
        tls_check_name: bool = true, Truth;
        /// Name that every node's certificate must bear; empty means the host that was dialled.
        tls_server_name: String = String::new(), Text;
        /// File with the gateway's certificate for nodes that ask for one; empty means none.
        tls_certificate_file: String = String::new(), Text;
        /// File with the key of that certificate.
        tls_key_file: String = String::new(), Text;
        /// Time between two looks at the topology when nothing happens.
        refresh_interval: Duration = seconds(10), Time(millis(100)..=HOUR);
        /// Least time between two looks, however many redirections arrive. While requests wait for a slot to be
        /// served, they are not much further apart.
        refresh_min_interval: Duration = millis(100), Time(millis(10)..=HOUR);
        /// Address that a node announces to the one that the gateway can reach.
        address_map: BTreeMap<String, String> = BTreeMap::new(), Pairs(HostPort, HostPort);
        /// Which nodes answer commands that read one key, outside of transactions and scripts.
        /// primary: the owner of the slot. prefer-replica: one of its replicas. nearest-zone: one of its
        /// replicas in the zone of this gateway. Where no replica is fit, it is the primary. A client always
        /// reads what it wrote itself.
        read_from: ReadFrom = ReadFrom::Primary, OneOf;
        /// How old the data that a replica answers with may be at most. It is measured, five times in this
        /// time, by the nodes' replication offsets; an answer that may be older is not given.
        replica_lag: Duration = seconds(1), Time(millis(100)..=HOUR);
        /// The zone that this gateway is in, for `read_from = "nearest-zone"`.
        zone: String = String::new(), Text;
        /// The zone of each node by its address, for those that do not tell it themselves: Valkey tells its
        /// `availability-zone`.
        zones: BTreeMap<String, String> = BTreeMap::new(), Pairs(HostPort, Text);
    }

    /// Connections to the nodes.
    backend: Backend {
        /// Time for dialling a node, handshake included.
        connect_timeout: Duration = seconds(1), Time(millis(1)..=MINUTE);
        /// Time from sending a request to its whole reply, holds included.
        request_timeout: Duration = seconds(20), Time(millis(1)..=HOUR);
        /// Longest time that a request waits for a slot to be served again.
        hold_time: Duration = seconds(15), Time(Duration::ZERO..=HOUR);
        /// Most requests that one worker holds.
        hold_requests: usize = 100_000, Count(0..=100_000_000);
        /// Most bytes of requests that one worker holds.
        hold_bytes: usize = 64 * MIB, Bytes(0..=TIB);
        /// Most requests of one client that are held.
        hold_session_requests: usize = 1024, Count(0..=100_000_000);
        /// Most bytes of one client's requests that are held.
        hold_session_bytes: usize = 32 * MIB, Bytes(0..=TIB);
        /// Held requests that are tried again, for each new request; `retry_floor` may be tried in any case.
        retry_share: f64 = 0.2, Share;
        /// Held requests that one worker tries again in a second, however few are new.
        retry_floor: usize = 10_000, Count(1..=10_000_000);
        /// A node that owes replies and is silent this long is probed.
        probe_interval: Duration = millis(500), Time(millis(10)..=HOUR);
        /// A node that does not answer a probe within this time gets nothing new: requests for it are held
        /// until it speaks or is replaced.
        probe_timeout: Duration = millis(500), Time(millis(10)..=HOUR);
        /// First pause before dialling a node again; doubles up to `reconnect_max`.
        reconnect_min: Duration = millis(20), Time(millis(1)..=HOUR);
        /// Longest pause before dialling a node again.
        reconnect_max: Duration = millis(250), Time(millis(1)..=HOUR);
        /// Most redirections that one request follows.
        max_redirects: u8 = 5, Count(0..=100);
        /// Most connections of one worker, to all nodes together, that sessions have for themselves: for WATCH,
        /// for commands that wait, and for CLIENT TRACKING. The latter two use three quarters of them at most;
        /// who finds none left waits by watching the keys, or may not track.
        leases: usize = 1024, Count(0..=1_000_000);
        /// Most databases that clients may select, where the cluster has several (Valkey 9). Each one that is in
        /// use takes as many connections to the nodes as the first.
        databases: u16 = 16, Count(1..=10_000);
        /// Whether a write with the same end state when repeated is repeated after a lost
        /// connection.
        retry_idempotent: bool = false, Truth;
    }

    /// What a command may do across slots.
    routing: Routing {
        /// How far commands reach across slots; each word includes the ones before it.
        /// off: CROSSSLOT, as a cluster node says. split: independent keys are split.
        /// gather: reads are computed from parts. store: results are stored atomically in the
        /// destination's slot. move: writes in two slots, step by step.
        cross_slot: CrossSlot = CrossSlot::Store, OneOf;
        /// What becomes of a transaction, MULTI to EXEC, whose keys stand in several slots.
        /// refuse: CROSSSLOT, as a cluster node says, unless it only reads and `cross_slot` is at least "gather".
        /// per-slot: one transaction for each slot, all of them checked by their nodes before the first is run; each
        /// is atomic, the whole is not. best-effort: the same, and WATCH may name keys of several slots.
        transactions: Transactions = Transactions::PerSlot, OneOf;
        /// Most bytes of the parts of one request that the gateway computes with.
        gathered_bytes: usize = 64 * MIB, Bytes(KIB..=TIB);
        /// The same for all requests of one worker together.
        gathered_bytes_all: usize = GIB, Bytes(KIB..=TIB);
        /// Most elements that the gateway computes with for one request.
        gathered_elements: usize = 1_000_000, Count(1..=1_000_000_000);
        /// Whether `SORT` may look at other keys, named by `BY` and `GET` patterns. Each key is asked for, so
        /// it takes as many requests as there are elements.
        sort_patterns: bool = false, Truth;
        /// Most bytes of clients' scripts that the gateway remembers, to bring them to nodes that do not have
        /// them.
        script_bytes: usize = 64 * MIB, Bytes(0..=TIB);
        /// What the names of keys start with in which the gateway keeps elements that are on their
        /// way from one slot to another. KEYS, SCAN and RANDOMKEY do not show them.
        stage_prefix: String = "__gw:".to_owned(), Text, restart;
        /// An element that a gateway left on its way, for it was killed, goes back after this time.
        stage_return: Duration = seconds(60), Time(millis(100)..=DAY);
        /// Commands without keys that only the nodes know, such as a module's, and that any one of
        /// them may answer for all. Others of that kind are refused.
        keyless_commands: Vec<String> = Vec::new(), List(Text), restart;
    }

    /// Who may connect.
    auth: Auth {
        /// Password of the default user; empty means none, and then the listener must be on
        /// loopback.
        password: Secret = Secret::default(), Hidden;
        /// File that holds the password, read at start, on reload and when it changes. Who is logged in stays so.
        password_file: String = String::new(), Text;
        /// Listens beyond loopback without a password.
        allow_open: bool = false, Truth;
        /// File with users and their rules, as a server's `users.acl`; `config/users.acl` is one to start
        /// from. Read at start, on ACL LOAD and on reload. Empty means the default user alone.
        users_file: String = String::new(), Text;
        /// Whether users whose rules leave anything out may run scripts all the same. Nodes check the
        /// commands inside a script against the gateway's own user, so there the user may do all that
        /// the gateway may.
        trust_scripts: bool = false, Truth, restart;
        /// How long the answer to a failed login waits; doubles with each failure from the same address,
        /// up to 64 times as long. Zero answers at once.
        failed_login_delay: Duration = millis(20), Time(Duration::ZERO..=MINUTE);
        /// Entries that `ACL LOG` keeps, as `acllog-max-len` of a server.
        log_length: usize = 128, Count(0..=100_000);
    }

    /// Bounds on what clients may use.
    limits: Limits {
        /// Most clients at once.
        max_clients: usize = 10_000, Count(1..=10_000_000);
        /// Most clients at once from one address, or from one /64 block of IPv6; zero means no bound. Clients of
        /// the Unix socket have no address.
        max_clients_per_address: usize = 0, Count(0..=10_000_000);
        /// Most requests of one client that wait for replies; then its socket is not read.
        inflight_requests: usize = 1024, Count(1..=10_000_000);
        /// Most bytes of one client's requests and replies that wait; then its socket is not read.
        inflight_bytes: usize = 32 * MIB, Bytes(KIB..=TIB);
        /// Most bytes of requests and replies that are held for all clients together. From a quarter of it on, each
        /// client may have less and less under way; beyond it, those who hold most are disconnected, as by a
        /// server's `maxmemory-clients`. Zero means no bound.
        client_memory: usize = GIB, Bytes(0..=TIB);
        /// Bytes of replies a client may leave unread before it is disconnected.
        output_hard: usize = 256 * MIB, Bytes(KIB..=TIB);
        /// The same when it stays beyond this for longer than `output_soft_time`; zero turns it off.
        /// `[pubsub]` has the bounds for messages.
        output_soft: usize = 0, Bytes(0..=TIB);
        /// How long a client may be beyond `output_soft`.
        output_soft_time: Duration = seconds(60), Time(Duration::ZERO..=DAY);
        /// Most commands a second of a user, by its name; `"*"` is for each user that is not named. All its
        /// connections share them. What comes faster is not refused but waits, and its client with it. The burst
        /// may come at once; without one it is what a second allows: `{ app = "1000 burst 5000" }`.
        user_commands: BTreeMap<String, Rate> = BTreeMap::new(), Pairs(Text, PerSecond(Count(1..=1_000_000_000)));
        /// The same in bytes of requests and of the replies to them.
        user_bytes: BTreeMap<String, Rate> = BTreeMap::new(), Pairs(Text, PerSecond(Bytes(KIB..=TIB)));
        /// Most arguments in a request.
        request_arguments: usize = 1_048_576, Count(1..=2_147_483_647);
        /// Most bytes in one argument.
        bulk_bytes: usize = 512 * MIB, Bytes(KIB..=TIB);
        /// Most bytes in an inline request.
        inline_bytes: usize = 64 * KIB, Bytes(KIB..=TIB);
        /// Most bytes in one request, and in the requests of one transaction.
        request_bytes: usize = GIB, Bytes(KIB..=TIB);
        /// A client silent this long is disconnected; zero turns it off.
        idle_timeout: Duration = Duration::ZERO, Time(Duration::ZERO..=30 * DAY);
        /// A client that has not authenticated within this time is disconnected; zero turns it off.
        auth_timeout: Duration = seconds(10), Time(Duration::ZERO..=DAY);
    }

    /// Publish and subscribe.
    pubsub: PubSub {
        /// What a client's subscriptions do when messages may have been missed, because a node was lost or a
        /// slot moved.
        /// resubscribe: they go on, and a metric counts. disconnect: the client is disconnected, so that it
        /// learns of it.
        on_loss: OnLoss = OnLoss::Resubscribe, OneOf;
        /// Carries plain channels over sharded pub/sub, so that a message goes to one shard and not to all
        /// nodes. Then patterns are refused except for keyspace events, a plain and a shard channel of one
        /// name are the same, and clients that are connected to nodes take no part in plain channels.
        sharded: bool = false, Truth, restart;
        /// Most channels and patterns that one client subscribes to.
        subscriptions: usize = 100_000, Count(1..=100_000_000);
        /// Bytes of messages that a subscriber may leave unread before it is disconnected.
        output_hard: usize = 32 * MIB, Bytes(KIB..=TIB);
        /// The same when it stays beyond this for longer than `output_soft_time`.
        output_soft: usize = 8 * MIB, Bytes(KIB..=TIB);
        /// How long a subscriber may be beyond `output_soft`.
        output_soft_time: Duration = seconds(60), Time(Duration::ZERO..=DAY);
    }

    /// Threads and their ends.
    runtime: Runtime {
        /// Worker threads; zero means one per available core.
        workers: usize = 0, Count(0..=1024), restart;
        /// Time that a drain may take.
        drain_time: Duration = seconds(30), Time(Duration::ZERO..=DAY);
    }

    /// What is watched of the requests, for the status page and for administrators (`SLOTWAY`).
    observe: Observe {
        /// Whether the keys that are asked for most, and those with the largest requests and replies, are found out.
        /// They are counted from samples, at most about 1000 requests a second and worker.
        keys: bool = true, Truth;
        /// A request that takes this long is entered into the slow log; zero turns it off. Each worker enters at most
        /// 64 a second.
        slow_time: Duration = millis(10), Time(Duration::ZERO..=HOUR);
        /// Entries that the slow log keeps.
        slow_length: usize = 128, Count(1..=100_000);
    }

    /// Traces by OpenTelemetry: a span for the request of a client and one for each part that a node did. No key and
    /// no value is in them. A program that is built without the feature `traces` refuses an endpoint.
    traces: Traces {
        /// Where a collector takes them, by OTLP over plain HTTP (JSON), such as "http://127.0.0.1:4318/v1/traces";
        /// empty means that nothing is traced.
        endpoint: String = String::new(), Text, restart;
        /// Share of the requests that are traced.
        ratio: f64 = 0.001, Share;
        /// Whether requests that take longer than `observe.slow_time` are traced in any case.
        slow: bool = true, Truth;
        /// The name of this service in the traces.
        service: String = "slotway".to_owned(), Text;
    }

    /// What is logged, and how. Log lines go to standard error.
    log: Log {
        /// One level for all, or levels by room. Logins and the commands of administrators are logged as `audit` at
        /// level info, failed logins and denials at level warn: "warn,audit=info" logs all of them.
        level: String = "info".to_owned(), Filter;
        /// "auto" is text on a terminal and JSON elsewhere.
        format: LogFormat = LogFormat::Auto, OneOf, restart;
    }
}

impl Settings {
    /// The setting of that path, such as `listen.address`.
    pub fn key(path: &str) -> Option<&'static Key> {
        Self::KEYS.iter().find(|key| key.path == path)
    }
}

impl Routing {
    /// Whether a key is the gateway's own: clients do not see it in KEYS, SCAN and RANDOMKEY.
    pub fn is_stage_key(&self, key: &[u8]) -> bool {
        key.starts_with(self.stage_prefix.as_bytes())
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[cfg(test)]
mod tests;
