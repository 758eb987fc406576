//! Looks for elements that a gateway left on their way, because it was killed or lost the nodes, and sends them
//! back to where they came from. One worker of a process does it, where commands may write in two slots at all.
//!
//! An element is left behind when a ledger has named it for long enough, by the clock of whoever looks: so the
//! clocks of several gateways need not agree.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cluster::Slot;
use crate::config::CrossSlot;
use crate::resp::Value;

use super::super::worker::Worker;
use super::stage::{ARRIVED, Stage, Way, ledger};
use super::{Steps, Stop, integer};

/// A look at all ledgers is taken as often as elements go back, times this; at one that names something, always.
const SELDOM: u32 = 5;
/// Ledgers asked for at once, with a pause behind them: a look must not be felt.
const AT_ONCE: usize = 256;
const BREATH: Duration = Duration::from_millis(2);

impl Worker {
    /// Looks after abandoned elements for as long as the worker lives.
    pub async fn tidy(self: Rc<Self>) {
        if !self.gateway.claims_tidying() {
            return;
        }
        let gateway = self.gateway.clone();
        let mut janitor = Janitor { steps: Steps::own(self), met: HashMap::new() };
        let mut turn = 0_u32;
        let mut may_move = false;
        loop {
            may_move |= gateway.settings().routing.cross_slot == CrossSlot::Move;
            sleep(gateway.settings().routing.stage_return).await;
            // What was moved before a reload forbade it is still looked after.
            if may_move {
                janitor.look(turn.is_multiple_of(SELDOM)).await;
                turn = turn.wrapping_add(1);
            }
        }
    }
}

struct Janitor {
    steps: Steps,
    /// When each way was first seen, by slot and name.
    met: HashMap<(Slot, String), Instant>,
}

impl Janitor {
    /// Looks at the ledgers: at all of them, or at those that named something.
    async fn look(&mut self, at_all: bool) {
        let slots: Vec<Slot> = if at_all {
            (0..Slot::COUNT as u16).filter_map(Slot::new).collect()
        } else {
            self.met.keys().map(|(slot, _)| *slot).collect()
        };
        let before = std::mem::take(&mut self.met);
        for slots in slots.chunks(AT_ONCE) {
            let found = self.with_ledgers(slots).await;
            let mut unseen = if found.is_err() { slots.to_vec() } else { Vec::new() };
            for slot in found.unwrap_or_default() {
                if self.look_at(slot, &before).await.is_err() {
                    unseen.push(slot);
                }
            }
            // What could not be looked at keeps its age.
            let kept = before.iter().filter(|((slot, _), _)| unseen.contains(slot));
            self.met.extend(kept.map(|(way, first)| (way.clone(), *first)));
            sleep(BREATH).await;
        }
    }

    async fn with_ledgers(&self, slots: &[Slot]) -> Result<Vec<Slot>, Stop> {
        let question = |slot: &Slot| {
            self.steps.step(*slot, &["EXISTS", &ledger(&self.steps, *slot)]).repeatable()
        };
        let replies = self.steps.ask_all(slots.iter().map(question).collect()).await?;
        let found =
            slots.iter().zip(&replies).filter(|(_, reply)| integer(reply).is_ok_and(|n| n > 0));
        Ok(found.map(|(slot, _)| *slot).collect())
    }

    async fn look_at(
        &mut self,
        slot: Slot,
        before: &HashMap<(Slot, String), Instant>,
    ) -> Result<(), Stop> {
        let age = self.steps.worker.gateway.settings().routing.stage_return;
        let question = self.steps.step(slot, &["HGETALL", &ledger(&self.steps, slot)]).repeatable();
        let notes = self.steps.one(question).await?;
        for (id, note) in Value::parse(&notes)?.pairs() {
            let (Some(id), Some(way)) = (id.as_str(), note.bytes().and_then(Way::read)) else {
                continue;
            };
            let name = (slot, id.to_owned());
            let first = before.get(&name).copied().unwrap_or_else(Instant::now);
            let stage = Stage::found(&self.steps, way, id.to_owned());
            if first.elapsed() < age || self.finish(&stage).await.is_err() {
                self.met.insert(name, first);
            }
        }
        Ok(())
    }

    /// What has arrived is no longer on its way; what has not goes back.
    async fn finish(&self, stage: &Stage) -> Result<(), Stop> {
        let (source, destination) = (stage.way().source_slot(), stage.way().destination_slot());
        let receipt = self.steps.raw(destination, stage.has_arrived()).repeatable();
        if integer(&self.steps.one(receipt).await?)? == ARRIVED {
            self.steps.one(self.steps.block(source, &stage.clear())).await?;
        } else {
            // When the source is no list any more, the element stays where it is.
            self.steps.one(self.steps.raw(source, stage.go_back())).await?;
            self.steps.one(self.steps.raw(source, stage.strike())).await?;
            tracing::info!(slot = source.index(), "an element that was left on its way went back");
        }
        self.steps.let_go(self.steps.raw(destination, stage.tear_up()));
        Ok(())
    }
}
