//! A gateway that shows itself as a cluster: what cluster-aware clients ask for, and what they are told.

use crate::harness::{Client, Cluster, Gateway, Reply, key_slot};

fn presented(cluster: &Cluster) -> Gateway {
    Gateway::before(cluster).setting("listen.present", "cluster").start()
}

#[test]
fn one_node_owns_every_slot() {
    let gateway = presented(Cluster::shared());
    for protocol in [2, 3] {
        let mut client = gateway.client_of(protocol);
        let id = client.call("CLUSTER MYID").text();
        assert_eq!(id.len(), 40, "{id}");
        let slots = client.call("CLUSTER SLOTS").items();
        assert_eq!(slots.len(), 1);
        let range = slots[0].items();
        assert_eq!((range[0].integer(), range[1].integer()), (0, 16_383));
        let node = range[2].items();
        assert_eq!(node[0].text(), "127.0.0.1");
        assert_eq!(node[1].integer(), i64::from(gateway.address().port()));
        assert_eq!(node[2].text(), id);

        let text = |reply: Reply| reply.text().trim_start_matches("txt:").to_owned();
        let lines = text(client.call("CLUSTER NODES"));
        let expected =
            format!("{id} {}@0 myself,master - 0 0 1 connected 0-16383\n", gateway.address());
        assert_eq!(lines, expected);
        let info = text(client.call("CLUSTER INFO"));
        for line in ["cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:1"] {
            assert!(info.lines().any(|found| found == line), "{info}");
        }
        let shard = client.call("CLUSTER SHARDS").items()[0].items();
        assert_eq!(shard[0].text(), "slots");
        assert_eq!(field(&shard[3].items()[0], "id"), id);
        assert_eq!(field(&shard[3].items()[0], "health"), "online");
    }
}

/// The replies have the shape that a real node gives them.
#[test]
fn the_forms_are_those_of_a_node() {
    let cluster = Cluster::shared();
    let gateway = presented(cluster);
    for protocol in [2, 3] {
        let mut client = gateway.client_of(protocol);
        let mut node = cluster.node(0).client();
        if protocol == 3 {
            node.call("HELLO 3");
        }
        for line in
            ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES", "CLUSTER INFO", "CLUSTER MYID"]
        {
            let (ours, theirs) = (client.call(line), node.call(line));
            assert_eq!(first_shape(&ours), first_shape(&theirs), "{line}\n{ours}\n{theirs}");
        }
        for line in [
            "CLUSTER COUNTKEYSINSLOT x",
            "CLUSTER COUNTKEYSINSLOT 16384",
            "CLUSTER GETKEYSINSLOT -1 5",
            "CLUSTER GETKEYSINSLOT 5 x",
            "CLUSTER REPLICAS nobody",
            "CLUSTER KEYSLOT somekey",
            "CLUSTER FOO",
            "CLUSTER KEYSLOT",
            "READONLY",
            "READWRITE",
            "ASKING",
            "SELECT 1",
            "SELECT 0",
        ] {
            assert_eq!(client.call(line), node.call(line), "{line}");
        }
        assert_eq!(client.call("CLUSTER LINKS").items().len(), 0);
        let id = client.call("CLUSTER MYID").text();
        assert_eq!(client.call(&format!("CLUSTER REPLICAS {id}")).items().len(), 0);
    }
}

#[test]
fn it_says_everywhere_that_it_is_a_cluster() {
    let gateway = presented(Cluster::shared());
    let mut client = gateway.client();
    let hello = client.call("HELLO 2");
    assert_eq!(field(&hello, "mode"), "cluster");
    let info = client.call("INFO").text();
    assert!(info.contains("redis_mode:cluster\r\n"), "{info}");
    assert!(info.contains("cluster_enabled:1\r\n"), "{info}");
    assert_eq!(client.call("CONFIG GET cluster-enabled").items()[1].text(), "yes");
    for line in ["CLUSTER FAILOVER", "CLUSTER MEET 127.0.0.1 7000", "CLUSTER RESET HARD"] {
        let name = line.split(' ').nth(1).unwrap().to_lowercase();
        let expected = format!("ERR command 'cluster|{name}' is not allowed through the gateway");
        assert_eq!(client.call(line).text(), expected);
    }
}

#[test]
fn keys_of_a_slot_are_its_owners() {
    let gateway = presented(Cluster::shared());
    let mut client = gateway.client();
    for key in ["presented:{a}", "presented:{b}", "presented:{c}", "presented:{d}"] {
        client.call(&format!("SET {key} x"));
        let slot = key_slot(key.as_bytes());
        let count = client.call(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).integer();
        let keys = client.call(&format!("CLUSTER GETKEYSINSLOT {slot} 1000")).items();
        assert_eq!(keys.len() as i64, count);
        assert!(keys.iter().any(|found| found.text() == key), "{key} in {slot}");
        client.call(&format!("DEL {key}"));
    }
}

#[test]
fn several_gateways_are_one_cluster() {
    let peers = ["127.0.0.1:1001", "gate.example:1002"];
    let start = |announce: &str| {
        Gateway::before(Cluster::shared())
            .setting("listen.present", "cluster")
            .setting("listen.announce", announce)
            .setting("listen.peers", peers)
            .start()
    };
    let gateways = peers.map(start);
    let mut clients: Vec<Client> = gateways.iter().map(Gateway::client).collect();
    let slots: Vec<Reply> = clients.iter_mut().map(|client| client.call("CLUSTER SLOTS")).collect();
    assert_eq!(slots[0], slots[1], "every gateway shows the same cluster");
    let ranges = slots[0].items();
    assert_eq!(ranges.len(), 2);
    assert_eq!(ranges[0].items()[1].integer() + 1, ranges[1].items()[0].integer());
    assert_eq!(ranges[1].items()[2].items()[0].text(), "gate.example");
    for (client, range) in clients.iter_mut().zip(&ranges) {
        assert_eq!(client.call("CLUSTER MYID").text(), range.items()[2].items()[2].text());
        // Whoever asks the wrong one is served all the same.
        for key in ["one", "two", "three"] {
            assert_eq!(client.call(&format!("SET presented:{key} x")).text(), "OK");
        }
    }
    clients[0].call("DEL presented:one presented:two presented:three");
}

fn field(map: &Reply, name: &str) -> String {
    let items = map.items();
    items.chunks(2).find(|pair| pair[0].text() == name).map(|pair| pair[1].text()).unwrap()
}

/// The kinds of a reply's elements, as far as the first of each list goes.
fn first_shape(reply: &Reply) -> String {
    let mut shape = char::from(reply.kind()).to_string();
    match reply.items().as_slice() {
        [] => {}
        // A list of things that are alike.
        [first, ..] if !first.items().is_empty() => shape += &first_shape(first),
        // A range of slots, a node: every element has its own meaning.
        items => shape.extend(items.iter().take(3).map(first_shape)),
    }
    shape
}
