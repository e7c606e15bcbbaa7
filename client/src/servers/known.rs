//! The servers that this host knows of: those that announce themselves, and those that are trusted.

use std::fmt;
use std::net::SocketAddr;

use stap_certs::Certificate;
use stap_protocol::announcement::Announcement;

use crate::discovery::Server;

/// A server, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) host: String,
    /// Where it can be reached; `None` for one that is only trusted.
    pub(super) address: Option<Reachable>,
    /// The serial number of its certificate.
    pub(super) serial: String,
    /// What it says about itself.
    pub(super) announcement: Option<Announcement>,
}

/// An address as people write it and as the socket functions want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reachable {
    pub(super) shown: String,
    pub(super) socket: SocketAddr,
}

impl Known {
    /// One that announces itself; `None` without a certificate's number, as nobody could trust it.
    pub(super) fn announced(server: Server) -> Option<Self> {
        let serial = server
            .announcement
            .certificate_serial()?
            .to_ascii_lowercase();
        let socket = server.socket_address();
        Some(Self {
            address: Some(Reachable {
                shown: server.address.to_string(),
                socket,
            }),
            host: server.host,
            serial,
            announcement: Some(server.announcement),
        })
    }

    /// One whose certificate is there, and nothing else.
    pub(super) fn offline(certificate: &Certificate) -> Self {
        let name = certificate.dns_names().first();
        Self {
            host: name.map_or_else(|| UNKNOWN.to_owned(), |name| cleaned(name)),
            address: None,
            serial: certificate.serial_text(),
            announcement: None,
        }
    }

    /// One that was named with its port, and showed a certificate.
    pub(super) fn reached(name: &str, socket: SocketAddr, certificate: &Certificate) -> Self {
        Self {
            host: name.to_owned(),
            address: Some(Reachable {
                shown: socket.ip().to_string(),
                socket,
            }),
            serial: certificate.serial_text(),
            announcement: None,
        }
    }
}

/// A line of the listing, in the form of stock clients.
impl fmt::Display for Known {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, port) = match &self.address {
            Some(address) => (address.shown.as_str(), address.socket.port().to_string()),
            None => ("offline", UNKNOWN.to_owned()),
        };
        let announcement = self.announcement.as_ref();
        // Quotes are part of the line's grammar, so none may come from outside.
        let sysinfo =
            announcement.map_or_else(|| UNKNOWN.to_owned(), |one| one.sysinfo().replace('"', "?"));
        let version =
            announcement.map_or_else(|| UNKNOWN.to_owned(), |one| one.version().to_string());
        write!(
            formatter,
            " host={} address={address} port={port} sysinfo=\"{sysinfo}\" version={version} certinfo=\"{}\"",
            self.host,
            self.serial.replace('"', "?")
        )?;
        match announcement.map(Announcement::mok_fingerprints) {
            Some(prints @ [_, ..]) => {
                let prints = prints.join(", ").replace('"', "?");
                write!(formatter, " mok_fingerprints=\"{prints}\"")
            }
            _ => Ok(()),
        }
    }
}

fn cleaned(name: &str) -> String {
    name.replace(
        |character: char| character.is_control() || character.is_whitespace(),
        "?",
    )
}

const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Address;

    fn server(pairs: &[(&str, &str)]) -> Server {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        Server {
            host: "labhost.local".to_owned(),
            address: Address {
                ip: "10.77.0.1".parse().unwrap(),
                zone: None,
            },
            port: 19030,
            announcement: Announcement::from_txt(&pairs).unwrap(),
        }
    }

    #[test]
    fn a_line_is_that_of_stock_clients() {
        let pairs = [
            ("sysinfo", "6.12.107 x86_64"),
            ("version", "5.1"),
            ("certinfo", "00:CC:1b:64:0d"),
            ("mok_info", "aa:bb"),
            ("mok_info", "cc:dd"),
        ];
        let line = " host=labhost.local address=10.77.0.1 port=19030 sysinfo=\"6.12.107 x86_64\" version=5.1 \
                    certinfo=\"00:cc:1b:64:0d\"";
        let known = Known::announced(server(&pairs)).unwrap();
        assert_eq!(
            known.to_string(),
            format!("{line} mok_fingerprints=\"aa:bb, cc:dd\"")
        );
        let known = Known::announced(server(&pairs[..3])).unwrap();
        assert_eq!(known.to_string(), line);
        assert_eq!(Known::announced(server(&pairs[..2])), None);
    }

    #[test]
    fn an_announcement_does_not_forge_fields() {
        let pairs = [("sysinfo", "6 x\" host=evil"), ("certinfo", "00\" x")];
        let line = Known::announced(server(&pairs)).unwrap().to_string();
        assert_eq!(line.matches('"').count(), 4, "{line}");
    }
}
