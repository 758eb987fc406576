//! What a session may know of a pool's connections, and tell it about the nodes and the settings.

use std::rc::Rc;
use std::sync::Arc;

use arc_swap::Guard;

use crate::cluster::Slot;
use crate::config::Settings;

use super::pool::{Hint, Pool, Reason};
use super::{Asker, Terms};

impl Pool {
    /// One slot of every primary that serves any, the lowest, in ascending order: who sends to all of them
    /// reaches every primary, whoever that is by then. `None`: a slot is not served, so a part of the data
    /// would be left out.
    pub fn shards(&self) -> Option<Vec<Slot>> {
        self.routes.borrow().shards()
    }

    /// The connection that requests on these terms use now, if there is one: another number, another connection.
    pub fn line(&self, terms: Terms, asker: &Rc<dyn Asker>) -> Option<u64> {
        let routes = self.routes.borrow();
        let node = routes.owner(terms.slot?)?;
        match terms.own.and_then(|_| asker.lines()) {
            Some(lines) => lines.number_to(node),
            None => Some(node.pipeline(terms.manner())?.number()),
        }
    }

    /// What holds now.
    pub(super) fn settings(&self) -> Guard<Arc<Settings>> {
        self.parts.settings.now()
    }

    /// Most bytes in a message that a node sends of its own accord: it has a string, a text or a key, that may be as
    /// long as clients may send it, and little besides.
    pub(super) fn longest_message(&self) -> usize {
        const BESIDES: usize = 8 << 20;
        self.settings().limits.bulk_bytes.saturating_add(BESIDES)
    }

    /// Looks again at what is copied out of the settings.
    pub fn settings_changed(self: &Rc<Self>) {
        let settings = self.settings();
        self.hold.borrow_mut().limit_to(&settings.backend);
        self.budget.borrow_mut().limit_to(&settings.backend);
        self.read_from(settings.cluster.read_from);
    }

    /// Asks for a look at the topology: this node says that it is another.
    pub fn look_again(&self, node: &str) {
        (self.parts.hint)(Hint { reason: Reason::Moved, node });
    }
}
