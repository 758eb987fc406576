//! What happens to the cluster. Whatever an event begins it also ends, so that the cluster is whole after the last.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::sleep;

use super::World;
use super::cluster::NodeId;
use super::schedule::{Event, Millis};

/// How long word of a change is on its way at most.
const GOSSIP: Millis = 150;

const LOADING: &str = "LOADING Redis is loading the dataset in memory";
const DOWN: &str = "CLUSTERDOWN The cluster is down";
const READONLY: &str = "READONLY You can't write against a read only replica.";

/// Returns when it is over.
pub(super) async fn happen(world: Rc<World>, begins: Millis, event: Event) {
    sleep(Duration::from_millis(begins)).await;
    tracing::debug!(?event, "begins");
    let shards = world.cluster.borrow().shards.len();
    match event {
        Event::Migrate { tag, to, each } => migrate(&world, tag, to % shards, each).await,
        Event::Failover { shard, .. }
        | Event::Crash { shard, .. }
        | Event::Freeze { shard, .. }
        | Event::Refuse { shard, .. }
        | Event::Absent { shard, .. } => {
            let shard = shard % shards;
            let is_busy =
                std::mem::replace(&mut world.cluster.borrow_mut().shards[shard].busy, true);
            if !is_busy {
                strike(&world, shard, &event).await;
                world.cluster.borrow_mut().shards[shard].busy = false;
            }
        }
        Event::Reset { shard, runs_on } => {
            let primary = world.cluster.borrow().shards[shard % shards].primary;
            world.cut(primary, runs_on);
        }
    }
}

async fn migrate(world: &Rc<World>, tag: usize, to: usize, each: Millis) {
    let begins = world.cluster.borrow_mut().begin_move(tag, to);
    if !begins {
        return;
    }
    loop {
        pass(each).await;
        let moves = world.cluster.borrow_mut().move_key(tag);
        if !moves {
            break;
        }
    }
    pass(each).await;
    let state = world.cluster.borrow_mut().end_move(tag);
    spread(world, state.unwrap_or_default());
}

async fn strike(world: &Rc<World>, shard: usize, event: &Event) {
    let primary = world.cluster.borrow().shards[shard].primary;
    match *event {
        Event::Failover { readonly, .. } => {
            if take_over(world, shard) {
                refuse(world, primary, Some(READONLY));
                pass(readonly).await;
                refuse(world, primary, None);
            }
        }
        Event::Crash { takeover, back, loading, .. } => {
            world.cluster.borrow_mut().nodes[primary].up = false;
            world.cut(primary, false);
            pass(takeover).await;
            take_over(world, shard);
            pass(back).await;
            refuse(world, primary, Some(LOADING));
            world.cluster.borrow_mut().nodes[primary].up = true;
            pass(loading).await;
            refuse(world, primary, None);
        }
        Event::Freeze { time, takeover, .. } => {
            world.cluster.borrow_mut().nodes[primary].frozen = true;
            let takeover = takeover.unwrap_or(time);
            pass(takeover).await;
            if takeover < time {
                take_over(world, shard);
                pass(time - takeover).await;
            }
            world.cluster.borrow_mut().nodes[primary].frozen = false;
        }
        Event::Refuse { time, loading, .. } => {
            refuse(world, primary, Some(if loading { LOADING } else { DOWN }));
            pass(time).await;
            refuse(world, primary, None);
        }
        Event::Absent { time, frozen, .. } => {
            let replica = world.cluster.borrow().replica_of(shard);
            if let Some(replica) = replica {
                absent(world, replica, time, frozen).await;
            }
        }
        Event::Migrate { .. } | Event::Reset { .. } => {}
    }
}

async fn absent(world: &Rc<World>, node: NodeId, time: Millis, frozen: bool) {
    if frozen {
        world.cluster.borrow_mut().nodes[node].frozen = true;
        pass(time).await;
        world.cluster.borrow_mut().nodes[node].frozen = false;
    } else {
        world.cluster.borrow_mut().nodes[node].up = false;
        world.cut(node, false);
        pass(time).await;
        world.cluster.borrow_mut().nodes[node].up = true;
    }
}

/// A replica becomes the primary; false: there is none.
fn take_over(world: &Rc<World>, shard: usize) -> bool {
    let Some(replica) = world.cluster.borrow().replica_of(shard) else { return false };
    let state = world.cluster.borrow_mut().promote(shard, replica);
    spread(world, state);
    true
}

fn refuse(world: &World, node: NodeId, words: Option<&'static str>) {
    world.cluster.borrow_mut().nodes[node].refusing = words;
}

/// Word of a state of the cluster reaches every node, each in its time.
fn spread(world: &Rc<World>, state: usize) {
    let count = world.cluster.borrow().nodes.len();
    for node in 0..count {
        let world = world.clone();
        spawn_local(async move {
            world.pause(GOSSIP).await;
            while world.cluster.borrow().nodes[node].frozen {
                pass(1).await;
            }
            world.cluster.borrow_mut().hears(node, state);
        });
    }
}

async fn pass(time: Millis) {
    sleep(Duration::from_millis(time)).await;
}
