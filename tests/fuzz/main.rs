//! Random bytes, shaped like the protocol, ACL rules or settings and then damaged, against the parsers.
//!
//! Each target runs for `SLOTWAY_FUZZ_SECONDS` (2 by default) from a seed of the moment. A failure
//! prints the seed of its round; `SLOTWAY_FUZZ_SEED` runs that round alone.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic and print"
)]

mod proxied;
mod random;
mod replies;
mod requests;
mod rules;
mod settings;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use random::Random;

/// Runs rounds of a target until its time is up.
fn run(target: &str, round: impl Fn(&mut Random)) {
    if let Some(seed) = number("SLOTWAY_FUZZ_SEED") {
        return round(&mut Random::new(seed));
    }
    let seconds = number("SLOTWAY_FUZZ_SECONDS").unwrap_or(2);
    let start = SystemTime::now();
    let mut seed = start.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let mut rounds = 0_u64;
    while rounds == 0 || start.elapsed().is_ok_and(|time| time < Duration::from_secs(seconds)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| round(&mut Random::new(seed)))) {
            println!("{target}: run again with SLOTWAY_FUZZ_SEED={seed}");
            resume_unwind(panic);
        }
        seed = seed.wrapping_add(1);
        rounds += 1;
    }
    println!("{target}: {rounds} rounds");
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}

#[test]
fn requests_in_pieces() {
    run("requests_in_pieces", requests::in_pieces);
}

#[test]
fn requests_as_sent() {
    run("requests_as_sent", requests::as_sent);
}

#[test]
fn inline_requests_as_sent() {
    run("inline_requests_as_sent", requests::inline_as_sent);
}

#[test]
fn proxy_headers_as_sent() {
    run("proxy_headers_as_sent", proxied::as_sent);
}

#[test]
fn replies_in_pieces() {
    run("replies_in_pieces", replies::in_pieces);
}

#[test]
fn replies_as_sent() {
    run("replies_as_sent", replies::as_sent);
}

#[test]
fn rules_as_given() {
    run("rules_as_given", rules::as_given);
}

#[test]
fn rules_in_files() {
    run("rules_in_files", rules::in_files);
}

#[test]
fn settings_in_files() {
    run("settings_in_files", settings::in_files);
}
