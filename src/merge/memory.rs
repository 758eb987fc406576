//! `MEMORY STATS` of several nodes as one: bytes and counts are added, what follows from them is computed again.

use super::report::Part;
use crate::resp::{Protocol, ReplyError, Value, write};

/// A fact that is the same for all nodes together as for one.
#[derive(Clone, Debug)]
enum Fact {
    Count(i64),
    Ratio(f64),
    Group(Facts),
    /// Of a kind that is not known here: the first node's word.
    Other(Vec<u8>),
}

/// Names and facts, in the first node's order.
type Facts = Vec<(Vec<u8>, Fact)>;

/// Writes the sum of the nodes' replies.
pub(super) fn write_sum(
    out: &mut Vec<u8>,
    parts: &[Part<'_>],
    protocol: Protocol,
) -> Result<(), ReplyError> {
    let mut sum = Facts::new();
    for part in parts {
        let stats = Value::parse(part.reply)?;
        if !matches!(stats, Value::Map(_) | Value::Array(_)) {
            return Err(ReplyError::Value);
        }
        add(&mut sum, &read(&stats));
    }
    compute(&mut sum);
    write_facts(out, &sum, protocol);
    Ok(())
}

fn read(stats: &Value<'_>) -> Facts {
    let facts =
        stats.pairs().filter_map(|(name, value)| Some((name.bytes()?.to_vec(), fact(value))));
    facts.collect()
}

fn fact(value: &Value<'_>) -> Fact {
    let text = value.bytes().unwrap_or_default();
    match value {
        Value::Integer(number) => Fact::Count(*number),
        Value::Double { number, .. } => Fact::Ratio(*number),
        Value::Array(_) | Value::Map(_) => Fact::Group(read(value)),
        _ => match std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()) {
            Some(number) => Fact::Ratio(number),
            None => Fact::Other(text.to_vec()),
        },
    }
}

fn add(sum: &mut Facts, more: &Facts) {
    for (name, fact) in more {
        match (sum.iter_mut().find(|(known, _)| known == name), fact) {
            (None, fact) => sum.push((name.clone(), fact.clone())),
            (Some((_, Fact::Count(sum))), Fact::Count(more)) => *sum = sum.saturating_add(*more),
            (Some((_, Fact::Ratio(most))), Fact::Ratio(more)) => *most = most.max(*more),
            (Some((_, Fact::Group(sum))), Fact::Group(more)) => add(sum, more),
            _ => {}
        }
    }
}

/// The facts that follow from others, as the servers compute them.
fn compute(sum: &mut Facts) {
    let known = sum.clone();
    let count = |name: &str| {
        let found = known.iter().find(|(known, _)| known == name.as_bytes());
        match found {
            Some((_, Fact::Count(number))) => *number as f64,
            _ => 0.0,
        }
    };
    let used = count("total.allocated") - count("startup.allocated");
    let resident = count("allocator.resident") + count("rss-overhead.bytes");
    let ratios = [
        ("dataset.percentage", count("dataset.bytes") * 100.0, used),
        ("peak.percentage", count("total.allocated") * 100.0, count("peak.allocated")),
        ("allocator-fragmentation.ratio", count("allocator.active"), count("allocator.allocated")),
        ("allocator-rss.ratio", count("allocator.resident"), count("allocator.active")),
        ("rss-overhead.ratio", resident, count("allocator.resident")),
        ("fragmentation", resident, resident - count("fragmentation.bytes")),
        ("keys.bytes-per-key", used, count("keys.count")),
    ];
    for (name, over, under) in ratios {
        let Some((_, fact)) = sum.iter_mut().find(|(known, _)| known == name.as_bytes()) else {
            continue;
        };
        let ratio = if under > 0.0 { over / under } else { 0.0 };
        *fact = match fact {
            Fact::Count(_) => Fact::Count(ratio as i64),
            _ => Fact::Ratio(ratio),
        };
    }
}

fn write_facts(out: &mut Vec<u8>, facts: &Facts, protocol: Protocol) {
    write::map(out, protocol, facts.len());
    for (name, fact) in facts {
        write::bulk(out, name);
        match fact {
            Fact::Count(number) => write::integer(out, *number),
            Fact::Ratio(number) => write::double(out, protocol, *number),
            Fact::Group(facts) => write_facts(out, facts, protocol),
            Fact::Other(text) => write::bulk(out, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(protocol: Protocol, counts: [i64; 4], ratio: f64) -> Vec<u8> {
        let mut out = Vec::new();
        let names = ["total.allocated", "startup.allocated", "dataset.bytes", "keys.count"];
        write::map(&mut out, protocol, names.len() + 3);
        for (name, count) in names.iter().zip(counts) {
            write::bulk(&mut out, name);
            write::integer(&mut out, count);
        }
        write::bulk(&mut out, "db.0");
        write::map(&mut out, protocol, 1);
        write::bulk(&mut out, "overhead.hashtable.main");
        write::integer(&mut out, counts[3] * 10);
        write::bulk(&mut out, "dataset.percentage");
        write::double(&mut out, protocol, ratio);
        write::bulk(&mut out, "keys.bytes-per-key");
        write::integer(&mut out, (counts[0] - counts[1]) / counts[3]);
        out
    }

    #[test]
    fn bytes_are_added_and_ratios_computed() {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let replies = [
                reply(protocol, [1000, 200, 400, 4], 50.0),
                reply(protocol, [3000, 200, 2000, 6], 71.5),
            ];
            let parts: Vec<Part<'_>> =
                replies.iter().map(|reply| Part { node: "", reply }).collect();
            let mut out = Vec::new();
            write_sum(&mut out, &parts, protocol).unwrap();
            let expected = reply(protocol, [4000, 400, 2400, 10], 2400.0 * 100.0 / 3600.0);
            assert_eq!(String::from_utf8(out), String::from_utf8(expected));
        }
    }
}
