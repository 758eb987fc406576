//! What a drill showed, for people and for scripts.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::Change;
use super::seen::{Phases, Seen};

/// Every shard's drill.
#[derive(Debug, Default)]
pub struct Report {
    pub(super) drills: Vec<Drill>,
}

/// One shard's.
#[derive(Debug)]
pub(super) struct Drill {
    pub(super) shard: usize,
    pub(super) slots: Vec<String>,
    /// The primary's address before.
    pub(super) former: String,
    pub(super) change: Change,
    /// Whether the shard has one primary and all its replicas in touch again.
    pub(super) is_whole: bool,
    /// What clients of the shard saw.
    pub(super) drilled: Seen,
    /// What clients of another shard saw.
    pub(super) control: Seen,
}

const PHASES: [&str; 3] = ["before", "during", "after"];

impl Report {
    /// Whether every shard is whole again and no acknowledged write is gone.
    pub fn is_well(&self) -> bool {
        self.drills
            .iter()
            .all(|drill| drill.is_whole && drill.drilled.lost == 0 && drill.control.lost == 0)
    }

    /// The report for people, with a line end.
    pub fn text(&self) -> String {
        self.drills.iter().map(Drill::text).collect()
    }

    /// One JSON object, with a line end. Times are in milliseconds.
    pub fn json(&self) -> String {
        let drills: Vec<Value> = self.drills.iter().map(Drill::json).collect();
        format!("{:#}\n", json!({ "well": self.is_well(), "drills": drills }))
    }
}

impl Drill {
    fn text(&self) -> String {
        let Self { change, former, .. } = self;
        let happened = match (change.event, *former == change.new) {
            ("kill", true) => format!("{former} was killed, and came back"),
            ("kill", false) => format!("{former} was killed, {} took over", change.new),
            _ => format!("{} took over from {former}", change.new),
        };
        let mut text = format!(
            "shard {} (slots {}): {happened}; served again after {}\n",
            self.shard,
            self.slots.join(" "),
            in_millis(change.phases.length()),
        );
        describe(&mut text, "its clients", &self.drilled, change.phases);
        if self.control.count() > 0 {
            describe(&mut text, "another's", &self.control, change.phases);
        }
        if !self.is_whole {
            text += "  its nodes are not all back as one primary and its replicas\n";
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "shard": self.shard,
            "slots": self.slots,
            "event": self.change.event,
            "former_primary": self.former,
            "new_primary": self.change.new,
            "failover_ms": millis(self.change.phases.length()),
            "whole": self.is_whole,
            "shard_clients": clients(&self.drilled, self.change.phases),
            "other_clients": clients(&self.control, self.change.phases),
        })
    }
}

fn describe(text: &mut String, who: &str, seen: &Seen, phases: Phases) {
    let errors: Vec<String> =
        seen.errors.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let errors = if errors.is_empty() { "no errors".to_owned() } else { errors.join(", ") };
    let latencies = seen.latencies(phases);
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "  {who:12} {} requests, {errors}, {} redirections, {} acknowledged writes lost, longest pause {}",
        seen.count(),
        seen.redirects,
        seen.lost,
        in_millis(seen.longest_pause)
    );
    let phases = PHASES.iter().zip(latencies).map(|(phase, latency)| {
        format!("{phase} {} / {}", in_millis(latency.p50), in_millis(latency.p99))
    });
    let _ = writeln!(text, "  {:12} p50 / p99 {}", "", phases.collect::<Vec<_>>().join(", "));
}

fn clients(seen: &Seen, phases: Phases) -> Value {
    let latencies = seen
        .latencies(phases)
        .map(|latency| json!({ "p50_ms": millis(latency.p50), "p99_ms": millis(latency.p99) }));
    let latencies: serde_json::Map<_, _> =
        PHASES.iter().map(|phase| (*phase).to_owned()).zip(latencies).collect();
    json!({
        "requests": seen.count(),
        "errors": seen.errors,
        "redirections": seen.redirects,
        "acknowledged_writes_lost": seen.lost,
        "longest_pause_ms": millis(seen.longest_pause),
        "latency": latencies,
    })
}

/// With three digits behind the point.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

fn in_millis(time: Duration) -> String {
    format!("{:.1} ms", millis(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill() -> Drill {
        let mut drilled = Seen::default();
        drilled.answered(Duration::ZERO, Duration::from_millis(1));
        drilled.failed("CLUSTERDOWN".to_owned());
        drilled.paused(Duration::from_millis(300));
        let phases = Phases { began: Duration::from_secs(1), ended: Duration::from_millis(1250) };
        Drill {
            shard: 1,
            slots: vec!["0-5460".to_owned()],
            former: "a:1".to_owned(),
            change: Change { event: "failover", new: "b:1".to_owned(), phases },
            is_whole: true,
            drilled,
            control: Seen::default(),
        }
    }

    #[test]
    fn it_is_written_for_people_and_for_scripts() {
        let report = Report { drills: vec![drill()] };
        assert!(report.is_well());
        assert_eq!(
            report.text(),
            "shard 1 (slots 0-5460): b:1 took over from a:1; served again after 250.0 ms\n  \
             its clients  1 requests, 1 CLUSTERDOWN, 0 redirections, 0 acknowledged writes lost, longest pause 300.0 ms\n  \
             \u{20}            p50 / p99 before 1.0 ms / 1.0 ms, during 0.0 ms / 0.0 ms, after 0.0 ms / 0.0 ms\n"
        );
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["drills"][0]["failover_ms"], 250.0);
        assert_eq!(json["drills"][0]["shard_clients"]["errors"]["CLUSTERDOWN"], 1);
        assert_eq!(json["drills"][0]["shard_clients"]["latency"]["before"]["p50_ms"], 1.0);
    }

    #[test]
    fn a_lost_write_is_not_well() {
        let mut drill = drill();
        drill.drilled.lost = 1;
        assert!(!Report { drills: vec![drill] }.is_well());
    }
}
