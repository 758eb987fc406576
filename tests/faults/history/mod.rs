//! What clients were told, checked: each kind of history by rules that hold whatever the cluster did meanwhile.
//!
//! The one thing that is excused is what asynchronous replication lost: a write that a node acknowledged and took along
//! when it was lost. That is told by the node's own append-only file (see [`record`]), not assumed.

pub(crate) mod counters;
pub(crate) mod losses;
pub(crate) mod queues;
pub(crate) mod record;
pub(crate) mod registers;
pub(crate) mod topics;

/// Microseconds since the run began.
pub(crate) type Moment = u64;

/// When a request was sent, and when its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) sent: Moment,
    pub(crate) answered: Moment,
}

/// What the client learned of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told<T = ()> {
    /// It ran, and this came of it.
    Done(T),
    /// It did not run.
    Refused,
    /// It may have run: the client was told so, or its gateway was killed.
    Unknown,
}

/// Something that must not be, in words.
pub(crate) type Fault = String;

/// Whether replication may have lost, by a moment, what became known in a span of time.
pub(crate) trait Losses {
    /// The write of this number to this register.
    fn register(&self, key: u32, number: u64, known: Span, by: Moment) -> bool;
    /// The count up to this value, of this counter or pair of counters.
    fn counter(&self, key: &str, value: u64, known: Span, by: Moment) -> bool;
    /// An element's arrival in this queue.
    fn push(&self, queue: u32, element: u64, known: Span, by: Moment) -> bool;
    /// That something was taken from this queue.
    fn pop(&self, queue: u32, known: Span, by: Moment) -> bool;
}

#[cfg(test)]
pub(crate) mod sample {
    use super::{Losses, Moment, Span};

    /// A span of that beginning and end.
    pub(crate) fn span(sent: Moment, answered: Moment) -> Span {
        Span { sent, answered }
    }

    /// All or nothing was lost.
    pub(crate) struct Lost(pub(crate) bool);

    impl Losses for Lost {
        fn register(&self, _: u32, _: u64, _: Span, _: Moment) -> bool {
            self.0
        }

        fn counter(&self, _: &str, _: u64, _: Span, _: Moment) -> bool {
            self.0
        }

        fn push(&self, _: u32, _: u64, _: Span, _: Moment) -> bool {
            self.0
        }

        fn pop(&self, _: u32, _: Span, _: Moment) -> bool {
            self.0
        }
    }
}
