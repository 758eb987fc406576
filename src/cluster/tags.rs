//! A hash tag for every slot, for keys that the gateway makes itself.

use super::Slot;

/// A short number for each slot: between braces, it brings a key there.
#[derive(Debug)]
pub struct Tags(Box<[u32]>);

impl Default for Tags {
    fn default() -> Self {
        Self::new()
    }
}

impl Tags {
    /// Finds them: some hundred thousand numbers are tried.
    pub fn new() -> Self {
        let mut tags: Vec<Option<u32>> = vec![None; Slot::COUNT];
        let mut missing = tags.len();
        for number in 0..u32::MAX {
            let slot = Slot::of(itoa::Buffer::new().format(number).as_bytes());
            if let Some(tag @ None) = tags.get_mut(slot.index()) {
                *tag = Some(number);
                missing -= 1;
            }
            if missing == 0 {
                break;
            }
        }
        Self(tags.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// The tag of this slot.
    pub fn of(&self, slot: Slot) -> u32 {
        self.0.get(slot.index()).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_its_tag() {
        let tags = Tags::new();
        for number in 0..Slot::COUNT as u16 {
            let slot = Slot::new(number).unwrap();
            assert_eq!(Slot::of(format!("__gw:{{{}}}:x", tags.of(slot)).as_bytes()), slot);
        }
    }
}
