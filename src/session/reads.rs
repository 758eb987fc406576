//! Which of a client's reads replicas may answer: those that cannot miss what the client wrote itself, and cannot
//! be overtaken by what it writes next.
//!
//! Nothing here runs unless `cluster.read_from` names replicas.

use crate::backend::{Leeway, Micros, micros};
use crate::cluster::Slot;
use crate::command::{Access, Class, CommandSpec};
use crate::resp::Request;
use crate::route::Plan;

use super::conversation::{Conversation, Flow};

/// Slots written to that are told apart; of more of them, only the latest write to any is known.
const MOST_SLOTS: usize = 32;

/// When a client wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Written {
    /// Before this time.
    Before(Micros),
    /// Perhaps it has no reply yet.
    Lately,
}

/// What a client has written, as far as replicas may not know of it yet.
#[derive(Default)]
pub(super) struct Reads {
    slots: Vec<(Slot, Written)>,
    anywhere: Option<Written>,
    /// A replica may still owe a reply.
    are_elsewhere: bool,
    /// The request that is being served may be answered by a replica.
    leeway: Option<Leeway>,
}

impl Reads {
    /// Whether a replica may answer the request that is being served. Asked once.
    pub(super) fn take_leeway(&mut self) -> Option<Leeway> {
        self.leeway.take()
    }

    fn wrote_to(&mut self, slot: Slot) {
        let has_room = self.slots.len() < MOST_SLOTS;
        match self.slots.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, written)) => *written = Written::Lately,
            None if has_room => self.slots.push((slot, Written::Lately)),
            None => self.wrote_anywhere(),
        }
    }

    fn wrote_anywhere(&mut self) {
        self.slots.clear();
        self.anywhere = Some(Written::Lately);
    }

    /// Everything has its reply: what was written was written before `now`.
    fn settled(&mut self, now: Micros) {
        self.are_elsewhere = false;
        let all = self.slots.iter_mut().map(|(_, written)| written).chain(&mut self.anywhere);
        all.for_each(|written| *written = (*written).min(Written::Before(now)));
    }

    /// What was written before this time, every replica that is read from has.
    fn forget_before(&mut self, time: Micros) {
        self.slots.retain(|(_, written)| *written >= Written::Before(time));
        self.anywhere = self.anywhere.filter(|written| *written >= Written::Before(time));
    }

    /// A replica that answers must have all of this slot that was written before this time; `None`: no replica can.
    fn needs(&self, slot: Slot) -> Option<Micros> {
        let here = self.slots.iter().find(|(known, _)| *known == slot).map(|(_, written)| *written);
        match here.max(self.anywhere) {
            None => Some(0),
            Some(Written::Before(time)) => Some(time),
            Some(Written::Lately) => None,
        }
    }
}

impl Conversation {
    /// Notes what the request writes, and whether a replica may answer it. `Wait`: replicas must answer first, for
    /// this request could change what they answer.
    pub(super) fn choose_reader(
        &mut self,
        spec: &CommandSpec,
        request: &Request<'_>,
        plan: Option<&Plan>,
    ) -> Flow {
        self.reads.leeway = None;
        if self.replies.unsettled() == 0 {
            self.reads.settled(self.worker.clock.now());
        }
        if reads_only(spec) {
            if let Some(Plan::Forward { slot, several: false }) = plan
                && spec.is_same_everywhere(request)
                && !self.transaction.is_watching()
                && let Some(since) = self.reads.needs(*slot)
            {
                self.reads.leeway = Some(Leeway::since(since));
                self.reads.are_elsewhere = true;
            }
            return Flow::Next;
        }
        if self.reads.are_elsewhere {
            return Flow::Wait;
        }
        let lag = micros(self.worker.gateway.settings().cluster.replica_lag);
        self.reads.forget_before(self.worker.clock.now().saturating_sub(lag));
        match plan {
            Some(Plan::Forward { slot, .. }) => self.reads.wrote_to(*slot),
            Some(Plan::Split(split)) => {
                split.parts().iter().for_each(|part| self.reads.wrote_to(part.slot));
            }
            Some(Plan::Local | Plan::AnyNode) | None => {}
            Some(_) => self.reads.wrote_anywhere(),
        }
        Flow::Next
    }
}

/// Whether the command writes nothing, whatever the request says.
fn reads_only(spec: &CommandSpec) -> bool {
    let may_write = matches!(spec.class, Class::Transaction | Class::Script);
    !may_write && spec.access != Access::Write
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    #[test]
    fn what_was_written_is_needed_once_it_has_its_reply() {
        let mut reads = Reads::default();
        assert_eq!(reads.needs(slot(1)), Some(0));
        reads.wrote_to(slot(1));
        assert_eq!((reads.needs(slot(1)), reads.needs(slot(2))), (None, Some(0)));
        reads.settled(70);
        assert_eq!((reads.needs(slot(1)), reads.needs(slot(2))), (Some(70), Some(0)));
        reads.settled(80);
        assert_eq!(reads.needs(slot(1)), Some(70), "it was written before that");
        reads.wrote_to(slot(1));
        assert_eq!(reads.needs(slot(1)), None);
        reads.settled(90);
        reads.forget_before(90);
        assert_eq!(reads.needs(slot(1)), Some(90));
        reads.forget_before(91);
        assert_eq!(reads.needs(slot(1)), Some(0));
    }

    #[test]
    fn many_slots_are_one() {
        let mut reads = Reads::default();
        (0..=MOST_SLOTS as u16).for_each(|number| reads.wrote_to(slot(number)));
        assert_eq!(reads.needs(slot(9_999)), None);
        reads.settled(5);
        reads.wrote_to(slot(3));
        assert_eq!((reads.needs(slot(3)), reads.needs(slot(9_999))), (None, Some(5)));
    }

    #[test]
    fn what_is_still_under_way_is_not_forgotten() {
        let mut reads = Reads::default();
        reads.wrote_to(slot(1));
        reads.forget_before(Micros::MAX);
        assert_eq!(reads.needs(slot(1)), None);
    }
}
