//! EXEC where one block on the shared connection is not enough: several slots, or watched keys.
//!
//! A transaction over several slots holds no connections. Every node is first given its block with DISCARD at the
//! end: it checks each command and runs none. Only when all have agreed is anything run, watched slots first.

use std::rc::Rc;

use bytes::Bytes;

use crate::backend::{ABORTED, Asker, Manner, Ticket, UNCERTAIN};
use crate::resp::{Protocol, elements, write};

use super::super::conversation::Conversation;
use super::super::pubsub::{Destination, Publication};
use super::super::scripts;
use super::super::steps::Inbox;
use super::super::traces::Trail;
use super::super::worker::Worker;
use super::queue::{Block, Queue, Turn, assemble};
use super::watch::{Failure, Watch};

/// Why EXEC has no array. `Display` is the line that the client gets.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// A watched key has changed: nothing ran.
    #[error("ERR a watched key has changed")]
    Changed,
    /// A node's error, as its client gets it.
    #[error("ERR refused by a node")]
    Refused(Vec<u8>),
    /// A node was lost with its block.
    #[error("{UNCERTAIN}")]
    Unknown,
    /// Some blocks ran and others did not.
    #[error("UNCERTAIN the transaction was executed in some of its slots only: {0}")]
    Partly(String),
    /// It ran, and its replies are more than a client may be sent at once.
    #[error("ERR the transaction was executed, but its replies are larger than limits.output_hard")]
    TooLarge,
    /// A node answered with something else than its block's replies.
    #[error("UNCERTAIN unexpected reply from a node; the transaction may have been executed")]
    Unexpected,
}

/// The replies of a transaction that ran.
#[derive(Debug)]
pub(super) struct Done {
    turns: Vec<Turn>,
    messages: Vec<Publication>,
    /// By the blocks' numbers.
    replies: Vec<BlockReply>,
}

/// The array of one block, and how many of its first elements are not the block's.
#[derive(Debug, Default)]
struct BlockReply {
    array: Bytes,
    skipped: usize,
}

/// The blocks of a transaction on their way.
pub(super) struct Execution<'a> {
    worker: &'a Rc<Worker>,
    /// Leads to EXEC.
    trail: Trail,
    manner: Manner,
    /// Blocks that have run and may have written.
    ran: usize,
}

impl Stop {
    /// EXEC's reply.
    pub(super) fn reply(self, protocol: Protocol) -> Vec<u8> {
        let mut reply = Vec::new();
        match self {
            Self::Changed => write::null_array(&mut reply, protocol),
            Self::Refused(line) => return line,
            other => write::error(&mut reply, other.to_string()),
        }
        reply
    }
}

impl Done {
    /// EXEC's reply, with the gateway's own replies at their places.
    pub(super) fn reply(&self, here: &[Vec<u8>]) -> Result<Vec<u8>, Stop> {
        let parts = self.replies.iter();
        let parts = parts.map(|part| Some(elements(&part.array)?.skip(part.skipped)));
        let mut parts: Vec<_> = parts.collect::<Option<_>>().ok_or(Stop::Unexpected)?;
        assemble(&self.turns, &self.messages, &mut parts, here).ok_or(Stop::Unexpected)
    }
}

/// Runs what was collected, unless a watched key has changed.
pub(super) async fn run(
    worker: &Rc<Worker>,
    trail: Trail,
    manner: Manner,
    mut queue: Queue,
    watches: Vec<Watch>,
) -> Result<Done, Stop> {
    let mut execution = Execution { worker, trail, manner, ran: 0 };
    let mut messages = queue.take_messages();
    let (mut blocks, turns) = queue.into_parts();
    for block in &mut blocks {
        bring_scripts(worker, block).await;
    }
    for watch in &watches {
        let of_watch = |block: &&mut Block| block.slot() == Some(watch.slot());
        blocks.iter_mut().filter(of_watch).for_each(|block| block.precede(&watch.question()));
    }
    count_listeners(worker, &blocks, &turns, &mut messages);
    let replies = execution.run(&blocks, watches).await?;
    Ok(Done { turns, messages, replies })
}

/// Messages are on their way: who listens now is counted.
fn count_listeners(
    worker: &Rc<Worker>,
    blocks: &[Block],
    turns: &[Turn],
    messages: &mut [Publication],
) {
    for turn in turns {
        let Turn::Message(block, message) = *turn else { continue };
        let slot = blocks.get(block as usize).and_then(Block::slot);
        if let Some(message) = messages.get_mut(message as usize) {
            let direct = match message.destination() {
                Destination::Home => slot.is_none_or(|slot| worker.pool.is_home(slot)),
                Destination::Slot(_) => true,
            };
            message.is_sent(&worker.rooms, direct);
        }
    }
}

/// Whoever runs the gateway should know that an application relies on more than it gets; once is enough.
pub(super) fn warn_of_spread(conversation: &Conversation, slots: usize) {
    if conversation.worker.told_of_spread.replace(true) {
        return;
    }
    tracing::warn!(
        client = %conversation.client.ends.client,
        slots,
        "a transaction over several slots is atomic in each slot only (routing.transactions)"
    );
}

/// A node may have forgotten a script, and NOSCRIPT in EXEC's array cannot be repaired.
async fn bring_scripts(worker: &Rc<Worker>, block: &mut Block) {
    for digest in block.take_digests() {
        if let Some(body) = scripts::known(worker, &digest).await {
            let mut load = Vec::new();
            write::command(&mut load, &[b"SCRIPT".as_slice(), b"LOAD", &body]);
            block.precede(&load);
        }
    }
}

impl Execution<'_> {
    async fn run(
        &mut self,
        blocks: &[Block],
        watches: Vec<Watch>,
    ) -> Result<Vec<BlockReply>, Stop> {
        if watches.iter().any(|watch| !watch.holds(&self.worker.pool)) {
            return Err(self.give_up(watches, Stop::Changed).await);
        }
        let is_watched =
            |block: &Block| watches.iter().any(|watch| Some(watch.slot()) == block.slot());
        let free: Vec<(usize, &Block)> =
            blocks.iter().enumerate().filter(|(_, block)| !is_watched(block)).collect();
        let running = blocks.iter().filter(|block| block.commands() > 0).count();
        // When reads fail, nothing is lost.
        let writes = blocks.iter().any(|block| !block.reads());
        if running > 1
            && writes
            && let Err(stop) = self.try_out(&free).await
        {
            return Err(self.give_up(watches, stop).await);
        }
        let mut replies: Vec<BlockReply> = blocks.iter().map(|_| BlockReply::default()).collect();
        self.run_watched(blocks, watches, &mut replies).await?;
        self.run_free(&free, &mut replies).await?;
        Ok(replies)
    }

    /// Has every node check its block.
    async fn try_out(&self, blocks: &[(usize, &Block)]) -> Result<(), Stop> {
        let trials = blocks.iter().map(|(_, block)| (*block, block.trial(), true)).collect();
        let replies = self.ask(trials).await?;
        match replies.into_iter().find(|reply| reply != b"+OK\r\n") {
            Some(refusal) => Err(Stop::Refused(refusal)),
            None => Ok(()),
        }
    }

    /// Runs the blocks of watched slots, one after the other; those without commands, which only look at their
    /// keys, come first.
    async fn run_watched(
        &mut self,
        blocks: &[Block],
        mut watches: Vec<Watch>,
        replies: &mut [BlockReply],
    ) -> Result<(), Stop> {
        let at = |watch: &Watch| blocks.iter().position(|block| block.slot() == Some(watch.slot()));
        let commands = |at: usize| blocks.get(at).map_or(0, Block::commands);
        watches.sort_by_key(|watch| at(watch).map_or(0, commands) > 0);
        while !watches.is_empty() {
            let watch = watches.remove(0);
            let Some((place, block)) = at(&watch).and_then(|at| Some((at, blocks.get(at)?))) else {
                return Err(self.give_up(watches, Stop::Unexpected).await);
            };
            match watch.exec(self.worker, &self.trail, self.manner, block).await {
                Ok(array) => {
                    self.ran += usize::from(!block.reads());
                    if let Some(reply) = replies.get_mut(place) {
                        *reply = BlockReply { array, skipped: block.leading() as usize };
                    }
                }
                Err(failure) => {
                    let stop = self.stop(failure);
                    return Err(self.give_up(watches, stop).await);
                }
            }
        }
        Ok(())
    }

    /// Runs the other blocks at once.
    async fn run_free(
        &mut self,
        blocks: &[(usize, &Block)],
        replies: &mut [BlockReply],
    ) -> Result<(), Stop> {
        let sent = blocks.iter().map(|(_, block)| (*block, block.run(), block.reads())).collect();
        let mut failed = None;
        for ((place, block), array) in blocks.iter().zip(self.ask(sent).await?) {
            match array.first() {
                Some(b'*') => self.ran += usize::from(!block.reads()),
                Some(b'-') if array.starts_with(b"-UNCERTAIN") => return Err(Stop::Refused(array)),
                Some(b'-') => drop(failed.get_or_insert(Failure::Refused(array.clone()))),
                _ => return Err(Stop::Unexpected),
            }
            if let Some(reply) = replies.get_mut(*place) {
                let skipped = block.leading() as usize;
                *reply = BlockReply { array: array.into(), skipped };
            }
        }
        failed.map_or(Ok(()), |failure| Err(self.stop(failure)))
    }

    /// What a failure means after what has run already.
    fn stop(&self, failure: Failure) -> Stop {
        let reason = match failure {
            Failure::Unknown => return Stop::Unknown,
            Failure::Changed if self.ran == 0 => return Stop::Changed,
            Failure::Refused(line) if self.ran == 0 => return Stop::Refused(line),
            Failure::Changed => "a watched key has changed".to_owned(),
            Failure::Refused(line) => {
                let reason = line.strip_prefix(ABORTED).unwrap_or(&line);
                let reason = String::from_utf8_lossy(reason);
                reason.trim_start_matches('-').trim_end().to_owned()
            }
        };
        self.worker.metrics.partial_failure();
        Stop::Partly(reason)
    }

    /// Ends what is still watched.
    async fn give_up(&self, watches: Vec<Watch>, stop: Stop) -> Stop {
        for watch in watches {
            watch.end(self.worker).await;
        }
        stop
    }

    /// Sends blocks on the shared connections, all at once. Each comes with its bytes and with whether they may be
    /// sent again.
    async fn ask(&self, blocks: Vec<(&Block, Bytes, bool)>) -> Result<Vec<Vec<u8>>, Stop> {
        let most = self.worker.gateway.settings().limits.output_hard;
        let inbox = Rc::new(Inbox::new(blocks.len(), most).traced(&self.trail));
        let asker: Rc<dyn Asker> = inbox.clone();
        for ((block, bytes, repeatable), place) in blocks.into_iter().zip(0..) {
            let mut terms = block.terms(self.manner);
            terms.repeatable = repeatable;
            let ticket = self.trail.mark(Ticket::new(place, 0));
            self.worker.pool.send_bytes(terms, &asker, ticket, bytes);
        }
        inbox.replies().await.ok_or(Stop::TooLarge)
    }
}
