//! The patterns of a set of rules, found by what names begin with.
//!
//! A user of a shared cluster may have hundreds of patterns, and every key of every request is looked up among them.
//! So they stand in the order of their heads, the plain bytes before anything that has a meaning: whatever matches a
//! name has a head that the name begins with, and those are found by halving. Patterns without a head are tried for
//! every name.

use super::pattern::Pattern;
use crate::command::Need;

/// A pattern and what may be done with what it matches.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) need: Need,
    pub(super) pattern: Pattern,
    /// Its place among the rules as they were given, which is how they are shown.
    given: usize,
}

/// Patterns that are all different.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    /// By head, then by text.
    sorted: Vec<Rule>,
}

impl Patterns {
    /// Adds a pattern, or the need to one that is there.
    pub(super) fn add(&mut self, text: &[u8], need: Need) {
        let pattern = Pattern::new(text);
        match self.place(&pattern) {
            Ok(at) => {
                if let Some(known) = self.sorted.get_mut(at) {
                    known.need |= need;
                }
            }
            Err(at) => self.sorted.insert(at, Rule { need, pattern, given: self.sorted.len() }),
        }
    }

    pub(super) fn clear(&mut self) {
        self.sorted.clear();
    }

    /// Whether one of them is this, letter for letter.
    pub(super) fn has(&self, text: &[u8], need: Need) -> bool {
        let at = self.place(&Pattern::new(text)).ok();
        at.and_then(|at| self.sorted.get(at)).is_some_and(|known| known.need.contains(need))
    }

    fn place(&self, pattern: &Pattern) -> Result<usize, usize> {
        fn order(one: &Pattern) -> (&[u8], &[u8]) {
            (one.head(), one.text())
        }
        self.sorted.binary_search_by(|known| order(&known.pattern).cmp(&order(pattern)))
    }

    /// Whether one of them matches the name and grants the need.
    ///
    /// What stands between a head of the name and the name itself begins with that head. So the rule right before the
    /// name either has a head of the name, or shows how much of the name is left in which the next one can be.
    #[inline]
    pub(super) fn match_any(&self, name: &[u8], need: Need) -> bool {
        let mut before = self.sorted.as_slice();
        let mut start = name;
        loop {
            let upto = before.partition_point(|rule| rule.pattern.head() <= start);
            before = before.get(..upto).unwrap_or_default();
            while let Some((last, rest)) = before.split_last() {
                let head = last.pattern.head();
                if !start.starts_with(head) {
                    break;
                }
                if last.need.contains(need) && last.pattern.matches(name) {
                    return true;
                }
                before = rest;
            }
            let Some(last) = before.last() else { return false };
            start = in_common(start, last.pattern.head());
        }
    }

    /// All of them, in the order in which they were given.
    pub(super) fn as_given(&self) -> Vec<&Rule> {
        let mut rules: Vec<&Rule> = self.sorted.iter().collect();
        rules.sort_unstable_by_key(|rule| rule.given);
        rules
    }
}

/// What both begin with.
fn in_common<'a>(one: &'a [u8], other: &[u8]) -> &'a [u8] {
    let length = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    one.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Need = Need::READ.union(Need::WRITE);

    /// What is known of patterns without any order among them; the needs of the same pattern are added up.
    fn trying_all(chosen: &[(&[u8], Need)], name: &[u8], need: Need) -> bool {
        chosen.iter().any(|(text, _)| {
            let same = chosen.iter().filter(|(other, _)| other == text);
            let granted = same.fold(Need::empty(), |all, (_, need)| all | *need);
            granted.contains(need) && Pattern::new(text).matches(name)
        })
    }

    #[test]
    fn what_is_found_is_what_trying_all_would_find() {
        let texts = [
            "", "*", "a", "a*", "ab", "ab*", "ab?", "ab:*:x", "abc", "abd*", "b*", "*b", "[ab]*",
            "a\\*", "ab**", "\u{7f}*",
        ];
        let names = [
            "",
            "a",
            "ab",
            "abc",
            "abcd",
            "abd",
            "ab:1:x",
            "ab:1:y",
            "aa",
            "ac",
            "b",
            "c",
            "a*",
            "a*b",
            "*",
            "\u{7f}",
            "\u{7f}\u{7f}",
            "abb",
            "\0",
        ];
        let needs = [Need::READ, Need::WRITE, BOTH, Need::empty()];
        for number in 0..16 * 16 * 16 {
            let chosen = [(number % 16, 0), (number / 16 % 16, 1), (number / 256, number % 3)]
                .map(|(text, need)| (texts[text].as_bytes(), needs[need]));
            let mut patterns = Patterns::default();
            chosen.iter().for_each(|(text, need)| patterns.add(text, *need));
            for (name, need) in
                names.iter().flat_map(|name| needs.map(|need| (name.as_bytes(), need)))
            {
                let expected = trying_all(&chosen, name, need);
                assert_eq!(patterns.match_any(name, need), expected, "{name:?} in {patterns:?}");
            }
        }
    }

    #[test]
    fn patterns_are_shown_as_they_were_given() {
        let mut patterns = Patterns::default();
        for (text, need) in [("b*", BOTH), ("a", Need::READ), ("c?", BOTH), ("a", Need::WRITE)] {
            patterns.add(text.as_bytes(), need);
        }
        let shown: Vec<&[u8]> =
            patterns.as_given().iter().map(|rule| rule.pattern.text()).collect();
        assert_eq!(shown, [b"b*".as_slice(), b"a", b"c?"]);
        assert!(patterns.has(b"a", BOTH) && !patterns.has(b"c", BOTH) && !patterns.has(b"b", BOTH));
        patterns.clear();
        assert!(!patterns.match_any(b"a", Need::empty()));
    }
}
