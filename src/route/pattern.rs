//! Which slot a glob pattern asks about, when that can be told.

use crate::cluster::Slot;

/// The slot of every key that the pattern can match: when its hash tag is literal and nothing before it is a
/// wildcard, or when it has no wildcard at all. `None`: the keys may be in any slot.
pub fn pattern_slot(pattern: &[u8]) -> Option<Slot> {
    let wildcard = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    let Some(at) = pattern.iter().position(wildcard) else { return Some(Slot::of(pattern)) };
    let literal = pattern.get(..at)?;
    let open = literal.iter().position(|byte| *byte == b'{')?;
    let tag = literal.get(open + 1..)?;
    let close = tag.iter().position(|byte| *byte == b'}')?;
    (close > 0).then(|| Slot::of(literal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_with_a_slot() {
        let table: [(&str, Option<&str>); 15] = [
            ("{user1}:*", Some("user1")),
            ("a{user1}b?", Some("user1")),
            ("{user1}", Some("user1")),
            ("{a}{b}*", Some("a")),
            ("plain", Some("plain")),
            ("", Some("")),
            ("{}", Some("{}")),
            ("{}*", None),
            ("{}{a}*", None),
            ("*{user1}", None),
            ("{user*}", None),
            ("{user1*", None),
            ("[ab]{user1}", None),
            ("\\{user1}*", None),
            ("*", None),
        ];
        for (pattern, key) in table {
            let slot = key.map(|key| Slot::of(key.as_bytes()));
            assert_eq!(pattern_slot(pattern.as_bytes()), slot, "{pattern}");
        }
    }
}
