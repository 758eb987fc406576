//! What a unit of work costs as there is more of it, and whether the whole grows faster than the work.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Beyond this exponent the whole grows faster than the work. Above 1 by what caches and timers account for.
const LINEAR: f64 = 1.15;
/// The exponent is that of so many of the largest steps: before them, fixed costs hide it.
const FITTED: usize = 3;

/// One kind of work.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    /// What there is more of with each step.
    pub(crate) of: &'static str,
    /// What one cost is for.
    pub(crate) unit: &'static str,
    pub(crate) steps: Vec<Step>,
}

/// Several measurements of one size.
pub(crate) struct Step {
    pub(crate) size: u64,
    /// CPU time of the proxy for a unit of work, in microseconds.
    pub(crate) costs: Vec<f64>,
}

impl Step {
    fn cost(&self) -> f64 {
        let mut costs = self.costs.clone();
        costs.sort_unstable_by(f64::total_cmp);
        costs.get(costs.len() / 2).copied().unwrap_or_default()
    }
}

impl Curve {
    /// `e`, where the whole costs as much as the size to the power of `e`: 1 is linear. Least squares through the
    /// logarithms of the last steps.
    pub(crate) fn exponent(&self) -> Option<f64> {
        let last = self.steps.split_at(self.steps.len().saturating_sub(FITTED)).1;
        let points: Vec<(f64, f64)> = last
            .iter()
            .filter(|step| step.cost() > 0.0)
            .map(|step| ((step.size as f64).ln(), (step.size as f64 * step.cost()).ln()))
            .collect();
        let count = points.len() as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let (x, y) = (x / count, y / count);
        let over: f64 = points.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
        let under: f64 = points.iter().map(|it| (it.0 - x).powi(2)).sum();
        (under > 0.0).then(|| over / under)
    }

    fn verdict(&self) -> &'static str {
        match self.exponent() {
            Some(exponent) if exponent <= LINEAR => "linear or better",
            Some(_) => "**worse than linear**",
            None => "too few steps",
        }
    }
}

/// A table for each curve, with what it was measured on.
pub(crate) fn markdown(about: &BTreeMap<String, String>, curves: &[Curve]) -> String {
    let mut text = String::from("# Cost as work grows\n\n");
    for (name, value) in about.iter().filter(|(_, value)| *value != "unknown") {
        let _ = writeln!(text, "* {name}: {value}");
    }
    text += "\nCPU time of slotway, one worker, for a unit of work; medians. The exponent is that of the whole: 1.00 is \
             linear. [README.md](README.md) says how it is measured.\n";
    for curve in curves {
        let _ = write!(text, "\n## {}\n\n| {} |", curve.name, curve.of);
        curve.steps.iter().for_each(|step| text += &format!(" {} |", size(step.size)));
        let _ = write!(text, "\n|---|{}", "---:|".repeat(curve.steps.len()));
        let _ = write!(text, "\n| us for each {} |", curve.unit);
        curve.steps.iter().for_each(|step| text += &format!(" {} |", cost(step.cost())));
        let exponent = curve.exponent().map_or("none".to_owned(), |it| format!("{it:.2}"));
        let _ = writeln!(text, "\n\nExponent {exponent}: {}.", curve.verdict());
    }
    text
}

/// Powers of two by their name, others in groups of three digits.
fn size(size: u64) -> String {
    match size {
        0..1_000 => size.to_string(),
        _ if size.is_multiple_of(1 << 20) => format!("{} Mi", size >> 20),
        _ if size.is_multiple_of(1 << 10) => format!("{} Ki", size >> 10),
        _ => format!("{},{:03}", size / 1_000, size % 1_000),
    }
}

fn cost(cost: f64) -> String {
    match cost {
        _ if cost >= 100.0 => format!("{cost:.0}"),
        _ if cost >= 1.0 => format!("{cost:.2}"),
        _ => format!("{cost:.4}"),
    }
}
