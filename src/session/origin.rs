//! Where clients come from, for what is counted by address.

use std::net::IpAddr;

/// The address, as far as it tells hosts apart: one host of IPv6 has as many addresses as it likes, but one
/// block of them.
pub fn origin(address: IpAddr) -> IpAddr {
    const HOST: u128 = (1 << 64) - 1;
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::from((u128::from(address) & !HOST).to_be_bytes()),
        address => address,
    }
}
