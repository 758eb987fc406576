//! What is subscribed to, on which connection, and how far that is. Decides only; sends nothing.
//!
//! Invariant: messages of a topic count from one connection at a time, its source. When a topic is to come from
//! elsewhere it is subscribed to there first, and left at the old place only then.

use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use slab::Slab;

use super::{Hearer, Kind, Topic};

/// Number of a connection among those open now.
pub(super) type FeedId = usize;

/// What a connection is asked to do about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Join,
    Leave,
}

/// A connection on which a topic belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) feed: FeedId,
    /// Whether the topic's messages count from here.
    pub(super) source: bool,
}

/// How far a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its messages come.
    Established,
    /// It is being subscribed to or left.
    UnderWay,
    /// The node's objection.
    Refused(Bytes),
    /// Nobody wants it, and no connection carries it.
    Gone,
}

/// What makes a message count, or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nature {
    /// Its own node alone knows of it, so it counts wherever it comes from.
    pub(super) event: bool,
    /// It comes just after the home node has changed, so the former one may have passed it on before.
    pub(super) late: bool,
}

/// One topic on one connection.
struct Hold {
    feed: FeedId,
    /// Whether the last order was to join.
    asked: bool,
    /// The node has confirmed that.
    confirmed: bool,
    /// Orders that are not answered yet; only the answer to the last one says how it stands.
    under_way: u32,
}

struct Entry {
    topic: Topic,
    /// `None`: it is to be left.
    hearer: Option<Weak<dyn Hearer>>,
    holds: Vec<Hold>,
    source: Option<FeedId>,
    /// Its messages came from another connection before.
    moved: bool,
    wanted_source: Option<FeedId>,
    refusal: Option<Bytes>,
    /// Times in a row that a node sent it elsewhere.
    detours: u8,
    waiting: Vec<Waker>,
}

/// All topics of a worker. Those that are affected by a loss come back as who was listening.
#[derive(Default)]
pub(super) struct Topics {
    entries: Slab<Entry>,
    names: [HashMap<Arc<[u8]>, usize, foldhash::fast::RandomState>; Kind::COUNT],
}

/// Who may have missed a message.
pub(super) type Missed = Option<Rc<dyn Hearer>>;

impl Topics {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every number of a topic is below this.
    pub(super) fn end(&self) -> usize {
        self.entries.capacity()
    }

    pub(super) fn topic(&self, index: usize) -> Option<&Topic> {
        self.entries.get(index).map(|entry| &entry.topic)
    }

    /// Somebody wants this topic from now on; returns its number.
    pub(super) fn enter(&mut self, topic: &Topic, hearer: Weak<dyn Hearer>) -> usize {
        if let Some(index) = self.find(topic.kind, &topic.name) {
            if let Some(entry) = self.entries.get_mut(index) {
                entry.hearer = Some(hearer);
                entry.refusal = None;
            }
            return index;
        }
        let index = self.entries.insert(Entry {
            topic: topic.clone(),
            hearer: Some(hearer),
            holds: Vec::new(),
            source: None,
            moved: false,
            wanted_source: None,
            refusal: None,
            detours: 0,
            waiting: Vec::new(),
        });
        self.names_of(topic.kind).insert(topic.name.clone(), index);
        index
    }

    /// Nobody wants this topic any more. Returns its number while a connection still carries it.
    pub(super) fn leave(&mut self, topic: &Topic) -> Option<usize> {
        let index = self.find(topic.kind, &topic.name)?;
        self.entries.get_mut(index)?.hearer = None;
        self.forget_if_gone(index);
        self.entries.contains(index).then_some(index)
    }

    /// Says what is to be done so that the topic comes from these connections and from no other.
    pub(super) fn place(
        &mut self,
        index: usize,
        sites: &[Site],
        orders: &mut Vec<(FeedId, Order)>,
    ) -> Missed {
        let entry = self.entries.get_mut(index)?;
        let sites = if entry.hearer.is_some() { sites } else { &[] };
        for site in sites {
            let hold = entry.hold_at(site.feed);
            if !hold.asked {
                hold.ask(true);
                orders.push((site.feed, Order::Join));
            }
        }
        entry.wanted_source = sites.iter().find(|site| site.source).map(|site| site.feed);
        let missed = entry.switch();
        let is_there =
            |site: &Site| entry.holds.iter().any(|hold| hold.feed == site.feed && hold.confirmed);
        if entry.hearer.is_none() || (!sites.is_empty() && sites.iter().all(is_there)) {
            for hold in entry.holds.iter_mut().filter(|hold| hold.asked) {
                if !sites.iter().any(|site| site.feed == hold.feed) {
                    hold.ask(false);
                    orders.push((hold.feed, Order::Leave));
                }
            }
        }
        missed
    }

    /// The connection has answered the oldest order for the topic, without an objection.
    pub(super) fn done(&mut self, feed: FeedId, index: usize) -> Missed {
        let entry = self.entries.get_mut(index)?;
        let at = entry.holds.iter().position(|hold| hold.feed == feed)?;
        let hold = entry.holds.get_mut(at)?;
        hold.under_way = hold.under_way.saturating_sub(1);
        if hold.under_way > 0 {
            return None;
        }
        if hold.asked {
            hold.confirmed = true;
            entry.detours = 0;
            entry.refusal = None;
        } else {
            entry.remove(at);
        }
        let missed = entry.switch();
        entry.wake();
        self.forget_if_gone(index);
        missed
    }

    /// The node does not carry the topic (any more), whatever was asked. `objection`: and says why not.
    pub(super) fn refused(
        &mut self,
        feed: FeedId,
        index: usize,
        objection: Option<&[u8]>,
    ) -> Missed {
        let entry = self.entries.get_mut(index)?;
        let at = entry.holds.iter().position(|hold| hold.feed == feed)?;
        let hold = entry.holds.get_mut(at)?;
        hold.under_way = hold.under_way.saturating_sub(1);
        let missed = if hold.under_way == 0 { entry.remove(at) } else { None };
        if let Some(objection) = objection {
            entry.refusal = Some(Bytes::copy_from_slice(objection));
        }
        entry.wake();
        self.forget_if_gone(index);
        missed
    }

    /// The node has ended the subscription by itself. Returns the topic's number, too.
    pub(super) fn dropped(
        &mut self,
        feed: FeedId,
        kind: Kind,
        name: &[u8],
    ) -> Option<(usize, Missed)> {
        let index = self.find(kind, name)?;
        let entry = self.entries.get_mut(index)?;
        let at = entry.holds.iter().position(|hold| hold.feed == feed)?;
        // Orders under way say how it stands when they are answered.
        if entry.holds.get(at)?.under_way > 0 {
            return None;
        }
        let missed = entry.remove(at);
        self.forget_if_gone(index);
        Some((index, missed))
    }

    /// The connection is gone, with all that it carried.
    pub(super) fn lost(&mut self, feed: FeedId) -> Vec<Rc<dyn Hearer>> {
        let mut missed = Vec::new();
        for index in 0..self.end() {
            let Some(entry) = self.entries.get_mut(index) else { continue };
            if let Some(at) = entry.holds.iter().position(|hold| hold.feed == feed) {
                missed.extend(entry.remove(at));
                entry.wake();
                self.forget_if_gone(index);
            }
        }
        missed
    }

    /// A node sent the topic elsewhere; returns whether to go there at once, and not around in a circle.
    pub(super) fn may_follow(&mut self, index: usize) -> bool {
        const PROMPT: u8 = 3;
        self.entries.get_mut(index).is_some_and(|entry| {
            entry.detours = entry.detours.saturating_add(1);
            entry.detours <= PROMPT
        })
    }

    /// Who hears a message for this topic that came by this connection: nobody, when it is not the source.
    pub(super) fn hearer(
        &self,
        feed: FeedId,
        kind: Kind,
        name: &[u8],
        nature: Nature,
    ) -> Option<Rc<dyn Hearer>> {
        let entry = self.entries.get(self.find(kind, name)?)?;
        let repeated = nature.late && entry.moved && kind != Kind::Shard;
        let counts = (entry.source == Some(feed) && !repeated)
            || (nature.event && entry.holds.iter().any(|hold| hold.feed == feed && hold.confirmed));
        if counts { entry.hearer.as_ref()?.upgrade() } else { None }
    }

    /// Whether the topic comes from everywhere where it should.
    pub(super) fn is_established(&self, kind: Kind, name: &[u8]) -> bool {
        let entry = self.find(kind, name).and_then(|index| self.entries.get(index));
        entry.is_some_and(Entry::is_established)
    }

    /// How far a topic is; the waker is woken when that changes.
    pub(super) fn standing(&mut self, topic: &Topic, waker: &Waker) -> Standing {
        let found = self.find(topic.kind, &topic.name);
        let Some(entry) = found.and_then(|index| self.entries.get_mut(index)) else {
            return Standing::Gone;
        };
        if let Some(refusal) = entry.refusal.clone().filter(|_| entry.source.is_none()) {
            return Standing::Refused(refusal);
        }
        if entry.hearer.is_some() && entry.is_established() {
            return Standing::Established;
        }
        entry.wait(waker);
        Standing::UnderWay
    }

    /// Whether nobody wants the topic and a connection still carries it; the waker is woken when that changes.
    pub(super) fn is_leaving(&mut self, topic: &Topic, waker: &Waker) -> bool {
        let found = self.find(topic.kind, &topic.name);
        let Some(entry) = found.and_then(|index| self.entries.get_mut(index)) else { return false };
        if entry.hearer.is_none() {
            entry.wait(waker);
        }
        entry.hearer.is_none()
    }

    /// Whether the topic is wanted and does not come yet.
    pub(super) fn is_unsettled(&self, index: usize) -> bool {
        self.entries
            .get(index)
            .is_some_and(|entry| entry.hearer.is_some() && !entry.is_established())
    }

    fn find(&self, kind: Kind, name: &[u8]) -> Option<usize> {
        self.names.get(kind as usize)?.get(name).copied()
    }

    #[expect(clippy::indexing_slicing, reason = "there are as many maps as kinds")]
    fn names_of(
        &mut self,
        kind: Kind,
    ) -> &mut HashMap<Arc<[u8]>, usize, foldhash::fast::RandomState> {
        &mut self.names[kind as usize]
    }

    fn forget_if_gone(&mut self, index: usize) {
        let gone = |entry: &Entry| entry.hearer.is_none() && entry.holds.is_empty();
        if self.entries.get(index).is_some_and(gone) {
            let mut entry = self.entries.remove(index);
            self.names_of(entry.topic.kind).remove(&entry.topic.name);
            entry.wake();
        }
    }
}

impl Hold {
    fn ask(&mut self, join: bool) {
        self.asked = join;
        self.confirmed = false;
        self.under_way += 1;
    }
}

impl Entry {
    fn hold_at(&mut self, feed: FeedId) -> &mut Hold {
        let at = self.holds.iter().position(|hold| hold.feed == feed);
        let at = at.unwrap_or_else(|| {
            self.holds.push(Hold { feed, asked: false, confirmed: false, under_way: 0 });
            self.holds.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found or pushed just now")]
        &mut self.holds[at]
    }

    /// Messages come, from everywhere where they were asked for.
    fn is_established(&self) -> bool {
        let comes = |hold: &Hold| hold.asked && hold.confirmed && self.source == Some(hold.feed);
        self.holds.iter().any(comes) && self.holds.iter().all(|hold| !hold.asked || hold.confirmed)
    }

    /// The hold is gone; if the messages came from there, one may have been missed.
    fn remove(&mut self, at: usize) -> Missed {
        let hold = self.holds.swap_remove(at);
        if self.source != Some(hold.feed) {
            return None;
        }
        self.source = None;
        self.moved = true;
        self.listener()
    }

    /// Lets the messages come from where they should, once they do come from there.
    fn switch(&mut self) -> Missed {
        let wanted = self.wanted_source?;
        let is_there = self.holds.iter().any(|hold| hold.feed == wanted && hold.confirmed);
        if !is_there || self.source == Some(wanted) {
            return None;
        }
        let other = self.source.replace(wanted);
        self.moved |= other.is_some();
        self.wake();
        other.and_then(|_| self.listener())
    }

    fn listener(&self) -> Missed {
        self.hearer.as_ref()?.upgrade()
    }

    fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
