//! INFO: one server's worth of facts about a whole cluster.

use std::collections::BTreeMap;

use crate::harness::{Client, Cluster, Gateway, Reply, Server};

type Section = BTreeMap<String, String>;

/// Sections by title, as monitoring tools read them.
fn sections(reply: &Reply) -> BTreeMap<String, Section> {
    let text = reply.text();
    let text = text.strip_prefix("txt:").unwrap_or(&text);
    let mut sections = BTreeMap::new();
    let mut title = String::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        if let Some(next) = line.strip_prefix("# ") {
            title = next.to_owned();
            assert!(sections.insert(title.clone(), Section::new()).is_none(), "{next} twice");
        } else {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no fact: {line}"));
            let section: &mut Section = sections.get_mut(&title).unwrap();
            assert!(section.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice");
        }
    }
    sections
}

fn of_nodes(cluster: &Cluster, what: &str) -> Vec<BTreeMap<String, Section>> {
    (0..2).map(|node| sections(&cluster.node(node).client().call(what))).collect()
}

fn number(section: &Section, name: &str) -> f64 {
    section.get(name).unwrap_or_else(|| panic!("no {name}: {section:?}")).parse().unwrap()
}

#[test]
fn sections_and_names_are_a_servers() {
    let (server, gateway) = (Server::standalone(), Gateway::before(Cluster::shared()).start());
    for protocol in [2, 3] {
        let (mut alone, mut through) = (server.client_of(protocol), gateway.client_of(protocol));
        for line in [
            "INFO",
            "INFO all",
            "INFO memory stats",
            "info KEYSPACE commandstats",
            "INFO default",
            "INFO cpu",
            "INFO persistence",
            "INFO nothing",
            "INFO server",
            "INFO everything",
        ] {
            let (expected, found) = (alone.call(line), through.call(line));
            assert_eq!(expected.kind(), found.kind(), "{line}");
            let (expected, found) = (sections(&expected), sections(&found));
            let titles = |of: &BTreeMap<String, Section>| of.keys().cloned().collect::<Vec<_>>();
            assert_eq!(titles(&expected), titles(&found), "{line}");
            for title in ["Memory", "Persistence", "Stats", "CPU"] {
                let names = |of: &BTreeMap<String, Section>| {
                    of.get(title).map(|it| it.keys().cloned().collect::<Vec<_>>())
                };
                assert_eq!(names(&expected), names(&found), "{line}: {title}");
            }
        }
    }
}

#[test]
fn facts_are_those_of_all_primaries() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let mut client = gateway.client();
    let lines: Vec<String> = (0..100).map(|number| format!("SET key:{number} x EX 1000")).collect();
    client.pipeline(&lines[..40]);
    client.pipeline(&(40..100).map(|number| format!("SET key:{number} x")).collect::<Vec<_>>());
    for number in 0..10 {
        client.call(&format!("GET key:{number}"));
        client.call(&format!("GET nothing:{number}"));
        client.call(&format!("LPUSH key:{number} x"));
    }
    let found = sections(&client.call("INFO everything"));
    let keyspace = &found["Keyspace"]["db0"];
    assert!(keyspace.starts_with("keys=100,expires=40,avg_ttl="), "{keyspace}");
    let ttl: u64 = keyspace.rsplit_once('=').unwrap().1.parse().unwrap();
    assert!(ttl <= 1_000_000, "{keyspace}");
    assert_eq!(found["Stats"]["keyspace_hits"], "10");
    assert_eq!(found["Stats"]["keyspace_misses"], "10");
    assert_eq!(found["Errorstats"]["errorstat_WRONGTYPE"], "count=10");
    let gets = &found["Commandstats"]["cmdstat_get"];
    assert!(gets.starts_with("calls=20,usec="), "{gets}");
    assert!(found["Latencystats"].contains_key("latency_percentiles_usec_set"));
    assert_eq!(found["Persistence"]["loading"], "0");
    assert_eq!(found["Server"]["redis_mode"], "standalone");
    assert_eq!(found["Replication"]["role"], "master");
    assert_eq!(found["Cluster"]["cluster_enabled"], "0");
    let nodes = of_nodes(&cluster, "INFO memory");
    let memory = sections(&client.call("INFO memory"));
    let sum: f64 = nodes.iter().map(|node| number(&node["Memory"], "used_memory_startup")).sum();
    assert_eq!(number(&memory["Memory"], "used_memory_startup"), sum);
    assert!(memory["Memory"]["used_memory_human"].ends_with('M'));
    assert_eq!(memory["Memory"]["maxmemory"], "0");
    let changed = number(&found["Persistence"], "rdb_changes_since_last_save");
    assert_eq!(changed, 100.0);
}

fn counted(client: &mut Client) -> f64 {
    let found = sections(&client.call("INFO stats"));
    number(&found["Stats"], "total_commands_processed")
}

#[test]
fn the_gateway_counts_its_own_clients_and_counts_anew() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let mut client = gateway.client();
    client.pipeline(&["PING"; 300]);
    let many = counted(&mut client);
    assert!(many >= 300.0, "{many}");
    let found = sections(&client.call("INFO clients"));
    assert_eq!(found["Clients"]["connected_clients"], "1");
    assert_eq!(client.call("CONFIG RESETSTAT").text(), "OK");
    let few = counted(&mut client);
    assert!(few < 10.0, "{few}");
    let nodes = of_nodes(&cluster, "INFO stats");
    assert!(nodes.iter().all(|node| number(&node["Stats"], "total_commands_processed") < 50.0));
}

#[test]
fn info_has_its_place_in_a_transaction() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut client = gateway.client();
    let lines = [
        "SET info:key 1",
        "MULTI",
        "GET info:key",
        "INFO memory",
        "INFO server",
        "EXEC",
        "INFO keyspace",
    ];
    let replies = client.pipeline(&lines);
    let array = replies[5].items();
    assert_eq!(array[0].text(), "1");
    assert!(number(&sections(&array[1])["Memory"], "used_memory") > 0.0);
    assert!(sections(&array[2]).contains_key("Server"));
    assert!(sections(&replies[6])["Keyspace"].contains_key("db0"));
}

/// Hosted services take commands away.
#[test]
fn nodes_that_keep_things_to_themselves_are_spoken_for() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    let mut client = gateway.client();
    for node in 0..2 {
        let reply =
            cluster.node(node).client().call("ACL SETUSER default -config -slowlog -info -latency");
        assert_eq!(reply.text(), "OK");
    }
    let found = sections(&client.call("INFO"));
    assert_eq!(found["Persistence"]["loading"], "0");
    assert_eq!(found["Server"]["redis_mode"], "standalone");
    assert!(number(&found["Memory"], "used_memory") > 0.0, "the gateway's own");
    assert!(!found.contains_key("Keyspace"));
    assert_eq!(client.call("CONFIG GET databases").items()[1].text(), "1");
    for line in ["CONFIG SET timeout 1", "SLOWLOG GET", "LATENCY LATEST"] {
        assert!(client.call(line).text().starts_with("NOPERM "), "{line}");
    }
    assert_eq!(client.call("DBSIZE").integer(), 0);
}
