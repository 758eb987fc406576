//! The findings, for people and for scripts.

use std::fmt::Write;

use serde_json::json;

use super::facts::Facts;
use super::{Finding, Severity};

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text, with colours if wanted.
    Text {
        /// Whether it is read on a terminal.
        colours: bool,
    },
    /// One JSON object.
    Json,
}

/// All that was found, the worst first.
#[derive(Debug)]
pub struct Report {
    findings: Vec<Finding>,
    nodes: usize,
    unreachable: usize,
}

impl Report {
    pub(super) fn new(facts: &Facts, mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|one, other| {
            (one.severity, one.check, &one.node).cmp(&(other.severity, other.check, &other.node))
        });
        Self { findings, nodes: facts.nodes.len(), unreachable: facts.unreachable.len() }
    }

    /// What was found, the worst first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether nothing is worse than advice.
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Advice)
    }

    /// The report, with a line end.
    pub fn write(&self, form: Form) -> String {
        match form {
            Form::Text { colours } => self.text(colours),
            Form::Json => self.json(),
        }
    }

    fn text(&self, colours: bool) -> String {
        let mut text = String::new();
        for Finding { severity, check, node, what, cause, cure } in &self.findings {
            let (before, after) = if colours { (colour(*severity), "\x1b[0m") } else { ("", "") };
            let place = if node.is_empty() { "cluster" } else { node };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{before}{}{after} {place}: {what} [{check}]", severity.name());
            let _ = writeln!(text, "  cause: {cause}\n  cure:  {cure}");
        }
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    fn summary(&self) -> String {
        let count =
            |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        format!(
            "{} nodes asked, {} unreachable: {} critical, {} warnings, {} pieces of advice",
            self.nodes,
            self.unreachable,
            count(Severity::Critical),
            count(Severity::Warning),
            count(Severity::Advice),
        )
    }

    fn json(&self) -> String {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "severity": finding.severity.name(),
                "check": finding.check,
                "node": finding.node,
                "what": finding.what,
                "cause": finding.cause,
                "cure": finding.cure,
            })
        });
        let report = json!({
            "well": self.is_well(),
            "nodes": self.nodes,
            "unreachable": self.unreachable,
            "findings": findings.collect::<Vec<_>>(),
        });
        format!("{report:#}\n")
    }
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "\x1b[1;31m",
        Severity::Warning => "\x1b[33m",
        Severity::Advice => "\x1b[36m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, node: &str) -> Finding {
        Finding {
            severity,
            check: "check",
            node: node.to_owned(),
            what: "what".to_owned(),
            cause: "cause".to_owned(),
            cure: "cure".to_owned(),
        }
    }

    #[test]
    fn the_worst_comes_first() {
        let found = vec![finding(Severity::Advice, "a:1"), finding(Severity::Critical, "")];
        let report = Report::new(&Facts::default(), found);
        assert!(!report.is_well());
        assert_eq!(
            report.write(Form::Text { colours: false }),
            "critical cluster: what [check]\n  cause: cause\n  cure:  cure\n\
             advice a:1: what [check]\n  cause: cause\n  cure:  cure\n\
             0 nodes asked, 0 unreachable: 1 critical, 0 warnings, 1 pieces of advice\n"
        );
        assert!(
            report.write(Form::Text { colours: true }).starts_with("\x1b[1;31mcritical\x1b[0m")
        );
        let json: serde_json::Value = serde_json::from_str(&report.write(Form::Json)).unwrap();
        assert_eq!(json["well"], false);
        assert_eq!(json["findings"][1]["node"], "a:1");
    }

    #[test]
    fn advice_alone_is_no_reason_to_worry() {
        let report = Report::new(&Facts::default(), vec![finding(Severity::Advice, "a:1")]);
        assert!(report.is_well());
    }
}
