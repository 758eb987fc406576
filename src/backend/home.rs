//! The node that carries plain subscriptions and takes what is published.
//!
//! It is one for all workers, so that every client of this gateway sees the messages of a channel in one order,
//! whoever published them, as from one server. Each gateway picks its own, so the load spreads.
//!
//! It stays home when a replica takes over from it: a replica carries messages as well, and two nodes hear of a message
//! at different times, so a change of home is a moment in which messages are missed, heard twice, or out of order for
//! whoever publishes at both. For the same reason the process that a gateway hands over to takes over its home.
//!
//! When it must change, because nothing reaches the old one, the new one needs a moment to settle: what the old one
//! was the last to pass on may be on the cluster's bus still. Until then nothing is published there, and what
//! comes from there for topics that were heard before is left out. So a message may be missed, and none comes twice.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use crate::cluster::{Health, Slot};

use super::node::Node;
use super::pool::Pool;

/// Longer than a message is on the bus, on a busy machine too.
const SETTLING: Duration = Duration::from_millis(100);

/// The home node, shared by the workers of a process. Whoever finds it lost puts another in its place.
#[derive(Clone, Default)]
pub struct Home(Arc<ArcSwapOption<Chosen>>);

struct Chosen {
    address: String,
    /// When it took the place of another one.
    since: Option<Instant>,
}

impl Home {
    /// The node at this address, if the cluster has it; else it is still to be chosen.
    pub fn at(address: Option<String>) -> Self {
        let chosen = address.map(|address| Chosen { address, since: None });
        Self(Arc::new(ArcSwapOption::from_pointee(chosen)))
    }

    /// The node's address, once it was chosen.
    pub fn address(&self) -> Option<String> {
        self.0.load().as_ref().map(|chosen| chosen.address.clone())
    }

    /// Puts another node in the place of `old`, unless somebody else was quicker.
    fn replace(&self, old: &Option<Arc<Chosen>>, new: &str) {
        let since = old.is_some().then(Instant::now);
        self.0.compare_and_swap(old, Some(Arc::new(Chosen { address: new.to_owned(), since })));
    }
}

impl Pool {
    /// The home node: the one chosen before, as long as the cluster has it and it can be reached; else a primary.
    pub(super) fn home(&self) -> Option<Rc<Node>> {
        let chosen = self.parts.home.0.load_full();
        let known = chosen.as_deref().and_then(|chosen| self.at_home(chosen));
        if known.as_ref().is_some_and(|node| self.can_reach(node)) {
            return known;
        }
        let Some(other) = self.random_primary(|node| self.can_reach(node)) else { return known };
        self.parts.home.replace(&chosen, &other.address);
        self.news.notify_one();
        let agreed = self.parts.home.0.load_full();
        agreed.as_deref().and_then(|chosen| self.at_home(chosen)).or(Some(other))
    }

    fn at_home(&self, chosen: &Chosen) -> Option<Rc<Node>> {
        let settled = chosen.since.map(|since| self.clock().at(since + SETTLING));
        self.home_settles.set(settled.unwrap_or_default());
        self.member_at(&chosen.address)
    }

    /// Whether the home node took the place of another one just now.
    pub(super) fn home_is_settling(&self) -> bool {
        self.clock().now() < self.home_settles.get()
    }

    /// Whether the owner of this slot is the home node.
    pub fn is_home(&self, slot: Slot) -> bool {
        let owner = self.routes.borrow().owner(slot).cloned();
        owner.zip(self.home()).is_some_and(|(owner, home)| Rc::ptr_eq(&owner, &home))
    }

    /// The node is not home any more if there is another one that can be.
    pub(super) fn leave_home(&self, node: &Node) {
        let chosen = self.parts.home.0.load_full();
        if !self.is_home_node(node) {
            return;
        }
        let fits = |other: &Node| other.address != node.address && self.can_reach(other);
        if let Some(other) = self.random_primary(fits) {
            self.parts.home.replace(&chosen, &other.address);
            self.news.notify_one();
        }
    }

    fn can_reach(&self, node: &Node) -> bool {
        node.down(self.clock().now()).is_none()
    }

    /// Whether this is the home node.
    pub(super) fn is_home_node(&self, node: &Node) -> bool {
        let chosen = self.parts.home.0.load();
        chosen.as_deref().is_some_and(|chosen| *chosen.address == *node.address)
    }

    pub(super) fn primary_at(&self, address: &str) -> Option<Rc<Node>> {
        self.routes.borrow().primaries().find(|node| *node.address == *address).cloned()
    }

    /// A node of the cluster that is well: just after a failover it is neither a primary nor a replica.
    fn member_at(&self, address: &str) -> Option<Rc<Node>> {
        self.primary_at(address).or_else(|| {
            let topology = self.topology();
            let mut nodes = topology.nodes();
            let is_well =
                nodes.any(|node| *node.address == *address && node.health != Health::Failed);
            is_well.then(|| self.node(address))
        })
    }

    fn random_primary(&self, fits: impl Fn(&Node) -> bool) -> Option<Rc<Node>> {
        let routes = self.routes.borrow();
        let fitting: Vec<&Rc<Node>> = routes.primaries().filter(|node| fits(node)).collect();
        fastrand::choice(fitting).cloned()
    }
}
