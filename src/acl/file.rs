//! The users file: one `user name rules..` per line, as servers write it, and lines that start with `#`.

use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::command::Commands;
use crate::config::Auth;

use super::error::RuleError;
use super::user::{is_name, whole_selectors};
use super::users::{DEFAULT, Users};

/// One thing that is wrong with a users file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// From 1.
    pub line: usize,
    /// What it is.
    pub fault: Fault,
}

/// What can be wrong with a line. The texts are the servers', and show no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not start with `user name`.
    #[error("should start with user keyword followed by the username")]
    Keyword,
    /// The name has a space or a zero byte.
    #[error("username '{0}' contains invalid characters")]
    Name(String),
    /// The user was on an earlier line.
    #[error("Duplicate user '{0}' found")]
    Twice(String),
    /// A selector does not end.
    #[error("Unmatched parenthesis in selector definition")]
    Parenthesis,
    /// A command or category that nobody knows.
    #[error("Error in applying operation '{0}': {error}", error = RuleError::Unknown)]
    Unknown(String),
    /// Another rule that is wrong. It may hold a password, so it is not shown.
    #[error("{0}")]
    Rule(RuleError),
    /// The settings give the default user a password, too.
    #[error("the user 'default' has a password in the settings, too: keep one of them")]
    TwoPasswords,
}

impl Users {
    /// Reads a users file. Where it does not speak of the default user, that one is as the settings say.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(text: &[u8], auth: &Auth, commands: &Commands) -> Result<Self, Vec<FileError>> {
        let mut users = Self::none(auth);
        let mut errors = Vec::new();
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let faults = users.read_line(line, commands);
            errors.extend(faults.into_iter().map(|fault| FileError { line: number, fault }));
            let names_default = line.split(|byte| *byte == b' ').nth(1) == Some(DEFAULT);
            if names_default && !auth.password.is_empty() {
                errors.push(FileError { line: number, fault: Fault::TwoPasswords });
            }
        }
        if users.get(DEFAULT).is_none() {
            users.add_default(&auth.password);
        }
        if errors.is_empty() { Ok(users) } else { Err(errors) }
    }

    fn read_line(&mut self, line: &[u8], commands: &Commands) -> Vec<Fault> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(b"user"), Some(name)) = (words.next(), words.next()) else {
            return vec![Fault::Keyword];
        };
        if !is_name(name) {
            return vec![Fault::Name(text(name))];
        }
        let mut user = self.newcomer(name);
        let Ok(rules) = whole_selectors(words) else { return vec![Fault::Parenthesis] };
        let mut faults = Vec::new();
        let mut understood = true;
        for rule in rules {
            match user.apply_one(trim(&rule), commands) {
                Ok(()) => {}
                Err(RuleError::Unknown) if user.await_command(trim(&rule)) => {}
                Err(RuleError::Unknown) => faults.push(Fault::Unknown(text(&rule))),
                // What follows may be wrong only because of this.
                Err(error) if understood => {
                    understood = false;
                    faults.push(Fault::Rule(error));
                }
                Err(_) => {}
            }
        }
        match self.all.entry(name.to_vec()) {
            Entry::Occupied(_) => vec![Fault::Twice(text(name))],
            Entry::Vacant(place) => {
                place.insert(Arc::new(user));
                faults
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Tabs are no separators, but may stand around a rule.
fn trim(rule: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b'\t' | b'\r');
    let start = rule.iter().position(|byte| !is_blank(byte)).unwrap_or(rule.len());
    let end = rule.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    rule.get(start..end).unwrap_or_default()
}
