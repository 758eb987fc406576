//! Which answered requests are worth a second look: slow ones, large ones, and a sample of all.
//!
//! The question is asked of every reply, so it costs one comparison and no call. What is looked for, and what
//! becomes of it, is up to those who listen.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;

use super::Ticket;
use super::clock::Micros;

/// What to look for. It starts with nothing.
pub struct Attention {
    /// Replies until one is taken as a sample.
    until_sample: Cell<i64>,
    /// Requests that took this long.
    slow: Cell<Micros>,
    /// Requests and replies of this size in bytes.
    large: Cell<usize>,
}

/// A request that was looked for, with what is known of its reply.
#[derive(Clone, Debug)]
pub struct Noticed {
    /// As it was sent; of a transaction the whole block.
    pub request: Bytes,
    /// From the time it was first sent, holds and redirections included.
    pub total: Micros,
    /// The node that answered, and the time from when it was sent there; `None`: none did.
    pub node: Option<(Rc<str>, Micros)>,
    /// Bytes of the reply.
    pub reply: usize,
    /// Which request it is.
    pub ticket: Ticket,
    /// The reply is an error.
    pub failed: bool,
    /// When it came.
    pub at: Micros,
}

impl Attention {
    pub(super) fn new() -> Self {
        Self {
            until_sample: Cell::new(i64::MAX),
            slow: Cell::new(Micros::MAX),
            large: Cell::new(usize::MAX),
        }
    }

    /// Takes the reply that comes after so many others as the next sample.
    pub fn sample_after(&self, replies: u32) {
        self.until_sample.set(i64::from(replies) + 1);
    }

    /// Takes no more samples.
    pub fn sample_nothing(&self) {
        self.until_sample.set(i64::MAX);
    }

    /// Whether it is time for a sample, and whoever notices something may take it as one.
    pub fn is_sample_due(&self) -> bool {
        self.until_sample.get() <= 0
    }

    /// Looks for requests that took this long, and for requests and replies of this size.
    pub fn look_for(&self, slow: Micros, large: usize) {
        self.slow.set(slow);
        self.large.set(large);
    }

    /// A request is answered: whether it is looked for. Called once for each.
    #[inline]
    pub fn wants(&self, total: Micros, size: usize) -> bool {
        let left = self.until_sample.get() - 1;
        self.until_sample.set(left);
        (left <= 0) | (total >= self.slow.get()) | (size >= self.large.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_for_what_it_was_told() {
        let attention = Attention::new();
        assert!(!attention.wants(Micros::MAX - 1, usize::MAX - 1));
        attention.look_for(10, 100);
        let asked = [(9, 99), (10, 0), (0, 100)].map(|(total, size)| attention.wants(total, size));
        assert_eq!(asked, [false, true, true]);
    }

    #[test]
    fn a_sample_is_due_until_somebody_takes_it() {
        let attention = Attention::new();
        attention.sample_after(2);
        let asked = [(); 4].map(|()| attention.wants(0, 0));
        assert_eq!(asked, [false, false, true, true]);
        assert!(attention.is_sample_due());
        attention.sample_after(0);
        assert!(!attention.is_sample_due() && attention.wants(0, 0));
        attention.sample_nothing();
        assert!(!attention.wants(0, 0));
    }
}
