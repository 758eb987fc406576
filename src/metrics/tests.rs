//! What a scrape shows after each event, and that it is well formed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use super::node::NodeSeries;
use super::series::{Few, Seconds, Series};
use super::worker::WorkerSeries;
use super::*;

/// A parsed exposition: each sample by its name and labels as written.
struct Scrape {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads the text format and panics at whatever its specification does not allow, or what
    /// the naming conventions of Prometheus advise against.
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut scrape = Self { kinds: BTreeMap::new(), samples: BTreeMap::new() };
        let mut family = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(help.ends_with('.') && !help.contains('\\'), "{line}");
                assert!(name.starts_with("slotway_") || name.starts_with("process_"), "{line}");
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
                name.clone_into(&mut family);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, family);
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                let before = scrape.kinds.insert(family.clone(), kind.to_owned());
                assert!(before.is_none(), "{family} stands twice");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                scrape.check_series(&family, series);
                let before = scrape.samples.insert(series.to_owned(), value.parse().unwrap());
                assert!(before.is_none(), "{series} stands twice");
            }
        }
        scrape.check_histograms(text);
        scrape
    }

    fn check_series(&self, family: &str, series: &str) {
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let suffixes: &[&str] = match self.kinds[family].as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(name.strip_prefix(family).is_some_and(|s| suffixes.contains(&s)), "{series}");
        let labels = labels.strip_suffix('}').unwrap();
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once('=').unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase()), "{series}");
            assert!(value.len() > 2 && value.starts_with('"') && value.ends_with('"'), "{series}");
        }
    }

    /// Buckets grow in bound and in count, and the last one equals the count.
    fn check_histograms(&self, text: &str) {
        let mut last = (f64::NEG_INFINITY, 0.0);
        for line in text.lines().filter(|line| line.contains("_bucket{")) {
            let (series, count) = line.rsplit_once(' ').unwrap();
            let count: f64 = count.parse().unwrap();
            let (labels, bound) = series.rsplit_once("le=\"").unwrap();
            let bound: f64 = bound.strip_suffix("\"}").unwrap().parse().unwrap();
            assert!(bound > last.0 && count >= last.1, "{line} after {last:?}");
            last = (bound, count);
            if bound.is_infinite() {
                let count_of = labels.replacen("_bucket", "_count", 1);
                let count_of = count_of.trim_end_matches(['{', ',']);
                let close = if count_of.contains('{') { "}" } else { "" };
                assert_eq!(self.samples[&format!("{count_of}{close}")], count, "{line}");
                last = (f64::NEG_INFINITY, 0.0);
            }
        }
        assert_eq!(last, (f64::NEG_INFINITY, 0.0), "a histogram without +Inf");
    }

    /// Slotway's own samples that differ, with the difference; what is new counts from zero.
    fn since(&self, before: &Self) -> BTreeMap<&str, f64> {
        let mut moved = BTreeMap::new();
        for (series, value) in &self.samples {
            let by = value - before.samples.get(series).copied().unwrap_or(0.0);
            if by != 0.0 && series.starts_with("slotway_") {
                moved.insert(series.as_str(), by);
            }
        }
        moved
    }
}

fn scrape(metrics: &Metrics) -> Scrape {
    Scrape::parse(&metrics.render().unwrap())
}

/// An event, and what one of it adds to the samples it moves (histograms: count and sum only).
type Case = (fn(&WorkerMetrics), &'static [(&'static str, f64)]);

const WORKER_EVENTS: &[Case] = &[
    (|w| w.session_opened(), &[("slotway_sessions", 1.0), ("slotway_sessions_opened_total", 1.0)]),
    (|w| w.session_closed(), &[("slotway_sessions", -1.0)]),
    (
        |w| w.session_rejected(Rejection::MaxClients),
        &[("slotway_sessions_rejected_total{reason=\"max_clients\"}", 1.0)],
    ),
    (
        |w| w.session_rejected(Rejection::Idle),
        &[("slotway_sessions_rejected_total{reason=\"idle\"}", 1.0)],
    ),
    (
        |w| w.limit_reached(Limit::InFlight),
        &[("slotway_limits_reached_total{limit=\"in_flight\"}", 1.0)],
    ),
    (|w| w.accepting_paused(), &[("slotway_accept_pauses_total", 1.0)]),
    (
        |w| w.rate_waited(500_000),
        &[("slotway_rate_wait_seconds_count", 1.0), ("slotway_rate_wait_seconds_sum", 0.5)],
    ),
    (|w| w.memory_held(5), &[("slotway_client_memory_bytes", 5.0)]),
    (|w| w.blocked(3), &[("slotway_blocked_clients", 3.0)]),
    (|w| w.element_returned(), &[("slotway_returned_elements_total", 1.0)]),
    (|w| w.client_read(7), &[("slotway_client_read_bytes_total", 7.0)]),
    (|w| w.client_written(8), &[("slotway_client_written_bytes_total", 8.0)]),
    (|w| w.node_read(9), &[("slotway_node_read_bytes_total", 9.0)]),
    (|w| w.node_written(10), &[("slotway_node_written_bytes_total", 10.0)]),
    (
        |w| w.request_settled(Family::String, Outcome::Ok, 500_000),
        &[
            ("slotway_requests_total{family=\"string\",outcome=\"ok\"}", 1.0),
            ("slotway_request_duration_seconds_count{family=\"string\"}", 1.0),
            ("slotway_request_duration_seconds_sum{family=\"string\"}", 0.5),
        ],
    ),
    (
        |w| w.request_settled(Family::Other, Outcome::Uncertain, 2_000_000),
        &[
            ("slotway_requests_total{family=\"other\",outcome=\"uncertain\"}", 1.0),
            ("slotway_request_duration_seconds_count{family=\"other\"}", 1.0),
            ("slotway_request_duration_seconds_sum{family=\"other\"}", 2.0),
        ],
    ),
    (
        |w| w.node_settled(250_000),
        &[
            ("slotway_node_duration_seconds_count", 1.0),
            ("slotway_node_duration_seconds_sum", 0.25),
        ],
    ),
    (
        |w| w.request_split(5),
        &[("slotway_request_parts_count", 1.0), ("slotway_request_parts_sum", 5.0)],
    ),
    (|w| w.partial_failure(), &[("slotway_partial_failures_total", 1.0)]),
    (|w| w.request_gathered(), &[("slotway_gathers_total", 1.0)]),
    (|w| w.transaction_spread(), &[("slotway_transactions_spread_total", 1.0)]),
    (|w| w.redirected(Redirect::Moved), &[("slotway_redirects_total{kind=\"moved\"}", 1.0)]),
    (|w| w.redirected(Redirect::ReadOnly), &[("slotway_redirects_total{kind=\"readonly\"}", 1.0)]),
    (|w| w.retried(), &[("slotway_retries_total", 1.0)]),
    (|w| w.held(), &[("slotway_held_requests", 1.0), ("slotway_holds_total", 1.0)]),
    (
        |w| w.released(1_500_000),
        &[
            ("slotway_held_requests", -1.0),
            ("slotway_hold_duration_seconds_count", 1.0),
            ("slotway_hold_duration_seconds_sum", 1.5),
        ],
    ),
    (|w| w.hold_rejected(), &[("slotway_hold_rejections_total", 1.0)]),
    (|w| w.replica_answered(true), &[("slotway_replica_reads_total", 1.0)]),
    (|w| w.replica_answered(false), &[("slotway_replica_fallbacks_total", 1.0)]),
    (|w| w.uncertain(), &[("slotway_uncertain_total", 1.0)]),
    (|w| w.script_brought(), &[("slotway_scripts_brought_total", 1.0)]),
    (
        |w| w.pipeline_opened(),
        &[("slotway_pipelines", 1.0), ("slotway_pipelines_opened_total", 1.0)],
    ),
    (|w| w.pipeline_closed(false), &[("slotway_pipelines", -1.0)]),
    (
        |w| w.pipeline_closed(true),
        &[("slotway_pipelines", -1.0), ("slotway_pipelines_lost_total", 1.0)],
    ),
    (|w| w.connect_failed(), &[("slotway_connect_failures_total", 1.0)]),
    (|w| w.probe_sent(), &[("slotway_probes_total", 1.0)]),
    (|w| w.login_refused(), &[("slotway_node_logins_refused_total", 1.0)]),
    (|w| w.probe_failed(), &[("slotway_probe_failures_total", 1.0)]),
    (|w| w.retries_postponed(), &[("slotway_retries_postponed_total", 1.0)]),
    (|w| w.pending(3), &[("slotway_pending_requests", 3.0)]),
    (|w| w.pending(-2), &[("slotway_pending_requests", -2.0)]),
    (|w| w.acl_denied(), &[("slotway_acl_denials_total", 1.0)]),
    (|w| w.login_failed(), &[("slotway_login_failures_total", 1.0)]),
    (|w| w.subscriptions(2), &[("slotway_subscriptions", 2.0)]),
    (|w| w.subscriptions(-1), &[("slotway_subscriptions", -1.0)]),
    (|w| w.messages_delivered(7), &[("slotway_messages_delivered_total", 7.0)]),
    (|w| w.subscription_interrupted(), &[("slotway_subscription_gaps_total", 1.0)]),
    (
        |w| w.slow_subscriber_rejected(),
        &[
            ("slotway_slow_subscribers_total", 1.0),
            ("slotway_sessions_rejected_total{reason=\"output_limit\"}", 1.0),
        ],
    ),
    (|w| w.leases(2), &[("slotway_leases", 2.0)]),
    (|w| w.tracking_connections(2), &[("slotway_tracking_connections", 2.0)]),
    (|w| w.invalidated(), &[("slotway_invalidations_total", 1.0)]),
    (|w| w.cache_flushed(), &[("slotway_cache_flushes_total", 1.0)]),
    (|w| w.panicked(), &[("slotway_panics_total", 1.0)]),
];

/// As above; each sample also carries the node's label.
type NodeCase = (fn(&NodeMetrics), &'static [(&'static str, f64)]);

const NODE_EVENTS: &[NodeCase] = &[
    (
        |n| n.pipeline_opened(),
        &[("slotway_node_pipelines", 2.0), ("slotway_node_connects_total", 2.0)],
    ),
    (|n| n.pipeline_closed(false), &[("slotway_node_pipelines", -2.0)]),
    (
        |n| n.pipeline_closed(true),
        &[("slotway_node_pipelines", -2.0), ("slotway_node_lost_total", 2.0)],
    ),
    (|n| n.connect_failed(), &[("slotway_node_connect_failures_total", 2.0)]),
    (|n| n.pending(4), &[("slotway_node_pending_requests", 8.0)]),
    (
        |n| n.settled(false, 500_000),
        &[("slotway_node_requests_total", 2.0), ("slotway_node_request_seconds_total", 1.0)],
    ),
    (
        |n| n.settled(true, 0),
        &[("slotway_node_requests_total", 2.0), ("slotway_node_errors_total", 2.0)],
    ),
    // Facts, not sums: they stay 1 when both workers say so.
    (|n| n.set_up(true), &[("slotway_node_up", 1.0)]),
    (|n| n.circuit(Circuit::Open), &[("slotway_node_circuit_open", 1.0)]),
    (
        |n| n.circuit(Circuit::HalfOpen),
        &[("slotway_node_circuit_open", -1.0), ("slotway_node_circuit_half_open", 1.0)],
    ),
    (|n| n.circuit(Circuit::Closed), &[("slotway_node_circuit_half_open", -1.0)]),
];

#[test]
fn an_event_moves_its_series_and_no_other() {
    let metrics = Metrics::new(2).unwrap();
    for (event, expected) in WORKER_EVENTS {
        let before = scrape(&metrics);
        metrics.workers.iter().for_each(|worker| event(worker));
        let after = scrape(&metrics);
        let mut moved = after.since(&before);
        moved.retain(|series, _| !series.contains("_bucket"));
        let expected: BTreeMap<_, _> = expected.iter().map(|&(s, by)| (s, 2.0 * by)).collect();
        assert_eq!(moved, expected);
    }
}

#[test]
fn an_event_of_a_node_moves_that_node_s_series() {
    let metrics = Metrics::new(2).unwrap();
    let nodes: Vec<_> = metrics.workers.iter().map(|w| w.node("10.0.0.1:7000")).collect();
    metrics.worker(0).unwrap().node("10.0.0.2:7000");
    for (event, expected) in NODE_EVENTS {
        let before = scrape(&metrics);
        nodes.iter().for_each(|node| event(node));
        let after = scrape(&metrics);
        let label = "{node=\"10.0.0.1:7000\"}";
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(s, by)| (format!("{s}{label}"), *by)).collect();
        let moved = after.since(&before);
        let moved: BTreeMap<_, _> = moved.into_iter().map(|(s, by)| (s.to_owned(), by)).collect();
        assert_eq!(moved, expected);
    }
}

#[test]
fn every_row_has_an_event() {
    let worker = WORKER_EVENTS.iter().flat_map(|(_, moved)| *moved);
    let node = NODE_EVENTS.iter().flat_map(|(_, moved)| *moved);
    let moved: BTreeSet<&str> = worker
        .chain(node)
        .map(|(series, _)| series.split('{').next().unwrap())
        .map(|name| name.trim_end_matches("_count").trim_end_matches("_sum"))
        .collect();
    let worker_rows = WorkerSeries::ROWS.iter().map(|row| row.name);
    let rows: BTreeSet<&str> =
        worker_rows.chain(NodeSeries::ROWS.iter().map(|row| row.name)).collect();
    assert_eq!(moved, rows);
}

#[test]
fn a_node_is_shown_until_all_workers_forget_it() {
    let metrics = Metrics::new(2).unwrap();
    let (first, second) = (metrics.worker(0).unwrap(), metrics.worker(1).unwrap());
    let up = "slotway_node_up{node=\"[::1]:7000\"}";
    let value = || scrape(&metrics).samples.get(up).copied();
    assert_eq!(value(), None);
    first.node("[::1]:7000").set_up(true);
    second.node("[::1]:7000").set_up(false);
    assert_eq!(value(), Some(1.0), "one worker reaches it");
    first.node("[::1]:7000").set_up(false);
    assert_eq!(value(), Some(0.0));
    first.forget_node("[::1]:7000");
    assert_eq!(value(), Some(0.0));
    second.forget_node("[::1]:7000");
    assert_eq!(value(), None);
}

#[test]
fn control_events_are_shown() {
    let metrics = Metrics::new(3).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let fresh = scrape(&metrics);
    assert_eq!(fresh.samples[&format!("slotway_build_info{{version=\"{version}\"}}")], 1.0);
    assert_eq!(fresh.samples["slotway_workers"], 3.0);

    metrics.topology_refreshed(42, 16_000, 3, 2);
    metrics.topology_refresh_failed();
    metrics.settings_reloaded(true);
    metrics.settings_reloaded(false);
    metrics.settings_reloaded(false);
    metrics.certificates_loaded([("listen.old_file", 7)].into_iter());
    metrics.certificates_loaded([("listen.new_file", 9)].into_iter());
    metrics.sessions_limited(5_000);
    metrics.door().session_rejected(Rejection::MaxClients);
    metrics.ready(true);
    metrics.draining(true);
    let after = scrape(&metrics);
    let mut moved = after.since(&fresh);
    let at = moved.remove("slotway_topology_refreshed_timestamp_seconds").unwrap();
    assert!(at > 1.7e9, "{at} is in seconds since 1970");
    let expected = BTreeMap::from([
        ("slotway_topology_version", 42.0),
        ("slotway_slots_covered", 16_000.0),
        ("slotway_nodes{role=\"primary\"}", 3.0),
        ("slotway_nodes{role=\"replica\"}", 2.0),
        ("slotway_topology_refreshes_total{result=\"ok\"}", 1.0),
        ("slotway_topology_refreshes_total{result=\"error\"}", 1.0),
        ("slotway_settings_reloads_total{result=\"ok\"}", 1.0),
        ("slotway_settings_reloads_total{result=\"error\"}", 2.0),
        ("slotway_certificate_expiry_timestamp_seconds{setting=\"listen.new_file\"}", 9.0),
        ("slotway_sessions_limit", 5_000.0),
        ("slotway_sessions_rejected_total{reason=\"max_clients\"}", 1.0),
        ("slotway_ready", 1.0),
        ("slotway_draining", 1.0),
    ]);
    assert_eq!(moved, expected);
}

#[test]
fn totals_add_up_the_workers() {
    let metrics = Metrics::new(2).unwrap();
    for worker in metrics.workers.iter() {
        worker.session_opened();
        worker.session_opened();
        worker.session_closed();
        worker.session_rejected(Rejection::MaxClients);
        worker.session_rejected(Rejection::Protocol);
        worker.blocked(2);
        worker.blocked(-1);
        worker.client_read(10);
        worker.client_written(20);
        for outcome in Outcome::ALL {
            worker.request_settled(Family::Hash, outcome, 100);
        }
    }
    let mut families = [FamilyTotals::default(); Family::COUNT];
    families[Family::Hash as usize] =
        FamilyTotals { calls: 8, micros: 800, failed: 4, rejected: 2 };
    let totals = Totals {
        connections_received: 4,
        rejected_connections: 2,
        connected_clients: 2,
        blocked_clients: 2,
        commands_processed: 8,
        bytes_in: 20,
        bytes_out: 40,
        families,
    };
    assert_eq!(metrics.totals(), totals);
    let used: Vec<_> = totals.by_family().filter(|(_, f)| f.calls > 0).collect();
    assert_eq!(used, [(Family::Hash, &families[Family::Hash as usize])]);
}

/// Records each value alone and finds it in the first bucket whose bound is not below it.
fn check_buckets<const FIRST: u32, const SLOTS: usize, const UNIT: u32>(
    bounds: &[f64],
    make: fn() -> series::Histogram<FIRST, SLOTS, UNIT>,
) {
    let around = |bit: u32| [(1_u32 << bit) - 1, 1 << bit, (1 << bit) + 1];
    let values = (0..31).flat_map(around).chain([0, 3, 1_000, u32::MAX]);
    for value in values {
        let histogram = make();
        histogram.record(value);
        let shown = f64::from(value) / f64::from(UNIT);
        let samples = series::Histogram::samples(&[&histogram]);
        let sample = samples[0].get_histogram();
        let found: Vec<_> = sample.get_bucket().iter().map(|b| b.upper_bound()).collect();
        assert_eq!(found, bounds);
        for bucket in sample.get_bucket() {
            let expected = u64::from(shown <= bucket.upper_bound());
            assert_eq!(bucket.cumulative_count(), expected, "{value} <= {}", bucket.upper_bound());
        }
        assert_eq!((sample.get_sample_count(), sample.get_sample_sum()), (1, shown));
    }
}

#[test]
fn values_fall_into_the_buckets_that_bound_them() {
    let seconds = [
        0.000016, 0.000032, 0.000064, 0.000128, 0.000256, 0.000512, 0.001024, 0.002048, 0.004096,
        0.008192, 0.016384, 0.032768, 0.065536, 0.131072, 0.262144, 0.524288, 1.048576, 2.097152,
        4.194304, 8.388608, 16.777216,
    ];
    check_buckets(&seconds, Seconds::default);
    check_buckets(&[2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0], Few::default);
}

#[test]
fn a_scrape_while_workers_write_is_consistent_and_ends_exact() {
    const EACH: u32 = 200_000;
    let metrics = Metrics::new(3).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let mut scrapes = 0;
            // At least one scrape, however fast the workers are.
            while scrapes == 0 || !done.load(Relaxed) {
                scrape(&metrics);
                scrapes += 1;
            }
        });
        let writers: Vec<_> = metrics
            .workers
            .iter()
            .map(|worker| {
                scope.spawn(|| {
                    for micros in 0..EACH {
                        worker.request_settled(Family::Set, Outcome::Ok, micros);
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Relaxed);
        scraper.join().unwrap();
    });
    let set = metrics.totals().families[Family::Set as usize];
    assert_eq!(set.calls, 3 * u64::from(EACH));
    assert_eq!(set.micros, 3 * u64::from(EACH) * u64::from(EACH - 1) / 2);
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_is_measured() {
    let text = Metrics::new(1).unwrap().render().unwrap();
    let samples = Scrape::parse(&text).samples;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let ranges = [
        ("process_cpu_seconds_total", 0.0..86_400.0),
        ("process_resident_memory_bytes", 1e6..1e11),
        ("process_virtual_memory_bytes", 1e6..1e14),
        ("process_threads", 1.0..1e4),
        ("process_start_time_seconds", now - 86_400.0..now + 1.0),
        ("process_open_fds", 3.0..1e6),
        ("process_max_fds", 3.0..f64::MAX),
    ];
    for (name, range) in ranges {
        assert!(range.contains(&samples[name]), "{name} is {}", samples[name]);
    }
}

/// The linter of Prometheus itself, where it is installed; `Scrape::parse` is strict as well.
#[test]
fn the_linter_of_prometheus_agrees() {
    let metrics = Metrics::new(1).unwrap();
    metrics.worker(0).unwrap().node("127.0.0.1:7000");
    let text = metrics.render().unwrap();
    Scrape::parse(&text);
    let linter = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut linter) = linter else { return };
    linter.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = linter.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
