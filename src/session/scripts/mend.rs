//! A node said NOSCRIPT: if anybody here knows the script, it is brought and the request sent again.

use std::rc::Rc;

use bytes::Bytes;
use tokio::task::spawn_local;

use crate::backend::{Asker, Terms};
use crate::resp::{Parsed, RequestParser};

use super::super::conversation::Conversation;
use super::super::replies::{Replies, Unscripted};
use super::super::worker::Worker;
use super::{Digest, Way, digest};

impl Conversation {
    /// Brings the scripts that nodes said they do not know, and sends what they gave back again, in its order.
    pub(in crate::session) fn mend_scripts(&self) {
        if self.replies.begin_mending() {
            spawn_local(mend(self.worker.clone(), self.replies.clone()));
        }
    }
}

async fn mend(worker: Rc<Worker>, replies: Rc<Replies>) {
    let asker: Rc<dyn Asker> = replies.clone();
    while let Some(Unscripted { ticket, terms, request, reply }) = replies.next_unscripted() {
        let named = named(&worker, &request).zip(terms.slot);
        let found = match named {
            Some((digest, slot)) => known(&worker, &digest).await.map(|body| (body, slot)),
            None => None,
        };
        let Some((body, slot)) = found else {
            asker.settle(ticket, &reply);
            continue;
        };
        worker.metrics.retried();
        worker.metrics.script_brought();
        let way = Way { slot, manner: terms.manner, asker: &asker, own: terms.own };
        worker.scripts.send(&worker.pool, &body, way);
        // Should the node not know it even now, the client is told.
        let terms = Terms { scripted: false, ..terms };
        worker.pool.send_bytes(terms, &asker, ticket, request);
    }
}

/// The script that the request names.
fn named(worker: &Worker, request: &Bytes) -> Option<Digest> {
    let mut parser = RequestParser::new();
    match parser.parse(request, &worker.limits(), true) {
        Ok(Parsed::Request(_)) => digest(parser.request(request).arg(1)?),
        _ => None,
    }
}

/// The script's text, as this worker or another one knows it.
pub(in crate::session) async fn known(worker: &Worker, digest: &Digest) -> Option<Bytes> {
    if let Some(body) = worker.scripts.body(digest) {
        return Some(body);
    }
    let body = worker.gateway.colleagues.script(*digest).await?;
    worker.scripts.loaded(&body);
    Some(body)
}
