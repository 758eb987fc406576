//! Commands that the table does not have: a node tells of them.

use crate::harness::{Act, Cluster, FakeCluster, Gateway, key_slot, wait_for};

/// One entry of `COMMAND`, as a server with a module sends it: without key specifications the three numbers tell.
fn entry(name: &str, arity: i64, flags: &[&str], (first, last, step): (i64, i64, i64)) -> String {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let flags: String = flags.iter().map(|flag| bulk(flag)).collect::<Vec<_>>().concat();
    let count = flags.matches('$').count();
    format!("*6\r\n{}:{arity}\r\n*{count}\r\n{flags}:{first}\r\n:{last}\r\n:{step}\r\n", bulk(name))
}

/// Two nodes with a module that nobody has heard of.
fn nodes_with_a_module() -> FakeCluster {
    let fake = FakeCluster::of(2);
    let entries = [
        entry("mod.get", 2, &["readonly"], (1, 1, 1)),
        entry("mod.put", -3, &["write"], (2, 2, 1)),
        entry("mod.odd", -2, &["write", "movablekeys"], (0, 0, 0)),
        entry("mod.stats", 1, &["readonly"], (0, 0, 0)),
        entry("mod.reset", 1, &["write"], (0, 0, 0)),
    ];
    let reply = format!("*{}\r\n{}", entries.len(), entries.concat());
    for node in 0..2 {
        fake.always(node, "COMMAND", Act::say(&reply));
        let name = format!("+node {node}\r\n");
        for command in ["MOD.GET", "MOD.PUT", "MOD.ODD", "MOD.STATS"] {
            fake.always(node, command, Act::say(&name));
        }
    }
    fake
}

fn place(key: &str) -> usize {
    usize::from(key_slot(key.as_bytes()) >= 8192)
}

#[test]
fn keyed_ones_go_where_their_keys_are() {
    let fake = nodes_with_a_module();
    let gateway = Gateway::before_nodes(&fake.addresses())
        .setting("routing.keyless_commands", ["Mod.Stats"])
        .start();
    let mut client = gateway.client();
    wait_for("the commands", || !client.call("MOD.GET a").text().contains("unknown command"));
    for key in ["a", "b", "c", "d", "e", "f"] {
        let owner = format!("node {}", place(key));
        assert_eq!(client.call(&format!("mod.get {key}")).text(), owner, "{key}");
        assert_eq!(client.call(&format!("MOD.PUT x {key}")).text(), owner, "{key}");
    }
    assert_eq!(
        client.call("MOD.GET").text(),
        "ERR wrong number of arguments for 'mod.get' command"
    );
    assert!(client.call("MOD.STATS").text().starts_with("node "), "the operator lists it");
    assert_eq!(
        client.call("MOD.RESET").text(),
        "ERR command 'mod.reset' is not allowed through the gateway"
    );
    assert!(client.call("MOD.NONE").text().starts_with("ERR unknown command 'MOD.NONE'"));
    let look = format!("CLIENT LIST ID {}", client.call("CLIENT ID").text());
    client.call("mod.get a");
    assert!(gateway.client().call(&look).text().contains(" cmd=mod.get "), "as any other");
}

#[test]
fn where_only_a_node_finds_the_keys_it_is_asked_once() {
    let fake = nodes_with_a_module();
    for node in 0..2 {
        fake.always(node, "COMMAND GETKEYS", Act::say("*1\r\n$3\r\nkey\r\n"));
    }
    let gateway = Gateway::before_nodes(&fake.addresses()).start();
    let mut client = gateway.client();
    wait_for("the commands", || !client.call("MOD.GET a").text().contains("unknown command"));
    let owner = format!("node {}", place("key"));
    for _ in 0..5 {
        assert_eq!(client.call("MOD.ODD x key y").text(), owner);
    }
    let asked: usize = (0..2).map(|node| fake.seen(node, "COMMAND GETKEYS")).sum();
    assert_eq!(asked, 1, "the answer is remembered");
    // Another key of the same shape: the place is remembered, not the key.
    let other = ["a", "b", "c"].into_iter().find(|other| place(other) != place("key")).unwrap();
    assert_eq!(
        client.call(&format!("MOD.ODD x {other} y")).text(),
        format!("node {}", place(other))
    );
    client.call("MOD.ODD x key y z");
    let asked: usize = (0..2).map(|node| fake.seen(node, "COMMAND GETKEYS")).sum();
    assert_eq!(asked, 2, "another shape");
}

#[test]
fn a_node_that_comes_back_is_asked_again() {
    let fake = FakeCluster::of(1);
    let gateway = Gateway::before_nodes(&fake.addresses())
        .setting("cluster.refresh_interval", "100ms")
        .setting("cluster.refresh_min_interval", "50ms")
        .start();
    let mut client = gateway.client();
    assert!(client.call("MOD.NEW a").text().starts_with("ERR unknown command"));
    let reply = format!("*1\r\n{}", entry("mod.new", 2, &["readonly"], (1, 1, 1)));
    fake.always(0, "COMMAND", Act::say(&reply));
    fake.always(0, "MOD.NEW", Act::say("+new\r\n"));
    // As a node that is restarted with another version: its connections end.
    fake.once(0, "CLUSTER NODES", vec![Act::SayAndClose(Vec::new())]);
    wait_for("the new command", || client.call("MOD.NEW a").text() == "new");
}

/// Commands of the real server that stand in no table would be learned the same way; this one has them all.
#[test]
fn a_real_server_adds_nothing_and_breaks_nothing() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    wait_for("its commands", || {
        gateway.errors().contains("commands are known as the nodes have them")
    });
    for (line, expected) in [
        ("SET learned:a 1", "OK"),
        ("GET learned:a", "1"),
        ("SHUTDOWN", "ERR command 'shutdown' is not allowed through the gateway"),
        ("DEL learned:a learned:b", "1"),
    ] {
        assert_eq!(client.call(line).text(), expected, "{line}");
    }
}
