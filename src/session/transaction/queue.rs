//! What stands between MULTI and EXEC: one block for each slot, and the order in which the replies are wanted.

use std::collections::HashMap;

use bytes::Bytes;

use crate::backend::{Manner, Terms};
use crate::cluster::Slot;
use crate::resp::write;

use super::super::pubsub::Publication;
use super::super::scripts::Digest;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
const DISCARD: &[u8] = b"*1\r\n$7\r\nDISCARD\r\n";

/// Keyless scripts run on one steady primary when no key of the transaction says where: the owner of slot 0.
const STEADY: u16 = 0;

/// How far the commands of one transaction may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All keys in one slot.
    OneSlot,
    /// Several slots as long as nothing is written.
    Reads,
    /// Any slots.
    Slots,
}

/// The keys of a command, all in one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys<'a> {
    pub(super) slot: Slot,
    pub(super) first: &'a [u8],
    /// There are others.
    pub(super) several: bool,
}

/// What the queue needs to know of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// `None`: it has none.
    pub(super) keys: Option<Keys<'a>>,
    /// It may run twice.
    pub(super) reads: bool,
    /// A script, or a function.
    pub(super) script: bool,
    /// The script that it names and does not bring.
    pub(super) digest: Option<Digest>,
    /// The command as it is sent.
    pub(super) frame: &'a [u8],
}

/// Who answers a command of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The block of this number.
    Block(u32),
    /// The same: it publishes the message of this number, and its reply counts clients.
    Message(u32, u32),
    /// The gateway.
    Here,
}

/// The commands of one slot.
#[derive(Debug)]
pub(super) struct Block {
    /// `None`: no key says where it belongs.
    slot: Option<Slot>,
    /// `MULTI` and the commands.
    bytes: Vec<u8>,
    commands: u32,
    reads: bool,
    script: bool,
    publishes: bool,
    /// The first key, and whether there are others.
    key: Option<Box<[u8]>>,
    several: bool,
    /// Scripts that its commands name.
    digests: Vec<Digest>,
    /// The gateway's own commands before the client's, and their number.
    lead: Vec<u8>,
    leading: u32,
}

/// A transaction that is being collected.
#[derive(Debug)]
pub(super) struct Queue {
    reach: Reach,
    blocks: Vec<Block>,
    /// Number of each slot's block, when there are several.
    numbers: HashMap<Slot, u32, foldhash::fast::RandomState>,
    turns: Vec<Turn>,
    /// Commands that the gateway answers.
    here: Vec<Bytes>,
    /// Messages that are published: whoever they wake must find what this client wrote before.
    messages: Vec<Publication>,
    /// Bytes that it takes up.
    size: usize,
}

impl Entry<'_> {
    fn slot(&self) -> Option<Slot> {
        self.keys.map(|keys| keys.slot)
    }
}

impl Block {
    fn new(slot: Option<Slot>) -> Self {
        Self {
            slot,
            bytes: MULTI.to_vec(),
            commands: 0,
            reads: true,
            script: false,
            publishes: false,
            key: None,
            several: false,
            digests: Vec::new(),
            lead: Vec::new(),
            leading: 0,
        }
    }

    fn push(&mut self, entry: Entry<'_>) {
        self.bytes.extend_from_slice(entry.frame);
        self.commands += 1;
        self.reads &= entry.reads;
        self.script |= entry.script;
        if let Some(Keys { first, several, .. }) = entry.keys {
            let known = self.key.get_or_insert_with(|| first.into());
            self.several |= several || **known != *first;
        }
        if let Some(digest) = entry.digest.filter(|digest| !self.digests.contains(digest)) {
            self.digests.push(digest);
        }
    }

    /// Whether messages may come of it.
    pub(super) fn may_publish(&self) -> bool {
        self.publishes || self.script
    }

    /// Puts a command of the gateway's own before the client's; its reply is none of the client's.
    pub(super) fn precede(&mut self, request: &[u8]) {
        self.lead.extend_from_slice(request);
        self.leading += 1;
    }

    /// How many of the first replies are none of the client's.
    pub(super) fn leading(&self) -> u32 {
        self.leading
    }

    /// Scripts that its node has to know.
    pub(super) fn take_digests(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.digests)
    }

    /// The slot whose owner runs it. `None`: any primary will do.
    pub(super) fn slot(&self) -> Option<Slot> {
        self.slot.or_else(|| Slot::new(STEADY).filter(|_| self.script))
    }

    /// How many commands it has.
    pub(super) fn commands(&self) -> u32 {
        self.commands
    }

    /// Whether its keys can stand on both sides of a migration.
    pub(super) fn has_several_keys(&self) -> bool {
        self.several
    }

    /// Whether it may run twice.
    pub(super) fn reads(&self) -> bool {
        self.reads
    }

    /// The block as it runs: `MULTI` to `EXEC`.
    pub(super) fn run(&self) -> Bytes {
        self.ending_with(EXEC)
    }

    /// The same, for one that has nothing before the client's commands and is sent once.
    pub(super) fn into_bytes(mut self) -> Bytes {
        self.bytes.extend_from_slice(EXEC);
        self.bytes.into()
    }

    /// The block as it is tried: its node checks every command, and runs none.
    pub(super) fn trial(&self) -> Bytes {
        self.ending_with(DISCARD)
    }

    fn ending_with(&self, end: &[u8]) -> Bytes {
        let commands = self.bytes.get(MULTI.len()..).unwrap_or_default();
        [MULTI, &self.lead, commands, end].concat().into()
    }

    /// Replies that come before EXEC's.
    pub(super) fn before(&self) -> u32 {
        self.leading + self.commands + 1
    }

    /// How it is sent: where no key says to which node, messages go where all others go.
    pub(super) fn terms(&self, manner: Manner) -> Terms {
        let (before, repeatable) = (self.before(), self.reads);
        Terms { before, repeatable, home: self.publishes, ..Terms::new(self.slot(), manner) }
    }
}

impl Queue {
    /// An empty one. Watched slots have a block from the start, for EXEC has to look at them.
    pub(super) fn new(reach: Reach, watched: impl Iterator<Item = Slot>) -> Self {
        let mut queue = Self {
            reach,
            blocks: Vec::new(),
            numbers: HashMap::default(),
            turns: Vec::new(),
            here: Vec::new(),
            messages: Vec::new(),
            size: 0,
        };
        for slot in watched {
            queue.number(Some(slot));
        }
        queue
    }

    /// Bytes of its commands.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Whether a command may join; else its keys stand in another slot than those before.
    pub(super) fn admits(&self, entry: Entry<'_>) -> bool {
        match self.reach {
            Reach::Slots => true,
            _ if self.blocks.len() < 2 && !self.is_elsewhere(entry.slot()) => true,
            Reach::Reads => entry.reads && self.blocks.iter().all(|block| block.reads),
            Reach::OneSlot => false,
        }
    }

    /// Whether the slot is not that of the first block.
    fn is_elsewhere(&self, slot: Option<Slot>) -> bool {
        let first = self.blocks.first().and_then(|block| block.slot);
        first.zip(slot).is_some_and(|(first, slot)| first != slot)
    }

    /// Adds a command for a node. One without keys goes with the first block.
    pub(super) fn push(&mut self, entry: Entry<'_>) {
        let number = self.number(entry.slot());
        if let Some(block) = self.blocks.get_mut(number as usize) {
            block.push(entry);
        }
        self.size += entry.frame.len();
        self.turns.push(Turn::Block(number));
    }

    /// Adds a command that the gateway answers.
    pub(super) fn push_here(&mut self, frame: &[u8]) {
        self.here.push(Bytes::copy_from_slice(frame));
        self.size += frame.len();
        self.turns.push(Turn::Here);
    }

    /// How many commands were taken.
    pub(super) fn commands(&self) -> usize {
        self.turns.len()
    }

    /// How many commands the gateway answers.
    pub(super) fn here(&self) -> usize {
        self.here.len()
    }

    /// Adds a command for a node that publishes this message.
    pub(super) fn publish(&mut self, entry: Entry<'_>, message: Publication) {
        self.push(entry);
        if let Some(Turn::Block(block)) = self.turns.pop() {
            self.turns.push(Turn::Message(block, self.messages.len() as u32));
            self.messages.push(message);
            if let Some(block) = self.blocks.get_mut(block as usize) {
                block.publishes = true;
            }
        }
    }

    /// Bytes that it would take up with this command.
    pub(super) fn size_with(&self, frame: &[u8]) -> usize {
        self.size + frame.len() + (self.turns.len() + 1) * size_of::<Turn>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// The one block, when there is nothing else to do.
    pub(super) fn only_block(&self) -> Option<&Block> {
        match self.blocks.as_slice() {
            [block] if self.is_plain() && block.digests.is_empty() => Some(block),
            _ => None,
        }
    }

    fn is_plain(&self) -> bool {
        self.here.is_empty() && self.messages.is_empty()
    }

    /// Blocks of which messages may come.
    pub(super) fn publishing(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(|block| block.may_publish())
    }

    /// The same, taken out.
    pub(super) fn into_only_block(mut self) -> Option<Block> {
        self.blocks.pop()
    }

    /// How many slots its commands stand in.
    pub(super) fn slots(&self) -> usize {
        self.blocks.iter().filter(|block| block.commands > 0).count()
    }

    pub(super) fn take_here(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.here)
    }

    /// Messages that are published, each with the number of its block.
    pub(super) fn take_messages(&mut self) -> Vec<Publication> {
        std::mem::take(&mut self.messages)
    }

    /// The blocks, and who answers each command.
    pub(super) fn into_parts(self) -> (Vec<Block>, Vec<Turn>) {
        (self.blocks, self.turns)
    }

    /// Number of the block for this slot, which is there from now on.
    fn number(&mut self, slot: Option<Slot>) -> u32 {
        let count = self.blocks.len() as u32;
        let Some(slot) = slot.filter(|_| count > 0) else {
            if count == 0 {
                self.blocks.push(Block::new(slot));
            }
            return 0;
        };
        if let [only] = self.blocks.as_mut_slice() {
            let first = *only.slot.get_or_insert(slot);
            if first == slot {
                return 0;
            }
            self.numbers.insert(first, 0);
        }
        let number = *self.numbers.entry(slot).or_insert(count);
        if number == count {
            self.blocks.push(Block::new(Some(slot)));
        }
        number
    }
}

/// EXEC's reply: the element of each command in the order of the commands. `blocks` are the elements of each
/// block's array, `here` the gateway's own replies. `None`: there are fewer than commands.
pub(super) fn assemble<'a>(
    turns: &[Turn],
    messages: &[Publication],
    blocks: &mut [impl Iterator<Item = &'a [u8]>],
    here: &[Vec<u8>],
) -> Option<Vec<u8>> {
    let mut reply = Vec::new();
    let mut here = here.iter();
    write::array(&mut reply, turns.len());
    for turn in turns {
        let element = match turn {
            Turn::Block(number) => blocks.get_mut(*number as usize)?.next()?,
            Turn::Message(number, message) => {
                let count = blocks.get_mut(*number as usize)?.next()?;
                messages.get(*message as usize)?.correct(count, &mut reply);
                continue;
            }
            Turn::Here => here.next()?,
        };
        reply.extend_from_slice(element);
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each block's slot, and how many commands it has.
    type Blocks = &'static [(Option<usize>, u32)];
    /// Each command's slot, and whether it reads.
    type Entries = &'static [(Option<u16>, bool)];

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn entry(place: Option<u16>, reads: bool) -> Entry<'static> {
        let keys = place.map(|number| Keys { slot: slot(number), first: b"key", several: false });
        Entry { keys, reads, script: false, digest: None, frame: b"*1\r\n$1\r\nx\r\n" }
    }

    fn queue(reach: Reach, watched: &[u16], entries: &[(Option<u16>, bool)]) -> (Queue, Vec<bool>) {
        let mut queue = Queue::new(reach, watched.iter().map(|number| slot(*number)));
        let admitted = entries.iter().map(|&(place, reads)| {
            let admitted = queue.admits(entry(place, reads));
            if admitted {
                queue.push(entry(place, reads));
            }
            admitted
        });
        let admitted = admitted.collect();
        (queue, admitted)
    }

    /// The slots of the blocks, and the number of commands in each.
    fn blocks(queue: Queue) -> Vec<(Option<usize>, u32)> {
        let of = |block: &Block| (block.slot().map(Slot::index), block.commands());
        queue.into_parts().0.iter().map(of).collect()
    }

    #[test]
    fn commands_join_the_block_of_their_slot() {
        let table: [(&[u16], Entries, Blocks); 6] = [
            (&[], &[(Some(5), false), (Some(5), false)], &[(Some(5), 2)]),
            (&[], &[(None, false)], &[(None, 1)]),
            (&[], &[(None, false), (Some(7), false), (None, false)], &[(Some(7), 3)]),
            (
                &[],
                &[
                    (Some(1), false),
                    (Some(2), false),
                    (None, false),
                    (Some(3), true),
                    (Some(2), true),
                ],
                &[(Some(1), 2), (Some(2), 2), (Some(3), 1)],
            ),
            (&[9], &[(Some(1), false), (None, false)], &[(Some(9), 1), (Some(1), 1)]),
            (&[9, 8], &[(Some(8), false)], &[(Some(9), 0), (Some(8), 1)]),
        ];
        for (watched, entries, expected) in table {
            let (queue, admitted) = queue(Reach::Slots, watched, entries);
            assert!(admitted.iter().all(|admitted| *admitted));
            assert_eq!(blocks(queue), expected, "{watched:?} {entries:?}");
        }
    }

    #[test]
    fn how_far_a_transaction_goes() {
        const ONE: Option<u16> = Some(1);
        const OTHER: Option<u16> = Some(2);
        let table: [(Reach, &[u16], Entries, &[bool]); 7] = [
            (
                Reach::OneSlot,
                &[],
                &[(ONE, true), (None, true), (OTHER, true)],
                &[true, true, false],
            ),
            (Reach::OneSlot, &[1], &[(ONE, true), (OTHER, true)], &[true, false]),
            (Reach::Reads, &[], &[(ONE, true), (OTHER, true), (None, true)], &[true, true, true]),
            (Reach::Reads, &[], &[(ONE, true), (OTHER, true), (ONE, false)], &[true, true, false]),
            (Reach::Reads, &[], &[(ONE, false), (ONE, true), (OTHER, true)], &[true, true, false]),
            (Reach::Reads, &[], &[(ONE, true), (OTHER, false)], &[true, false]),
            (Reach::Slots, &[], &[(ONE, false), (OTHER, false)], &[true, true]),
        ];
        for (reach, watched, entries, expected) in table {
            let (_, admitted) = queue(reach, watched, entries);
            assert_eq!(admitted, expected, "{reach:?} {watched:?} {entries:?}");
        }
    }

    #[test]
    fn a_block_as_it_is_sent() {
        let (queue, _) = queue(Reach::Slots, &[], &[(Some(3), true), (Some(3), false)]);
        let mut block = queue.into_parts().0.remove(0);
        let terms = block.terms(Manner::own());
        assert_eq!((terms.before, terms.repeatable, terms.slot), (3, false, Some(slot(3))));
        let commands = "*1\r\n$1\r\nx\r\n".repeat(2);
        let tried = format!("*1\r\n$5\r\nMULTI\r\n{commands}*1\r\n$7\r\nDISCARD\r\n");
        assert_eq!(block.trial(), tried.as_bytes());
        let run = format!("*1\r\n$5\r\nMULTI\r\n{commands}*1\r\n$4\r\nEXEC\r\n");
        assert_eq!(block.run(), run.as_bytes());
        block.precede(b"*1\r\n$4\r\nPING\r\n");
        let run = run.replacen("*1\r\n$1\r\nx", "*1\r\n$4\r\nPING\r\n*1\r\n$1\r\nx", 1);
        assert_eq!(block.run(), run.as_bytes());
        assert_eq!((block.terms(Manner::own()).before, block.leading()), (4, 1));
    }

    #[test]
    fn one_key_stands_on_one_side_of_a_migration() {
        let one = Keys { slot: slot(3), first: b"one", several: false };
        let other = Keys { first: b"other", ..one };
        let table = [
            (vec![one, one], false),
            (vec![one, other], true),
            (vec![one, Keys { several: true, ..one }], true),
            (vec![], false),
        ];
        for (keys, expected) in table {
            let mut queue = Queue::new(Reach::Slots, std::iter::empty());
            queue.push(entry(None, false));
            for keys in &keys {
                queue.push(Entry { keys: Some(*keys), ..entry(None, false) });
            }
            assert_eq!(queue.only_block().unwrap().has_several_keys(), expected, "{keys:?}");
        }
    }

    #[test]
    fn a_script_is_named_once() {
        let mut queue = Queue::new(Reach::Slots, std::iter::empty());
        for digest in [Some([1; 20]), Some([2; 20]), Some([1; 20]), None] {
            queue.push(Entry { digest, ..entry(Some(3), false) });
        }
        assert!(queue.only_block().is_none(), "the scripts go before it");
        let mut block = queue.into_parts().0.remove(0);
        assert_eq!(block.take_digests(), [[1; 20], [2; 20]]);
    }

    #[test]
    fn a_script_without_keys_has_a_steady_place() {
        let mut queue = Queue::new(Reach::Slots, std::iter::empty());
        queue.push(Entry { script: true, ..entry(None, false) });
        assert_eq!(blocks(queue), [(Some(0), 1)]);
    }

    #[test]
    fn replies_return_in_the_order_of_the_commands() {
        let turns = [Turn::Block(1), Turn::Here, Turn::Block(0), Turn::Block(1)];
        let here = [b"+PONG\r\n".to_vec()];
        let parts: [&[&[u8]]; 2] = [&[b":1\r\n"], &[b"$1\r\na\r\n", b"*0\r\n"]];
        let elements = || parts.map(|part| part.iter().copied());
        let reply = assemble(&turns, &[], &mut elements(), &here).unwrap();
        assert_eq!(reply, b"*4\r\n$1\r\na\r\n+PONG\r\n:1\r\n*0\r\n");
        assert_eq!(assemble(&[Turn::Block(0); 2], &[], &mut elements(), &here), None);
        assert_eq!(assemble(&[Turn::Block(2)], &[], &mut elements(), &here), None);
    }
}
