//! A real cluster: formed, resharded, failed over and hurt from the test's side.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::{Authority, Client, PATIENCE, Server, free_port, key_slot, local, text, wait_for};

const SLOTS: u16 = 16_384;

/// How a cluster is built.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) primaries: usize,
    pub(crate) replicas: usize,
    pub(crate) node_timeout_ms: u32,
}

/// Nodes of one cluster; the first ones were born as primaries, replica `n` of primary `p` stands at
/// `primaries * (n + 1) + p`.
pub(crate) struct Cluster {
    nodes: Vec<Server>,
    ids: Vec<String>,
    shape: Shape,
}

impl Cluster {
    /// The cluster of three primaries and three replicas that all tests share. Nobody hurts it: its nodes refuse to
    /// be emptied, which would take away what other tests are waiting for.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| {
            let shape = Shape { primaries: 3, replicas: 1, node_timeout_ms: 15_000 };
            let cluster = Self::start(shape);
            (0..6).for_each(|place| cluster.order(place, "ACL SETUSER default -flushall -flushdb"));
            cluster
        })
    }

    /// Two primaries and no replicas: enough for slots to move.
    pub(crate) fn small() -> Self {
        Self::start(Shape { primaries: 2, replicas: 0, node_timeout_ms: 15_000 })
    }

    /// Three primaries with a replica each that take over soon after a primary died.
    pub(crate) fn quick_failover() -> Self {
        Self::start(Shape { primaries: 3, replicas: 1, node_timeout_ms: 1_500 })
    }

    /// Three primaries that also speak TLS, and the addresses where they do.
    pub(crate) fn encrypted(authority: &Authority) -> (Self, Vec<SocketAddr>) {
        let shape = Shape { primaries: 3, replicas: 0, node_timeout_ms: 15_000 };
        let (node, ca) = (authority.certify("node"), authority.certificate());
        let ports: Vec<u16> = (0..shape.primaries).map(|_| free_port()).collect();
        let encrypted = |port: &u16| {
            let options = [
                ("--tls-port", &*port.to_string()),
                ("--tls-cluster", "yes"),
                ("--tls-cert-file", text(&node.certificate)),
                ("--tls-key-file", text(&node.key)),
                ("--tls-ca-cert-file", text(&ca)),
            ];
            Server::node_with_options(shape.node_timeout_ms, &options)
        };
        let cluster = Self::form(shape, ports.iter().map(encrypted).collect());
        (cluster, ports.into_iter().map(local).collect())
    }

    pub(crate) fn start(shape: Shape) -> Self {
        Self::with_options(shape, &[])
    }

    /// The same with more options for every node.
    pub(crate) fn with_options(shape: Shape, options: &[(&str, &str)]) -> Self {
        let count = shape.primaries * (1 + shape.replicas);
        let node = |_| Server::node_with_options(shape.node_timeout_ms, options);
        Self::form(shape, (0..count).map(node).collect())
    }

    /// Of servers that run already and know nothing of each other.
    pub(crate) fn form(shape: Shape, nodes: Vec<Server>) -> Self {
        let ids = nodes.iter().map(|node| node.client().call("CLUSTER MYID").text()).collect();
        let cluster = Self { nodes, ids, shape };
        cluster.give_slots();
        cluster.meet();
        cluster.attach_replicas();
        cluster.wait_until_whole();
        cluster
    }

    fn give_slots(&self) {
        let primaries = self.shape.primaries;
        for place in 0..primaries {
            let first = usize::from(SLOTS) * place / primaries;
            let last = usize::from(SLOTS) * (place + 1) / primaries - 1;
            self.order(place, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
            self.order(place, &format!("CLUSTER SET-CONFIG-EPOCH {}", place + 1));
        }
    }

    fn meet(&self) {
        for (place, node) in self.nodes.iter().enumerate() {
            let known = node.client().call("CLUSTER NODES").text();
            for other in (0..place).filter(|other| !known.contains(&self.ids[*other])) {
                let bus = self.bus_port(other);
                let mut client = node.client();
                let at = self.nodes[other].address();
                let reply = client.call(&format!("CLUSTER MEET {} {} {bus}", at.ip(), at.port()));
                assert_eq!(reply.text(), "OK");
            }
        }
        for node in &self.nodes {
            wait_for("nodes that know each other", || {
                let view = node.client().call("CLUSTER NODES").text();
                self.ids.iter().all(|id| view.contains(id)) && !view.contains("handshake")
            });
        }
    }

    fn bus_port(&self, place: usize) -> String {
        self.nodes[place].client().call("CONFIG GET cluster-port").items()[1].text()
    }

    fn attach_replicas(&self) {
        for place in self.shape.primaries..self.nodes.len() {
            let primary = &self.ids[place % self.shape.primaries];
            wait_for("a replica that accepts its primary", || {
                self.nodes[place].client().call(&format!("CLUSTER REPLICATE {primary}")).text()
                    == "OK"
            });
        }
    }

    /// Waits until every running node sees every slot served, every replica is in step, and all agree on the slots.
    pub(crate) fn wait_until_whole(&self) {
        wait_for("a whole cluster", || {
            self.nodes.iter().filter(|node| node.is_running()).all(is_in_step)
        });
        self.wait_until_agreed();
    }

    /// Waits until the first node knows all replicas, which it hears of only some time after they were made. Says where
    /// it is, for those who ask it alone.
    pub(crate) fn wait_until_known(&self) -> String {
        let replicas = self.nodes.len() - self.shape.primaries;
        wait_for("a node that knows all replicas", || {
            self.nodes[0].client().call("CLUSTER NODES").text().matches("slave ").count()
                == replicas
        });
        self.nodes[0].address().to_string()
    }

    /// Gives all nodes another password, and closes the connections that were made with the one before. Afterwards
    /// nothing of this that asks a node works any more.
    pub(crate) fn change_password(&self, before: &str, after: &str) {
        for node in &self.nodes {
            let mut client = node.client();
            if !before.is_empty() {
                assert_eq!(client.call(&format!("AUTH {before}")).text(), "OK");
            }
            for name in ["masterauth", "requirepass"] {
                assert_eq!(client.call(&format!("CONFIG SET {name} {after}")).text(), "OK");
            }
            client.call("CLIENT KILL TYPE normal");
        }
    }

    pub(crate) fn node(&self, place: usize) -> &Server {
        &self.nodes[place]
    }

    pub(crate) fn node_mut(&mut self, place: usize) -> &mut Server {
        &mut self.nodes[place]
    }

    /// The name that the cluster gave the node.
    pub(crate) fn id(&self, place: usize) -> &str {
        &self.ids[place]
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Server::address).collect()
    }

    /// Place of the node that now serves the slot.
    pub(crate) fn owner(&self, slot: u16) -> usize {
        let asked = self.nodes.iter().find(|node| node.is_running()).unwrap();
        let ranges = asked.client().call("CLUSTER SLOTS").items();
        let serving = ranges
            .iter()
            .map(super::Reply::items)
            .find(|range| (range[0].integer()..=range[1].integer()).contains(&i64::from(slot)));
        let id = serving.unwrap()[2].items()[2].text();
        self.ids.iter().position(|known| *known == id).unwrap()
    }

    /// A direct connection to the node that now serves the key.
    pub(crate) fn owner_client(&self, key: &str) -> Client {
        self.nodes[self.owner(key_slot(key.as_bytes()))].client()
    }

    /// Lets another node join, which owns no slot yet.
    pub(crate) fn with_one_more(mut self, node: Server) -> Self {
        self.ids.push(node.client().call("CLUSTER MYID").text());
        self.nodes.push(node);
        self.meet();
        self.wait_until_whole();
        self
    }

    /// First half of a migration: from now on absent keys of the slot are asked for at the target.
    pub(crate) fn begin_migration(&self, slot: u16, target: usize) {
        let source = self.owner(slot);
        assert_ne!(source, target, "slot {slot} is there already");
        self.order(target, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.ids[source]));
        self.order(source, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", self.ids[target]));
    }

    /// Moves up to that many keys of a migrating slot and says how many went.
    pub(crate) fn migrate_keys(&self, slot: u16, target: usize, most: usize) -> usize {
        let mut source = self.nodes[self.owner(slot)].client();
        let keys = source.call(&format!("CLUSTER GETKEYSINSLOT {slot} {most}")).items();
        if keys.is_empty() {
            return 0;
        }
        let at = self.nodes[target].address();
        let (ip, port) = (at.ip().to_string(), at.port().to_string());
        let mut migrate: Vec<&[u8]> =
            vec![b"MIGRATE", ip.as_bytes(), port.as_bytes(), b"", b"0", b"10000", b"KEYS"];
        migrate.extend(keys.iter().map(super::Reply::payload));
        let reply = source.call_args(&migrate);
        assert!(matches!(reply.text().as_str(), "OK" | "NOKEY"), "{reply}");
        keys.len()
    }

    /// Second half: what is left is moved and the target becomes the owner.
    pub(crate) fn finish_migration(&self, slot: u16, target: usize) {
        let source = self.owner(slot);
        let take_over = format!("CLUSTER SETSLOT {slot} NODE {}", self.ids[target]);
        while self.migrate_keys(slot, target, 100) > 0 {}
        self.order(target, &take_over);
        // The source is told last, to close its side. A server of version 7.0 that believes the order before it has heard
        // the target's claim takes the target's older messages for a waiver, and gives the slot away at the next claim.
        self.wait_until_agreed();
        self.order(source, &take_over);
        assert_eq!(self.owner(slot), target);
    }

    /// Waits until all running nodes have one view and one epoch.
    fn wait_until_agreed(&self) {
        let views = || -> Vec<String> {
            let running = self.nodes.iter().filter(|node| node.is_running());
            running.map(|node| slot_view(node) + &epoch(node)).collect()
        };
        let deadline = Instant::now() + PATIENCE;
        while views().windows(2).any(|pair| pair[0] != pair[1]) {
            assert!(Instant::now() < deadline, "nodes disagree for ever:\n{}", views().join("\n"));
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Moves the slot with all its keys.
    pub(crate) fn migrate_slot(&self, slot: u16, target: usize) {
        self.begin_migration(slot, target);
        self.finish_migration(slot, target);
    }

    /// Lets the replica take over from its living primary, in order and without loss.
    pub(crate) fn fail_over_to(&self, replica: usize) {
        let node = &self.nodes[replica];
        wait_for("the replica as primary", || {
            // On a busy machine a take-over may not get its votes in time; it is given up after five seconds and may
            // be asked for again.
            let asked = node.client().call("CLUSTER FAILOVER");
            assert!(asked.text() == "OK" || is_primary(node), "{asked}");
            let given_up = Instant::now() + Duration::from_secs(6);
            while Instant::now() < given_up && !is_primary(node) {
                thread::sleep(Duration::from_millis(5));
            }
            is_primary(node)
        });
    }

    pub(crate) fn wait_for_primary(&self, place: usize) {
        wait_for("the replica as primary", || is_primary(&self.nodes[place]));
    }

    fn order(&self, place: usize, line: &str) {
        let reply = self.nodes[place].client().call(line);
        assert_eq!(reply.text(), "OK", "{line}");
    }
}

/// Who serves what, as the node sees it, without the order of the lines.
fn slot_view(node: &Server) -> String {
    let mut lines: Vec<String> = node
        .client()
        .call("CLUSTER SLOTS")
        .items()
        .iter()
        .map(|range| {
            let range = range.items();
            format!("{} {} {}", range[0], range[1], range[2].items()[1])
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

fn is_primary(node: &Server) -> bool {
    node.client().call("ROLE").items()[0].text() == "master"
}

fn epoch(node: &Server) -> String {
    let info = node.client().call("CLUSTER INFO").text();
    info.lines().find(|line| line.starts_with("cluster_current_epoch:")).unwrap().to_owned()
}

fn is_in_step(node: &Server) -> bool {
    let mut client = node.client();
    let replication = client.call("INFO replication").text();
    let linked =
        replication.contains("role:master") || replication.contains("master_link_status:up");
    linked && client.call("CLUSTER INFO").text().contains("cluster_state:ok")
}

#[test]
fn a_slot_moves_and_a_replica_takes_over() {
    let cluster = Cluster::quick_failover();
    let slot = key_slot(b"key");
    let (source, mut client) = (cluster.owner(slot), cluster.owner_client("key"));
    assert_eq!(client.call("SET key value").text(), "OK");
    let target = (source + 1) % 3;
    cluster.migrate_slot(slot, target);
    assert_eq!(cluster.owner_client("key").call("GET key").text(), "value");
    assert!(client.call("GET key").text().starts_with("MOVED"));
    cluster.wait_until_whole();
    cluster.fail_over_to(target + 3);
    assert_eq!(cluster.node(target + 3).client().call("GET key").text(), "value");
}
