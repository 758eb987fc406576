//! What is wrong with rules, and why a request is denied, in the servers' words.

use crate::command::CommandSpec;

/// What is wrong with one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It is not of the language, or its pattern cannot be one.
    #[error("Syntax error")]
    Syntax,
    /// Nobody knows the command or the category.
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// All keys are allowed already.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
         effect. Try 'resetkeys' to start with an empty list of patterns"
    )]
    AllKeys,
    /// All channels are allowed already.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have \
         any effect. Try 'resetchannels' to start with an empty list of channels"
    )]
    AllChannels,
    /// There is no such password to be removed.
    #[error("The password you are trying to remove from the user does not exist")]
    NoPassword,
    /// Not a SHA-256 in hexadecimal.
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
    )]
    Hash,
    /// A first argument of a subcommand.
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgument,
}

/// Why a user's rules were not taken. [`RulesError::line`] is the error as it goes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesError {
    /// The user's name has a space or a zero byte.
    Name,
    /// A selector has no end; holds where it starts.
    OpenSelector(Vec<u8>),
    /// The rule that is wrong.
    Rule(Vec<u8>, RuleError),
}

impl RulesError {
    /// Without the leading `-` and the line end.
    pub fn line(&self) -> Vec<u8> {
        match self {
            Self::Name => b"ERR Usernames can't contain spaces or null characters".to_vec(),
            Self::OpenSelector(start) => {
                [b"ERR Unmatched parenthesis in acl selector starting at '", shown(start), b"'."]
                    .concat()
            }
            Self::Rule(rule, error) => [
                b"ERR Error in ACL SETUSER modifier '".as_slice(),
                shown(rule),
                b"': ",
                error.to_string().as_bytes(),
            ]
            .concat(),
        }
    }
}

/// Why a request is denied. Ordered as the servers choose among the answers of several selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command itself.
    Command,
    /// The key that stands at this argument.
    Key(usize),
    /// The channel that stands at this argument.
    Channel(usize),
    /// `SORT` with an option (`BY`, `GET`) that reads keys of any name.
    Patterns(&'static str),
    /// A script, in which the nodes would not apply the user's rules.
    Script,
}

/// How the servers of a version write about rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// Before 7.2.
    Old,
    /// Since 7.2: errors name the user, and rules are shown as they were given.
    New,
}

impl Denied {
    /// The error for a client, without the leading `-` and the line end.
    pub fn line(self, user: &[u8], spec: &CommandSpec, wording: Wording) -> Vec<u8> {
        let command = spec.wire_name();
        let text = match (self, wording) {
            (Self::Command, Wording::New) => {
                return [
                    b"NOPERM User ",
                    user,
                    b" has no permissions to run the '",
                    command.as_bytes(),
                    b"' command",
                ]
                .concat();
            }
            (Self::Command, Wording::Old) => {
                format!("NOPERM this user has no permissions to run the '{command}' command")
            }
            (Self::Key(_), Wording::New) => "NOPERM No permissions to access a key".to_owned(),
            (Self::Key(_), Wording::Old) => {
                "NOPERM this user has no permissions to access one of the keys used as arguments".to_owned()
            }
            (Self::Channel(_), Wording::New) => "NOPERM No permissions to access a channel".to_owned(),
            (Self::Channel(_), Wording::Old) => {
                "NOPERM this user has no permissions to access one of the channels used as arguments"
                    .to_owned()
            }
            (Self::Patterns(option), _) => {
                format!("ERR {option} option of SORT denied due to insufficient ACL permissions.")
            }
            (Self::Script, _) => format!(
                "NOPERM '{command}' needs a user without restrictions, because nodes do not apply this \
                 user's rules inside a script; the setting auth.trust_scripts allows it"
            ),
        };
        text.into_bytes()
    }

    /// The argument that it names.
    pub fn place(self) -> Option<usize> {
        match self {
            Self::Key(at) | Self::Channel(at) => Some(at),
            Self::Command | Self::Patterns(_) | Self::Script => None,
        }
    }

    /// What `ACL DRYRUN` says; `argument` is the one that the denial names.
    pub fn explained(
        self,
        user: &[u8],
        spec: &CommandSpec,
        argument: &[u8],
        wording: Wording,
    ) -> Vec<u8> {
        let command = spec.wire_name();
        let (right, what, kind): (&str, &[u8], &str) = match self {
            Self::Command => ("run", command.as_bytes(), "command"),
            Self::Key(_) => ("access", argument, "key"),
            Self::Channel(_) => ("access", argument, "channel"),
            Self::Patterns(_) | Self::Script => return self.line(user, spec, wording),
        };
        let who = match wording {
            Wording::Old => b"This user".to_vec(),
            Wording::New => [b"User ", user].concat(),
        };
        let denied = format!(" has no permissions to {right} the '");
        [&who, denied.as_bytes(), what, b"' ", kind.as_bytes()].concat()
    }
}

/// The servers print strings up to a zero byte.
pub(super) fn shown(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or(bytes)
}
