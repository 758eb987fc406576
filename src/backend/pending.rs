//! What a pipeline waits for, and what becomes of it.

use bytes::Bytes;

use super::clock::Micros;
use super::lead::Lead;
use super::{Errand, Question};

/// A request that was sent, or will be as soon as the node takes it.
pub(super) struct Pending {
    pub(super) question: Question,
    pub(super) sent: Micros,
    /// Bytes in the outbox, without what leads.
    pub(super) length: u32,
    pub(super) large: bool,
    /// This goes before it, and its `+OK` comes before the reply.
    pub(super) lead: Lead,
}

impl Pending {
    /// Replies that come before the one that counts.
    pub(super) fn before(&self) -> u32 {
        self.question.terms.before + u32::from(self.lead != Lead::Nothing)
    }
}

/// What the next reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coming {
    /// A preliminary one: it answers what leads, or stands before the reply of a block.
    Preliminary,
    /// The one that counts.
    Reply,
    /// The same, of a block of which the node did not take everything.
    ReplyToSpoiled,
}

/// A request with its reply.
pub(super) struct Answered {
    pub(super) question: Question,
    /// When it was sent to this node.
    pub(super) sent: Micros,
    /// The request's bytes, if it is one that is looked for.
    pub(super) wanted: Option<Bytes>,
    /// The client will cache the reply, and the node does not keep track of it.
    pub(super) untracked: bool,
}

/// A request that lost its connection.
pub(super) struct Orphan {
    pub(super) errand: Errand,
    /// A byte of it was written: it may have run.
    pub(super) touched: bool,
}
