//! What nodes report of themselves, put together: logs, latencies, texts.

use std::collections::BTreeMap;

use super::memory;
use crate::resp::{Protocol, ReplyError, Value, elements, integer, number, write};

/// Entries of a log that are shown when nobody says how many.
const USUAL_ENTRIES: usize = 10;

/// How the reports of one command become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Entries with a number and a time (`SLOWLOG GET`): the newest ones.
    Log,
    /// Pairs of a time and a duration (`LATENCY HISTORY`): by time.
    History,
    /// Events with their latest and longest duration (`LATENCY LATEST`): one row for each event.
    Latest,
    /// Commands with their calls and how long these took (`LATENCY HISTOGRAM`): added.
    Histogram,
    /// Bytes and ratios (`MEMORY STATS`): bytes are added, ratios computed again.
    Memory,
    /// Texts for people: one after the other, each under its node's name.
    Texts,
    /// The same, and a node that has nothing to tell says so with an error (`LATENCY GRAPH`).
    TextsIfAny,
}

/// One node's report.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its name, for people.
    pub node: &'a str,
    /// Its reply.
    pub reply: &'a [u8],
}

impl Report {
    /// How the reports of the command with this name are put together, if there is a way.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "SLOWLOG GET" | "COMMANDLOG GET" => Self::Log,
            "LATENCY HISTORY" => Self::History,
            "LATENCY LATEST" => Self::Latest,
            "LATENCY HISTOGRAM" => Self::Histogram,
            "MEMORY STATS" => Self::Memory,
            "LATENCY DOCTOR" | "MEMORY DOCTOR" | "MEMORY MALLOC-STATS" => Self::Texts,
            "LATENCY GRAPH" => Self::TextsIfAny,
            _ => return None,
        })
    }

    /// The reply for the client. `arguments` are those of its request, the name first. An error of a node is the
    /// reply.
    ///
    /// # Errors
    /// A node's reply is no such report.
    pub fn write(
        self,
        arguments: &[&[u8]],
        parts: &[Part<'_>],
        protocol: Protocol,
    ) -> Result<Vec<u8>, ReplyError> {
        let is_error = |part: &&Part<'_>| matches!(part.reply.first(), Some(b'-' | b'!'));
        let told: Vec<Part<'_>> = parts.iter().filter(|part| !is_error(part)).copied().collect();
        if let Some(error) = parts.iter().find(is_error)
            && (self != Self::TextsIfAny || told.is_empty())
        {
            return Ok(error.reply.to_vec());
        }
        let mut out = Vec::new();
        match self {
            Self::Log => log(&mut out, entries_wanted(arguments), &told)?,
            Self::History => history(&mut out, &told)?,
            Self::Latest => latest(&mut out, &told)?,
            Self::Histogram => histogram(&mut out, &told, protocol)?,
            Self::Memory => memory::write_sum(&mut out, &told, protocol)?,
            Self::Texts | Self::TextsIfAny => texts(&mut out, &told, protocol)?,
        }
        Ok(out)
    }
}

/// `-1` is all; what is no number, the nodes have refused.
fn entries_wanted(arguments: &[&[u8]]) -> usize {
    match arguments.get(2) {
        None => USUAL_ENTRIES,
        Some(count) => number::integer(count)
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(usize::MAX),
    }
}

/// The elements of every report.
fn rows<'a>(parts: &[Part<'a>]) -> Result<Vec<&'a [u8]>, ReplyError> {
    let mut rows = Vec::new();
    for part in parts {
        rows.extend(elements(part.reply).ok_or(ReplyError::Value)?);
    }
    Ok(rows)
}

fn write_rows<'a>(out: &mut Vec<u8>, rows: impl ExactSizeIterator<Item = &'a [u8]>) {
    write::array(out, rows.len());
    rows.for_each(|row| out.extend_from_slice(row));
}

/// The integer that stands at this place of a row.
fn integer_at(row: &[u8], at: usize) -> Result<i64, ReplyError> {
    let found = elements(row).and_then(|mut row| row.nth(at)).and_then(integer);
    found.ok_or(ReplyError::Value)
}

fn log(out: &mut Vec<u8>, most: usize, parts: &[Part<'_>]) -> Result<(), ReplyError> {
    let mut entries = Vec::new();
    for entry in rows(parts)? {
        entries.push((integer_at(entry, 1)?, integer_at(entry, 0)?, entry));
    }
    entries.sort_by_key(|(time, id, _)| std::cmp::Reverse((*time, *id)));
    entries.truncate(most);
    write_rows(out, entries.iter().map(|(.., entry)| *entry));
    Ok(())
}

fn history(out: &mut Vec<u8>, parts: &[Part<'_>]) -> Result<(), ReplyError> {
    let mut entries = Vec::new();
    for entry in rows(parts)? {
        entries.push((integer_at(entry, 0)?, entry));
    }
    entries.sort_by_key(|(time, _)| *time);
    write_rows(out, entries.iter().map(|(_, entry)| *entry));
    Ok(())
}

fn latest(out: &mut Vec<u8>, parts: &[Part<'_>]) -> Result<(), ReplyError> {
    let mut events: BTreeMap<&[u8], (i64, i64, i64)> = BTreeMap::new();
    for row in rows(parts)? {
        let name = elements(row).and_then(|mut row| row.next()).ok_or(ReplyError::Value)?;
        let (time, last, longest) = (integer_at(row, 1)?, integer_at(row, 2)?, integer_at(row, 3)?);
        let event = events.entry(name).or_insert((time, last, longest));
        let newest = if time > event.0 { (time, last) } else { (event.0, event.1) };
        *event = (newest.0, newest.1, longest.max(event.2));
    }
    write::array(out, events.len());
    for (name, (time, last, longest)) in events {
        write::array(out, 4);
        out.extend_from_slice(name);
        [time, last, longest].into_iter().for_each(|number| write::integer(out, number));
    }
    Ok(())
}

/// How often a command took at most so many microseconds, on one node.
type Buckets = BTreeMap<i64, i64>;

fn histogram(out: &mut Vec<u8>, parts: &[Part<'_>], protocol: Protocol) -> Result<(), ReplyError> {
    let mut commands: BTreeMap<Vec<u8>, (i64, Vec<Buckets>)> = BTreeMap::new();
    for part in parts {
        for (name, facts) in Value::parse(part.reply)?.pairs() {
            let name = name.bytes().ok_or(ReplyError::Value)?;
            let calls = facts.get("calls").and_then(Value::as_integer).ok_or(ReplyError::Value)?;
            let counts = facts.get("histogram_usec").ok_or(ReplyError::Value)?;
            let counts = counts
                .pairs()
                .map(|(bound, count)| Some((bound.as_integer()?, count.as_integer()?)));
            let counts: Option<Buckets> = counts.collect();
            let command = commands.entry(name.to_vec()).or_default();
            command.0 += calls;
            command.1.push(counts.ok_or(ReplyError::Value)?);
        }
    }
    write::map(out, protocol, commands.len());
    for (name, (calls, nodes)) in commands {
        write::bulk(out, name);
        write::map(out, protocol, 2);
        write::bulk(out, "calls");
        write::integer(out, calls);
        write::bulk(out, "histogram_usec");
        let sum = added(&nodes);
        write::map(out, protocol, sum.len());
        for (bound, count) in sum {
            write::integer(out, bound);
            write::integer(out, count);
        }
    }
    Ok(())
}

/// The counts are cumulative, and a node leaves out a bound to which nothing was added: there its count is that
/// of the bound before.
fn added(nodes: &[Buckets]) -> Buckets {
    let bounds = nodes.iter().flat_map(BTreeMap::keys).copied();
    let count_to =
        |bound: i64| nodes.iter().filter_map(move |node| node.range(..=bound).next_back());
    bounds.map(|bound| (bound, count_to(bound).map(|(_, count)| count).sum())).collect()
}

fn texts(out: &mut Vec<u8>, parts: &[Part<'_>], protocol: Protocol) -> Result<(), ReplyError> {
    let mut all = Vec::new();
    for part in parts {
        let text = Value::parse(part.reply)?;
        let text = text.bytes().ok_or(ReplyError::Value)?;
        all.extend_from_slice(format!("# {}\n", part.node).as_bytes());
        all.extend_from_slice(text);
        if !text.ends_with(b"\n") {
            all.push(b'\n');
        }
    }
    write::verbatim(out, protocol, "txt", all);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(name: &str, request: &str, replies: &[&str], protocol: Protocol) -> String {
        let names = ["a:1", "b:2", "c:3"];
        let parts = names.iter().zip(replies);
        let parts: Vec<Part<'_>> =
            parts.map(|(node, reply)| Part { node, reply: reply.as_bytes() }).collect();
        let arguments: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        let written = Report::of(name).unwrap().write(&arguments, &parts, protocol).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn the_newest_entries_of_a_log() {
        let one = "*2\r\n*3\r\n:7\r\n:100\r\n:5\r\n*3\r\n:6\r\n:90\r\n:5\r\n";
        let other = "*2\r\n*3\r\n:1\r\n:95\r\n:5\r\n*3\r\n:0\r\n:90\r\n:5\r\n";
        let put =
            |request: &str| put("SLOWLOG GET", request, &[one, other, "*0\r\n"], Protocol::Resp2);
        let all = "*4\r\n*3\r\n:7\r\n:100\r\n:5\r\n*3\r\n:1\r\n:95\r\n:5\r\n*3\r\n:6\r\n:90\r\n:5\r\n*3\r\n:0\r\n:90\r\n:5\r\n";
        assert_eq!(put("SLOWLOG GET"), all);
        assert_eq!(put("SLOWLOG GET -1"), all);
        assert_eq!(
            put("SLOWLOG GET 2"),
            "*2\r\n*3\r\n:7\r\n:100\r\n:5\r\n*3\r\n:1\r\n:95\r\n:5\r\n"
        );
        assert_eq!(put("SLOWLOG GET 0"), "*0\r\n");
    }

    #[test]
    fn latencies() {
        let history = ["*1\r\n*2\r\n:5\r\n:1\r\n", "*2\r\n*2\r\n:3\r\n:9\r\n*2\r\n:6\r\n:2\r\n"];
        assert_eq!(
            put("LATENCY HISTORY", "", &history, Protocol::Resp2),
            "*3\r\n*2\r\n:3\r\n:9\r\n*2\r\n:5\r\n:1\r\n*2\r\n:6\r\n:2\r\n"
        );
        let latest = [
            "*1\r\n*4\r\n$4\r\nfork\r\n:5\r\n:1\r\n:20\r\n",
            "*2\r\n*4\r\n$4\r\nfork\r\n:6\r\n:2\r\n:10\r\n*4\r\n$1\r\nx\r\n:1\r\n:1\r\n:1\r\n",
        ];
        assert_eq!(
            put("LATENCY LATEST", "", &latest, Protocol::Resp2),
            "*2\r\n*4\r\n$1\r\nx\r\n:1\r\n:1\r\n:1\r\n*4\r\n$4\r\nfork\r\n:6\r\n:2\r\n:20\r\n"
        );
    }

    #[test]
    fn histograms_are_added_bound_by_bound() {
        let one = "*2\r\n$3\r\nget\r\n*4\r\n$5\r\ncalls\r\n:10\r\n$14\r\nhistogram_usec\r\n*4\r\n:1\r\n:4\r\n:4\r\n:10\r\n";
        let other = "*2\r\n$3\r\nget\r\n*4\r\n$5\r\ncalls\r\n:5\r\n$14\r\nhistogram_usec\r\n*4\r\n:2\r\n:3\r\n:8\r\n:5\r\n";
        assert_eq!(
            put("LATENCY HISTOGRAM", "", &[one, other], Protocol::Resp3),
            "%1\r\n$3\r\nget\r\n%2\r\n$5\r\ncalls\r\n:15\r\n$14\r\nhistogram_usec\r\n%4\r\n:1\r\n:4\r\n:2\r\n:7\r\n:4\r\n:13\r\n:8\r\n:15\r\n"
        );
    }

    #[test]
    fn texts_stand_under_their_nodes() {
        let texts = ["$2\r\nhi\r\n", "$3\r\nho\n\r\n"];
        assert_eq!(
            put("MEMORY DOCTOR", "", &texts, Protocol::Resp2),
            "$18\r\n# a:1\nhi\n# b:2\nho\n\r\n"
        );
        let graphs = ["-ERR No samples available for event 'x'\r\n", "$2\r\n/\\\r\n"];
        assert_eq!(put("LATENCY GRAPH", "", &graphs, Protocol::Resp2), "$9\r\n# b:2\n/\\\n\r\n");
        assert_eq!(put("LATENCY GRAPH", "", &graphs[..1], Protocol::Resp2), graphs[0]);
        assert_eq!(put("MEMORY DOCTOR", "", &graphs, Protocol::Resp2), graphs[0]);
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        for name in ["SLOWLOG GET", "LATENCY HISTORY", "LATENCY LATEST", "MEMORY STATS"] {
            let part = Part { node: "a:1", reply: b"*1\r\n*1\r\n+x\r\n" };
            let written = Report::of(name).unwrap().write(&[], &[part], Protocol::Resp2);
            assert!(written.is_err() || name == "MEMORY STATS", "{name}");
            let part = Part { node: "a:1", reply: b":1\r\n" };
            assert!(
                Report::of(name).unwrap().write(&[], &[part], Protocol::Resp2).is_err(),
                "{name}"
            );
        }
        assert_eq!(Report::of("HOTKEYS GET"), None);
    }
}
