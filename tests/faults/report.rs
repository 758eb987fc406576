//! The table of results.

use std::fmt::Write as _;
use std::time::Duration;

use crate::figures::kinds;
use crate::history::{Fault, Moment};
use crate::run::Outcome;
use crate::scenario::Scenario;

/// What became of a scenario.
pub(crate) enum Verdict<'a> {
    Played(Box<Outcome<'a>>, Vec<Fault>),
    /// It came to no end, and why.
    Broken(String),
    /// The machine lacks something.
    Skipped(String),
}

impl Verdict<'_> {
    pub(crate) fn is_good(&self) -> bool {
        match self {
            Self::Played(_, faults) => faults.is_empty(),
            Self::Broken(_) => false,
            Self::Skipped(_) => true,
        }
    }

    /// What happened and what was found, for whoever watches.
    pub(crate) fn told(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Played(outcome, faults) => {
                for blow in &outcome.blows {
                    let took = time(blow.served - blow.begin);
                    let _ = writeln!(
                        text,
                        "    at {}: {} (the cluster: {took})",
                        time(blow.begin),
                        blow.what
                    );
                }
                if let Some(asked) = outcome.pauses.of {
                    let (pause, sent) = (time(outcome.pauses.beyond), time(asked.span.sent));
                    let _ = writeln!(text, "    longest pause: {pause}, of {asked:?} at {sent}");
                }
                for (kind, count) in kinds(&outcome.journal) {
                    let _ = writeln!(text, "    {count} x {kind}");
                }
                for fault in faults {
                    let _ = writeln!(text, "    FAULT {fault}");
                }
            }
            Self::Broken(why) => {
                let _ = writeln!(text, "    FAULT {why}");
            }
            Self::Skipped(why) => {
                let _ = writeln!(text, "    skipped: {why}");
            }
        }
        text
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Played(_, faults) if faults.is_empty() => "holds",
            Self::Played(..) | Self::Broken(_) => "FAILS",
            Self::Skipped(_) => "skipped",
        }
    }
}

const HEAD: &str = "\
| Scenario | | Requests | Errors by kind | Longest pause | ..beyond the cluster's own | Retried | Held | Uncertain | Messages missed | Most memory |
|---|---|---|---|---|---|---|---|---|---|---|
";

pub(crate) fn table(verdicts: &[(&Scenario, Verdict<'_>)]) -> String {
    let mut table = HEAD.to_owned();
    for (scenario, verdict) in verdicts {
        let _ = write!(table, "| {} | {} |", scenario.name, verdict.word());
        if let Verdict::Played(outcome, _) = verdict {
            table.push_str(&row(outcome));
        } else {
            table.push_str(&" |".repeat(9));
        }
        table.push('\n');
    }
    table
}

fn row(outcome: &Outcome<'_>) -> String {
    let errors: Vec<String> =
        kinds(&outcome.journal).iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let errors = if errors.is_empty() { "none".to_owned() } else { errors.join(", ") };
    let beyond =
        if outcome.pauses.beyond == 0 { "-".to_owned() } else { time(outcome.pauses.beyond) };
    let count = |name| outcome.counted.get(name);
    format!(
        " {} | {errors} | {} | {beyond} | {} | {} | {} | {} | {} MiB |",
        outcome.journal.asked.len(),
        time(outcome.pauses.longest),
        count("retried"),
        count("held"),
        count("uncertain"),
        outcome.missed,
        outcome.weight.most() >> 20,
    )
}

fn time(moment: Moment) -> String {
    let time = Duration::from_micros(moment);
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
