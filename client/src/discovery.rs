//! The compile servers that announce themselves by mDNS on the links of this host.
//!
//! Announcements are what anybody on the link likes to say. They choose whom to ask, never whom to
//! trust.

mod listing;
mod mdns;
mod patience;

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use stap_protocol::announcement::Announcement;

/// Announced servers in the documented order: newest protocol first, then by host, address, port.
///
/// # Errors
///
/// When mDNS cannot be used on this host at all. Finding nobody is not an error.
pub(crate) fn search(patience: Patience<'_>) -> Result<Vec<Server>, DiscoveryError> {
    Ok(listing::servers(mdns::browse(patience)?))
}

/// How long a search goes on.
#[derive(Clone, Copy)]
pub(crate) enum Patience<'a> {
    /// Until everybody has had the time to answer: for listings.
    UntilComplete,
    /// Until one that fits has answered and those who answer at the same time have too.
    UntilOneOf(&'a dyn Fn(&Announced) -> bool),
}

/// A service instance as it was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// The advertised host, without the closing dot.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// All addresses that the host was said to have.
    pub(crate) addresses: Vec<Address>,
    /// What the server says about itself.
    pub(crate) announcement: Announcement,
}

/// One server at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// The advertised host, normally ending in `.local`.
    pub(crate) host: String,
    /// Where to connect.
    pub(crate) address: Address,
    /// The port.
    pub(crate) port: u16,
    /// What the server says about itself.
    pub(crate) announcement: Announcement,
}

/// An IP address, with the interface for those that mean nothing without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The address.
    pub(crate) ip: IpAddr,
    /// The interface of a link-local IPv6 address.
    pub(crate) zone: Option<Zone>,
}

/// An interface, by both its names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Zone {
    /// Such as `eth0`.
    pub(crate) name: String,
    /// The kernel's number for it.
    pub(crate) index: u32,
}

/// Why mDNS cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    /// There is nothing to send a question on.
    #[error("mDNS cannot be used: no network interface is up, not even loopback")]
    NoInterface,
    /// The system does not say which interfaces there are.
    #[error("mDNS cannot be used: the network interfaces cannot be listed: {0}")]
    Interfaces(#[source] std::io::Error),
    /// The mDNS library gave up.
    #[error("mDNS cannot be used: {0}")]
    Mdns(#[from] mdns_sd::Error),
}

impl Server {
    /// The address as the socket functions want it.
    #[must_use]
    pub(crate) fn socket_address(&self) -> SocketAddr {
        self.address.with_port(self.port)
    }
}

impl Address {
    /// The address as the socket functions want it.
    #[must_use]
    pub(crate) fn with_port(&self, port: u16) -> SocketAddr {
        match (self.ip, &self.zone) {
            (IpAddr::V6(ip), Some(zone)) => SocketAddrV6::new(ip, port, 0, zone.index).into(),
            (ip, _) => SocketAddr::new(ip, port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(formatter, "{}%{}", self.ip, zone.name),
            None => self.ip.fmt(formatter),
        }
    }
}

impl fmt::Display for Server {
    /// One line of `stap-find-servers`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            address,
            port,
            announcement,
        } = self;
        // The quotes are part of the line's grammar, so none may come from outside.
        let sysinfo = announcement.sysinfo().replace('\'', "?");
        write!(formatter, "{host} {address} {port} 'sysinfo={sysinfo}'")
    }
}

impl fmt::Debug for Patience<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::UntilComplete => "UntilComplete",
            Self::UntilOneOf(_) => "UntilOneOf",
        })
    }
}
