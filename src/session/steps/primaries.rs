//! What all primaries together say of themselves, for INFO.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use crate::cluster::Slot;
use crate::merge::info::{self, Section};
use crate::resp::Value;

use super::super::worker::Worker;
use super::{Step, Steps, request};

/// How long they have: INFO is no reason to wait for a node to come back.
const PATIENCE: Duration = Duration::from_secs(1);

/// The sections with these titles, of all primaries as one. `None` when one of them does not answer: what the
/// others say would be wrong.
pub(in crate::session) async fn primaries_info(
    worker: Rc<Worker>,
    titles: &[&str],
) -> Option<Vec<Section>> {
    let steps = Steps::own(worker);
    let topology = steps.worker.pool.topology();
    if topology.covered() < Slot::COUNT {
        return None;
    }
    let words: Vec<String> =
        std::iter::once(&"INFO").chain(titles).map(|word| word.to_ascii_lowercase()).collect();
    let primaries = topology.shards().iter().map(|shard| &shard.primary.address);
    let ask = |address: &str| steps.at_node(&address.into(), request(&words)).repeatable();
    let asked: Vec<Step> = primaries.map(|address| ask(address)).collect();
    let replies = timeout(PATIENCE, steps.all(asked)).await.ok()?.ok()?;
    let mut texts = Vec::with_capacity(replies.len());
    for reply in &replies {
        texts.push(String::from_utf8_lossy(Value::parse(reply).ok()?.bytes()?).into_owned());
    }
    Some(info::sum(&texts.iter().map(String::as_str).collect::<Vec<_>>()))
}
