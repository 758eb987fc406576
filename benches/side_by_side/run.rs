//! The rounds: every load through every peer it compares, then all of it again.

mod curves;
mod paced;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cpu::{Cores, Spent, Usage, machine_micros};
use crate::exchange::{Exchange, Keyspace};
use crate::generator::{Drive, Outcome, drive};
use crate::idle;
use crate::loads::{LOADS, Load, Opening, Placement, Talk};
use crate::nodes::Nodes;
use crate::options::Options;
use crate::peers::{Name, Peer, Program, Stage};
use crate::report::{Figures, Measurement};
use crate::say;
use crate::talk::play;
use crate::wire::{Door, Identity};

pub(crate) use curves::curves;

/// Descriptors for everything that is not a client's connection.
const SPARE_DESCRIPTORS: u64 = 200;

/// Measures everything that the options want.
pub(crate) fn rounds(
    options: &Options,
    cores: Cores,
    programs: &[Program],
) -> Result<Vec<Measurement>> {
    let held = raise_descriptors(options.connections)?;
    if held < options.connections {
        let limit = "as many as `ulimit -Hn` lets a relay hold, which needs two files for each";
        say(&format!("idle: {held} connections, {limit}"))?;
    }
    let loads = options.loads()?;
    on_stage(options, cores, programs, held, |rounds| rounds.all(&loads))
}

/// Starts what every peer stands on, for as long as `act` needs it.
fn on_stage<T>(
    options: &Options,
    cores: Cores,
    programs: &[Program],
    connections: usize,
    act: impl FnOnce(&mut Rounds<'_>) -> Result<T>,
) -> Result<T> {
    let folder = tempfile::tempdir()?;
    let cluster = Nodes::cluster(&options.server, folder.path())?;
    let identity = Identity::new(folder.path())?;
    let stage = Stage {
        folder: folder.path(),
        cores,
        server: &options.server,
        cluster: &cluster,
        identity: &identity,
        connections,
        workers: 1,
        settings: &[],
    };
    act(&mut Rounds { options, programs, stage, peers: vec![], measurements: vec![] })
}

/// CPU time of the proxy, the nodes and the generator, and of the whole machine.
type Snapshot = ([Usage; 3], f64);

struct Rounds<'a> {
    options: &'a Options,
    programs: &'a [Program],
    stage: Stage<'a>,
    peers: Vec<Peer>,
    measurements: Vec<Measurement>,
}

impl Rounds<'_> {
    fn all(&mut self, loads: &[&'static Load]) -> Result<Vec<Measurement>> {
        let options = self.options;
        let drives = !loads.is_empty()
            || options.talks().next().is_some()
            || options.paced().next().is_some();
        for program in self.programs.iter().filter(|_| drives) {
            self.peers.push(Peer::start(program, &self.stage)?);
        }
        let prepared = self.prepare(loads)?;
        for round in 0..options.rounds {
            for (load, placement, exchanges) in &prepared {
                self.through_all(load, *placement, exchanges, round)?;
            }
            for (name, talk) in options.talks() {
                self.talk(name, talk, round)?;
            }
            for (name, paced) in options.paced() {
                self.paced(name, paced, round)?;
            }
            for (name, workers) in options.scaling() {
                self.scale(name, workers, round)?;
            }
            for (name, opening) in options.idle() {
                self.idle(name, opening, round)?;
            }
        }
        Ok(std::mem::take(&mut self.measurements))
    }

    /// Fills the nodes, and makes what the loads will send.
    fn prepare(
        &self,
        loads: &[&'static Load],
    ) -> Result<Vec<(&'static Load, Placement, Vec<Exchange>)>> {
        let mut keyspaces = BTreeMap::new();
        let mut prepared = vec![];
        for load in loads {
            for placement in load.placements {
                if self.options.keys.is_some_and(|wanted| wanted != *placement) {
                    continue;
                }
                let keyspace = keyspaces
                    .entry((*placement, load.value_bytes))
                    .or_insert_with(|| Keyspace::new(*placement, load.value_bytes));
                prepared.push((*load, *placement, keyspace.exchanges(load)?));
            }
        }
        for keyspace in keyspaces.values() {
            self.stage.cluster.fill(keyspace)?;
            self.peers.iter().try_for_each(|peer| peer.fill(keyspace))?;
        }
        Ok(prepared)
    }

    /// Each round begins with another peer, so that none has the same neighbours every time.
    fn through_all(
        &mut self,
        load: &'static Load,
        placement: Placement,
        exchanges: &[Exchange],
        round: usize,
    ) -> Result<()> {
        self.compare(load.name, placement, round, |rounds, peer| {
            let Some(door) = peer.door(load.tls, rounds.stage.identity) else { return Ok(None) };
            rounds.drive(peer, &door, &Drive::closed(load.clients, exchanges)).map(Some)
        })
    }

    fn talk(&mut self, name: &'static str, talk: Talk, round: usize) -> Result<()> {
        self.compare(name, Placement::One, round, |rounds, peer| {
            let mut connections = 0;
            let figures = rounds.measure(peer, |times, snapshot| {
                play(talk, peer.address, times, || {
                    connections = rounds.stage.cluster.connections()?;
                    snapshot()
                })
            })?;
            Ok(Some(Figures { node_connections: Some(connections as f64), ..figures }))
        })
    }

    /// Measures one load through every peer that the placement compares, and that has a way to be measured.
    fn compare(
        &mut self,
        load: &str,
        keys: Placement,
        round: usize,
        measure: impl Fn(&Self, &Peer) -> Result<Option<Figures>>,
    ) -> Result<()> {
        let compared: Vec<&Peer> =
            self.peers.iter().filter(|peer| keys.peers().contains(&peer.name)).collect();
        let (late, early) = compared.split_at(round % compared.len().max(1));
        let mut measured = vec![];
        for peer in early.iter().chain(late) {
            let figures = measure(self, peer)
                .with_context(|| format!("{load} through {}", peer.name.word()))?;
            let Some(figures) = figures else { continue };
            let load = load.to_owned();
            let measurement = Measurement { load, keys, peer: peer.name, round, figures };
            progress(&measurement)?;
            measured.push(measurement);
        }
        self.measurements.append(&mut measured);
        Ok(())
    }

    /// What it cost while these clients sent.
    fn drive(&self, peer: &Peer, door: &Door, clients: &Drive<'_>) -> Result<Figures> {
        self.measure(peer, |times, snapshot| drive(door, clients, times, snapshot))
    }

    /// What it cost while `run` sent a load, for the times of its warm-up and its window.
    fn measure(
        &self,
        peer: &Peer,
        run: impl FnOnce([Duration; 2], &dyn Fn() -> Result<Snapshot>) -> Result<Outcome<Snapshot>>,
    ) -> Result<Figures> {
        let nodes = peer.nodes(self.stage.cluster);
        let proxy: Vec<u32> = peer.pid().into_iter().collect();
        let generator = [std::process::id()];
        let times = [self.options.warm_up, self.options.seconds].map(Duration::from_secs_f64);
        let outcome = run(times, &|| {
            let usages = [Usage::of(&proxy)?, Usage::of(&nodes)?, Usage::of(&generator)?];
            Ok((usages, machine_micros()?))
        })?;
        let ([proxy_then, nodes_then, own_then], machine_then) = outcome.before;
        let ([proxy_now, nodes_now, own_now], machine_now) = outcome.after;
        let spent =
            [proxy_now.since(proxy_then), nodes_now.since(nodes_then), own_now.since(own_then)];
        let ours: f64 = spent.iter().map(|it| it.total()).sum();
        let available = outcome.seconds * 1e6 * f64::from(self.stage.cores.count());
        let [proxy, nodes, own] = spent.map(|it| it.divided_by(outcome.requests));
        let proxy = peer.pid().map(|_| proxy);
        let percentile = |share: f64| {
            let place = (outcome.latencies.len() as f64 * share) as usize;
            outcome.latencies.get(place).map(|nanoseconds| f64::from(*nanoseconds) / 1e3)
        };
        Ok(Figures {
            requests_per_second: Some(outcome.requests as f64 / outcome.seconds),
            p50_us: percentile(0.5),
            p99_us: percentile(0.99),
            p999_us: percentile(0.999),
            proxy_us: proxy.map(Spent::total),
            proxy_user_us: proxy.map(|it| it.user),
            proxy_system_us: proxy.map(|it| it.system),
            nodes_us: Some(nodes.total()),
            generator_us: Some(own.total()),
            others_share: Some(((machine_now - machine_then - ours) / available).max(0.0)),
            ..Figures::default()
        })
    }

    /// Memory is measured on a proxy that has done nothing else: what earlier loads left in an
    /// allocator would hide what connections take.
    fn idle(&mut self, load: &str, opening: Opening, round: usize) -> Result<()> {
        let get = LOADS.first().context("no loads")?;
        let keys = Placement::One;
        let keyspace = Keyspace::new(keys, get.value_bytes);
        self.stage.cluster.fill(&keyspace)?;
        let exchanges = keyspace.exchanges(get)?;
        for program in self.programs.iter().filter(|program| program.name != Name::Direct) {
            let peer = Peer::start(program, &self.stage)?;
            peer.fill(&keyspace)?;
            let connections = self.stage.connections;
            let kib = idle::kib_per_connection(&peer, &exchanges, connections, opening)
                .with_context(|| format!("{load} through {}", peer.name.word()))?;
            let figures = Figures { kib_per_connection: Some(kib), ..Figures::default() };
            let load = load.to_owned();
            let measurement = Measurement { load, keys, peer: peer.name, round, figures };
            progress(&measurement)?;
            self.measurements.push(measurement);
        }
        Ok(())
    }
}

/// Says what has just been measured.
fn progress(it: &Measurement) -> Result<()> {
    let figures = [
        ("", it.figures.requests_per_second, " req/s"),
        ("proxy ", it.figures.proxy_us, " us"),
        ("nodes ", it.figures.nodes_us, " us"),
        ("generator ", it.figures.generator_us, " us"),
        ("", it.figures.kib_per_connection, " KiB/connection"),
    ];
    let figures: Vec<String> = figures
        .iter()
        .filter_map(|(name, figure, unit)| Some(format!("{name}{:.2}{unit}", (*figure)?)))
        .collect();
    let (load, keys, peer) = (&it.load, it.keys.word(), it.peer.word());
    say(&format!("{}: {load:<15} {keys:<6} {peer:<10} {}", it.round + 1, figures.join(", ")))
}

/// The idle load needs a descriptor for each connection, here and in the proxy, and in a relay two.
/// Children inherit the limit. Returns how many connections a relay can then hold.
fn raise_descriptors(connections: usize) -> Result<usize> {
    let wanted = 2 * connections as u64 + SPARE_DESCRIPTORS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let maximum = maximum.unwrap_or(u64::MAX);
    if current.is_some_and(|current| current < wanted) {
        // Beyond the hard limit only a privileged user may go; up to it, everybody.
        let raise = |to| {
            let limit = Rlimit { current: Some(to), maximum: Some(to.max(maximum)) };
            setrlimit(Resource::Nofile, limit)
        };
        raise(wanted).or_else(|_| raise(maximum)).context("cannot raise the open files")?;
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).min(wanted);
    Ok((allowed.saturating_sub(SPARE_DESCRIPTORS) / 2) as usize)
}
