//! What a node has shown of itself when it was dialled.

use crate::tls::certificate_end;

use super::super::stream::Stream;
use super::Conversation;

impl Conversation {
    /// When the node's certificate expires, in seconds since 1970; `None` when it speaks plain.
    pub fn certificate_end(&self) -> Option<i64> {
        match self.talk.get_ref() {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => certificate_end(stream),
            #[cfg(test)]
            Stream::Simulated(_) => None,
        }
    }
}
