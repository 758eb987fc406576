//! Whether a port is free, and who has it if it is not.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// What a port is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A node's clients.
    Node,
    /// A node's peers.
    Bus,
    /// The gateway's clients.
    Gateway,
    /// The gateway's metrics.
    Admin,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "a node",
            Self::Bus => "a node's cluster bus, its port + 10000",
            Self::Gateway => "the gateway",
            Self::Admin => "the gateway's metrics",
        })
    }
}

/// The process that has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Where it runs; a node runs in its own folder, which tells an earlier run's node from a stranger.
    pub folder: Option<PathBuf>,
}

impl Holder {
    pub(super) fn runs_in(&self, folder: &Path) -> bool {
        let (Some(own), Ok(folder)) = (&self.folder, folder.canonicalize()) else { return false };
        *own == folder
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// Whether a server could listen on the address now.
///
/// Binds as a server does (with `SO_REUSEADDR`), so a port whose last connections linger counts as free.
pub(super) fn is_free(address: SocketAddr) -> bool {
    match TcpListener::bind(address) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
    }
}

/// Who listens on the port of this machine, where the system tells: on Linux, and only for processes
/// that this user may look into.
pub(super) fn holder(port: u16) -> Option<Holder> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = std::fs::read_dir("/proc").ok()?;
    // The oldest, because its children may have the socket too, and are the wrong ones to stop.
    let (_, pid, place) = processes
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let place = entry.path();
            owns(&place, &sockets).then(|| (start_of(&place), pid, place))
        })
        .min()?;
    let folder = std::fs::read_link(place.join("cwd")).ok();
    Some(Holder { pid, name: name_of(&place), folder })
}

/// The addresses that a node with this port binds.
pub(super) fn node_addresses(port: u16) -> [(SocketAddr, Use); 2] {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    [(at(port), Use::Node), (at(port.saturating_add(super::BUS_OFFSET)), Use::Bus)]
}

/// The inodes of listening sockets on the port, from a table in the form of `/proc/net/tcp`.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let ending = format!(":{port:04X}");
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
            (local.ends_with(&ending) && *state == LISTEN).then(|| (*inode).to_owned())
        })
        .collect()
}

fn owns(process: &Path, sockets: &[String]) -> bool {
    let Ok(files) = std::fs::read_dir(process.join("fd")) else { return false };
    files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

/// When a process started, in ticks since the system did; last if it is gone by now.
fn start_of(process: &Path) -> u64 {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    // The name in parentheses may hold anything; the start is the twentieth field after it.
    let after_name = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    after_name.split_whitespace().nth(19).and_then(|ticks| ticks.parse().ok()).unwrap_or(u64::MAX)
}

fn name_of(process: &Path) -> String {
    std::fs::read_to_string(process.join("comm"))
        .map_or_else(|_| "a process".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_listening_sockets_only() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1B58 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
            1: 0100007F:1B58 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n\
            2: 0100007F:4268 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";
        for (port, expected) in [(7000, vec!["4711"]), (17000, vec!["4713"]), (7001, vec![])] {
            assert_eq!(listening_inodes(table, port), expected, "port {port}");
        }
    }

    #[test]
    fn knows_when_a_process_started() {
        if cfg!(target_os = "linux") {
            let own = start_of(Path::new("/proc/self"));
            assert!(start_of(Path::new("/proc/1")) <= own && own < u64::MAX, "{own}");
        }
        assert_eq!(start_of(Path::new("/nowhere")), u64::MAX);
    }

    #[test]
    fn names_the_process_that_listens() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!is_free(address));
        if cfg!(target_os = "linux") {
            assert_eq!(holder(address.port()).unwrap().pid, std::process::id());
        }
        drop(listener);
        assert!(is_free(address));
    }
}
