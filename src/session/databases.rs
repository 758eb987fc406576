//! Several databases, where the cluster has them: which one a client is in, and what goes from one to another.

use bytes::Bytes;

use crate::cluster::Slot;
use crate::command::CommandSpec;
use crate::resp::Request;

use super::conversation::{Conversation, Flow};
use super::worker::Gateway;

impl Gateway {
    /// How many databases clients may select.
    pub(super) fn databases(&self) -> u16 {
        self.software().databases().min(self.settings().backend.databases)
    }
}

impl Conversation {
    /// What follows is about this database.
    pub(super) fn enter(&self, database: u16) {
        self.client.means(self.manner().in_database(database));
    }

    /// Whether it is `MOVE`, which only a cluster with one database refuses.
    pub(super) fn moves_between_databases(&self, spec: &CommandSpec) -> bool {
        spec.name == "MOVE" && self.worker.gateway.databases() > 1
    }

    /// `MOVE key database`: a slot is the same in all databases, so its owner does all of it.
    pub(super) fn move_key(
        &self,
        spec: &CommandSpec,
        request: &Request<'_>,
        whole: Option<&Bytes>,
    ) -> Flow {
        let slot = request.arg(1).map(Slot::of);
        if slot.is_some_and(|slot| self.replies.is_delicate(slot)) {
            return Flow::Wait;
        }
        let ticket = self.replies.expect(self.about(spec, request));
        self.forward(ticket, self.terms(spec, slot, request), request, whole);
        Flow::Next
    }
}
