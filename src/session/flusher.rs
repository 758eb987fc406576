//! Writes once per turn of the loop for every session that got replies in it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::replies::Replies;

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
    pub async fn run(self: Rc<Self>) {
        let mut turn: Vec<Rc<Replies>> = Vec::new();
        poll_fn(|cx| {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            std::mem::swap(&mut turn, &mut self.touched.borrow_mut());
            for replies in turn.drain(..) {
                replies.flush();
            }
            Poll::<()>::Pending
        })
        .await;
    }
}
