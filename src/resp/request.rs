//! Finds requests in the bytes that a client sends.
//!
//! A parser never reads a byte twice that it has understood, and never allocates for what is only
//! announced. Lengths must be written in the server's own form and every argument must end with
//! CRLF, so a frame has exactly one reading, here and on any server that it is forwarded to.

pub use super::frame::Request;
use super::frame::Span;
use super::{Limits, ParseError, inline, number, write};

/// What a client may send before it has logged in: so many arguments of so many bytes each.
const UNAUTHENTICATED_ARGUMENTS: usize = 10;
const UNAUTHENTICATED_BULK: usize = 16_384;

/// Places reserved at once for arguments; beyond that the list grows with what has arrived.
const RESERVED_ARGUMENTS: usize = 16;

/// Outcome of looking at the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The request goes on beyond the buffer.
    Incomplete,
    /// `*0`, `*-1` or an empty line: nothing to answer, so many bytes to drop.
    Skip(usize),
    /// A whole request takes up so many bytes at the start of the buffer.
    Request(usize),
}

/// Finds requests in a stream of bytes, one after the other, and resumes where the bytes ended.
/// After an error it is of no further use.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Arguments found so far.
    spans: Vec<Span>,
    /// The frame that an inline request stands for; empty for other requests.
    inline: Vec<u8>,
    /// First byte not yet understood: the start of a line, or of an argument's bytes.
    position: usize,
    /// How many bytes from `position` on are known to hold no line end.
    searched: usize,
    /// Arguments still to come.
    left: usize,
    /// Length of the argument whose bytes start at `position`.
    bulk: Option<u32>,
    /// The request is complete (or skipped): the next call starts a new one.
    settled: bool,
    missing: usize,
}

impl RequestParser {
    /// A parser at the start of a request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for the end of the request at the start of `buffer`, which is either a fresh one or
    /// the bytes of the previous call with more appended.
    ///
    /// # Errors
    /// What the client must be told before its connection is closed.
    pub fn parse(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
        authenticated: bool,
    ) -> Result<Parsed, ParseError> {
        if self.settled {
            self.restart();
        }
        self.missing = 0;
        if self.position == 0 {
            match buffer.first() {
                None => return Ok(Parsed::Incomplete),
                Some(b'*') => {}
                Some(_) => return self.parse_inline(buffer, limits),
            }
            let Some(count) = self.read_count(buffer, limits, authenticated)? else {
                return Ok(Parsed::Incomplete);
            };
            if count == 0 {
                self.settled = true;
                return Ok(Parsed::Skip(self.position));
            }
            self.left = count;
            self.spans.reserve(count.min(RESERVED_ARGUMENTS));
        }
        self.parse_arguments(buffer, limits, authenticated)
    }

    /// The request that `parse` has just found at the start of `buffer`. The frame of an inline
    /// request is the same command in its canonical form, so that it can be forwarded.
    #[must_use]
    pub fn request<'a>(&'a self, buffer: &'a [u8]) -> Request<'a> {
        let frame = if self.inline.is_empty() {
            buffer.get(..self.position).unwrap_or_default()
        } else {
            &self.inline
        };
        Request::new(frame, &self.spans)
    }

    /// After `Incomplete`: how many more bytes are certainly needed, 0 if that is not known. A hint
    /// for the size of reads, never a reason to allocate it all.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Gives back the memory kept from earlier requests, but for so many arguments; the last request must have been
    /// dealt with.
    pub fn shrink(&mut self, arguments: usize) {
        if self.settled {
            self.restart();
        }
        self.spans.shrink_to(arguments);
        self.inline = Vec::new();
    }

    fn restart(&mut self) {
        self.spans.clear();
        self.inline.clear();
        self.position = 0;
        self.searched = 0;
        self.settled = false;
    }

    fn parse_arguments(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
        authenticated: bool,
    ) -> Result<Parsed, ParseError> {
        loop {
            self.take_usual(buffer, limits, authenticated);
            if self.left == 0 {
                break;
            }
            let bulk = match self.bulk.take() {
                Some(bulk) => bulk,
                None => match self.read_length(buffer, limits, authenticated)? {
                    Some(bulk) => bulk,
                    None => return Ok(Parsed::Incomplete),
                },
            };
            let end = self.position + bulk as usize;
            match buffer.get(end..end + 2) {
                Some(b"\r\n") => {}
                Some(_) => return Err(ParseError::BulkLength),
                None => {
                    self.bulk = Some(bulk);
                    self.missing = (end + 2).saturating_sub(buffer.len());
                    return Ok(Parsed::Incomplete);
                }
            }
            // The size of a request is bounded below 2^32 where its lengths are read.
            self.spans.push((self.position as u32, end as u32));
            self.position = end + 2;
            self.left -= 1;
        }
        self.settled = true;
        self.refuse_browsers(buffer)?;
        Ok(Parsed::Request(self.position))
    }

    /// Takes the arguments that are complete and as usual, which is nearly always all of them. It
    /// stops before anything else, and `read_length` says what is to be thought of that.
    fn take_usual(&mut self, buffer: &[u8], limits: &Limits, authenticated: bool) {
        let most = if authenticated { usize::MAX } else { UNAUTHENTICATED_BULK };
        let most = limits.bulk_bytes.min(most);
        if self.bulk.is_some() || buffer.len() > limits.request_bytes.min(u32::MAX as usize) {
            return;
        }
        let mut rest = buffer.get(self.position..).unwrap_or_default();
        while self.left > 0 {
            let [b'$', after @ ..] = rest else { break };
            let Some((length, used)) = number::length_line(after) else { break };
            let Some((_, [b'\r', b'\n', next @ ..])) = after.split_at_checked(used + length) else {
                break;
            };
            if length > most {
                break;
            }
            let end = buffer.len() - next.len() - 2;
            self.spans.push(((end - length) as u32, end as u32));
            self.left -= 1;
            rest = next;
        }
        let position = buffer.len() - rest.len();
        if position > self.position {
            self.position = position;
            self.searched = 0;
        }
    }

    fn parse_inline(&mut self, buffer: &[u8], limits: &Limits) -> Result<Parsed, ParseError> {
        // The limit is on the line's text: its line end may stand behind it.
        let window = buffer.get(..limits.line_bytes.saturating_add(2)).unwrap_or(buffer);
        let fresh = window.get(self.searched..).unwrap_or_default();
        let found = memchr::memchr(b'\n', fresh).map(|found| self.searched + found);
        let line = found.and_then(|end| window.get(..end)).unwrap_or(window);
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if text.len() > limits.line_bytes {
            return Err(ParseError::InlineTooLong);
        }
        let Some(end) = found else {
            self.searched = window.len();
            return Ok(Parsed::Incomplete);
        };
        let words = inline::split(text)?;
        self.settled = true;
        if words.len() == 0 {
            return Ok(Parsed::Skip(end + 1));
        }
        write::array(&mut self.inline, words.len());
        for word in words.iter() {
            write::bulk(&mut self.inline, word);
            let end = self.inline.len() - 2;
            self.spans.push(((end - word.len()) as u32, end as u32));
        }
        self.refuse_browsers(buffer)?;
        Ok(Parsed::Request(end + 1))
    }

    /// A web page can make a browser send a request to a server in its network. The first words of
    /// such a request end the connection before its body, which the attacker chose, is looked at.
    fn refuse_browsers(&self, buffer: &[u8]) -> Result<(), ParseError> {
        // The length tells nearly all names apart.
        if !self.spans.first().is_some_and(|(start, end)| matches!(end - start, 4 | 5)) {
            return Ok(());
        }
        let name = self.request(buffer).name();
        if name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:") {
            return Err(ParseError::Hangup);
        }
        Ok(())
    }

    /// Reads `*count`. `None`: the line goes on beyond the buffer.
    fn read_count(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
        authenticated: bool,
    ) -> Result<Option<usize>, ParseError> {
        let rest = buffer.get(1..).unwrap_or_default();
        let (count, next) = if let Some((count, used)) = number::length_line(rest) {
            (count, 1 + used)
        } else {
            let Some(line) = self.unusual_line(buffer, limits, ParseError::CountLineTooLong)?
            else {
                return Ok(None);
            };
            let count = line.number().ok_or(ParseError::MultibulkLength)?;
            // A negative count means no arguments, as for the server.
            (usize::try_from(count).unwrap_or(0), line.text.len() + 2)
        };
        if count > i32::MAX as usize {
            return Err(ParseError::MultibulkLength);
        }
        if !authenticated && count > UNAUTHENTICATED_ARGUMENTS {
            return Err(ParseError::UnauthenticatedMultibulkLength);
        }
        if count > limits.arguments {
            return Err(ParseError::TooManyArguments);
        }
        self.position = next;
        self.searched = 0;
        Ok(Some(count))
    }

    /// Reads `$length` at `position`. `None`: the line goes on beyond the buffer.
    fn read_length(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
        authenticated: bool,
    ) -> Result<Option<u32>, ParseError> {
        let usual = match buffer.get(self.position..) {
            Some([b'$', rest @ ..]) => number::length_line(rest),
            _ => None,
        };
        let (length, next) = if let Some((length, used)) = usual {
            (length, self.position + 1 + used)
        } else {
            let Some(line) = self.unusual_line(buffer, limits, ParseError::LengthLineTooLong)?
            else {
                return Ok(None);
            };
            match line.text.first() {
                Some(b'$') => {}
                other => return Err(ParseError::ExpectedBulk(other.copied().unwrap_or(b'\r'))),
            }
            let length = line.number().ok_or(ParseError::BulkLength)?;
            let length = usize::try_from(length).map_err(|_| ParseError::BulkLength)?;
            (length, self.position + line.text.len() + 2)
        };
        if length > limits.bulk_bytes {
            return Err(ParseError::ArgumentTooLong);
        }
        if !authenticated && length > UNAUTHENTICATED_BULK {
            return Err(ParseError::UnauthenticatedBulkLength);
        }
        let most = limits.request_bytes.min(u32::MAX as usize);
        if next.saturating_add(length).saturating_add(2) > most {
            return Err(ParseError::RequestTooLong);
        }
        self.position = next;
        self.searched = 0;
        Ok(Some(length as u32))
    }

    /// The line at `position` when it is not a usual length line: cut off, or wrong.
    fn unusual_line<'b>(
        &mut self,
        buffer: &'b [u8],
        limits: &Limits,
        too_long: ParseError,
    ) -> Result<Option<Line<'b>>, ParseError> {
        let rest = buffer.get(self.position..).unwrap_or_default();
        // A line that the short way takes when it is complete must not be too long in pieces.
        let most = limits.line_bytes.max(1 + number::LENGTH_DIGITS + 2);
        let window = rest.get(..=most).unwrap_or(rest);
        let fresh = window.get(self.searched..).unwrap_or_default();
        let Some(found) = memchr::memchr(b'\r', fresh) else {
            if window.len() > most {
                return Err(too_long);
            }
            self.searched = window.len();
            return Ok(None);
        };
        self.searched += found;
        let text = rest.get(..self.searched).unwrap_or_default();
        Ok(rest.get(self.searched + 1).map(|next| Line { text, ended: *next == b'\n' }))
    }
}

/// A line up to its CR.
struct Line<'b> {
    text: &'b [u8],
    /// The LF follows. The server does not look; here a line without it is not a number.
    ended: bool,
}

impl Line<'_> {
    /// The number behind the type byte.
    fn number(&self) -> Option<i64> {
        let digits = self.text.get(1..)?;
        if self.ended { number::integer(digits) } else { None }
    }
}

#[cfg(test)]
mod tests;
