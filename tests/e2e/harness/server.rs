//! One real server process, alone or as a node of a cluster.

use std::ffi::OsString;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs};

use rustix::process::Signal;

use super::process::Process;
use super::{Client, Site, free_port, new_folder, remove_folder, wait_for};

/// A server, its port and its folder. Dropping it kills the process and removes the folder.
pub(crate) struct Server {
    site: Site,
    port: u16,
    folder: PathBuf,
    program: String,
    options: Vec<OsString>,
    process: Option<Process>,
}

impl Server {
    /// One server that knows of no cluster.
    pub(crate) fn standalone() -> Self {
        Self::with_options(&[])
    }

    /// As [`Server::standalone`], with more options: a name such as `--requirepass` and its value.
    pub(crate) fn with_options(options: &[(&str, &str)]) -> Self {
        Self::at(Site::here(), options)
    }

    /// A server of another make than the one under test, if there is any on this machine.
    pub(crate) fn of_another_make() -> Option<Self> {
        let mine = program();
        let other = ["redis-server", "valkey-server"].into_iter().find(|name| *name != mine)?;
        let paths = env::var_os("PATH")?;
        let is_here = env::split_paths(&paths).any(|folder| folder.join(other).exists());
        is_here.then(|| Self::run(other.to_owned(), Site::here(), &[]))
    }

    fn at(site: Site, options: &[(&str, &str)]) -> Self {
        Self::run(program(), site, options)
    }

    fn run(program: String, site: Site, options: &[(&str, &str)]) -> Self {
        let ip = site.ip.to_string();
        let mut server = Self {
            program,
            site,
            port: free_port(),
            folder: new_folder("server"),
            options: Vec::new(),
            process: None,
        };
        let pairs =
            [("--bind", &*ip), ("--save", ""), ("--appendonly", "no"), ("--daemonize", "no")];
        for (name, value) in pairs.iter().chain(options) {
            server.options.extend([OsString::from(name), OsString::from(value)]);
        }
        server.start();
        server
    }

    /// A node of a cluster that is still to be formed.
    pub(crate) fn node(node_timeout_ms: u32) -> Self {
        Self::node_with_options(node_timeout_ms, &[])
    }

    /// As [`Server::node`], with more options.
    pub(crate) fn node_with_options(node_timeout_ms: u32, more: &[(&str, &str)]) -> Self {
        Self::node_at(Site::here(), node_timeout_ms, more)
    }

    /// As [`Server::node_with_options`], somewhere else.
    pub(crate) fn node_at(site: Site, node_timeout_ms: u32, more: &[(&str, &str)]) -> Self {
        let (bus, timeout) = (free_port().to_string(), node_timeout_ms.to_string());
        let options = [
            ("--cluster-enabled", "yes"),
            ("--cluster-config-file", "nodes.conf"),
            ("--cluster-port", &bus),
            ("--cluster-node-timeout", &timeout),
            ("--cluster-replica-validity-factor", "0"),
            ("--repl-diskless-sync-delay", "0"),
            ("--repl-ping-replica-period", "1"),
        ];
        Self::at(site, &[&options, more].concat())
    }

    /// Starts the process, again after [`Server::kill`], on the same port and in the same folder.
    pub(crate) fn start(&mut self) {
        let program = &self.program;
        let mut arguments = vec![
            "--port".into(),
            self.port.to_string().into(),
            "--dir".into(),
            self.folder.clone().into(),
        ];
        arguments.extend(self.options.iter().cloned());
        let log = self.folder.join("log");
        arguments.extend(["--logfile".into(), log.clone().into()]);
        let errors = self.folder.join("errors");
        let (mut process, _) = self.site.start(program, &arguments, &errors);
        wait_for("a server that answers", || {
            assert!(
                process.status().is_none(),
                "{program} ended: {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            Client::try_connect(self.address())
                .and_then(|mut client| client.try_call("PING"))
                .is_ok()
        });
        self.process = Some(process);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.site.ip, self.port)
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// A client that speaks the protocol of that number.
    pub(crate) fn client_of(&self, protocol: u8) -> Client {
        let mut client = self.client();
        if protocol == 3 {
            assert!(!client.call("HELLO 3").is_error());
        }
        client
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Ends the process as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Ends the process as an operator does, and waits for its end.
    pub(crate) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.signal(Signal::TERM);
        process.wait_for_end("the end of a server");
    }

    /// Where it keeps its files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Stops the process without closing its connections, as a machine without power looks from outside.
    pub(crate) fn freeze(&self) {
        self.process.as_ref().unwrap().signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.process.as_ref().unwrap().signal(Signal::CONT);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process = None;
        remove_folder(&self.folder);
    }
}

/// The server under test.
fn program() -> String {
    env::var("SLOTWAY_TEST_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// What the servers under test say that they are.
pub(crate) struct Make {
    /// `redis` or `valkey`.
    pub(crate) name: String,
    pub(crate) version: String,
    /// Major and minor number of the Redis version that they are, or behave like.
    redis: (u32, u32),
}

impl Make {
    /// Asked of a server once.
    pub(crate) fn of_servers() -> &'static Self {
        static MAKE: OnceLock<Make> = OnceLock::new();
        MAKE.get_or_init(|| {
            let server = Server::standalone();
            let hello = server.client().call("HELLO 2").items();
            let info = server.client().call("INFO server").text();
            let redis = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap();
            let mut numbers = redis.split('.').map(|number| number.parse().unwrap());
            Self {
                name: hello[1].text(),
                version: hello[3].text(),
                redis: (numbers.next().unwrap(), numbers.next().unwrap()),
            }
        })
    }

    pub(crate) fn is_since(&self, major: u32, minor: u32) -> bool {
        self.redis >= (major, minor)
    }
}

/// Resident memory of a process in bytes.
pub(crate) fn resident_bytes(process: u32) -> usize {
    let mut status = String::new();
    fs::File::open(format!("/proc/{process}/status")).unwrap().read_to_string(&mut status).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}
