//! The longest common subsequence of two strings, by the same table and the same way back through it as the
//! servers', so that of several longest ones the same is found.
//!
//! Instead of the table's lengths only two rows are kept, and of each cell one bit: which way leads back.

use std::ops::RangeInclusive;

/// What two strings have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// The subsequence.
    pub text: Vec<u8>,
    /// Stretches that stand in both strings without a gap, the last one first.
    pub matches: Vec<Match>,
}

/// A stretch that stands in both strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Where it stands in the first string.
    pub first: RangeInclusive<usize>,
    /// Where it stands in the second.
    pub second: RangeInclusive<usize>,
}

impl Match {
    /// Its bytes.
    pub fn length(&self) -> usize {
        self.first.end() - self.first.start() + 1
    }
}

/// The length of the subsequence.
#[must_use]
pub fn length(one: &[u8], other: &[u8]) -> usize {
    let (long, short) = if one.len() < other.len() { (other, one) } else { (one, other) };
    fill(long, short, |_, _| {})
}

/// The subsequence and where it stands.
#[must_use]
pub fn trace(one: &[u8], other: &[u8]) -> Common {
    let ways = Ways::of(one, other);
    let mut common = Common::default();
    let mut open: Option<Match> = None;
    let (mut i, mut j) = (one.len(), other.len());
    while i > 0 && j > 0 {
        if one.get(i - 1) == other.get(j - 1) {
            common.text.extend(one.get(i - 1));
            open = Some(match open {
                Some(Match { first, second }) => {
                    Match { first: i - 1..=*first.end(), second: j - 1..=*second.end() }
                }
                None => Match { first: i - 1..=i - 1, second: j - 1..=j - 1 },
            });
            (i, j) = (i - 1, j - 1);
        } else {
            common.matches.extend(open.take());
            if ways.leads_back_in_first(i - 1, j - 1) { i -= 1 } else { j -= 1 }
        }
    }
    common.matches.extend(open);
    common.text.reverse();
    common
}

/// Fills the table, a row for each byte of the first string, and tells of every cell which numbers stand above
/// it and to its left. Returns the last cell. Two rows are kept, so the second string should be the shorter one.
fn fill(one: &[u8], other: &[u8], mut cell: impl FnMut(u32, u32)) -> usize {
    let mut above = vec![0_u32; other.len() + 1];
    let mut row = Vec::with_capacity(above.len());
    for byte in one {
        row.clear();
        row.push(0);
        let mut left = 0;
        for (there, corner) in other.iter().zip(above.array_windows::<2>()) {
            let &[diagonal, above] = corner;
            cell(above, left);
            left = if byte == there { diagonal + 1 } else { above.max(left) };
            row.push(left);
        }
        std::mem::swap(&mut above, &mut row);
    }
    above.last().map_or(0, |length| *length as usize)
}

/// Of every cell, whether the way back leads to the byte before in the first string: when the subsequence
/// without this byte is longer than the one without the second string's.
struct Ways {
    bits: Bits,
    /// Length of the shorter string, whose bytes are a row's cells.
    width: usize,
    /// The first string is the shorter one.
    turned: bool,
}

impl Ways {
    fn of(one: &[u8], other: &[u8]) -> Self {
        let mut bits = Bits::default();
        let turned = one.len() < other.len();
        if turned {
            fill(other, one, |above, left| bits.push(left > above));
        } else {
            fill(one, other, |above, left| bits.push(above > left));
        }
        Self { bits, width: one.len().min(other.len()), turned }
    }

    fn leads_back_in_first(&self, i: usize, j: usize) -> bool {
        let (row, column) = if self.turned { (j, i) } else { (i, j) };
        self.bits.get(row * self.width + column)
    }
}

/// A list of bits.
#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    count: usize,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.count.is_multiple_of(64) {
            self.words.push(0);
        }
        if let Some(word) = self.words.last_mut() {
            *word |= u64::from(bit) << (self.count % 64);
        }
        self.count += 1;
    }

    fn get(&self, at: usize) -> bool {
        self.words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(one: &str, other: &str) -> (String, Vec<(usize, usize, usize)>) {
        let common = trace(one.as_bytes(), other.as_bytes());
        assert_eq!(length(one.as_bytes(), other.as_bytes()), common.text.len());
        let matches = common
            .matches
            .iter()
            .map(|found| (*found.first.start(), *found.second.start(), found.length()))
            .collect();
        (String::from_utf8(common.text).unwrap(), matches)
    }

    #[test]
    fn the_manuals_example() {
        // LCS ohmytext mynewtext IDX WITHMATCHLEN
        assert_eq!(
            found("ohmytext", "mynewtext"),
            ("mytext".to_owned(), vec![(4, 5, 4), (2, 0, 2)])
        );
    }

    /// By the whole table of lengths, as the servers walk it.
    fn walked(one: &[u8], other: &[u8]) -> Vec<u8> {
        let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
        for i in 1..=one.len() {
            for j in 1..=other.len() {
                table[i][j] = if one[i - 1] == other[j - 1] {
                    table[i - 1][j - 1] + 1
                } else {
                    table[i - 1][j].max(table[i][j - 1])
                };
            }
        }
        let (mut i, mut j, mut text) = (one.len(), other.len(), Vec::new());
        while i > 0 && j > 0 {
            if one[i - 1] == other[j - 1] {
                text.insert(0, one[i - 1]);
                (i, j) = (i - 1, j - 1);
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        text
    }

    #[test]
    fn strings_without_anything_in_common() {
        for (one, other) in [("", ""), ("abc", ""), ("", "abc"), ("abc", "xyz")] {
            assert_eq!(found(one, other), (String::new(), Vec::new()));
        }
    }

    #[test]
    fn equal_strings_are_one_match() {
        assert_eq!(found("aaaa", "aaaa"), ("aaaa".to_owned(), vec![(0, 0, 4)]));
    }

    #[test]
    fn the_subsequence_stands_in_both() {
        let is_within = |part: &[u8], whole: &[u8]| {
            let mut whole = whole.iter();
            part.iter().all(|byte| whole.any(|there| there == byte))
        };
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..300 {
            let mut text = || -> Vec<u8> {
                let length = random.usize(..40);
                (0..length).map(|_| random.u8(b'a'..=b'd')).collect()
            };
            let (one, other) = (text(), text());
            let common = trace(&one, &other);
            assert!(is_within(&common.text, &one) && is_within(&common.text, &other));
            assert_eq!(common.text, walked(&one, &other));
            assert_eq!(common.text.len(), length(&one, &other));
            let matched: Vec<u8> = common
                .matches
                .iter()
                .rev()
                .flat_map(|found| {
                    assert_eq!(one[found.first.clone()], other[found.second.clone()]);
                    one[found.first.clone()].to_vec()
                })
                .collect();
            assert_eq!(matched, common.text);
        }
    }
}
