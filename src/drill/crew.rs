//! The clients that measure: some of the shard that changes its primary, some of another one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Slot, Tags};
use crate::survey::Shard;

use super::client::{Client, Door};
use super::seen::Seen;

/// Clients of the shard that changes its primary.
const CLIENTS: usize = 4;
/// Clients of another shard, which should notice nothing.
const CONTROLS: usize = 2;

/// Clients at work.
#[derive(Debug)]
pub(super) struct Crew {
    start: Instant,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// What those of the shard see, and what the others see.
    seen: [Rc<RefCell<Seen>>; 2],
}

impl Crew {
    /// Puts clients to work, behind the door or at the nodes themselves. Must run on a `LocalRuntime`.
    pub(super) fn start(
        prefix: &str,
        shards: [Option<&Shard>; 2],
        door: impl Fn(&Shard) -> Door,
    ) -> Self {
        let mut crew = Self {
            start: Instant::now(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            seen: Default::default(),
        };
        let tags = Tags::new();
        // Two drills at once do not write each other's keys.
        let run = fastrand::u32(..);
        let groups = shards.into_iter().zip(crew.seen.clone()).zip([CLIENTS, CONTROLS]);
        for ((shard, seen), count) in groups {
            let Some(shard) = shard else { continue };
            for (number, slot) in spread(shard, count).enumerate() {
                let key = format!("{prefix}:{{{}}}:{run:08x}:{number}", tags.of(slot));
                let client = Client::new(door(shard), key, seen.clone());
                crew.tasks.spawn_local(client.run(crew.start, crew.stop.clone()));
            }
        }
        crew
    }

    /// Time since they started.
    pub(super) fn clock(&self) -> Duration {
        self.start.elapsed()
    }

    /// Why clients get no answers, if some do not.
    pub(super) fn trouble(&self) -> Option<String> {
        let idle = self.seen.iter().find(|seen| {
            let seen = seen.borrow();
            seen.count() == 0 && !seen.errors.is_empty()
        })?;
        let kinds: Vec<String> = idle.borrow().errors.keys().cloned().collect();
        Some(kinds.join(", "))
    }

    /// Stops them, lets each remove its key, and says what they saw.
    pub(super) async fn finish(mut self) -> [Seen; 2] {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.seen.map(|seen| seen.take())
    }
}

/// So many slots of the shard, far from each other.
fn spread(shard: &Shard, count: usize) -> impl Iterator<Item = Slot> {
    let slots: Vec<u16> = shard.slots.iter().cloned().flatten().collect();
    (0..count)
        .filter_map(move |number| slots.get(number * slots.len() / count).copied())
        .filter_map(Slot::new)
}
