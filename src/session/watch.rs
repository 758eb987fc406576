//! Shows the worker's [`Lens`] what the pool noticed, and aims the pool's attention in return.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::backend::{Micros, Noticed, Pool};
use crate::metrics::WorkerMetrics;
use crate::observe::{Aim, Lens, Look};

use super::client::Client;

/// How often counts fade, and what was seen is shown.
const TURN: Duration = Duration::from_secs(1);

/// One worker's watch over its requests.
pub(super) struct Watch {
    pool: Rc<Pool>,
    lens: RefCell<Lens>,
}

impl Watch {
    pub(super) fn new(pool: Rc<Pool>, lens: Lens) -> Rc<Self> {
        let watch = Self { pool, lens: RefCell::new(lens) };
        watch.aim(true);
        Rc::new(watch)
    }

    /// A request of the client was answered that the pool's attention was drawn to.
    pub(super) fn noticed(&self, client: &Client, noticed: &Noticed) {
        let Noticed { ref request, total, node, reply } = *noticed;
        let sample = self.pool.attention().is_sample_due();
        let look = Look { request, total, node, reply, sample };
        self.lens.borrow_mut().look(&look, || client.who());
        self.aim(sample);
    }

    /// The same for one that no single node answered: it began then, and has a reply of so many bytes.
    pub(super) fn performed(&self, client: &Client, request: &[u8], began: Micros, reply: usize) {
        let total = self.pool.clock().now().saturating_sub(began);
        if self.pool.attention().wants(total, request.len().max(reply)) {
            let request = bytes::Bytes::copy_from_slice(request);
            self.noticed(client, &Noticed { request, total, node: None, reply });
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
            since = now;
            metrics.leases(self.pool.leases());
        }
    }
}
