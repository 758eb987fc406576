//! Reads that replicas answer: which of them, and whether their word is good enough.
//!
//! What a replica has is known as a time: everything that its primary held then. It is measured by whoever looks
//! after the topology, from the replication offsets ([`Standing`]). A read goes to a replica only while that time is
//! within `cluster.replica_lag` and after the client's own last write; and its reply counts only if that still holds
//! when it arrives.
//!
//! A replica's word that something is there is taken. That nothing is there is asked of the primary once more:
//! replicas of older servers do not know that a slot is migrating, and keys that have gone are missing there.

use std::collections::HashMap;
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::Guard;
use tokio::time::Instant;

use crate::config::ReadFrom;

use super::clock::{Micros, micros};
use super::node::Node;
use super::pipeline::Pipeline;
use super::pool::Pool;
use super::{Asker, Errand, Question};

/// What is known of a node as one to read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// As a replica: it has everything that its primary held at this time.
    pub as_of: Option<Instant>,
    /// Whether it is in the gateway's zone.
    pub is_near: bool,
}

/// The standing of every node that was asked, by the address to dial.
pub type Standings = HashMap<Arc<str>, Standing>;

/// A replica may answer a request, if it has everything that was written before this time.
#[derive(Clone, Copy, Debug)]
pub struct Leeway(NonZero<Micros>);

impl Leeway {
    /// From the time of the latest write that the answer must know of.
    pub fn since(time: Micros) -> Self {
        Self(NonZero::new(time).unwrap_or(NonZero::<Micros>::MIN))
    }
}

impl Pool {
    /// Whom reads are sent to from now on.
    pub(super) fn read_from(self: &Rc<Self>, nodes: ReadFrom) {
        self.routes.borrow_mut().spread_reads(nodes != ReadFrom::Primary);
        self.adopt(self.topology());
    }

    /// The pipeline of a replica, if one may answer; else only the primary may from now on.
    pub(super) fn pipeline_elsewhere(
        self: &Rc<Self>,
        question: &mut Question,
    ) -> Option<Rc<Pipeline>> {
        let node = self.replica_for(question);
        let manner = question.terms.manner();
        let pipeline = node.and_then(|node| self.pipeline_to(&node, manner).ok());
        if pipeline.is_none() {
            question.terms.replica = None;
        }
        pipeline
    }

    fn replica_for(&self, question: &Question) -> Option<Rc<Node>> {
        let (Leeway(since), slot) = question.terms.replica.zip(question.terms.slot)?;
        self.learn_standings();
        let routes = self.routes.borrow();
        let replicas = routes.replicas(slot);
        // Clients are spread over them, but each has its own: else it would see time go back and forth.
        let first = spread(&question.asker).checked_rem(replicas.len())?;
        let only_near = self.settings().cluster.read_from == ReadFrom::NearestZone;
        let now = self.clock().now();
        let needed = since.get().max(self.oldest(now));
        let mut in_turn = replicas.iter().cycle().skip(first).take(replicas.len());
        let fits = |node: &&Rc<Node>| {
            let standing = node.standing.get();
            standing.has(needed) && (standing.is_near || !only_near) && node.is_usable(now)
        };
        in_turn.find(fits).cloned()
    }

    /// What was written before this time, replicas must have.
    fn oldest(&self, now: Micros) -> Micros {
        // Before a whole lag has passed, nothing is too old; but nothing is known of a replica either.
        now.saturating_sub(micros(self.settings().cluster.replica_lag)).max(1)
    }

    /// Takes over what was found out about the nodes.
    fn learn_standings(&self) {
        let news = self.parts.standings.load();
        let mut known = self.standings.borrow_mut();
        if Arc::ptr_eq(&news, &known) {
            return;
        }
        for node in self.routes.borrow().nodes() {
            let standing = news.get(&*node.address).copied().unwrap_or_default();
            let as_of = standing.as_of.map_or(0, |time| self.clock().at(time));
            node.standing.set(Known { as_of, is_near: standing.is_near });
        }
        *known = Guard::into_inner(news);
    }

    /// Whether what a replica says is what its primary would have said a short time ago.
    pub(super) fn believes(&self, node: &Node, reply: &[u8]) -> bool {
        self.learn_standings();
        let believed = node.standing.get().has(self.oldest(self.clock().now())) && vouches(reply);
        if believed {
            self.metrics().replica_answered(true);
        }
        believed
    }

    /// A replica's reply does not count.
    pub(super) fn ask_primary(self: &Rc<Self>, mut errand: Errand) {
        self.metrics().replica_answered(false);
        errand.question.asker.disturbed();
        errand.question.terms.replica = None;
        self.dispatch(errand);
    }

    /// Takes back what a silent replica was asked.
    pub(super) fn take_back_reads(self: &Rc<Self>, node: &Rc<Node>, why: &Rc<str>) {
        let reading = node.pipelines().filter(|pipeline| pipeline.manner().is_readonly);
        for pipeline in reading.collect::<Vec<_>>() {
            pipeline.cut(why.clone());
            node.close(&pipeline);
            self.lost(&pipeline, why);
        }
    }
}

/// A number for an asker, evenly spread.
fn spread(asker: &Rc<dyn Asker>) -> usize {
    let place = Rc::as_ptr(asker).cast::<()>().addr() as u64;
    (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

/// A node's standing in the worker's own time.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    /// Zero when nothing is known.
    as_of: Micros,
    is_near: bool,
}

impl Known {
    fn has(self, needed: Micros) -> bool {
        self.as_of >= needed
    }
}

/// Whether a reply, or its beginning, shows that the key is there. What a missing key gives never does.
pub(super) fn vouches(reply: &[u8]) -> bool {
    let mut rest = reply;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at_checked(end + 1).unwrap_or((rest, &[]));
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        let Some((kind, text)) = line.split_first() else { return false };
        let is_positive = !matches!(text.first(), None | Some(b'0' | b'-'));
        rest = match kind {
            b'$' | b'=' if is_positive => return true,
            b'$' | b'=' if text == b"0" => after.get(2..).unwrap_or_default(),
            b':' | b',' if is_positive => return true,
            b'+' if text != b"none" => return true,
            b'#' if text == b"t" => return true,
            b'-' => return false,
            _ => after,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_vouched_for() {
        let there: [&[u8]; 10] = [
            b"$5\r\nvalue\r\n",
            b":7\r\n",
            b",1.5\r\n",
            b"+string\r\n",
            b"#t\r\n",
            b"*2\r\n$-1\r\n$1\r\nx\r\n",
            b"*1\r\n*2\r\n:0\r\n:1\r\n",
            b"%1\r\n$0\r\n\r\n$1\r\nx\r\n",
            b"~1\r\n$1\r\nx\r\n",
            b"$20000\r\nthe beginning of a long",
        ];
        let not_there: [&[u8]; 14] = [
            b"$-1\r\n",
            b"_\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"%0\r\n",
            b":0\r\n",
            b":-2\r\n",
            b"$0\r\n\r\n",
            b"+none\r\n",
            b"#f\r\n",
            b"*2\r\n$-1\r\n$0\r\n\r\n",
            b"*2\r\n:0\r\n:0\r\n",
            b"-ERR no such key\r\n",
            b"*3\r\n$-1\r\n$-",
        ];
        for reply in there {
            assert!(vouches(reply), "{}", reply.escape_ascii());
        }
        for reply in not_there {
            assert!(!vouches(reply), "{}", reply.escape_ascii());
        }
    }
}
