//! A request that outlives the buffer it came in.

use bytes::Bytes;

use crate::cluster::Slot;
use crate::command::{CommandSpec, Key};
use crate::resp::{Limits, Parsed, Request, RequestParser};

/// A request with its command's row.
pub(super) struct Call {
    spec: CommandSpec,
    frame: Bytes,
    parser: RequestParser,
}

impl Call {
    /// A copy of the request; `None` is never the answer for one that was parsed with the same limits.
    pub(super) fn of(spec: &CommandSpec, request: &Request<'_>, limits: &Limits) -> Option<Self> {
        let frame = Bytes::copy_from_slice(request.frame());
        let mut parser = RequestParser::new();
        match parser.parse(&frame, limits, true) {
            Ok(Parsed::Request(_)) => Some(Self { spec: spec.clone(), frame, parser }),
            _ => None,
        }
    }

    pub(super) fn spec(&self) -> &CommandSpec {
        &self.spec
    }

    pub(super) fn request(&self) -> Request<'_> {
        self.parser.request(&self.frame)
    }

    /// The whole request as it can be sent.
    pub(super) fn frame(&self) -> &[u8] {
        self.request().frame()
    }

    /// An argument; empty when there is none at this place.
    pub(super) fn arg(&self, at: usize) -> &[u8] {
        self.request().arg(at).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.request().len()
    }

    /// Every key with its role, part after part.
    pub(super) fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        // A request whose keys cannot be told takes no steps.
        let _ = self.spec.keys(&self.request(), |key| keys.push(key));
        keys
    }

    /// The slot of the key that stands there.
    pub(super) fn slot(&self, at: usize) -> Slot {
        Slot::of(self.arg(at))
    }
}
