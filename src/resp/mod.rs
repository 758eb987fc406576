//! Bytes to messages and back, without I/O: requests, replies, and the limits of the protocol.

pub mod reply;
pub mod request;

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
