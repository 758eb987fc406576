//! Words: how nodes write what they say of themselves, in INFO, `CLUSTER INFO` and `CLUSTER NODES`.

use std::ops::RangeInclusive;

use super::Slot;
use crate::resp::Value;

/// A reply that is one text; empty when it is something else, such as an error.
pub fn text_of(reply: &[u8]) -> String {
    let value = Value::parse(reply).ok().and_then(|value| value.as_str().map(str::to_owned));
    value.unwrap_or_default()
}

/// The value in the first `name:value` line.
pub fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

/// `7` or `0-5460`.
pub fn slot_range(word: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && Slot::new(last).is_some()).then_some(first..=last)
}

/// The line of `CLUSTER NODES` in which a node speaks of itself.
pub fn own_line(nodes: &str) -> Option<&str> {
    let is_own = |line: &&str| {
        let flags = line.split(' ').nth(2).unwrap_or_default();
        flags.split(',').any(|flag| flag == "myself")
    };
    nodes.lines().find(is_own)
}

/// The slots that a node is giving away or taking over, as its own line has them: `[93->-id]`, `[93-<-id]`.
pub fn open_slots(nodes: &str) -> impl Iterator<Item = &str> {
    let words = own_line(nodes).into_iter().flat_map(|line| line.split(' '));
    words.filter(|word| word.starts_with('['))
}

/// The slots that a node is giving away, each with the id of the node that gets it.
pub fn given_away(nodes: &str) -> impl Iterator<Item = (u16, String)> {
    open_slots(nodes).filter_map(|word| {
        let (slot, id) = word.strip_prefix('[')?.strip_suffix(']')?.split_once("->-")?;
        let slot = slot.parse().ok().filter(|&slot| Slot::new(slot).is_some())?;
        Some((slot, id.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_s_own_line_tells_of_open_slots() {
        let nodes = "b 10.0.0.2:1@2,name master - 0 0 2 connected 5 [8->-c]\n\
                     a 10.0.0.1:1@2 myself,master - 0 0 1 connected 0-3 [3->-b] [5-<-b] [99999->-b] [x\n";
        let words: Vec<&str> = open_slots(nodes).collect();
        assert_eq!(words, ["[3->-b]", "[5-<-b]", "[99999->-b]", "[x"]);
        assert_eq!(given_away(nodes).collect::<Vec<_>>(), [(3, "b".to_owned())]);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let info = "# Server\r\nredis_version_old:1\r\nredis_version:7.0.15\r\nplace:a:b\r\n";
        assert_eq!(field(info, "redis_version"), Some("7.0.15"));
        assert_eq!(field(info, "place"), Some("a:b"));
        assert_eq!(field(info, "redis"), None);
    }
}
