//! Measurements to medians and ratios, as a table for people and as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::loads::{CALM, LOADS, Placement, described};
use crate::peers::Name;

/// The figures of one measurement, or the medians of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p999_us: Option<f64>,
    /// The 99th percentile beside a greedy client, divided by that of `calm` in the same round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_growth: Option<f64>,
    /// CPU time of the least busy worker thread, divided by that of the busiest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evenness: Option<f64>,
    /// CPU time of the proxy for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proxy_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proxy_user_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proxy_system_us: Option<f64>,
    /// CPU time of all nodes together for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nodes_us: Option<f64>,
    /// CPU time of the load generator for each request: what the measuring itself costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generator_us: Option<f64>,
    /// Share of the machine's CPU time that went to nobody of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) others_share: Option<f64>,
    /// Median latency above that of clients without a proxy in the same round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) added_p50_us: Option<f64>,
    /// Resident memory of the proxy for each idle connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kib_per_connection: Option<f64>,
    /// Connections to all nodes together, at the end of the measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node_connections: Option<f64>,
}

/// A field of [`Figures`]: how it is read and where it is written.
type Field = (fn(&Figures) -> Option<f64>, fn(&mut Figures) -> &mut Option<f64>);

const FIELDS: &[Field] = &[
    (|it| it.requests_per_second, |it| &mut it.requests_per_second),
    (|it| it.p50_us, |it| &mut it.p50_us),
    (|it| it.p99_us, |it| &mut it.p99_us),
    (|it| it.p999_us, |it| &mut it.p999_us),
    (|it| it.p99_growth, |it| &mut it.p99_growth),
    (|it| it.evenness, |it| &mut it.evenness),
    (|it| it.proxy_us, |it| &mut it.proxy_us),
    (|it| it.proxy_user_us, |it| &mut it.proxy_user_us),
    (|it| it.proxy_system_us, |it| &mut it.proxy_system_us),
    (|it| it.nodes_us, |it| &mut it.nodes_us),
    (|it| it.generator_us, |it| &mut it.generator_us),
    (|it| it.others_share, |it| &mut it.others_share),
    (|it| it.added_p50_us, |it| &mut it.added_p50_us),
    (|it| it.kib_per_connection, |it| &mut it.kib_per_connection),
    (|it| it.node_connections, |it| &mut it.node_connections),
];

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) load: String,
    pub(crate) keys: Placement,
    pub(crate) peer: Name,
    pub(crate) round: usize,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// All rounds of one load through one peer.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) load: String,
    pub(crate) keys: Placement,
    pub(crate) peer: Name,
    rounds: usize,
    #[serde(flatten)]
    pub(crate) medians: Figures,
    /// The base's figures divided by this peer's, round by round, and the median of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<Figures>,
    /// The lowest and the highest CPU time of the proxy for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_us_range: Option<(f64, f64)>,
}

/// What was measured where, and all of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The machine, the versions, the settings of the run.
    pub(crate) about: BTreeMap<String, String>,
    /// Whose figures are divided by the others'.
    pub(crate) base: Name,
    pub(crate) summaries: Vec<Summary>,
    pub(crate) measurements: Vec<Measurement>,
}

/// What of a report cannot be computed again.
#[derive(Deserialize)]
struct Recorded {
    about: BTreeMap<String, String>,
    base: Name,
    measurements: Vec<Measurement>,
}

impl Report {
    /// Draws the medians and ratios.
    pub(crate) fn new(
        about: BTreeMap<String, String>,
        base: Name,
        mut measurements: Vec<Measurement>,
    ) -> Self {
        add_latencies(&mut measurements);
        add_growth(&mut measurements);
        let mut groups: BTreeMap<(usize, Placement, Name), Vec<&Measurement>> = BTreeMap::new();
        for it in &measurements {
            let place = described().position(|(name, _)| name == it.load).unwrap_or(usize::MAX);
            groups.entry((place, it.keys, it.peer)).or_default().push(it);
        }
        let summaries = groups
            .iter()
            .filter_map(|((place, keys, peer), group)| {
                let of_base = groups.get(&(*place, *keys, base)).filter(|_| *peer != base);
                Summary::new(group, of_base.map(Vec::as_slice))
            })
            .collect();
        Self { about, base, summaries, measurements }
    }

    /// What an earlier run wrote as JSON.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let name = || file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(name)?;
        let Recorded { about, base, measurements } =
            serde_json::from_str(&text).with_context(name)?;
        Ok(Self::new(about, base, measurements))
    }

    /// The table with columns in line, for a terminal.
    pub(crate) fn plain(&self) -> String {
        let rows = self.rows();
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0)
        };
        let mut text = String::new();
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                let width = width(column);
                match column {
                    0..3 => text += &format!("{cell:<width$}  "),
                    _ => text += &format!("{cell:>width$}  "),
                }
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }

    /// The same in Markdown, with what it was measured on.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# The last full run\n\n");
        for (name, value) in &self.about {
            text += &format!("* {name}: {value}\n");
        }
        text += "\nWhat each column means is in [README.md](README.md).\n\n";
        let mut rows = self.rows().into_iter();
        let head = rows.next().unwrap_or_default();
        text += &format!("| {} |\n", head.join(" | "));
        text += &format!("|{}{}\n", "---|".repeat(3), "---:|".repeat(head.len() - 3));
        rows.for_each(|row| text += &format!("| {} |\n", row.join(" | ")));
        text += "\nThe loads:\n\n";
        for (name, description) in described().filter(|(name, _)| self.has(name)) {
            text += &format!("* {name}: {description}\n");
        }
        text
    }

    fn has(&self, load: &str) -> bool {
        self.summaries.iter().any(|it| it.load == load)
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let base = self.base.word();
        let share = format!("{base}/peer");
        let head = [
            "load",
            "keys",
            "peer",
            "req/s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "p99/calm",
            "added p50",
            "proxy us",
            "user",
            "system",
            &share,
            "nodes us",
            &share,
            "KiB/conn",
            &share,
            "node conns",
            "evenness",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.summaries.iter().map(Summary::row));
        without_empty_columns(&rows)
    }
}

impl Summary {
    fn new(group: &[&Measurement], base: Option<&[&Measurement]>) -> Option<Self> {
        let first = group.first()?;
        let all: Vec<Figures> = group.iter().map(|it| it.figures).collect();
        let ratios: Vec<Figures> = group
            .iter()
            .filter_map(|it| Some((it, base?.iter().find(|base| base.round == it.round)?)))
            .map(|(it, base)| divided(&base.figures, &it.figures))
            .collect();
        let costs = || all.iter().filter_map(|it| it.proxy_us);
        Some(Self {
            load: first.load.clone(),
            keys: first.keys,
            peer: first.peer,
            rounds: group.len(),
            medians: medians(&all),
            ratio: (!ratios.is_empty()).then(|| medians(&ratios)),
            proxy_us_range: costs().reduce(f64::min).zip(costs().reduce(f64::max)),
        })
    }

    fn row(&self) -> Vec<String> {
        let (it, ratio) = (self.medians, self.ratio.unwrap_or_default());
        let number = |value: Option<f64>, decimals: usize| {
            value.map(|value| format!("{value:.decimals$}")).unwrap_or_default()
        };
        vec![
            self.load.clone(),
            self.keys.word().to_owned(),
            self.peer.word().to_owned(),
            number(it.requests_per_second, 0),
            number(it.p50_us, 0),
            number(it.p99_us, 0),
            number(it.p999_us, 0),
            number(it.p99_growth, 2),
            number(it.added_p50_us, 0),
            number(it.proxy_us, 2),
            number(it.proxy_user_us, 2),
            number(it.proxy_system_us, 2),
            number(ratio.proxy_us, 2),
            number(it.nodes_us, 2),
            number(ratio.nodes_us, 2),
            number(it.kib_per_connection, 2),
            number(ratio.kib_per_connection, 2),
            number(it.node_connections, 0),
            number(it.evenness, 2),
        ]
    }
}

/// For one client at a time, what a peer adds to the latency without one. With many clients the
/// median says how busy the machine is, not how long the way.
fn add_latencies(measurements: &mut [Measurement]) {
    let lonely = |name: &str| LOADS.iter().any(|load| load.name == name && load.clients == 1);
    let direct: BTreeMap<(String, usize), f64> = measurements
        .iter()
        .filter(|it| it.peer == Name::Direct && lonely(&it.load))
        .filter_map(|it| Some(((it.load.clone(), it.round), it.figures.p50_us?)))
        .collect();
    for it in measurements.iter_mut().filter(|it| it.peer != Name::Direct) {
        let direct = direct.get(&(it.load.clone(), it.round));
        it.figures.added_p50_us = it.figures.p50_us.zip(direct).map(|(p50, direct)| p50 - direct);
    }
}

/// What a greedy client does to the others of the same peer, round by round.
fn add_growth(measurements: &mut [Measurement]) {
    let calm: BTreeMap<(Name, usize), f64> = measurements
        .iter()
        .filter(|it| it.load == CALM)
        .filter_map(|it| Some(((it.peer, it.round), it.figures.p99_us?)))
        .collect();
    for it in measurements.iter_mut().filter(|it| it.load.starts_with("beside-")) {
        let calm = calm.get(&(it.peer, it.round));
        it.figures.p99_growth = it.figures.p99_us.zip(calm).map(|(p99, calm)| p99 / calm);
    }
}

/// Loads that were not run leave columns without a figure.
fn without_empty_columns(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    let (_, figures) = rows.split_at(rows.len().min(1));
    let is_used = |column: usize| {
        figures.iter().any(|row| row.get(column).is_some_and(|cell| !cell.is_empty()))
    };
    let narrow = |row: &Vec<String>| {
        let cells = row.iter().enumerate().filter(|(column, _)| is_used(*column));
        cells.map(|(_, cell)| cell.clone()).collect()
    };
    rows.iter().map(narrow).collect()
}

/// How much the machine did beside the measurements: what a reader must know to trust them.
pub(crate) fn others(measurements: &[Measurement]) -> String {
    let mut shares: Vec<f64> =
        measurements.iter().filter_map(|it| it.figures.others_share).collect();
    shares.sort_unstable_by(f64::total_cmp);
    let most = shares.last().copied();
    let Some((median, most)) = median(shares).zip(most) else { return "unknown".to_owned() };
    let (percent, most) = (median * 100.0, most * 100.0);
    let verdict = if percent > 5.0 { ": too much for figures to be kept" } else { "" };
    format!("{percent:.1} % of its CPU time in the median, {most:.1} % at most{verdict}")
}

fn divided(base: &Figures, peer: &Figures) -> Figures {
    let mut ratio = Figures::default();
    for (read, place) in FIELDS {
        let quotient = read(base).zip(read(peer)).map(|(base, peer)| base / peer);
        *place(&mut ratio) = quotient.filter(|it| it.is_finite());
    }
    ratio
}

fn medians(all: &[Figures]) -> Figures {
    let mut medians = Figures::default();
    for (read, place) in FIELDS {
        *place(&mut medians) = median(all.iter().filter_map(read).collect());
    }
    medians
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}
