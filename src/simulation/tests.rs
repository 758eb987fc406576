use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use tracing::Level;

use super::{Report, Schedule, run};

/// Seeds that a plain test run tries.
const SEEDS: u64 = 1_000;
/// Seeds beyond those, which have found faults: of the gateway, and the last one of the ledger.
const FOUND: [u64; 4] = [1_932, 3_145, 9_739, 10_699];
/// Runs that may be spent on finding a shorter schedule with a fault.
const SHORTENING: usize = 400;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

/// The same fault, or another, in fewer steps.
fn shorten(mut schedule: Schedule, mut report: Report) -> (Schedule, Report) {
    let mut left = SHORTENING;
    'shorter: loop {
        for next in schedule.shorter() {
            if left == 0 {
                break 'shorter;
            }
            left -= 1;
            let outcome = run(&next);
            if outcome.fault.is_some() {
                (schedule, report) = (next, outcome);
                continue 'shorter;
            }
        }
        break;
    }
    (schedule, report)
}

fn check(seed: u64) -> Report {
    let schedule = Schedule::of(seed);
    let report = run(&schedule);
    if let Some(fault) = &report.fault {
        let fault = fault.clone();
        let (short, report) = shorten(schedule, report);
        let short_fault = report.fault.unwrap_or_default();
        panic!("SLOTWAY_SEED={seed}: {fault}\nshortened: {short_fault}\n{short:#?}");
    }
    report
}

/// Shows what happens, step by step.
fn trace(seed: u64) {
    let short = match run(&Schedule::of(seed)) {
        Report { fault: None, .. } => Schedule::of(seed),
        report => shorten(Schedule::of(seed), report).0,
    };
    let shown = tracing_subscriber::fmt().with_max_level(Level::DEBUG).without_time();
    let report = tracing::subscriber::with_default(shown.finish(), || run(&short));
    assert_eq!(report.fault, None, "{short:#?}");
}

#[test]
fn promises_hold_in_every_order_of_events() {
    if let Some(seed) = number("SLOTWAY_SEED") {
        return trace(seed);
    }
    let seeds = number("SLOTWAY_SIMULATIONS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let [requests, uncertain, refused, elsewhere] = [(); 4].map(|()| AtomicUsize::new(0));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let left =
                    || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds);
                while let Some(seed) = left() {
                    let report = check(seed);
                    requests.fetch_add(report.requests, Ordering::Relaxed);
                    uncertain.fetch_add(report.uncertain, Ordering::Relaxed);
                    refused.fetch_add(report.refused, Ordering::Relaxed);
                    elsewhere.fetch_add(report.elsewhere, Ordering::Relaxed);
                }
            });
        }
    });
    println!(
        "{seeds} runs: {requests:?} requests, {uncertain:?} uncertain, {refused:?} refused, \
         {elsewhere:?} answered by replicas"
    );
    assert!([uncertain, requests, elsewhere].into_iter().all(|count| count.into_inner() > 0));
}

#[test]
fn what_was_found_stays_mended() {
    for seed in FOUND {
        check(seed);
    }
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in 0..20 {
        let schedule = Schedule::of(seed);
        assert_eq!(run(&schedule), run(&schedule), "SLOTWAY_SEED={seed}");
    }
}
