//! What the operating system counts for this process, under the names that all programs use.
//!
//! Where there is no `/proc` the metrics are absent.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::exposition::{descriptor, family};
use super::series::{counter_sample, gauge_sample};

/// What the process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// CPU time in the program, in seconds.
    pub cpu_user: f64,
    /// CPU time in the kernel, in seconds.
    pub cpu_system: f64,
    /// Memory that is resident, in bytes.
    pub resident: u64,
}

impl Usage {
    /// Read now; zeros where there is no `/proc`.
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").ok();
        let Some(stat) = stat.and_then(|stat| Stat::parse(&stat)) else { return Self::default() };
        Self {
            cpu_user: seconds(stat.user_ticks),
            cpu_system: seconds(stat.system_ticks),
            resident: stat.resident_pages.saturating_mul(page_size() as u64),
        }
    }
}

/// When a process of this system started, in ticks since the system did: no other process of its number has the same.
/// `None`: there is none, or there is no `/proc`.
pub fn started(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(Stat::parse(&stat)?.start_ticks)
}

/// Collects the process's metrics at each scrape.
pub(super) struct ProcessCollector {
    descriptors: Vec<Desc>,
}

impl ProcessCollector {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let rows = ROWS.iter().map(|row| descriptor(row.name, row.help, Vec::new()));
        Ok(Self { descriptors: rows.collect::<Result<_, _>>()? })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptors.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(stat) = fs::read_to_string("/proc/self/stat").ok() else { return Vec::new() };
        let Some(stat) = Stat::parse(&stat) else { return Vec::new() };
        let families = ROWS.iter().filter_map(|row| {
            let value = (row.read)(&stat)?;
            let (kind, sample) = match row.kind {
                Kind::Counter => (MetricType::COUNTER, counter_sample(value)),
                Kind::Gauge => (MetricType::GAUGE, gauge_sample(value)),
            };
            Some(family(row.name, row.help, kind, vec![sample]))
        });
        families.collect()
    }
}

struct Row {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    read: fn(&Stat) -> Option<f64>,
}

enum Kind {
    Counter,
    Gauge,
}

const ROWS: &[Row] = &[
    Row {
        name: "process_cpu_seconds_total",
        help: "CPU time of the process, user and system.",
        kind: Kind::Counter,
        read: |stat| Some(seconds(stat.user_ticks + stat.system_ticks)),
    },
    Row {
        name: "process_resident_memory_bytes",
        help: "Memory of the process that is resident.",
        kind: Kind::Gauge,
        read: |stat| Some(stat.resident_pages as f64 * page_size() as f64),
    },
    Row {
        name: "process_virtual_memory_bytes",
        help: "Address space of the process.",
        kind: Kind::Gauge,
        read: |stat| Some(stat.virtual_bytes as f64),
    },
    Row {
        name: "process_threads",
        help: "Threads of the process.",
        kind: Kind::Gauge,
        read: |stat| Some(stat.threads as f64),
    },
    Row {
        name: "process_start_time_seconds",
        help: "When the process started, in seconds since 1970.",
        kind: Kind::Gauge,
        read: |stat| Some(boot_time()? + seconds(stat.start_ticks)),
    },
    Row {
        name: "process_open_fds",
        help: "File descriptors that are open.",
        kind: Kind::Gauge,
        read: |_| Some(open_files()? as f64),
    },
    Row {
        name: "process_max_fds",
        help: "File descriptors that may be open.",
        kind: Kind::Gauge,
        read: |_| Some(getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |n| n as f64)),
    },
];

/// The fields of `/proc/self/stat` that are shown, see proc(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    user_ticks: u64,
    system_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, in which anything may stand.
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and two fields stand before.
        let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
        Some(Self {
            user_ticks: field(14)?,
            system_ticks: field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// How many file descriptors are open. Linux says so since 6.2; before that they are counted, which takes a
/// microsecond for each.
fn open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).ok()?.len() {
        // The descriptor that reads the folder is in it too.
        0 => Some((fs::read_dir(FOLDER).ok()?.count() as u64).saturating_sub(1)),
        open => Some(open),
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// When the system started, in seconds since 1970.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 300 45 13 14 15 16 4 18 777 1048576 256 20";
        let expected = Stat {
            user_ticks: 300,
            system_ticks: 45,
            threads: 4,
            start_ticks: 777,
            virtual_bytes: 1_048_576,
            resident_pages: 256,
        };
        for name in ["slotway", "a b", "x) R 1", "((("] {
            assert_eq!(Stat::parse(&format!("42 ({name}) {fields}\n")).as_ref(), Some(&expected));
        }
        for broken in ["", "42 (slotway)", "42 (slotway) S 1 2", "42 slotway S"] {
            assert_eq!(Stat::parse(broken), None, "{broken:?}");
        }
    }
}
