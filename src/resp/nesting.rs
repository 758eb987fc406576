//! What is open around a value in a reply, to a bounded depth and without allocation up to the usual.

use super::ReplyError;

/// Most aggregates around a value. Servers nest less than ten deep.
pub(super) const DEPTH: usize = 128;
/// Levels of nesting that need no allocation.
pub(super) const SHALLOW: usize = 8;

/// What is open around the value that comes next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Level {
    /// An aggregate that still lacks so many values. An attribute and the value that it belongs to
    /// count as one such group.
    Counted(u64),
    /// A streamed aggregate that ends with `.`.
    Streamed,
    /// A streamed map; `half` after a key, when it cannot end.
    StreamedMap { half: bool },
    /// A streamed string: pieces, the last one empty.
    Pieces,
}

/// The levels around a value, the innermost last.
#[derive(Debug)]
pub(super) struct Nesting {
    depth: usize,
    levels: [Level; SHALLOW],
    /// Levels beyond the first few.
    deeper: Vec<Level>,
}

impl Nesting {
    pub(super) fn new() -> Self {
        Self { depth: 0, levels: [Level::Counted(0); SHALLOW], deeper: Vec::new() }
    }

    pub(super) fn top(&self) -> Option<Level> {
        let index = self.depth.checked_sub(1)?;
        self.levels.get(index).or_else(|| self.deeper.last()).copied()
    }

    pub(super) fn top_mut(&mut self) -> Option<&mut Level> {
        let index = self.depth.checked_sub(1)?;
        self.levels.get_mut(index).or_else(|| self.deeper.last_mut())
    }

    pub(super) fn enter(&mut self, level: Level) -> Result<(), ReplyError> {
        if self.depth == DEPTH {
            return Err(ReplyError::Depth);
        }
        match self.levels.get_mut(self.depth) {
            Some(place) => *place = level,
            None => self.deeper.push(level),
        }
        self.depth += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.deeper.truncate(self.depth.saturating_sub(SHALLOW));
    }

    /// Whether nothing was ever nested so deeply that it took an allocation.
    #[cfg(test)]
    pub(super) fn is_inline(&self) -> bool {
        self.deeper.capacity() == 0
    }
}
