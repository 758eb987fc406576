//! Gateways that go, and nodes that tell them nonsense.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::stage::Stage;
use crate::tamper::Mode;

/// Between two hand-overs.
const SERVES: Duration = Duration::from_secs(5);
/// How long a node talks nonsense: less than requests wait for it.
const NONSENSE: Duration = Duration::from_secs(5);

/// Another process takes over, and the former one drains.
pub(crate) fn hand_over(stage: &mut Stage<'_>) {
    let former = take_over(stage);
    if stage.gateways[0].id() == former {
        stage.gateways[0].wait_for_end();
    }
    stage.rest(SERVES);
}

/// The same, without waiting for the former one's end. Returns its number.
pub(crate) fn take_over(stage: &mut Stage<'_>) -> u32 {
    let begin = stage.clock.now();
    stage.counted.add(&stage.gateways[0]);
    let former = stage.serving.hand_over(&stage.gateways[0]);
    if let Some(successor) = stage.serving.0 {
        stage.process.store(successor, Ordering::Relaxed);
    }
    stage.struck(format!("process {former} hands over"), begin, begin);
    former
}

/// One of two is killed. It has no successor.
pub(crate) fn kill(stage: &mut Stage<'_>) {
    stage.rest(SERVES);
    if stage.gateways.len() > 1 {
        let begin = stage.clock.now();
        stage.counted.add(&stage.gateways[0]);
        stage.gateways.remove(0).kill();
        stage.process.store(stage.gateways[0].id(), Ordering::Relaxed);
        stage.struck("a gateway is killed", begin, begin);
    }
}

pub(crate) fn rubbish(stage: &mut Stage<'_>) {
    spoil(stage, Mode::Rubbish);
}

pub(crate) fn endless(stage: &mut Stage<'_>) {
    spoil(stage, Mode::Endless);
}

pub(crate) fn drip(stage: &mut Stage<'_>) {
    spoil(stage, Mode::Drip);
}

fn spoil(stage: &mut Stage<'_>, mode: Mode) {
    stage.dead = super::planned::slots_of(stage, 0);
    let begin = stage.clock.now();
    let say = |stage: &Stage<'_>, mode| stage.tamper.as_ref().unwrap().set(mode);
    say(stage, mode);
    stage.rest(NONSENSE);
    say(stage, Mode::Honest);
    let served = stage.clock.now();
    stage.struck(format!("node 0 is {mode:?}"), begin, served);
    stage.rest(NONSENSE);
}
