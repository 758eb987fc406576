//! As whom the requests of single users are sent to the nodes: one line for each, and none of them is ever shown.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Secret;
use super::given::{Given, Wrong};
use super::kind::Kind;

/// Most lines. Each user of the nodes that is in use takes connections of its own.
const MOST: usize = 1000;
const LARGEST_FILE: u64 = 1 << 20;

/// A user of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUser {
    /// Its name.
    pub name: String,
    /// Its password; never empty.
    pub password: Secret,
}

/// Users of the gateway, each with the nodes' user as whom its requests are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logins(BTreeMap<String, NodeUser>);

/// What is wrong with which line, without a word of it: any word may be a password.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    line: usize,
    what: &'static str,
}

impl Logins {
    /// In place of a name: everybody who is not named.
    pub const OTHERS: &'static str = "*";

    /// Reads a file of such lines.
    ///
    /// # Errors
    /// What is wrong with the file: the words after the name of the setting that names it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text))
            .map_err(|error| format!("names a file that cannot be read: {error}"))?;
        Self::parse(&text)
            .map_err(|Fault { line, what }| format!("names a file whose line {line} {what}"))
    }

    /// Reads lines of a user's name, a node's user's name and its password, which is the rest of the line. Empty lines
    /// and those that begin with `#` say nothing.
    fn parse(text: &str) -> Result<Self, Fault> {
        let mut logins = BTreeMap::new();
        for (text, line) in text.lines().zip(1..) {
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            let fault = |what| Fault { line, what };
            let mut words = text.splitn(3, ' ').filter(|word| !word.is_empty());
            let (Some(user), Some(name), Some(password)) =
                (words.next(), words.next(), words.next())
            else {
                return Err(fault("is not \"user node-user password\", with one space between"));
            };
            let login = NodeUser { name: name.to_owned(), password: Secret::new(password) };
            let other = logins.values().find(|other: &&NodeUser| other.name == name);
            if other.is_some_and(|other| other.password != login.password) {
                return Err(fault("gives a node's user another password than a line before it"));
            }
            if logins.insert(user.to_owned(), login).is_some() {
                return Err(fault("is about the same user as a line before it"));
            }
            if logins.len() > MOST {
                return Err(fault("is one too many: at most 1000 users may be named"));
            }
        }
        Ok(Self(logins))
    }

    /// Each user's name, or [`Self::OTHERS`], with the nodes' user.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &NodeUser)> {
        self.0.iter().map(|(user, login)| (user.as_str(), login))
    }
}

/// Such lines: never shown, not even when they are wrong.
pub(super) struct Lines;

impl Kind<Logins> for Lines {
    fn expects(&self) -> String {
        "lines such as \"app app-at-nodes its-password\"".to_owned()
    }

    fn read(&self, given: &Given<'_>) -> Result<Logins, Vec<Wrong>> {
        let wrong = |found| vec![Wrong { found, at: given.span() }];
        let text = given.text().ok_or_else(|| wrong("a value of another type".to_owned()))?;
        Logins::parse(text)
            .map_err(|Fault { line, what }| wrong(format!("a line {line} that {what}")))
    }

    fn show(&self, value: &Logins) -> String {
        if value.0.is_empty() { "\"\"" } else { "***" }.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text =
            "# who is who\n\napp node-app a pass word\n* rest x\nother node-app a pass word\n";
        let logins = Logins::parse(text).unwrap();
        let read: Vec<_> = logins
            .iter()
            .map(|(user, login)| (user, login.name.as_str(), login.password.expose()))
            .collect();
        assert_eq!(
            read,
            [
                ("*", "rest", "x"),
                ("app", "node-app", "a pass word"),
                ("other", "node-app", "a pass word")
            ]
        );
        assert_eq!(Logins::parse("").unwrap(), Logins::default());
    }

    #[test]
    fn mistakes_name_their_line_and_nothing_else() {
        let check = |text: &str, line: usize, words: &str| {
            let fault = Logins::parse(text).unwrap_err();
            assert_eq!(fault.line, line, "{text:?}");
            assert!(fault.what.contains(words), "{fault:?}");
            let wrong = Lines.read(&Given::Text(text)).unwrap_err();
            assert!(!wrong[0].found.contains("secret"), "{wrong:?}");
        };
        check("secret", 1, "is not");
        check("a secret", 1, "is not");
        check("a b ", 1, "is not");
        check("a  secret", 1, "is not");
        check(" a b secret", 1, "is not");
        check("a b secret\na c secret2", 2, "the same user");
        check("a b secret\nc b secret2", 2, "another password");
        let many: String = (0..=MOST).map(|number| format!("u{number} n secret\n")).collect();
        check(&many, MOST + 1, "one too many");
    }

    #[test]
    fn they_are_never_shown() {
        let logins = Logins::parse("a b secret").unwrap();
        assert_eq!(Lines.show(&logins), "***");
        assert_eq!(Lines.show(&Logins::default()), "\"\"");
        assert!(!format!("{logins:?}").contains("secret"));
    }
}
