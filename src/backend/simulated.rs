//! Where dialling leads in a simulation: to a node in memory.

use std::cell::RefCell;
use std::io;

use tokio::io::DuplexStream;

/// Takes a connection to an address, or refuses it.
type Network = Box<dyn Fn(&str) -> io::Result<DuplexStream>>;

thread_local! {
    static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
}

/// Whoever dials on this thread gets there from now on.
pub(crate) fn replace_network(network: Network) {
    NETWORK.set(Some(network));
}

/// `None`: this thread's connections are real.
pub(super) fn dial(address: &str) -> Option<io::Result<DuplexStream>> {
    NETWORK.with_borrow(|network| network.as_ref().map(|network| network(address)))
}
