//! Nodes that join, and replicas that take over, get the scripts and functions that clients count on.
//!
//! Scripts are no part of a node's data: a replica has those only that it was told itself. Functions are, but a
//! primary that joins has none. Every worker brings the scripts that its clients loaded; one worker of the
//! process brings the functions.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::cluster::Topology;
use crate::resp::Value;

use super::super::worker::Worker;
use super::{Steps, Stop, is_error, request};

/// Tries to bring the functions to a node, and the pause between two.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// What a node is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Serves slots.
    Primary,
    /// Gets its functions from its primary.
    Replica,
    /// Serves none, or not yet.
    Idle,
}

/// The nodes that a worker has met, by id.
#[derive(Debug, Default)]
pub(in crate::session) struct Acquaintances(HashMap<String, Standing>);

/// Who is to get what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Newcomers {
    /// Addresses of those that need scripts.
    scripts: Vec<Rc<str>>,
    /// Addresses of those that need functions too.
    functions: Vec<Rc<str>>,
    /// Address of a primary that was here before.
    source: Option<Rc<str>>,
}

impl Acquaintances {
    /// Takes a topology's nodes in. The first topology has no newcomers: nothing is known of what it should have.
    fn meet(&mut self, topology: &Topology) -> Newcomers {
        let mut newcomers = Newcomers::default();
        let is_first = self.0.is_empty();
        let mut present = HashMap::new();
        for (id, address, standing) in nodes(topology) {
            let before = self.0.get(id).copied();
            present.insert(id.to_owned(), standing);
            if before == Some(Standing::Primary) && standing == Standing::Primary {
                newcomers.source.get_or_insert_with(|| address.into());
            }
            if is_first || before == Some(standing) {
                continue;
            }
            if before.is_none() || standing == Standing::Primary {
                newcomers.scripts.push(address.into());
            }
            if before.is_none() && standing != Standing::Replica {
                newcomers.functions.push(address.into());
            }
        }
        self.0 = present;
        newcomers
    }
}

fn nodes(topology: &Topology) -> impl Iterator<Item = (&str, &str, Standing)> {
    let shards = topology.shards().iter().flat_map(|shard| {
        let replicas = shard.replicas.iter().map(|node| (node, Standing::Replica));
        std::iter::once((&shard.primary, Standing::Primary)).chain(replicas)
    });
    let idle = topology.idle().iter().map(|node| (node, Standing::Idle));
    shards.chain(idle).map(|(node, standing)| (&*node.id, &*node.address, standing))
}

impl Worker {
    /// The pool has taken a topology over.
    pub fn topology_changed(self: &Rc<Self>) {
        let topology = self.pool.topology();
        let newcomers = self.acquaintances.borrow_mut().meet(&topology);
        for address in &newcomers.scripts {
            for body in self.scripts.kept() {
                self.scripts.send_to(&self.pool, &body, address);
            }
        }
        let Some(source) = newcomers.source.filter(|_| !newcomers.functions.is_empty()) else {
            return;
        };
        if self.gateway.is_first_with(topology.version) {
            for address in newcomers.functions {
                spawn_local(bring_functions(self.clone(), source.clone(), address));
            }
        }
    }
}

/// Copies the functions of a primary that was here before. A replica that was taken for something else refuses
/// them, which is as well.
async fn bring_functions(worker: Rc<Worker>, source: Rc<str>, address: Rc<str>) {
    let steps = Steps::own(worker);
    for _ in 0..TRIES {
        match copy_functions(&steps, &source, &address).await {
            Ok(()) => return,
            Err(Stop::Node(error)) if error.starts_with(b"-READONLY ") => return,
            Err(why) => {
                let why = why.line();
                let why = String::from_utf8_lossy(&why);
                tracing::debug!(node = %address, reason = %why.trim_end(), "functions not copied yet");
            }
        }
        sleep(PAUSE).await;
    }
    tracing::warn!(node = %address, "a node that joined did not take the cluster's functions");
}

async fn copy_functions(steps: &Steps, source: &Rc<str>, address: &Rc<str>) -> Result<(), Stop> {
    let list = request(&["FUNCTION", "LIST"]);
    let list = steps.one(steps.at_node(source, list).repeatable()).await?;
    if Value::parse(&list)?.as_array().is_some_and(<[_]>::is_empty) {
        return Ok(());
    }
    let dump = request(&["FUNCTION", "DUMP"]);
    let dump = steps.one(steps.at_node(source, dump).repeatable()).await?;
    let dump = Value::parse(&dump)?;
    let payload = dump.bytes().ok_or(Stop::Unexpected)?;
    let restore = request(&[b"FUNCTION".as_slice(), b"RESTORE", payload, b"REPLACE"]);
    let reply = steps.ask_all(vec![steps.at_node(address, restore).repeatable()]).await?;
    match reply.into_iter().next() {
        Some(error) if is_error(&error) => Err(Stop::Node(error)),
        _ => {
            tracing::info!(node = %address, "functions copied to a node that joined");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Health, Role, Seen, View, merge_views};

    /// `id`, `id>primary` for a replica, `id=first-last` for a primary with slots.
    fn topology(nodes: &[&str]) -> Topology {
        let seen = nodes.iter().map(|text| {
            let (id, role, slots) = match (text.split_once('='), text.split_once('>')) {
                (Some((id, range)), _) => {
                    let (first, last) = range.split_once('-').unwrap();
                    (id, Role::Primary, vec![first.parse().unwrap()..=last.parse().unwrap()])
                }
                (_, Some((id, primary))) => (id, Role::ReplicaOf(primary.to_owned()), Vec::new()),
                _ => (*text, Role::Primary, Vec::new()),
            };
            Seen {
                id: id.to_owned(),
                address: Some(format!("{id}:1").into()),
                announced: Vec::new(),
                myself: id == "a",
                role,
                health: Health::Online,
                epoch: 1,
                slots,
            }
        });
        let view = View { healthy: true, current_epoch: 1, nodes: seen.collect() };
        merge_views(&[view], &Topology::empty()).unwrap()
    }

    fn met(known: &mut Acquaintances, nodes: &[&str]) -> (Vec<String>, Vec<String>) {
        let found = known.meet(&topology(nodes));
        let text = |list: Vec<Rc<str>>| list.iter().map(|it| it.replace(":1", "")).collect();
        (text(found.scripts), text(found.functions))
    }

    #[test]
    fn who_is_new_and_who_took_over() {
        let mut known = Acquaintances::default();
        let nothing = || (Vec::new(), Vec::new());
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            met(&mut known, &["a=0-99", "b=100-199", "c>a"]),
            nothing(),
            "nobody is new at first"
        );
        assert_eq!(met(&mut known, &["a=0-99", "b=100-199", "c>a"]), nothing());
        assert_eq!(
            met(&mut known, &["a", "b=100-199", "c=0-99"]),
            (list(&["c"]), list(&[])),
            "a replica took over"
        );
        assert_eq!(
            met(&mut known, &["a>c", "b=100-199", "c=0-99", "d", "e>b"]),
            (list(&["e", "d"]), list(&["d"])),
            "one joined without slots, one as a replica"
        );
        assert_eq!(
            met(&mut known, &["a>c", "b=150-199", "c=0-99", "d=100-149", "e>b"]),
            (list(&["d"]), list(&[]))
        );
    }

    #[test]
    fn functions_come_from_one_that_was_here() {
        let mut known = Acquaintances::default();
        known.meet(&topology(&["b=100-199"]));
        let found = known.meet(&topology(&["a=0-99", "b=100-199"]));
        assert_eq!(found.source.as_deref(), Some("b:1"));
    }
}
