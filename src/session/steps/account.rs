//! How many bytes of replies the requests of several steps hold, all those of a worker together.

use std::cell::Cell;
use std::rc::Rc;

/// A worker's account.
pub(in crate::session) struct Account {
    most: Cell<usize>,
    taken: Cell<usize>,
}

impl Account {
    /// With room for so many bytes.
    pub(in crate::session) fn new(most: usize) -> Rc<Self> {
        Rc::new(Self { most: Cell::new(most), taken: Cell::new(0) })
    }

    /// From now on; what is taken already stays taken.
    pub(in crate::session) fn limit_to(&self, most: usize) {
        self.most.set(most);
    }
}

/// What one request has taken; it is given back when the request ends.
pub(super) struct Share {
    account: Rc<Account>,
    taken: Cell<usize>,
}

impl Share {
    pub(super) fn of(account: &Rc<Account>) -> Rc<Self> {
        Rc::new(Self { account: account.clone(), taken: Cell::new(0) })
    }

    /// False: there is no room for so many bytes.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let all = self.account.taken.get().saturating_add(bytes);
        if all > self.account.most.get() {
            return false;
        }
        self.account.taken.set(all);
        self.taken.set(self.taken.get() + bytes);
        true
    }

    /// So many bytes are no longer held.
    pub(super) fn give_back(&self, bytes: usize) {
        let bytes = bytes.min(self.taken.get());
        self.taken.set(self.taken.get() - bytes);
        self.account.taken.set(self.account.taken.get() - bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_the_room_and_give_it_back() {
        let account = Account::new(10);
        let (one, other) = (Share::of(&account), Share::of(&account));
        assert!(one.take(4) && other.take(6));
        assert!(!one.take(1) && !other.take(usize::MAX));
        other.give_back(1);
        assert!(one.take(1));
        drop(one);
        assert!(other.take(5) && !other.take(1));
        drop(other);
        assert_eq!(account.most.get() - account.taken.get(), 10);
    }
}
