//! SIGUSR2: another process takes over the sockets, and nothing that was answered or asked is lost. And what systemd
//! does for a service.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::Signal;

use crate::harness::{
    Authority, Client, Cluster, Gateway, PATIENCE, Serving, free_port, has_ended, local,
    new_folder, request_line, wait_for,
};
use crate::tls;

/// A client as a pool of connections has it: when its connection was closed before anything came back, it takes a new
/// one and asks again.
struct Pooled {
    address: SocketAddr,
    client: Client,
}

impl Pooled {
    fn new(address: SocketAddr) -> Self {
        Self { address, client: Client::connect(address) }
    }

    /// Sends the requests in one piece and returns all their replies.
    fn ask(&mut self, requests: &[String]) -> Vec<String> {
        let bytes: Vec<u8> = requests.iter().flat_map(|line| request_line(line)).collect();
        loop {
            let _ = self.client.writer().write_all(&bytes);
            let mut replies = Vec::new();
            let closed = loop {
                if replies.len() == requests.len() {
                    return replies;
                }
                match self.client.try_reply() {
                    Ok(reply) => replies.push(format!("{reply:?}")),
                    Err(error) => break error,
                }
            };
            let kinds =
                [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(kinds.contains(&closed.kind()), "{closed}");
            assert!(replies.is_empty(), "closed in the middle of {requests:?}: {replies:?}");
            self.client = Client::connect(self.address);
        }
    }
}

/// What was answered has happened, and nothing else has.
#[test]
fn ten_hand_overs_under_load_lose_nothing() {
    let mut gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut serving = Serving(None);
    let ended = AtomicBool::new(false);
    let address = gateway.address();
    let prefix = format!("upgrade:{}", std::process::id());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let (key, ended) = (format!("{prefix}:{number}"), &ended);
                scope.spawn(move || busy(address, &key, number, ended))
            })
            .collect();
        for turn in 0..10 {
            let former = serving.hand_over(&gateway);
            if turn == 0 {
                gateway.wait_for_end();
            } else {
                wait_for("the end of the former process", || has_ended(former));
            }
        }
        ended.store(true, Ordering::Relaxed);
        for (number, client) in clients.into_iter().enumerate() {
            let answered = client.join().unwrap();
            let value = Client::connect(address).call(&format!("GET {prefix}:{number}"));
            assert_eq!(value.text(), answered.to_string(), "client {number}");
            assert!(answered > 0);
        }
    });
    assert!(!gateway.errors().contains("panicked"), "{}", gateway.errors());
}

/// Counts alone, in pipelines, or in transactions; returns how far.
fn busy(address: SocketAddr, key: &str, number: usize, ended: &AtomicBool) -> u64 {
    let mut client = Pooled::new(address);
    let incr = format!("INCR {key}");
    let requests = match number % 3 {
        0 => vec![incr],
        1 => vec![incr; 10],
        _ => vec!["MULTI".to_owned(), incr.clone(), incr, "EXEC".to_owned()],
    };
    let mut count = 0;
    while !ended.load(Ordering::Relaxed) {
        for reply in client.ask(&requests) {
            assert!(!reply.contains("ERR") && !reply.contains("UNCERTAIN"), "{reply}");
        }
        count += requests.iter().filter(|line| line.starts_with("INCR")).count() as u64;
    }
    count
}

#[test]
fn a_new_process_that_fails_changes_nothing() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    fs::write(gateway.settings_file(), "limits.max_clients = \"many\"\n").unwrap();
    gateway.signal(Signal::USR2);
    wait_for("word of the failure", || gateway.errors().contains("this one goes on"));
    assert!(gateway.errors().contains("slotway.toml:1:22"), "{}", gateway.errors());
    assert_eq!(client.call("PING").text(), "PONG");
    assert_eq!(gateway.client().call("PING").text(), "PONG");
    assert_eq!(gateway.page("/readyz").0, 200);
}

/// Runs `slotway upgrade` for a gateway: whether it succeeded, and what it said.
fn upgrade(gateway: &Gateway) -> (bool, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_slotway"))
        .args(["upgrade", "--admin", &gateway.admin().to_string()])
        .output()
        .unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn the_command_returns_when_another_process_serves() {
    let mut gateway = Gateway::before(Cluster::shared()).start();
    let former = gateway.id();
    let (done, said) = upgrade(&gateway);
    let serving = Serving::after(&gateway);
    assert!(done, "{said}");
    let latter = serving.0.unwrap();
    assert_eq!(said, format!("process {latter} took over from {former}\n"));
    assert_eq!(gateway.client().call("PING").text(), "PONG");
    gateway.wait_for_end();
}

#[test]
fn the_command_says_why_nobody_took_over() {
    let gateway = Gateway::before(Cluster::shared()).start();
    fs::write(gateway.settings_file(), "limits.max_clients = \"many\"\n").unwrap();
    for _ in 0..2 {
        let (done, said) = upgrade(&gateway);
        assert!(!done && said.contains("it ended before it was ready: exit status: 2"), "{said}");
        assert!(said.contains(&format!("process {} goes on", gateway.id())), "{said}");
    }
    assert_eq!(gateway.client().call("PING").text(), "PONG");
}

/// The word of a gateway with a password is for those who know it.
#[test]
fn the_command_logs_in_to_the_admin_port() {
    let builder = Gateway::before(Cluster::shared());
    let mut gateway = builder.setting("admin.password", "secret").start();
    let (done, said) = upgrade(&gateway);
    assert!(!done && said.contains("the password that of the settings"), "{said}");
    let file = gateway.settings_file();
    let ran = Command::new(env!("CARGO_BIN_EXE_slotway"))
        .args(["upgrade", "--admin", &gateway.admin().to_string()])
        .args(["--config", file.to_str().unwrap()])
        .output()
        .unwrap();
    let serving = Serving::after(&gateway);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    gateway.wait_for_end();
    drop(serving);
}

/// A client that speaks TLS keeps its connection to the former process for what it has begun; the next one is
/// encrypted as well.
#[test]
fn a_listener_for_tls_is_handed_over() {
    let authority = Authority::new();
    let (own, address) = (authority.certify("gateway"), local(free_port()));
    let mut gateway = Gateway::before(Cluster::shared())
        .setting("listen.tls_address", address.to_string())
        .setting("listen.tls_certificate_file", &own.certificate)
        .setting("listen.tls_key_file", &own.key)
        .start();
    let mut client = tls::connect(address, &authority, None);
    tls::exchange(&mut client, b"MULTI\r\nECHO 1\r\n", b"+OK\r\n+QUEUED\r\n");
    let mut serving = Serving(None);
    serving.hand_over(&gateway);
    let mut next = tls::connect(address, &authority, None);
    tls::exchange(&mut next, b"PING\r\n", b"+PONG\r\n");
    tls::exchange(&mut client, b"EXEC\r\n", b"*1\r\n$1\r\n1\r\n");
    gateway.wait_for_end();
    tls::exchange(&mut next, b"PING\r\n", b"+PONG\r\n");
    drop(next);
}

#[test]
fn unix_sockets_and_the_admin_port_are_handed_over_and_settings_read_anew() {
    let path = std::env::temp_dir().join(format!("slotway-upgrade-{}.sock", std::process::id()));
    let builder = Gateway::before(Cluster::shared());
    let mut gateway = builder.setting("listen.unix_socket", path.to_str().unwrap()).start();
    let mut serving = Serving(None);
    let settings = format!("listen.unix_socket = {path:?}\nlisten.backlog = 77\n");
    fs::write(gateway.settings_file(), settings).unwrap();
    serving.hand_over(&gateway);
    gateway.wait_for_end();
    assert!(path.exists(), "the former process leaves the file");
    let mut client = UnixStream::connect(&path).unwrap();
    let mut reply = [0; 7];
    client.write_all(&request_line("PING")).unwrap();
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
    drop(client);
    assert_eq!(gateway.page("/readyz").0, 200);
    drop(serving);
    assert!(!path.exists(), "the last process removes it");
}

/// A transaction that has begun ends where it began.
#[test]
fn who_is_in_a_transaction_ends_it_first() {
    let mut gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    assert_eq!(client.call("MULTI").text(), "OK");
    assert_eq!(client.call("ECHO 1").text(), "QUEUED");
    let mut serving = Serving(None);
    serving.hand_over(&gateway);
    assert_eq!(client.call("ECHO 2").text(), "QUEUED");
    assert!(!client.call("EXEC").is_error());
    assert!(client.is_closed());
    gateway.wait_for_end();
}

/// Plays systemd: binds the sockets, listens to what the service says, and signals it.
#[test]
fn as_a_service_of_systemd() {
    let folder = new_folder("service");
    let heard = UnixDatagram::bind(folder.join("notify")).unwrap();
    heard.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let node = Cluster::shared().addresses()[0];
    let (listen, admin) = (address.to_string(), local(free_port()).to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotway"));
    command
        .args(["serve", "--listen", &listen, "--admin", &admin, "--workers", "2"])
        .args(["--node", &node.to_string()])
        .env("NOTIFY_SOCKET", folder.join("notify"))
        .env("WATCHDOG_USEC", "300000")
        .env("LISTEN_FDS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let parent_fd = socket.as_fd().try_clone_to_owned().unwrap();
    command.fd_mappings(vec![FdMapping { parent_fd, child_fd: 3 }]).unwrap();
    let service = Service(command.spawn().unwrap());
    drop(socket);
    let told = |wanted: &str| {
        let mut buffer = [0; 1024];
        loop {
            let length = heard.recv(&mut buffer).unwrap_or_else(|why| panic!("{wanted}: {why}"));
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            if text.lines().any(|line| line.starts_with(wanted)) {
                return text.to_owned();
            }
        }
    };
    told("READY=1");
    assert_eq!(Client::connect(address).call("PING").text(), "PONG");
    (0..3).for_each(|_| drop(told("WATCHDOG=1")));
    Serving::signal(service.0.id(), Signal::HUP);
    assert!(told("RELOADING=1").contains("MONOTONIC_USEC="));
    told("READY=1");
    Serving::signal(service.0.id(), Signal::USR2);
    let text = told("MAINPID=");
    let main = text.lines().find_map(|line| line.strip_prefix("MAINPID=")).unwrap();
    let serving = Serving(Some(main.parse().unwrap()));
    assert_eq!(Client::connect(address).call("PING").text(), "PONG");
    wait_for("the end of the former process", || has_ended(service.0.id()));
    told("WATCHDOG=1");
    Serving::signal(serving.0.unwrap(), Signal::TERM);
    told("STOPPING=1");
}

struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
