//! One command as received: its bytes and where its arguments stand in them.

use super::number;

/// Where an argument starts and ends in its frame.
pub(super) type Span = (u32, u32);

/// A whole request in its canonical form.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    frame: &'a [u8],
    spans: &'a [Span],
}

#[expect(clippy::len_without_is_empty, reason = "a request has at least one argument, its name")]
impl<'a> Request<'a> {
    pub(super) fn new(frame: &'a [u8], spans: &'a [Span]) -> Self {
        Self { frame, spans }
    }

    /// The request's bytes: an array of bulk strings, ready to be forwarded.
    #[must_use]
    pub fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// Number of arguments with the name, so at least 1.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The argument at `index`; the name is at 0.
    #[inline]
    #[must_use]
    pub fn arg(&self, index: usize) -> Option<&'a [u8]> {
        let (start, end) = *self.spans.get(index)?;
        self.frame.get(start as usize..end as usize)
    }

    /// The command's name as sent.
    #[inline]
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.arg(0).unwrap_or_default()
    }

    /// All arguments, the name first.
    pub fn args(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone {
        let frame = self.frame;
        self.spans
            .iter()
            .map(move |&(start, end)| frame.get(start as usize..end as usize).unwrap_or_default())
    }

    /// The argument at `index` as it stands in the frame, with its length line and its line end, to
    /// be copied into another request.
    #[must_use]
    pub fn encoded_arg(&self, index: usize) -> Option<&'a [u8]> {
        let (start, end) = *self.spans.get(index)?;
        let (start, end) = (start as usize, end as usize);
        // Lengths have one way to be written, so the width of the length line is known.
        let header = 3 + number::digits(end - start);
        self.frame.get(start.checked_sub(header)?..end + 2)
    }
}
