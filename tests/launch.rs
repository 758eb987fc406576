//! A local cluster of real servers: started, found again, refused, and never left behind.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test waits for conditions with a deadline")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use slotway::launch::{LaunchError, LocalCluster, Options, Progress, Use};

const SLOTWAY: &str = env!("CARGO_BIN_EXE_slotway");
/// Generous: the machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_kept_cluster_is_found_again_with_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: Some(dir.path().join("cluster")), ..small(3, 1) };

    let steps = Steps::default();
    let cluster = LocalCluster::start(&options, &|step| steps.note(step)).unwrap();
    assert_eq!(steps.last(), "new, 6 started, 16384 slots, 3 of 3 in step");
    let nodes = cluster.addresses();
    assert_eq!(nodes.len(), 6);
    for (node, number) in nodes.iter().zip(0..) {
        assert_eq!(role(*node), if number < 3 { "master" } else { "slave" }, "node {number}");
    }
    for key in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(on_owner(&nodes, &format!("SET {key} {key}-kept")), "+OK");
    }

    let second = LocalCluster::start(&options, &|_| {}).unwrap_err().to_string();
    assert!(
        second.contains(&format!("another slotway up (process {})", std::process::id())),
        "{second}"
    );
    cluster.stop();
    assert!(nodes.iter().all(|node| is_free(node.port())), "a stopped node still listens");

    let steps = Steps::default();
    let cluster = LocalCluster::start(&options, &|step| steps.note(step)).unwrap();
    assert_eq!(steps.last(), "found, 6 started, 16384 slots, 3 of 3 in step");
    for key in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(on_owner(&nodes, &format!("GET {key}")), format!("{key}-kept"));
    }
    drop(cluster);
    assert!(dir.path().join("cluster/cluster.toml").exists(), "a kept folder was removed");
}

#[test]
fn an_ephemeral_cluster_leaves_nothing() {
    let options = Options { ephemeral: true, ..small(1, 1) };
    let cluster = LocalCluster::start(&options, &|_| {}).unwrap();
    let (folder, nodes) = (cluster.folder().to_owned(), cluster.addresses());
    assert!(folder.join(nodes[0].port().to_string()).join("nodes.conf").exists());
    cluster.stop();
    assert!(!folder.exists(), "{} is still there", folder.display());
    assert!(nodes.iter().all(|node| is_free(node.port())), "a node still listens");
}

#[test]
fn a_failed_ephemeral_start_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        ephemeral: true,
        server: Some(script(dir.path(), "dies", "pwd; echo 'disk on fire' >&2; exit 3")),
        ..small(1, 0)
    };
    let Err(LaunchError::NodeDied { port, status, tail, log }) =
        LocalCluster::start(&options, &|_| {})
    else {
        panic!("a server that ends at once made a cluster");
    };
    assert_eq!((port, status.as_str()), (options.base_port, "exit status: 3"));
    assert_eq!(tail.last().map(String::as_str), Some("disk on fire"), "{tail:?}");
    assert!(!log.exists(), "{} is still there", log.display());
}

#[test]
fn a_node_that_dies_comes_back_and_one_that_was_killed_stays_down() {
    let options = Options { ephemeral: true, ..small(1, 1) };
    let mut cluster = LocalCluster::start(&options, &|_| {}).unwrap();
    let nodes = cluster.addresses();
    assert_eq!(on_owner(&nodes, "SET k v"), "+OK");

    let first = cluster.pid(0).unwrap();
    kill_process(pid(first), Signal::KILL).unwrap();
    wait_for("the node to be started again", || cluster.pid(0).is_some_and(|now| now != first));
    cluster.wait_until_ready().unwrap();
    assert_eq!(on_owner(&nodes, "GET k"), "v", "acknowledged before the node died");

    cluster.kill(1);
    assert_eq!(cluster.pid(1), None);
    assert!(is_free(nodes[1].port()), "a killed node still listens");
    cluster.restart(1).unwrap();
    cluster.wait_until_ready().unwrap();
    assert_eq!(role(nodes[1]), "slave");
}

#[test]
fn a_taken_port_is_named_with_its_holder() {
    for (offset, role) in [(1, Use::Node), (10_000, Use::Bus)] {
        let options = Options { ephemeral: true, ..small(1, 1) };
        let taken = options.base_port + offset;
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
        let error = LocalCluster::start(&options, &|_| {}).unwrap_err();
        assert!(
            matches!(&error, LaunchError::PortTaken { port, role: found, .. } if *port == taken && *found == role),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(text.contains("choose another --base-port"), "{text}");
        if cfg!(target_os = "linux") {
            assert!(text.contains(&format!("kill {}", std::process::id())), "{text}");
        }
    }
}

#[test]
fn a_folder_that_holds_something_else_is_refused_with_the_cure() {
    let options = small(2, 0);
    let port = options.base_port;
    let marker = |formed, masters: u16, port: u16| {
        format!("formed = {formed}\nmasters = {masters}\nreplicas = 0\nbase_port = {port}\n")
    };
    let conf = |slots: &str| format!("aa 127.0.0.1:1@2 myself,master - 0 0 1 connected{slots}\n");
    let (first, second) = (format!("{port}/nodes.conf"), format!("{}/nodes.conf", port + 1));
    let other = port + 100;
    for (files, expected) in [
        (
            vec![("cluster.toml", marker(true, 1, port))],
            format!("start it as it is (--masters 1 --replicas 0 --base-port {port})"),
        ),
        (vec![("cluster.toml", marker(false, 2, other))], format!("--base-port {other}")),
        (
            vec![("cluster.toml", "masters = many".to_owned())],
            "cluster.toml cannot be read".to_owned(),
        ),
        (vec![(first.as_str(), conf(" 0-16383"))], "but no cluster.toml".to_owned()),
        (
            vec![("cluster.toml", marker(true, 2, port)), (first.as_str(), conf(" 0-16383"))],
            format!("node {} has lost its nodes.conf", port + 1),
        ),
        (
            vec![
                ("cluster.toml", marker(true, 2, port)),
                (first.as_str(), conf(" 0-8191")),
                (second.as_str(), conf("")),
            ],
            "8192 of 16384 slots belong to no node".to_owned(),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in &files {
            let place = dir.path().join(name);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        }
        let options = Options { dir: Some(dir.path().to_owned()), ..options.clone() };
        let error = LocalCluster::start(&options, &|_| {}).unwrap_err().to_string();
        assert!(error.contains(&expected), "{expected}: {error}");
        assert!(error.contains(&format!("rm -r '{}'", dir.path().display())), "no cure: {error}");
        for (name, text) in &files {
            assert_eq!(
                &fs::read_to_string(dir.path().join(name)).unwrap(),
                text,
                "{name} was touched"
            );
        }
    }
}

#[test]
fn a_program_that_cannot_be_the_server_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (server, expected) in [
        (dir.path().join("absent"), "it does not run"),
        (PathBuf::from("/bin/true"), "--version is not that of a server"),
        (
            script(dir.path(), "old", "echo Redis server v=6.0.16 sha=0"),
            "is version 6.0.16; slotway needs Redis 7.0",
        ),
    ] {
        let options = Options { server: Some(server), ephemeral: true, ..small(1, 0) };
        let error = LocalCluster::start(&options, &|_| {}).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(error.contains("--server PATH"), "no cure: {error}");
    }
}

/// The gateway is killed in the middle of its start: its nodes end, and the next start takes up the
/// cluster where it was left, on the same ports and at once.
#[cfg(target_os = "linux")]
#[test]
fn a_killed_gateway_leaves_no_node_and_a_folder_to_go_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: Some(dir.path().to_owned()), ..small(3, 1) };
    let mut gateway = up(&options, dir.path());
    let nodes = running_nodes(&options);
    gateway.0.kill().unwrap();
    assert_eq!(gateway.end().signal(), Some(9), "it ended before it was killed");

    let cluster = LocalCluster::start(&options, &|_| {}).unwrap();
    for node in nodes {
        wait_for("an orphan to end", || !Path::new(&format!("/proc/{node}")).exists());
    }
    assert_eq!(on_owner(&cluster.addresses(), "SET k v"), "+OK");
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_the_nodes_and_removes_a_temporary_folder() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { ephemeral: true, ..small(3, 0) };
    let mut gateway = up(&options, dir.path());
    let nodes = running_nodes(&options);
    kill_process(pid(gateway.0.id()), Signal::INT).unwrap();
    let status = gateway.end();
    assert_eq!(status.code(), Some(0), "{status}");
    for node in nodes {
        assert!(!Path::new(&format!("/proc/{node}")).exists(), "node {node} outlived the gateway");
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn cluster_and_gateway_speak_tls_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: Some(dir.path().join("cluster")), tls: true, ..small(3, 1) };
    let tls = dir.path().join("cluster/tls");
    let [listen, admin, node] = [free_ports(1), free_ports(1), options.base_port];
    let mut command = Command::new(SLOTWAY);
    command.args(["up", "--tls", "--listen", &format!("127.0.0.1:{listen}")]);
    command.args(["--admin", &format!("127.0.0.1:{admin}"), "--base-port", &node.to_string()]);
    command
        .arg("--dir")
        .arg(options.dir.as_ref().unwrap())
        .args(options.server.iter().flat_map(|server| [Path::new("--server"), server.as_path()]));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let mut gateway = Slotway(child);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).unwrap();
    assert_eq!(line, format!("slotway ready on 127.0.0.1:{listen}\n"));

    let ask = |port: u16, how: &[&str], words: &[&str]| {
        let place = |file: &&str| match file.strip_prefix('@') {
            Some(file) => tls.join(file).into_os_string(),
            None => file.into(),
        };
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &port.to_string()]).args(how.iter().map(place)).args(words);
        String::from_utf8(cli.output().unwrap().stdout).unwrap().trim_end().to_owned()
    };
    let plain: &[&str] = &[];
    let believing = &["--tls", "--cacert", "@ca.pem"][..];
    let known = &[believing, &["--cert", "@cert.pem", "--key", "@key.pem"]].concat();
    for key in ["a", "b", "c"] {
        assert_eq!(ask(listen, believing, &["SET", key, "value"]), "OK");
    }
    assert_eq!(ask(listen, believing, &["DBSIZE"]), "3");
    assert_eq!(ask(node, known, &["PING"]), "PONG");
    for (port, how) in [(listen, plain), (node, plain), (node, believing)] {
        assert!(!ask(port, how, &["PING"]).contains("PONG"), "{port} {how:?}");
    }
    let mode = fs::metadata(tls.join("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!tls.join("ca.key").exists());
    kill_process(pid(gateway.0.id()), Signal::INT).unwrap();
    assert_eq!(gateway.end().code(), Some(0));

    // It is found again with the certificates that clients know, and is never spoken to in plain.
    let authority = fs::read(tls.join("ca.pem")).unwrap();
    let plain = Options { tls: false, ..options.clone() };
    let error = LocalCluster::start(&plain, &|_| {}).unwrap_err().to_string();
    assert!(error.contains("--tls), choose another --dir"), "{error}");
    let steps = Steps::default();
    let cluster = LocalCluster::start(&options, &|step| steps.note(step)).unwrap();
    assert_eq!(steps.last(), "found, 6 started, 16384 slots, 3 of 3 in step");
    assert_eq!(fs::read(tls.join("ca.pem")).unwrap(), authority);
    drop(cluster);
}

#[test]
fn a_start_that_cannot_be_ends_with_its_status() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let base = free_ports(6).to_string();
    let on_a_node = format!("127.0.0.1:{base}");
    for (arguments, status, expected) in [
        (vec!["--base-port", "60000"], 2, "choose --base-port 55530 or lower"),
        (vec!["--masters", "0"], 2, "at least one primary"),
        (vec!["--base-port", &base, "--listen", &on_a_node], 2, "is wanted twice"),
        (vec!["--base-port", &base, "--listen", &taken], 1, "choose another address with --listen"),
    ] {
        let admin = format!("127.0.0.1:{}", free_ports(1));
        let mut command = Command::new(SLOTWAY);
        command.args(["up", "--ephemeral", "--admin", &admin]).args(&arguments);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty(), "{arguments:?} wrote on standard output");
    }
}

/// What a start has shown so far.
#[derive(Default)]
struct Steps(std::cell::RefCell<(bool, usize, u16, u16, u16)>);

impl Steps {
    fn note(&self, step: Progress<'_>) {
        let mut seen = self.0.borrow_mut();
        match step {
            Progress::Folder { found, .. } => seen.0 = found,
            Progress::Started { .. } => seen.1 += 1,
            Progress::Slots { covered } => seen.2 = covered,
            Progress::Replicas { in_step, total } => (seen.3, seen.4) = (in_step, total),
            _ => {}
        }
    }

    fn last(&self) -> String {
        let (found, started, slots, in_step, total) = *self.0.borrow();
        let found = if found { "found" } else { "new" };
        format!("{found}, {started} started, {slots} slots, {in_step} of {total} in step")
    }
}

/// A `slotway` process that ends with the test, whatever the test does.
struct Slotway(Child);

impl Slotway {
    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("slotway to end", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Slotway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `slotway up` as a user calls it, with temporary files in `temporary`.
fn up(options: &Options, temporary: &Path) -> Slotway {
    let [listen, admin] = [free_ports(1), free_ports(1)].map(|port| format!("127.0.0.1:{port}"));
    let mut command = Command::new(SLOTWAY);
    command.args(["up", "--listen", &listen, "--admin", &admin]);
    command.args([
        "--masters",
        &options.masters.to_string(),
        "--replicas",
        &options.replicas.to_string(),
    ]);
    command.args(["--base-port", &options.base_port.to_string()]);
    match &options.dir {
        Some(dir) => command.arg("--dir").arg(dir),
        None => command.arg("--ephemeral"),
    };
    let child = command.env("TMPDIR", temporary).stdin(Stdio::null()).stdout(Stdio::null());
    Slotway(child.spawn().unwrap())
}

/// Waits until every node answers. Returns their processes.
fn running_nodes(options: &Options) -> Vec<String> {
    let count = options.masters * (options.replicas + 1);
    (options.base_port..options.base_port + count)
        .map(|port| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let mut answer = String::new();
            wait_for("a node to answer", || {
                answer = ask(address, "INFO server").unwrap_or_default();
                answer.contains("process_id:")
            });
            answer.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().to_owned()
        })
        .collect()
}

fn small(masters: u16, replicas: u16) -> Options {
    let base_port = free_ports(masters * (replicas + 1));
    let launcher = Some(SLOTWAY.into());
    let server = std::env::var_os("SLOTWAY_TEST_SERVER").map(PathBuf::from);
    Options { masters, replicas, base_port, launcher, server, ..Options::default() }
}

/// The first of so many ports that are free, with their cluster buses. They lie below the range that
/// the kernel hands out for outgoing connections.
fn free_ports(count: u16) -> u16 {
    const LOWEST: u16 = 11_000;
    const SPAN: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() * 53 % u32::from(SPAN)).unwrap();
    loop {
        let step = NEXT.fetch_add(count, Ordering::Relaxed);
        let base = LOWEST + (start + step) % SPAN;
        if (base..base + count).all(|port| is_free(port) && is_free(port + 10_000)) {
            return base;
        }
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

/// A program that is a server as far as `--version` goes, if the body does not print another version.
fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
    let place = dir.join(name);
    let version = "[ \"$1\" != --version ] || case \"$0\" in *old) ;; *) echo Redis server v=7.0.15; exit;; esac";
    fs::write(&place, format!("#!/bin/sh\n{version}\n{body}\n")).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    place
}

fn role(node: SocketAddr) -> String {
    let info = ask(node, "INFO replication").unwrap();
    info.lines().find_map(|line| line.strip_prefix("role:")).unwrap().trim().to_owned()
}

/// Asks the nodes in turn until one does not point to another.
fn on_owner(nodes: &[SocketAddr], request: &str) -> String {
    let answers = nodes.iter().map(|node| ask(*node, request).unwrap());
    answers.into_iter().find(|answer| !answer.starts_with("-MOVED")).unwrap()
}

/// One inline request; the answer's first line, or what a bulk reply holds.
fn ask(node: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(node)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("{request}\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let answer = answer.strip_suffix("+OK\r\n").unwrap_or(&answer);
    let text = match answer.strip_prefix('$').and_then(|bulk| bulk.split_once("\r\n")) {
        Some((_, text)) => text,
        None => answer,
    };
    Ok(text.trim_end().to_owned())
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
