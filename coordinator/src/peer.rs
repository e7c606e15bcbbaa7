//! Who a client is, as far as this host can tell.

mod owner;
mod subordinate;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use owner::Owners;

/// The unit of fairness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// One IPv4 address, or the /64 that one IPv6 host can choose addresses from. This host is one
    /// peer by whichever of its loopback addresses a client comes.
    Address(IpAddr),
    /// A user of this very host, by the kernel's word.
    User(u32),
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            // Whoever is on this host can come from any of sixteen million addresses.
            address if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(address) if !address.is_unicast_link_local() => {
                Ipv6Addr::from_bits(address.to_bits() & NETWORK).into()
            }
            // Neighbours on a link share its /64, and each has one link-local address.
            address => address,
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::User(id) => write!(formatter, "user {id} of this host"),
        }
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
        for loopback in ["127.0.0.2", "127.255.255.254", "::1", "::ffff:127.1.2.3"] {
            assert_eq!(peer(loopback), peer("127.0.0.1"), "{loopback}");
        }
    }

    #[test]
    fn neighbours_are_different_peers() {
        assert_ne!(peer("fe80::1"), peer("fe80::2"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_ne!(Peer::User(1000), Peer::User(1001));
    }
}
