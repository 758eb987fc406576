//! Replicas that follow late, and whoever measures how late.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::backend::{Standing, Standings};
use crate::cluster::Course;
use crate::session::Worker;

use super::World;
use super::schedule::Millis;

/// An answer of a replica may be so old.
pub(super) const LAG: Duration = Duration::from_millis(200);
/// A replica that can follows within this time: most of the time soon enough, but not always.
const LATE: Millis = 300;
/// Between two rounds of questions about offsets.
const LOOK: Duration = Duration::from_millis(40);

/// Every replica follows its primary, and the gateway is told how far each has come.
pub(super) fn attend(world: &Rc<World>, worker: &Rc<Worker>) {
    let count = world.cluster.borrow().nodes.len();
    for node in 0..count {
        let world = world.clone();
        spawn_local(async move {
            loop {
                sleep(Duration::from_millis(world.chance(1..=20) as u64)).await;
                world.pause(LATE).await;
                world.cluster.borrow_mut().follow(node);
            }
        });
    }
    spawn_local(measure(world.clone(), worker.clone()));
}

async fn measure(world: Rc<World>, worker: Rc<Worker>) {
    let mut courses: HashMap<Arc<str>, Course<Instant>> = HashMap::new();
    let count = world.cluster.borrow().nodes.len();
    loop {
        for node in 0..count {
            let asked = Instant::now();
            world.pause(3).await;
            let address = world.cluster.borrow().nodes[node].address.clone();
            let progress = world.cluster.borrow().progress(node);
            if let Some(progress) = progress {
                courses.entry(address).or_default().note(asked, progress);
            }
            world.pause(3).await;
            world.standings.store(Arc::new(standings(&courses, &worker)));
        }
        sleep(LOOK).await;
    }
}

/// What the control thread makes of it.
fn standings(courses: &HashMap<Arc<str>, Course<Instant>>, worker: &Worker) -> Standings {
    let topology = worker.pool.topology();
    let shards = topology.shards().iter();
    let pairs = shards.flat_map(|shard| {
        let primary = courses.get(&shard.primary.address);
        shard.replicas.iter().map(move |replica| (primary, replica.address.clone()))
    });
    let stand = |primary: Option<&Course<Instant>>, address: &Arc<str>| Standing {
        as_of: courses.get(address).zip(primary).and_then(|(course, of)| course.is_as_of(of)),
        is_near: false,
    };
    pairs.map(|(primary, address)| (address.clone(), stand(primary, &address))).collect()
}
