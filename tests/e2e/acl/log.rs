//! ACL LOG beside a real server's: what was denied, how often, to whom, and where.

use crate::harness::{Client, Cluster, Gateway, Make, Reply, Server};

/// What is denied, request by request; the number says which client sends it.
const SCRIPT: &[(usize, &str)] = &[
    // Logins: by which command as it was sent, and as whom.
    (0, "AUTH nobody pw"),
    (0, "AUTH app no"),
    (0, "auth app no"),
    (0, "AUTH app no"),
    (0, "HELLO 3 AUTH app no"),
    (0, "AUTH app pw"),
    // Commands and subcommands; one that has a name of its own, and one that shares it.
    (0, "FLUSHALL"),
    (0, "flushall async"),
    (0, "CONFIG GET x"),
    (0, "CLIENT KILL ID 1"),
    // Keys: the first that is denied, whole or by its right.
    (0, "GET other"),
    (0, "GET other"),
    (0, "MGET app:1 other another"),
    (0, "SET read:1 v"),
    (0, "COPY app:1 read:1"),
    (0, "SORT app:list STORE other"),
    (0, "SORT app:list BY *"),
    // Channels and patterns.
    (0, "PUBLISH other m"),
    (0, "SUBSCRIBE news:1 other"),
    (0, "PSUBSCRIBE news:?"),
    (0, "SPUBLISH other m"),
    // A selector allows more keys for one command.
    (0, "HGET hash:1 f"),
    (0, "HSET hash:1 f v"),
    // The same behind MULTI are others, spoiled or not.
    (0, "MULTI"),
    (0, "GET app:1"),
    (0, "GET other"),
    (0, "FLUSHALL"),
    (0, "PUBLISH other m"),
    (0, "EXEC"),
    (0, "GET other"),
    // Another user is another entry.
    (1, "AUTH reader pw"),
    (1, "GET other"),
    (1, "EXEC"),
    (1, "SET app:1 v"),
    (1, "MULTI"),
    (1, "GET app:1"),
    (1, "EXEC"),
    // One that may not even end its transaction.
    (1, "MULTI"),
    (1, "DISCARD"),
    // More than ten ago it was an entry of its own.
    (1, "GET far:1"),
    (1, "GET far:2"),
    (1, "GET far:3"),
    (1, "GET far:4"),
    (1, "GET far:5"),
    (1, "GET far:6"),
    (1, "GET far:7"),
    (1, "GET far:8"),
    (1, "GET far:9"),
    (1, "GET far:10"),
    (1, "GET far:2"),
    (1, "GET far:1"),
    (1, "NOSUCH x"),
    (1, "GET"),
];

const USERS: &[&str] = &[
    "ACL SETUSER app on >pw ~app:* %R~read:* &news:* +@all -@admin -@dangerous +sort (%R~hash:* -@all +hget)",
    "ACL SETUSER reader on >pw ~app:* +get +multi +auth",
];

/// A server or a gateway, and those who use it.
struct Side {
    admin: Client,
    clients: [Client; 2],
}

impl Side {
    fn new(protocol: u8, connect: impl Fn(u8) -> Client) -> Self {
        let mut admin = connect(protocol);
        for line in USERS {
            assert_eq!(admin.call(line).text(), "OK");
        }
        let mut clients = [connect(2), connect(2)];
        for (client, name) in clients.iter_mut().zip(["first", "second"]) {
            assert_eq!(client.call(&format!("CLIENT SETNAME {name}")).text(), "OK");
        }
        Self { admin, clients }
    }

    fn send(&mut self, script: &[(usize, &str)]) {
        for (number, line) in script {
            self.clients[*number].call(line);
        }
    }

    /// The entries that a request for the log shows, without what no two servers have in common.
    fn log(&mut self, line: &str) -> Vec<Vec<String>> {
        self.admin.call(line).items().iter().map(entry).collect()
    }
}

/// Names and values of one entry, checked where they can only be checked by themselves.
fn entry(reply: &Reply) -> Vec<String> {
    let fields = reply.items();
    let named = fields.chunks(2).map(|pair| {
        let (name, value) = (pair[0].text(), &pair[1]);
        let value = match name.as_str() {
            "age-seconds" => {
                let age: f64 = value.text().parse().unwrap();
                assert!((0.0..60.0).contains(&age), "{age}");
                (value.kind() as char).to_string()
            }
            "client-info" => client(&value.text()),
            name if name.starts_with("timestamp-") => {
                assert!(value.integer() > 1_600_000_000_000, "{value}");
                String::new()
            }
            _ => value.text(),
        };
        format!("{name}={value}")
    });
    named.collect()
}

/// What is told of the client: the names of all fields, and the values of those that are not the server's own business.
fn client(line: &str) -> String {
    const OWN: &[&str] = &["id", "addr", "laddr", "fd", "age", "idle", "events"];
    const OWN_SIZES: &[&str] = &[
        "qbuf",
        "qbuf-free",
        "argv-mem",
        "multi-mem",
        "rbs",
        "rbp",
        "obl",
        "oll",
        "omem",
        "tot-mem",
    ];
    // Fields of servers newer than the one that is compared with.
    const NEWER: &[&str] =
        &["watch", "lib-name", "lib-ver", "tot-net-in", "tot-net-out", "tot-cmds"];
    let fields = line.split(' ').map(|field| field.split_once('=').unwrap());
    let known = fields.filter(|(name, _)| !NEWER.contains(name));
    // Newer servers forget what was queued as soon as the transaction is spoiled.
    let forgets = Make::of_servers().is_since(7, 2);
    let told = known.map(|(name, value)| {
        let is_own = OWN.contains(&name) || OWN_SIZES.contains(&name);
        let is_forgotten = name == "multi" && value != "-1" && forgets;
        format!("{name}:{}", if is_own || is_forgotten { "" } else { value })
    });
    told.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_was_denied_is_told_as_a_server_tells_it() {
    for protocol in [2, 3] {
        let server = Server::standalone();
        let gateway = Gateway::before(Cluster::shared())
            .workers(2)
            .setting("auth.failed_login_delay", "0s")
            .start();
        let mut real = Side::new(protocol, |protocol| server.client_of(protocol));
        let mut ours = Side::new(protocol, |protocol| gateway.client_of(protocol));
        real.send(SCRIPT);
        ours.send(SCRIPT);
        let (expected, found) = (real.log("ACL LOG 100"), ours.log("ACL LOG 100"));
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(found, expected);
        }
        assert_eq!(found.len(), expected.len());
        assert!(found.len() > 25, "{found:?}");
        // Newer servers number their entries, and say when they were made.
        let fields = if Make::of_servers().is_since(7, 2) { 10 } else { 7 };
        assert!(found.iter().all(|entry| entry.len() == fields), "{found:?}");
        for line in ["ACL LOG", "ACL LOG 3", "ACL LOG 0", "ACL LOG -1"] {
            assert_eq!(ours.log(line), real.log(line), "{line}");
        }
        for side in [&mut real, &mut ours] {
            assert_eq!(side.admin.call("ACL LOG RESET").text(), "OK");
            side.send(&[(1, "GET other")]);
        }
        assert_eq!(ours.log("ACL LOG"), real.log("ACL LOG"));
    }
}

#[test]
fn the_log_is_as_long_as_it_may_be() {
    let server = Server::with_options(&[("--acllog-max-len", "3")]);
    let gateway = Gateway::before(Cluster::shared()).setting("auth.log_length", 3).start();
    let mut real = Side::new(2, |protocol| server.client_of(protocol));
    let mut ours = Side::new(2, |protocol| gateway.client_of(protocol));
    for side in [&mut real, &mut ours] {
        side.send(&[(1, "AUTH reader pw")]);
        (0..5).for_each(|number| side.send(&[(1, &format!("GET {number}"))]));
        side.send(&[(1, "GET 0"), (1, "GET 4")]);
    }
    assert_eq!(ours.log("ACL LOG"), real.log("ACL LOG"));
    assert_eq!(ours.log("ACL LOG").len(), 3);
    let setting = "CONFIG GET acllog-max-len";
    assert_eq!(ours.admin.call(setting), real.admin.call(setting));
}
