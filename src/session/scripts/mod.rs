//! Scripts in use: a client that loaded a script may count on it, as with one server.
//!
//! Nodes forget: a promoted replica has no scripts, nor has a node that joined or was restarted. So a worker
//! remembers the scripts that its clients have sent, and sees to it that a node has one before it is asked to
//! run it: the first `EVALSHA` down a new connection is preceded by `SCRIPT LOAD`, in the same breath. Where
//! that was not enough ([`mend`]), `NOSCRIPT` means that nothing ran, so the script is brought and the request
//! sent again.

mod mend;
mod shelf;

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use bytes::Bytes;

use crate::backend::{Asker, Caching, Lines, Manner, Pool, Terms, Ticket};
use crate::cluster::Slot;
use crate::command::{CommandSpec, Retry};
use crate::resp::{Request, write};

use super::conversation::Conversation;
use super::worker::Worker;

use shelf::Shelf;

pub(super) use mend::known;

/// SHA-1 of a script, by which clients name it.
pub(super) type Digest = [u8; 20];

/// Most scripts noted as present on connections; then all notes are thrown away.
const NOTED: usize = 10_000;

/// Reads a digest as clients send it: 40 hexadecimal digits in any case.
pub(super) fn digest(text: &[u8]) -> Option<Digest> {
    if text.len() != 40 {
        return None;
    }
    let mut digest = Digest::default();
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        *byte = (digit(high)? << 4 | digit(low)?) as u8;
    }
    Some(digest)
}

/// The scripts that one worker remembers, and which of its connections lead to a node that has them.
pub(super) struct Scripts {
    shelf: RefCell<Shelf>,
    present: RefCell<HashSet<(u64, Digest), foldhash::fast::RandomState>>,
    nobody: Rc<dyn Asker>,
}

/// On which connection a script is to be present.
#[derive(Clone, Copy)]
struct Way<'a> {
    slot: Slot,
    manner: Manner,
    /// Whose request will name it.
    asker: &'a Rc<dyn Asker>,
    /// That request's.
    own: Option<Caching>,
}

impl Way<'_> {
    fn terms(self) -> Terms {
        let own = self.own.map(|_| Caching::Untold);
        Terms { repeatable: true, own, ..Terms::new(Some(self.slot), self.manner) }
    }
}

impl Scripts {
    /// None yet; `most` bytes of them are remembered.
    pub(super) fn new(most: usize) -> Self {
        Self {
            shelf: RefCell::new(Shelf::new(most)),
            present: RefCell::default(),
            nobody: Rc::new(Nobody(None)),
        }
    }

    /// Remembers no more than so many bytes from now on.
    pub(super) fn limit_to(&self, most: usize) {
        self.shelf.borrow_mut().limit_to(most);
    }

    /// A client ran this script by its text.
    pub(super) fn seen(&self, body: &[u8]) {
        self.shelf.borrow_mut().put(body, false);
    }

    /// A client, or another worker for one, asked to keep this script.
    pub(super) fn loaded(&self, body: &[u8]) {
        self.shelf.borrow_mut().put(body, true);
    }

    /// The script's text, if it is known here.
    pub(super) fn body(&self, digest: &Digest) -> Option<Bytes> {
        self.shelf.borrow().body(digest)
    }

    /// The scripts that clients asked to keep.
    pub(super) fn kept(&self) -> Vec<Bytes> {
        self.shelf.borrow().kept()
    }

    /// Clients gave all scripts up.
    pub(super) fn forget(&self) {
        self.shelf.borrow_mut().clear();
        self.present.borrow_mut().clear();
    }

    /// Sees to it that the owner of the slot has the script before it reads what is sent that way next. Returns
    /// whether the script was sent.
    fn bring(&self, pool: &Rc<Pool>, digest: Digest, way: Way<'_>) -> bool {
        let is_there = |line| self.present.borrow().contains(&(line, digest));
        if pool.line(way.terms(), way.asker).is_some_and(is_there) {
            return false;
        }
        let Some(body) = self.body(&digest) else { return false };
        self.send(pool, &body, way);
        if let Some(line) = pool.line(way.terms(), way.asker) {
            let mut present = self.present.borrow_mut();
            if present.len() >= NOTED {
                present.clear();
            }
            present.insert((line, digest));
        }
        true
    }

    /// Sends the script to the owner of the slot.
    fn send(&self, pool: &Rc<Pool>, body: &Bytes, way: Way<'_>) {
        let ticket = Ticket::new(0, 0);
        let own: Rc<dyn Asker>;
        let asker = match way.own.and_then(|_| way.asker.lines()) {
            Some(lines) => {
                own = Rc::new(Nobody(Some(lines)));
                &own
            }
            None => &self.nobody,
        };
        pool.send(way.terms(), asker, ticket, |out| write_load(body, out));
    }

    /// Sends the script to this node.
    pub(super) fn send_to(&self, pool: &Rc<Pool>, body: &Bytes, address: &str) {
        let terms = Terms { repeatable: true, ..Terms::new(None, Manner::own()) };
        let mut request = Vec::new();
        write_load(body, &mut request);
        let ticket = Ticket::new(0, 0);
        pool.send_to(address, terms, (&self.nobody, ticket), request.into());
    }
}

fn write_load(body: &Bytes, out: &mut Vec<u8>) {
    write::command(out, &[b"SCRIPT".as_slice(), b"LOAD", body]);
}

impl Conversation {
    /// A request of this row is about to be sent to the owner of the slot: if it brings a script, the script is
    /// remembered; if it names one, the node gets it first.
    pub(super) fn mind_script(&mut self, spec: &CommandSpec, request: &Request<'_>, slot: Slot) {
        if spec.retry_for(request) != Retry::Read {
            self.echoes.may_publish(Some(slot));
        }
        let Some(script) = request.arg(1) else { return };
        let Worker { scripts, pool, metrics, .. } = &*self.worker;
        if spec.name.starts_with("EVALSHA") {
            let (manner, own) = (self.manner(), self.own());
            let way = Way { slot, manner, asker: &self.asker, own };
            let brought = digest(script).map(|it| scripts.bring(pool, it, way));
            if brought == Some(true) {
                metrics.script_brought();
            }
        } else if spec.name.starts_with("EVAL") {
            scripts.seen(script);
        }
    }
}

/// Asks for what needs no answer, on a session's own connections if it must be there.
struct Nobody(Option<Rc<Lines>>);

impl Asker for Nobody {
    fn settle(&self, _: Ticket, _: &[u8]) {}

    fn piece(&self, _: Ticket, _: &[u8], _: bool) {}

    fn retract(&self, _: Ticket) -> bool {
        true
    }

    fn split(&self, _: Ticket, _: Bytes) {}

    fn disturbed(&self) {}

    fn lines(&self) -> Option<Rc<Lines>> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read() {
        let text: &[u8] = b"E0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        let read = digest(text).unwrap();
        assert_eq!((read[0], read[1], read[19]), (0xe0, 0xe1, 0xdb));
        for wrong in [
            &text[1..],
            b"",
            b"g0e1f9fabfc9d4800c877a703b823ac0578ff8db",
            &[text, text].concat()[..41],
        ] {
            assert_eq!(digest(wrong), None);
        }
    }
}
