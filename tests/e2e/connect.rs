//! What client libraries send when they connect, as raw bytes, and what they need to hear.

use crate::harness::{Client, Cluster, Gateway, Make, Reply, request_line};

/// What a client library must see in a reply to go on.
#[derive(Clone, Copy, Debug)]
enum Sees {
    /// `+OK`.
    Ok,
    /// Exactly this simple or bulk text.
    Text(&'static str),
    /// An error that starts like this.
    Error(&'static str),
    /// Any error: the library only needs it to be one.
    Refusal,
    /// The HELLO map of that protocol.
    Hello(u8),
    /// A number above zero.
    Number,
    /// A text with all of these lines.
    Lines(&'static [&'static str]),
    /// A missing value.
    Nil,
    /// A list or map with this text in it.
    Holds(&'static str),
    /// Any reply that is no error.
    Anything,
}

use Sees::{Anything, Error, Hello, Holds, Lines, Nil, Number, Ok, Refusal, Text};

/// One client library: whether it sends everything in one write, and its requests.
struct Library {
    name: &'static str,
    at_once: bool,
    requests: &'static [(&'static str, Sees)],
}

const NO_MAINTENANCE: Sees =
    Error("ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.");
const SERVER_INFO: Sees = Lines(&[
    "redis_version:7.",
    "redis_mode:standalone",
    "run_id:",
    "tcp_port:",
    "uptime_in_seconds:",
]);

const LIBRARIES: &[Library] = &[
    Library {
        name: "redis-cli",
        at_once: false,
        requests: &[("COMMAND DOCS", Anything), ("SELECT 0", Ok), ("GET x", Nil)],
    },
    Library {
        name: "redis-cli -3",
        at_once: false,
        requests: &[("HELLO 3", Hello(3)), ("COMMAND DOCS", Anything), ("GET x", Nil)],
    },
    Library {
        name: "redis-benchmark",
        at_once: false,
        requests: &[
            ("CONFIG GET save", Holds("save")),
            ("CONFIG GET appendonly", Holds("appendonly")),
            ("PING", Text("PONG")),
        ],
    },
    Library {
        name: "redis-py 4",
        at_once: false,
        requests: &[
            ("CLIENT SETINFO LIB-NAME redis-py", Ok),
            ("CLIENT SETINFO LIB-VER 4.6.0", Ok),
            ("PING", Text("PONG")),
        ],
    },
    Library {
        name: "redis-py 8",
        at_once: false,
        requests: &[
            ("HELLO 3", Hello(3)),
            ("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type external-ip", NO_MAINTENANCE),
            ("CLIENT SETNAME me", Ok),
            ("CLIENT SETINFO LIB-NAME redis-py", Ok),
            ("CLIENT SETINFO LIB-VER 8.0.0", Ok),
            ("SELECT 0", Ok),
        ],
    },
    Library {
        name: "ioredis 6",
        at_once: true,
        requests: &[
            ("hello 3", Hello(3)),
            ("select 0", Ok),
            ("client setname me", Ok),
            ("client SETINFO LIB-NAME ioredis", Ok),
            ("client SETINFO LIB-VER 6.0.0", Ok),
            (
                "info",
                Lines(&[
                    "redis_version:7.",
                    "loading:0",
                    "role:master",
                    "redis_mode:standalone",
                    "cluster_enabled:0",
                ]),
            ),
        ],
    },
    Library {
        name: "node-redis 6",
        at_once: true,
        requests: &[
            ("HELLO 3 SETNAME me", Hello(3)),
            ("SELECT 0", Ok),
            ("CLIENT SETINFO LIB-NAME node-redis", Ok),
            ("CLIENT SETINFO LIB-VER 6.0.0", Ok),
            ("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type external-ip", NO_MAINTENANCE),
            ("CLIENT GETNAME", Text("me")),
        ],
    },
    Library {
        name: "go-redis 9",
        at_once: false,
        requests: &[
            ("hello 3 setname me", Hello(3)),
            ("select 0", Ok),
            ("client setname me", Ok),
            ("client maint_notifications on moving-endpoint-type external-ip", Refusal),
            ("client setinfo lib-name go-redis(,go1.22)", Ok),
            ("client setinfo lib-ver 9.22.0", Ok),
            ("ping", Text("PONG")),
        ],
    },
    Library {
        name: "Jedis 7",
        at_once: false,
        requests: &[
            ("HELLO 3", Hello(3)),
            ("CLIENT SETNAME me", Ok),
            ("CLIENT SETINFO LIB-NAME jedis", Ok),
            ("CLIENT SETINFO LIB-VER 7.0.0", Ok),
            ("SELECT 0", Ok),
            ("PING", Text("PONG")),
        ],
    },
    Library {
        name: "Lettuce 7",
        at_once: false,
        requests: &[
            ("HELLO 3 SETNAME me", Hello(3)),
            ("SELECT 0", Ok),
            ("CLIENT SETNAME me", Ok),
            ("CLIENT SETINFO lib-name Lettuce", Ok),
            ("CLIENT SETINFO lib-ver 7.0.0.RELEASE/abc", Ok),
            ("CLIENT MAINT_NOTIFICATIONS on", Refusal),
        ],
    },
    Library {
        name: "StackExchange.Redis",
        at_once: true,
        requests: &[
            ("HELLO 3", Hello(3)),
            ("CLIENT SETNAME me", Ok),
            ("CLIENT SETINFO lib-name SE.Redis", Ok),
            ("CLIENT SETINFO lib-ver 2.8.0", Ok),
            ("CLIENT ID", Number),
            ("CONFIG GET timeout", Holds("timeout")),
            ("CONFIG GET replica-read-only", Holds("replica-read-only")),
            ("CONFIG GET slave-read-only", Holds("slave-read-only")),
            ("CONFIG GET databases", Holds("databases")),
            ("SENTINEL MASTERS", Refusal),
            ("INFO replication", Lines(&["role:master", "connected_slaves:0"])),
            ("INFO server", SERVER_INFO),
            ("CLUSTER NODES", Error("ERR This instance has cluster support disabled")),
            ("GET __Booksleeve_TieBreak", Nil),
            ("ECHO 0123456789abcdef", Text("0123456789abcdef")),
            ("INFO replication", Lines(&["role:master"])),
            ("PING", Text("PONG")),
        ],
    },
    Library {
        name: "redis-rs",
        at_once: true,
        requests: &[
            ("HELLO 3", Hello(3)),
            ("SELECT 0", Ok),
            ("CLIENT SETINFO LIB-NAME redis-rs", Ok),
            ("CLIENT SETINFO LIB-VER 0.27.0", Ok),
        ],
    },
    Library {
        name: "fred",
        at_once: false,
        requests: &[
            ("PING", Text("PONG")),
            ("SELECT 0", Ok),
            ("CLIENT ID", Number),
            ("INFO server", SERVER_INFO),
        ],
    },
    Library {
        name: "phpredis",
        at_once: false,
        requests: &[("SELECT 0", Ok), ("CLIENT SETNAME me", Ok), ("GET x", Nil)],
    },
];

#[test]
fn every_library_connects() {
    let gateway = Gateway::before(Cluster::shared()).start();
    for library in LIBRARIES {
        walk(library.name, &mut gateway.client(), library.at_once, library.requests);
    }
}

/// The same where a password is wanted: what authenticates stands in HELLO for new libraries, in AUTH for old ones.
#[test]
fn every_library_connects_with_a_password() {
    let gateway = Gateway::before(Cluster::shared()).setting("auth.password", "secret").start();
    for library in LIBRARIES {
        let mut client = gateway.client();
        let (first, expected) = library.requests[0];
        let words: Vec<&str> = first.split(' ').collect();
        if let Hello(protocol) = expected {
            let hello =
                [&words[..2], &["AUTH", "default", "secret"], &words[2..]].concat().join(" ");
            check(library.name, &hello, Hello(protocol), &client.call(&hello));
            walk(library.name, &mut client, library.at_once, &library.requests[1..]);
        } else {
            assert!(client.call("GET x").text().starts_with("NOAUTH "), "{}", library.name);
            check(library.name, "AUTH secret", Ok, &client.call("AUTH secret"));
            walk(library.name, &mut client, library.at_once, library.requests);
        }
    }
}

/// Old forms and the new one when it fails: a library then falls back.
#[test]
fn a_failed_hello_leaves_the_connection_usable() {
    let gateway = Gateway::before(Cluster::shared()).setting("auth.password", "secret").start();
    let mut client = gateway.client();
    assert!(
        client
            .call("HELLO 3")
            .text()
            .starts_with("NOAUTH HELLO must be called with the client already authenticated")
    );
    assert_eq!(
        client.call("HELLO 3 AUTH default no").text(),
        "WRONGPASS invalid username-password pair or user is disabled."
    );
    assert_eq!(
        client.call("HELLO 7 AUTH default secret").text(),
        "NOPROTO unsupported protocol version"
    );
    assert!(client.call("GET x").text().starts_with("NOAUTH "), "the version is looked at first");
    assert_eq!(client.call("AUTH default secret").text(), "OK");
    check("fallback", "HELLO 2", Hello(2), &client.call("HELLO 2"));
    // What came before a bad option has taken effect, the protocol has not changed.
    let mut other = gateway.client();
    assert_eq!(
        other.call("HELLO 3 AUTH default secret SETNAME me FOO").text(),
        "ERR Syntax error in HELLO option 'FOO'"
    );
    assert_eq!(other.call("CLIENT GETNAME").bytes(), b"$2\r\nme\r\n");
    assert_eq!(other.call("GET x").bytes(), b"$-1\r\n");
}

#[test]
fn the_protocol_may_change_at_any_time() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    let lines = [
        "HELLO 3",
        "GET none",
        "HELLO 2",
        "GET none",
        "HELLO 3",
        "HSET h f v",
        "HGETALL h",
        "RESET",
        "HGETALL h",
        "GET none",
    ];
    let kinds: Vec<u8> = client.pipeline(&lines).iter().map(Reply::kind).collect();
    assert_eq!(kinds, b"%_*$%:%+*$");
}

#[test]
fn names_and_numbers_of_clients_are_the_gateways_own() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let (mut one, mut other) = (gateway.client(), gateway.client());
    let (id, second) = (one.call("CLIENT ID").integer(), other.call("CLIENT ID").integer());
    assert_ne!(id, second);
    for line in
        ["CLIENT SETNAME first", "CLIENT SETINFO LIB-NAME mine", "CLIENT SETINFO LIB-VER 1.2"]
    {
        assert_eq!(one.call(line).text(), "OK", "{line}");
    }
    assert_eq!(one.call("CLIENT GETNAME").text(), "first");
    assert!(other.call("CLIENT GETNAME").is_nil());
    let list = other.call("CLIENT LIST").text();
    let line = list
        .lines()
        .find(|line| line.starts_with(&format!("id={id} ")))
        .unwrap_or_else(|| panic!("{list}"));
    for field in [
        "addr=127.0.0.1:",
        "laddr=127.0.0.1:",
        " fd=",
        "name=first ",
        "age=",
        "idle=",
        "flags=",
        "db=0",
        "cmd=",
        "user=default",
        "resp=2",
    ] {
        assert!(line.contains(field), "{field}: {line}");
    }
    assert_eq!(list.lines().count(), 2, "{list}");
    let own = other.call("CLIENT INFO").text();
    assert!(own.starts_with(&format!("id={second} ")) && own.contains("cmd=client|info"), "{own}");
    assert_eq!(other.call(&format!("CLIENT LIST ID {id}")).text().lines().count(), 1);
    assert_eq!(other.call(&format!("CLIENT KILL ID {id}")).integer(), 1);
    assert!(one.is_closed());
    assert_eq!(other.call("CLIENT LIST").text().lines().count(), 1);
}

#[test]
fn clients_end_each_other() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut client = gateway.client();
    let id = client.call("CLIENT ID").integer();
    let field = |line: &str, name: &str| {
        let fields = line.split(' ').find_map(|field| field.strip_prefix(name).map(str::to_owned));
        fields.unwrap_or_else(|| panic!("{name}: {line}"))
    };
    let others = |client: &mut Client| -> Vec<String> {
        let lines = client.call("CLIENT LIST TYPE normal").text();
        let own = format!("id={id} ");
        lines.lines().filter(|line| !line.starts_with(&own)).map(str::to_owned).collect()
    };

    let mut pair = [gateway.client(), gateway.client()];
    for other in &mut pair {
        assert_eq!(other.call("PING").text(), "PONG");
    }
    let lines = others(&mut client);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        client.call(&format!("CLIENT KILL {}", field(&lines[0], "addr="))).bytes(),
        b"+OK\r\n"
    );
    assert_eq!(
        client.call(&format!("CLIENT KILL {}", field(&lines[0], "addr="))).text(),
        "ERR No such client"
    );
    assert_eq!(client.call("CLIENT KILL TYPE normal").integer(), 1, "itself it leaves out");
    assert!(pair.iter_mut().all(Client::is_closed));
    assert_eq!(others(&mut client), [] as [String; 0]);

    // Requests behind one that asks all workers wait for it, and one that ends itself is answered first.
    let mut other = gateway.client();
    assert_eq!(other.call("PING").text(), "PONG");
    let kill = format!("CLIENT KILL ID {id} SKIPME no");
    let replies = client.pipeline(&["PING", "CLIENT LIST", "ECHO a", &kill]);
    assert_eq!(replies[0].text(), "PONG");
    assert_eq!(replies[1].text().lines().count(), 2);
    assert_eq!(replies[2].text(), "a");
    assert_eq!(replies[3].integer(), 1);
    assert!(client.is_closed());
    assert_eq!(other.call("CLIENT LIST").text().lines().count(), 1);
}

#[test]
fn a_login_is_needed_again_after_reset() {
    let gateway = Gateway::before(Cluster::shared()).setting("auth.password", "secret").start();
    let mut client = gateway.client();
    let cases = [
        ("AUTH wrong", "WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH nobody secret", "WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH default secret more", "ERR syntax error"),
        ("AUTH secret", "OK"),
        ("HELLO 3 SETNAME me", ""),
        ("CLIENT GETNAME", "me"),
        ("RESET", "RESET"),
        ("GET x", "NOAUTH Authentication required."),
        ("AUTH default secret", "OK"),
        ("CLIENT GETNAME", ""),
    ];
    for (line, expected) in cases {
        let reply = client.call(line);
        assert!(expected.is_empty() || reply.text() == expected, "{line}: {reply}");
    }
    assert!(gateway.page("/metrics").1.contains("slotway_login_failures_total 2\n"));
    let open = Gateway::before(Cluster::shared()).start();
    let mut client = open.client();
    assert!(client.call("AUTH x").text().starts_with("ERR AUTH <password> called without any"));
    assert_eq!(client.call("AUTH default x").text(), "OK");
}

#[test]
fn replies_may_be_switched_off() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    for line in [
        "CLIENT REPLY SKIP",
        "SET quiet 1",
        "INCR quiet",
        "CLIENT REPLY OFF",
        "INCR quiet",
        "GET quiet",
        "FOO",
        "CLIENT REPLY ON",
        "GET quiet",
    ] {
        client.send(&request_line(line));
    }
    let seen: Vec<String> = (0..3).map(|_| client.reply().text()).collect();
    assert_eq!(seen, ["2", "OK", "3"]);
}

#[test]
fn info_speaks_of_one_server() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    for number in 0..30 {
        assert_eq!(client.call(&format!("SET {{info-{number}}} v")).text(), "OK");
    }
    let all = client.call("INFO").text();
    for section in [
        "# Server",
        "# Clients",
        "# Memory",
        "# Persistence",
        "# Stats",
        "# Replication",
        "# CPU",
        "# Cluster",
        "# Keyspace",
    ] {
        assert!(all.contains(&format!("{section}\r\n")), "{section}: {all}");
    }
    let port = format!("tcp_port:{}\r\n", gateway.address().port());
    for line in [
        &port,
        "redis_mode:standalone\r\n",
        "loading:0\r\n",
        "cluster_enabled:0\r\n",
        "role:master\r\n",
    ] {
        assert!(all.contains(line), "{line}: {all}");
    }
    let replication = client.call("INFO replication").text();
    assert!(
        replication.contains("role:master") && !replication.contains("# Server"),
        "{replication}"
    );
    let two = client.call("INFO server clients").text();
    assert!(two.contains("# Server") && two.contains("connected_clients:1"), "{two}");
    assert_eq!(client.call("INFO nothing-of-that-name").text().trim(), "");
    let mut new = gateway.client_of(3);
    assert!(new.call("INFO server").bytes().starts_with(b"="), "RESP3 has a type for text");
}

#[test]
fn answers_that_are_the_gateways_own() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    let cases = [
        ("SELECT 1", Error("ERR DB index is out of range")),
        ("SELECT 0", Ok),
        ("READONLY", Ok),
        ("READWRITE", Ok),
        ("CLIENT NO-TOUCH ON", Ok),
        ("CLIENT NO-EVICT ON", Ok),
        ("CLUSTER SLOTS", Error("ERR This instance has cluster support disabled")),
        ("SHUTDOWN", Error("ERR command 'shutdown' is not allowed through the gateway")),
        ("DEBUG SLEEP 10", Error("ERR command 'debug' is not allowed through the gateway")),
        ("SYNC", Refusal),
        ("SWAPDB 0 1", Error("ERR SWAPDB is not allowed in cluster mode")),
        ("MOVE key 1", Error("ERR MOVE is not allowed in cluster mode")),
        ("COMMAND COUNT", Number),
        ("COMMAND GETKEYS MSET a 1 b 2", Holds("b")),
        ("PING", Text("PONG")),
    ];
    for (line, expected) in cases {
        check("local", line, expected, &client.call(line));
    }
    assert!(client.call("COMMAND").items().len() > 200);
    assert!(client.call("COMMAND INFO get").items()[0].items()[0].text() == "get");
    let time = client.call("TIME").items();
    let seconds: u64 = time[0].text().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(seconds) < 60, "{seconds}");
    assert_eq!(client.call("CONFIG GET databases").items()[1].text(), "1");
    assert_eq!(client.call("RESET").text(), "RESET");
    assert_eq!(client.call("QUIT").text(), "OK");
    assert!(client.is_closed());
}

fn walk(name: &str, client: &mut Client, at_once: bool, requests: &[(&str, Sees)]) {
    if at_once {
        let bytes: Vec<u8> = requests.iter().flat_map(|(line, _)| request_line(line)).collect();
        client.send(&bytes);
    }
    for (line, expected) in requests {
        if !at_once {
            client.send(&request_line(line));
        }
        check(name, line, *expected, &client.reply());
    }
}

fn check(name: &str, line: &str, expected: Sees, reply: &Reply) {
    let fits = match expected {
        Ok => reply.bytes() == b"+OK\r\n",
        Text(text) => matches!(reply.kind(), b'+' | b'$') && reply.text() == text,
        Error(start) => reply.is_error() && reply.text().starts_with(start),
        Refusal => reply.is_error(),
        Hello(protocol) => is_hello(reply, protocol),
        Number => reply.kind() == b':' && reply.integer() > 0,
        Lines(starts) => {
            starts.iter().all(|start| reply.text().lines().any(|line| line.starts_with(start)))
        }
        Nil => reply.is_nil(),
        Holds(text) => !reply.is_error() && reply.items().iter().any(|item| item.text() == text),
        Anything => !reply.is_error(),
    };
    assert!(fits, "{name}: {line}: wanted {expected:?}, got {reply}");
}

fn is_hello(reply: &Reply, protocol: u8) -> bool {
    let items = reply.items();
    let field = |name: &str| {
        items
            .chunks(2)
            .find(|pair| pair[0].text() == name)
            .map(|pair| pair[1].text())
            .unwrap_or_default()
    };
    let kind = if protocol == 3 { b'%' } else { b'*' };
    reply.kind() == kind
        && field("server") == Make::of_servers().name
        && field("version") == Make::of_servers().version
        && field("proto") == protocol.to_string()
        && field("mode") == "standalone"
        && field("role") == "master"
        && field("id").parse::<u64>().is_ok_and(|id| id > 0)
        && items.chunks(2).any(|pair| pair[0].text() == "modules")
}
