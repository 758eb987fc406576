//! Cuts what a node sends on a connection of one asker into replies.

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::connect::Cause;
use crate::resp::ReplyScanner;

/// Most bytes of a line. Values come as strings whose length is announced, so that a longer one has no end.
const LINE_BYTES: usize = 1 << 20;

/// Each reply is at most `most` bytes long.
#[derive(Debug)]
pub(super) struct Replies {
    scanner: ReplyScanner,
    most: usize,
    /// Bytes of the reply that have been looked at, and those of them since the last end of a line.
    seen: usize,
    line: usize,
}

impl Replies {
    pub(super) fn new(most: usize) -> Self {
        Self { scanner: ReplyScanner::new(), most, seen: 0, line: 0 }
    }

    /// After a part of a reply: whether the rest is waited for.
    fn may_go_on(&mut self, part: &[u8]) -> bool {
        let fresh = part.get(self.seen..).unwrap_or_default();
        let missing = self.scanner.missing();
        self.line = match memchr::memrchr(b'\n', fresh) {
            _ if missing > 0 => 0,
            Some(end) => fresh.len() - end,
            None => self.line + fresh.len(),
        };
        self.seen = part.len();
        self.line <= LINE_BYTES && part.len().saturating_add(missing) <= self.most
    }
}

impl Decoder for Replies {
    type Item = Bytes;
    type Error = Cause;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Cause> {
        match self.scanner.scan(buffer)? {
            Some(length) if length <= self.most => {
                (self.seen, self.line) = (0, 0);
                Ok(Some(buffer.split_to(length).freeze()))
            }
            None if self.may_go_on(buffer) => Ok(None),
            _ => Err(Cause::TooLong(self.most)),
        }
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Cause> {
        match self.decode(buffer)? {
            None => Err(Cause::Closed),
            reply => Ok(reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in pieces; how many were taken before it was too much.
    fn taken(most: usize, bytes: &[u8]) -> usize {
        let (mut replies, mut buffer) = (Replies::new(most), BytesMut::new());
        let mut taken = 0;
        for piece in bytes.chunks(16 << 10) {
            buffer.extend_from_slice(piece);
            if replies.decode(&mut buffer).is_err() {
                return taken;
            }
            taken += piece.len();
        }
        taken
    }

    #[test]
    fn a_line_has_an_end_and_a_string_the_length_it_announces() {
        let long = 8 << 20;
        let line = [b"+".as_slice(), &vec![b'x'; long]].concat();
        assert!((LINE_BYTES - (16 << 10)..=LINE_BYTES).contains(&taken(1 << 30, &line)));
        let string = [format!("${long}\r\n").as_bytes(), &vec![b'x'; long], b"\r\n"].concat();
        assert_eq!(taken(1 << 30, &string), string.len());
        assert_eq!(taken(long, &string), 0, "more is announced than is wanted");
        let many = [b"*1000000\r\n".to_vec(), b":1\r\n".repeat(1_000_000)].concat();
        assert_eq!(taken(1 << 30, &many), many.len(), "a long reply of short lines");
    }
}
