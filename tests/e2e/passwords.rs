//! Passwords in files: changed while the gateway runs.

use std::fs;
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Cluster, Gateway, text, wait_for};

/// Waits until the gateway has said so many times that it loaded its files again.
fn wait_for_loads(gateway: &Gateway, count: usize) {
    wait_for("files that are loaded again", || {
        gateway.errors().matches("passwords loaded again").count() >= count
    });
}

#[test]
fn the_nodes_password_changes_before_or_after_the_file() {
    let (cluster, folder) = (Cluster::small(), TempDir::new().unwrap());
    cluster.change_password("", "one");
    let file = folder.path().join("password");
    fs::write(&file, "one\n").unwrap();
    let gateway =
        Gateway::before(&cluster).setting("cluster.password_file", text(&file)).workers(2).start();
    // Reads, which are repeated when their connection has just been closed.
    let ask = |when: &str| {
        let mut client = gateway.client();
        for key in ["a", "b", "c", "d"] {
            assert_eq!(client.call(&format!("STRLEN {key}")).text(), "0", "{when}");
        }
    };
    ask("at first");

    // The file is first: nodes refuse the new password, and take the one before.
    fs::write(&file, "two\n").unwrap();
    wait_for_loads(&gateway, 1);
    cluster.change_password("one", "one");
    ask("nodes behind");
    cluster.change_password("one", "two");
    ask("nodes changed");

    // The nodes are first: requests wait for the file.
    cluster.change_password("two", "three");
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask("file behind"));
        wait_for("a node that refuses the gateway", || gateway.errors().contains("WRONGPASS"));
        fs::write(&file, "three\n").unwrap();
        asking.join().unwrap();
    });
    wait_for_loads(&gateway, 2);

    // A file without a password changes nothing.
    fs::write(&file, "\n").unwrap();
    wait_for("a word on the empty file", || {
        gateway.errors().contains("`cluster.password_file` names a file that holds no password")
    });
    cluster.change_password("three", "three");
    ask("file empty");
}

#[test]
fn the_gateways_own_password_changes_with_its_file() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "one\n").unwrap();
    let gateway = Gateway::before(Cluster::shared())
        .setting("auth.password_file", text(&file))
        .setting("auth.failed_login_delay", "0s")
        .start();
    let mut early = gateway.client();
    assert_eq!(early.call("AUTH one").text(), "OK");
    fs::write(&file, "two\n").unwrap();
    gateway.signal(Signal::HUP);
    let mut late = gateway.client();
    wait_for("the new password", || late.call("AUTH two").text() == "OK");
    assert!(gateway.client().call("AUTH one").text().starts_with("WRONGPASS "));
    assert_eq!(early.call("PING").text(), "PONG");
    assert!(gateway.client().call("PING").text().starts_with("NOAUTH "));
}
