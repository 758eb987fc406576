//! Requests on their way to a node: kept until their replies are there, so that a redirected request can be
//! sent again without a copy having been made of every request.
//!
//! Small requests stand one behind the other in one buffer. A large one travels as shared [`Bytes`] at its
//! place in the stream, and is written straight from where it was received.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use bytes::Bytes;

use super::buffers::Buffers;

/// Released bytes at the front are moved away when they pass this size and half of the buffer.
const COMPACT_FROM: usize = 64 << 10;
/// An empty buffer keeps at most this much memory.
const KEEP: usize = 256 << 10;

/// A large request and its place in the stream.
struct Large {
    /// Bytes of `small` that come before it.
    at: usize,
    bytes: Bytes,
}

/// The stream of requests to one node: `released | written, unanswered | not yet written`.
#[derive(Default)]
pub(super) struct Outbox {
    small: Vec<u8>,
    /// Bytes of `small` whose requests are answered.
    released: usize,
    /// Bytes of `small` handed to the socket.
    written: usize,
    large: VecDeque<Large>,
    /// How many of `large` are written whole, and how much of the next one.
    large_written: usize,
    large_progress: usize,
    /// Bytes ever handed to the socket and ever released, small and large.
    total_written: u64,
    total_released: u64,
    /// Where the memory of large requests goes.
    buffers: Rc<Buffers>,
}

impl Outbox {
    pub(super) fn new(buffers: Rc<Buffers>) -> Self {
        Self { buffers, ..Self::default() }
    }

    /// Appends what `write` writes, and returns its length in bytes.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.small.len();
        write(&mut self.small);
        self.small.len() - before
    }

    /// Appends a request that is shared rather than copied.
    pub(super) fn append_large(&mut self, bytes: Bytes) {
        self.large.push_back(Large { at: self.small.len(), bytes });
    }

    /// What to write next, at most two slices; both empty when all is written.
    pub(super) fn next_slices(&self) -> [IoSlice<'_>; 2] {
        let large = self.large.get(self.large_written);
        let end = large.map_or(self.small.len(), |large| large.at);
        let small = self.small.get(self.written..end).unwrap_or_default();
        let large =
            large.and_then(|large| large.bytes.get(self.large_progress..)).unwrap_or_default();
        [IoSlice::new(small), IoSlice::new(large)]
    }

    /// Whether anything waits to be written.
    pub(super) fn has_unwritten(&self) -> bool {
        self.written < self.small.len() || self.large_written < self.large.len()
    }

    /// The socket took `count` bytes of [`Self::next_slices`].
    pub(super) fn advance(&mut self, count: usize) {
        self.total_written += count as u64;
        let large = self.large.get(self.large_written);
        let end = large.map_or(self.small.len(), |large| large.at);
        let from_small = count.min(end - self.written);
        self.written += from_small;
        self.large_progress += count - from_small;
        if large.is_some_and(|large| self.large_progress >= large.bytes.len()) {
            self.large_written += 1;
            self.large_progress = 0;
        }
    }

    /// Whether a byte of the request that starts `offset` bytes after the released ones was written.
    pub(super) fn touched(&self, offset: u64) -> bool {
        self.total_written > self.total_released + offset
    }

    /// The oldest request is answered; it was `length` bytes long, `large` or not.
    pub(super) fn release(&mut self, length: usize, large: bool) {
        self.total_released += length as u64;
        if large {
            if let Some(large) = self.large.pop_front() {
                self.buffers.give_back(large.bytes);
            }
            self.large_written = self.large_written.saturating_sub(1);
        } else {
            self.released += length;
        }
        if self.released == self.small.len() && self.large.is_empty() {
            self.clear();
        } else if self.released > COMPACT_FROM && self.released * 2 > self.small.len() {
            self.compact();
        }
    }

    /// Like [`Self::release`], and returns the request's bytes.
    pub(super) fn take(&mut self, length: usize, large: bool) -> Bytes {
        let bytes = if large {
            self.large.front().map(|large| large.bytes.clone()).unwrap_or_default()
        } else {
            let range = self.released..self.released + length;
            Bytes::copy_from_slice(self.small.get(range).unwrap_or_default())
        };
        self.release(length, large);
        bytes
    }

    fn clear(&mut self) {
        self.small.clear();
        if self.small.capacity() > KEEP {
            self.small = Vec::new();
        }
        self.released = 0;
        self.written = 0;
    }

    fn compact(&mut self) {
        let gone = self.released;
        self.small.drain(..gone);
        self.released = 0;
        // A request may be answered before it is written whole only by a broken node; the connection is cut then.
        self.written = self.written.saturating_sub(gone);
        for large in &mut self.large {
            large.at = large.at.saturating_sub(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut stream = Vec::new();
        while outbox.has_unwritten() {
            let mut left = step;
            let mut taken = 0;
            for slice in outbox.next_slices() {
                let count = left.min(slice.len());
                stream.extend_from_slice(&slice[..count]);
                left -= count;
                taken += count;
            }
            outbox.advance(taken);
        }
        stream
    }

    #[test]
    fn small_and_large_requests_keep_their_order_whatever_the_socket_takes() {
        for step in 1..12 {
            let mut outbox = Outbox::default();
            outbox.append(|out| out.extend_from_slice(b"one "));
            outbox.append_large(Bytes::from_static(b"LARGE "));
            outbox.append_large(Bytes::from_static(b"AGAIN "));
            outbox.append(|out| out.extend_from_slice(b"two "));
            outbox.append_large(Bytes::from_static(b"LAST"));
            assert_eq!(drain(&mut outbox, step), b"one LARGE AGAIN two LAST", "step {step}");
        }
    }

    #[test]
    fn a_request_is_touched_from_its_first_written_byte() {
        let mut outbox = Outbox::default();
        outbox.append(|out| out.extend_from_slice(b"aaaa"));
        outbox.append(|out| out.extend_from_slice(b"bbbb"));
        assert!(!outbox.touched(0));
        outbox.advance(4);
        assert!(outbox.touched(0));
        assert!(!outbox.touched(4));
        outbox.advance(1);
        assert!(outbox.touched(4));
        outbox.release(4, false);
        assert!(outbox.touched(0));
    }

    #[test]
    fn taken_requests_come_back_whole_after_compaction() {
        let mut outbox = Outbox::default();
        let frame = vec![b'x'; 10_000];
        for _ in 0..20 {
            outbox.append(|out| out.extend_from_slice(&frame));
        }
        outbox.append_large(Bytes::from_static(b"L"));
        outbox.append(|out| out.extend_from_slice(b"tail"));
        assert_eq!(drain(&mut outbox, 4096).len(), 200_005);
        for _ in 0..20 {
            assert_eq!(outbox.take(10_000, false), frame);
        }
        assert_eq!(outbox.take(1, true), &b"L"[..]);
        assert_eq!(outbox.take(4, false), &b"tail"[..]);
        assert!(!outbox.has_unwritten());
        assert!(outbox.small.is_empty());
    }
}
