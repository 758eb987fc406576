//! All users at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::Commands;
use crate::config::{Auth, Secret};

use super::error::{RulesError, Wording};
use super::password::Hash;
use super::user::{User, is_name};

/// The user of a client that has not said who it is.
pub const DEFAULT: &[u8] = b"default";

/// All users by their names. It never changes: another rule makes another set, which shares the users that
/// stayed the same.
#[derive(Clone, Debug)]
pub struct Users {
    pub(super) all: BTreeMap<Vec<u8>, Arc<User>>,
    /// The serial that was given last.
    last: u64,
    /// Whether restricted users may run scripts.
    trusts_scripts: bool,
}

impl Users {
    /// The default user alone, who may do everything, with the password of the settings.
    pub fn new(auth: &Auth) -> Self {
        let mut users = Self::none(auth);
        users.add_default(&auth.password);
        users
    }

    /// Nobody.
    pub(super) fn none(auth: &Auth) -> Self {
        Self { all: BTreeMap::new(), last: 0, trusts_scripts: auth.trust_scripts }
    }

    /// Adds the default user as servers have it when no rule speaks of it.
    pub(super) fn add_default(&mut self, password: &Secret) {
        let mut user = User::open(DEFAULT, self.take_serial());
        if let Some(hash) = Hash::of(password.expose().as_bytes()).filter(|_| !password.is_empty())
        {
            user.set_password(Some(hash));
        }
        self.all.insert(DEFAULT.to_vec(), Arc::new(user));
    }

    pub(super) fn take_serial(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A user that nobody has given a rule yet; it is not among the others.
    pub(super) fn newcomer(&mut self, name: &[u8]) -> User {
        User::new(name, self.take_serial(), self.trusts_scripts)
    }

    /// The user of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.all.get(name)
    }

    /// The user of a client that has not said who it is. There always is one.
    pub fn default_user(&self) -> Arc<User> {
        let nobody = || Arc::new(User::new(DEFAULT, 0, false));
        self.get(DEFAULT).cloned().unwrap_or_else(nobody)
    }

    /// The same user with the rules that it has now; `None` once it was deleted.
    pub fn again(&self, user: &User) -> Option<&Arc<User>> {
        self.get(user.name()).filter(|now| now.serial() == user.serial())
    }

    /// All users, ordered by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.all.values()
    }

    /// The user that this name and password are right for.
    pub fn admit(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        // Hashed whoever it is for, so that the time does not tell which users there are.
        let hash = Hash::of(password);
        self.get(name).filter(|user| user.admits(hash.as_ref()))
    }

    /// The user of this name, for whom something else than a password speaks; `None`: there is none, or it is off.
    pub fn vouched(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.get(name).filter(|user| user.is_enabled())
    }

    /// Whether a client is the default user without saying so.
    pub fn are_open(&self) -> bool {
        self.get(DEFAULT).is_some_and(|user| user.is_open())
    }

    /// The same users, with these rules added to one of them, or to a new one.
    ///
    /// # Errors
    /// The first rule that is wrong.
    pub fn with<'a>(
        &self,
        name: &[u8],
        rules: impl Iterator<Item = &'a [u8]>,
        commands: &Commands,
    ) -> Result<Self, RulesError> {
        if !is_name(name) {
            return Err(RulesError::Name);
        }
        let mut users = self.clone();
        let mut user = match self.get(name) {
            Some(user) => User::clone(user),
            None => users.newcomer(name),
        };
        user.apply(rules, commands)?;
        users.all.insert(name.to_vec(), Arc::new(user));
        Ok(users)
    }

    /// The same users, the default one with this password and no other; empty, it needs none.
    #[must_use]
    pub fn with_password(&self, password: &Secret) -> Self {
        let mut users = self.clone();
        let hash = Hash::of(password.expose().as_bytes());
        if let Some(user) = users.all.get_mut(DEFAULT)
            && (password.is_empty() || hash.is_some())
        {
            Arc::make_mut(user).set_password(hash.filter(|_| !password.is_empty()));
        }
        users
    }

    /// The same users without these, and how many of these there were. The default user cannot be among them.
    pub fn without<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> (Self, usize) {
        let mut users = self.clone();
        let removed = names.filter(|name| *name != DEFAULT && users.all.remove(*name).is_some());
        let count = removed.count();
        (users, count)
    }

    /// These users in the place of `before`: whoever is in both sets keeps its connections.
    #[must_use]
    pub fn succeeding(mut self, before: &Self) -> Self {
        self.last = before.last;
        for (name, user) in &mut self.all {
            let serial = before.get(name).map_or_else(
                || {
                    self.last += 1;
                    self.last
                },
                |known| known.serial(),
            );
            *user = Arc::new(User::clone(user).with_serial(serial));
        }
        self
    }

    /// The same users where more commands are known: categories reach further, and future has come.
    #[must_use]
    pub fn reconsidered(&self, commands: &Commands) -> Self {
        let again = |(name, user): (&Vec<u8>, &Arc<User>)| {
            (name.clone(), Arc::new(user.reconsidered(commands)))
        };
        Self { all: self.all.iter().map(again).collect(), ..*self }
    }

    /// The users file that makes these users.
    pub fn file(&self, commands: &Commands) -> Vec<u8> {
        let mut text = Vec::new();
        for user in self.iter() {
            // Rules as they were given mean the same to a newer table of commands.
            text.extend_from_slice(&user.line(Wording::New, commands));
            text.push(b'\n');
        }
        text
    }
}
