//! The admin port: metrics that a scraper can read, and two questions with yes or no.

use std::process::Command;

use crate::harness::{Act, Cluster, FakeCluster, Gateway, wait_for};

#[test]
fn metrics_are_in_the_exposition_format() {
    let gateway = Gateway::before(Cluster::shared()).workers(2).start();
    let mut client = gateway.client();
    let lines: Vec<String> =
        (0..200).map(|number| format!("SET metric:{number} {number}")).collect();
    client.pipeline(&lines);
    client.call("MGET metric:1 metric:2 metric:3");
    let (status, body) = gateway.page("/metrics");
    assert_eq!(status, 200);
    let mut typed = Vec::new();
    for line in body.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# ") {
            let words: Vec<&str> = rest.splitn(3, ' ').collect();
            assert!(words.len() == 3 && matches!(words[0], "HELP" | "TYPE"), "{line}");
            if words[0] == "TYPE" {
                assert!(matches!(words[2], "counter" | "gauge" | "histogram"), "{line}");
                typed.push(words[1]);
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().unwrap();
        // `process_` is where every exporter puts what the operating system knows of it.
        assert!(name.starts_with("slotway_") || name.starts_with("process_"), "{line}");
        let family =
            |suffix: &str| name.strip_suffix(suffix).is_some_and(|family| typed.contains(&family));
        assert!(
            typed.contains(&name) || family("_bucket") || family("_sum") || family("_count"),
            "no type: {line}"
        );
        assert!(name == series || series.ends_with('}'), "{line}");
    }
    let total: f64 = samples(&body, "slotway_requests_total").iter().sum();
    assert!(total >= 201.0, "{total} requests counted\n{body}");
    assert!(typed.len() >= 10, "{typed:?}");
}

#[test]
fn a_gateway_with_every_slot_covered_is_ready() {
    let gateway = Gateway::before(Cluster::shared()).start();
    assert_eq!(gateway.page("/healthz").0, 200);
    assert_eq!(gateway.page("/readyz").0, 200);
    assert_eq!(gateway.page("/nothing").0, 404);
}

#[test]
fn a_gateway_without_a_cluster_is_alive_but_not_ready() {
    let fake = FakeCluster::of(1);
    fake.always(0, "CLUSTER", Act::say("-LOADING Redis is loading the dataset in memory\r\n"));
    let mut gateway = Gateway::before_nodes(&fake.addresses()).start_unready();
    wait_for("an admin port", || gateway.try_page("/healthz").is_ok());
    assert_eq!(gateway.page("/healthz").0, 200);
    assert_eq!(gateway.page("/readyz").0, 503);
    fake.forget(0);
    gateway.wait_ready();
    assert_eq!(gateway.page("/readyz").0, 200);
    assert_eq!(gateway.client().call("GET me").text(), "me");
}

/// Values of every series of the family.
pub(crate) fn samples(body: &str, family: &str) -> Vec<f64> {
    let of_family = body
        .lines()
        .filter(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with([' ', '{'])));
    of_family.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
}

#[test]
fn probe_asks_whether_the_gateway_is_ready() {
    let probe = |gateway: &Gateway, more: &[&str]| {
        let admin = gateway.admin().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotway"));
        command.args(["probe", "--admin", &admin]).args(more).env_clear().output().unwrap()
    };
    let ready = Gateway::before(Cluster::shared()).start();
    let answer = probe(&ready, &[]);
    assert!(answer.status.success(), "{answer:?}");
    assert!(String::from_utf8_lossy(&answer.stdout).contains("\"ready\":true"), "{answer:?}");

    let nobody = crate::harness::local(crate::harness::free_port());
    let unready = Gateway::before_nodes(&[nobody]).start_unready();
    wait_for("the admin port", || probe(&unready, &["--alive"]).status.success());
    let answer = probe(&unready, &[]);
    assert_eq!(answer.status.code(), Some(1), "{answer:?}");
    let why = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert!(why.contains("0 of 16384 slots are covered"), "{why}");
}
