//! What asynchronous replication lost, by the account of the nodes that were lost.

use super::record::Record;
use super::{Losses, Moment, Span};

/// A node acknowledges, and its replica hears of it a moment later: so much of one.
const BEHIND: Moment = 1_000_000;

/// So much later, what is sent is on its way to another.
const UNDER_WAY: Moment = 1_000_000;

/// A node whose place another took.
pub(crate) struct LostNode {
    /// From then on, nobody could be sure to be told by it.
    pub(crate) at: Moment,
    /// It has executed nothing afterwards.
    pub(crate) until: Moment,
    pub(crate) record: Record,
}

/// All nodes that were lost in a run.
#[derive(Default)]
pub(crate) struct LostNodes(pub(crate) Vec<LostNode>);

impl LostNodes {
    /// Whether a node that was lost between the two moments had it, and its replica may not have.
    fn took(&self, known: Span, by: Moment, had: impl Fn(&Record) -> bool) -> bool {
        self.0.iter().any(|lost| {
            // An answer may have waited long for others before it.
            let in_doubt = known.answered >= lost.at.saturating_sub(BEHIND)
                && known.sent <= lost.until + UNDER_WAY;
            in_doubt && lost.at <= by && had(&lost.record)
        })
    }
}

impl Losses for LostNodes {
    fn register(&self, key: u32, number: u64, known: Span, by: Moment) -> bool {
        self.took(known, by, |record| record.has_write(key, number))
    }

    fn counter(&self, key: &str, value: u64, known: Span, by: Moment) -> bool {
        self.took(known, by, |record| record.has_count(key, value))
    }

    fn push(&self, _: u32, element: u64, known: Span, by: Moment) -> bool {
        self.took(known, by, |record| record.has_push(element))
    }

    fn pop(&self, queue: u32, known: Span, by: Moment) -> bool {
        self.took(known, by, |record| record.has_pop(queue))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_lost_node_had_and_only_about_then() {
        let mut record = Record::default();
        record.note_write(7, 3);
        let lost = LostNodes(vec![LostNode { at: 5_000_000, until: 6_000_000, record }]);
        let known = |sent, answered| Span { sent, answered };
        let is_lost = |number, span, by| lost.register(7, number, span, by);
        assert!(is_lost(3, known(4_400_000, 4_500_000), 9_000_000));
        assert!(is_lost(3, known(4_400_000, 8_000_000), 9_000_000), "told behind others");
        assert!(is_lost(3, known(6_000_000, 6_000_001), 9_000_000), "a minority may acknowledge");
        assert!(!is_lost(2, known(4_400_000, 4_500_000), 9_000_000), "it did not have it");
        assert!(!is_lost(3, known(2_900_000, 3_000_000), 9_000_000), "the replica had it");
        assert!(!is_lost(3, known(7_500_000, 7_600_000), 9_000_000), "another acknowledged it");
        assert!(!is_lost(3, known(4_400_000, 4_500_000), 4_900_000), "nothing was lost yet");
        assert!(!LostNodes::default().register(7, 3, known(4_400_000, 4_500_000), 9_000_000));
    }
}
