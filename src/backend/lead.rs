//! What goes before a request on its connection.

use super::{Caching, Question};

/// What is sent before a request, in the same breath. A node forgets it with the command that follows, so there
/// cannot be two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    Nothing,
    /// A node redirected the request with ASK.
    Asking,
    /// The session said whether its client will cache the reply.
    Caching,
    NoCaching,
}

impl Lead {
    pub(super) fn of(question: &Question, asking: bool) -> Self {
        match question.terms.own {
            _ if asking => Self::Asking,
            Some(Caching::Yes) => Self::Caching,
            Some(Caching::No) => Self::NoCaching,
            Some(Caching::Untold) | None => Self::Nothing,
        }
    }

    pub(super) fn bytes(self) -> &'static [u8] {
        match self {
            Self::Nothing => b"",
            Self::Asking => b"*1\r\n$6\r\nASKING\r\n",
            Self::Caching => b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n",
            Self::NoCaching => b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$2\r\nNO\r\n",
        }
    }
}
