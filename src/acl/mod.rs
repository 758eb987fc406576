//! Who may run what: users, their passwords and their rules, in the servers' own ACL language.
//!
//! A user's rules are read once, into a map with one bit per command and into patterns of keys and channels;
//! a request is checked against these without allocation. There is no second list of commands: numbers,
//! categories and the places of keys are those of the rows in [`command`](crate::command).
//!
//! **Who may use a command is decided by the rules alone**, as in a server. A row's
//! [`Availability::Admin`](crate::command::Availability) adds nothing to that: it marks what rules should not give
//! to applications, and such rows are in `@admin`, `@dangerous` or `@scripting` as in a server.
//!
//! **Scripts are the exception.** A node checks the commands inside a script against the user that the gateway
//! itself is there, so a restricted user could do by a script what its rules deny. Unless the setting
//! `auth.trust_scripts` accepts that, only users without restrictions may run scripts.

mod bitmap;
mod describe;
mod error;
mod file;
pub mod glob;
mod password;
mod pattern;
mod patterns;
mod selector;
mod user;
mod users;

pub use describe::Description;
pub use error::{Denied, RuleError, RulesError, Wording};
pub use file::{Fault, FileError};
pub use password::Hash;
pub use user::User;
pub use users::{DEFAULT, Users};

#[cfg(test)]
mod tests;
