//! Connections that are open when their user changes, is deleted, or is loaded again.

use std::fs;

use tempfile::TempDir;

use crate::harness::{Client, Cluster, Gateway, Reply, Server, request_line, wait_for};

/// What a client may be at.
const STATES: &[&[&str]] = &[
    &["PING"],
    &["SUBSCRIBE news:1"],
    &["PSUBSCRIBE news:*"],
    &["SSUBSCRIBE news:1"],
    &["WATCH open:key"],
    &["MULTI", "GET open:key"],
    &["MULTI", "NOSUCH"],
    &["BLPOP open:list 0"],
];

const USER: &str = "ACL SETUSER app reset on >pw ~open:* &news:* +@all";

#[test]
fn a_deleted_user_is_disconnected_whatever_it_is_at() {
    let server = Server::standalone();
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let connects: [&dyn Fn(u8) -> Client; 2] =
        [&|protocol| server.client_of(protocol), &|protocol| gateway.client_of(protocol)];
    for (connect, protocol) in connects.iter().flat_map(|connect| [(connect, 2), (connect, 3)]) {
        let mut admin = connect(protocol);
        assert_eq!(admin.call(USER).text(), "OK");
        let mut clients: Vec<Client> = Vec::new();
        for state in STATES {
            let mut client = connect(protocol);
            assert_eq!(client.call("AUTH app pw").text(), "OK");
            for line in *state {
                match line.starts_with("BLPOP") {
                    true => client.send(&request_line(line)),
                    false => drop(client.call(line)),
                }
            }
            clients.push(client);
        }
        wait_for("the one that waits", || {
            admin.call("CLIENT LIST").text().lines().any(|line| line.contains(" cmd=blpop "))
        });
        assert_eq!(admin.call("ACL DELUSER app").integer(), 1);
        // One of the same name is another user.
        assert_eq!(admin.call(USER).text(), "OK");
        for (state, client) in STATES.iter().zip(&mut clients) {
            assert!(client.is_closed(), "{state:?}");
        }
        assert_eq!(admin.call("ACL DELUSER app").integer(), 1);
    }
}

/// Rules of one user, one after the other, and what it asks in between.
const CHANGES: &[(&str, &[&str])] = &[
    ("reset on >pw +@all -@admin ~open:*", &["GET open:1", "GET hash:1", "CONFIG GET x"]),
    ("(%R~hash:* +hget)", &["HGET hash:1 f", "HSET hash:1 f v", "GET hash:1", "GET open:1"]),
    ("(~hash:* +get +hset)", &["HSET hash:1 f v", "GET hash:1", "DEL hash:1", "HGET hash:1 f"]),
    ("clearselectors", &["HGET hash:1 f", "GET open:1"]),
    (
        "resetkeys %W~open:*",
        &["GET open:1", "SET open:1 v", "APPEND open:1 v", "COPY open:1 open:2"],
    ),
    (
        "allkeys -get +client|list",
        &["GET open:1", "STRLEN open:1", "CLIENT GETNAME", "CLIENT LIST x"],
    ),
    ("-@all +get ~*", &["GET open:1", "PING", "ECHO x"]),
    ("nopass", &["GET open:1"]),
    ("off", &["GET open:1"]),
    ("reset", &["GET open:1", "PING"]),
    ("+@all ~* &*", &["GET open:1", "ACL WHOAMI", "DEL open:1 open:2 hash:1"]),
];

#[test]
fn changed_rules_hold_for_the_next_request_as_on_a_server() {
    let server = Server::standalone();
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let talk = |mut admin: Client, mut client: Client| -> Vec<(&str, Reply)> {
        let mut replies = Vec::new();
        for (rules, lines) in CHANGES {
            assert_eq!(admin.call(&format!("ACL SETUSER app {rules}")).text(), "OK");
            if rules.starts_with("reset on") {
                assert_eq!(client.call("AUTH app pw").text(), "OK");
            }
            replies.extend(lines.iter().map(|line| (*line, client.call(line))));
        }
        replies
    };
    let expected = talk(server.client(), server.client());
    let found = talk(gateway.client(), gateway.client());
    assert_eq!(found, expected);
}

#[test]
fn users_that_are_loaded_again_keep_their_connections_and_lose_their_rights() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("users.acl");
    let default = "user default on nopass ~* &* +@all\n";
    let users = |lines: &[&str]| fs::write(&path, [&[default], lines].concat().concat()).unwrap();
    users(&["user app on >pw ~* &news:* +@all\n", "user gone on >pw ~* &* +@all\n"]);
    let gateway = Gateway::before(Cluster::shared())
        .workers(2)
        .setting("auth.users_file", path.to_str().unwrap())
        .start();
    let client = |user: &str, line: &str| {
        let mut client = gateway.client_of(3);
        assert_eq!(client.call(&format!("AUTH {user} pw")).text(), "OK");
        client.call(line);
        client
    };
    let mut admin = gateway.client();
    let mut stay = client("app", "SUBSCRIBE news:1");
    let mut lose = client("app", "SUBSCRIBE news:2");
    let mut collect = client("app", "MULTI");
    assert_eq!(collect.call("SET open:loaded v").text(), "QUEUED");
    let mut gone = [client("gone", "SUBSCRIBE news:1"), client("gone", "PING")];
    users(&["user app on >other ~* &news:1 +@all -set\n"]);
    assert_eq!(admin.call("ACL LOAD").text(), "OK");
    assert!(gone.iter_mut().all(Client::is_closed));
    assert!(lose.is_closed());
    assert!(collect.call("EXEC").text().starts_with("EXECABORT "));
    // With its old password, and under its new rules.
    assert_eq!(stay.call("PING").text(), "PONG");
    assert!(stay.call("SET open:loaded v").text().starts_with("NOPERM "));
    assert!(stay.call("SUBSCRIBE news:2").text().starts_with("NOPERM "));
    assert_eq!(admin.call("PUBLISH news:1 heard").integer(), 1);
    assert!(stay.reply().to_string().contains("heard"));
}
