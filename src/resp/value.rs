//! A reply as a tree of borrowed values, for those who must look inside.

use super::nesting::DEPTH;
use super::number;
use super::reply::{Length, ReplyError, line_end, read_length};

/// Elements reserved at once; beyond that a list grows with what it holds.
const RESERVED: usize = 64;

/// One value. Attributes are passed over: what they describe stands alone.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `+OK`
    Simple(&'a [u8]),
    /// `-ERR ...`, or an error sent as a bulk.
    Error(&'a [u8]),
    /// `:1`
    Integer(i64),
    /// `$3`, any bytes.
    Bulk(&'a [u8]),
    /// The pieces of a string that was sent as a stream.
    Pieces(Vec<&'a [u8]>),
    /// `$-1`, `*-1` or `_`.
    Null,
    /// `*2`
    Array(Vec<Self>),
    /// `%2`, in the order in which it was sent.
    Map(Vec<(Self, Self)>),
    /// `~2`
    Set(Vec<Self>),
    /// `>2`, a message that answers no request.
    Push(Vec<Self>),
    /// `,1.5`
    Double {
        /// The number.
        number: f64,
        /// The number as it was written.
        text: &'a [u8],
    },
    /// `#t`
    Boolean(bool),
    /// `(123`, an integer of any size.
    BigNumber(&'a [u8]),
    /// `=15`, text with its format.
    Verbatim {
        /// Three letters: `txt`, `mkd`.
        format: &'a [u8],
        /// The text itself.
        text: &'a [u8],
    },
}

impl<'a> Value<'a> {
    /// Reads bytes that are exactly one reply.
    ///
    /// # Errors
    /// The bytes are less than one reply, more than one, or none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ReplyError> {
        let mut reader = Reader { rest: bytes };
        let value = reader.value(0)?;
        if reader.rest.is_empty() { Ok(value) } else { Err(ReplyError::Trailing) }
    }

    /// The bytes of anything that is text: strings, errors, big numbers, doubles.
    #[must_use]
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Simple(text)
            | Self::Error(text)
            | Self::Bulk(text)
            | Self::BigNumber(text)
            | Self::Double { text, .. }
            | Self::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A string (not an error) that is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        match self {
            Self::Error(_) => None,
            other => std::str::from_utf8(other.bytes()?).ok(),
        }
    }

    /// An integer.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array, a set or a push.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(list) | Self::Set(list) | Self::Push(list) => Some(list),
            _ => None,
        }
    }

    /// Keys and values, of a map or of the flat array that RESP2 has in its place.
    pub fn pairs(&self) -> impl Iterator<Item = (&Self, &Self)> {
        let (flat, paired): (&[Self], &[(Self, Self)]) = match self {
            Self::Array(list) => (list, &[]),
            Self::Map(pairs) => (&[], pairs),
            _ => (&[], &[]),
        };
        let flat = flat.chunks_exact(2).filter_map(|pair| match pair {
            [key, value] => Some((key, value)),
            _ => None,
        });
        flat.chain(paired.iter().map(|(key, value)| (key, value)))
    }

    /// The value of `key` in a map or in a flat array of keys and values.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.pairs().find(|(name, _)| name.bytes() == Some(key.as_bytes())).map(|(_, value)| value)
    }

    /// The text of an error.
    #[must_use]
    pub fn as_error(&self) -> Option<&'a [u8]> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Whether this is nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// Takes values off the front of the bytes.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a value that stands in `depth` aggregates. The recursion ends at the greatest depth.
    fn value(&mut self, depth: usize) -> Result<Value<'a>, ReplyError> {
        if depth > DEPTH {
            return Err(ReplyError::Depth);
        }
        let kind = *self.rest.first().ok_or(ReplyError::Cut)?;
        match kind {
            b'+' => Ok(Value::Simple(self.line()?)),
            b'-' => Ok(Value::Error(self.line()?)),
            // Scripts put any text into a big number, and servers pass it on.
            b'(' => Ok(Value::BigNumber(self.line()?)),
            b':' => number::integer(self.line()?).map(Value::Integer).ok_or(ReplyError::Value),
            b',' => self.double(),
            b'#' | b'_' => match self.line()? {
                b"t" if kind == b'#' => Ok(Value::Boolean(true)),
                b"f" if kind == b'#' => Ok(Value::Boolean(false)),
                b"" if kind == b'_' => Ok(Value::Null),
                _ => Err(ReplyError::Value),
            },
            b'$' | b'!' | b'=' => self.string(kind),
            b'*' | b'~' | b'>' | b'%' | b'|' => self.aggregate(kind, depth),
            _ => Err(ReplyError::Kind(kind)),
        }
    }

    fn string(&mut self, kind: u8) -> Result<Value<'a>, ReplyError> {
        let length = match (kind, self.length()?) {
            (_, Length::Known(length)) => length,
            (b'$', Length::Null) => return Ok(Value::Null),
            (b'$', Length::Streamed) => return self.pieces(),
            _ => return Err(ReplyError::Length),
        };
        let bytes = self.bytes(length)?;
        match (kind, bytes) {
            (b'$', _) => Ok(Value::Bulk(bytes)),
            (b'!', _) => Ok(Value::Error(bytes)),
            (_, [_, _, _, b':', text @ ..]) => {
                Ok(Value::Verbatim { format: bytes.get(..3).unwrap_or_default(), text })
            }
            _ => Err(ReplyError::Value),
        }
    }

    fn pieces(&mut self) -> Result<Value<'a>, ReplyError> {
        let mut pieces = Vec::new();
        loop {
            match self.rest.first() {
                Some(b';') => {}
                Some(other) => return Err(ReplyError::Kind(*other)),
                None => return Err(ReplyError::Cut),
            }
            match self.length()? {
                Length::Known(0) => return Ok(Value::Pieces(pieces)),
                Length::Known(length) => pieces.push(self.bytes(length)?),
                _ => return Err(ReplyError::Length),
            }
        }
    }

    fn aggregate(&mut self, kind: u8, depth: usize) -> Result<Value<'a>, ReplyError> {
        let count = match (kind, self.length()?) {
            (_, Length::Known(count)) => Some(count),
            (b'*', Length::Null) => return Ok(Value::Null),
            (b'*' | b'~' | b'%', Length::Streamed) => None,
            _ => return Err(ReplyError::Length),
        };
        match kind {
            b'*' => Ok(Value::Array(self.list(count, depth)?)),
            b'~' => Ok(Value::Set(self.list(count, depth)?)),
            b'>' => Ok(Value::Push(self.list(count, depth)?)),
            b'%' => Ok(Value::Map(self.map(count, depth)?)),
            _ => {
                self.map(count, depth)?;
                self.value(depth + 1)
            }
        }
    }

    fn list(&mut self, count: Option<u64>, depth: usize) -> Result<Vec<Value<'a>>, ReplyError> {
        let mut list = Vec::with_capacity(self.reserved(count));
        while !self.ended(count, list.len())? {
            list.push(self.value(depth + 1)?);
        }
        Ok(list)
    }

    fn map(
        &mut self,
        count: Option<u64>,
        depth: usize,
    ) -> Result<Vec<(Value<'a>, Value<'a>)>, ReplyError> {
        let mut pairs = Vec::with_capacity(self.reserved(count));
        while !self.ended(count, pairs.len())? {
            pairs.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        Ok(pairs)
    }

    fn reserved(&self, count: Option<u64>) -> usize {
        count.map_or(0, |count| count.min(RESERVED as u64) as usize)
    }

    /// Whether an aggregate that announced `count` elements and has `found` is complete.
    fn ended(&mut self, count: Option<u64>, found: usize) -> Result<bool, ReplyError> {
        match count {
            Some(count) => Ok(found as u64 == count),
            None if self.rest.first() == Some(&b'.') => match self.line()? {
                b"" => Ok(true),
                _ => Err(ReplyError::Value),
            },
            None => Ok(false),
        }
    }

    fn double(&mut self) -> Result<Value<'a>, ReplyError> {
        let text = self.line()?;
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        number.map(|number| Value::Double { number, text }).ok_or(ReplyError::Value)
    }

    /// Takes a line off and answers it without type byte and line end.
    fn line(&mut self) -> Result<&'a [u8], ReplyError> {
        let body = self.rest.get(1..).ok_or(ReplyError::Cut)?;
        let end = line_end(body).ok_or(ReplyError::Cut)?;
        let (line, rest) = body.split_at_checked(end).ok_or(ReplyError::Cut)?;
        self.rest = rest;
        Ok(line.strip_suffix(b"\r\n").unwrap_or(line))
    }

    fn length(&mut self) -> Result<Length, ReplyError> {
        let (length, used) = read_length(self.rest)?.ok_or(ReplyError::Cut)?;
        self.rest = self.rest.get(used..).ok_or(ReplyError::Cut)?;
        Ok(length)
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], ReplyError> {
        let length = usize::try_from(length).map_err(|_| ReplyError::Cut)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(ReplyError::Cut)?;
        match rest {
            [b'\r', b'\n', rest @ ..] => {
                self.rest = rest;
                Ok(bytes)
            }
            [] | [b'\r'] => Err(ReplyError::Cut),
            _ => Err(ReplyError::Trailer),
        }
    }
}

#[cfg(test)]
mod tests;
