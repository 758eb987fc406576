//! Errors found by looking at a command's name and number of arguments.

use std::fmt;

use super::CommandSpec;
use crate::resp::request::Request;

/// Bytes of a name or of an argument list that an error text shows, as in the servers.
const SHOWN: usize = 128;

/// Why a request is answered without looking further. [`CommandError::line`] is the error line as
/// it goes on the wire, without `-` and CRLF; `Display` is the same as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Nobody knows the command: what the text shows of its name and of its arguments.
    Unknown {
        /// The name as sent, cut.
        name: Vec<u8>,
        /// The arguments, each in quotes and with a space behind it, cut.
        arguments: Vec<u8>,
    },
    /// The container has no such subcommand.
    UnknownSubcommand {
        /// The container's name, upper case.
        container: String,
        /// The subcommand as sent, cut.
        name: Vec<u8>,
    },
    /// The number of arguments is wrong; holds the name as `client|getname`.
    Arity(String),
    /// The gateway does not let it through; holds the name as `client|getname`.
    NotAllowed(String),
    /// Nodes in cluster mode refuse it; holds the name in upper case.
    ClusterMode(String),
    /// A server that is not part of a cluster refuses it.
    Standalone,
}

impl CommandError {
    /// The error for a command that nobody knows.
    #[cold]
    pub fn unknown(request: &Request<'_>) -> Self {
        let mut arguments = Vec::new();
        for argument in request.args().skip(1) {
            if arguments.len() >= SHOWN {
                break;
            }
            let room = SHOWN - arguments.len();
            arguments.push(b'\'');
            arguments.extend_from_slice(shown(argument, room));
            arguments.extend_from_slice(b"' ");
        }
        Self::Unknown { name: shown(request.name(), SHOWN).to_vec(), arguments }
    }

    /// The error for a subcommand that a container does not have.
    #[cold]
    pub fn unknown_subcommand(container: &str, name: &[u8]) -> Self {
        Self::UnknownSubcommand {
            container: container.to_owned(),
            name: shown(name, SHOWN).to_vec(),
        }
    }

    /// The error for a wrong number of arguments.
    #[cold]
    pub fn arity(spec: &CommandSpec) -> Self {
        Self::Arity(spec.wire_name())
    }

    /// The error line, byte for byte as a server writes it, without `-` and CRLF.
    pub fn line(&self) -> Vec<u8> {
        let mut line = match self {
            Self::Unknown { name, arguments } => [
                b"ERR unknown command '".as_slice(),
                name,
                b"', with args beginning with: ",
                arguments,
            ]
            .concat(),
            Self::UnknownSubcommand { container, name } => [
                b"ERR unknown subcommand '".as_slice(),
                name,
                b"'. Try ",
                container.as_bytes(),
                b" HELP.",
            ]
            .concat(),
            // A rejected EXEC ends its transaction, and says so.
            Self::Arity(name) if name == "exec" => {
                b"EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command".to_vec()
            }
            Self::Arity(name) => {
                format!("ERR wrong number of arguments for '{name}' command").into_bytes()
            }
            Self::NotAllowed(name) => {
                format!("ERR command '{name}' is not allowed through the gateway").into_bytes()
            }
            Self::ClusterMode(name) => {
                format!("ERR {name} is not allowed in cluster mode").into_bytes()
            }
            Self::Standalone => b"ERR This instance has cluster support disabled".to_vec(),
        };
        // What a client sent must not end the line.
        for byte in line.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')) {
            *byte = b' ';
        }
        line
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.line()))
    }
}

impl std::error::Error for CommandError {}

/// As much of `bytes` as a server prints: up to `room` bytes, and not beyond a zero byte, where its
/// strings end.
fn shown(bytes: &[u8], room: usize) -> &[u8] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len()).min(room);
    bytes.get(..end).unwrap_or(bytes)
}
