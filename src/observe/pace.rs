//! How many looks a second may cost: whatever the load, a bounded number of requests is looked at.

/// Doubles what it skips when there is too much to look at, and halves it when there is little.
#[derive(Debug)]
pub(super) struct Pace {
    /// Looks in one turn before it slows down.
    most: u32,
    taken: u32,
    /// One of so many is looked at.
    every: u32,
}

/// Beyond this the counts would mean nothing.
const RAREST: u32 = 1 << 20;

impl Pace {
    pub(super) fn new(most: u32) -> Self {
        Self { most, taken: 0, every: 1 }
    }

    pub(super) fn every(&self) -> u32 {
        self.every
    }

    /// Something was looked at.
    pub(super) fn looked(&mut self) {
        self.taken += 1;
        if self.taken >= self.most {
            self.taken = 0;
            self.every = (self.every * 2).min(RAREST);
        }
    }

    /// A turn is over.
    pub(super) fn turn(&mut self) {
        if self.taken < self.most / 4 {
            self.every = (self.every / 2).max(1);
        }
        self.taken = 0;
    }
}
