//! Users of the gateway that the nodes know as users of their own: what these may do there is what they may do here.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{
    Act, Client, Cluster, FakeCluster, Gateway, Reply, key_slot, request_line, text, wait_for,
};

/// Gives all nodes of the shared cluster this user.
fn node_user(name: &str, rules: &str) {
    each_node(&format!("ACL SETUSER {name} {rules}"));
}

fn each_node(line: &str) {
    for address in Cluster::shared().addresses() {
        let reply = Client::connect(address).call(line);
        assert!(!reply.is_error(), "{line}: {reply}");
    }
}

/// Settings of `cluster.logins_file`.
struct LoginsFile {
    path: PathBuf,
    _folder: TempDir,
}

impl LoginsFile {
    fn of(lines: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = Self { path: folder.path().join("logins"), _folder: folder };
        file.say(lines);
        file
    }

    fn say(&self, lines: &str) {
        fs::write(&self.path, lines).unwrap();
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// A gateway whose users may do anything, as far as it is concerned.
fn gateway(logins: &LoginsFile) -> Gateway {
    let gateway = Gateway::before(Cluster::shared())
        .setting("cluster.logins_file", text(logins.path()))
        .setting("routing.cross_slot", "move")
        .workers(2)
        .start();
    for user in ["app", "twin", "report"] {
        let line = format!("ACL SETUSER {user} on >pw ~* &* +@all");
        assert_eq!(gateway.client().call(&line).text(), "OK");
    }
    gateway
}

fn client_as(gateway: &Gateway, user: &str, protocol: u8) -> Client {
    let mut client = gateway.client_of(protocol);
    assert_eq!(client.call(&format!("AUTH {user} pw")).text(), "OK");
    client
}

/// The next reply that is no message.
fn answer(client: &mut Client, line: &str) -> Reply {
    client.send(&request_line(line));
    loop {
        let reply = client.reply();
        if reply.kind() != b'>' {
            return reply;
        }
    }
}

/// What of these a user may do: everything that `app` may, and of that what only reads for `report`.
const WRITES: &[&str] = &[
    "SET lg:a 1",
    "MSET lg:a 1 lg:b 2 lg:c 3",
    "DEL lg:d lg:e lg:f",
    "RPUSH lg:list x y z",
    "BLPOP lg:list 1",
    "BLPOP lg:none lg:list 1",
    "BLPOP {lg:list}1 lg:list 0.01",
    "RPUSH lg:list x y z",
    "LMOVE lg:list lg:list2 LEFT RIGHT",
    "SADD lg:s1 m",
    "SUNIONSTORE lg:s3 lg:s1 lg:s2",
    "RENAME lg:c lg:f",
    "EVAL return(redis.call('SET',KEYS[1],1)) 1 lg:a",
    "PUBLISH lg:channel text",
    "SPUBLISH lg:channel text",
    "KEYS lg:*",
    "DBSIZE",
    "SCAN 0 COUNT 10",
];

const READS: &[&str] = &[
    "GET lg:a",
    "MGET lg:a lg:b lg:c",
    "EXISTS lg:a lg:b lg:c",
    "SUNION lg:s1 lg:s2",
    "WATCH lg:a",
    "UNWATCH",
];

#[test]
fn a_user_may_do_what_its_user_at_the_nodes_may() {
    node_user("lg-app", "on >one ~lg:* ~{lg:* ~__gw:* &lg:* +@all -@dangerous +keys +restore");
    node_user(
        "lg-report",
        "on >two ~lg:* resetchannels +@read +@connection +@transaction -keys -scan -dbsize",
    );
    let logins = LoginsFile::of("app lg-app one\nreport lg-report two\n");
    let gateway = gateway(&logins);
    for protocol in [2, 3] {
        let mut app = client_as(&gateway, "app", protocol);
        let mut report = client_as(&gateway, "report", protocol);
        for line in WRITES {
            let reply = answer(&mut report, line).text();
            assert!(reply.contains("NOPERM "), "RESP{protocol} {line}: {reply}");
            let reply = answer(&mut app, line);
            assert!(!reply.is_error(), "{line}: {reply}");
        }
        for line in READS {
            for client in [&mut app, &mut report] {
                let reply = answer(client, line);
                assert!(!reply.is_error(), "{line}: {reply}");
            }
        }
        // The keys of both end where their users' rules say.
        for line in ["GET other", "MGET lg:a other lg:b", "WATCH other"] {
            for client in [&mut app, &mut report] {
                assert!(answer(client, line).text().starts_with("NOPERM "), "{line}");
            }
        }
        // Those whom nobody names are sent as before.
        let mut admin = gateway.client_of(protocol);
        assert_eq!(admin.call("SET other x").text(), "OK");
        assert_eq!(admin.call("DEL other").integer(), 1);
        transactions(&mut app, &mut report);
        listeners(&gateway, protocol);
    }
    caches(&gateway);
}

/// MULTI in one slot, in several, and behind WATCH.
fn transactions(app: &mut Client, report: &mut Client) {
    let story = |keys: [&str; 2], watch: bool| {
        let watch = if watch { format!("WATCH {}", keys[0]) } else { "PING".to_owned() };
        let [one, two] = keys;
        [watch, "MULTI".into(), format!("SET {one} 5"), format!("GET {two}"), "EXEC".into()]
    };
    for (keys, watch) in [
        (["lg:a", "lg:a"], false),
        (["lg:a", "lg:b"], false),
        (["lg:a", "lg:a"], true),
        (["lg:a", "lg:b"], true),
    ] {
        let replies = app.pipeline(&story(keys, watch));
        assert_eq!(replies[4].items().len(), 2, "{keys:?} {}", replies[4]);
        let refused = report.pipeline(&story(keys, watch));
        let reply = refused[4].text();
        assert!(reply.starts_with("EXECABORT ") && reply.contains("NOPERM"), "{keys:?} {reply}");
    }
}

fn listeners(gateway: &Gateway, protocol: u8) {
    let (mut app, mut report) =
        (client_as(gateway, "app", protocol), client_as(gateway, "report", protocol));
    for line in ["SUBSCRIBE lg:channel", "PSUBSCRIBE lg:c*", "SSUBSCRIBE lg:channel"] {
        let reply = report.call(line).text();
        assert!(reply.starts_with("NOPERM "), "{line}: {reply}");
    }
    for line in ["SUBSCRIBE elsewhere", "SUBSCRIBE lg:channel elsewhere", "PSUBSCRIBE *"] {
        let reply = app.call(line).text();
        assert!(reply.starts_with("NOPERM "), "{line}: {reply}");
    }
    assert_eq!(app.call("SUBSCRIBE lg:channel").items()[2].integer(), 1);
    let mut publisher = client_as(gateway, "app", protocol);
    assert_eq!(publisher.call("PUBLISH lg:channel text").integer(), 1);
    assert_eq!(app.reply().items()[2].text(), "text");
}

/// Connections on which nodes keep track are the user's, too.
fn caches(gateway: &Gateway) {
    let mut client = client_as(gateway, "app", 3);
    assert_eq!(client.call("CLIENT TRACKING ON").text(), "OK");
    assert!(answer(&mut client, "GET other").text().starts_with("NOPERM "));
    assert_eq!(answer(&mut client, "GET lg:a").text(), "5");
    gateway.client().call("SET lg:a 6");
    let told = client.reply();
    assert_eq!((told.kind(), told.items()[1].items()[0].text()), (b'>', "lg:a".to_owned()));
    // From now on it is somebody else, down to these connections.
    assert_eq!(answer(&mut client, "AUTH report pw").text(), "OK");
    assert_eq!(answer(&mut client, "GET lg:a").text(), "6");
    assert!(answer(&mut client, "SET lg:a 7").text().starts_with("NOPERM "));
}

#[test]
fn what_is_under_way_when_a_client_becomes_another_ends_as_before() {
    node_user("lg-one", "on >one ~lo:* +@all");
    node_user("lg-two", "on >two ~lo:* +@all");
    node_user("lg-none", "on >three +@connection");
    let logins = LoginsFile::of("app lg-one one\ntwin lg-two two\nreport lg-none three\n");
    let gateway = gateway(&logins);
    let mut client = client_as(&gateway, "app", 2);
    client.call("DEL lo:n");
    // In one write: none overtakes another, on whichever connection it is.
    let lines: Vec<String> = (0..200)
        .flat_map(|number| {
            let user = if number % 2 == 0 { "twin" } else { "app" };
            ["INCR lo:n".to_owned(), "INCR lo:n".to_owned(), format!("AUTH {user} pw")]
        })
        .collect();
    let replies = client.pipeline(&lines);
    let numbers: Vec<i64> =
        replies.iter().filter(|reply| reply.kind() == b':').map(Reply::integer).collect();
    assert_eq!(numbers, (1..=400).collect::<Vec<i64>>());
    let lines = ["SET lo:n 1", "AUTH report pw", "SET lo:n 2", "AUTH app pw", "GET lo:n"];
    let seen: Vec<String> = client.pipeline(&lines).iter().map(Reply::text).collect();
    assert!(seen[2].starts_with("NOPERM "), "{seen:?}");
    assert_eq!([&seen[0], &seen[1], &seen[3], &seen[4]], ["OK", "OK", "OK", "1"]);
    // A watched connection stays with whom it was made for: the transaction finds a change.
    let lines = ["WATCH lo:n", "AUTH twin pw", "MULTI", "INCR lo:n", "EXEC", "GET lo:n"];
    let replies = client.pipeline(&lines);
    assert!(replies[4].is_nil(), "{}", replies[4]);
    assert_eq!(replies[5].text(), "1");
    // As it was when it connected.
    assert_eq!(client.call("RESET").text(), "RESET");
    assert_eq!(client.call("SET lg-elsewhere 1").text(), "OK");
    client.call("DEL lg-elsewhere");
}

#[test]
fn clients_of_one_login_share_its_connections() {
    node_user("lg-shared", "on >one ~ls:* +@all");
    let logins = LoginsFile::of("* lg-shared one\n");
    let gateway = gateway(&logins);
    let mut clients: Vec<Client> =
        (0..20).map(|at| client_as(&gateway, ["app", "twin"][at % 2], 2)).collect();
    for (client, number) in clients.iter_mut().zip(0..) {
        for key in 0..20 {
            assert_eq!(client.call(&format!("SET ls:{number}:{key} x")).text(), "OK");
        }
    }
    // The default user is one of those that are not named.
    assert!(gateway.client().call("GET other").text().starts_with("NOPERM "));
    let connections = |address| {
        let list = Client::connect(address).call("CLIENT LIST").text();
        list.lines().filter(|line| line.contains(" user=lg-shared ")).count()
    };
    for address in Cluster::shared().addresses() {
        assert!(connections(address) <= 2, "one for each worker");
    }
}

/// Requests that need a connection of some kind each.
const OF_ALL_KINDS: &[&str] = &[
    "GET lw:a",
    "SET lw:a 1",
    "MGET lw:a lw:b lw:c",
    "BLPOP lw:list 1",
    "BLPOP lw:list lw:list2 lw:list3 1",
    "WATCH lw:a",
    "SUBSCRIBE lw:channel",
    "SSUBSCRIBE lw:channel",
    "PUBLISH lw:channel x",
    "KEYS lw:*",
    "SUNION lw:a lw:b",
    "EVAL return(1) 1 lw:a",
    "SCRIPT EXISTS x",
];

#[test]
fn a_wrong_password_is_told_at_once_and_mended_without_a_restart() {
    node_user("lg-wrong", "on >one ~lw:* &lw:* +@all");
    let logins = LoginsFile::of("app lg-wrong mistyped\n");
    let gateway = gateway(&logins);
    for protocol in [2, 3] {
        let mut client = client_as(&gateway, "app", protocol);
        for line in OF_ALL_KINDS {
            let reply = client.call(line).text();
            let told = reply.contains("the nodes refuse the login of this user (cluster.logins): ");
            assert!(told && reply.contains(" AUTH: WRONGPASS "), "{line}: {reply}");
        }
        let replies = client.pipeline(&["MULTI", "SET lw:a 1", "EXEC"]);
        assert!(replies[2].text().contains("refuse the login"), "{}", replies[2]);
        if protocol == 3 {
            client.call("CLIENT TRACKING ON");
            let reply = client.call("GET lw:a").text();
            assert!(reply.contains("refuse the login"), "{reply}");
        }
        // Nobody else is harmed: the nodes are well.
        let mut other = gateway.client_of(protocol);
        assert_eq!(other.call("SET lw:a 1").text(), "OK");
        assert!(!other.call("MGET lw:a lw:b lw:c").is_error());
    }
    assert!(gateway.metric("slotway_node_logins_refused_total") > 0.5);
    let said = gateway.errors().matches("node refuses the login of a user").count();
    assert!((1..=2 * 6).contains(&said), "once for each worker and node: {said}");

    let mut client = client_as(&gateway, "app", 2);
    let mut serves = |when: &str| {
        wait_for(when, || OF_ALL_KINDS[..3].iter().all(|line| !client.call(line).is_error()));
    };
    logins.say("app lg-wrong one\n");
    serves("the right password");
    // The usual way: nodes take both for a while.
    each_node("ACL SETUSER lg-wrong >two");
    logins.say("app lg-wrong two\n");
    let loads = || gateway.errors().matches("passwords loaded again").count();
    wait_for("files that are loaded again", || loads() >= 2);
    each_node("ACL SETUSER lg-wrong <one");
    each_node("CLIENT KILL USER lg-wrong");
    serves("the new password");
    // The file is first: until the nodes know the new one, the one before it is taken.
    logins.say("app lg-wrong three\n");
    wait_for("files that are loaded again", || loads() >= 3);
    each_node("CLIENT KILL USER lg-wrong");
    serves("the password before");
    each_node("ACL SETUSER lg-wrong >three <two");
    each_node("CLIENT KILL USER lg-wrong");
    serves("the newest password");
    // A file with a mistake changes nothing, and is not quoted.
    logins.say("app lg-wrong\n");
    wait_for("a word on the mistake", || {
        gateway.errors().contains("`cluster.logins_file` names a file whose line 1 is not ")
    });
    serves("the password as it was");
    // Without its line it is one of those who are sent as the gateway's own user.
    let mut client = client_as(&gateway, "app", 2);
    assert!(client.call("GET elsewhere").text().starts_with("NOPERM "));
    logins.say("nobody lg-wrong three\n");
    gateway.signal(Signal::HUP);
    wait_for("settings loaded again", || !client.call("GET elsewhere").is_error());
    wait_for("a word on the user that there is not", || {
        gateway.errors().contains("`cluster.logins` names a user that there is not")
    });
    assert!(!gateway.errors().contains("mistyped"));
}

#[test]
fn redirections_lead_to_connections_of_the_same_user() {
    let fake = FakeCluster::of(2);
    let logins = LoginsFile::of("default node-app secret\n");
    let gateway = Gateway::before_nodes(&fake.addresses())
        .setting("cluster.logins_file", text(logins.path()))
        .start();
    let mut client = gateway.client();
    // In a slot of the first node.
    let key = "{b}";
    let slot = key_slot(b"b");
    assert!(slot < 8_192);
    let to = fake.addresses()[1];
    for word in ["ASK", "MOVED"] {
        fake.once(0, "GET", vec![Act::say(&format!("-{word} {slot} {to}\r\n"))]);
        assert_eq!(client.call(&format!("GET {key}")).text(), key);
    }
    let history = fake.history(1);
    let logins = history.iter().filter(|line| **line == "AUTH node-app secret").count();
    assert_eq!(logins, 1, "{history:?}");
    let at = |line: &str| history.iter().position(|it| it == line).unwrap();
    assert!(at("AUTH node-app secret") < at("ASKING"), "{history:?}");
}
