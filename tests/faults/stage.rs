//! Where a scenario plays: a cluster, gateways before it, and what happened to them so far.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::figures::Counted;
use crate::happenings::gateway;
use crate::harness::{Client, Cluster, Gateway, Reply, Server, Serving, Shape, Site, wait_within};
use crate::history::Moment;
use crate::history::losses::{LostNode, LostNodes};
use crate::history::record::Record;
use crate::history::topics::Standstill;
use crate::network::Network;
use crate::options::Options;
use crate::scenario::Ground;
use crate::tamper::Tamper;

/// What a cluster may take for anything before the run is given up.
const LONG: Duration = Duration::from_secs(90);
/// An answer of a node that serves comes within this time.
const PROMPT: Duration = Duration::from_secs(1);
/// How exactly the time of a hand-over is kept.
const A_MOMENT: Duration = Duration::from_millis(20);

/// One thing that was done to the cluster or to a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Blow {
    pub(crate) what: String,
    pub(crate) begin: Moment,
    /// It was done by then.
    pub(crate) done: Moment,
    /// From then on the cluster itself served everything again, as its nodes say.
    pub(crate) served: Moment,
    /// It was mended by then.
    pub(crate) end: Moment,
    /// Slots that were not served meanwhile, or by a node that could not be heard.
    pub(crate) dead: Vec<u16>,
}

pub(crate) struct Stage<'a> {
    pub(crate) options: &'a Options,
    pub(crate) cluster: Cluster,
    pub(crate) gateways: Vec<Gateway>,
    /// Who serves after a hand-over.
    pub(crate) serving: Serving,
    pub(crate) tamper: Option<Tamper>,
    pub(crate) network: Option<Network>,
    pub(crate) clock: Clock,
    pub(crate) random: fastrand::Rng,
    pub(crate) blows: Vec<Blow>,
    pub(crate) lost: LostNodes,
    pub(crate) standstills: Vec<Standstill>,
    /// By gateways, or processes of one, that have ended.
    pub(crate) counted: Counted,
    pub(crate) until: Moment,
    /// What the next blow takes away.
    pub(crate) dead: Vec<u16>,
    /// The gateway that is weighed.
    pub(crate) process: Arc<AtomicU32>,
    /// The gateway hands over then, whatever happens.
    pub(crate) hand_over_at: Option<Moment>,
}

impl<'a> Stage<'a> {
    pub(crate) fn set(ground: &Ground, options: &'a Options) -> Self {
        let mut network = ground.has_network.then(Network::new);
        let mut site = || network.as_mut().map_or_else(Site::here, Network::site);
        let timeout = options.node_timeout;
        let coverage = if ground.serves_partly { "no" } else { "yes" };
        let node = |site: Site| {
            let options = [
                ("--appendonly", "yes"),
                // What was executed is to be read by commands, and as it came.
                ("--aof-use-rdb-preamble", "no"),
                ("--auto-aof-rewrite-percentage", "0"),
                ("--appendfsync", "no"),
                ("--protected-mode", "no"),
                // A primary that gave its last slot away is to get it back.
                ("--cluster-allow-replica-migration", "no"),
                ("--cluster-require-full-coverage", coverage),
            ];
            Server::node_at(site, timeout, &options)
        };
        let nodes: Vec<Server> = (0..6).map(|_| node(site())).collect();
        let shape = Shape { primaries: 3, replicas: 1, node_timeout_ms: timeout };
        let cluster = Cluster::form(shape, nodes);
        let tamper = ground.is_tampered.then(|| Tamper::before(cluster.node(0).address()));
        let gateways = (0..ground.gateways).map(|_| {
            let builder = Gateway::before(&cluster).workers(options.workers);
            let builder = match &tamper {
                None => builder,
                Some(tamper) => builder.setting(
                    &format!("cluster.address_map.\"{}\"", cluster.node(0).address()),
                    tamper.address().to_string(),
                ),
            };
            if ground.has_network { builder.at(&site()) } else { builder }.start()
        });
        let gateways: Vec<Gateway> = gateways.collect();
        let process = Arc::new(AtomicU32::new(gateways[0].id()));
        Self {
            options,
            cluster,
            gateways,
            serving: Serving(None),
            tamper,
            network,
            clock: Clock::new(),
            random: fastrand::Rng::with_seed(options.seed),
            blows: Vec::new(),
            lost: LostNodes::default(),
            standstills: Vec::new(),
            counted: Counted::default(),
            until: 0,
            dead: Vec::new(),
            process,
            hand_over_at: None,
        }
    }

    pub(crate) fn gateway_addresses(&self) -> Vec<SocketAddr> {
        self.gateways.iter().map(Gateway::address).collect()
    }

    pub(crate) fn ip(&self, place: usize) -> IpAddr {
        self.cluster.node(place).address().ip()
    }

    /// Whether there is time for more.
    pub(crate) fn goes_on(&self) -> bool {
        self.clock.now() < self.until
    }

    /// Lets the load run for a while.
    pub(crate) fn rest(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            self.hand_over_when_due();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(A_MOMENT));
        }
    }

    fn hand_over_when_due(&mut self) {
        if self.hand_over_at.is_some_and(|due| due <= self.clock.now()) {
            self.hand_over_at = None;
            gateway::take_over(self);
        }
    }

    /// Asks one node; `None` if it does not answer in time.
    pub(crate) fn ask(&self, place: usize, line: &str) -> Option<Reply> {
        let node = self.cluster.node(place);
        if !node.is_running() {
            return None;
        }
        let mut client = Client::try_connect(node.address()).ok()?.patience(PROMPT);
        client.try_call(line).ok()
    }

    /// Places of the nodes that take themselves for primaries, each with that of its replica.
    pub(crate) fn shards(&self) -> Vec<(usize, usize)> {
        let roles: Vec<Vec<Reply>> = (0..6)
            .map(|place| self.ask(place, "ROLE").map(|role| role.items()).unwrap_or_default())
            .collect();
        let at = |address: (String, String)| {
            self.cluster
                .addresses()
                .iter()
                .position(|known| (known.ip().to_string(), known.port().to_string()) == address)
        };
        let follows = |role: &[Reply]| match role {
            [kind, ip, port, ..] if kind.text() == "slave" => at((ip.text(), port.text())),
            _ => None,
        };
        let pairs = roles.iter().enumerate();
        let mut shards: Vec<(usize, usize)> =
            pairs.filter_map(|(place, role)| Some((follows(role)?, place))).collect();
        shards.sort_unstable();
        shards
    }

    /// One of them.
    pub(crate) fn any_shard(&mut self) -> (usize, usize) {
        let shards = self.shards();
        shards[self.random.usize(0..shards.len())]
    }

    /// Waits until the node takes writes as a primary; says when.
    pub(crate) fn wait_for_takeover(&mut self, replica: usize) -> Moment {
        wait_within(LONG, "a replica that takes over", || {
            self.hand_over_when_due();
            let role = self.ask(replica, "ROLE").map(|role| role.items());
            let is_primary = role.is_some_and(|role| role[0].text() == "master");
            is_primary && self.is_ok(replica)
        });
        self.clock.now()
    }

    pub(crate) fn is_ok(&self, place: usize) -> bool {
        let info = self.ask(place, "CLUSTER INFO");
        info.is_some_and(|info| info.text().contains("cluster_state:ok"))
    }

    /// Waits until every node is back and in step.
    pub(crate) fn wait_until_whole(&self) {
        let deadline = Instant::now() + LONG;
        // Nodes that do not answer yet would let the cluster's own wait fail.
        wait_within(LONG, "six nodes that answer", || (0..6).all(|place| self.is_ok(place)));
        let followed = || {
            let shards = self.shards();
            shards.len() == 3 && shards.iter().all(|(primary, _)| self.is_followed(*primary))
        };
        wait_within(deadline.saturating_duration_since(Instant::now()), "three pairs", followed);
        self.cluster.wait_until_whole();
    }

    /// Whether its replica has told within a second that it is there: after a partition, packets may come late by half a
    /// minute, and a replica that has not heard so long would take over without what was written.
    fn is_followed(&self, primary: usize) -> bool {
        let info = self.ask(primary, "INFO replication").map(|info| info.text());
        info.is_some_and(|info| {
            let replica = info.lines().find(|line| line.starts_with("slave0:"));
            replica.is_some_and(|line| {
                line.contains("state=online")
                    && (line.ends_with("lag=0") || line.ends_with("lag=1"))
            })
        })
    }

    /// Keeps what the node that was lost at this time has executed, by its own account.
    pub(crate) fn keep_record(&mut self, place: usize, at: Moment, until: Moment) {
        let record = Record::of_server(self.cluster.node(place).folder()).unwrap();
        self.lost.0.push(LostNode { at, until, record });
    }

    /// A node that has stood still since then goes on now.
    pub(crate) fn stood_still(&mut self, begin: Moment) {
        self.standstills.push(Standstill { begin, end: self.clock.now() });
    }

    pub(crate) fn struck(&mut self, what: impl Into<String>, begin: Moment, served: Moment) {
        self.struck_by(what, begin, begin, served);
    }

    /// The same for what takes its time to be done.
    pub(crate) fn struck_by(
        &mut self,
        what: impl Into<String>,
        begin: Moment,
        done: Moment,
        served: Moment,
    ) {
        let end = self.clock.now();
        let dead = std::mem::take(&mut self.dead);
        self.blows.push(Blow { what: what.into(), begin, done, served, end, dead });
    }
}
