//! Clients on the same machine, by a Unix socket.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use rustix::process::{Signal, getgid, getuid};

use crate::harness::{Cluster, Gateway, text};

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("slotway-{name}-{}.sock", id()))
}

fn ask(path: &Path, words: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-s", text(path)]).args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn clients_come_by_a_unix_socket_too() {
    let path = path("both");
    let mut gateway = Gateway::before(Cluster::shared())
        .setting("listen.unix_socket", &path)
        .setting("listen.unix_permissions", "700")
        .start();
    assert_eq!(ask(&path, &["SET", "by-unix-socket", "value"]), "OK\n");
    assert_eq!(gateway.client().call("GET by-unix-socket").text(), "value");
    let line = ask(&path, &["CLIENT", "INFO"]);
    let place = text(&path);
    assert!(line.contains(&format!(" addr={place}:0 laddr={place}:0 ")), "{line}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    gateway.signal(Signal::TERM);
    gateway.wait_for_end();
    assert!(!path.exists());
}

#[test]
fn a_socket_that_an_earlier_run_left_is_replaced() {
    let path = path("left");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _gateway = Gateway::before(Cluster::shared()).setting("listen.unix_socket", &path).start();
    assert_eq!(ask(&path, &["PING"]), "PONG\n");
}

#[test]
fn the_socket_belongs_to_whom_the_settings_say() {
    let path = path("owned");
    // Only root may give a file away.
    let (user, group) = if getuid().is_root() {
        ("nobody".to_owned(), "4711".to_owned())
    } else {
        (getuid().to_string(), getgid().to_string())
    };
    let _gateway = Gateway::before(Cluster::shared())
        .setting("listen.unix_socket", &path)
        .setting("listen.unix_permissions", "660")
        .setting("listen.unix_owner", &user)
        .setting("listen.unix_group", &group)
        .start();
    let file = fs::metadata(&path).unwrap();
    assert_eq!((file.gid().to_string(), file.permissions().mode() & 0o777), (group, 0o660));
    assert!(!getuid().is_root() || file.uid() != 0);
}

#[test]
fn an_owner_that_there_is_not_is_said_at_the_start() {
    let path = path("unowned");
    let output = Command::new(env!("CARGO_BIN_EXE_slotway"))
        .args([
            "serve",
            "--node",
            "127.0.0.1:1",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ])
        .env("SLOTWAY_LISTEN__UNIX_SOCKET", &path)
        .env("SLOTWAY_LISTEN__UNIX_OWNER", "nobody of this name")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let wanted = "there is no user (listen.unix_owner) called \"nobody of this name\"";
    assert!(said.contains(wanted), "{said}");
    assert!(!path.exists());
}
