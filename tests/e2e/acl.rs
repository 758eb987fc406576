//! Users and rules: the same decisions, descriptions and errors as a real server, and their effect on clients.

mod generated;
mod log;
mod open;
mod pair;

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Client, Cluster, Gateway, Make, Server, request_line, wait_for};
use pair::{Pair, is_7_0};

/// What clients see, request by request; the number says which of them sends it.
const SCRIPT: &[(usize, &str)] = &[
    (0, "ACL WHOAMI"),
    (0, "ACL USERS"),
    (0, "ACL LIST"),
    (0, "ACL GETUSER default"),
    (0, "ACL GETUSER nobody"),
    (0, "ACL SETUSER reader on >pw %R~r:* +@read +acl|whoami +multi +exec -@dangerous"),
    (0, "ACL SETUSER speaker on >pw >other &news:* +@pubsub +acl|whoami"),
    (0, "ACL SETUSER sleeper off >pw +@all"),
    (0, "ACL SETUSER free on nopass ~* &* +@all"),
    (0, "ACL SETUSER reader bogus"),
    (0, "ACL SETUSER reader on (~a +get"),
    (0, "ACL DRYRUN reader GET r:1"),
    (0, "ACL DRYRUN reader GET x"),
    (0, "ACL DRYRUN reader SET r:1 v"),
    (0, "ACL DRYRUN reader CONFIG GET x"),
    (0, "ACL DRYRUN reader NOSUCH x"),
    (0, "ACL DRYRUN reader CONFIG NOSUCH x"),
    (0, "ACL DRYRUN reader GET"),
    (0, "ACL DRYRUN nobody GET x"),
    (0, "ACL DRYRUN speaker PUBLISH news:1 m"),
    (0, "ACL DRYRUN speaker PUBLISH other m"),
    (0, "SET r:1 v"),
    (1, "AUTH reader no"),
    (1, "AUTH nobody pw"),
    (1, "AUTH sleeper pw"),
    (1, "AUTH reader pw"),
    (1, "ACL WHOAMI"),
    (1, "GET r:1"),
    (1, "GET x"),
    (1, "SET r:1 v"),
    (1, "MGET r:1 r:2 x"),
    (1, "FLUSHALL"),
    (1, "KEYS *"),
    (1, "CONFIG GET maxmemory"),
    (1, "ACL LIST"),
    (1, "ACL SETUSER reader +@all"),
    (1, "CLIENT LIST"),
    (1, "CLIENT|LIST"),
    (1, "PING"),
    (1, "MULTI"),
    (1, "GET r:1"),
    (1, "EXEC"),
    (1, "MULTI"),
    (1, "SET r:1 v"),
    (1, "GET x"),
    (1, "EXEC"),
    (1, "NOSUCH x"),
    (1, "GET"),
    (1, "RESET"),
    (1, "ACL WHOAMI"),
    (1, "SET acl:own v"),
    (1, "HELLO 2 AUTH reader no"),
    (1, "HELLO 7 AUTH reader pw"),
    (1, "ACL WHOAMI"),
    (1, "AUTH free anything"),
    (1, "ACL WHOAMI"),
    (2, "AUTH speaker other"),
    (2, "PUBLISH other m"),
    (2, "SPUBLISH other m"),
    (2, "GET news:1"),
    // Rules that change are those of connections that are there.
    (0, "ACL SETUSER speaker +get ~news:*"),
    (2, "GET news:1"),
    (0, "ACL SETUSER speaker off"),
    (2, "GET news:1"),
    (2, "ACL WHOAMI"),
    (3, "AUTH speaker pw"),
    (0, "ACL SETUSER speaker -@all"),
    (2, "ACL WHOAMI"),
    (0, "ACL DELUSER nobody speaker nobody2"),
    (0, "ACL DELUSER default"),
    (0, "ACL USERS"),
    (3, "AUTH speaker pw"),
    // The default user, and who is it.
    (0, "ACL SETUSER default >secret"),
    (0, "ACL WHOAMI"),
    (3, "PING"),
    (4, "PING"),
    (4, "ACL WHOAMI"),
    (4, "AUTH no"),
    (4, "AUTH secret"),
    (4, "ACL WHOAMI"),
    (0, "ACL SETUSER default nopass"),
    (4, "AUTH secret"),
    (4, "AUTH default anything"),
    (0, "ACL GENPASS 0"),
    (0, "ACL GENPASS x"),
    (0, "ACL GENPASS 4097"),
    (0, "ACL GENPASS 5 5"),
    (0, "ACL LOG x"),
    (0, "ACL LOG 1 2"),
    (0, "ACL LOG RESET"),
    (0, "ACL LOG"),
    (0, "ACL CAT"),
    (0, "ACL CAT nosuch"),
    (0, "ACL HELP"),
    (0, "ACL NOSUCH"),
];

#[test]
fn clients_see_what_a_server_lets_them_see() {
    let server = Server::standalone();
    let gateway = Gateway::before(Cluster::shared())
        .workers(2)
        .setting("auth.failed_login_delay", "0s")
        .start();
    if !is_7_0(&mut server.client()) {
        return;
    }
    for protocol in [2, 3] {
        let mut pairs: Vec<Option<Pair>> = (0..5).map(|_| None).collect();
        let mut admin = pair_of(&server, &gateway, protocol);
        for (number, line) in SCRIPT {
            if pairs[*number].is_none() {
                pairs[*number] = Some(pair_of(&server, &gateway, protocol));
            }
            let pair = pairs[*number].as_mut().unwrap();
            pair.compare(&line.split(' ').collect::<Vec<_>>());
            if *line == "RESET" && protocol == 3 {
                pair.ask(&["HELLO", "3"]);
            }
        }
        for line in
            ["ACL SETUSER default reset on nopass ~* &* +@all", "ACL DELUSER reader sleeper free"]
        {
            admin.compare(&line.split(' ').collect::<Vec<_>>());
        }
    }
}

fn pair_of(server: &Server, gateway: &Gateway, protocol: u8) -> Pair {
    let mut pair = Pair { server: server.client(), gateway: gateway.client(), asked: 0 };
    if protocol == 3 {
        pair.ask(&["HELLO", "3"]);
    }
    pair
}

#[test]
fn a_deleted_user_is_disconnected_on_every_worker() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut admin = gateway.client();
    admin.call("ACL SETUSER app on >pw ~* +@all");
    let mut clients: Vec<Client> = (0..6).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call("AUTH app pw").text(), "OK");
        assert_eq!(client.call("SET deleted:x v").text(), "OK");
    }
    let shown = admin.call("CLIENT LIST").text();
    assert_eq!(shown.matches(" user=app ").count(), 6, "{shown}");
    admin.call("ACL SETUSER app -set");
    for client in &mut clients {
        assert!(client.call("SET deleted:x v").text().starts_with("NOPERM "));
        assert_eq!(client.call("GET deleted:x").text(), "v");
    }
    // One of them deletes itself: it still gets the reply.
    admin.call("ACL SETUSER app +acl");
    assert_eq!(clients[0].call("ACL DELUSER app").integer(), 1);
    for client in &mut clients {
        assert!(client.is_closed());
    }
    assert_eq!(admin.call("PING").text(), "PONG");
}

#[test]
fn clients_of_a_user_are_killed() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let (mut admin, mut client) = (gateway.client(), gateway.client());
    admin.call("ACL SETUSER app on >pw ~* +@all");
    assert_eq!(client.call("AUTH app pw").text(), "OK");
    assert_eq!(admin.call("CLIENT KILL USER nobody").text(), "ERR No such user 'nobody'");
    assert_eq!(admin.call("CLIENT KILL USER app").integer(), 1);
    assert!(client.is_closed());
}

#[test]
fn denials_are_logged_and_counted() {
    let gateway = Gateway::before(Cluster::shared())
        .workers(2)
        .setting("auth.failed_login_delay", "0s")
        .start();
    let (mut admin, mut client) = (gateway.client(), gateway.client());
    admin.call("ACL SETUSER app on >pw ~app:* +get +publish +acl|whoami");
    client.call("AUTH app no");
    client.call("AUTH app pw");
    for _ in 0..3 {
        assert!(client.call("GET other").is_error());
    }
    client.call("PUBLISH c m");
    client.call("CONFIG GET x");
    let entries = admin.call("ACL LOG").items();
    let shown: Vec<String> = entries
        .iter()
        .map(|entry| {
            let fields = entry.items();
            let text = |at: usize| fields[at].text();
            // Newer servers number their entries, and say when they were made.
            assert_eq!(fields.len(), if Make::of_servers().is_since(7, 2) { 20 } else { 14 });
            assert!(text(13).contains(" cmd="), "{}", text(13));
            format!("{} {} {} {} {}", fields[1].integer(), text(3), text(5), text(7), text(9))
        })
        .collect();
    let expected = [
        "1 command toplevel config|get app",
        "1 channel toplevel c app",
        "3 key toplevel other app",
        "1 auth toplevel AUTH app",
    ];
    assert_eq!(shown, expected);
    assert_eq!(admin.call("ACL LOG 1").items().len(), 1);
    let (_, page) = gateway.page("/metrics");
    let has = |line: &str| page.lines().any(|one| one.starts_with(line) && one.ends_with(" 5"));
    assert!(has("slotway_acl_denials_total"), "{page}");
    assert!(
        page.lines()
            .any(|line| line.starts_with("slotway_login_failures_total") && line.ends_with(" 1"))
    );
}

#[test]
fn failed_logins_wait_and_right_ones_do_not() {
    let gateway = Gateway::before(Cluster::shared())
        .setting("auth.password", "secret")
        .setting("auth.failed_login_delay", "200ms")
        .start();
    let mut client = gateway.client();
    let start = Instant::now();
    let replies =
        client.pipeline(&["AUTH no", "HELLO 3 AUTH default no", "PING", "AUTH secret", "PING"]);
    let texts: Vec<String> = replies.iter().map(|reply| reply.text()).collect();
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(texts, [wrong, wrong, "NOAUTH Authentication required.", "OK", "PONG"]);
    assert!(start.elapsed() >= Duration::from_millis(200 + 400));
}

#[test]
fn a_right_login_does_not_wait_for_a_wrong_one() {
    let gateway = Gateway::before(Cluster::shared())
        .setting("auth.password", "secret")
        .setting("auth.failed_login_delay", "1m")
        .start();
    let mut client = gateway.client();
    client.send(&request_line("AUTH no"));
    wait_for("a failed login", || {
        let (_, page) = gateway.page("/metrics");
        page.lines()
            .any(|line| line.starts_with("slotway_login_failures_total") && line.ends_with(" 1"))
    });
    assert_eq!(gateway.client().call("AUTH secret").text(), "OK");
}

#[test]
fn scripts_need_a_user_without_restrictions() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let (mut admin, mut client) = (gateway.client(), gateway.client());
    admin.call("ACL SETUSER app on >pw ~* &* +@all -flushall");
    client.call("AUTH app pw");
    let reply = client.call("EVAL return(1) 0");
    assert!(reply.text().starts_with("NOPERM 'eval' needs a user without restrictions"), "{reply}");
    admin.call("ACL SETUSER app +flushall");
    assert_eq!(client.call("EVAL return(1) 0").integer(), 1);
}

#[test]
fn the_users_file_is_read_saved_and_read_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("users.acl");
    fs::write(
        &path,
        "# ours\nuser admin on >admin ~* &* +@all\nuser default off\nuser app on >pw ~a:* +@all\n",
    )
    .unwrap();
    let gateway = Gateway::before(Cluster::shared())
        .workers(2)
        .setting("auth.users_file", path.to_str().unwrap())
        .start();
    let (mut admin, mut app, mut other) = (gateway.client(), gateway.client(), gateway.client());
    assert!(admin.call("PING").text().starts_with("NOAUTH "));
    assert_eq!(admin.call("AUTH admin admin").text(), "OK");
    assert_eq!(app.call("AUTH app pw").text(), "OK");
    assert!(app.call("GET b").text().starts_with("NOPERM "));

    // What is set is saved, and means the same to a real server.
    admin.call("ACL SETUSER app ~b +@all -@dangerous (%R~c +get)");
    admin.call("ACL SETUSER new on >pw +get ~n");
    assert_eq!(other.call("AUTH new pw").text(), "OK");
    assert_eq!(admin.call("ACL SAVE").text(), "OK");
    let saved = fs::read_to_string(&path).unwrap();
    assert!(
        saved.contains("~a:* ~b resetchannels +@all -@dangerous (%R~c resetchannels -@all +get)"),
        "{saved}"
    );
    assert!(!saved.contains(">pw"), "{saved}");
    let server = Server::with_options(&[("--aclfile", path.to_str().unwrap())]);
    let mut on_server = server.client();
    assert_eq!(on_server.call("AUTH admin admin").text(), "OK");
    assert_eq!(on_server.call("ACL USERS"), admin.call("ACL USERS"));

    // A file with a mistake changes nothing and says where it is.
    fs::write(&path, format!("{saved}user bad +nosuch\n")).unwrap();
    let refused = admin.call("ACL LOAD").text();
    assert!(
        refused.contains("users.acl:5: Error in applying operation '+nosuch': Unknown command"),
        "{refused}"
    );
    assert!(
        refused.ends_with("no change to the previously active ACL rules was performed"),
        "{refused}"
    );
    assert_eq!(admin.call("ACL USERS").items().len(), 4);

    // Who is not in the file any more is disconnected; the others keep their connections.
    let without: String = saved
        .lines()
        .filter(|line| !line.contains(" new "))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&path, without.replace("~b ", "~d ")).unwrap();
    assert_eq!(admin.call("ACL LOAD").text(), "OK");
    assert!(other.is_closed());
    assert!(app.call("GET b").text().starts_with("NOPERM "));
    assert!(app.call("GET d").is_nil());

    // A hang-up does the same.
    fs::write(&path, "user admin on >admin ~* &* +@all\n").unwrap();
    gateway.signal(Signal::HUP);
    assert!(app.is_closed());
    wait_for("users from the file", || admin.call("ACL USERS").items().len() == 2);
}

#[test]
fn rules_of_any_size_and_bytes_do_no_harm() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    let long = vec![b'x'; 1 << 20];
    let with = |start: &[u8]| [start, &long].concat();
    for rule in
        [with(b"~"), with(b"&"), with(b"+"), with(b"("), with(b">"), with(b"\xff"), long.clone()]
    {
        client.call_args(&[b"ACL".as_slice(), b"SETUSER", b"big", &rule]);
    }
    let many: Vec<Vec<u8>> =
        (0..2000).map(|number| format!("~key:{number}:*").into_bytes()).collect();
    let mut words: Vec<&[u8]> = vec![b"ACL", b"SETUSER", b"big", b"on", b"nopass", b"+@all"];
    words.extend(many.iter().map(Vec::as_slice));
    assert_eq!(client.call_args(&words).text(), "OK");
    let mut other = gateway.client();
    assert_eq!(other.call("AUTH big x").text(), "OK");
    assert!(other.call("GET key:1999:x").is_nil());
    assert!(other.call("GET key:x").text().starts_with("NOPERM "));
    assert!(client.call("ACL LIST").items().len() == 2);
}

#[test]
fn a_transaction_does_not_outlive_the_rules_it_was_collected_under() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let (mut admin, mut client) = (gateway.client(), gateway.client());
    admin.call("ACL SETUSER app on >pw ~acl:* +@all");
    client.call("AUTH app pw");
    assert_eq!(client.call("MULTI").text(), "OK");
    assert_eq!(client.call("SET acl:multi v").text(), "QUEUED");
    admin.call("ACL SETUSER app -set");
    assert!(client.call("EXEC").text().starts_with("EXECABORT "));
    assert!(client.call("GET acl:multi").is_nil());
    // Whoever else changes does not matter.
    assert_eq!(client.call("MULTI").text(), "OK");
    assert_eq!(client.call("GET acl:multi").text(), "QUEUED");
    admin.call("ACL SETUSER other on");
    assert_eq!(client.call("EXEC").items().len(), 1);
}

#[test]
fn who_may_not_listen_any_more_is_disconnected_as_by_a_server() {
    let server = Server::standalone();
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    for protocol in [2, 3] {
        let mut stay = 0;
        let subscriptions = [
            ("SUBSCRIBE news:1", "resetchannels &news:*", true),
            ("SUBSCRIBE news:1", "resetchannels &other:*", false),
            ("PSUBSCRIBE news:*", "resetchannels &news:*", true),
            ("PSUBSCRIBE news:*", "resetchannels &news:?", false),
            ("SSUBSCRIBE news:1", "resetchannels &news:1", true),
            ("SSUBSCRIBE news:1", "resetchannels", false),
            ("SUBSCRIBE news:1", "resetchannels (&news:1)", true),
            ("SUBSCRIBE news:1", "-subscribe", true),
            ("SUBSCRIBE news:1", "off", true),
            ("PING", "resetchannels", true),
        ];
        for (line, rules, stays) in subscriptions {
            for (mut admin, mut client) in [
                (server.client_of(protocol), server.client_of(protocol)),
                (gateway.client_of(protocol), gateway.client_of(protocol)),
            ] {
                admin.call("ACL SETUSER app reset on >pw &* +@all ~*");
                assert_eq!(client.call("AUTH app pw").text(), "OK");
                client.call(line);
                assert_eq!(admin.call(&format!("ACL SETUSER app {rules}")).text(), "OK");
                if stays {
                    assert!(client.try_call("PING").is_ok(), "{line}, {rules}");
                    stay += 1;
                } else {
                    assert!(client.is_closed(), "{line}, {rules}");
                }
            }
        }
        assert_eq!(stay, 14);
    }
}

#[test]
fn who_takes_its_own_right_to_listen_still_gets_the_reply() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client_of(3);
    client.call("ACL SETUSER app reset on >pw &* +@all ~*");
    assert_eq!(client.call("AUTH app pw").text(), "OK");
    client.call("SUBSCRIBE news:1");
    assert_eq!(client.call("ACL SETUSER app resetchannels").text(), "OK");
    assert!(client.is_closed());
}
