//! The fault harness: a real cluster behind a real gateway, a load of many clients, and one thing after the other that
//! goes wrong. What every client was told is written down and checked.
//!
//! `cargo test --test faults -- --list` names the scenarios, `README.md` beside this file says what is checked.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test shows what it saw")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests block, wait and share as they like"
)]

mod clock;
mod figures;
mod happenings;
#[path = "../e2e/harness/mod.rs"]
mod harness;
#[allow(dead_code, unused_imports, reason = "its tests are run by `checkers.rs`")]
mod history;
mod judgement;
mod load;
mod names;
mod network;
mod options;
mod report;
mod run;
mod scenario;
mod stage;
mod tamper;
mod witness;

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use options::Options;
use report::Verdict;
use scenario::{SCENARIOS, Scenario};

fn main() -> ExitCode {
    let options = Options::new();
    if options.list {
        for Scenario { name, about, shows, .. } in SCENARIOS {
            println!("{name:16} {about}\n{:16} must show: {shows}", "");
        }
        return ExitCode::SUCCESS;
    }
    let scenarios = match options.scenarios() {
        Ok(scenarios) => scenarios,
        Err(name) => {
            eprintln!("no scenario is called {name}: see --list");
            return ExitCode::from(2);
        }
    };
    let wants_network = scenarios.iter().any(|scenario| scenario.ground.has_network);
    let no_network = if wants_network && !network::is_inside() { network::why_not() } else { None };
    if wants_network && !network::is_inside() && no_network.is_none() {
        eprintln!("cannot have a network of its own: {}", network::enter());
        return ExitCode::FAILURE;
    }
    if network::is_inside() {
        network::prepare();
    }
    let mut verdicts = Vec::new();
    for scenario in scenarios {
        println!("{}: {}", scenario.name, scenario.about);
        let verdict = match &no_network {
            Some(why) if scenario.ground.has_network => {
                Verdict::Skipped(format!("it needs a network of its own: {why}"))
            }
            _ => play(scenario, &options),
        };
        print!("{}", verdict.told());
        verdicts.push((scenario, verdict));
    }
    let table = report::table(&verdicts);
    println!("\n{table}");
    if let Some(path) = &options.write {
        std::fs::write(path, &table).unwrap();
    }
    let is_good = verdicts.iter().all(|(_, verdict)| verdict.is_good());
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One scenario that comes to no end leaves the others alone.
fn play<'a>(scenario: &Scenario, options: &'a Options) -> Verdict<'a> {
    let played = panic::catch_unwind(AssertUnwindSafe(|| run::play(scenario, options)));
    match played {
        Ok(outcome) => {
            let faults = [outcome.faults.clone(), (scenario.judge)(&outcome)].concat();
            Verdict::Played(Box::new(outcome), faults)
        }
        Err(panic) => Verdict::Broken(words(&*panic)),
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
