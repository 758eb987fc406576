//! Scripts and functions: what clients load is on every primary, or they are told that it is not.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::backend::{LeaseError, Manner, Terms};
use crate::command::Target;
use crate::merge::{Merge, ResponsePolicy};
use crate::resp::{Protocol, Value, elements, write};

use super::super::scripts::digest;
use super::broadcast::{Answer, everybody, merged};
use super::{Call, Outcome, Step, Steps, Stop, is_error};

/// How long a node that runs a script is tried: by default it says that it is busy after five seconds.
const BUSY: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(100);

/// Commands of the SCRIPT and FUNCTION families that name no key.
pub(super) async fn perform(steps: &Steps, call: &Call) -> Outcome {
    match &*call.spec().name {
        "SCRIPT KILL" | "FUNCTION KILL" => kill(steps, call).await,
        "FUNCTION STATS" => function_stats(steps, call).await,
        "SCRIPT EXISTS" => script_exists(steps, call).await,
        "SCRIPT SHOW" => script_show(steps, call).await,
        "SCRIPT LOAD" => {
            let reply = merged(steps, call, &everybody(steps, call).await?);
            if !is_error(&reply) {
                steps.worker.scripts.loaded(call.arg(2));
            }
            Ok(reply)
        }
        "SCRIPT FLUSH" => {
            let reply = merged(steps, call, &everybody(steps, call).await?);
            if !is_error(&reply) {
                steps.worker.gateway.colleagues.forget_scripts().await;
            }
            Ok(reply)
        }
        "FUNCTION LOAD" => function_load(steps, call).await,
        _ if call.spec().target == Target::Any => anybody(steps, call).await,
        _ => Ok(merged(steps, call, &everybody(steps, call).await?)),
    }
}

/// Any primary speaks for all.
async fn anybody(steps: &Steps, call: &Call) -> Outcome {
    let terms = Terms { repeatable: true, ..Terms::new(None, steps.manner) };
    steps.one(Step { terms, node: None, request: call.frame().to_vec() }).await
}

/// `SCRIPT EXISTS digest..`: a script that the gateway knows is as good as there.
async fn script_exists(steps: &Steps, call: &Call) -> Outcome {
    let reply = merged(steps, call, &everybody(steps, call).await?);
    let Some(there) = elements(&reply) else { return Ok(reply) };
    let there: Vec<bool> = there.map(|number| number == b":1\r\n").collect();
    let mut out = Vec::new();
    write::array(&mut out, there.len());
    for (there, at) in there.into_iter().zip(2..) {
        let known = there || is_known(steps, call.arg(at)).await;
        write::integer(&mut out, i64::from(known));
    }
    Ok(out)
}

async fn is_known(steps: &Steps, text: &[u8]) -> bool {
    let Some(digest) = digest(text) else { return false };
    steps.worker.scripts.body(&digest).is_some()
        || steps.worker.gateway.colleagues.script(digest).await.is_some()
}

/// `SCRIPT SHOW digest`: the gateway's own copy comes first.
async fn script_show(steps: &Steps, call: &Call) -> Outcome {
    let known = digest(call.arg(2)).and_then(|digest| steps.worker.scripts.body(&digest));
    let Some(body) = known else { return anybody(steps, call).await };
    let mut out = Vec::new();
    write::bulk(&mut out, body);
    Ok(out)
}

/// `FUNCTION LOAD [REPLACE] code`: where some primaries took a new library and others did not, it is taken
/// back. One that was replaced stays, since nobody has the old one any more.
async fn function_load(steps: &Steps, call: &Call) -> Outcome {
    let shards = steps.shards()?;
    let loads = shards.iter().map(|slot| steps.raw(*slot, call.frame().to_vec()));
    let replies = steps.ask_all(loads.collect()).await?;
    let Some(error) = replies.iter().find(|reply| is_error(reply)).cloned() else {
        return replies.into_iter().next().ok_or(Stop::NotCovered);
    };
    let replaces = call.len() > 3;
    let taken = shards.iter().zip(&replies).filter(|(_, reply)| !is_error(reply) && !replaces);
    let mut removals = Vec::new();
    for (slot, reply) in taken {
        let name = Value::parse(reply)?;
        let name = name.bytes().ok_or(Stop::Unexpected)?;
        removals.push(steps.step(*slot, &[b"FUNCTION".as_slice(), b"DELETE", name]));
    }
    if replies.iter().any(|reply| !is_error(reply)) {
        steps.worker.metrics.partial_failure();
    }
    steps.ask_all(removals).await?;
    Ok(error)
}

/// `SCRIPT KILL`, `FUNCTION KILL`: on connections of their own, since a node reads nothing more from the one
/// whose script it runs.
async fn kill(steps: &Steps, call: &Call) -> Outcome {
    let replies = aside(steps, call, Protocol::Resp2).await?;
    let order = (0..replies.len() as u32).collect();
    let lengths = std::iter::repeat_n(1, replies.len());
    let mut merge = Merge::new(ResponsePolicy::OneSucceeded, order, lengths);
    for (answer, part) in replies.iter().zip(0..) {
        merge.fold(part, &answer.reply);
    }
    let mut out = Vec::new();
    merge.write(&mut out);
    Ok(out)
}

/// `FUNCTION STATS`: what runs on any primary, and the engines of the first. A busy node answers it, but not on
/// the connection that keeps it busy.
async fn function_stats(steps: &Steps, call: &Call) -> Outcome {
    let answers = aside(steps, call, steps.manner.protocol).await?;
    if let Some(failed) = answers.iter().find(|answer| is_error(&answer.reply)) {
        return Err(Stop::Node(failed.reply.clone()));
    }
    let is_running = |answer: &&Answer| {
        let stats = Value::parse(&answer.reply);
        stats.is_ok_and(|it| it.get("running_script").is_some_and(|it| !it.is_null()))
    };
    let told = answers.iter().find(is_running).or(answers.first());
    told.map(|answer| answer.reply.clone()).ok_or(Stop::NotCovered)
}

/// Asks every primary on a connection of its own.
async fn aside(steps: &Steps, call: &Call, protocol: Protocol) -> Result<Vec<Answer>, Stop> {
    steps.shards()?;
    let topology = steps.worker.pool.topology();
    // Which database it is about does not matter, and a busy node lets nobody choose one.
    let manner = steps.manner.in_database(0).in_protocol(protocol);
    let asked = topology.shards().iter().map(async |shard| {
        let name = shard.primary.address.clone();
        let reply = aside_at(steps, &name, call.frame(), manner).await;
        Answer { name, reply }
    });
    Ok(join_all(asked).await)
}

async fn aside_at(steps: &Steps, address: &str, request: &[u8], manner: Manner) -> Vec<u8> {
    let deadline = Instant::now() + BUSY;
    let lease = loop {
        match steps.worker.pool.lease_at(address, manner).await {
            Ok(lease) => break Ok(lease),
            // A node that runs a script does not greet before it says that it is busy.
            Err(LeaseError::Lost(_)) if Instant::now() < deadline => sleep(PAUSE).await,
            Err(error) => break Err(error),
        }
    };
    let asked = async {
        let mut lease = lease?;
        let reply = lease.ask(request, 1).await?.pop();
        steps.worker.pool.give_back(lease);
        Ok::<_, LeaseError>(reply)
    };
    let limit = steps.worker.gateway.settings().backend.request_timeout;
    let error = match timeout(limit, asked).await {
        Ok(Ok(Some(reply))) => return reply.to_vec(),
        Ok(Ok(None)) => Stop::Unexpected.to_string(),
        Ok(Err(LeaseError::Lost(why))) => format!("CLUSTERDOWN no node answers: {why}"),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("CLUSTERDOWN no node answers: {address}: no reply within {limit:?}"),
    };
    let mut line = Vec::new();
    write::error(&mut line, error);
    line
}
