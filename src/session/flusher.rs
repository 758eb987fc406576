//! Writes once per turn of the loop for every session that got replies in it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::replies::Replies;

/// The longest that replies wait for those right behind them, which other nodes are about to give. The
/// finest that the timer knows.
const PATIENCE: Duration = Duration::from_millis(1);

/// Sessions written for before other tasks get their turn.
const AT_ONCE: usize = 256;

/// The worker's list of sessions with something to write.
#[derive(Default)]
pub struct Flusher {
    touched: RefCell<Vec<Rc<Replies>>>,
    waker: RefCell<Option<Waker>>,
}

impl Flusher {
    pub(super) fn add(&self, replies: Rc<Replies>) {
        let mut touched = self.touched.borrow_mut();
        if touched.is_empty()
            && let Some(waker) = self.waker.borrow().as_ref()
        {
            waker.wake_by_ref();
        }
        touched.push(replies);
    }

    /// Flushes for as long as the worker lives. Woken by the first session of a turn, it runs behind the
    /// pipelines that the same turn woke, so one write carries what all of them brought.
    ///
    /// A pipelining client whose requests went to several nodes gets the replies of one node a moment before
    /// those of the next; they leave together, unless that takes longer than [`PATIENCE`].
    pub async fn run(self: Rc<Self>) {
        let mut turn: Vec<Rc<Replies>> = Vec::new();
        let mut postponed: Vec<Rc<Replies>> = Vec::new();
        let mut deadline = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = self.take(&mut turn) => {}
                () = sleep_until(deadline), if !postponed.is_empty() => {
                    postponed.drain(..).for_each(|replies| replies.flush());
                }
            }
            if postponed.is_empty() {
                deadline = Instant::now() + PATIENCE;
            }
            for (replies, number) in turn.drain(..).zip(1..) {
                if !replies.can_wait() {
                    replies.flush();
                } else if replies.postpone() {
                    postponed.push(replies);
                }
                // A message for thousands must not keep the others waiting.
                if number % AT_ONCE == 0 {
                    yield_now().await;
                }
            }
        }
    }

    /// Waits until sessions were touched, and takes them.
    async fn take(&self, turn: &mut Vec<Rc<Replies>>) {
        poll_fn(|cx| {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            std::mem::swap(turn, &mut self.touched.borrow_mut());
            if turn.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}
