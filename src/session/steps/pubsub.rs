//! PUBSUB: who listens to what, as one server would tell it; and PUBLISH of a client that may hear itself.
//!
//! Every node is asked, because clients may be connected to nodes as well. The gateway's own subscriptions there
//! are taken off, and the clients that they serve are counted instead. A node that does not answer has nobody.

use std::collections::HashSet;
use std::sync::Arc;

use crate::acl::glob::{self, Case};
use crate::backend::{Kind, Origin, Terms, Topic};
use crate::resp::{Value, integer as as_integer, write};

use super::super::pubsub::{Destination, Publication, Rooms, is_mark};
use super::{Call, Outcome, Step, Steps, Stop, is_error};

/// Performs a command of the class `PubSub` that takes several steps.
pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    match &*call.spec().name {
        "PUBLISH" | "SPUBLISH" => publish(steps, call).await,
        "PUBSUB CHANNELS" => names(steps, call, Kind::Channel).await,
        "PUBSUB SHARDCHANNELS" => names(steps, call, Kind::Shard).await,
        "PUBSUB NUMSUB" => counts(steps, call, Kind::Channel).await,
        "PUBSUB SHARDNUMSUB" => counts(steps, call, Kind::Shard).await,
        "PUBSUB NUMPAT" => patterns(steps, call).await,
        _ => Err(Stop::Unsupported(call.spec().wire_name())),
    }
}

/// The client's own subscriptions get the message before it gets the reply.
async fn publish(steps: &Steps, call: &Call) -> Outcome {
    let rooms = &steps.worker.rooms;
    let mut publication = Publication::of(rooms, call.spec(), &call.request());
    publication.is_sent(rooms, true);
    let mut request = Vec::new();
    publication.write(&call.request(), &mut request);
    let terms = publication.terms(Terms::new(None, steps.manner));
    let reply = steps.one(Step { terms, node: None, request }).await?;
    let origin = match publication.destination() {
        Destination::Home => Origin::Home,
        Destination::Slot(slot) => Origin::Owner(slot),
    };
    rooms.upstream.caught_up(std::iter::once(origin)).await;
    let mut out = Vec::new();
    publication.correct(&reply, &mut out);
    Ok(out)
}

/// `PUBSUB CHANNELS [pattern]`
async fn names(steps: &Steps, call: &Call, kind: Kind) -> Outcome {
    if call.len() > 3 {
        let name = String::from_utf8_lossy(call.arg(1)).into_owned();
        let mut line = Vec::new();
        write::error(
            &mut line,
            format!(
                "ERR unknown subcommand or wrong number of arguments for '{name}'. Try PUBSUB HELP."
            ),
        );
        return Ok(line);
    }
    let replies = everybody(steps, call).await?;
    let rooms = &steps.worker.rooms;
    let wanted = |name: &[u8]| call.len() < 3 || glob::matches(call.arg(2), name, Case::Matters);
    let mut found = rooms.census.names(kind);
    found.retain(|name| wanted(name));
    let carried = if kind == Kind::Shard { carried(rooms) } else { HashSet::new() };
    for reply in &replies {
        let list = Value::parse(reply)?;
        let names = list.as_array().unwrap_or_default().iter().filter_map(Value::bytes);
        let shown = names.filter(|name| !carried.contains(*name) && !is_mark(name));
        found.extend(shown.map(Arc::from));
    }
    let mut out = Vec::new();
    write::array(&mut out, found.len());
    found.iter().for_each(|name| write::bulk(&mut out, name));
    Ok(out)
}

/// Plain channels that are shard channels at the nodes, and to nobody else.
fn carried(rooms: &Rooms) -> HashSet<Arc<[u8]>> {
    let mut names = rooms.census.names(Kind::Channel);
    names.retain(|name| rooms.carrier(Kind::Channel, name) == Kind::Shard);
    names
}

/// `PUBSUB NUMSUB [channel ..]`
async fn counts(steps: &Steps, call: &Call, kind: Kind) -> Outcome {
    let channels = call.len().saturating_sub(2);
    let mut counts = vec![0; channels];
    for reply in everybody(steps, call).await? {
        let list = Value::parse(&reply)?;
        let found = list.pairs().filter_map(|(_, count)| count.as_integer());
        counts.iter_mut().zip(found).for_each(|(count, found)| *count += found);
    }
    let mut out = Vec::new();
    write::array(&mut out, 2 * channels);
    for (count, at) in counts.into_iter().zip(2..) {
        let name = call.arg(at);
        write::bulk(&mut out, name);
        write::integer(&mut out, corrected(steps, kind, name, count));
    }
    Ok(out)
}

fn corrected(steps: &Steps, kind: Kind, name: &[u8], count: i64) -> i64 {
    let rooms = &steps.worker.rooms;
    let mut audience = rooms.census.of(kind, name);
    let topic = Topic { kind, name: name.into() };
    if kind == Kind::Shard {
        audience.shared = rooms.audience(kind, name).shared;
    } else if rooms.carrier(kind, name) == Kind::Shard {
        audience.shared = 0;
    } else if topic.hears_events() {
        audience.shared *= primaries(steps);
    }
    audience.corrected(count)
}

/// `PUBSUB NUMPAT`
async fn patterns(steps: &Steps, call: &Call) -> Outcome {
    let replies = everybody(steps, call).await?;
    let count: i64 = replies.iter().filter_map(|reply| as_integer(reply)).sum();
    let own = steps.worker.rooms.census.names(Kind::Pattern);
    let primaries = primaries(steps);
    let shared: i64 = own
        .iter()
        .map(|name| Topic { kind: Kind::Pattern, name: name.clone() })
        .map(|topic| if topic.hears_events() { primaries } else { 1 })
        .sum();
    let mut out = Vec::new();
    write::integer(&mut out, (count - shared).max(0) + own.len() as i64);
    Ok(out)
}

fn primaries(steps: &Steps) -> i64 {
    steps.worker.pool.topology().shards().len() as i64
}

/// What every node that answers says.
async fn everybody(steps: &Steps, call: &Call) -> Result<Vec<Vec<u8>>, Stop> {
    let topology = steps.worker.pool.topology();
    let questions = topology.nodes().map(|node| {
        steps.at_node(&node.address.as_ref().into(), call.frame().to_vec()).repeatable()
    });
    let mut replies = steps.ask_all(questions.collect()).await?;
    replies.retain(|reply| !is_error(reply));
    Ok(replies)
}
