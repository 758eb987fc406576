//! Loads at a pace, and slotway with more workers than one.

use anyhow::{Context as _, Result};

use super::{Rounds, progress};
use crate::cpu::evenness;
use crate::exchange::{Exchange, Keyspace};
use crate::generator::Drive;
use crate::greed::Greedy;
use crate::loads::{Greed, LOADS, Load, Paced, Placement};
use crate::nodes::Nodes;
use crate::peers::{Name, Peer, Stage};
use crate::report::{Figures, Measurement};

/// What is left of the slowest peer's throughput in `tail-70`.
const TAIL: f64 = 0.7;
/// Beside a greedy client: so many clients, and so many exchanges of all in a second.
const NEIGHBOURS: usize = 20;
const NEIGHBOURS_PACE: f64 = 2_000.0;

impl Rounds<'_> {
    pub(super) fn paced(&mut self, name: &str, paced: Paced, round: usize) -> Result<()> {
        let (load, exchanges) = self.first_load(Placement::One)?;
        match paced {
            Paced::Tail => {
                let closed = Drive::closed(load.clients, &exchanges);
                let pace = self.most(&closed)?.map(|most| most * TAIL);
                let clients = Drive { pace, ..closed };
                self.compare(name, Placement::One, round, |rounds, peer| {
                    rounds.drive(peer, &peer.plain_door(), &clients).map(Some)
                })
            }
            Paced::Beside(greed) => {
                let closed = Drive::closed(NEIGHBOURS, &exchanges);
                let clients = Drive { pace: Some(NEIGHBOURS_PACE), ..closed };
                self.compare(name, Placement::One, round, |rounds, peer| {
                    rounds.beside(greed, peer, &clients)
                })
            }
        }
    }

    /// Requests in a second through HAProxy, or through the last of the peers where it is not installed.
    fn most(&self, clients: &Drive<'_>) -> Result<Option<f64>> {
        let haproxy = self.peers.iter().find(|peer| peer.name == Name::Haproxy);
        let peer = haproxy.or(self.peers.last()).context("no peers")?;
        Ok(self.drive(peer, &peer.plain_door(), clients)?.requests_per_second)
    }

    /// Who talks to a node itself shows what the greedy client does to the machine: it talks to another node.
    fn beside(&self, greed: Greed, peer: &Peer, clients: &Drive<'_>) -> Result<Option<Figures>> {
        let [_, other, _] = self.stage.cluster.addresses();
        let address = match peer.name {
            Name::Direct => other,
            Name::Slotway => peer.address,
            // It knows no other node than the one that the others ask.
            Name::Envoy | Name::Haproxy | Name::Nutcracker => return Ok(None),
        };
        let greedy = Greedy::start(greed, address, &Nodes::other_tag())?;
        let figures = self.drive(peer, &peer.plain_door(), clients)?;
        greedy.end()?;
        // CPU time is mostly the greedy client's, but for the requests of the others.
        let (proxy_us, proxy_user_us, proxy_system_us, nodes_us) = (None, None, None, None);
        Ok(Some(Figures { proxy_us, proxy_user_us, proxy_system_us, nodes_us, ..figures }))
    }

    /// CPU per request and evenness do not ask for a core for each worker, as throughput would.
    pub(super) fn scale(&mut self, name: &str, workers: u16, round: usize) -> Result<()> {
        let program = self.programs.iter().find(|program| program.name == Name::Slotway);
        let program = program.context("slotway is not there")?;
        let keys = Placement::Spread;
        let (load, exchanges) = self.first_load(keys)?;
        let peer = Peer::start(program, &Stage { workers, ..self.stage })?;
        let clients = Drive::closed(load.clients, &exchanges);
        let figures = self.drive(&peer, &peer.plain_door(), &clients)?;
        let evenness = peer.pid().map(|pid| evenness(pid, "worker-")).transpose()?.flatten();
        let figures = Figures { evenness, ..figures };
        let measurement =
            Measurement { load: name.to_owned(), keys, peer: peer.name, round, figures };
        progress(&measurement)?;
        self.measurements.push(measurement);
        Ok(())
    }

    /// The first load, whose keys are filled, and what it sends.
    fn first_load(&self, placement: Placement) -> Result<(&'static Load, Vec<Exchange>)> {
        let load = LOADS.first().context("no loads")?;
        let keyspace = Keyspace::new(placement, load.value_bytes);
        self.stage.cluster.fill(&keyspace)?;
        Ok((load, keyspace.exchanges(load)?))
    }
}
