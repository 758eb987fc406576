//! The order of waiters, joined to the watch over their keys.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use crate::backend::{Pool, Tracking, Watcher};

use super::order::{Arms, Manner, Order, Seat, Tried, Turn};

/// Every key is armed again this often, for what no server reports.
const TICK: Duration = Duration::from_secs(1);
/// The pause before a key is armed again that could not be.
const RETRY: Duration = Duration::from_millis(100);
/// Ticks without a waiter after which the connections are closed.
const IDLE_TICKS: u32 = 30;

/// All waiters of a worker that wait by watching keys of one database.
pub(in crate::session) struct Queue {
    pool: Rc<Pool>,
    order: RefCell<Order>,
    tracking: Rc<Tracking>,
    /// Its task runs.
    attended: Cell<bool>,
    /// A key could not be armed.
    failed: Notify,
}

impl Queue {
    /// Nobody waits yet.
    pub(in crate::session) fn new(pool: Rc<Pool>, database: u16) -> Rc<Self> {
        Rc::new_cyclic(|this: &Weak<Self>| Self {
            order: RefCell::default(),
            tracking: Tracking::new(pool.clone(), database, this.clone()),
            pool,
            attended: Cell::new(false),
            failed: Notify::new(),
        })
    }

    /// A waiter takes its place. Its keys are distinct.
    pub(super) fn join(self: &Rc<Self>, keys: &Rc<[Bytes]>, manner: Manner) -> Place {
        let (seat, arms) = self.order.borrow_mut().join(keys, manner);
        self.arm(arms);
        if !self.attended.replace(true) {
            spawn_local(self.clone().attend());
        }
        Place { queue: self.clone(), seat }
    }

    fn arm(&self, arms: Arms) {
        arms.into_iter().for_each(|key| self.tracking.arm(key));
    }

    /// Looks after the keys for as long as somebody waits, and a while longer.
    async fn attend(self: Rc<Self>) {
        let mut next_tick = Instant::now() + TICK;
        let mut idle = 0;
        loop {
            let adopted = self.pool.adopted();
            let retry = self.order.borrow().has_unarmed();
            let next = if retry { next_tick.min(Instant::now() + RETRY) } else { next_tick };
            tokio::select! {
                () = adopted => self.changed_all(),
                () = self.failed.notified() => continue,
                () = sleep_until(next) => {}
            }
            if Instant::now() < next_tick {
                let arms = self.order.borrow_mut().unarmed();
                self.arm(arms);
                continue;
            }
            next_tick = Instant::now() + TICK;
            idle = if self.order.borrow().is_empty() { idle + 1 } else { 0 };
            if idle > IDLE_TICKS {
                self.tracking.rest();
                self.attended.set(false);
                return;
            }
            self.tracking.look();
            let arms = self.order.borrow_mut().every();
            self.arm(arms);
        }
    }
}

impl Watcher for Queue {
    fn armed(&self, key: &Bytes, present: bool) {
        let arms = self.order.borrow_mut().armed(key, present);
        self.arm(arms);
    }

    fn changed(&self, key: &[u8]) {
        let arms = self.order.borrow_mut().changed(key);
        self.arm(arms);
    }

    fn changed_all(&self) {
        let arms = self.order.borrow_mut().changed_all();
        self.arm(arms);
    }

    fn failed(&self, key: &Bytes, refusal: Option<&[u8]>) {
        match refusal {
            Some(reply) => self.order.borrow_mut().refused(key, reply),
            None => self.order.borrow_mut().failed(key),
        }
        self.failed.notify_one();
    }
}

/// One waiter's place. Dropped, it is free.
pub(super) struct Place {
    queue: Rc<Queue>,
    seat: Seat,
}

impl Place {
    /// Waits until the waiter may do something.
    pub(super) async fn turn(&self) -> Turn {
        poll_fn(|cx| self.queue.order.borrow_mut().poll_turn(self.seat, cx)).await
    }

    /// It has done so, and got nothing.
    pub(super) fn tried(&self, how: Tried) {
        self.queue.order.borrow_mut().tried(self.seat, how);
        if how == Tried::Unknown {
            self.queue.failed.notify_one();
        }
    }

    /// Whether it has not tried yet all that was there when it came.
    pub(super) fn is_fresh(&self) -> bool {
        self.queue.order.borrow().is_fresh(self.seat)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.order.borrow_mut().leave(self.seat);
    }
}
