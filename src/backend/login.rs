//! As whom connections are logged in at the nodes: as the gateway's own user, or as another one for some of its users.
//!
//! Invariant: a number stays with its user of the nodes for as long as the process lives, whatever is loaded again. So
//! a connection that was made for one of them is never taken for another's.

use std::collections::HashMap;

use crate::config::{self, NodeUser, Secret};

/// A user of the nodes, as a connection's [`Manner`](super::Manner) names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Login(u32);

impl Login {
    /// The gateway's own user.
    pub const OWN: Self = Self(0);

    fn at(index: usize) -> Self {
        Self(u32::try_from(index + 1).unwrap_or(u32::MAX))
    }

    fn index(self) -> Option<usize> {
        (self.0 as usize).checked_sub(1)
    }
}

/// Who is sent as whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Logins {
    /// By the names of the gateway's users.
    named: HashMap<Box<[u8]>, Login>,
    others: Login,
    /// In the order of their numbers, those included that are not in the settings any more: what is under way for
    /// them ends as it began.
    known: Vec<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    user: NodeUser,
    /// The password before it, for nodes that do not know the new one yet; empty means that there was none.
    previous: Secret,
}

impl Logins {
    pub(super) fn of(settings: &config::Logins) -> Self {
        let mut logins = Self::default();
        for (name, user) in settings.iter() {
            let login = logins.number(user);
            logins.name(name.as_bytes(), login);
        }
        logins
    }

    /// These in the place of `before`: whom that one knows keeps its number.
    pub(super) fn succeeding(&self, before: &Self) -> Self {
        let known = before.known.clone();
        let mut logins = Self { known, ..Self::default() };
        let numbers: Vec<Login> =
            self.known.iter().map(|known| logins.number(&known.user)).collect();
        let renumbered = |login: Login| {
            login.index().and_then(|index| numbers.get(index)).copied().unwrap_or_default()
        };
        logins.others = renumbered(self.others);
        logins.named =
            self.named.iter().map(|(name, login)| (name.clone(), renumbered(*login))).collect();
        logins
    }

    fn name(&mut self, name: &[u8], login: Login) {
        if name == config::Logins::OTHERS.as_bytes() {
            self.others = login;
        } else {
            self.named.insert(name.into(), login);
        }
    }

    /// The number of this user of the nodes, whose password is as it says here from now on.
    fn number(&mut self, user: &NodeUser) -> Login {
        let known = self.known.iter_mut().zip(0..).find(|(known, _)| known.user.name == user.name);
        let Some((known, index)) = known else {
            self.known.push(Known { user: user.clone(), previous: Secret::default() });
            return Login::at(self.known.len() - 1);
        };
        if known.user.password != user.password {
            known.previous = std::mem::replace(&mut known.user.password, user.password.clone());
        }
        Login::at(index)
    }

    /// As whom the requests of this user of the gateway are sent.
    pub(super) fn login_of(&self, user: &[u8]) -> Login {
        self.named.get(user).copied().unwrap_or(self.others)
    }

    /// The users of the gateway that are named.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.named.keys().map(|name| &**name)
    }

    /// The user's name, its password and the one before it; `None`: it is the gateway's own.
    pub(super) fn secrets(&self, login: Login) -> Option<(&str, &Secret, &Secret)> {
        let Known { user, previous } = self.known.get(login.index()?)?;
        Some((&user.name, &user.password, previous))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(lines: &str) -> Logins {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("logins");
        std::fs::write(&file, lines).unwrap();
        Logins::of(&config::Logins::read(&file).unwrap())
    }

    fn shown(logins: &Logins, user: &str) -> String {
        match logins.secrets(logins.login_of(user.as_bytes())) {
            None => "own".to_owned(),
            Some((name, password, previous)) => {
                format!("{name} {} {}", password.expose(), previous.expose())
            }
        }
    }

    #[test]
    fn a_user_is_sent_as_its_own_or_as_that_of_all_others() {
        let some = logins("app node-app one\nbatch node-batch two\ntwin node-app one\n");
        assert_eq!(shown(&some, "app"), "node-app one ");
        assert_eq!(shown(&some, "other"), "own");
        assert_eq!(some.login_of(b"app"), some.login_of(b"twin"));
        assert_ne!(some.login_of(b"app"), some.login_of(b"batch"));
        let all = logins("* rest three\napp node-app one\n");
        assert_eq!(shown(&all, "other"), "rest three ");
        assert_eq!(shown(&all, "app"), "node-app one ");
        assert_eq!(shown(&Logins::default(), "app"), "own");
    }

    #[test]
    fn numbers_stay_with_their_users_whatever_is_loaded_again() {
        let first = logins("a one 1\nb two 2\n");
        let second = logins("b two 22\nc three 3\n").succeeding(&first);
        assert_eq!(second.login_of(b"b"), first.login_of(b"b"));
        assert_eq!(shown(&second, "b"), "two 22 2");
        assert_eq!(shown(&second, "a"), "own");
        let fresh = second.login_of(b"c");
        assert!(fresh != first.login_of(b"a") && fresh != first.login_of(b"b"));
        // What is under way as the one that has gone can still be sent.
        assert_eq!(second.secrets(first.login_of(b"a")).map(|(name, ..)| name), Some("one"));
        let third = logins("a one 1\n* two 22\n").succeeding(&second);
        assert_eq!(third.login_of(b"a"), first.login_of(b"a"));
        assert_eq!(third.login_of(b"anybody"), first.login_of(b"b"));
        assert_eq!(shown(&third, "anybody"), "two 22 2", "the password before stays known");
    }
}
