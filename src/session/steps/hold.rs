//! A connection of one request's own to the owner of a slot, for WATCH and what follows from it.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::backend::{Detour, Lease, LeaseError, micros};
use crate::cluster::Slot;
use crate::resp::{Value, write};

use super::{Steps, Stop, is_error};

/// Pauses between two attempts to begin.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Holds a lease. Dropped, it closes the connection, and nothing is watched any more.
pub(super) struct Hold<'a> {
    steps: &'a Steps,
    lease: Lease,
    /// The slot is on its way to this node, which takes requests for it after `ASKING` only.
    asking: bool,
}

impl<'a> Hold<'a> {
    /// Sends the first requests, which may be sent again: where the slot has moved, to its new owner. Returns
    /// their replies.
    ///
    /// # Errors
    /// No connection is left, or the slot is not served for as long as a request may wait.
    pub(super) async fn begin(
        steps: &'a Steps,
        slot: Slot,
        requests: &[Vec<u8>],
    ) -> Result<(Self, Vec<Bytes>), Stop> {
        let patience = micros(steps.worker.gateway.settings().backend.hold_time);
        let started = steps.worker.clock.tick();
        let (mut asked, mut pause): (Option<Rc<str>>, _) = (None, FIRST_PAUSE);
        loop {
            match Self::attempt(steps, slot, asked.take(), requests).await {
                Ok((hold, replies)) => match hold.detour(&replies) {
                    None => return Ok((hold, replies)),
                    Some(Detour::Ask(address)) => asked = Some(address),
                    Some(Detour::Moved | Detour::Later) => {}
                },
                // Nothing was written, so nothing is lost by asking again.
                Err(LeaseError::Lost(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if steps.worker.clock.tick().saturating_sub(started) > patience {
                return Err(Stop::NotCovered);
            }
            if asked.is_none() {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    async fn attempt(
        steps: &'a Steps,
        slot: Slot,
        asked: Option<Rc<str>>,
        requests: &[Vec<u8>],
    ) -> Result<(Self, Vec<Bytes>), LeaseError> {
        let pool = &steps.worker.pool;
        let asking = asked.is_some();
        let lease = match asked {
            Some(address) => pool.lease_at(&address, steps.manner).await?,
            None => pool.lease(slot, steps.manner).await?,
        };
        let mut hold = Self { steps, lease, asking };
        let replies = hold.ask(requests).await?;
        Ok((hold, replies))
    }

    fn detour(&self, replies: &[Bytes]) -> Option<Detour> {
        replies.iter().find_map(|reply| self.steps.worker.pool.detour(&self.lease, reply))
    }

    async fn ask(&mut self, requests: &[Vec<u8>]) -> Result<Vec<Bytes>, LeaseError> {
        let mut bytes = Vec::new();
        for request in requests {
            if self.asking {
                write::command(&mut bytes, &["ASKING"]);
            }
            bytes.extend_from_slice(request);
        }
        let each = 1 + usize::from(self.asking);
        let replies = self.exchange(&bytes, requests.len() * each).await?;
        Ok(replies.into_iter().skip(each - 1).step_by(each).collect())
    }

    /// Sends requests and waits for their replies, as long as any request may take.
    async fn exchange(&mut self, requests: &[u8], count: usize) -> Result<Vec<Bytes>, LeaseError> {
        let limit = self.steps.worker.gateway.settings().backend.request_timeout;
        let address = self.lease.address().clone();
        let silent = |_| Err(LeaseError::Lost(format!("{address}: no reply in time")));
        let began = self.steps.worker.clock.tick();
        let asked = timeout(limit, self.lease.ask(requests, count)).await;
        let replies = asked.unwrap_or_else(silent)?;
        if let Some(last) = replies.last() {
            self.steps.leased(&self.lease, requests, began, last);
        }
        Ok(replies)
    }

    /// Runs these as one transaction, unless what is watched has changed: then `None`, and nothing ran. The
    /// same when the node did not take them, since it no longer serves the slot. Nothing is watched afterwards.
    ///
    /// # Errors
    /// The connection broke, so nobody knows whether they ran; or one of them is refused.
    pub(super) async fn commit(&mut self, requests: &[Vec<u8>]) -> Result<Option<()>, Stop> {
        let mut block = Vec::new();
        if self.asking {
            // It holds until EXEC.
            write::command(&mut block, &["ASKING"]);
        }
        write::command(&mut block, &["MULTI"]);
        requests.iter().for_each(|request| block.extend_from_slice(request));
        write::command(&mut block, &["EXEC"]);
        let count = requests.len() + 2 + usize::from(self.asking);
        let replies = self.exchange(&block, count).await?;
        let executed = replies.last().ok_or(Stop::Unexpected)?;
        if is_error(executed) {
            let objection = replies.iter().find(|reply| is_error(reply)).unwrap_or(executed);
            return match self.detour(&replies) {
                Some(_) => Ok(None),
                None => Err(Stop::Node(objection.to_vec())),
            };
        }
        match Value::parse(executed)? {
            Value::Null => Ok(None),
            value => match value.as_array().into_iter().flatten().find_map(Value::as_error) {
                None => Ok(Some(())),
                Some(text) => Err(Stop::error(text)),
            },
        }
    }

    /// Gives the connection back; nothing is watched any more.
    pub(super) async fn release(mut self) {
        let mut unwatch = Vec::new();
        write::command(&mut unwatch, &["UNWATCH"]);
        // A connection that broke is not given back.
        let answered = self.exchange(&unwatch, 1).await;
        if answered.is_ok_and(|replies| replies.iter().all(|one| !is_error(one))) {
            self.steps.worker.pool.give_back(self.lease);
        }
    }
}
