//! A request becomes a plan: which slot, which parts. Names slots, knows no connections.

mod cursor;
mod pattern;
mod split;

use crate::cluster::Slot;
use crate::command::{Availability, Class, CommandError, CommandSpec, Cross, KeyError};
use crate::resp::Request;

pub use cursor::{Cursor, CursorError, Itinerary, Visit};
pub use pattern::pattern_slot;
pub use split::{KeyByKey, Split, SplitPart};

/// What is to be done with a request.
#[derive(Debug)]
pub enum Plan {
    /// Send it as it came to the owner of this slot. One with `several` keys may find them on both sides of a
    /// migration, and has to be sent again then.
    Forward {
        /// The slot of all its keys.
        slot: Slot,
        /// Whether it has more than one key.
        several: bool,
    },
    /// Send its parts, one per slot, and merge the replies.
    Split(Split),
    /// Send it as it came to any primary.
    AnyNode,
    /// Wait until one of its keys has something.
    Wait {
        /// The slot of all its keys; `None`: they stand in several.
        slot: Option<Slot>,
    },
    /// Ask several nodes, or one after the other, and compute the reply.
    Steps,
    /// MULTI, EXEC and their like: the session's own.
    Transaction,
    /// Publish, or subscribe.
    PubSub,
    /// The gateway answers.
    Local,
}

/// Why a request is not sent. `Display` is the line that the client gets.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The command is not let through, or is malformed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Keys in several slots where that cannot be, or is not allowed.
    #[error("CROSSSLOT Keys in request don't hash to the same slot")]
    CrossSlot,
    /// A part of the gateway that is not there yet.
    #[error("ERR command '{0}' is not supported by this version of the gateway")]
    Unsupported(String),
}

/// How far a request may go, as the settings say.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// How far commands may go across slots.
    pub cross: Cross,
    /// Whether patterns of `SORT` may name other keys.
    pub sort_patterns: bool,
}

/// Keyless scripts run on one steady primary, so that their results repeat: the owner of this slot.
const STEADY: u16 = 0;

/// Decides what to do with a request. `positions` is working memory.
pub fn plan(
    spec: &CommandSpec,
    request: &Request<'_>,
    reach: Reach,
    positions: &mut Vec<u32>,
) -> Result<Plan, RouteError> {
    if spec.default == Availability::Off {
        return Err(spec.refused().into());
    }
    match spec.class {
        Class::Keyed if spec.cross == Cross::Never => Ok(one_key(spec, request)),
        Class::Block if spec.blocks(request) => waits(spec, request, reach, positions),
        Class::Script if spec.keys.is_none() => Ok(Plan::Steps),
        Class::Keyed
        | Class::Split
        | Class::Sequence
        | Class::Gather
        | Class::Store
        | Class::Move
        | Class::Block
        | Class::Script => keyed(spec, request, reach, positions),
        Class::AnyNode => Ok(Plan::AnyNode),
        Class::Local => Ok(Plan::Local),
        Class::Refused => Err(spec.refused().into()),
        Class::AllMasters | Class::AllNodes | Class::Cursor => Ok(Plan::Steps),
        Class::Transaction => Ok(Plan::Transaction),
        Class::PubSub => Ok(Plan::PubSub),
    }
}

fn one_key(spec: &CommandSpec, request: &Request<'_>) -> Plan {
    let key = spec.keys.first(request).and_then(|at| request.arg(at));
    // Without a key no node can tell the slot either: any of them gives the server's own answer.
    key.map_or(Plan::AnyNode, |key| Plan::Forward { slot: Slot::of(key), several: false })
}

fn keyed(
    spec: &CommandSpec,
    request: &Request<'_>,
    reach: Reach,
    positions: &mut Vec<u32>,
) -> Result<Plan, RouteError> {
    match spec.keys.positions(request, positions) {
        Ok(()) => {}
        Err(KeyError::Unknown) => return Ok(Plan::Steps),
        // No node can tell the slot either: any of them gives the server's own error.
        Err(KeyError::Count) => return Ok(Plan::AnyNode),
    }
    let mut slots = positions.iter().filter_map(|&at| request.arg(at as usize)).map(Slot::of);
    let Some(first) = slots.next() else {
        let steady = Plan::Forward { slot: steady(), several: false };
        return Ok(if spec.class == Class::Script { steady } else { Plan::AnyNode });
    };
    if slots.all(|slot| slot == first) {
        let looks_elsewhere = reach.sort_patterns
            && matches!(spec.class, Class::Gather | Class::Store)
            && spec.reads_patterns(request);
        if looks_elsewhere {
            return Ok(Plan::Steps);
        }
        return Ok(Plan::Forward { slot: first, several: positions.len() > 1 });
    }
    match spec.cross_for(request) {
        Cross::Split if spec.class == Class::Split && reach_covers(reach, Cross::Split) => {
            Ok(Plan::Split(Split::new(spec, request, positions)?))
        }
        cross @ (Cross::Split | Cross::Gather | Cross::Store | Cross::Move)
            if reach_covers(reach, cross) =>
        {
            Ok(Plan::Steps)
        }
        _ => Err(RouteError::CrossSlot),
    }
}

/// A request that blocks the connection it runs on.
fn waits(
    spec: &CommandSpec,
    request: &Request<'_>,
    reach: Reach,
    positions: &mut Vec<u32>,
) -> Result<Plan, RouteError> {
    if spec.keys.positions(request, positions).is_err() {
        return Ok(Plan::AnyNode);
    }
    let mut slots = positions.iter().filter_map(|&at| request.arg(at as usize)).map(Slot::of);
    let Some(first) = slots.next() else { return Ok(Plan::AnyNode) };
    if slots.all(|slot| slot == first) {
        return Ok(Plan::Wait { slot: Some(first) });
    }
    match spec.cross_for(request) {
        Cross::Split | Cross::Track if reach_covers(reach, Cross::Split) => {}
        Cross::Move if reach_covers(reach, Cross::Move) => {}
        _ => return Err(RouteError::CrossSlot),
    }
    Ok(Plan::Wait { slot: None })
}

fn steady() -> Slot {
    Slot::new(STEADY).unwrap_or(Slot::of(b""))
}

fn reach_covers(reach: Reach, wanted: Cross) -> bool {
    reach.cross as u8 >= wanted as u8
}
