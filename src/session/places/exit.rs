//! Where replies go when it is their turn, and what counts them.

use crate::backend::Micros;
use crate::metrics::{Outcome, WorkerMetrics};

use super::super::outgoing::Outgoing;
use super::super::tracking::Teller;

/// The way out, for one turn.
pub(in crate::session) struct Exit<'a> {
    pub(in crate::session) outgoing: &'a mut Outgoing,
    pub(in crate::session) teller: &'a mut Teller,
    pub(in crate::session) metrics: &'a WorkerMetrics,
    pub(in crate::session) now: Micros,
}

/// What a whole reply says of the request's outcome.
pub(super) fn outcome(reply: &[u8]) -> Outcome {
    match reply.first() {
        Some(b'-') if reply.starts_with(b"-UNCERTAIN ") => Outcome::Uncertain,
        Some(b'-' | b'!') => Outcome::Error,
        _ => Outcome::Ok,
    }
}
