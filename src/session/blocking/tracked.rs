//! A wait by watching keys: nothing that blocks is sent. When a key has something and it is this waiter's turn, it
//! is taken by the command that does not wait.

use tokio::time::{Instant, sleep_until};

use super::super::dialect::Dialect;
use super::super::steps;
use super::asked::Asked;
use super::found::Found;
use super::order::{Manner, Turn};
use super::wish::Wish;
use super::{Waiting, error};
use crate::backend::{ABORTED, Login, Terms};
use crate::cluster::Slot;
use crate::resp::write;

/// Waits until there is something, and answers the reply; empty when the client gets none.
pub(super) async fn perform(waiting: &mut Waiting) -> Vec<u8> {
    let dialect = Dialect::of(waiting.worker.gateway.software());
    if let Err(fault) = waiting.wish.check(dialect) {
        return error(&*fault);
    }
    if let Err(reply) = may_take(waiting).await {
        return reply;
    }
    if let Err(reply) = find_latest(waiting).await {
        return reply;
    }
    let hold = waiting.worker.gateway.settings().backend.hold_time;
    let out_of_patience = Instant::now() + hold;
    let queue = waiting.worker.queue(waiting.manner.database);
    let place = queue.join(waiting.wish.watched(), waiting.wish.manner());
    loop {
        let fresh = place.is_fresh();
        if !fresh {
            waiting.begins_to_wait();
        }
        let turn = tokio::select! {
            biased;
            ending = waiting.wait.ended() => return waiting.ended(ending),
            turn = place.turn() => turn,
            // What was there when it came is looked at even by a wait of no time at all.
            () = waiting.time_over(), if !fresh => return waiting.nothing(),
            () = sleep_until(out_of_patience), if fresh => return not_served(waiting),
        };
        match turn {
            Turn::Refused(reply) => return reply,
            Turn::Rest => {}
            Turn::Key(_) | Turn::All => {
                let replies = attempt(waiting, &turn).await;
                match waiting.wish.found(&turn, &replies, fresh) {
                    Found::Reply(reply) => return reply,
                    Found::Not(tried) => place.tried(tried),
                }
            }
        }
    }
}

/// Its keys could not be looked at for as long as a request is held.
fn not_served(waiting: &Waiting) -> Vec<u8> {
    let slots = waiting.wish.watched().iter().map(|key| Slot::of(key));
    let why = waiting.worker.pool.not_served(slots).map(|why| why.to_string());
    error(why.unwrap_or_else(|| "CLUSTERDOWN Hash slot not served".to_owned()))
}

/// Does what the waiter wants, without waiting.
async fn attempt(waiting: &Waiting, turn: &Turn) -> Vec<Vec<u8>> {
    let Waiting { worker, client, manner, wish, .. } = waiting;
    if wish.crosses_slots() {
        return vec![steps::pass_element(worker, client.upgrade(), *manner, &wish.call).await];
    }
    ask(waiting, wish.tries(turn)).await
}

/// Whether its user at the nodes may take what it waits for. The keys are watched as the gateway's own user, so nothing
/// would tell before there is something. A node says so of what is queued in a transaction, which then does not run.
async fn may_take(waiting: &Waiting) -> Result<(), Vec<u8>> {
    let Waiting { worker, manner, wish, .. } = waiting;
    if manner.login == Login::OWN || wish.manner() == Manner::Look {
        return Ok(());
    }
    let tries = (0..wish.watched().len()).flat_map(|at| wish.tries(&Turn::Key(at)));
    let ask = |(slot, request): (Slot, Vec<u8>)| {
        let mut block = Vec::new();
        write::command(&mut block, &["MULTI"]);
        block.extend_from_slice(&request);
        write::command(&mut block, &["DISCARD"]);
        let terms = Terms { before: 2, repeatable: true, ..waiting.terms(slot) };
        Asked::owner(&worker.pool, waiting.trail(), terms, block)
    };
    let asked: Vec<_> = tries.map(ask).collect();
    for one in asked {
        let reply = one.reply().await;
        match reply.strip_prefix(ABORTED) {
            Some(why) if why.starts_with(b"NOPERM ") => return Err([b"-", why].concat()),
            None if reply.first() == Some(&b'-') => return Err(reply),
            // Whatever else it objects to is for when it is this waiter's turn.
            _ => {}
        }
    }
    Ok(())
}

/// Replaces `$` by what is there now, so that nothing is missed between two looks.
async fn find_latest(waiting: &mut Waiting) -> Result<(), Vec<u8>> {
    let latest = waiting.wish.latest();
    let requests = latest.iter().map(|(_, key)| (Slot::of(key), Wish::ask_latest(key))).collect();
    let replies = ask(waiting, requests).await;
    for ((number, _), reply) in latest.into_iter().zip(replies) {
        if !waiting.wish.note_latest(number, &reply) {
            return Err(reply);
        }
    }
    Ok(())
}

/// Sends all requests at once and waits for all replies, whatever happens to the client meanwhile.
async fn ask(waiting: &Waiting, requests: Vec<(Slot, Vec<u8>)>) -> Vec<Vec<u8>> {
    let (pool, trail) = (&waiting.worker.pool, waiting.trail());
    let send = |(slot, request)| Asked::owner(pool, trail.clone(), waiting.terms(slot), request);
    let asked: Vec<_> = requests.into_iter().map(send).collect();
    let mut replies = Vec::with_capacity(asked.len());
    for one in asked {
        replies.push(one.reply().await);
    }
    replies
}
