//! What administers clients, and what tells of commands: CLIENT PAUSE, MONITOR, COMMAND, WAIT.

use std::time::{Duration, Instant};

use crate::harness::{Client, Cluster, Gateway, Server, wait_for};

/// Nothing comes for a moment, which the client's patience bounds.
fn is_silent(client: &mut Client) -> bool {
    client.try_reply().is_err()
}

fn hurried(gateway: &Gateway) -> Client {
    gateway.client().patience(Duration::from_millis(150))
}

#[test]
fn a_pause_of_writes_lets_reads_pass() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let (mut admin, mut writer) = (gateway.client(), hurried(&gateway));
    let mut reader = gateway.client();
    assert_eq!(admin.call("CLIENT PAUSE 60000 WRITE").text(), "OK");
    writer.send(
        &[
            crate::harness::request_line("INCR pause:w"),
            crate::harness::request_line("GET pause:w"),
        ]
        .concat(),
    );
    assert!(is_silent(&mut writer), "the write waits, and what follows it");
    assert!(reader.call("GET pause:w").is_nil());
    assert_eq!(reader.call("PING").text(), "PONG");
    assert_eq!(admin.call("CLIENT UNPAUSE").text(), "OK");
    let mut writer = writer.patience(Duration::from_secs(10));
    assert_eq!(writer.reply().integer(), 1);
    assert_eq!(writer.reply().text(), "1");
    assert_eq!(writer.call("DEL pause:w").integer(), 1);
}

#[test]
fn a_pause_of_everything_ends_in_time() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut admin = gateway.client();
    let mut others: Vec<Client> = (0..20).map(|_| gateway.client()).collect();
    let started = Instant::now();
    assert_eq!(admin.call("CLIENT PAUSE 400").text(), "OK");
    for client in &mut others {
        client.send(&crate::harness::request_line("PING"));
    }
    // A longer pause wins over a shorter one, and even the word to end it waits, as at a server.
    admin.send(&crate::harness::request_line("CLIENT PAUSE 1"));
    for client in &mut others {
        assert_eq!(client.reply().text(), "PONG");
    }
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
    assert_eq!(admin.reply().text(), "OK");
    wait_for("the end of the second pause", || admin.call("PING").text() == "PONG");
}

#[test]
fn pausing_is_refused_with_the_servers_words() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let server = Server::standalone();
    let (mut ours, mut theirs) = (gateway.client(), server.client());
    for line in [
        "CLIENT PAUSE",
        "CLIENT PAUSE x",
        "CLIENT PAUSE -1",
        "CLIENT PAUSE 1 FOO",
        "CLIENT PAUSE x FOO",
        "CLIENT PAUSE 1 ALL x",
        "CLIENT PAUSE 0 write",
        "CLIENT PAUSE 0 All",
        "CLIENT UNPAUSE",
        "CLIENT UNPAUSE x",
        "CLIENT GETREDIR",
        "CLIENT NO-EVICT x",
        "CLIENT KILL TYPE nobody",
        "CLIENT KILL ID 99999999 TYPE pubsub",
        "CLIENT LIST TYPE master",
    ] {
        assert_eq!(ours.call(line), theirs.call(line), "{line}");
    }
}

/// What another client sees of one that is between MULTI and EXEC, or watches keys.
fn transaction_of(id: &str, other: &mut Client) -> [String; 2] {
    let line = other.call(&format!("CLIENT LIST ID {id}")).text();
    let field = |name: &str| {
        let found = line.split_whitespace().find(|field| field.starts_with(name));
        found.unwrap_or_else(|| panic!("{name} {line}")).to_owned()
    };
    [field("flags="), field("multi=")]
}

#[test]
fn others_see_how_far_a_transaction_is() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let server = Server::standalone();
    let (mut ours, mut theirs) = (gateway.client(), server.client());
    let (mut see_ours, mut see_theirs) = (gateway.client(), server.client());
    let ids = [
        ours.call("CLIENT ID").integer().to_string(),
        theirs.call("CLIENT ID").integer().to_string(),
    ];
    let steps = [
        ("PING", 0),
        ("MULTI", 0),
        ("GET {see}a", 0),
        ("PING", 0),
        ("NOSUCH", 0),
        ("GET {see}a", 0),
        ("EXEC", 0),
        ("WATCH {see}a", 1),
        ("WATCH {see}b {see}a", 2),
        ("MULTI", 2),
        ("INCR {see}c", 2),
        ("EXEC", 0),
        ("WATCH {see}a", 1),
        ("UNWATCH", 0),
        ("WATCH {see}a", 1),
        ("MULTI", 1),
        ("DISCARD", 0),
        ("MULTI", 0),
        ("RESET", 0),
    ];
    for (line, watched) in steps {
        assert_eq!(ours.call(line), theirs.call(line), "{line}");
        let seen = transaction_of(&ids[0], &mut see_ours);
        let expected = transaction_of(&ids[1], &mut see_theirs);
        // What was queued before a mistake, some servers forget at once.
        let same = if expected[1] == "multi=0" { seen[0] == expected[0] } else { seen == expected };
        assert!(same, "{line}: {seen:?}, expected {expected:?}");
        let list = see_ours.call(&format!("CLIENT LIST ID {}", ids[0])).text();
        assert!(list.contains(&format!(" watch={watched} ")), "{line}: {list}");
    }
    ours.call("DEL {see}c");
}

#[test]
fn a_monitor_sees_what_clients_of_every_worker_do() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut monitor = gateway.client();
    assert_eq!(monitor.call("MONITOR").text(), "OK");
    let mut clients: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.call_args(&[b"SET", format!("monitor:{number}").as_bytes(), b"a \"b\"\r\n\xff"]);
        client.call("CLIENT LIST");
        client.call("NOSUCH command");
        client.call(&format!("DEL monitor:{number}"));
    }
    for number in 0..4 {
        let set = format!(r#""SET" "monitor:{number}" "a \"b\"\r\n\xff""#);
        let delete = format!(r#""DEL" "monitor:{number}""#);
        for expected in [set, delete] {
            let line = monitor.reply().text();
            let (head, command) = line.split_once("] ").unwrap();
            assert!(head.contains(" [0 127.0.0.1:"), "{line}");
            assert_eq!(command, expected, "in order, and without what administers");
        }
    }
    monitor.send(&crate::harness::request_line("RESET"));
    while monitor.reply().text() != "RESET" {}
    clients[0].call("GET monitor:0");
    assert_eq!(monitor.call("PING").text(), "PONG", "nothing is shown any more");
}

#[test]
fn command_tells_what_this_gateway_has() {
    let cluster = Cluster::shared();
    let gateway = Gateway::before(cluster).start();
    for protocol in [2, 3] {
        let (mut ours, mut theirs) = (gateway.client_of(protocol), cluster.node(0).client());
        if protocol == 3 {
            theirs.call("HELLO 3");
        }
        let names = |client: &mut Client| -> Vec<String> {
            let list = client.call("COMMAND LIST").items();
            let mut names: Vec<String> = list.iter().map(|name| name.text()).collect();
            names.sort();
            names
        };
        let (here, there) = (names(&mut ours), names(&mut theirs));
        let hidden: Vec<&String> = there.iter().filter(|name| !here.contains(name)).collect();
        assert!(here.iter().all(|name| there.contains(name)));
        for name in ["shutdown", "debug", "cluster|nodes", "script|debug", "module|load", "sync"] {
            assert!(hidden.iter().any(|hidden| *hidden == name), "{name} is refused: {hidden:?}");
        }
        for name in ["get", "client|kill", "cluster|keyslot", "script|load", "monitor", "wait"] {
            assert!(here.iter().any(|shown| shown == name), "{name} is there");
        }
        let whole = here.iter().filter(|name| !name.contains('|')).count();
        assert_eq!(ours.call("COMMAND COUNT").integer(), whole as i64);
        assert_eq!(ours.call("COMMAND").items().len(), whole);
        assert_eq!(ours.call("COMMAND INFO").items().len(), whole);
        let documents = ours.call("COMMAND DOCS").items();
        assert_eq!(documents.len(), 2 * whole);
        for line in
            ["COMMAND INFO get nosuch set", "COMMAND DOCS get", "COMMAND GETKEYS MSET a 1 b 2"]
        {
            assert_eq!(ours.call(line), theirs.call(line), "{line}");
        }
        assert!(ours.call("COMMAND INFO shutdown").items()[0].is_nil());
        assert_eq!(ours.call("COMMAND DOCS shutdown").items().len(), 0);
        let script = ours.call("COMMAND INFO script").items()[0].items();
        let subcommands: Vec<String> =
            script[9].items().iter().map(|entry| entry.items()[0].text()).collect();
        assert!(subcommands.contains(&"script|load".to_owned()));
        assert!(!subcommands.contains(&"script|debug".to_owned()));
    }
}

#[test]
fn wait_counts_the_replicas_of_the_worst_primary() {
    let cluster = Cluster::shared();
    let gateway = Gateway::before(cluster).start();
    let server = Server::standalone();
    for protocol in [2, 3] {
        let (mut ours, mut theirs) = (gateway.client_of(protocol), server.client());
        let writes: Vec<String> = (0..50).map(|number| format!("SET wait:{number} x")).collect();
        ours.pipeline(&writes);
        assert_eq!(ours.call("WAIT 1 10000").integer(), 1);
        for number in 0..50 {
            let key = format!("wait:{number}");
            let replica = cluster.owner(crate::harness::key_slot(key.as_bytes())) + 3;
            let mut client = cluster.node(replica % 6).client();
            client.call("READONLY");
            assert_eq!(client.call(&format!("GET {key}")).text(), "x", "{key} has arrived");
        }
        let keys: Vec<String> = (0..50).map(|number| format!("wait:{number}")).collect();
        assert_eq!(ours.call(&format!("DEL {}", keys.join(" "))).integer(), 50);
        // More than there are: the answer comes when the time is over.
        let started = Instant::now();
        assert_eq!(ours.call("WAIT 5 300").integer(), 1);
        assert!(started.elapsed() >= Duration::from_millis(300));
        for line in ["WAIT x 1", "WAIT 1 x", "WAIT 1 -1", "WAIT 1"] {
            assert_eq!(ours.call(line), theirs.call(line), "{line}");
        }
    }
}
