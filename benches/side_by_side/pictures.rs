//! What of a report is drawn.

use crate::charts::{self, Bar, Group, Panel};
use crate::loads::{Placement, described};
use crate::report::{Figures, Report};

/// A picture: its file, what it shows, of which loads, and its figures.
struct Picture {
    file: &'static str,
    head: &'static str,
    better: &'static str,
    loads: &'static [&'static str],
    decimals: usize,
    value: fn(&Figures) -> Option<f64>,
    beyond: fn(&Figures) -> Option<f64>,
}

const PICTURES: &[Picture] = &[
    Picture {
        file: "throughput",
        head: "Requests in a second",
        better: "Longer is better.",
        loads: &["get-c50", "set-c50", "get-p16", "get-c1000", "get-16k", "mget-10"],
        decimals: 0,
        value: |it| it.requests_per_second,
        beyond: |_| None,
    },
    Picture {
        file: "cpu",
        head: "CPU time of the proxy for a request, in microseconds",
        better: "Shorter is better.",
        loads: &[
            "get-c50",
            "set-c50",
            "get-p16",
            "get-c1000",
            "get-16k",
            "get-c1",
            "mget-10",
            "mget-100",
        ],
        decimals: 2,
        value: |it| it.proxy_us,
        beyond: |_| None,
    },
    Picture {
        file: "latency",
        head: "Latency in microseconds: median, and behind it the 99th percentile",
        better: "Shorter is better.",
        loads: &["get-c1", "get-c50", "get-c1000", "get-p16", "get-16k", "mget-10"],
        decimals: 0,
        value: |it| it.p50_us,
        beyond: |it| it.p99_us,
    },
];

/// Every picture with its name.
pub(crate) fn all(report: &Report) -> impl Iterator<Item = (&'static str, String)> {
    PICTURES.iter().map(|picture| {
        let panels = picture.loads.iter().map(|load| panel(report, load, picture));
        let panels: Vec<Panel> = panels.filter(|panel| !panel.groups.is_empty()).collect();
        let notes = [
            format!("{} Each load has a scale of its own, which begins at 0.", picture.better),
            measured(report),
        ];
        (picture.file, charts::draw(picture.head, &notes, &panels, picture.decimals))
    })
}

/// When and on what, as far as a reader of a picture has to know.
fn measured(report: &Report) -> String {
    let of = |name: &str| report.about.get(name).map_or("unknown", String::as_str);
    format!("{}. Cores: {}. Rounds: {}.", of("date"), of("cores"), of("rounds"))
}

fn panel(report: &Report, load: &str, picture: &Picture) -> Panel {
    let title = described().find(|(name, _)| *name == load).unwrap_or_default().1;
    let groups = [
        (Placement::One, "keys on one primary"),
        (Placement::Spread, "keys spread over three primaries"),
    ];
    let groups = groups.map(|(keys, caption)| {
        let wanted = report.summaries.iter().filter(|it| it.load == load && it.keys == keys);
        let bars = wanted.filter_map(|it| {
            Some(Bar {
                name: it.peer.word().to_owned(),
                value: (picture.value)(&it.medians)?,
                beyond: (picture.beyond)(&it.medians),
                ours: it.peer == report.base,
            })
        });
        Group { caption: caption.to_owned(), bars: bars.collect() }
    });
    let groups = groups.into_iter().filter(|group| !group.bars.is_empty());
    Panel { title, groups: groups.collect() }
}
