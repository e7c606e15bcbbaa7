//! Who a client is, as far as its address tells.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The unit of fairness: one IPv4 address, or the /64 that one IPv6 host can choose addresses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) if !address.is_unicast_link_local() && !address.is_loopback() => {
                Self(Ipv6Addr::from_bits(address.to_bits() & NETWORK).into())
            }
            // Neighbours on a link share its /64, and each has one link-local address.
            address => Self(address),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

const NETWORK: u128 = u128::MAX << 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_host_cannot_be_many_peers_by_choosing_addresses() {
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    }

    #[test]
    fn neighbours_are_different_peers() {
        assert_ne!(peer("fe80::1"), peer("fe80::2"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    }
}
