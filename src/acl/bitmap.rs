//! Which commands are allowed: one bit per row of the table of commands.

const WORDS: usize = 16;
/// The last bit stands for commands that are not known yet, as in the servers: `+@all` sets it.
const FUTURE: usize = WORDS * 64 - 1;

/// A set of commands by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bitmap([u64; WORDS]);

impl Bitmap {
    pub(super) const NONE: Self = Self([0; WORDS]);
    pub(super) const ALL: Self = Self([u64::MAX; WORDS]);

    /// A number beyond the map is a command that nobody knew when the rules were read.
    #[inline]
    pub(super) fn has(&self, number: u16) -> bool {
        let (word, bit) = place(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(super) fn set(&mut self, number: u16, value: bool) {
        let (word, bit) = place(number);
        if usize::from(number) >= FUTURE {
            return;
        }
        if let Some(word) = self.0.get_mut(word) {
            *word = if value { *word | bit } else { *word & !bit };
        }
    }

    /// How many commands both have.
    pub(super) fn in_common(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(one, other)| (one & other).count_ones()).sum()
    }

    /// Whether commands that are not known yet are allowed too.
    pub(super) fn has_future(&self) -> bool {
        self.has(u16::MAX)
    }
}

#[inline]
fn place(number: u16) -> (usize, u64) {
    let number = usize::from(number).min(FUTURE);
    (number / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_apart() {
        let mut map = Bitmap::NONE;
        for number in [0, 63, 64, 700, 1022] {
            assert!(!map.has(number));
            map.set(number, true);
            assert!(map.has(number));
        }
        assert!(!map.has(1) && !map.has(62) && !map.has(65));
        map.set(64, false);
        assert!(!map.has(64) && map.has(63));
    }

    #[test]
    fn what_is_not_known_yet_is_allowed_by_all_alone() {
        let mut map = Bitmap::NONE;
        map.set(5000, true);
        assert!(!map.has(5000) && !map.has_future());
        let mut map = Bitmap::ALL;
        map.set(5000, false);
        assert!(map.has(5000) && map.has_future());
    }
}
