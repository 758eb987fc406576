//! Buffers that large requests were received into, kept to be filled again.
//!
//! An allocator gives memory of this size back to the system at once, and takes it again page by page: for a value
//! of 1 MiB that costs more than copying it would.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// The smallest buffer that is worth it.
const SMALLEST: usize = 64 << 10;
/// The largest, so that one alone does not take all the room.
const LARGEST: usize = 4 << 20;
/// Bytes that wait here at most, for each worker.
const MOST: usize = 8 << 20;

/// One worker's buffers that nobody uses.
#[derive(Default)]
pub struct Buffers(RefCell<Idle>);

#[derive(Default)]
struct Idle {
    buffers: Vec<BytesMut>,
    /// The fewest that waited here since the last look: so many are not needed.
    fewest: usize,
}

impl Buffers {
    /// An empty buffer with room for `wanted` bytes if there is one, else with room for `least`.
    pub fn take(&self, wanted: usize, least: usize) -> Option<BytesMut> {
        let mut idle = self.0.borrow_mut();
        let holds = |room: usize| move |buffer: &BytesMut| buffer.capacity() >= room;
        let at = idle
            .buffers
            .iter()
            .rposition(holds(wanted))
            .or_else(|| idle.buffers.iter().rposition(holds(least)))?;
        let buffer = idle.buffers.swap_remove(at);
        idle.fewest = idle.fewest.min(idle.buffers.len());
        Some(buffer)
    }

    /// Nobody here needs these bytes any more. If nobody else does either, their memory is used again.
    pub fn give_back(&self, bytes: Bytes) {
        if bytes.len() < SMALLEST {
            return;
        }
        let Ok(mut buffer) = bytes.try_into_mut() else { return };
        buffer.clear();
        let mut idle = self.0.borrow_mut();
        let room = buffer.capacity();
        if (SMALLEST..=LARGEST).contains(&room) && idle.bytes() + room <= MOST {
            idle.buffers.push(buffer);
        }
    }

    /// Lets go of what was not needed since this was last called.
    pub fn ease(&self) {
        let mut idle = self.0.borrow_mut();
        let unneeded = idle.fewest.min(idle.buffers.len());
        idle.buffers.drain(..unneeded);
        idle.fewest = idle.buffers.len();
    }
}

impl Idle {
    fn bytes(&self) -> usize {
        self.buffers.iter().map(BytesMut::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(size: usize) -> Bytes {
        BytesMut::zeroed(size).freeze()
    }

    #[test]
    fn memory_comes_back_empty_and_is_the_same() {
        let buffers = Buffers::default();
        let bytes = filled(1 << 20);
        let place = bytes.as_ptr();
        buffers.give_back(bytes);
        let again = buffers.take(100_000, 100).unwrap();
        assert!(again.is_empty() && again.capacity() >= 1 << 20 && again.as_ptr() == place);
        assert!(buffers.take(100, 100).is_none(), "it is in use");
    }

    #[test]
    fn what_is_still_read_is_not_used_again() {
        let buffers = Buffers::default();
        let bytes = filled(1 << 20);
        let kept = bytes.clone();
        buffers.give_back(bytes);
        assert!(buffers.take(0, 0).is_none());
        drop(kept);
    }

    #[test]
    fn the_one_that_holds_all_is_preferred() {
        let buffers = Buffers::default();
        for size in [128 << 10, 1 << 20, 256 << 10] {
            buffers.give_back(filled(size));
        }
        assert!(buffers.take(1 << 20, 64 << 10).unwrap().capacity() >= 1 << 20);
        assert!(buffers.take(1 << 20, 200 << 10).unwrap().capacity() >= 256 << 10);
        assert!(buffers.take(1 << 20, 200 << 10).is_none());
    }

    #[test]
    fn they_are_bounded_in_size_and_in_all() {
        let buffers = Buffers::default();
        for size in [SMALLEST - 1, LARGEST + 1] {
            buffers.give_back(filled(size));
        }
        assert!(buffers.take(0, 0).is_none());
        (0..20).for_each(|_| buffers.give_back(filled(1 << 20)));
        let idle = buffers.0.borrow();
        assert!(idle.bytes() <= MOST && idle.buffers.len() == 8);
    }

    #[test]
    fn those_that_nobody_needs_are_let_go() {
        let buffers = Buffers::default();
        (0..4).for_each(|_| buffers.give_back(filled(1 << 20)));
        buffers.ease();
        let taken = buffers.take(0, 0).unwrap();
        buffers.give_back(BytesMut::from(&[0; SMALLEST][..]).freeze());
        drop(taken);
        buffers.ease();
        assert_eq!(buffers.0.borrow().buffers.len(), 1, "three were not needed");
        buffers.ease();
        let idle = buffers.0.borrow();
        assert_eq!((idle.buffers.len(), idle.bytes()), (0, 0));
    }
}
