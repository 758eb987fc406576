//! Bytes to messages and back, without I/O: requests, replies, and the limits of the protocol.

mod frame;
mod inline;
mod nesting;
pub mod number;
mod parts;
pub mod reply;
pub mod request;
#[cfg(test)]
mod tree;
pub mod value;
pub mod write;

pub use reply::{Elements, ReplyError, ReplyScanner, elements, integer};
pub use request::{Parsed, Request, RequestParser};
pub use value::Value;

/// Splits text into words as a server does: by spaces, with quotes. `None`: a quote does not end.
#[must_use]
pub fn words(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let words = inline::split(text).ok()?;
    Some(words.iter().map(<[u8]>::to_vec).collect())
}

/// The version of the protocol that a connection speaks. A reply is passed on byte for byte, so a
/// client's replies come from connections of its own version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RESP2, what every connection speaks before `HELLO 3`.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// Bounds on what a request may announce. The texts for what goes beyond are the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most arguments in one request.
    pub arguments: usize,
    /// Most bytes in one argument (`proto-max-bulk-len`).
    pub bulk_bytes: usize,
    /// Most bytes in an inline request or in a length line.
    pub line_bytes: usize,
    /// Most bytes in one request (`client-query-buffer-limit`).
    pub request_bytes: usize,
}

impl Default for Limits {
    /// The server's own bounds, except for the number of arguments, where it would take 2^31 - 1.
    fn default() -> Self {
        Self {
            arguments: 1 << 20,
            bulk_bytes: 512 << 20,
            line_bytes: 64 << 10,
            request_bytes: 1 << 30,
        }
    }
}

/// What is wrong with a request. The text is the wire line without the leading `-` and the line
/// end, word for word as the server says it. The connection is closed after any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The count line is not a number.
    #[error("ERR Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// Too many arguments.
    #[error("ERR Protocol error: invalid multibulk length")]
    TooManyArguments,
    /// Too many arguments from a client that has not logged in.
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// An argument that does not start with `$` but with this byte.
    #[error("ERR Protocol error: expected '$', got '{}'", shown(*.0))]
    ExpectedBulk(u8),
    /// The length line of an argument is not a number, or the argument's bytes are not followed by
    /// a line end.
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    /// Too long an argument.
    #[error("ERR Protocol error: invalid bulk length")]
    ArgumentTooLong,
    /// Too long an argument from a client that has not logged in.
    #[error("ERR Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// A count line that does not end.
    #[error("ERR Protocol error: too big mbulk count string")]
    CountLineTooLong,
    /// A length line that does not end.
    #[error("ERR Protocol error: too big bulk count string")]
    LengthLineTooLong,
    /// An inline request that does not end.
    #[error("ERR Protocol error: too big inline request")]
    InlineTooLong,
    /// An inline request with an open quote, or with text right after a closing one.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The connection is closed without a word: a browser was tricked into speaking to a server
    /// (`POST`, `Host:`).
    #[error("connection closed without a reply")]
    Hangup,
    /// The connection is closed without a word: the request is longer than one may be.
    #[error("connection closed without a reply")]
    RequestTooLong,
}

impl ParseError {
    /// Whether the connection is closed without a word.
    #[must_use]
    pub fn is_silent(self) -> bool {
        matches!(self, Self::Hangup | Self::RequestTooLong)
    }

    /// Whether the request asks for more than a limit allows, rather than being none.
    #[must_use]
    pub fn is_excess(self) -> bool {
        match self {
            Self::TooManyArguments
            | Self::UnauthenticatedMultibulkLength
            | Self::ArgumentTooLong
            | Self::UnauthenticatedBulkLength
            | Self::CountLineTooLong
            | Self::LengthLineTooLong
            | Self::InlineTooLong
            | Self::RequestTooLong => true,
            Self::MultibulkLength
            | Self::ExpectedBulk(_)
            | Self::BulkLength
            | Self::UnbalancedQuotes
            | Self::Hangup => false,
        }
    }

    /// Writes the error reply, byte for byte the server's; nothing for a silent one.
    pub fn write_to(self, out: &mut Vec<u8>) {
        match self {
            Self::Hangup | Self::RequestTooLong => {}
            // The byte need not be text, so it cannot go through a string.
            Self::ExpectedBulk(byte) => {
                let text = [b"ERR Protocol error: expected '$', got '", &[byte][..], b"'"].concat();
                write::error(out, text);
            }
            other => write::error(out, other.to_string()),
        }
    }
}

/// A byte as it may stand in an error line, which a line end would cut in two.
fn shown(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        other => char::from(other),
    }
}
