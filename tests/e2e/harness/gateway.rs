//! The gateway as users run it: a child process, its settings in a file, its end checked.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use std::{fs, thread};

use rustix::process::Signal;

use super::process::Process;
use super::{Client, Cluster, PATIENCE, Site, free_port, new_folder, remove_folder, server};

/// A running gateway. Dropping it stops it with SIGTERM and checks that it ended well.
pub(crate) struct Gateway {
    process: Process,
    clients: SocketAddr,
    admin: SocketAddr,
    folder: PathBuf,
    printed: Mutex<Receiver<String>>,
    ended: bool,
}

/// What a gateway is started with.
pub(crate) struct Builder {
    site: Site,
    nodes: Vec<SocketAddr>,
    workers: usize,
    settings: String,
}

impl Gateway {
    /// Before all the nodes of the cluster, the first one asked first.
    pub(crate) fn before(cluster: &Cluster) -> Builder {
        Self::before_nodes(&cluster.addresses())
    }

    /// Before a cluster of which it is told these nodes.
    pub(crate) fn before_nodes(nodes: &[SocketAddr]) -> Builder {
        Builder { site: Site::here(), nodes: nodes.to_vec(), workers: 1, settings: String::new() }
    }

    /// The line that says that every slot is covered and clients are accepted.
    pub(crate) fn wait_ready(&mut self) {
        let wanted = format!("slotway ready on {}", self.clients);
        match self.printed.lock().unwrap().recv_timeout(PATIENCE) {
            Ok(line) => assert_eq!(line, wanted, "what the gateway printed"),
            Err(error) => panic!("the gateway is not ready ({error}): {}", self.errors()),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.clients
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.clients)
    }

    /// Whether it takes a new client and serves it.
    pub(crate) fn serves(&self) -> bool {
        Client::try_connect(self.clients)
            .and_then(|client| client.patience(Duration::from_secs(1)).try_call("GET served"))
            .is_ok_and(|reply| !reply.is_error())
    }

    /// A client that speaks the protocol of that number.
    pub(crate) fn client_of(&self, protocol: u8) -> Client {
        let mut client = self.client();
        if protocol == 3 {
            assert!(!client.call("HELLO 3").is_error());
        }
        client
    }

    /// Status code and body of a page on the admin port.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        self.try_page(path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn try_page(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.admin, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok((status, body.to_owned()))
    }

    /// The value of a series on the metrics page, named with its labels as it stands there.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let (_, page) = self.page("/metrics");
        let values = page.lines().filter_map(|line| line.rsplit_once(' '));
        let found = values.into_iter().find(|(name, _)| *name == series);
        found.unwrap_or_else(|| panic!("no {series} in {page}")).1.parse().unwrap()
    }

    /// How many clients it has sent away for this reason.
    pub(crate) fn rejected(&self, reason: &str) -> f64 {
        self.metric(&format!("slotway_sessions_rejected_total{{reason=\"{reason}\"}}"))
    }

    /// How often this limit made a request wait or refused it.
    pub(crate) fn limited(&self, limit: &str) -> f64 {
        self.metric(&format!("slotway_limits_reached_total{{limit=\"{limit}\"}}"))
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its settings file.
    pub(crate) fn settings_file(&self) -> PathBuf {
        self.folder.join("slotway.toml")
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> usize {
        server::resident_bytes(self.process.id())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.process.kill();
        self.ended = true;
    }

    /// What it wrote to standard error so far.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(self.folder.join("errors")).unwrap_or_default()
    }

    /// Waits for the end that a signal has started, and checks it.
    pub(crate) fn wait_for_end(&mut self) {
        let status = self.process.wait_for_end("the end of the gateway");
        self.ended = true;
        let errors = self.errors();
        assert!(status.success(), "the gateway ended with {status}: {errors}");
        assert!(!errors.contains("panicked"), "{errors}");
    }
}

impl Builder {
    /// Somewhere else than here, where it is open to everybody.
    pub(crate) fn at(mut self, site: &Site) -> Self {
        self.site = site.clone();
        self.setting("auth.allow_open", true)
    }

    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// A setting by its place in the file: `limits.max_clients`. What the value looks like when printed for debugging
    /// is what it looks like in the file.
    pub(crate) fn setting(mut self, place: &str, value: impl fmt::Debug) -> Self {
        writeln!(self.settings, "{place} = {value:?}").unwrap();
        self
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(self) -> Gateway {
        let mut gateway = self.start_unready();
        gateway.wait_ready();
        gateway
    }

    /// Starts it before a cluster that it may not reach yet.
    pub(crate) fn start_unready(self) -> Gateway {
        let folder = new_folder("gateway");
        let free = || SocketAddr::new(self.site.ip, free_port());
        let (clients, admin) = (free(), free());
        let config = folder.join("slotway.toml");
        fs::write(&config, &self.settings).unwrap();
        let mut arguments: Vec<OsString> = vec!["serve".into(), "--config".into(), config.into()];
        let mut flags = String::new();
        write!(flags, "--listen {clients} --admin {admin} --workers {}", self.workers).unwrap();
        for node in &self.nodes {
            write!(flags, " --node {node}").unwrap();
        }
        arguments.extend(flags.split(' ').map(OsString::from));
        let (process, output) =
            self.site.start(env!("CARGO_BIN_EXE_slotway"), &arguments, &folder.join("errors"));
        let (line, printed) = mpsc::channel();
        thread::spawn(move || {
            // Read to the end even when the test no longer listens, so that the gateway never blocks on printing.
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = line.send(text);
            }
        });
        Gateway { process, clients, admin, folder, printed: Mutex::new(printed), ended: false }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            let errors = self.errors();
            let tail = errors.char_indices().rev().nth(4_000).map_or(0, |(at, _)| at);
            eprintln!("the gateway's standard error ends with:\n{}", &errors[tail..]);
            return;
        }
        if !self.ended {
            self.signal(Signal::TERM);
            self.wait_for_end();
        }
        remove_folder(&self.folder);
    }
}
