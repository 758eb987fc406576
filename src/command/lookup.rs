//! Finding the row of a request: one probe on the name as sent, in any case, without allocation.

use super::table::TABLE;
use super::{Availability, Class, CommandError, CommandSpec, LEARNED, Refusal};
use crate::resp::request::Request;

/// All commands known now: the table's rows, and those learned from the cluster. A snapshot that
/// never changes.
#[derive(Clone, Debug)]
pub struct Commands {
    rows: Vec<CommandSpec>,
    /// Open addressing with a power-of-two size; at most a quarter is taken, so a miss ends soon.
    index: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// What the row's name folds to.
    fold: u64,
    row: u16,
    /// Whoever folds to this in at most eight bytes has the row's name, in some case.
    exact: bool,
    /// The row is a container: the name in argument 1 belongs to the command's.
    container: bool,
}

const VACANT: Entry = Entry { fold: 0, row: u16::MAX, exact: false, container: false };

impl Commands {
    /// The table's rows alone.
    pub fn baseline() -> Self {
        let mut rows = TABLE.to_vec();
        for (row, number) in rows.iter_mut().zip(0..) {
            row.number = number;
        }
        Self::of(rows)
    }

    /// These rows and those that a server told of ([`learn`](super::learn())). Where both know a
    /// command the treatment stays the table's, but arity and categories become the server's:
    /// newer versions add options, and with them arguments.
    pub fn with_learned(&self, learned: Vec<CommandSpec>) -> Self {
        let mut rows = self.rows.clone();
        let mut number = rows.iter().map(|row| row.number).max().unwrap_or(0);
        for spec in learned {
            match rows.iter_mut().find(|row| row.name == spec.name) {
                Some(row) => {
                    row.arity = spec.arity;
                    row.categories = spec.categories;
                }
                None => {
                    number = number.saturating_add(1);
                    rows.push(CommandSpec { number, ..spec });
                }
            }
        }
        Self::of(rows)
    }

    /// The rows as they are for a gateway that shows itself as a cluster: what it answers of `CLUSTER`
    /// is there, and what would change the cluster is refused by name.
    pub fn as_cluster(mut self) -> Self {
        for row in self.rows.iter_mut().filter(|row| row.refusal == Refusal::Standalone) {
            row.refusal = Refusal::NotAllowed;
            if row.class == Class::Local {
                row.default = Availability::On;
            }
        }
        self
    }

    /// Lets commands through that were learned, have no keys, and stand in this list, in any case.
    pub fn with_keyless(mut self, names: &[String]) -> Self {
        let listed = |row: &CommandSpec| {
            let is = |name: &String| {
                name.eq_ignore_ascii_case(&row.name) || name.eq_ignore_ascii_case(&row.wire_name())
            };
            names.iter().any(is)
        };
        let learned = |row: &CommandSpec| row.since == LEARNED && row.keys.is_none();
        for row in self.rows.iter_mut().filter(|row| learned(row) && listed(row)) {
            row.let_through();
        }
        self
    }

    /// The rows for which `keep` holds, so that a command which no node has is unknown here too.
    pub fn only(&self, keep: impl Fn(&CommandSpec) -> bool) -> Self {
        Self::of(self.rows.iter().filter(|row| keep(row)).cloned().collect())
    }

    /// The row of a request. Errors come in the servers' order: unknown, then arity.
    pub fn resolve<'s>(&'s self, request: &Request<'_>) -> Result<&'s CommandSpec, CommandError> {
        let name = Name::of(request.name());
        let Some((mut spec, container)) = self.probe(&name) else {
            return Err(CommandError::unknown(request));
        };
        if container && let Some(second) = request.arg(1) {
            let Some((found, _)) = self.probe(&name.and(second)) else {
                return Err(CommandError::unknown_subcommand(&spec.name, second));
            };
            spec = found;
        }
        let least = usize::from(spec.arity.unsigned_abs());
        let fits = if spec.arity > 0 { request.len() == least } else { request.len() >= least };
        if fits { Ok(spec) } else { Err(CommandError::arity(spec)) }
    }

    /// The row of this name, in any case, the subcommand after a space or a `|`.
    pub fn find(&self, full_name: &str) -> Option<&CommandSpec> {
        self.probe(&Name::of_row(full_name)).map(|(spec, _)| spec)
    }

    /// The rows of a container's subcommands; none for a plain command.
    pub fn subcommands(&self, container: &CommandSpec) -> impl Iterator<Item = &CommandSpec> {
        let name = container.name.clone();
        self.rows.iter().filter(move |row| {
            row.name.strip_prefix(&*name).is_some_and(|rest| rest.starts_with(' '))
        })
    }

    /// Every row, subcommands included.
    pub fn iter(&self) -> impl Iterator<Item = &CommandSpec> {
        self.rows.iter()
    }

    fn of(rows: Vec<CommandSpec>) -> Self {
        let vacant = vec![VACANT; (rows.len() * 4).next_power_of_two()];
        let mut commands = Self { rows, index: vacant };
        for row in 0..commands.rows.len() {
            commands.enter(row);
        }
        commands
    }

    fn enter(&mut self, row: usize) {
        let Some(spec) = self.rows.get(row).filter(|spec| spec.refusal != Refusal::Unknown) else {
            return;
        };
        let name = Name::of_row(&spec.name);
        let exact = name.is_short() && spec.name.bytes().all(|byte| byte.is_ascii_alphabetic());
        let prefix = format!("{} ", spec.name);
        let container = self.rows.iter().any(|other| other.name.starts_with(&prefix));
        let (fold, mask) = (name.fold, self.index.len() - 1);
        let mut at = name.hash() & mask;
        while self.index.get(at).is_some_and(|entry| entry.row != VACANT.row) {
            at = (at + 1) & mask;
        }
        if let (Some(entry), Ok(row)) = (self.index.get_mut(at), u16::try_from(row)) {
            *entry = Entry { fold, row, exact, container };
        }
    }

    fn probe(&self, name: &Name<'_>) -> Option<(&CommandSpec, bool)> {
        let mask = self.index.len() - 1;
        let mut at = name.hash() & mask;
        loop {
            let entry = self.index.get(at).filter(|entry| entry.row != VACANT.row)?;
            if entry.fold == name.fold {
                let spec = self.rows.get(usize::from(entry.row))?;
                if entry.exact && name.is_short() || name.is(spec.name.as_bytes()) {
                    return Some((spec, entry.container));
                }
            }
            at = (at + 1) & mask;
        }
    }
}

/// A name being looked up: one word, or a container and its subcommand.
struct Name<'a> {
    first: &'a [u8],
    second: Option<&'a [u8]>,
    /// The bytes, in lower case, one behind the other; from the ninth on they overlap.
    fold: u64,
}

impl<'a> Name<'a> {
    fn of(first: &'a [u8]) -> Self {
        Self { first, second: None, fold: fold(0, first) }
    }

    /// No byte folds to what stands between the two: `CLIENT ID` sent as one word is not the command.
    fn and(&self, second: &'a [u8]) -> Self {
        let between = self.fold.rotate_left(8) ^ (1 << 63);
        Self { first: self.first, second: Some(second), fold: fold(between, second) }
    }

    fn of_row(name: &'a str) -> Self {
        match name.split_once([' ', '|']) {
            Some((first, second)) => Self::of(first.as_bytes()).and(second.as_bytes()),
            None => Self::of(name.as_bytes()),
        }
    }

    /// Every byte has its own place in the fold.
    fn is_short(&self) -> bool {
        self.second.is_none() && self.first.len() <= 8
    }

    fn hash(&self) -> usize {
        (self.fold.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
    }

    fn is(&self, full: &[u8]) -> bool {
        let Some(second) = self.second else { return full.eq_ignore_ascii_case(self.first) };
        full.split_at_checked(self.first.len()).is_some_and(|(first, rest)| {
            first.eq_ignore_ascii_case(self.first)
                && rest.strip_prefix(b" ").is_some_and(|rest| rest.eq_ignore_ascii_case(second))
        })
    }
}

/// Setting bit 5 makes letters lower case. Other bytes may come to look alike, but never like a
/// letter, nor like nothing.
fn fold(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |fold, &byte| fold.rotate_left(8) ^ u64::from(byte | 0x20))
}
