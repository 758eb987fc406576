//! Users of the nodes that a node does not let in. It serves all others, and is asked again after a pause, so that a
//! wrong password costs an error for each request and not a connection.

use std::cell::RefCell;
use std::rc::Rc;

use super::clock::Micros;
use super::login::Login;

/// Whom one node does not let in, as this worker knows it.
#[derive(Default)]
pub(super) struct Barred(RefCell<Vec<Bar>>);

struct Bar {
    login: Login,
    /// Not to be tried again before this time, and why.
    until: Micros,
    why: Rc<str>,
    failures: u32,
}

impl Barred {
    /// Why this user is not to be tried now.
    pub(super) fn why(&self, login: Login, now: Micros) -> Option<Rc<str>> {
        let bars = self.0.borrow();
        let bar = bars.iter().find(|bar| bar.login == login && now < bar.until);
        bar.map(|bar| bar.why.clone())
    }

    /// The node has refused it; `pause` gives the time until the next try from the number of failures before. Returns
    /// whether that is news.
    pub(super) fn add(
        &self,
        login: Login,
        why: Rc<str>,
        now: Micros,
        pause: impl FnOnce(u32) -> Micros,
    ) -> bool {
        let mut bars = self.0.borrow_mut();
        let known = bars.iter().position(|bar| bar.login == login);
        let failures = known.map_or(0, |at| bars.swap_remove(at).failures);
        let until = now + pause(failures);
        bars.push(Bar { login, until, why, failures: failures.saturating_add(1) });
        failures == 0
    }

    /// The node has let it in.
    pub(super) fn lift(&self, login: Login) {
        self.0.borrow_mut().retain(|bar| bar.login != login);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_refused_is_tried_after_a_pause() {
        let (barred, login) = (Barred::default(), Login::OWN);
        assert_eq!(barred.why(login, 0), None);
        let pause = |failures| 10 * (Micros::from(failures) + 1);
        assert!(barred.add(login, "no".into(), 0, pause));
        assert_eq!(barred.why(login, 9).as_deref(), Some("no"));
        assert_eq!(barred.why(login, 10), None);
        assert!(!barred.add(login, "never".into(), 10, pause), "that is known");
        assert_eq!(barred.why(login, 29).as_deref(), Some("never"));
        assert_eq!(barred.why(login, 30), None);
        barred.lift(login);
        assert_eq!(barred.why(login, 11), None);
    }
}
