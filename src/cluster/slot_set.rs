//! A set of slots.

use super::slot::Slot;

const BITS: usize = u64::BITS as usize;

/// Slots, one bit each; without memory until the first one comes.
#[derive(Clone, Debug, Default)]
pub struct SlotSet {
    words: Vec<u64>,
}

impl SlotSet {
    /// Puts a slot in.
    pub fn insert(&mut self, slot: Slot) {
        if self.words.is_empty() {
            self.words = vec![0; Slot::COUNT / BITS];
        }
        if let Some(word) = self.words.get_mut(slot.index() / BITS) {
            *word |= 1 << (slot.index() % BITS);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Whether a slot is in both.
    pub fn meets(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(one, two)| one & two != 0)
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }
}

impl From<Slot> for SlotSet {
    fn from(slot: Slot) -> Self {
        let mut set = Self::default();
        set.insert(slot);
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_and_go() {
        let slot = |index| Slot::new(index).unwrap();
        let mut set = SlotSet::default();
        assert!(set.is_empty());
        assert!(!set.meets(&SlotSet::from(slot(0))));
        for index in [0, 63, 64, 16383] {
            set.insert(slot(index));
            assert!(set.meets(&SlotSet::from(slot(index))), "{index}");
            assert!(!set.meets(&SlotSet::from(slot(7))));
        }
        assert!(!set.is_empty());
        set.clear();
        assert!(set.is_empty());
        assert!(!set.meets(&SlotSet::from(slot(63))));
    }
}
