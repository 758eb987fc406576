//! The scenarios: what happens, what it must show, and what decides whether it does.

use crate::happenings as happen;
use crate::history::Fault;
use crate::judgement as judge;
use crate::run::Outcome;
use crate::stage::Stage;

/// What a scenario needs to stand on.
pub(crate) struct Ground {
    /// Nodes and gateways in namespaces of their own, so that packets can be dropped.
    pub(crate) has_network: bool,
    pub(crate) gateways: usize,
    /// Something stands before the first node and may spoil what it says.
    pub(crate) is_tampered: bool,
    /// The nodes serve their slots while others are not served (`cluster-require-full-coverage no`).
    pub(crate) serves_partly: bool,
}

/// Six nodes and a gateway on loopback.
const PLAIN: Ground =
    Ground { has_network: false, gateways: 1, is_tampered: false, serves_partly: false };
const NETWORK: Ground = Ground { has_network: true, ..PLAIN };
const TAMPERED: Ground = Ground { is_tampered: true, ..PLAIN };

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What happens.
    pub(crate) about: &'static str,
    /// What it must show.
    pub(crate) shows: &'static str,
    /// Seconds in the short form, if it is one of those.
    pub(crate) short: Option<f64>,
    pub(crate) ground: Ground,
    pub(crate) happen: fn(&mut Stage<'_>),
    pub(crate) judge: fn(&Outcome<'_>) -> Vec<Fault>,
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "failover",
        about: "CLUSTER FAILOVER of every shard in turn",
        shows: "no error; no pause of a second or more",
        short: Some(4.0),
        ground: PLAIN,
        happen: happen::planned::fail_over,
        judge: |outcome| {
            judge::all([judge::no_error(outcome), judge::pause_below(outcome, judge::A_SECOND)])
        },
    },
    Scenario {
        name: "migration",
        about: "every slot of a node moves to another, and back",
        shows: "no error; order kept",
        short: Some(4.0),
        ground: PLAIN,
        happen: happen::planned::migrate,
        judge: judge::no_error,
    },
    Scenario {
        name: "rolling-restart",
        about: "every node is restarted, a primary after it has handed over",
        shows: "no error, but UNCERTAIN for a message in flight to the node that carries messages",
        short: None,
        ground: PLAIN,
        happen: happen::planned::restart_all,
        judge: judge::no_error_but_of_messages,
    },
    Scenario {
        name: "kill-primary",
        about: "kill -9 of a primary",
        shows: "reads: no error; writes: only those in flight, as UNCERTAIN",
        short: Some(4.0),
        ground: PLAIN,
        happen: happen::lost::kill,
        judge: |outcome| judge::only_in_flight(outcome, judge::AT_ONCE),
    },
    Scenario {
        name: "freeze-primary",
        about: "SIGSTOP of a primary for 20 s",
        shows: "reads: no error; writes: only those in flight until it is found out, as UNCERTAIN",
        short: None,
        ground: PLAIN,
        happen: happen::lost::freeze,
        judge: |outcome| judge::only_in_flight(outcome, judge::FOUND_OUT),
    },
    Scenario {
        name: "power-off",
        about: "every packet from and to a primary is dropped for 20 s",
        shows: "reads: no error; writes: only those in flight until it is found out, as UNCERTAIN",
        short: None,
        ground: NETWORK,
        happen: happen::lost::power_off,
        judge: |outcome| judge::only_in_flight(outcome, judge::FOUND_OUT),
    },
    Scenario {
        name: "gateway-cut-off",
        about: "every packet between the gateway and one primary is dropped for 8 s; the nodes see each other",
        shows: "reads: no error; writes: only those in flight until it is found out, as UNCERTAIN",
        short: None,
        ground: NETWORK,
        happen: happen::parted::gateway,
        judge: |outcome| judge::only_in_flight(outcome, judge::FOUND_OUT),
    },
    Scenario {
        name: "split-cluster",
        about: "two nodes, one of them a primary, do not see the other four for 20 s; the gateway sees all",
        shows: "reads: no error; writes: only those in flight, as UNCERTAIN; nothing stale is read",
        short: None,
        ground: NETWORK,
        happen: happen::parted::cluster,
        judge: |outcome| judge::only_in_flight(outcome, judge::FOUND_OUT),
    },
    Scenario {
        name: "stutter",
        about: "packets between the gateway and one primary are lost for moments, again and again",
        shows: "no error",
        short: None,
        ground: NETWORK,
        happen: happen::parted::stutter,
        judge: judge::no_error,
    },
    Scenario {
        name: "dead-shard",
        about: "kill -9 of a primary and its replica; both come back after 20 s",
        shows: "its requests fail after the hold time, with slot and cause or in a node's own words; the others are as fast as before",
        short: None,
        ground: Ground { serves_partly: true, ..PLAIN },
        happen: happen::lost::kill_shard,
        judge: judge::one_shard_fails,
    },
    Scenario {
        name: "all-down",
        about: "kill -9 of all nodes; they come back after 30 s",
        shows: "no crash, bounded memory, recovery within 2 s of their return",
        short: None,
        ground: PLAIN,
        happen: happen::lost::kill_all,
        judge: judge::only_while_down,
    },
    Scenario {
        name: "hand-over",
        about: "another process of the gateway takes over (SIGUSR2), every 5 s",
        shows: "no error",
        short: Some(4.0),
        ground: PLAIN,
        happen: happen::gateway::hand_over,
        judge: judge::no_error,
    },
    Scenario {
        name: "kill-gateway",
        about: "kill -9 of one of two gateways",
        shows: "clients of the other see nothing; no element is lost to a wait that nobody waits for",
        short: None,
        ground: Ground { gateways: 2, ..PLAIN },
        happen: happen::gateway::kill,
        judge: judge::no_error,
    },
    Scenario {
        name: "rubbish",
        about: "a primary answers what is no reply, for 5 s",
        shows: "only its own requests in flight fail, as UNCERTAIN",
        short: Some(4.0),
        ground: TAMPERED,
        happen: happen::gateway::rubbish,
        judge: judge::only_in_flight_there,
    },
    Scenario {
        name: "endless",
        about: "a primary answers with a line that never ends, for 5 s",
        shows: "only its own requests in flight fail, as UNCERTAIN",
        short: None,
        ground: TAMPERED,
        happen: happen::gateway::endless,
        judge: judge::only_in_flight_there,
    },
    Scenario {
        name: "drip",
        about: "a primary answers one byte a second, for 5 s",
        shows: "only its own requests in flight fail, as UNCERTAIN",
        short: None,
        ground: TAMPERED,
        happen: happen::gateway::drip,
        judge: judge::only_in_flight_there,
    },
    Scenario {
        name: "anything-here",
        about: "failovers, restarts, moves, kills, freezes and hand-overs, in an order of chance",
        shows: "the histories are clean; memory and descriptors stay flat",
        short: Some(120.0),
        ground: PLAIN,
        happen: happen::anything,
        judge: judge::flat,
    },
    Scenario {
        name: "anything",
        about: "the same with power cuts and partitions",
        shows: "the histories are clean; memory and descriptors stay flat",
        short: None,
        ground: NETWORK,
        happen: happen::anything,
        judge: judge::flat,
    },
];
