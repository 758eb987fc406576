//! A network of the run's own: every node and gateway in a namespace with its own address, and a router between them
//! that drops what it is told to drop. Nobody is told that a packet was dropped, as with a machine without power.
//!
//! All of it is in a namespace of this process, which needs no rights on the machine, and goes with the process.

use std::env;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::Site;

/// Set in the process that has its own network.
const INSIDE: &str = "SLOTWAY_FAULTS_NETWORK";

/// What a machine lacks for this is said once, for all scenarios that need it.
pub(crate) fn why_not() -> Option<String> {
    for (program, package) in
        [("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2")]
    {
        if Command::new(program).arg("-V").output().is_err() {
            return Some(format!("there is no `{program}` (package {package})"));
        }
    }
    let tried = unshare(Path::new("true")).stderr(Stdio::piped()).output();
    match tried {
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// Whether this process has a network of its own.
pub(crate) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this program again, with a network of its own. Returns only when that fails.
pub(crate) fn enter() -> std::io::Error {
    let program = env::current_exe().unwrap();
    unshare(&program).args(env::args_os().skip(1)).env(INSIDE, "1").exec()
}

/// Makes this process a router, once it has a network of its own.
pub(crate) fn prepare() {
    run("mount", "-t tmpfs none /run");
    ip("link set lo up");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
}

fn unshare(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount"]).arg(program);
    command
}

/// The router, and who is connected to it.
pub(crate) struct Network {
    sites: u8,
    /// What is dropped now.
    rules: Vec<String>,
}

impl Network {
    /// The network of this process, empty. There is one at a time.
    pub(crate) fn new() -> Self {
        assert!(is_inside(), "this process has no network of its own");
        Self { sites: 0, rules: Vec::new() }
    }

    /// Another machine on the network.
    pub(crate) fn site(&mut self) -> Site {
        self.sites += 1;
        let number = self.sites;
        let (name, cable) = (format!("site{number}"), format!("cable{number}"));
        let (router, address) = (format!("10.99.{number}.1"), format!("10.99.{number}.2"));
        ip(&format!("netns add {name}"));
        ip(&format!("link add {cable} type veth peer name eth0 netns {name}"));
        ip(&format!("addr add {router}/24 dev {cable}"));
        ip(&format!("link set {cable} up"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} addr add {address}/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} route add default via {router}"));
        Site {
            ip: IpAddr::V4(Ipv4Addr::new(10, 99, number, 2)),
            namespace: Some(PathBuf::from("/run/netns").join(name)),
        }
    }

    /// Drops everything from and to this address.
    pub(crate) fn power_off(&mut self, address: IpAddr) {
        self.drop_packets(format!("from {address}"));
        self.drop_packets(format!("to {address}"));
    }

    /// Drops everything between each of these and each of those.
    pub(crate) fn part(&mut self, these: &[IpAddr], those: &[IpAddr]) {
        for one in these {
            for other in those {
                self.drop_packets(format!("from {one} to {other}"));
                self.drop_packets(format!("from {other} to {one}"));
            }
        }
    }

    /// Drops nothing any more.
    pub(crate) fn heal(&mut self) {
        for rule in std::mem::take(&mut self.rules) {
            ip(&format!("rule del {rule} blackhole"));
        }
    }

    fn drop_packets(&mut self, rule: String) {
        ip(&format!("rule add {rule} blackhole"));
        self.rules.push(rule);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for number in 1..=self.sites {
            // Its end of the cable goes with it.
            let _ = Command::new("ip").args(["netns", "del", &format!("site{number}")]).status();
            let _ = Command::new("ip")
                .args(["link", "del", &format!("cable{number}")])
                .stderr(Stdio::null())
                .status();
        }
        for rule in std::mem::take(&mut self.rules) {
            let words = format!("rule del {rule} blackhole");
            let _ = Command::new("ip").args(words.split(' ')).status();
        }
    }
}

fn ip(words: &str) {
    run("ip", words);
}

fn run(program: &str, words: &str) {
    let ran = Command::new(program).args(words.split(' ')).output();
    let ran = ran.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ran.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&ran.stderr));
}
