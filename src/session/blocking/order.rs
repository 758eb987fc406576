//! Who waits for which keys in this worker, and who may try which key next. No I/O and no clock.
//!
//! Those who take elements of a key are served in order of arrival, one after the other, for as long as the key
//! has some. Those who only read it look all at once. Nobody tries two keys at the same time, so nobody can get
//! two elements.
//!
//! Each change of a key begins a new *epoch* of its line. Who has tried the key in its present epoch has no reason
//! to try again: if the key had got anything since, its watch would have told.

use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use slab::Slab;

/// How a waiter gets what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Takes elements of one key. What one of a kind does not find, nobody of that kind finds.
    Take(Kind),
    /// Looks at all its keys at once and leaves them as they are, or shares them with nobody here.
    Look,
}

/// What those who take are after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    SortedSet,
    /// An element of a list that goes to another one.
    Move,
}

/// What a waiter may do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Try this one of its keys.
    Key(usize),
    /// Look at all its keys.
    All,
    /// Nothing was there at first: from now on it waits.
    Rest,
    /// A node does not let its keys be watched, in these words.
    Refused(Vec<u8>),
}

/// How a try without success went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// There was nothing.
    Nothing,
    /// No node could say: the keys are to be looked at again.
    Unknown,
}

/// A waiter's place here.
pub(super) type Seat = usize;

/// Keys to be armed.
pub(super) type Arms = Vec<Bytes>;

struct Waiter {
    manner: Manner,
    /// Its lines in the order of the request, each with the epoch in which it was last tried.
    lines: Vec<(usize, u64)>,
    /// It has not tried yet all that was there when it came.
    fresh: bool,
    /// It tries a key, or all of them, right now.
    busy: Option<Turn>,
    /// What it has not been told yet.
    turn: Option<Turn>,
    waker: Option<Waker>,
}

/// Those who wait for one key, in order of arrival.
struct Line {
    key: Bytes,
    takers: Vec<Seat>,
    lookers: Vec<Seat>,
    epoch: u64,
    /// Whether the key is there; `None`: it is not armed, or has changed since it was.
    present: Option<bool>,
    /// It is being armed.
    arming: bool,
    /// It must be armed once more after that.
    again: bool,
    /// Somebody takes an element of it right now.
    taking: bool,
}

/// All lines of a worker.
#[derive(Default)]
pub(super) struct Order {
    waiters: Slab<Waiter>,
    lines: Slab<Line>,
    by_key: HashMap<Bytes, usize, foldhash::fast::RandomState>,
}

impl Order {
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// A waiter comes. Its keys are distinct.
    pub(super) fn join(&mut self, keys: &Rc<[Bytes]>, manner: Manner) -> (Seat, Arms) {
        let (seat, mut arms) = (self.waiters.vacant_key(), Vec::new());
        let mut lines = Vec::with_capacity(keys.len());
        for key in keys.iter() {
            let id = self.by_key.get(key).copied().unwrap_or_else(|| {
                arms.push(key.clone());
                let id = self.lines.insert(Line::new(key.clone()));
                self.by_key.insert(key.clone(), id);
                id
            });
            if let Some(line) = self.lines.get_mut(id) {
                line.seats(manner).push(seat);
            }
            lines.push((id, 0));
        }
        let waiter = Waiter { manner, lines, fresh: true, busy: None, turn: None, waker: None };
        self.waiters.insert(waiter);
        self.offer(seat);
        (seat, arms)
    }

    /// A waiter goes, with or without having got something.
    pub(super) fn leave(&mut self, seat: Seat) {
        let Some(waiter) = self.waiters.try_remove(seat) else { return };
        for (at, (id, _)) in waiter.lines.into_iter().enumerate() {
            let Some(line) = self.lines.get_mut(id) else { continue };
            line.seats(waiter.manner).retain(|other| *other != seat);
            if waiter.busy == Some(Turn::Key(at)) {
                line.taking = false;
            }
            if line.takers.is_empty() && line.lookers.is_empty() {
                self.by_key.remove(&line.key);
                self.lines.remove(id);
            } else {
                self.serve(id);
            }
        }
    }

    /// The key is armed.
    pub(super) fn armed(&mut self, key: &[u8], present: bool) -> Arms {
        let Some((id, line)) = self.line_mut(key) else { return Arms::new() };
        if std::mem::take(&mut line.again) {
            return vec![line.key.clone()];
        }
        line.arming = false;
        if line.present != Some(present) {
            line.present = Some(present);
            line.epoch += 1;
        }
        self.serve(id);
        Arms::new()
    }

    /// The key has changed. When it is being armed, the answer tells how it is after the change.
    pub(super) fn changed(&mut self, key: &[u8]) -> Arms {
        self.line_mut(key).and_then(|(_, line)| line.lose()).into_iter().collect()
    }

    /// Nothing is armed any more. An answer that is under way may come from where the key is not any more.
    pub(super) fn changed_all(&mut self) -> Arms {
        let mut arms = Arms::new();
        for (_, line) in &mut self.lines {
            line.again = line.arming;
            arms.extend(line.lose());
        }
        arms
    }

    /// The key could not be armed.
    pub(super) fn failed(&mut self, key: &[u8]) {
        if let Some((_, line)) = self.line_mut(key) {
            line.present = None;
            line.arming = false;
            line.again = false;
        }
    }

    /// A node refuses to arm the key: nobody can wait for it.
    pub(super) fn refused(&mut self, key: &[u8], reply: &[u8]) {
        self.failed(key);
        let Some((_, line)) = self.line_mut(key) else { return };
        let seats: Vec<Seat> = line.takers.iter().chain(&line.lookers).copied().collect();
        for seat in seats {
            self.tell(seat, Turn::Refused(reply.to_vec()));
        }
    }

    /// Keys that are neither armed nor being armed; from now on they are.
    pub(super) fn unarmed(&mut self) -> Arms {
        self.arm_if(|line| line.present.is_none())
    }

    /// All keys, to be armed once more for safety.
    pub(super) fn every(&mut self) -> Arms {
        self.arm_if(|_| true)
    }

    /// Whether [`Self::unarmed`] would find any.
    pub(super) fn has_unarmed(&self) -> bool {
        self.lines.iter().any(|(_, line)| !line.arming && line.present.is_none())
    }

    /// Whether the waiter has not tried yet all that was there when it came.
    pub(super) fn is_fresh(&self, seat: Seat) -> bool {
        self.waiters.get(seat).is_some_and(|waiter| waiter.fresh)
    }

    /// Ready when the waiter may do something.
    pub(super) fn poll_turn(&mut self, seat: Seat, cx: &Context<'_>) -> Poll<Turn> {
        let Some(waiter) = self.waiters.get_mut(seat) else { return Poll::Pending };
        let Some(turn) = waiter.turn.take() else {
            waiter.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if turn == Turn::Rest {
            self.offer(seat);
        }
        Poll::Ready(turn)
    }

    /// The waiter has done what it might, and got nothing.
    pub(super) fn tried(&mut self, seat: Seat, how: Tried) {
        let Some(waiter) = self.waiters.get_mut(seat) else { return };
        let (turn, manner) = (waiter.busy.take(), waiter.manner);
        let concerned: Vec<(usize, u64)> = match turn {
            Some(Turn::Key(at)) => waiter.lines.get(at).copied().into_iter().collect(),
            _ => waiter.lines.clone(),
        };
        waiter.fresh &= manner != Manner::Look;
        for &(id, epoch) in &concerned {
            let Some(line) = self.lines.get_mut(id) else { continue };
            line.taking &= manner == Manner::Look;
            match how {
                // With a pause: it is found among the unarmed.
                Tried::Unknown => line.present = None,
                Tried::Nothing if line.epoch == epoch => self.spare(id, manner),
                Tried::Nothing => {}
            }
        }
        self.offer(seat);
        concerned.iter().for_each(|(id, _)| self.serve(*id));
    }

    /// Nobody of this manner finds anything in this epoch of the line. A fresh waiter tries all the same: what it
    /// is told may be an error.
    fn spare(&mut self, id: usize, manner: Manner) {
        let Some(line) = self.lines.get(id) else { return };
        if manner == Manner::Look {
            return;
        }
        for &seat in &line.takers {
            let same = self.waiters.get_mut(seat).filter(|waiter| waiter.manner == manner);
            let Some(waiter) = same.filter(|waiter| !waiter.fresh && waiter.busy.is_none()) else {
                continue;
            };
            let own = waiter.lines.iter_mut().find(|(own, _)| *own == id);
            if let Some((_, tried)) = own {
                *tried = line.epoch;
            }
        }
    }

    /// Gives turns to those who wait for this key.
    fn serve(&mut self, id: usize) {
        let seats = |order: &Self, takers: bool, at: usize| {
            let line = order.lines.get(id)?;
            // While an element is taken, the next in line must wait.
            let seats = if takers { &line.takers } else { &line.lookers };
            seats.get(at).copied().filter(|_| !takers || !line.taking)
        };
        for takers in [true, false] {
            let mut at = 0;
            while let Some(seat) = seats(self, takers, at) {
                self.offer(seat);
                at += 1;
            }
        }
    }

    /// Gives the waiter a turn if there is one for it.
    fn offer(&mut self, seat: Seat) {
        let Some(waiter) = self.waiters.get(seat) else { return };
        let lines =
            || waiter.lines.iter().filter_map(|&(id, tried)| Some((self.lines.get(id)?, tried)));
        let waits_for_news = waiter.fresh && lines().any(|(line, _)| line.present.is_none());
        if waiter.busy.is_some() || waiter.turn.is_some() || waits_for_news {
            return;
        }
        if waiter.manner == Manner::Look {
            let due = |(line, tried): (&Line, u64)| line.present.is_some() && tried < line.epoch;
            if lines().any(due) {
                self.begin(seat, Turn::All);
            }
            return;
        }
        for (at, (line, tried)) in lines().enumerate() {
            if line.present != Some(true) || tried >= line.epoch {
                continue;
            }
            if !line.taking {
                return self.begin(seat, Turn::Key(at));
            }
            // At first keys are tried in the order of the request.
            if waiter.fresh {
                return;
            }
        }
        if waiter.fresh {
            self.tell(seat, Turn::Rest);
        }
    }

    fn begin(&mut self, seat: Seat, turn: Turn) {
        let Some(waiter) = self.waiters.get_mut(seat) else { return };
        for (at, (id, tried)) in waiter.lines.iter_mut().enumerate() {
            let Some(line) = self.lines.get_mut(*id) else { continue };
            if turn == Turn::All {
                *tried = line.epoch;
            } else if turn == Turn::Key(at) {
                *tried = line.epoch;
                line.taking = true;
            }
        }
        waiter.busy = Some(turn.clone());
        self.tell(seat, turn);
    }

    fn tell(&mut self, seat: Seat, turn: Turn) {
        let Some(waiter) = self.waiters.get_mut(seat) else { return };
        waiter.fresh &= turn != Turn::Rest;
        waiter.turn = Some(turn);
        if let Some(waker) = waiter.waker.take() {
            waker.wake();
        }
    }

    fn arm_if(&mut self, wanted: impl Fn(&Line) -> bool) -> Arms {
        let lines = self.lines.iter_mut().map(|(_, line)| line);
        let due = lines.filter(|line| !line.arming && wanted(line));
        due.map(|line| {
            line.arming = true;
            line.key.clone()
        })
        .collect()
    }

    fn line_mut(&mut self, key: &[u8]) -> Option<(usize, &mut Line)> {
        let id = *self.by_key.get(key)?;
        Some((id, self.lines.get_mut(id)?))
    }
}

impl Line {
    /// A line whose key is being armed.
    fn new(key: Bytes) -> Self {
        Self {
            key,
            takers: Vec::new(),
            lookers: Vec::new(),
            epoch: 0,
            present: None,
            arming: true,
            again: false,
            taking: false,
        }
    }

    fn seats(&mut self, manner: Manner) -> &mut Vec<Seat> {
        if manner == Manner::Look { &mut self.lookers } else { &mut self.takers }
    }

    /// The key is not armed any more. Returns it when it is to be armed.
    fn lose(&mut self) -> Option<Bytes> {
        self.present = None;
        let idle = !std::mem::replace(&mut self.arming, true);
        idle.then(|| self.key.clone())
    }
}

#[cfg(test)]
mod tests;
