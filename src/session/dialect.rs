//! What servers of different make and age say in different words, where the gateway answers in their place.

use crate::cluster::{Software, Version};
use crate::command::CommandSpec;

use super::conversation::Conversation;

/// The words of one software: of what all nodes have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect(Software);

impl Conversation {
    /// How the cluster's servers speak.
    pub(super) fn dialect(&self) -> Dialect {
        Dialect::of(self.worker.gateway.software())
    }
}

impl Dialect {
    pub(super) fn of(software: Software) -> Self {
        Self(software)
    }

    /// Whether MULTI or WATCH behind MULTI is a mistake that spoils the transaction.
    pub(super) fn spoils_by_nesting(self) -> bool {
        self.is_valkey_since(8)
    }

    /// A command that cannot be queued.
    pub(super) fn not_in_a_transaction(self, spec: &CommandSpec) -> String {
        match &*spec.name {
            "MULTI" if !self.spoils_by_nesting() => "ERR MULTI calls can not be nested".to_owned(),
            "WATCH" if !self.spoils_by_nesting() => {
                "ERR WATCH inside MULTI is not allowed".to_owned()
            }
            _ if self.is_valkey_since(9) => {
                format!("ERR Command '{}' not allowed inside a transaction", spec.wire_name())
            }
            _ => "ERR Command not allowed inside a transaction".to_owned(),
        }
    }

    /// Whether who has to log in is told so before anything else, also of a command that there is not.
    pub(super) fn asks_for_login_first(self) -> bool {
        self.is_valkey(Version::new(9, 1, 0))
    }

    /// Whether `CLIENT PAUSE` and `CLIENT UNBLOCK` look at no more words than they need.
    pub(super) fn overlooks_words(self) -> bool {
        self.is_valkey(Version::new(9, 1, 0))
    }

    /// Whether leaving a channel without being in any is a mistake. It was one in Valkey 8.0 alone.
    pub(super) fn objects_to_unsubscribing(self) -> bool {
        self.is_valkey_since(8) && self.0.version() < Version::new(8, 1, 0)
    }

    /// SELECT of a database that there is not, where the gateway shows itself as a cluster.
    pub(super) fn no_such_database(self) -> &'static str {
        // Since then a node may have several, and says what a single server says.
        if self.is_valkey_since(9) {
            "ERR DB index is out of range"
        } else {
            "ERR SELECT is not allowed in cluster mode"
        }
    }

    /// HELLO before anybody has logged in.
    pub(super) fn hello_without_login(self) -> String {
        let protocol = if self.0.is_since(7, 2) { " <proto>" } else { "" };
        format!(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO{protocol} AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time"
        )
    }

    /// XREAD or XREADGROUP with a stream that has no ID.
    pub(super) fn unbalanced_streams(self, spec: &CommandSpec) -> String {
        let (name, ids) = match (self.0.is_since(7, 2), &*spec.name) {
            (false, _) => ("XREAD".to_owned(), "an ID or '$'"),
            (true, "XREADGROUP") => ("'xreadgroup'".to_owned(), "an ID or '>'"),
            (true, _) if self.0.is_since(7, 4) => ("'xread'".to_owned(), "an ID, '+', or '$'"),
            (true, _) => ("'xread'".to_owned(), "an ID or '$'"),
        };
        format!(
            "ERR Unbalanced {name} list of streams: for each stream key {ids} must be specified."
        )
    }

    fn is_valkey_since(self, major: u16) -> bool {
        self.is_valkey(Version::new(major, 0, 0))
    }

    /// Whether it is Valkey of this version or a later one.
    fn is_valkey(self, version: Version) -> bool {
        self.0.name() == "valkey" && self.0.version() >= version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Commands;

    fn check(info: &str, words: impl Fn(Dialect, &Commands) -> String, expected: &str) {
        let software = Software::from_info(info).unwrap();
        assert_eq!(words(Dialect::of(software), &Commands::baseline()), expected, "{info}");
    }

    fn spec<'a>(commands: &'a Commands, name: &str) -> &'a CommandSpec {
        commands.iter().find(|row| row.name == name).unwrap()
    }

    /// Each as a server of that version has been heard to say it.
    #[test]
    fn words_are_those_of_the_version() {
        let valkey = |version| format!("redis_version:7.2.4\r\nvalkey_version:{version}\r\n");
        let nested = |dialect: Dialect, commands: &Commands| {
            dialect.not_in_a_transaction(spec(commands, "WATCH"))
        };
        let other = |dialect: Dialect, commands: &Commands| {
            dialect.not_in_a_transaction(spec(commands, "CLIENT REPLY"))
        };
        check("redis_version:8.2.3", nested, "ERR WATCH inside MULTI is not allowed");
        check(&valkey("8.1.8"), nested, "ERR Command not allowed inside a transaction");
        check(&valkey("9.1.2"), nested, "ERR Command 'watch' not allowed inside a transaction");
        check("redis_version:7.0.15", other, "ERR Command not allowed inside a transaction");
        check(
            &valkey("9.1.2"),
            other,
            "ERR Command 'client|reply' not allowed inside a transaction",
        );
        let streams = |dialect: Dialect, commands: &Commands| {
            let both = ["XREAD", "XREADGROUP"].map(|name| {
                let text = dialect.unbalanced_streams(spec(commands, name));
                let rest = text.strip_prefix("ERR Unbalanced ").unwrap().to_owned();
                rest.replace(" list of streams: for each stream key", "")
                    .replace(" must be specified.", "")
            });
            both.join("; ")
        };
        check("redis_version:7.0.15", streams, "XREAD an ID or '$'; XREAD an ID or '$'");
        check(&valkey("8.0.1"), streams, "'xread' an ID or '$'; 'xreadgroup' an ID or '>'");
        check(
            "redis_version:8.2.3",
            streams,
            "'xread' an ID, '+', or '$'; 'xreadgroup' an ID or '>'",
        );
    }
}
