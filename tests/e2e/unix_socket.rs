//! Clients on the same machine, by a Unix socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use rustix::process::Signal;

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
