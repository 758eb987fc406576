//! Why the gateway does not do what it is asked. `Display` is the line that the client gets, word for word a
//! server's where a server has one.

use crate::command::CommandSpec;
use crate::resp::Request;

use super::super::tracking::Mistake;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::session) enum Refused {
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    #[error("ERR count should be greater than or equal to -1")]
    Count,
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(String),
    #[error("ERR DB index is out of range")]
    Database,
    #[error("{0}")]
    Select(&'static str),
    #[error("ERR Unknown node {0}")]
    Node(String),
    #[error("ERR timeout is not an integer or out of range")]
    TimeoutNumber,
    #[error("ERR timeout is negative")]
    Timeout,
    #[error("ERR CLIENT PAUSE mode must be WRITE or ALL")]
    PauseMode,
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPassword,
    #[error(
        "ERR AUTH <password> called without any password configured for the default user. \
         Are you sure your configuration is correct?"
    )]
    NoPassword,
    #[error("NOPROTO unsupported protocol version")]
    Protocol,
    #[error("ERR Protocol version is not an integer or out of range")]
    ProtocolNumber,
    #[error("ERR Syntax error in HELLO option '{0}'")]
    HelloOption(String),
    #[error("{0}")]
    HelloLogin(String),
    #[error("ERR Client names cannot contain spaces, newlines or special characters.")]
    ClientName,
    #[error("ERR {0} cannot contain spaces, newlines or special characters.")]
    Attribute(String),
    #[error("ERR Unrecognized option '{0}'")]
    AttributeName(String),
    #[error("ERR Unknown client type '{0}'")]
    ClientType(String),
    #[error("ERR Invalid client ID")]
    ClientId,
    #[error("ERR client-id should be greater than 0")]
    ClientIdRange,
    #[error("ERR maxage is not an integer or out of range")]
    AgeNumber,
    #[error("ERR maxage should be greater than 0")]
    Age,
    #[error("ERR No such user '{0}'")]
    User(String),
    #[error("ERR User '{0}' not found")]
    NoUser(String),
    #[error("ERR Command '{0}' not found")]
    NoCommand(String),
    #[error("ERR The 'default' user cannot be removed")]
    DefaultUser,
    #[error(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number \
         up to 4096"
    )]
    PasswordBits,
    #[error("ERR the system has no random numbers")]
    NoRandomness,
    #[error("ERR unknown subcommand or wrong number of arguments for '{0}'. Try ACL HELP.")]
    AclSubcommand(String),
    #[error(
        "ERR This gateway is not configured to use an ACL file. You may want to name one with the setting \
         auth.users_file"
    )]
    NoUsersFile,
    #[error(
        "ERR There was an error trying to save the ACLs. Please check the server logs for more information"
    )]
    NotSaved,
    #[error(transparent)]
    Tracking(#[from] Mistake),
    #[error(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT \
         mode enabled"
    )]
    Caching,
    #[error("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")]
    CachingYes,
    #[error("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")]
    CachingNo,
    #[error("ERR unknown subcommand or wrong number of arguments for '{0}'. Try CLIENT HELP.")]
    ClientSubcommand(String),
    #[error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")]
    UnblockReason,
    #[error("ERR command '{0}' is not supported by this version of the gateway")]
    Unsupported(String),
}

impl Refused {
    /// For what is not built yet.
    pub(super) fn unsupported(spec: &CommandSpec) -> Self {
        Self::Unsupported(spec.wire_name())
    }

    /// For a number of arguments that no form of the subcommand has.
    pub(super) fn acl_subcommand(request: &Request<'_>) -> Self {
        Self::AclSubcommand(shown(request.arg(1).unwrap_or_default()))
    }

    /// For a number of arguments that the table lets pass.
    pub(super) fn arity(spec: &CommandSpec) -> Self {
        Self::Arity(spec.wire_name())
    }
}

/// What a client sent, as an error line can show it.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 128;
    String::from_utf8_lossy(bytes.get(..MOST).unwrap_or(bytes)).into_owned()
}
