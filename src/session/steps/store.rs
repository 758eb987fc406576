//! Writing a computed value: one transaction in the destination's slot, so that nobody sees a part of it.

use crate::backend::Terms;
use crate::command::Retry;
use crate::merge::scored::Scored;
use crate::merge::set::Members;
use crate::resp::{elements, write};

use super::call::Call;
use super::{Outcome, Step, Steps, Stop, is_error};

/// Members that one request adds.
const CHUNK: usize = 1000;

/// Requests that are carried out together, in one slot.
pub(super) struct Block {
    bytes: Vec<u8>,
    requests: u32,
}

impl Block {
    pub(super) fn new() -> Self {
        let mut bytes = Vec::new();
        write::command(&mut bytes, &["MULTI"]);
        Self { bytes, requests: 0 }
    }

    /// Whatever the key holds goes, and its time to live with it.
    fn replacing(key: &[u8]) -> Self {
        let mut block = Self::new();
        block.push(&[b"DEL", key]);
        block
    }

    pub(super) fn push(&mut self, words: &[impl AsRef<[u8]>]) {
        write::command(&mut self.bytes, words);
        self.requests += 1;
    }

    /// A key becomes a set, or with `RPUSH` a list.
    pub(super) fn members(command: &str, key: &[u8], members: &Members) -> Self {
        let mut block = Self::replacing(key);
        for chunk in members.chunks(CHUNK, usize::MAX) {
            write::array(&mut block.bytes, 2 + chunk.len());
            write::bulk(&mut block.bytes, command);
            write::bulk(&mut block.bytes, key);
            block.bytes.extend_from_slice(chunk.encoded());
            block.requests += 1;
        }
        block
    }

    /// A key becomes a sorted set.
    pub(super) fn scored(key: &[u8], entries: &[Scored<'_>]) -> Self {
        let mut block = Self::replacing(key);
        for chunk in entries.chunks(CHUNK) {
            write::array(&mut block.bytes, 2 + 2 * chunk.len());
            write::bulk(&mut block.bytes, "ZADD");
            write::bulk(&mut block.bytes, key);
            for entry in chunk {
                write::bulk(&mut block.bytes, write::shortest(entry.score));
                write::bulk(&mut block.bytes, entry.member);
            }
            block.requests += 1;
        }
        block
    }
}

impl Steps {
    /// Carries out a block in the slot of the key that stands there, all of it or nothing. Its reply lists the
    /// replies of its requests, none of them an error.
    pub(super) async fn commit(&self, call: &Call, at: usize, block: Block) -> Outcome {
        let Block { bytes: mut request, requests } = block;
        write::command(&mut request, &["EXEC"]);
        let before = requests + 1;
        let terms = Terms { before, ..Terms::new(Some(call.slot(at)), self.manner.read_here()) };
        let reply = self.one(self.once(call, Step { terms, node: None, request })).await?;
        let replies = elements(&reply).ok_or(Stop::Unexpected)?;
        match replies.into_iter().find(|reply| is_error(reply)) {
            Some(error) => Err(Stop::Node(error.to_vec())),
            None => Ok(reply),
        }
    }

    /// The same, answered with a number.
    pub(super) async fn commit_counted(
        &self,
        call: &Call,
        at: usize,
        (block, count): (Block, usize),
    ) -> Outcome {
        self.commit(call, at, block).await?;
        Ok(number(count))
    }

    /// A write: sent again after a lost connection only as the command's row and the settings say.
    pub(super) fn once(&self, call: &Call, mut step: Step) -> Step {
        let idempotent = call.spec().retry == Retry::Idempotent;
        step.terms.repeatable =
            idempotent && self.worker.gateway.settings().backend.retry_idempotent;
        step
    }
}

/// The reply that is a number.
pub(super) fn number(number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    write::integer(&mut out, number as i64);
    out
}
