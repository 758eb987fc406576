//! What somebody may have to answer for is recorded, and no secret ever shows.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Client, Cluster, Gateway, text, wait_for};

/// The records of the audit log so far: event, user, command, object.
fn records(gateway: &Gateway) -> Vec<[String; 4]> {
    let errors = gateway.errors();
    let lines = errors.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["target"] == "audit")
        .map(|line| {
            assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
            let id = line["client_id"].as_u64().unwrap();
            let (client, number) = line["request"].as_str().unwrap().split_once('-').unwrap();
            assert!(id > 0 && client == id.to_string(), "{line}");
            assert!(number.parse::<u32>().is_ok(), "{line}");
            ["event", "user", "command", "object"]
                .map(|field| line[field].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

#[test]
fn logins_denials_and_what_administrators_do_are_recorded() {
    let mut gateway = Gateway::before(Cluster::shared())
        .workers(2)
        .setting("auth.failed_login_delay", "0s")
        .start();
    let (mut admin, mut app) = (gateway.client(), gateway.client());
    admin.call("ACL SETUSER app on >app-pw ~app:* +get +flushall +multi");
    app.call("AUTH app wrong");
    // A password where the user's name belongs.
    app.call("AUTH app-pw app");
    app.call("AUTH app app-pw");
    app.call("GET app:1");
    app.call("GET other");
    app.call("CONFIG GET save");
    app.call("MULTI");
    app.call("SET app:1 v");
    admin.call("HELLO 3");
    admin.call("CLIENT LIST TYPE normal");
    admin.call("CONFIG SET slowlog-max-len 128");
    admin.call("SLOWLOG RESET");
    admin.call("DEL x");
    gateway.signal(rustix::process::Signal::TERM);
    drop((admin, app));
    gateway.wait_for_end();
    let expected = [
        ["command", "default", "acl|setuser", "app"],
        ["login_failed", "app", "", ""],
        ["login_failed", "", "", ""],
        ["login", "app", "", ""],
        ["denied", "app", "get", "other"],
        ["denied", "app", "config|get", "config|get"],
        ["denied", "app", "set", "set"],
        ["command", "default", "client|list", "TYPE"],
        ["command", "default", "config|set", "slowlog-max-len"],
        ["command", "default", "slowlog|reset", ""],
    ];
    assert_eq!(records(&gateway), expected);
}

#[test]
fn a_level_chooses_what_is_recorded() {
    let mut gateway =
        Gateway::before(Cluster::shared()).setting("log.level", "info,audit=warn").start();
    let mut client = gateway.client();
    client.call("ACL SETUSER app on >pw");
    client.call("AUTH app pw");
    client.call("PING");
    gateway.signal(rustix::process::Signal::TERM);
    drop(client);
    gateway.wait_for_end();
    assert_eq!(records(&gateway), [["denied", "app", "ping", "ping"]]);
}

/// The secrets of the test below. Nothing else has this in it.
const MARK: &str = "s3cr3t";

fn secret(name: &str) -> String {
    format!("{MARK}-{name}")
}

#[test]
fn secrets_never_show() {
    let (cluster, folder) = (Cluster::small(), TempDir::new().unwrap());
    cluster.change_password("", &secret("node"));
    let file = |name| folder.path().join(name);
    let (users, node_password, logins) = (file("users.acl"), file("password"), file("logins"));
    let line = |name: &str| format!("user {name} on >{} ~* &* +@all\n", secret(name));
    fs::write(&users, line("default") + &line("app") + &line("sent-on")).unwrap();
    fs::write(&node_password, secret("node") + "\n").unwrap();
    // The nodes do not know it, and say so.
    fs::write(&logins, format!("sent-on node-app {}\n", secret("logins"))).unwrap();
    let mut gateway = Gateway::before(&cluster)
        .setting("cluster.password_file", text(&node_password))
        .setting("cluster.logins_file", text(&logins))
        .setting("auth.users_file", text(&users))
        .setting("auth.failed_login_delay", "0s")
        .setting("log.level", "trace")
        .start();
    let (mut admin, mut app, mut monitor) = (gateway.client(), gateway.client(), gateway.client());
    for client in [&mut admin, &mut monitor] {
        assert_eq!(client.call(&format!("AUTH {}", secret("default"))).text(), "OK");
    }
    assert_eq!(monitor.call("MONITOR").text(), "OK");
    let requests = [
        format!("AUTH {}", secret("wrong")),
        format!("AUTH app {}", secret("wrong")),
        format!("AUTH {} app", secret("misplaced")),
        format!("HELLO 2 AUTH app {}", secret("wrong")),
        format!("HELLO 2 AUTH app {}", secret("app")),
        format!("HELLO 2 AUTH app {} SETNAME two words", secret("app")),
        format!("ACL SETUSER new on >{} +@all", secret("new")),
        format!("ACL SETUSER new on >{} +nonsense", secret("new")),
        format!("CONFIG SET requirepass {}", secret("config")),
        format!("CONFIG SET maxmemory-policy noeviction masterauth {}", secret("config")),
        format!("MIGRATE 127.0.0.1 1 key 0 10 AUTH {}", secret("migrate")),
        format!("MIGRATE 127.0.0.1 1 key 0 10 AUTH2 app {}", secret("migrate")),
        format!("SET key {}", "value"),
        "ACL SAVE".to_owned(),
        format!("AUTH sent-on {}", secret("sent-on")),
        "GET key".to_owned(),
    ];
    let mut shown = String::new();
    for request in &requests {
        shown += &app.call(request).to_string();
    }
    shown += &everything_that_tells(&mut admin);
    for page in ["/metrics", "/readyz", "/status.json", "/"] {
        let (status, text) = gateway.page(page);
        assert_eq!(status, 200, "{page}");
        shown += &text;
    }
    shown += &fs::read_to_string(&users).unwrap();
    assert_eq!(admin.call("SET last monitored").text(), "OK");
    while !shown.ends_with("monitored\"") {
        shown += &monitor.reply().text();
    }
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait_for_end();
    shown += &gateway.errors();
    assert!(shown.contains("\"target\":\"audit\""), "the log is part of it");
    assert!(shown.contains("TRACE"), "with all its levels");
    let place = shown.find(MARK);
    assert!(place.is_none(), "{}", &shown[place.unwrap().saturating_sub(300)..place.unwrap() + 50]);
}

/// The replies of all commands that tell of the gateway, its clients, its users and the nodes.
fn everything_that_tells(admin: &mut Client) -> String {
    let mut shown = String::new();
    for request in [
        "INFO everything",
        "CONFIG GET *",
        "CLIENT LIST",
        "CLIENT INFO",
        "ACL LIST",
        "ACL GETUSER app",
        "ACL GETUSER new",
        "SLOWLOG GET 128",
        "SLOTWAY SLOWLOG 128",
        "SLOTWAY HOTKEYS 128",
        "SLOTWAY BIGKEYS 128",
        "LATENCY DOCTOR",
        "MEMORY DOCTOR",
        "COMMAND INFO AUTH",
    ] {
        let reply = admin.call(request);
        shown += &String::from_utf8_lossy(reply.bytes());
    }
    shown
}

#[test]
fn mistakes_in_settings_do_not_show_passwords() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("slotway.toml");
    let settings = format!(
        "[auth]\npassword = [\"{MARK}\"]\npasword = \"{MARK}\"\npassword_file = \"{MARK}\"\n\
         [cluster]\nnodes = [\"user:{MARK}@host\"]\npassword = \"{MARK}\"\npassword_file = \"{MARK}\"\n\
         logins = \"user {MARK}\"\nlogins_file = \"{MARK}\"\n"
    );
    fs::write(&file, settings).unwrap();
    for arguments in [vec!["check"], vec!["serve", "--node", "127.0.0.1:1"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_slotway"))
            .args(&arguments)
            .args(["--config", text(&file)])
            .env("SLOTWAY_AUTH__PASSWORD", format!("{MARK}-of-the-environment"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(shown.contains("auth.password") && !shown.contains(MARK), "{shown}");
    }
}

#[test]
fn the_nodes_credentials_are_not_changed_through_the_gateway() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    for arguments in [
        "requirepass pw",
        "maxmemory-policy noeviction REQUIREPASS pw",
        "masteruser app",
        "masterauth pw",
    ] {
        let reply = client.call(&format!("CONFIG SET {arguments}")).text();
        assert!(reply.starts_with("ERR CONFIG SET failed (possibly related to"), "{reply}");
    }
    assert_eq!(client.call("CONFIG SET maxmemory-policy noeviction").text(), "OK");
    wait_for("nodes that still let the gateway in", || gateway.client().call("GET x").is_nil());
}
