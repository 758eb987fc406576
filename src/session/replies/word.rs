//! Word of changed keys, at its place behind the replies.

use std::rc::Rc;

use crate::backend::{Lines, Listener};

use super::super::tracking::{Notice, Way};
use super::{End, Replies};

/// Behind which replies word leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// Those of which something is here.
    Here,
    /// All that are under way.
    All,
}

impl Replies {
    /// Whether the nodes keep track of what the client reads, and somebody is told.
    pub(in crate::session) fn is_tracked(&self) -> bool {
        self.tracked.get()
    }

    /// Requests about keys leave on these connections from now on, and word of changes goes this way. Returns
    /// which way it went before.
    pub(in crate::session) fn track(&self, lines: Option<Rc<Lines>>, way: Way) -> Way {
        self.tracked.set(lines.is_some());
        let before = self.lines.replace(lines);
        let way = self.state.borrow_mut().teller.turn(way);
        drop(before);
        way
    }

    /// Whether the client that was to be told of changes has gone.
    pub(in crate::session) fn is_redirection_broken(&self) -> bool {
        self.state.borrow().teller.is_broken()
    }

    /// Word that leaves right behind the reply to the latest request.
    pub(in crate::session) fn follow(&self, notice: Notice) {
        self.tell(notice, Behind::All);
    }

    fn tell(&self, notice: Notice, behind: Behind) {
        let mut state = self.state.borrow_mut();
        if state.end.is_some() || !state.teller.is_heard() {
            return;
        }
        self.shared.metrics.invalidated();
        let place = match behind {
            Behind::Here => state.places.last_with_reply(),
            Behind::All => state.places.last(),
        };
        let state_now = &mut *state;
        match place {
            Some(place) => state_now.places.add_notice(place, notice),
            None => state_now.teller.tell(notice, &mut state_now.outgoing),
        }
        self.touched(&mut state);
        drop(state);
        self.expect_reader(true);
    }
}

impl Listener for Replies {
    fn changed(&self, keys: Option<&[u8]>, early: bool) {
        self.tell(Notice::written(keys), if early { Behind::All } else { Behind::Here });
    }

    fn missed(&self) {
        self.tell(Notice::ALL, Behind::Here);
        // What is under way may have been read where nobody tells of it any more.
        if self.unsettled() > 0 {
            self.tell(Notice::ALL, Behind::All);
        }
    }

    fn deafened(&self) {
        self.kill(End::Killed);
    }
}
