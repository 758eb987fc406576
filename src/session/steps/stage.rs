//! Keys of the gateway's own in which elements wait on their way from one slot to another.
//!
//! An element leaves its list for a stage in the same slot, atomically, and a ledger there says what it is on
//! its way to. It arrives by way of a receipt in the destination's slot, which tells for a while that it has
//! arrived. So whoever finds the ledger knows what to do: nothing that has arrived goes back, and what has not
//! is not lost.

use crate::cluster::Slot;
use crate::resp::{Value, elements, write};

use super::Steps;

/// A receipt lasts as long as abandoned elements wait until they go back, times this. It must still be there when
/// somebody comes to send the element back, however long no gateway ran.
const RECEIPT: u32 = 60;

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Left,
    Right,
}

impl End {
    pub(super) fn read(word: &[u8]) -> Option<Self> {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("LEFT") { Some(Self::Left) } else { is("RIGHT").then_some(Self::Right) }
    }

    fn word(self) -> &'static [u8] {
        match self {
            Self::Left => b"LEFT",
            Self::Right => b"RIGHT",
        }
    }
}

/// What an element is on its way from and to, as the ledger notes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) source: Vec<u8>,
    pub(super) destination: Vec<u8>,
    pub(super) from: End,
    pub(super) to: End,
}

/// One element on its way.
#[derive(Debug)]
pub(super) struct Stage {
    way: Way,
    /// Its name in the ledger.
    id: String,
    ledger: String,
    stage: String,
    receipt: String,
    /// Milliseconds that the receipt lasts.
    lasts: String,
}

impl Way {
    pub(super) fn source_slot(&self) -> Slot {
        Slot::of(&self.source)
    }

    pub(super) fn destination_slot(&self) -> Slot {
        Slot::of(&self.destination)
    }

    fn note(&self) -> Vec<u8> {
        let Self { source, destination, from, to } = self;
        request(&[source, destination, from.word(), to.word()])
    }

    /// Reads what [`Self::note`] wrote.
    pub(super) fn read(note: &[u8]) -> Option<Self> {
        let note = Value::parse(note).ok()?;
        let [source, destination, from, to] = note.as_array()? else { return None };
        Some(Self {
            source: source.bytes()?.to_vec(),
            destination: destination.bytes()?.to_vec(),
            from: End::read(from.bytes()?)?,
            to: End::read(to.bytes()?)?,
        })
    }
}

/// Where the elements that left a slot are noted.
pub(super) fn ledger(steps: &Steps, slot: Slot) -> String {
    format!("{}moves", prefix(steps, slot))
}

/// What names of keys in this slot start with.
fn prefix(steps: &Steps, slot: Slot) -> String {
    let name = &steps.worker.gateway.settings().routing.stage_prefix;
    let tag = steps.worker.tags.get_or_init(Default::default).of(slot);
    format!("{name}{{{tag}}}:")
}

impl Stage {
    /// A way that begins.
    pub(super) fn new(steps: &Steps, way: Way) -> Self {
        let id = steps.worker.gateway.next_stage();
        Self::found(steps, way, id)
    }

    /// One that a ledger names.
    pub(super) fn found(steps: &Steps, way: Way, id: String) -> Self {
        let (source, destination) = (way.source_slot(), way.destination_slot());
        let lasts = steps.worker.gateway.settings().routing.stage_return * RECEIPT;
        Self {
            ledger: ledger(steps, source),
            stage: format!("{}{id}", prefix(steps, source)),
            receipt: format!("{}receipt:{id}", prefix(steps, destination)),
            lasts: lasts.as_millis().to_string(),
            way,
            id,
        }
    }

    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// Takes the element from its list. Replies: the element or nothing, and the note's.
    pub(super) fn leave(&self) -> [Vec<u8>; 2] {
        let (id, note) = (self.id.as_bytes(), self.way.note());
        [
            request(&[
                b"LMOVE",
                &self.way.source,
                self.stage.as_bytes(),
                self.way.from.word(),
                b"LEFT",
            ]),
            request(&[b"HSET", self.ledger.as_bytes(), id, &note]),
        ]
    }

    /// Brings it to its destination. The receipt holds one element afterwards, or two when the destination is no
    /// list. Replies: the second is the element, or why it did not arrive.
    pub(super) fn arrive(&self, element: &[u8]) -> [Vec<u8>; 3] {
        let receipt = self.receipt.as_bytes();
        let (destination, to) = (&self.way.destination, self.way.to.word());
        [
            request(&[b"RPUSH", receipt, element, b""]),
            request(&[b"LMOVE", receipt, destination, b"LEFT", to]),
            request(&[b"PEXPIRE", receipt, self.lasts.as_bytes()]),
        ]
    }

    /// Asks for the receipt: [`ARRIVED`] is the answer when the element has arrived.
    pub(super) fn has_arrived(&self) -> Vec<u8> {
        request(&[b"LLEN", self.receipt.as_bytes()])
    }

    /// Puts the element back to where it came from.
    pub(super) fn go_back(&self) -> Vec<u8> {
        let stage = self.stage.as_bytes();
        request(&[b"LMOVE", stage, &self.way.source, b"LEFT", self.way.from.word()])
    }

    /// The element is no longer here.
    pub(super) fn clear(&self) -> [Vec<u8>; 2] {
        [request(&[b"DEL", self.stage.as_bytes()]), self.strike()]
    }

    /// The ledger names it no longer.
    pub(super) fn strike(&self) -> Vec<u8> {
        request(&[b"HDEL", self.ledger.as_bytes(), self.id.as_bytes()])
    }

    /// Nobody will ask for the receipt.
    pub(super) fn tear_up(&self) -> Vec<u8> {
        request(&[b"DEL", self.receipt.as_bytes()])
    }
}

/// Whether a reply is the name of one of these keys, which clients do not see.
pub(super) fn is_stage(steps: &Steps, reply: &[u8]) -> bool {
    let name = memchr::memmem::find(reply, b"\r\n").and_then(|end| reply.get(end + 2..));
    name.is_some_and(|name| steps.worker.gateway.settings().routing.is_stage_key(name))
}

/// A list of keys without these.
pub(super) fn without_stages(steps: &Steps, reply: Vec<u8>) -> Vec<u8> {
    let prefix = &steps.worker.gateway.settings().routing.stage_prefix;
    let keys =
        elements(&reply).filter(|_| memchr::memmem::find(&reply, prefix.as_bytes()).is_some());
    let Some(keys) = keys else { return reply };
    let shown: Vec<&[u8]> = keys.filter(|key| !is_stage(steps, key)).collect();
    let mut out = Vec::new();
    write::array(&mut out, shown.len());
    shown.iter().for_each(|key| out.extend_from_slice(key));
    out
}

/// Elements in the receipt of one that has arrived.
pub(super) const ARRIVED: i64 = 1;

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    write::command(&mut out, words);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_what_it_was_told() {
        for (from, to) in [(End::Left, End::Right), (End::Right, End::Right)] {
            let way =
                Way { source: b"a list".to_vec(), destination: b"\r\n\xff".to_vec(), from, to };
            assert_eq!(Way::read(&way.note()), Some(way));
        }
        for wrong in [
            "",
            "*1\r\n$1\r\na\r\n",
            "+OK\r\n",
            "*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n",
        ] {
            assert_eq!(Way::read(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
