//! Traces as a collector gets them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::harness::{Client, Cluster, Gateway, key_slot, request_line, wait_for};

/// A collector that keeps what it is sent.
struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bodies = Arc::<Mutex<Vec<Value>>>::default();
        let kept = bodies.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                kept.lock().unwrap().push(take(stream.unwrap()));
            }
        });
        Self { address, bodies }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far, each with its attributes by name.
    fn spans(&self) -> Vec<Span> {
        let bodies = self.bodies.lock().unwrap();
        let scopes = bodies.iter().flat_map(|body| list(&body["resourceSpans"][0]["scopeSpans"]));
        scopes.flat_map(|scope| list(&scope["spans"])).map(Span::read).collect()
    }

    /// The trace whose request has this name, once all of it has come: the request first, its parts behind it.
    fn trace_of(&self, name: &str) -> Vec<Span> {
        self.trace_besides(name, &[])
    }

    /// The same for another one than this.
    fn trace_besides(&self, name: &str, known: &[Span]) -> Vec<Span> {
        let mut found = Vec::new();
        let is_new = |span: &Span| known.iter().all(|known| known.trace != span.trace);
        wait_for(&format!("the trace of {name}"), || {
            let spans = self.spans();
            let is_root = |span: &&Span| span.name == name && span.kind == 2 && is_new(span);
            let Some(root) = spans.iter().find(is_root) else {
                return false;
            };
            let parts = root.attributes["slotway.parts"].parse::<usize>().unwrap();
            let trace = root.trace.clone();
            found = spans.into_iter().filter(|span| span.trace == trace).collect();
            found.sort_by_key(|span| span.kind);
            found.len() == parts + 1
        });
        let root = &found[0];
        for part in &found[1..] {
            assert_eq!((part.kind, &part.parent), (3, &root.id), "{part:?}");
            assert!(root.start <= part.start && part.start <= part.end, "{part:?} of {root:?}");
            assert!(part.end <= root.end, "{part:?} of {root:?}");
        }
        found
    }
}

#[derive(Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    start: u64,
    end: u64,
    attributes: HashMap<String, String>,
    failed: bool,
}

impl Span {
    fn read(span: &Value) -> Self {
        let text = |key: &str| span[key].as_str().unwrap().to_owned();
        let attributes = list(&span["attributes"]).map(|attribute| {
            let value = &attribute["value"];
            let value = value["stringValue"].as_str().or(value["intValue"].as_str()).unwrap();
            (attribute["key"].as_str().unwrap().to_owned(), value.to_owned())
        });
        Self {
            trace: text("traceId"),
            id: text("spanId"),
            parent: text("parentSpanId"),
            name: text("name"),
            kind: span["kind"].as_u64().unwrap(),
            start: text("startTimeUnixNano").parse().unwrap(),
            end: text("endTimeUnixNano").parse().unwrap(),
            attributes: attributes.collect(),
            failed: span["status"]["code"] == 2,
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// One request of the gateway: checked, read, and answered.
fn take(stream: TcpStream) -> Value {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    assert_eq!(lines[0], "post /v1/traces http/1.1");
    assert!(lines.contains(&"content-type: application/json".to_owned()), "{lines:?}");
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    reader.get_mut().write_all(answer).unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn a_request_and_its_parts_are_told_of() {
    let collector = Collector::start();
    let gateway = Gateway::before(Cluster::shared())
        .setting("traces.endpoint", collector.endpoint())
        .setting("traces.ratio", 1.0)
        .setting("traces.service", "gate")
        .start();
    let nodes: Vec<String> =
        Cluster::shared().addresses().iter().map(|node| node.port().to_string()).collect();
    let mut client = gateway.client();

    assert_eq!(client.call("SET traces:secret hidden").text(), "OK");
    let [request, part] = &collector.trace_of("SET")[..] else { unreachable!() };
    assert_eq!((request.trace.len(), request.id.len()), (32, 16));
    assert_eq!(request.parent, "");
    assert_eq!(request.attributes["slotway.user"], "default");
    assert!(request.attributes["client.address"].starts_with("127.0.0.1:"), "{request:?}");
    assert_eq!(part.name, "SET");
    assert!(nodes.contains(&part.attributes["server.port"]), "{part:?}");

    // One part for each slot.
    let keys: Vec<String> = (0..3).map(|number| format!("traces:{number}")).collect();
    assert_ne!(key_slot(keys[0].as_bytes()), key_slot(keys[1].as_bytes()));
    client.call(&format!("MGET {}", keys.join(" ")));
    let parts = collector.trace_of("MGET");
    let mut numbers: Vec<_> =
        parts[1..].iter().map(|part| &part.attributes["slotway.part"]).collect();
    numbers.sort();
    assert_eq!(numbers, ["0", "1", "2"]);

    // Several steps.
    assert_eq!(client.call(&format!("SADD {} x", keys[0])).integer(), 1);
    assert_eq!(client.call(&format!("SADD {} x", keys[1])).integer(), 1);
    assert_eq!(client.call(&format!("SINTER {} {}", keys[0], keys[1])).items().len(), 1);
    let steps = collector.trace_of("SINTER");
    assert!(
        steps.len() > 2 && steps[1..].iter().all(|step| step.name.starts_with('S')),
        "{steps:?}"
    );

    assert!(client.call("INCR traces:secret").is_error());
    let [request, part] = &collector.trace_of("INCR")[..] else { unreachable!() };
    assert!(request.failed && part.failed, "{request:?} {part:?}");

    let sent = collector.bodies.lock().unwrap().iter().map(Value::to_string).collect::<String>();
    assert!(sent.contains(r#"{"stringValue":"gate"}"#), "{sent}");
    assert!(!sent.contains("secret") && !sent.contains("hidden"), "a key or a value: {sent}");
    client.call(&format!("DEL {}", keys.join(" ")));
}

#[test]
fn what_runs_on_connections_of_its_own_is_told_of() {
    let collector = Collector::start();
    let gateway = Gateway::before(Cluster::shared())
        .setting("traces.endpoint", collector.endpoint())
        .setting("traces.ratio", 1.0)
        .start();
    let (mut client, mut other) = (gateway.client(), gateway.client());
    let names = |trace: &[Span]| -> Vec<String> {
        trace[1..].iter().map(|part| part.name.clone()).collect()
    };
    let [near, far] = ["traces:{a}list", "traces:{b}list"];
    assert_ne!(key_slot(near.as_bytes()), key_slot(far.as_bytes()));

    // A wait in one slot is the node's, from its beginning to the element.
    client.send(&request_line(&format!("BLPOP {near} 0")));
    wait_for("the wait to begin", || gateway.metric("slotway_blocked_clients") == 1.0);
    other.call(&format!("RPUSH {near} x"));
    assert_eq!(client.reply().items().len(), 2);
    let wait = collector.trace_of("BLPOP");
    assert_eq!(names(&wait), ["BLPOP"], "{wait:?}");

    // A wait in several slots asks the nodes whenever there may be something.
    client.send(&request_line(&format!("BRPOP {near} {far} 0")));
    wait_for("the wait to begin", || gateway.metric("slotway_blocked_clients") == 1.0);
    other.call(&format!("RPUSH {far} x"));
    assert_eq!(client.reply().items().len(), 2);
    let wait = collector.trace_of("BRPOP");
    assert!(wait.len() > 1 && names(&wait).iter().all(|name| name == "RPOP"), "{wait:?}");

    // A transaction over several slots: each node is asked first whether it would, and then told to.
    let [near, far] = ["traces:{a}x", "traces:{b}x"];
    let block = |client: &mut Client, of: [&str; 2]| {
        client.call("MULTI");
        of.iter().for_each(|key| assert_eq!(client.call(&format!("SET {key} 1")).text(), "QUEUED"));
        assert_eq!(client.call("EXEC").items().len(), 2);
    };
    block(&mut client, [near, far]);
    let exec = collector.trace_of("EXEC");
    assert_eq!(names(&exec), ["MULTI"; 4], "{exec:?}");

    // The block of a watched slot goes down the connection that watches.
    assert_eq!(other.call(&format!("WATCH {near}")).text(), "OK");
    let watch = collector.trace_of("WATCH");
    assert_eq!(names(&watch), ["WATCH"], "{watch:?}");
    other.call("MULTI");
    other.call(&format!("GETSET {near} 2"));
    assert_eq!(other.call("EXEC").items().len(), 1);
    let exec = collector.trace_besides("EXEC", &exec);
    assert_eq!(names(&exec), ["MULTI"], "{exec:?}");
    client.call(&format!("DEL {near} {far}"));
}

#[test]
fn slow_requests_are_told_of_whatever_the_ratio() {
    let collector = Collector::start();
    let gateway = Gateway::before(Cluster::shared())
        .setting("traces.endpoint", collector.endpoint())
        .setting("traces.ratio", 0.0)
        .setting("observe.slow_time", "50ms")
        .start();
    let mut client = gateway.client();
    let lines: Vec<String> = (0..100).map(|number| format!("GET traces:{number}")).collect();
    client.pipeline(&lines);
    let busy = "local from = redis.call('TIME') repeat local now = redis.call('TIME') \
        until (now[1] - from[1]) * 1000000 + now[2] - from[2] > 60000";
    client.call_args(&["EVAL", busy, "0"]);
    let [request, part] = &collector.trace_of("EVAL")[..] else { unreachable!() };
    assert!(part.end - part.start >= 50_000_000 && request.end - request.start >= 50_000_000);
}

#[test]
fn a_collector_that_is_gone_costs_nothing_but_the_traces() {
    let collector = Collector::start();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::before(Cluster::shared())
        .setting("traces.endpoint", format!("http://{gone}"))
        .setting("traces.ratio", 1.0)
        .start();
    let mut client = gateway.client();
    let left_out = "slotway_spans_total{result=\"left_out\"}";
    client.call("GET traces:nothing");
    wait_for("spans that are left out", || {
        let (_, page) = gateway.page("/metrics");
        page.lines().any(|line| line.starts_with(left_out))
    });
    let lines: Vec<String> = (0..5_000).map(|number| format!("GET traces:{number}")).collect();
    assert_eq!(client.pipeline(&lines).len(), 5_000);
    let said = gateway.errors();
    assert_eq!(said.matches("the collector does not take traces").count(), 1, "{said}");
    assert!(collector.spans().is_empty());
}
