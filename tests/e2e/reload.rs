//! SIGHUP: settings are loaded again, all of them or none, and nobody is disconnected.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::harness::{Client, Cluster, Gateway, request_line, wait_for};

const DONE: &str = "loaded again";
const KEPT: &str = "stay as they are";

/// Writes these settings, asks for a reload, and waits for the line that tells of it.
fn reload(gateway: &Gateway, settings: &str, outcome: &str) -> String {
    let lines = || -> Vec<String> {
        let errors = gateway.errors();
        errors.lines().filter(|line| line.contains(outcome)).map(str::to_owned).collect()
    };
    let before = lines().len();
    fs::write(gateway.settings_file(), settings).unwrap();
    gateway.signal(Signal::HUP);
    wait_for("the line about the reload", || lines().len() > before);
    lines().pop().unwrap()
}

#[test]
fn limits_change_for_clients_that_are_connected() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut clients: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call("ECHO 12345678901").text(), "12345678901");
    }
    let settings = "limits.bulk_bytes = 1024\nlimits.max_clients = 5\nlog.level = \"debug\"\n\
                    routing.cross_slot = \"off\"\nauth.password = \"not shown\"\n\
                    listen.backlog = 7\n";
    let line = reload(&gateway, settings, DONE);
    for part in [
        r#"limits.bulk_bytes: \"512MiB\" → \"1KiB\""#,
        "limits.max_clients: 10000 → 5",
        r#"auth.password: \"\" → ***"#,
        r#"needs_restart":"listen.backlog: 1024 → 7"#,
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!gateway.errors().contains("not shown"));
    let long = format!("ECHO {}", "x".repeat(2_000));
    for client in &mut clients {
        wait_for("the new settings at every worker", || {
            client.call("MGET {a} {b}").text().starts_with("CROSSSLOT")
        });
    }
    assert_eq!(gateway.client().call("PING").text(), "NOAUTH Authentication required.");
    assert!(clients[0].call(&long).text().contains("invalid bulk length"));
    assert_eq!(gateway.metric("slotway_sessions_limit") as usize, 5);
    reload(&gateway, "", DONE);
    assert_eq!(gateway.client().call("PING").text(), "PONG");
    assert_eq!(clients[1].call("PING").text(), "PONG");
}

#[test]
fn the_rates_of_users_change_for_clients_that_are_connected_and_for_those_that_wait() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut client = gateway.client();
    assert_eq!(client.call("PING").text(), "PONG");
    let line = reload(&gateway, "limits.user_bytes = { \"*\" = \"1KiB\" }\n", DONE);
    assert!(
        line.contains("limits.user_bytes") && !line.contains("needs_restart\":\"limits"),
        "{line}"
    );
    // A first large request has its turn at once; the next one would wait for minutes.
    let long = "x".repeat(300_000);
    assert_eq!(client.call(&format!("ECHO {long}")).text(), long);
    client.send(&request_line("PING"));
    wait_for("a request that waits for its turn", || gateway.limited("rate") > 0.0);
    reload(&gateway, "", DONE);
    assert_eq!(client.reply().text(), "PONG");
    assert_eq!(client.call(&format!("ECHO {long}")).text(), long);
    assert_eq!(client.call("PING").text(), "PONG");
}

/// Who speaks for others is looked at when they connect.
#[test]
fn a_balancer_is_believed_from_a_reload_on() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut before = gateway.client();
    assert_eq!(before.call("PING").text(), "PONG");
    reload(&gateway, "listen.proxy_networks = [\"127.0.0.0/8\"]\n", DONE);
    let mut proxied = gateway.client();
    proxied.send(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x7f\0\0\x01\x12\x34\0\x50");
    let line = proxied.call("CLIENT INFO").text();
    assert!(line.contains(" addr=10.1.2.3:4660 "), "{line}");
    assert_eq!(before.call("PING").text(), "PONG");
    reload(&gateway, "", DONE);
    assert_eq!(gateway.client().call("PING").text(), "PONG");
}

#[test]
fn a_broken_file_changes_nothing_and_all_its_mistakes_are_told() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    let file = "limits.max_clients = 5\nlimits.output_hart = 1\nlog.level = \"loud\"\n";
    reload(&gateway, file, KEPT);
    let errors = gateway.errors();
    for part in ["slotway.toml:2:8: unknown key", "slotway.toml:3:13: `log.level` must be"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    reload(
        &gateway,
        "auth.users_file = \"/none\"\nlisten.tls_certificate_file = \"/none\"\n\
                      listen.tls_key_file = \"/none\"",
        KEPT,
    );
    let errors = gateway.errors();
    for part in ["`auth.users_file` names a file", "listen.tls_certificate_file"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert_eq!(gateway.metric("slotway_sessions_limit") as usize, 10_000);
    assert_eq!(gateway.metric("slotway_settings_reloads_total{result=\"error\"}") as usize, 2);
    assert_eq!(client.call("PING").text(), "PONG");
}

#[test]
fn a_reload_under_load_disturbs_nobody() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let busy: Vec<_> = (0..8)
            .map(|number| (number, gateway.client()))
            .map(|(number, mut client)| {
                let ended = &ended;
                scope.spawn(move || {
                    let key = format!("reload:{number}:{}", std::process::id());
                    let mut count = 0_u64;
                    while !ended.load(Ordering::Relaxed) {
                        count += 1;
                        let reply = client.call(&format!("INCR {key}"));
                        assert_eq!(reply.text(), count.to_string());
                    }
                    count
                })
            })
            .collect();
        for turn in 0..10 {
            let limit = 100 + turn;
            reload(&gateway, &format!("limits.inflight_requests = {limit}\n"), DONE);
        }
        ended.store(true, Ordering::Relaxed);
        assert!(busy.into_iter().all(|client| client.join().unwrap() > 0));
    });
    assert_eq!(gateway.metric("slotway_settings_reloads_total{result=\"ok\"}") as usize, 10);
}
