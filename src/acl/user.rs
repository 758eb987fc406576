//! One user: whether and how it logs in, and what it may do.

use std::borrow::Cow;

use crate::command::{Class, CommandSpec, Commands, Need};
use crate::resp::{Request, words};

use super::describe::Description;
use super::error::{Denied, RuleError, RulesError, Wording};
use super::password::Hash;
use super::selector::{Selector, has_space};

/// A user as its rules made it. It never changes: other rules make another.
#[derive(Clone, Debug)]
pub struct User {
    name: Vec<u8>,
    /// Tells a user from a later one of the same name.
    serial: u64,
    enabled: bool,
    no_password: bool,
    payloads: Payloads,
    passwords: Vec<Hash>,
    root: Selector,
    selectors: Vec<Selector>,
    /// Its scripts are trusted, although the nodes do not apply its rules in them.
    trusted: bool,
}

/// Whether what the user restores is looked at closely. For the record only: the nodes decide it by their
/// own user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payloads {
    Unset,
    Sanitized,
    Trusted,
}

impl User {
    /// Allowed nothing, not even to log in.
    pub(super) fn new(name: &[u8], serial: u64, trusted: bool) -> Self {
        Self {
            name: name.to_vec(),
            serial,
            enabled: false,
            no_password: false,
            payloads: Payloads::Unset,
            passwords: Vec::new(),
            root: Selector::closed(),
            selectors: Vec::new(),
            trusted,
        }
    }

    /// Allowed everything, without a password.
    pub(super) fn open(name: &[u8], serial: u64) -> Self {
        let closed = Self::new(name, serial, true);
        Self { enabled: true, no_password: true, root: Selector::open(), ..closed }
    }

    /// The same user in the place of another: connections of that one become its own.
    pub(super) fn with_serial(self, serial: u64) -> Self {
        Self { serial, ..self }
    }

    /// One password in the place of all others, or none at all: then it needs none.
    pub(super) fn set_password(&mut self, hash: Option<Hash>) {
        self.no_password = hash.is_none();
        self.passwords = hash.into_iter().collect();
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The same as long as the user is not deleted, whatever its rules become.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether a client needs no password to be this user.
    pub fn is_open(&self) -> bool {
        self.enabled && self.no_password
    }

    /// Whether somebody can be this user.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether it has the flag `nopass`, be it on or off.
    pub fn has_no_password(&self) -> bool {
        self.no_password
    }

    /// Whether no request is denied.
    pub fn is_unrestricted(&self) -> bool {
        self.root.is_open() || self.selectors.iter().any(Selector::is_open)
    }

    /// Takes more rules; a selector may be spread over several.
    pub(super) fn apply<'a>(
        &mut self,
        rules: impl Iterator<Item = &'a [u8]>,
        commands: &Commands,
    ) -> Result<(), RulesError> {
        for rule in whole_selectors(rules)? {
            self.apply_one(&rule, commands)
                .map_err(|error| RulesError::Rule(rule.into_owned(), error))?;
        }
        Ok(())
    }

    pub(super) fn apply_one(&mut self, rule: &[u8], commands: &Commands) -> Result<(), RuleError> {
        let word = super::error::shown(rule).to_ascii_lowercase();
        match word.as_slice() {
            _ if rule.is_empty() => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"skip-sanitize-payload" => self.payloads = Payloads::Trusted,
            b"sanitize-payload" => self.payloads = Payloads::Sanitized,
            b"nopass" => {
                self.no_password = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.no_password = false;
                self.passwords.clear();
            }
            [b'>' | b'#', ..] => self.add_password(hash(rule)?),
            [b'<' | b'!', ..] => {
                let hash = hash(rule)?;
                let place = self.passwords.iter().position(|known| known.is(&hash));
                self.passwords.remove(place.ok_or(RuleError::NoPassword)?);
            }
            [b'(', ..] if rule.ends_with(b")") => {
                self.selectors.push(selector(rule, commands)?);
            }
            b"clearselectors" => self.selectors.clear(),
            b"reset" => {
                *self = Self::new(&self.name, self.serial, self.trusted);
                self.payloads = Payloads::Sanitized;
            }
            _ => self.root.apply(rule, commands)?,
        }
        Ok(())
    }

    /// See [`Selector::await_command`].
    pub(super) fn await_command(&mut self, rule: &[u8]) -> bool {
        self.root.await_command(rule)
    }

    /// The same user where more commands are known.
    pub(super) fn reconsidered(&self, commands: &Commands) -> Self {
        let mut user = self.clone();
        user.root.reconsider(commands);
        user.selectors.iter_mut().for_each(|selector| selector.reconsider(commands));
        user
    }

    fn add_password(&mut self, hash: Hash) {
        if !self.passwords.iter().any(|known| known.is(&hash)) {
            self.passwords.push(hash);
        }
        self.no_password = false;
    }

    /// Whether somebody with this password may be this user. `hash` is that of the password.
    pub(super) fn admits(&self, hash: Option<&Hash>) -> bool {
        // Every password is compared, so that the time does not tell which one it was.
        let is_known =
            |hash: &Hash| self.passwords.iter().fold(false, |found, known| known.is(hash) | found);
        self.enabled && (self.no_password || hash.is_some_and(is_known))
    }

    /// Whether its rules allow this request.
    ///
    /// # Errors
    /// What is denied, chosen among the selectors' answers as the servers choose.
    pub fn check(&self, spec: &CommandSpec, request: &Request<'_>) -> Result<(), Denied> {
        let mut worst = Denied::Command;
        for selector in self.every_selector() {
            match selector.check(spec, request) {
                Ok(()) => return self.check_reach(spec, request),
                Err(denied) => worst = worst.max(denied),
            }
        }
        Err(worst)
    }

    /// What reaches keys that the request does not name.
    fn check_reach(&self, spec: &CommandSpec, request: &Request<'_>) -> Result<(), Denied> {
        let runs_code = spec.class == Class::Script && !spec.keys.is_none();
        if runs_code && !self.trusted && !self.is_unrestricted() {
            return Err(Denied::Script);
        }
        match spec.pattern_option(request) {
            Some(option) if !self.may_read_all(spec, request) => Err(Denied::Patterns(option)),
            _ => Ok(()),
        }
    }

    fn may_read_all(&self, spec: &CommandSpec, request: &Request<'_>) -> bool {
        self.every_selector()
            .any(|one| one.may_touch_all(Need::READ) && one.check(spec, request).is_ok())
    }

    /// Whether it may receive from this channel, or send to it. A pattern is allowed only if it is one of the
    /// rules, letter for letter.
    pub fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.every_selector().any(|selector| selector.may_use_channel(channel, is_pattern))
    }

    fn every_selector(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Its flags in the order in which the servers show them.
    pub fn flags(&self, wording: Wording) -> impl Iterator<Item = &'static str> {
        let payloads = match (self.payloads, wording) {
            (Payloads::Unset, Wording::Old) => None,
            (Payloads::Unset, Wording::New) | (Payloads::Sanitized, _) => Some("sanitize-payload"),
            (Payloads::Trusted, _) => Some("skip-sanitize-payload"),
        };
        let login = self.no_password.then_some("nopass");
        [Some(if self.enabled { "on" } else { "off" }), login, payloads].into_iter().flatten()
    }

    /// The hashes of its passwords, in the order in which they were given.
    pub fn passwords(&self) -> &[Hash] {
        &self.passwords
    }

    /// Its rules, and those of each selector.
    pub fn describe(
        &self,
        wording: Wording,
        commands: &Commands,
    ) -> (Description, Vec<Description>) {
        let describe = |selector: &Selector| selector.describe(wording, commands);
        (describe(&self.root), self.selectors.iter().map(describe).collect())
    }

    /// Its line in the users file, which is also what `ACL LIST` shows.
    pub fn line(&self, wording: Wording, commands: &Commands) -> Vec<u8> {
        let mut line = [b"user ", self.name.as_slice(), b" "].concat();
        for flag in self.flags(wording) {
            line.extend_from_slice(flag.as_bytes());
            line.push(b' ');
        }
        for password in &self.passwords {
            line.extend_from_slice(format!("#{password} ").as_bytes());
        }
        line.extend(self.root.line(wording, commands));
        for selector in &self.selectors {
            line.push(b' ');
            line.extend(selector.enclosed_line(wording, commands));
        }
        line
    }
}

/// The hash that a rule gives, or that of the password that it gives.
fn hash(rule: &[u8]) -> Result<Hash, RuleError> {
    match rule {
        [b'>' | b'<', password @ ..] => Hash::of(password).ok_or(RuleError::Syntax),
        [_, hex @ ..] => Hash::from_hex(hex).ok_or(RuleError::Hash),
        [] => Err(RuleError::Syntax),
    }
}

/// Reads `(rule rule ..)`.
fn selector(text: &[u8], commands: &Commands) -> Result<Selector, RuleError> {
    let mut selector = Selector::closed();
    let rules = text.get(1..text.len() - 1).unwrap_or_default();
    // As in the servers, quotes without an end leave no rules at all.
    for rule in words(rules).unwrap_or_default() {
        selector.apply(&rule, commands)?;
    }
    Ok(selector)
}

/// Joins selectors that were cut at their spaces.
pub(super) fn whole_selectors<'a>(
    rules: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Cow<'a, [u8]>>, RulesError> {
    let mut whole = Vec::new();
    // A selector that has begun, and its first piece.
    let mut open: Option<(Vec<u8>, &[u8])> = None;
    for rule in rules {
        match open.take() {
            None if rule.starts_with(b"(") && !rule.ends_with(b")") => {
                open = Some((rule.to_vec(), rule));
            }
            None => whole.push(Cow::Borrowed(rule)),
            Some((mut text, start)) => {
                text.push(b' ');
                text.extend_from_slice(rule);
                if rule.ends_with(b")") {
                    whole.push(Cow::Owned(text));
                } else {
                    open = Some((text, start));
                }
            }
        }
    }
    match open {
        Some((_, start)) => Err(RulesError::OpenSelector(start.to_vec())),
        None => Ok(whole),
    }
}

/// Whether a user can be called that.
pub(super) fn is_name(name: &[u8]) -> bool {
    !has_space(name)
}
