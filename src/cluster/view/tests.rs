use proptest::strategy::Strategy as _;

use super::*;

const OK: &str = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:7\r\n";

/// What a 7.0.15 node said after a failover, while slot 0 was being moved away from it.
const NODES_7_0: &str = "\
986b88c9070e64bb0837dbdc81fa7603d2b358f2 127.0.0.1:27315@37315 master - 0 1795444829513 7 connected 10923-16383
6715b2f7b483091ad7a25413afb613c608175b6c 127.0.0.1:27314@37314 slave d1ea16fc1ce3abd68a50eac85cb641c3aa1c191c 0 1795444829111 2 connected
d7dbd10510f3481c6290b9f812b9ae91f486d0b4 127.0.0.1:27310@37310,node0.example myself,master - 0 1795444829000 1 connected 0-5460 [0->-d1ea16fc1ce3abd68a50eac85cb641c3aa1c191c]
19ccea13498ff4d2b30b3d95ba7c19fecbb89404 127.0.0.1:27313@37313 slave d7dbd10510f3481c6290b9f812b9ae91f486d0b4 0 1795444828508 1 connected
1e9dc8c31d1dd371b6d9dcd777cbfda06f9b396f 127.0.0.1:27312@37312 master,fail - 1795444823547 1795444822000 3 disconnected
d1ea16fc1ce3abd68a50eac85cb641c3aa1c191c 127.0.0.1:27311@37311 master - 0 1795444829000 2 connected 5461-10922
";

fn view(nodes: &str) -> Result<View, TopologyError> {
    view_as(nodes, Preferred::Ip)
}

fn view_as(nodes: &str, preferred: Preferred) -> Result<View, TopologyError> {
    let map = BTreeMap::from([("10.9.9.9:7000".to_owned(), "outside.example:17000".to_owned())]);
    View::parse(nodes, OK, &Dialling { asked: "seed.example:6379", preferred, map: &map })
}

/// One line, of which the test gives what varies.
fn one(place: &str, flags: &str) -> Seen {
    one_as(place, flags, Preferred::Ip)
}

fn one_as(place: &str, flags: &str, preferred: Preferred) -> Seen {
    let myself = "f0 127.0.0.1:7999@17999 myself,slave,x 00 0 0 1 connected";
    let (flags, others) = match flags.contains("myself") {
        true => (flags, ""),
        false => (flags, myself),
    };
    let line = format!("e0 {place} {flags} - 0 0 1 connected 5\n{others}\n");
    view_as(&line, preferred).unwrap().nodes.remove(0)
}

#[test]
fn a_real_answer() {
    let view = view(NODES_7_0).unwrap();
    assert!(view.healthy);
    assert_eq!(view.current_epoch, 7);
    assert_eq!(view.nodes.len(), 6);
    assert_eq!(view.covered(), Slot::COUNT);

    let myself = view.viewer().unwrap();
    assert_eq!(myself.address.as_deref(), Some("127.0.0.1:27310"));
    assert_eq!(myself.announced, ["127.0.0.1:27310", "node0.example:27310"]);
    assert_eq!(myself.slots, [0..=5460]);
    assert_eq!((myself.epoch, &myself.role), (1, &Role::Primary));

    let promoted = &view.nodes[0];
    assert_eq!(
        (promoted.epoch, &promoted.role, promoted.health),
        (7, &Role::Primary, Health::Online)
    );
    assert_eq!(promoted.slots, [10923..=16383]);
    let replica = &view.nodes[1];
    assert_eq!(
        replica.role,
        Role::ReplicaOf("d1ea16fc1ce3abd68a50eac85cb641c3aa1c191c".to_owned())
    );
    let dead = &view.nodes[4];
    assert_eq!((dead.health, &dead.role, dead.slots.len()), (Health::Failed, &Role::Primary, 0));
}

#[test]
fn a_node_alone() {
    let nodes =
        "009e05dc74e981cfecd0b59e9d142bd67a96e3bc :27316@37316 myself,master - 0 0 0 connected\n";
    let info = "cluster_state:fail\r\ncluster_current_epoch:0\r\n";
    let dialling =
        Dialling { asked: "[::1]:27316", preferred: Preferred::Ip, map: &BTreeMap::new() };
    let view = View::parse(nodes, info, &dialling).unwrap();
    assert!(!view.healthy);
    assert_eq!(view.covered(), 0);
    assert_eq!(view.nodes[0].address.as_deref(), Some("[::1]:27316"));
    assert!(view.nodes[0].announced.is_empty());
}

#[test]
fn addresses() {
    let cases = [
        // 4.0 and later, and before.
        ("10.0.0.1:7000@17000", Some("10.0.0.1:7000")),
        ("10.0.0.1:7000", Some("10.0.0.1:7000")),
        // Host names since 7.0, further fields since 7.2.
        ("10.0.0.1:7000@17000,", Some("10.0.0.1:7000")),
        ("10.0.0.1:7000@17000,node.example", Some("10.0.0.1:7000")),
        ("10.0.0.1:7000@17000,node.example,tls-port=7100,shard-id=0a1b", Some("10.0.0.1:7000")),
        ("10.0.0.1:7000@17000,,tls-port=0,shard-id=0a1b", Some("10.0.0.1:7000")),
        ("10.0.0.1:7000@17000,shard-id=0a1b", Some("10.0.0.1:7000")),
        (":7000@17000,node.example", Some("node.example:7000")),
        // IPv6 stands without brackets.
        ("::1:7000@17000", Some("[::1]:7000")),
        ("fd00::1:2:7000@17000,node.example", Some("[fd00::1:2]:7000")),
        // Places that nobody can dial.
        (":7000@17000", None),
        (":0@0", None),
        ("10.0.0.1:0@17000", None),
        ("?:7000@17000", None),
        // The address map.
        ("10.9.9.9:7000@17000", Some("outside.example:17000")),
    ];
    for (place, expected) in cases {
        assert_eq!(one(place, "master").address.as_deref(), expected, "{place}");
    }
    assert_eq!(one("10.0.0.1:7000@17000", "master,noaddr").address, None);
    assert_eq!(one(":7000@17000", "myself,master").address.as_deref(), Some("seed.example:7000"));
}

#[test]
fn preferred_names() {
    let named = "10.9.9.9:7000@17000,node.example";
    let cases = [
        (named, Preferred::Ip, "outside.example:17000"),
        (named, Preferred::Hostname, "node.example:7000"),
        (named, Preferred::HostAsked, "seed.example:7000"),
        ("10.0.0.1:7000@17000", Preferred::Hostname, "10.0.0.1:7000"),
        ("10.0.0.1:7000@17000", Preferred::HostAsked, "seed.example:7000"),
    ];
    for (place, preferred, expected) in cases {
        let seen = one_as(place, "master", preferred);
        assert_eq!(seen.address.as_deref(), Some(expected), "{place} {preferred:?}");
    }
}

#[test]
fn flags() {
    let cases = [
        ("master", Role::Primary, Health::Online),
        ("master,fail?", Role::Primary, Health::Suspected),
        ("master,fail", Role::Primary, Health::Failed),
        ("master,nofailover", Role::Primary, Health::Online),
        ("handshake", Role::Unknown, Health::Online),
        ("master,handshake", Role::Unknown, Health::Online),
        ("noflags", Role::Unknown, Health::Online),
        ("slave,fail", Role::Unknown, Health::Failed),
    ];
    for (flags, role, health) in cases {
        let seen = one("10.0.0.1:7000@17000", flags);
        assert_eq!((seen.role, seen.health), (role, health), "{flags}");
    }
}

#[test]
fn slots_on_their_way_stay_with_their_owner() {
    let line =
        "e0 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 5 7-9 11 [93-<-f0] [5->-f0]\n";
    assert_eq!(view(line).unwrap().nodes[0].slots, [5..=5, 7..=9, 11..=11]);
}

#[test]
fn half_an_answer_is_none() {
    let myself = "e0 127.0.0.1:7000@17000 myself,master - 0 0 1 connected";
    let line = |line, what| Err(TopologyError::Line { line, what });
    let cases = [
        (String::new(), Err(TopologyError::NoSelf)),
        ("\n\n".to_owned(), Err(TopologyError::NoSelf)),
        ("e0 127.0.0.1:7000@17000 master - 0 0 1 connected".to_owned(), Err(TopologyError::NoSelf)),
        (format!("{myself}\n{myself}"), Err(TopologyError::NoSelf)),
        (format!("{myself}\ne1"), line(2, "no address")),
        (format!("{myself}\ne1 127.0.0.1:7001@17001"), line(2, "no flags")),
        (format!("{myself}\ne1 127.0.0.1:7001@17001 master"), line(2, "no primary")),
        (format!("{myself}\ne1 127.0.0.1:7001@17001 master - 0 0"), line(2, "no config epoch")),
        (
            format!("{myself}\ne1 127.0.0.1:7001@17001 master - 0 0 x connected"),
            line(2, "no config epoch"),
        ),
        (format!("{myself}\ne1 127.0.0.1:7001@17001 master - 0 0 1"), line(2, "no link state")),
        (format!("{myself}\ne1 127.0.0.1 master - 0 0 1 connected"), line(2, "no port")),
        (format!("{myself}\ne1 127.0.0.1:70010@1 master - 0 0 1 connected"), line(2, "no port")),
        (format!("{myself} 16384"), line(1, "not a range of slots")),
        (format!("{myself} 5-4"), line(1, "not a range of slots")),
        (format!("{myself} 5-"), line(1, "not a range of slots")),
        (format!("{myself} -5"), line(1, "not a range of slots")),
        (format!("{myself} 1-16384"), line(1, "not a range of slots")),
        (format!("{} 127.0.0.1:1@2 master - 0 0 1 connected", "e".repeat(65)), line(1, "no id")),
    ];
    for (text, expected) in &cases {
        assert_eq!(view(text).map(|_| ()), *expected, "{text}");
    }
    let crowd = format!("{myself}\n").repeat(MOST_NODES + 1);
    assert_eq!(view(&crowd), Err(TopologyError::TooMany));
}

#[test]
fn replies() {
    let map = BTreeMap::new();
    let dialling = Dialling { asked: "seed:1", preferred: Preferred::Ip, map: &map };
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let verbatim = |text: &str| format!("={}\r\ntxt:{text}\r\n", text.len() + 4);
    let read =
        |nodes: &str, info: &str| View::from_replies(nodes.as_bytes(), info.as_bytes(), &dialling);

    assert_eq!(read(&bulk(NODES_7_0), &bulk(OK)).unwrap().nodes.len(), 6);
    assert_eq!(read(&verbatim(NODES_7_0), &verbatim(OK)).unwrap().nodes.len(), 6);
    let refused = "ERR This instance has cluster support disabled".to_owned();
    assert_eq!(read(&format!("-{refused}\r\n"), &bulk(OK)), Err(TopologyError::Refused(refused)));
    assert_eq!(read("*0\r\n", &bulk(OK)), Err(TopologyError::NotText));
    assert_eq!(read("$-1\r\n", &bulk(OK)), Err(TopologyError::NotText));
    assert_eq!(read("", &bulk(OK)), Err(TopologyError::NotText));
    assert_eq!(read(&bulk(NODES_7_0), &bulk("")), Err(TopologyError::NoField("cluster_state")));
    let no_epoch = Err(TopologyError::NoField("cluster_current_epoch"));
    assert_eq!(read(&bulk(NODES_7_0), &bulk("cluster_state:ok\r\n")), no_epoch);
    assert_eq!(
        read(&bulk(NODES_7_0), &bulk("cluster_state:ok\r\ncluster_current_epoch:-1\r\n")),
        no_epoch
    );
}

#[test]
fn preference_is_learned_from_cluster_slots() {
    // Heads of the answers of a 7.0.15 node, the last three of its three settings.
    let answer = |node: &str| format!("*1\r\n*3\r\n:0\r\n:5460\r\n{node}");
    let id = "$2\r\nd7\r\n";
    let cases = [
        ("*0\r\n".to_owned(), None),
        ("-LOADING Redis is loading the dataset in memory\r\n".to_owned(), None),
        ("*1\r\n*2\r\n:0\r\n:5460\r\n".to_owned(), None),
        (String::new(), None),
        // 3.0: no id; 4.0: no details.
        (answer("*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n"), Some(Preferred::Ip)),
        (answer(&format!("*3\r\n$9\r\n127.0.0.1\r\n:7000\r\n{id}")), Some(Preferred::Ip)),
        (
            answer(&format!(
                "*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n{id}*2\r\n$8\r\nhostname\r\n$1\r\nn\r\n"
            )),
            Some(Preferred::Ip),
        ),
        (
            answer(&format!(
                "*4\r\n$13\r\nnode0.example\r\n:7000\r\n{id}*2\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n"
            )),
            Some(Preferred::Hostname),
        ),
        (
            answer(&format!("*4\r\n$-1\r\n:7000\r\n{id}*2\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n")),
            Some(Preferred::HostAsked),
        ),
        (
            answer(&format!("*4\r\n_\r\n:7000\r\n{id}%1\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n")),
            Some(Preferred::HostAsked),
        ),
    ];
    for (reply, expected) in cases {
        assert_eq!(Preferred::from_slots(reply.as_bytes()), expected, "{reply:?}");
    }
}

#[test]
fn no_text_panics() {
    let map = BTreeMap::new();
    let dialling = Dialling { asked: "seed:1", preferred: Preferred::Ip, map: &map };
    let word = "[ -~]{0,12}|:?[0-9]{1,6}(-[0-9]{1,6})?|\\[|@|,|myself,master|\\PC{0,3}";
    let line = proptest::collection::vec(word, 0..12).prop_map(|words| words.join(" "));
    let nodes = proptest::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"));
    proptest::proptest!(|(nodes in nodes, info: String, bytes: Vec<u8>)| {
        let _ = View::parse(&nodes, OK, &dialling);
        let _ = View::parse(&nodes, &info, &dialling);
        let _ = View::from_replies(&bytes, &bytes, &dialling);
        let _ = Preferred::from_slots(&bytes);
    });
}

#[test]
fn a_cut_answer_is_never_more_than_the_whole() {
    let whole = view(NODES_7_0).unwrap();
    for length in 0..NODES_7_0.len() {
        // Cut within the last token of a line, it may still read; then only what had come is believed.
        if let Ok(part) = view(&NODES_7_0[..length]) {
            assert!(part.nodes.len() <= whole.nodes.len());
            assert!(part.covered() <= whole.covered());
        }
    }
}
