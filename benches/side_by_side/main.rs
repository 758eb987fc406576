//! slotway beside Envoy, HAProxy and nutcracker: one command, the same load through each of them.
//!
//! ```text
//! options          what to measure
//! nodes, peers     a real cluster, and a proxy of each kind before it
//! loads, exchange  what is sent, and what must come back
//! generator, talk  one measurement, so is idle; wire is how its clients connect
//! greed            a client that leaves nothing to others
//! cpu              what it cost, as the operating system counts
//! report           medians and ratios, as a table and as JSON
//! pictures, charts what of it is drawn, and how
//! curves           what a unit of work costs as there is more of it
//! ```
//!
//! How like is compared with like is written in `benches/README.md`.

mod charts;
mod cpu;
mod curves;
mod exchange;
mod generator;
mod greed;
#[path = "../../tests/e2e/harness/mod.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "written for tests, of which only the fake nodes are used here"
)]
mod harness;
mod idle;
mod loads;
mod nodes;
mod options;
mod peers;
mod pictures;
mod process;
mod report;
mod run;
mod sizing;
mod talk;
mod wait;
mod wire;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;

use crate::cpu::Cores;
use crate::loads::described;
use crate::options::Options;
use crate::peers::{Name, Program};
use crate::report::{Measurement, Report};

/// Where `--write-results` writes.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/RESULTS.md");
const CURVES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/CURVES.md");
const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/charts");
/// Sizes for people who run it.
const PRODUCTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/PRODUCTION.md");

fn main() -> Result<()> {
    let options = Options::parse();
    if options.list {
        return described().try_for_each(|(name, text)| say(&format!("{name:<15} {text}")));
    }
    if !options.bench {
        return say("This measures; run it with: cargo bench --bench side_by_side -- --help");
    }
    ensure!(options.rounds > 0 && options.seconds > 0.0, "nothing to measure in no time");
    if options.curves {
        return grow(&options);
    }
    let report = match &options.from {
        Some(file) => Report::read(file)?,
        None => measure(&options)?,
    };
    say(&format!("\n{}", report.plain()))?;
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if options.write_results {
        write(&report.markdown())?;
        draw(&report)?;
    }
    Ok(())
}

fn measure(options: &Options) -> Result<Report> {
    wait::watch_signals()?;
    let cores = Cores::divide(options.pin)?;
    cores.keep_off_proxies()?;
    let server = Program::find(Name::Direct, &options.server);
    let server = server.with_context(|| missing(options, Name::Direct))?;
    let programs = find(options)?;
    let measurements = run::rounds(options, cores, &programs)?;
    let about = about(options, cores, &server, &programs, &measurements);
    Ok(Report::new(about, options.base, measurements))
}

/// Cost as work grows.
fn grow(options: &Options) -> Result<()> {
    wait::watch_signals()?;
    let cores = Cores::divide(options.pin)?;
    cores.keep_off_proxies()?;
    let find =
        |name| Program::find(name, options.program(name)).with_context(|| missing(options, name));
    let (server, program) = (find(Name::Direct)?, find(Name::Slotway)?);
    let curves = run::curves(options, cores, &program)?;
    let text = curves::markdown(&about(options, cores, &server, &[program], &[]), &curves);
    say(&format!("\n{text}"))?;
    if options.write_results {
        std::fs::write(CURVES, text).context("cannot write the curves")?;
    }
    Ok(())
}

fn draw(report: &Report) -> Result<()> {
    std::fs::create_dir_all(CHARTS)?;
    for (name, picture) in pictures::all(report) {
        let file = Path::new(CHARTS).join(format!("{name}.svg"));
        std::fs::write(&file, picture).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Into both pages that show them.
fn write(results: &str) -> Result<()> {
    std::fs::write(RESULTS, results).context("cannot write the results")?;
    let page = std::fs::read_to_string(PRODUCTION)?;
    let page = sizing::with_figures(&page, results).map_err(anyhow::Error::msg)?;
    std::fs::write(PRODUCTION, page).context("cannot write the sizes")
}

/// The wanted peers that are installed. What is missing is named with its cure.
fn find(options: &Options) -> Result<Vec<Program>> {
    let mut programs = vec![];
    for name in &options.peers {
        match Program::find(*name, options.program(*name)) {
            Some(program) => programs.push(program),
            None if options.require => bail!(missing(options, *name)),
            None => say(&format!("left out: {}", missing(options, *name)))?,
        }
    }
    Ok(programs)
}

fn missing(options: &Options, name: Name) -> String {
    let path = options.program(name).display();
    format!("{} cannot be started as {path}; install it: {}", name.word(), name.cure())
}

/// What a reader must know to judge the figures.
fn about(
    options: &Options,
    cores: Cores,
    server: &Program,
    programs: &[Program],
    measurements: &[Measurement],
) -> BTreeMap<String, String> {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let date = date.map(|output| output.stdout).unwrap_or_default();
    let date = String::from_utf8_lossy(&date).trim().to_owned();
    let cpu = wait::read("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']);
    let division = if cores.divided() {
        "the proxies on one, the generator and the nodes on the rest"
    } else {
        "shared by everything"
    };
    let mut about = vec![
        ("date", date),
        ("kernel", kernel()),
        ("cores", format!("{} ({model}), {division}", cores.count())),
        ("rounds", format!("{} of {} s each", options.rounds, options.seconds)),
        ("nodes", server.version.clone()),
        ("other work on the machine", report::others(measurements)),
    ];
    for program in programs.iter().filter(|program| program.name != Name::Direct) {
        about.push((program.name.word(), program.version.clone()));
    }
    if cfg!(debug_assertions) {
        about.push(("warning", "built without optimisation: the figures mean nothing".to_owned()));
    }
    about.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The kernel's version, without what its builder called it.
fn kernel() -> String {
    let release = wait::read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let number = release.trim().split('-').next().unwrap_or_default();
    format!("Linux {number}")
}

/// One line for the user, at once.
fn say(line: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}
