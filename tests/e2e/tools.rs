//! The servers' own command line tools, as people run them, against the gateway.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use crate::harness::{Client, Cluster, Gateway, request};

fn tool(program: &str, gateway: &Gateway) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &gateway.address().port().to_string()]);
    command
}

fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?} ended with {status}: {out}{errors}");
    out.into_owned()
}

fn cli(gateway: &Gateway, arguments: &[&str]) -> String {
    run(tool("redis-cli", gateway).args(arguments))
}

fn fill(client: &mut Client) {
    let lines: Vec<String> = (0..500)
        .flat_map(|number| {
            [format!("SET key:{number} {number}"), format!("RPUSH list:{} x", number % 20)]
        })
        .collect();
    client.pipeline(&lines);
    client.call(&format!("SET largest {}", "x".repeat(5_000)));
}

#[test]
fn redis_cli_looks_through_the_keys() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    fill(&mut gateway.client());
    let keys = cli(&gateway, &["--scan"]);
    assert_eq!(keys.lines().count(), 521);
    assert_eq!(cli(&gateway, &["--scan", "--pattern", "list:*"]).lines().count(), 20);
    let biggest = cli(&gateway, &["--bigkeys", "-i", "0"]);
    assert!(biggest.contains("Sampled 521 keys in the keyspace"), "{biggest}");
    assert!(biggest.contains("\"largest\"' has 5000 bytes"), "{biggest}");
    let memory = cli(&gateway, &["--memkeys", "-i", "0"]);
    assert!(memory.contains("Sampled 521 keys in the keyspace"), "{memory}");
    assert!(memory.contains("\"largest\""), "{memory}");
    assert_eq!(gateway.client().call("CONFIG SET maxmemory-policy allkeys-lfu").text(), "OK");
    gateway.client().pipeline(&["GET key:7"; 2_000]);
    let hottest = cli(&gateway, &["--hotkeys", "-i", "0"]);
    assert!(
        hottest.contains("keyname: \"key:7\"") || hottest.contains("keyname: key:7"),
        "{hottest}"
    );
}

/// Kills the tool when it has shown enough.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn redis_cli_watches() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).start();
    fill(&mut gateway.client());
    let mut stat = tool("redis-cli", &gateway);
    let child = stat.args(["--stat", "-i", "0.05"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let facts: Vec<String> =
        lines.map(Result::unwrap).filter(|line| line.starts_with("521 ")).take(3).collect();
    assert_eq!(facts.len(), 3);
    let words: Vec<&str> = facts[2].split_whitespace().collect();
    assert!(words[1].ends_with('M'), "memory in use: {facts:?}");
    drop(running);
    let latency = cli(&gateway, &["--raw", "-i", "0.2", "--latency"]);
    let samples: u64 = latency.split_whitespace().last().unwrap().parse().unwrap();
    assert!(samples > 1, "{latency}");
}

#[test]
fn redis_cli_pipes() {
    let gateway = Gateway::before(Cluster::shared()).start();
    let mut child = tool("redis-cli", &gateway)
        .arg("--pipe")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let requests: Vec<u8> =
        (0..20_000).flat_map(|number| request(&["SET", &format!("piped:{number}"), "x"])).collect();
    input.write_all(&requests).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("errors: 0, replies: 20000"), "{text}");
    assert_eq!(gateway.client().call("EXISTS piped:0 piped:7777 piped:19999").integer(), 3);
}

#[test]
fn redis_cli_talks() {
    let gateway = Gateway::before(Cluster::shared()).start();
    for protocol in ["-2", "-3"] {
        assert_eq!(cli(&gateway, &[protocol, "SET", "said", "hello"]), "OK\n");
        assert_eq!(cli(&gateway, &[protocol, "GET", "said"]), "hello\n");
        assert!(cli(&gateway, &[protocol, "INFO", "keyspace"]).contains("db0:keys="));
    }
}

#[test]
fn redis_benchmark_runs_its_tests() {
    let cluster = Cluster::small();
    let gateway = Gateway::before(&cluster).workers(2).start();
    let text = run(tool("redis-benchmark", &gateway).args(["-q", "-n", "1000", "-c", "20"]));
    for test in [
        "PING_INLINE",
        "PING_MBULK",
        "SET",
        "GET",
        "INCR",
        "LPUSH",
        "SPOP",
        "ZADD",
        "LRANGE_600",
        "MSET (10 keys)",
    ] {
        let line = text.split(['\r', '\n']).rfind(|line| {
            line.starts_with(&format!("{test}:")) || line.starts_with(&format!("{test} "))
        });
        assert!(line.is_some_and(|line| line.contains("requests per second")), "{test}: {text}");
    }
}
