//! Where requests were redirected to, so that none overtakes an earlier one of its session that went another way.
//!
//! Requests of one session for one slot are under way to one node. When that node redirects them one by one, it may name
//! another target for a later one than for an earlier one, because the slot moved on meanwhile. The later one must then
//! wait until the earlier one has come along. Two targets are rare, so that is looked for only where there are two.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::cluster::Slot;

use super::Question;
use super::hold::name;
use super::node::Node;
use super::pool::Pool;

/// The latest target of each slot's redirections. There are at most as many as slots.
#[derive(Default)]
pub(super) struct Detours(RefCell<HashMap<Slot, Detour, foldhash::fast::FixedState>>);

struct Detour {
    target: Rc<str>,
    /// Some request may still be under way to another one.
    parted: bool,
}

impl Detours {
    /// A request goes another way than at first. Returns whether others of its slot may have gone elsewhere.
    pub(super) fn note(&self, slot: Slot, target: &Node) -> bool {
        let mut detours = self.0.borrow_mut();
        let detour = detours
            .entry(slot)
            .or_insert_with(|| Detour { target: target.address.clone(), parted: false });
        if *detour.target != *target.address {
            detour.target = target.address.clone();
            detour.parted = true;
        }
        detour.parted
    }

    /// All that were redirected are under way to the latest target.
    fn met(&self, slot: Slot) {
        if let Some(detour) = self.0.borrow_mut().get_mut(&slot) {
            detour.parted = false;
        }
    }
}

impl Pool {
    /// A request is redirected to this node. Returns whether it would overtake an earlier one of its asker for the
    /// same slot, which is under way to another node.
    pub(super) fn overtakes(&self, question: &Question, target: &Rc<Node>) -> bool {
        let Some(slot) = question.terms.slot else { return false };
        if !self.detours.note(slot, target) {
            return false;
        }
        let (mut overtakes, mut parted) = (false, false);
        let routes = self.routes.borrow();
        let elsewhere = routes.nodes().filter(|node| !Rc::ptr_eq(node, target));
        for pipeline in elsewhere.flat_map(|node| node.pipelines()) {
            pipeline.each_pending(|other| {
                if other.terms.slot == Some(slot) && other.terms.replica.is_none() {
                    parted |= other.hops > 0 || other.tries > 0;
                    overtakes |= other.serial < question.serial
                        && name(&other.asker) == name(&question.asker);
                }
            });
        }
        if !parted {
            self.detours.met(slot);
        }
        overtakes
    }
}
