//! How many clients each address has.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::metrics::Rejection;
use crate::session::origin;

/// Addresses remembered before those without clients are looked for.
const FEW: usize = 1024;

/// The clients of each address, counted by what each of them holds: a client that is gone, on whatever thread,
/// counts no more.
#[derive(Default)]
pub(super) struct Seats {
    taken: RefCell<HashMap<IpAddr, Arc<()>>>,
    /// So many addresses are too many to keep those without clients.
    enough: Cell<usize>,
}

/// There is no place for one more client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// None at all.
    Everywhere,
    /// None for its address.
    Address,
}

impl Taken {
    /// What the client is told. Libraries look for the server's words, so both begin with them.
    pub(super) fn line(self) -> &'static [u8] {
        match self {
            Self::Everywhere => b"-ERR max number of clients reached\r\n",
            Self::Address => b"-ERR max number of clients reached for this address\r\n",
        }
    }

    /// How it is counted.
    pub(super) fn reason(self) -> Rejection {
        match self {
            Self::Everywhere => Rejection::MaxClients,
            Self::Address => Rejection::MaxClientsPerAddress,
        }
    }
}

impl Seats {
    /// A place for one more client of this address, which may have `most` of them; 0: no bound, but they are
    /// counted all the same, for a reload may set one.
    ///
    /// # Errors
    /// There is none left.
    pub(super) fn take(&self, address: IpAddr, most: usize) -> Result<Arc<()>, Taken> {
        let mut taken = self.taken.borrow_mut();
        if taken.len() >= self.enough.get().max(FEW) {
            taken.retain(|_, seat| clients(seat) > 0);
            self.enough.set(FEW.max(taken.len() * 2));
        }
        let seat = taken.entry(origin(address)).or_default();
        let is_full = most > 0 && clients(seat) >= most;
        if is_full { Err(Taken::Address) } else { Ok(seat.clone()) }
    }
}

fn clients(seat: &Arc<()>) -> usize {
    Arc::strong_count(seat) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(seats: &Seats, address: &str, most: usize) -> Result<Arc<()>, Taken> {
        seats.take(address.parse().unwrap(), most)
    }

    #[test]
    fn each_address_has_its_own_places_and_gets_them_back() {
        let seats = Seats::default();
        let (one, two) = (take(&seats, "10.0.0.1", 2), take(&seats, "::ffff:10.0.0.1", 2));
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(take(&seats, "10.0.0.1", 2), Err(Taken::Address));
        let other = take(&seats, "2001:db8::1", 2);
        assert!(other.is_ok() && take(&seats, "2001:db8::2", 2).is_ok());
        drop(one);
        assert!(take(&seats, "10.0.0.1", 2).is_ok());
    }

    #[test]
    fn a_bound_that_is_set_later_counts_those_who_are_there() {
        let seats = Seats::default();
        let stays = (take(&seats, "10.0.0.1", 0), take(&seats, "10.0.0.1", 0));
        assert_eq!(take(&seats, "10.0.0.1", 2), Err(Taken::Address));
        drop(stays);
        assert!(take(&seats, "10.0.0.1", 2).is_ok());
    }

    #[test]
    fn addresses_without_clients_are_forgotten() {
        let seats = Seats::default();
        let stays = take(&seats, "10.0.0.1", 1);
        for number in 0..5_000_u32 {
            assert!(seats.take(IpAddr::from((1 << 24 | number).to_be_bytes()), 1).is_ok());
        }
        assert!(seats.taken.borrow().len() <= FEW);
        assert_eq!(take(&seats, "10.0.0.1", 1), Err(Taken::Address));
        drop(stays);
    }
}
