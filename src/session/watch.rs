//! Shows the worker's [`Lens`] what the pool noticed, and aims the pool's attention in return.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::backend::{Micros, Noticed, Pool};
use crate::metrics::WorkerMetrics;
use crate::observe::{Aim, Lens, Look};

use super::client::Client;
use super::traces::{Tracing, Trail};
use super::worker::Gateway;

/// How often counts fade, and what was seen is shown.
const TURN: Duration = Duration::from_secs(1);

/// One worker's watch over its requests.
pub(super) struct Watch {
    pool: Rc<Pool>,
    lens: RefCell<Lens>,
    pub(super) tracing: Tracing,
}

impl Watch {
    pub(super) fn new(pool: Rc<Pool>, lens: Lens, gateway: &Gateway) -> Rc<Self> {
        let (lens, tracing) = (RefCell::new(lens), Tracing::new(gateway));
        let watch = Self { pool, lens, tracing };
        watch.aim(true);
        Rc::new(watch)
    }

    /// A request of the client was answered that the pool's attention was drawn to.
    pub(super) fn noticed(&self, client: &Client, noticed: &Noticed, trail: &Trail) {
        let Noticed { request, total, node, reply, .. } = noticed;
        let sample = self.pool.attention().is_sample_due();
        let node = node.as_ref().map(|(_, took)| *took);
        let look = Look { request, total: *total, node, reply: *reply, sample };
        let sender = || (client.request_id(noticed.ticket.place), client.who());
        self.lens.borrow_mut().look(&look, sender);
        self.aim(sample);
        self.tracing.noticed(client, noticed, trail);
    }

    /// The same for one that no single node answered: it began then, and has this reply.
    pub(super) fn performed(&self, client: &Client, request: &[u8], began: Micros, reply: &[u8]) {
        let at = self.pool.clock().now();
        let total = at.saturating_sub(began);
        if self.pool.attention().wants(total, request.len().max(reply.len())) {
            let request = bytes::Bytes::copy_from_slice(request);
            let (trail, ticket) = client.replies.latest();
            let (reply, failed) = (reply.len(), reply.first() == Some(&b'-'));
            let noticed = Noticed { request, total, node: None, reply, ticket, failed, at };
            self.noticed(client, &noticed, &trail);
        }
    }

    fn aim(&self, sampled: bool) {
        let Aim { slow, large, skip } = self.lens.borrow().aim();
        let attention = self.pool.attention();
        attention.look_for(slow, large);
        match skip {
            Some(skip) if sampled => attention.sample_after(skip),
            Some(_) => {}
            None => attention.sample_nothing(),
        }
    }

    /// Lets time pass, for as long as the worker lives.
    pub(super) async fn run(&self, metrics: &WorkerMetrics) {
        let mut since = self.pool.clock().tick();
        loop {
            tokio::time::sleep(TURN).await;
            let now = self.pool.clock().tick();
            self.lens.borrow_mut().turn(Duration::from_micros(now.saturating_sub(since)));
            // Samples may have been turned on or off.
            self.aim(true);
            self.tracing.aim();
            since = now;
            metrics.leases(self.pool.leases());
        }
    }
}
