//! What is known of one request.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::super::link::LinkId;
use super::super::schedule::{Key, Request};
use super::Number;

/// Where a request, or its part for one tag, is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Not at any node: the gateway has it, again or still.
    Gateway,
    /// On its way to a node, there, or its reply on the way back.
    On(LinkId),
    /// Its reply has left the node.
    Answered,
    /// Its connection broke.
    Lost,
}

/// What is known of a request.
pub(super) struct Entry {
    pub(super) request: Request,
    pub(super) parts: Vec<Part>,
    /// The keys for which it ran.
    pub(super) ran: BTreeSet<Key>,
    /// A node has it, or had it, more than once.
    pub(super) repeated: bool,
    /// It was on a connection that broke.
    pub(super) lost: bool,
    /// It was on its way already when an earlier one, before it on its connection, was refused. What the node is ready
    /// to serve by then, it serves out of order, and nobody can know.
    pub(super) crossed: bool,
    /// When its client sent it.
    pub(super) asked: Instant,
    /// The client has its reply, an error or not.
    pub(super) answer: Option<Answer>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Done,
    Uncertain,
    NotDone,
}

pub(super) struct Part {
    pub(super) tag: usize,
    pub(super) place: Place,
    /// A node has had it.
    pub(super) known: bool,
    /// It went to a replica last.
    pub(super) elsewhere: bool,
    /// It went to one at any time: it may see things before or after what its client reads next.
    pub(super) strayed: bool,
    /// Where and when a node last refused it. What is sent there at that very time crosses the refusal.
    pub(super) refused: Option<(LinkId, Instant)>,
    /// A later request of its client for the same slot was sent while the gateway had this one.
    pub(super) overtaken_by: Option<Number>,
}

impl Entry {
    pub(super) fn part(&mut self, tag: usize) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.tag == tag)
    }
}
