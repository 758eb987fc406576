//! INFO of several nodes as one: what can be added is added, of the rest the worst is told.

use std::collections::BTreeMap;

/// A part of the text, under its title.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// As it stands behind the `#`.
    pub title: String,
    /// Names and values.
    pub lines: Vec<(String, String)>,
}

/// How a value is found from those of all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Sum,
    Most,
    Least,
    /// A sum, unless one node has no bound: then there is none.
    Bound,
    /// Of two sums: so many of the one for each of the other.
    Ratio(&'static str, &'static str),
    /// The same in percent.
    Percent(&'static str, &'static str),
}

/// Lines that are not treated as the rest of their section.
const RULES: &[(&str, Rule)] = &[
    ("maxmemory", Rule::Bound),
    ("number_of_cached_scripts", Rule::Most),
    ("number_of_functions", Rule::Most),
    ("number_of_libraries", Rule::Most),
    ("active_defrag_running", Rule::Most),
    ("used_memory_peak_perc", Rule::Percent("used_memory", "used_memory_peak")),
    ("used_memory_dataset_perc", Rule::Percent("used_memory_dataset", "")),
    ("allocator_frag_ratio", Rule::Ratio("allocator_active", "allocator_allocated")),
    ("allocator_rss_ratio", Rule::Ratio("allocator_resident", "allocator_active")),
    ("rss_overhead_ratio", Rule::Ratio("used_memory_rss", "allocator_resident")),
    ("mem_fragmentation_ratio", Rule::Ratio("used_memory_rss", "used_memory")),
    ("expired_stale_perc", Rule::Most),
    ("latest_fork_usec", Rule::Most),
    ("current_eviction_exceeded_time", Rule::Most),
    ("current_active_defrag_time", Rule::Most),
    ("current_save_keys_processed", Rule::Sum),
    ("current_save_keys_total", Rule::Sum),
    ("rdb_changes_since_last_save", Rule::Sum),
    ("rdb_saves", Rule::Sum),
    ("rdb_last_save_time", Rule::Least),
    ("rdb_last_load_keys_expired", Rule::Sum),
    ("rdb_last_load_keys_loaded", Rule::Sum),
    ("aof_enabled", Rule::Least),
    ("aof_rewrites", Rule::Sum),
    ("aof_current_size", Rule::Sum),
    ("aof_base_size", Rule::Sum),
    ("aof_buffer_length", Rule::Sum),
    ("aof_delayed_fsync", Rule::Sum),
];

/// One INFO text made of those of several nodes; sections and lines in the order in which they come first.
pub fn sum(texts: &[&str]) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut gathered: Vec<Vec<Vec<(String, String)>>> = Vec::new();
    for Section { title, lines } in texts.iter().flat_map(|text| read(text)) {
        let at = sections.iter().position(|known| known.title == title).unwrap_or_else(|| {
            sections.push(Section { title, lines: Vec::new() });
            gathered.push(Vec::new());
            sections.len() - 1
        });
        if let Some(nodes) = gathered.get_mut(at) {
            nodes.push(lines);
        }
    }
    for (section, nodes) in sections.iter_mut().zip(gathered) {
        section.lines = match section.title.as_str() {
            "Commandstats" | "Errorstats" | "Latencystats" | "Keyspace" => tables(&nodes),
            title => facts(title, &nodes),
        };
    }
    sections
}

/// The sections of one text.
pub fn read(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            sections.push(Section { title: title.to_owned(), lines: Vec::new() });
        } else if let (Some(section), Some((name, value))) =
            (sections.last_mut(), line.split_once(':'))
        {
            section.lines.push((name.to_owned(), value.to_owned()));
        }
    }
    sections
}

/// The names of all nodes' lines in the order in which they come first, each with its values.
fn values(nodes: &[Vec<(String, String)>]) -> Vec<(&str, Vec<&str>)> {
    let mut order: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, value) in nodes.iter().flatten() {
        let at = *places.entry(name).or_insert_with(|| {
            order.push((name, Vec::new()));
            order.len() - 1
        });
        if let Some((_, values)) = order.get_mut(at) {
            values.push(value);
        }
    }
    order
}

fn facts(title: &str, nodes: &[Vec<(String, String)>]) -> Vec<(String, String)> {
    let usual = if title == "Persistence" { Rule::Most } else { Rule::Sum };
    let facts = Facts { usual, values: values(nodes) };
    let names = facts.values.iter().map(|(name, _)| *name);
    names.map(|name| (name.to_owned(), facts.value(name))).collect()
}

/// One section of all nodes.
struct Facts<'a> {
    usual: Rule,
    values: Vec<(&'a str, Vec<&'a str>)>,
}

impl Facts<'_> {
    fn value(&self, name: &str) -> String {
        if let Some(plain) = name.strip_suffix("_human") {
            return human(self.value(plain).parse().unwrap_or_default());
        }
        match RULES.iter().find(|(known, _)| *known == name).map_or(self.usual, |(_, rule)| *rule) {
            Rule::Ratio(over, under) => format!("{:.2}", self.ratio(over, self.total(under))),
            Rule::Percent(over, "") => {
                let used = self.total("used_memory") - self.total("used_memory_startup");
                format!("{:.2}%", 100.0 * self.ratio(over, used))
            }
            Rule::Percent(over, under) => {
                format!("{:.2}%", 100.0 * self.ratio(over, self.total(under)))
            }
            rule => combined(rule, self.of(name)),
        }
    }

    fn of(&self, name: &str) -> &[&str] {
        let found = self.values.iter().find(|(known, _)| *known == name);
        found.map_or(&[], |(_, values)| values)
    }

    fn total(&self, name: &str) -> f64 {
        numbers(self.of(name)).unwrap_or_default().iter().sum()
    }

    fn ratio(&self, over: &str, under: f64) -> f64 {
        if under > 0.0 { self.total(over) / under } else { 0.0 }
    }
}

/// Values that are all numbers.
fn numbers(values: &[&str]) -> Option<Vec<f64>> {
    values.iter().map(|value| value.parse().ok()).collect()
}

/// One value of many. Of words, `ok` is told only when all say so; else it is the first node's word.
fn combined(rule: Rule, values: &[&str]) -> String {
    let first = values.first().copied().unwrap_or_default();
    let whole: Option<Vec<i64>> = values.iter().map(|value| value.parse().ok()).collect();
    if let Some(whole) = whole {
        let sum = || whole.iter().fold(0_i64, |sum, number| sum.saturating_add(*number));
        let number = match rule {
            Rule::Most => whole.iter().max().copied(),
            Rule::Least => whole.iter().min().copied(),
            Rule::Bound if whole.contains(&0) => Some(0),
            _ => Some(sum()),
        };
        return number.unwrap_or_default().to_string();
    }
    let Some(numbers) = numbers(values) else {
        return values.iter().find(|value| **value != "ok").unwrap_or(&first).to_string();
    };
    let number = match rule {
        Rule::Most => numbers.iter().copied().fold(f64::MIN, f64::max),
        Rule::Least => numbers.iter().copied().fold(f64::MAX, f64::min),
        _ => numbers.iter().sum(),
    };
    let decimals = first.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    format!("{number:.decimals$}")
}

/// Lines of the form `name:calls=1,usec=2`.
fn tables(nodes: &[Vec<(String, String)>]) -> Vec<(String, String)> {
    let rows = values(nodes).into_iter();
    // What a node says to tell where a slot is never reaches a client.
    let rows = rows.filter(|(name, _)| !matches!(*name, "errorstat_MOVED" | "errorstat_ASK"));
    rows.map(|(name, values)| (name.to_owned(), row(name, &values))).collect()
}

fn row(name: &str, values: &[&str]) -> String {
    let mut fields: Vec<(&str, f64)> = Vec::new();
    let of = |value: &str, field: &str| -> f64 {
        let mut pairs = value.split(',').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(known, _)| *known == field);
        found.and_then(|(_, number)| number.parse().ok()).unwrap_or_default()
    };
    let most = name.starts_with("latency_percentiles");
    for value in values {
        for (field, number) in value.split(',').filter_map(|pair| pair.split_once('=')) {
            let number: f64 = number.parse().unwrap_or_default();
            // A mean weighs as much as what it is the mean of.
            let number = if field == "avg_ttl" { number * of(value, "expires") } else { number };
            match fields.iter_mut().find(|(known, _)| *known == field) {
                None => fields.push((field, number)),
                Some((_, worst)) if most => *worst = worst.max(number),
                Some((_, sum)) => *sum += number,
            }
        }
    }
    let known = fields.clone();
    let total =
        |field: &str| known.iter().find(|(name, _)| *name == field).map_or(0.0, |(_, sum)| *sum);
    let mean = |sum: f64, of: f64| if of > 0.0 { sum / of } else { 0.0 };
    let written = fields.iter().map(|(field, number)| match *field {
        "usec_per_call" => format!("{field}={:.2}", mean(total("usec"), total("calls"))),
        "avg_ttl" => format!("{field}={:.0}", mean(*number, total("expires"))),
        _ if most => format!("{field}={number:.3}"),
        _ => format!("{field}={number:.0}"),
    });
    written.collect::<Vec<_>>().join(",")
}

/// A size as servers shorten it: `1.62M`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = "K";
    for larger in UNITS.iter().skip(1) {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    format!("{size:.2}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of one section, from the same lines of two nodes.
    fn summed(title: &str, one: &str, other: &str) -> String {
        let text = |lines: &str| format!("# {title}\r\n{}\r\n\r\n", lines.replace(' ', "\r\n"));
        let (one, other) = (text(one), text(other));
        let sections = sum(&[&one, &other]);
        assert_eq!(sections.len(), 1);
        assert_eq!(sections[0].title, title);
        let lines = sections[0].lines.iter().map(|(name, value)| format!("{name}:{value}"));
        lines.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn facts_of_two_nodes() {
        let table = [
            (
                "Memory",
                "used_memory:1000 used_memory_human:1000B",
                "used_memory:1048",
                "used_memory:2048 used_memory_human:2.00K",
            ),
            (
                "Memory",
                "maxmemory:100 maxmemory_human:100B",
                "maxmemory:0 maxmemory_human:0B",
                "maxmemory:0 maxmemory_human:0B",
            ),
            (
                "Memory",
                "maxmemory:100 maxmemory_policy:noeviction",
                "maxmemory:50 maxmemory_policy:noeviction",
                "maxmemory:150 maxmemory_policy:noeviction",
            ),
            (
                "Memory",
                "used_memory:100 used_memory_rss:200 mem_fragmentation_ratio:2.00 used_memory_peak:200 used_memory_peak_perc:50.00%",
                "used_memory:300 used_memory_rss:400 mem_fragmentation_ratio:1.33 used_memory_peak:300 used_memory_peak_perc:100.00%",
                "used_memory:400 used_memory_rss:600 mem_fragmentation_ratio:1.50 used_memory_peak:500 used_memory_peak_perc:80.00%",
            ),
            (
                "Memory",
                "number_of_cached_scripts:3 mem_allocator:jemalloc-5.3.0",
                "number_of_cached_scripts:2 mem_allocator:libc",
                "number_of_cached_scripts:3 mem_allocator:jemalloc-5.3.0",
            ),
            (
                "Stats",
                "keyspace_hits:1 instantaneous_input_kbps:0.03",
                "keyspace_hits:2 instantaneous_input_kbps:1.50",
                "keyspace_hits:3 instantaneous_input_kbps:1.53",
            ),
            (
                "Stats",
                "latest_fork_usec:7 expired_stale_perc:0.50",
                "latest_fork_usec:5 expired_stale_perc:1.25",
                "latest_fork_usec:7 expired_stale_perc:1.25",
            ),
            (
                "Persistence",
                "loading:0 rdb_last_bgsave_status:ok rdb_last_save_time:9 rdb_changes_since_last_save:1 aof_enabled:1",
                "loading:1 rdb_last_bgsave_status:err rdb_last_save_time:8 rdb_changes_since_last_save:2 aof_enabled:0",
                "loading:1 rdb_last_bgsave_status:err rdb_last_save_time:8 rdb_changes_since_last_save:3 aof_enabled:0",
            ),
            ("CPU", "used_cpu_sys:0.500000", "used_cpu_sys:1.250000", "used_cpu_sys:1.750000"),
        ];
        for (title, one, other, expected) in table {
            assert_eq!(summed(title, one, other), expected);
        }
    }

    #[test]
    fn tables_of_two_nodes() {
        let table = [
            (
                "Keyspace",
                "db0:keys=3,expires=1,avg_ttl=100",
                "db0:keys=4,expires=3,avg_ttl=200",
                "db0:keys=7,expires=4,avg_ttl=175",
            ),
            (
                "Keyspace",
                "db0:keys=3,expires=0,avg_ttl=0",
                "db1:keys=4,expires=0,avg_ttl=0",
                "db0:keys=3,expires=0,avg_ttl=0 db1:keys=4,expires=0,avg_ttl=0",
            ),
            (
                "Commandstats",
                "cmdstat_get:calls=2,usec=10,usec_per_call=5.00,rejected_calls=0,failed_calls=1",
                "cmdstat_get:calls=2,usec=20,usec_per_call=10.00,rejected_calls=0,failed_calls=1 cmdstat_client|id:calls=1,usec=1,usec_per_call=1.00,rejected_calls=0,failed_calls=0",
                "cmdstat_get:calls=4,usec=30,usec_per_call=7.50,rejected_calls=0,failed_calls=2 cmdstat_client|id:calls=1,usec=1,usec_per_call=1.00,rejected_calls=0,failed_calls=0",
            ),
            (
                "Errorstats",
                "errorstat_ERR:count=1 errorstat_MOVED:count=9",
                "errorstat_ERR:count=2",
                "errorstat_ERR:count=3",
            ),
            (
                "Latencystats",
                "latency_percentiles_usec_get:p50=1.003,p99=2.007",
                "latency_percentiles_usec_get:p50=0.503,p99=4.015",
                "latency_percentiles_usec_get:p50=1.003,p99=4.015",
            ),
        ];
        for (title, one, other, expected) in table {
            assert_eq!(summed(title, one, other), expected);
        }
    }

    #[test]
    fn sections_are_read_and_put_together() {
        let sections =
            read("# Server\r\nredis_version:7.0.15\r\nos:Linux 6: x\r\n\r\n# Modules\r\nlost\r\n");
        assert_eq!(sections[0].lines[1], ("os".to_owned(), "Linux 6: x".to_owned()));
        assert_eq!((sections[1].title.as_str(), sections[1].lines.len()), ("Modules", 0));
        let both = sum(&["# A\r\nx:1\r\n# B\r\ny:1\r\n", "# A\r\nz:1\r\nx:2\r\n# C\r\n"]);
        let titles: Vec<&str> = both.iter().map(|section| section.title.as_str()).collect();
        assert_eq!(titles, ["A", "B", "C"]);
        assert_eq!(
            both[0].lines,
            [("x".to_owned(), "3".to_owned()), ("z".to_owned(), "1".to_owned())]
        );
        assert_eq!(sum(&[]), []);
        assert_eq!(sum(&["", "no: title"]), []);
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_693_928, "1.62M"),
            (25_276_510_208, "23.54G"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
