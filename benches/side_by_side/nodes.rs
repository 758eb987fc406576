//! The real servers behind every peer: a cluster of three primaries, or three without a cluster.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::exchange::{Keyspace, SCRIPT, ask, connect};
use crate::process::Process;
use crate::wait::free_addresses;

/// The first slot of each primary, and the end.
const BOUNDS: [u16; 4] = [0, 5461, 10923, 16384];

/// Three servers; dropping them kills them.
pub(crate) struct Nodes {
    processes: Vec<Process>,
    addresses: [SocketAddr; 3],
}

impl Nodes {
    /// A cluster of three primaries, every slot covered, each knowing the others.
    pub(crate) fn cluster(server: &Path, folder: &Path) -> Result<Self> {
        let [a, b, c, bus_a, bus_b, bus_c] = free_addresses()?;
        let buses = [bus_a, bus_b, bus_c].map(|bus| bus.port().to_string());
        let mut nodes = Self { processes: vec![], addresses: [a, b, c] };
        for (address, bus) in [a, b, c].into_iter().zip(&buses) {
            nodes.start(
                server,
                folder,
                address,
                &["--cluster-enabled", "yes", "--cluster-port", bus],
            )?;
        }
        for (number, (address, bounds)) in nodes.addresses.iter().zip(BOUNDS.windows(2)).enumerate()
        {
            let &[first, end] = bounds else { continue };
            let (first, last) = (first.to_string(), (end - 1).to_string());
            let connection = connect(*address)?;
            ask(&connection, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
            ask(&connection, &["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
            ask(&connection, &["CLUSTER", "MEET", "127.0.0.1", &a.port().to_string(), &buses[0]])?;
        }
        nodes.until_formed()?;
        Ok(nodes)
    }

    /// Three servers that know nothing of each other.
    pub(crate) fn apart(server: &Path, folder: &Path) -> Result<Self> {
        let addresses = free_addresses()?;
        let mut nodes = Self { processes: vec![], addresses };
        for address in addresses {
            nodes.start(server, folder, address, &[])?;
        }
        Ok(nodes)
    }

    /// Their addresses.
    pub(crate) fn addresses(&self) -> [SocketAddr; 3] {
        self.addresses
    }

    /// A hash tag whose slot is the second primary's: no key of a load has it.
    pub(crate) fn other_tag() -> String {
        let tags = ('a'..='z').map(|letter| format!("{{{letter}}}"));
        let [_, first, end, _] = BOUNDS;
        tags.into_iter().find(|tag| (first..end).contains(&slot(tag))).unwrap_or_default()
    }

    /// Their process ids.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// Connections of others that the nodes hold.
    pub(crate) fn connections(&self) -> Result<u64> {
        let mut sum = 0;
        for address in self.addresses {
            let info = ask(&connect(address)?, &["INFO", "clients"])?;
            let count = info.lines().find_map(|line| line.strip_prefix("connected_clients:"));
            sum += count.context("no number of clients")?.trim().parse::<u64>()? - 1;
        }
        Ok(sum)
    }

    /// Writes every key to the primary that owns its slot.
    pub(crate) fn fill(&self, keyspace: &Keyspace) -> Result<()> {
        let [a, b, c] = self.addresses;
        let connections = [connect(a)?, connect(b)?, connect(c)?];
        for connection in &connections {
            ask(connection, &["SCRIPT", "LOAD", SCRIPT])?;
        }
        for (key, exchange) in keyspace.fill() {
            let slot = slot(key);
            let owner = BOUNDS.iter().skip(1).position(|end| slot < *end);
            let connection = owner.and_then(|owner| connections.get(owner)).context("no owner")?;
            exchange.run(connection)?;
        }
        Ok(())
    }

    fn start(&mut self, server: &Path, folder: &Path, at: SocketAddr, more: &[&str]) -> Result<()> {
        let name = format!("node-{}", at.port());
        let home = folder.join(&name);
        std::fs::create_dir(&home)?;
        let mut command = Command::new(server);
        command.current_dir(&home).args(["--port", &at.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--maxclients", "30000"]).args(more);
        let mut process = Process::start(&name, folder, &mut command)?;
        process.until(|| ask(&connect(at)?, &["PING"]))?;
        self.processes.push(process);
        Ok(())
    }

    fn until_formed(&mut self) -> Result<()> {
        for (process, address) in self.processes.iter_mut().zip(self.addresses) {
            process.until(|| {
                let info = ask(&connect(address)?, &["CLUSTER", "INFO"])?;
                let formed = ["cluster_state:ok", "cluster_known_nodes:3", "cluster_size:3"]
                    .iter()
                    .all(|line| info.contains(line));
                ensure!(formed, "the cluster is not formed: {info}");
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// The slot of a key that has either no hash tag or begins with one.
pub(crate) fn slot(key: &str) -> u16 {
    let tag = key.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(tag, _)| tag);
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key).as_bytes()) % 16384
}
