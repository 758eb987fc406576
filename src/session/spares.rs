//! Buffers that the sessions of a worker lend each other: who has work takes one, and an idle session owns none.

use std::cell::RefCell;

use crate::resp::RequestParser;

use super::places::Ring;

/// Spares of a kind that are kept.
const KEPT: usize = 64;

/// What lies ready for whoever has work next.
#[derive(Default)]
pub(super) struct Spares {
    /// For bytes that leave.
    pub(super) bytes: Pool<Vec<u8>>,
    /// For places of replies.
    pub(super) rings: Pool<Ring>,
    /// For requests that come.
    pub(super) parsers: Pool<Box<RequestParser>>,
}

/// Spares of one kind, the latest on top: what was used last is in the caches. Whoever gives one has looked that it is
/// empty, and not too large to be kept.
#[derive(Default)]
pub(super) struct Pool<T>(RefCell<Vec<T>>);

impl<T: Default> Pool<T> {
    /// A spare, or a new one.
    pub(super) fn take(&self) -> T {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps it for somebody else, unless there are enough.
    pub(super) fn give(&self, spare: T) {
        let mut spares = self.0.borrow_mut();
        if spares.len() < KEPT {
            spares.push(spare);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_taken_first_and_not_too_many_are_kept() {
        let pool = Pool::default();
        (0..KEPT + 5).for_each(|number| pool.give(number));
        assert_eq!((pool.take(), pool.take()), (KEPT - 1, KEPT - 2));
        let last = (2..KEPT).map(|_| pool.take()).last();
        assert_eq!((last, pool.take()), (Some(0), 0), "the oldest, and a new one");
        assert!(pool.0.borrow().is_empty());
    }
}
