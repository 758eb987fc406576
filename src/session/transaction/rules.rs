//! A transaction and the rules of its client's user.

use super::{State, Transaction};

impl Transaction {
    /// Whether EXEC has begun, and has not been answered.
    pub(in crate::session) fn has_begun(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// What was collected was allowed by other rules: EXEC refuses it. A server would look at each command again.
    pub(in crate::session) fn rules_changed(&mut self) {
        self.spoil();
    }
}
