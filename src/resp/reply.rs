//! Replies as bytes: finding where one ends. What looks inside without a tree stands in `parts.rs`.
//!
//! A scanner keeps no bytes, never recurses, and looks at each byte once, however small the pieces
//! in which a reply arrives.

use super::nesting::{Level, Nesting};
use super::number;
pub use super::parts::{Elements, elements, integer};

/// Most bytes in a length line, where 18 digits already mean an exabyte.
const LENGTH_LINE: usize = 24;
/// Most bytes in a number, a double or a truth value.
const NUMBER_LINE: u64 = 64 << 10;
/// Most bytes in a simple string, an error or a big number. A script can make a server send one as
/// long as a string may be, and that must not cost its neighbours the connection.
const TEXT_LINE: u64 = 512 << 20;

/// Why bytes are not a reply. The connection they came from cannot be trusted any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// No type of the protocol starts with this byte.
    #[error("a reply cannot start with byte {0:#04x}")]
    Kind(u8),
    /// A length that is not a number, or negative where that means nothing.
    #[error("invalid length in a reply")]
    Length,
    /// The bytes of a string are not followed by a line end.
    #[error("a string in a reply does not end where it should")]
    Trailer,
    /// Too many aggregates within each other.
    #[error("a reply is nested too deeply")]
    Depth,
    /// A line that does not end.
    #[error("a line in a reply is too long")]
    Line,
    /// A number, a truth value or the like with something else in its place.
    #[error("invalid value in a reply")]
    Value,
    /// The bytes end before the reply does (where a whole reply was promised).
    #[error("a reply is cut off")]
    Cut,
    /// More bytes follow the reply (where exactly one was promised).
    #[error("bytes after the end of a reply")]
    Trailing,
}

/// How far one step through the bytes has led.
enum Step {
    /// The buffer ends here.
    Wait,
    /// Something was opened; its contents follow.
    Opened,
    /// A value has ended.
    Ended,
}

/// Finds where replies end. It resumes where the bytes ended.
#[derive(Debug)]
pub struct ReplyScanner {
    /// The last call ended within a reply.
    resumed: bool,
    /// First byte not yet understood.
    position: usize,
    /// Bytes left of the string at `position`, with its line end.
    string: u64,
    /// Inside a line: how many more bytes it may have.
    line: Option<u64>,
    nesting: Nesting,
}

impl Default for ReplyScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplyScanner {
    /// A scanner at the start of a reply.
    #[must_use]
    pub fn new() -> Self {
        Self { resumed: false, position: 0, string: 0, line: None, nesting: Nesting::new() }
    }

    /// Looks for the end of the reply whose unforgotten bytes start `buffer`. `Some(n)`: it ends
    /// after `n` bytes, and the next call starts a new one. `None`: more bytes are needed; the next
    /// call gets the same bytes with more appended, or less those that `forget` was told about.
    ///
    /// # Errors
    /// The bytes are not a reply, so the connection must be closed.
    #[inline]
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Option<usize>, ReplyError> {
        if !self.resumed
            && let Some(end) = quick(buffer)
        {
            return Ok(Some(end));
        }
        self.scan_steps(buffer)
    }

    fn scan_steps(&mut self, buffer: &[u8]) -> Result<Option<usize>, ReplyError> {
        self.resumed = true;
        loop {
            let step = if self.string > 0 {
                self.skip_string(buffer)?
            } else if let Some(most) = self.line {
                self.skip_line(buffer, most)?
            } else {
                self.open(buffer)?
            };
            match step {
                Step::Wait => return Ok(None),
                Step::Opened => {}
                Step::Ended => {
                    if self.close() {
                        let end = self.position;
                        self.position = 0;
                        self.resumed = false;
                        return Ok(Some(end));
                    }
                }
            }
        }
    }

    /// After `None`: how many bytes at the start of the buffer have been understood as part of this
    /// reply, so that they may be passed on before the rest has come.
    #[must_use]
    pub fn scanned(&self) -> usize {
        self.position
    }

    /// The first `n` bytes, at most `scanned()`, have been passed on and are no longer in the buffer.
    pub fn forget(&mut self, n: usize) {
        debug_assert!(n <= self.position, "only scanned bytes can be forgotten");
        self.position = self.position.saturating_sub(n);
    }

    /// After `None`: how many more bytes are certainly needed, 0 if that is not known.
    #[must_use]
    pub fn missing(&self) -> usize {
        usize::try_from(self.string).unwrap_or(usize::MAX)
    }

    /// Reads the type and length of the next value, or the whole value if it is a simple one.
    fn open(&mut self, buffer: &[u8]) -> Result<Step, ReplyError> {
        if self.pass_elements(buffer) {
            self.nesting.leave();
            return Ok(Step::Ended);
        }
        let rest = buffer.get(self.position..).unwrap_or_default();
        let Some(&kind) = rest.first() else { return Ok(Step::Wait) };
        match (kind, self.nesting.top()) {
            (b';', Some(Level::Pieces)) => return self.open_piece(rest),
            (_, Some(Level::Pieces)) => return Err(ReplyError::Kind(kind)),
            (b'.', Some(Level::Streamed | Level::StreamedMap { half: false })) => {
                return self.end_stream(rest);
            }
            _ => {}
        }
        match kind {
            b'+' | b'-' | b'(' => Ok(self.open_line(TEXT_LINE)),
            b':' | b',' | b'#' | b'_' => Ok(self.open_line(NUMBER_LINE)),
            b'$' | b'=' | b'!' | b'*' | b'%' | b'~' | b'>' | b'|' => self.open_length(kind, rest),
            _ => Err(ReplyError::Kind(kind)),
        }
    }

    /// Passes over small elements of an aggregate. True if those were all that it lacked.
    fn pass_elements(&mut self, buffer: &[u8]) -> bool {
        let mut position = self.position;
        let Some(Level::Counted(left)) = self.nesting.top_mut() else { return false };
        while *left > 0 {
            match buffer.get(position..).and_then(quick) {
                Some(used) => position += used,
                None => break,
            }
            *left -= 1;
        }
        let all = *left == 0;
        self.position = position;
        all
    }

    fn open_line(&mut self, most: u64) -> Step {
        self.position += 1;
        self.line = Some(most);
        Step::Opened
    }

    fn open_length(&mut self, kind: u8, rest: &[u8]) -> Result<Step, ReplyError> {
        let Some((length, used)) = read_length(rest)? else { return Ok(Step::Wait) };
        self.position += used;
        let level = match (kind, length) {
            (b'$' | b'=' | b'!', Length::Known(bytes)) => {
                self.string = bytes + 2;
                return Ok(Step::Opened);
            }
            (b'$' | b'*', Length::Null) => return Ok(Step::Ended),
            (b'*' | b'~' | b'>' | b'%', Length::Known(0)) => return Ok(Step::Ended),
            (b'*' | b'~' | b'>', Length::Known(count)) => Level::Counted(count),
            (b'%', Length::Known(pairs)) => Level::Counted(2 * pairs),
            (b'|', Length::Known(pairs)) => Level::Counted(2 * pairs + 1),
            (b'$', Length::Streamed) => Level::Pieces,
            (b'*' | b'~', Length::Streamed) => Level::Streamed,
            (b'%', Length::Streamed) => Level::StreamedMap { half: false },
            _ => return Err(ReplyError::Length),
        };
        self.nesting.enter(level)?;
        Ok(Step::Opened)
    }

    fn open_piece(&mut self, rest: &[u8]) -> Result<Step, ReplyError> {
        match read_length(rest)? {
            None => Ok(Step::Wait),
            Some((Length::Known(0), used)) => {
                self.position += used;
                self.nesting.leave();
                Ok(Step::Ended)
            }
            Some((Length::Known(bytes), used)) => {
                self.position += used;
                self.string = bytes + 2;
                Ok(Step::Opened)
            }
            Some(_) => Err(ReplyError::Length),
        }
    }

    fn end_stream(&mut self, rest: &[u8]) -> Result<Step, ReplyError> {
        let end = b".\r\n";
        if rest.starts_with(end) {
            self.position += end.len();
            self.nesting.leave();
            return Ok(Step::Ended);
        }
        if end.starts_with(rest) { Ok(Step::Wait) } else { Err(ReplyError::Value) }
    }

    fn skip_string(&mut self, buffer: &[u8]) -> Result<Step, ReplyError> {
        let available = buffer.len().saturating_sub(self.position) as u64;
        let skipped = available.min(self.string.saturating_sub(2));
        self.string -= skipped;
        self.position += skipped as usize;
        while self.string > 0 {
            let expected = if self.string == 2 { b'\r' } else { b'\n' };
            match buffer.get(self.position) {
                None => return Ok(Step::Wait),
                Some(byte) if *byte == expected && self.string <= 2 => {}
                Some(_) => return Err(ReplyError::Trailer),
            }
            self.string -= 1;
            self.position += 1;
        }
        Ok(Step::Ended)
    }

    fn skip_line(&mut self, buffer: &[u8], most: u64) -> Result<Step, ReplyError> {
        let rest = buffer.get(self.position..).unwrap_or_default();
        let (text, step) = match line_end(rest) {
            Some(end) => (end - 2, Step::Ended),
            // A CR at the very end may be half of the line end: it is looked at again.
            None => (rest.len() - usize::from(rest.last() == Some(&b'\r')), Step::Wait),
        };
        let left = most.checked_sub(text as u64).ok_or(ReplyError::Line)?;
        self.position += text;
        self.line = Some(left);
        if matches!(step, Step::Ended) {
            self.position += 2;
            self.line = None;
        }
        Ok(step)
    }

    /// A value has ended, and perhaps what is around it. True if that was the whole reply.
    fn close(&mut self) -> bool {
        loop {
            match self.nesting.top_mut() {
                None => return true,
                Some(Level::Counted(left)) => {
                    *left -= 1;
                    if *left > 0 {
                        return false;
                    }
                }
                Some(Level::StreamedMap { half }) => {
                    *half = !*half;
                    return false;
                }
                Some(Level::Streamed | Level::Pieces) => return false,
            }
            self.nesting.leave();
        }
    }
}

/// What stands in a length line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    /// `-1`
    Null,
    /// `?`
    Streamed,
}

/// Reads the length line at the start of `rest`, type byte included, and says how many bytes it
/// took. `None`: it goes on beyond the buffer.
pub(super) fn read_length(rest: &[u8]) -> Result<Option<(Length, usize)>, ReplyError> {
    let after = rest.get(1..).unwrap_or_default();
    if let Some((length, used)) = number::length_line(after) {
        return Ok(Some((Length::Known(length as u64), 1 + used)));
    }
    for (text, length) in [(&b"-1\r\n"[..], Length::Null), (b"?\r\n", Length::Streamed)] {
        if after.starts_with(text) {
            return Ok(Some((length, 1 + text.len())));
        }
        if text.starts_with(after) {
            return Ok(None);
        }
    }
    let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let cut = matches!(after.get(digits..), Some([] | [b'\r']));
    let padded = digits > 1 && after.first() == Some(&b'0');
    if cut && digits > 0 && !padded && after.len() < LENGTH_LINE {
        Ok(None)
    } else {
        Err(ReplyError::Length)
    }
}

/// Length of the line at the start of `rest`, with its CRLF. A CR or LF alone ends nothing.
pub(super) fn line_end(rest: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', rest)
        .find(|&index| index > 0 && rest.get(index - 1) == Some(&b'\r'))
        .map(|index| index + 1)
}

/// Length of the value at the start of `rest`, if it is one of the usual small ones and complete.
#[inline]
pub(super) fn quick(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'$', b'-', b'1', b'\r', b'\n', ..] | [b'+', b'O', b'K', b'\r', b'\n', ..] => Some(5),
        [b'$', after @ ..] => {
            let (length, used) = number::length_line(after)?;
            let end = 1 + used + length;
            (rest.get(end..end + 2)? == b"\r\n").then_some(end + 2)
        }
        [b':', after @ ..] => number::length_line(after).map(|(_, used)| 1 + used),
        [b'_', b'\r', b'\n', ..] => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
