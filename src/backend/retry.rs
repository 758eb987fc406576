//! What becomes of a request that was refused or lost: it is sent again, held, or given up.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;

use crate::cluster::{Slot, SlotSet};
use crate::resp::write;

use super::clock::{Micros, micros};
use super::hold::{Held, name};
use super::node::Node;
use super::pool::{Hint, Pool, Reason};
use super::redirect::Refusal;
use super::{Cause, Errand, Question};

/// A request whose keys stand on both sides of a migration is retried this long.
const TRY_AGAIN: Micros = 1_000_000;
/// Redirections followed at once; from then on with a pause, for two nodes that point at each other.
const PROMPT_HOPS: u8 = 2;
/// The pause is then as long as after so many tries.
const CIRCLE_TRIES: u8 = 3;

impl Pool {
    /// Sends what was held and may go.
    pub(super) fn attend_held(self: &Rc<Self>, now: Micros) {
        let scouted = self.hold.borrow_mut().take_scouted(now);
        self.release(scouted);
        let (due, postponed) = {
            let mut budget = self.budget.borrow_mut();
            budget.earn(self.sent.get(), now);
            let routes = self.routes.borrow();
            let mut tried = Vec::new();
            self.hold.borrow_mut().take_due(now, &mut budget, |slot| {
                slot.is_none_or(|slot| may_be_tried(routes.owner(slot), &mut tried, now))
            })
        };
        for _ in 0..postponed {
            self.parts.metrics.retries_postponed();
        }
        self.release(due);
    }

    /// Fails what has waited too long.
    pub(super) fn give_up_late(self: &Rc<Self>, now: Micros) {
        let expired = self.hold.borrow_mut().take_expired(now);
        self.release(expired);
    }

    /// A node refused a request that did not run there.
    pub(super) fn refused(
        self: &Rc<Self>,
        mut errand: Errand,
        refusal: Refusal<'_>,
        from: &Node,
        reply: &[u8],
    ) {
        let Some(kind) = refusal.kind() else { return errand.unscripted(reply) };
        self.parts.metrics.redirected(kind);
        if errand.question.terms.replica.is_some() {
            return self.ask_primary(errand);
        }
        let question = &mut errand.question;
        if matches!(refusal, Refusal::TryAgain) && question.terms.splittable {
            return question.asker.split(question.ticket, errand.bytes);
        }
        question.asker.disturbed();
        question.hops = match refusal {
            Refusal::Moved(..) | Refusal::Ask(..) | Refusal::Elsewhere => {
                question.hops.saturating_add(1)
            }
            // The redirections led to the right node, which wants to be asked again.
            _ => 0,
        };
        let cause = Cause::Refused(Bytes::copy_from_slice(reply));
        let slot = question.terms.slot;
        let hops = question.hops;
        match refusal {
            Refusal::Moved(moved, place) => {
                let node = self.named(place, from);
                self.learn(moved, &node);
                let overtakes = self.hold.borrow().has_earlier(&errand.question)
                    || self.overtakes(&errand.question, &node);
                if hops > self.settings().backend.max_redirects {
                    return self.give_up(errand, &cause);
                }
                if hops > PROMPT_HOPS || overtakes || slot.is_none() {
                    errand.question.tries = errand.question.tries.max(CIRCLE_TRIES);
                    return self.hold(errand, cause);
                }
                self.dispatch_to(&node, errand, false);
            }
            Refusal::Ask(place)
                if hops <= self.settings().backend.max_redirects
                    && !self.hold.borrow().has_earlier(&errand.question) =>
            {
                let node = self.named(place, from);
                if self.overtakes(&errand.question, &node) {
                    return self.hold(errand, cause);
                }
                self.dispatch_to(&node, errand, true);
            }
            _ => {
                (self.parts.hint)(Hint { reason: Reason::Refused, node: &from.address });
                self.hold(errand, cause);
            }
        }
    }

    pub(super) fn learn(self: &Rc<Self>, slot: Slot, node: &Rc<Node>) {
        let before = self.routes.borrow().owner(slot).cloned();
        let news = self.routes.borrow_mut().learn(slot, node);
        if news {
            if let Some(replaced) = before.filter(|node| node.is_silent()) {
                self.abandon(&replaced);
            }
            self.moved(&SlotSet::from(slot));
            self.news.notify_one();
            (self.parts.hint)(Hint { reason: Reason::Moved, node: &node.address });
            let waiting = self.hold.borrow_mut().take_slot(slot);
            self.release(waiting);
        }
    }

    /// Keeps a request until its slot is served again, or fails it when it cannot wait.
    pub(super) fn hold(self: &Rc<Self>, mut errand: Errand, cause: Cause) {
        let now = self.parts.clock.now();
        errand.question.asker.disturbed();
        let until = errand.question.born.saturating_add(self.patience(&cause));
        let hopeless =
            errand.question.terms.pinned || matches!(cause, Cause::Deaf(_) | Cause::Barred(_));
        if now >= until || hopeless {
            return self.give_up(errand, &cause);
        }
        let room = self.hold.borrow().has_room(&errand.question.asker, errand.bytes.len());
        if !room {
            self.parts.metrics.hold_rejected();
            return self.give_up(errand, &cause);
        }
        errand.question.tries = errand.question.tries.saturating_add(1);
        self.hold.borrow_mut().add(Held { errand, cause, since: now, until }, now);
        self.parts.metrics.held();
        self.held.notify_one();
    }

    fn patience(&self, cause: &Cause) -> Micros {
        let settings = self.settings();
        let settings = &settings.backend;
        match cause {
            Cause::Refused(reply) if reply.starts_with(b"-TRYAGAIN") => TRY_AGAIN,
            _ => micros(settings.hold_time.min(settings.request_timeout)),
        }
    }

    /// Sends held requests again, in their order; those that waited too long fail.
    pub(super) fn release(self: &Rc<Self>, waiting: impl IntoIterator<Item = Held>) {
        let mut waiting = waiting.into_iter().peekable();
        if waiting.peek().is_none() {
            return;
        }
        let now = self.parts.clock.now();
        let stragglers = self.stragglers();
        for held in waiting {
            let question = &held.errand.question;
            let key = (name(&question.asker), question.terms.slot);
            let is_late = now >= held.until;
            if !is_late && stragglers.get(&key).is_some_and(|serial| *serial < question.serial) {
                self.hold.borrow_mut().put_back(held, now);
                continue;
            }
            let Held { errand, cause, since, .. } = held;
            self.parts.metrics.released(now.saturating_sub(since) as u32);
            if is_late {
                self.give_up(errand, &cause);
            } else {
                self.dispatch(errand);
            }
        }
    }

    /// The earliest requests of each asker and slot that are at a node which does not own the slot, or not any more.
    /// They are about to be redirected, and what follows them must not be first.
    fn stragglers(&self) -> HashMap<(usize, Option<Slot>), u64> {
        let routes = self.routes.borrow();
        let mut found = HashMap::new();
        for pipeline in routes.nodes().flat_map(|node| node.pipelines()) {
            if pipeline.manner().is_readonly {
                continue;
            }
            let owns = |slot| routes.owner(slot).is_some_and(|it| Rc::ptr_eq(it, pipeline.node()));
            pipeline.each_pending(|Question { asker, terms, serial, .. }| {
                if terms.slot.is_some_and(|slot| !owns(slot)) {
                    let earliest = found.entry((name(asker), terms.slot)).or_insert(*serial);
                    *earliest = (*earliest).min(*serial);
                }
            });
        }
        found
    }

    /// The outcome is known: the request did not run. Says why.
    pub(super) fn give_up(&self, errand: Errand, cause: &Cause) {
        let Question { asker, ticket, terms, .. } = &errand.question;
        let mut reply = Vec::new();
        match (cause, terms.slot) {
            (Cause::Refused(refusal), _)
                if refusal.starts_with(b"-MOVED") || refusal.starts_with(b"-ASK") =>
            {
                // A redirection never reaches a client: it would go round the gateway.
                write::error(&mut reply, "CLUSTERDOWN Hash slot not served");
            }
            (Cause::Refused(refusal), _) => reply.extend_from_slice(refusal),
            (Cause::Deaf(_) | Cause::Barred(_), _) => write::error(&mut reply, cause.to_string()),
            (Cause::NotServed, _) => write::error(&mut reply, "CLUSTERDOWN Hash slot not served"),
            (Cause::Lost(why), Some(slot)) => {
                write::error(
                    &mut reply,
                    format!("CLUSTERDOWN Hash slot {} not served: {why}", slot.index()),
                );
            }
            (Cause::Settling, _) => {
                write::error(&mut reply, format!("CLUSTERDOWN try again: {cause}"));
            }
            (Cause::Lost(why), None) => {
                write::error(&mut reply, format!("CLUSTERDOWN no node answers: {why}"))
            }
        }
        errand.notice(&self.attention, self.parts.clock.now(), reply.len());
        asker.settle(*ticket, &reply);
    }
}

/// Whether a request may be sent to the owner of its slot again. Of those for a node that could not be reached the
/// first finds out if it can be, and the others wait for that.
fn may_be_tried(owner: Option<&Rc<Node>>, tried: &mut Vec<Rc<Node>>, now: Micros) -> bool {
    let Some(node) = owner.filter(|node| node.is_usable(now)) else { return false };
    if node.is_reached() {
        return true;
    }
    let first = !node.is_connected() && !tried.iter().any(|other| Rc::ptr_eq(other, node));
    if node.has_failed() && first {
        tried.push(node.clone());
    }
    first || !node.has_failed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::WorkerMetrics;

    #[test]
    fn one_of_many_tries_a_node_that_was_not_reached() {
        let node = Rc::new(Node::new("a:1", WorkerMetrics::default().node("a:1")));
        let tries = |now| {
            let mut tried = Vec::new();
            [(); 2].map(|()| may_be_tried(Some(&node), &mut tried, now))
        };
        assert_eq!(tries(0), [true, true]);
        node.went_down(0, "refused".into(), |_| 10);
        assert_eq!(tries(9), [false, false], "not so soon");
        assert_eq!(tries(10), [true, false]);
        // A connection stands, and another one could not be made.
        node.opened();
        node.went_down(10, "timed out".into(), |_| 10);
        assert_eq!(tries(11), [true, true]);
        node.ended();
        assert_eq!(tries(11), [false, false]);
    }
}
