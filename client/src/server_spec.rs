//! What may follow `--server=`, and which announced servers it means.

use std::net::{IpAddr, SocketAddr};

use tokio::net::lookup_host;

use crate::discovery::Server;

/// A server as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerSpec {
    /// `HOST[:PORT]`, an IP address being a host too.
    Host { name: String, port: Option<u16> },
    /// The serial number of its certificate, `aa:bb:cc:dd:ee[:PORT]`.
    Serial { serial: String, port: Option<u16> },
}

/// Why a text names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ServerSpecError {
    /// `--server` or `--server=`.
    #[error("Missing argument to --server")]
    Missing,
    /// What follows the last colon is not a port.
    #[error("Invalid port number specified: {0}")]
    Port(String),
    /// Everything else.
    #[error(
        "Invalid server specified: {0}\n\
         Give HOST, an IP address or a certificate's serial number, and :PORT if you like; \
         an IPv6 address with a port needs brackets"
    )]
    Shape(String),
}

impl ServerSpec {
    /// Reads the value of one `--server=`.
    pub(crate) fn parse(value: &[u8]) -> Result<Self, ServerSpecError> {
        let text = std::str::from_utf8(value)
            .ok()
            .filter(|text| text.len() <= MAX_SPEC && !text.contains(unprintable))
            .ok_or_else(|| ServerSpecError::Shape(stap_protocol::text::escape(value)))?;
        if text.is_empty() {
            return Err(ServerSpecError::Missing);
        }
        if is_ip(text) {
            return Ok(Self::Host {
                name: text.to_owned(),
                port: None,
            });
        }
        bracketed(text)
            .or_else(|| serial(text))
            .unwrap_or_else(|| host(text))
    }
}

/// `[IPv6]` or `[IPv6]:PORT`.
fn bracketed(text: &str) -> Option<Result<ServerSpec, ServerSpecError>> {
    let (address, rest) = text.strip_prefix('[')?.split_once(']')?;
    let port = match rest.strip_prefix(':') {
        Some(port) => port_number(port).map(Some),
        None if rest.is_empty() => Ok(None),
        None => Err(ServerSpecError::Shape(text.to_owned())),
    };
    Some(port.and_then(|port| match is_ip(address) {
        true => Ok(ServerSpec::Host {
            name: address.to_owned(),
            port,
        }),
        false => Err(ServerSpecError::Shape(text.to_owned())),
    }))
}

/// Exactly five octets, as in every serial number that a server makes.
fn serial(text: &str) -> Option<Result<ServerSpec, ServerSpecError>> {
    let octets: Vec<&str> = text.splitn(SERIAL_OCTETS + 1, ':').collect();
    let is_octet = |text: &&str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if octets.len() < SERIAL_OCTETS || !octets.iter().take(SERIAL_OCTETS).all(is_octet) {
        return None;
    }
    let serial = octets[..SERIAL_OCTETS].join(":").to_ascii_lowercase();
    let port = octets
        .get(SERIAL_OCTETS)
        .map(|port| port_number(port))
        .transpose();
    Some(port.map(|port| ServerSpec::Serial { serial, port }))
}

fn host(text: &str) -> Result<ServerSpec, ServerSpecError> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port_number(port)?)),
        None => (text, None),
    };
    if name.is_empty() || name.contains([':', '[', ']']) {
        return Err(ServerSpecError::Shape(text.to_owned()));
    }
    Ok(ServerSpec::Host {
        name: name.to_owned(),
        port,
    })
}

fn port_number(text: &str) -> Result<u16, ServerSpecError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|port| *port != 0);
    port.ok_or_else(|| ServerSpecError::Port(text.to_owned()))
}

/// An address in digits, with or without `%interface`.
pub(crate) fn is_ip(text: &str) -> bool {
    match text.split_once('%') {
        Some((address, zone)) => !zone.is_empty() && address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => text.parse::<IpAddr>().is_ok(),
    }
}

fn unprintable(character: char) -> bool {
    character.is_control() || character.is_whitespace()
}

/// What a named host is, as far as this machine can tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamedHost {
    /// The name as it was given.
    pub(crate) name: String,
    /// All that the name resolves to.
    pub(crate) addresses: Vec<IpAddr>,
    /// The addresses of this host.
    pub(crate) own_addresses: Vec<IpAddr>,
    /// The node name of this host.
    pub(crate) own_name: String,
}

impl NamedHost {
    /// Finds out what `name` means on the host that calls itself `own_name`.
    pub(crate) async fn resolve(name: &str, own_name: &str) -> Self {
        Self {
            name: name.to_owned(),
            addresses: resolve(name, 0).await.iter().map(SocketAddr::ip).collect(),
            own_addresses: own_addresses(),
            own_name: own_name.to_owned(),
        }
    }

    /// Whether an announced server runs on the named host.
    pub(crate) fn is_host_of(&self, server: &Server) -> bool {
        self.is_host_at(&server.host, server.address.ip)
    }

    /// Whether whoever calls himself `host` at `address` is the named host.
    pub(crate) fn is_host_at(&self, host: &str, address: IpAddr) -> bool {
        self.addresses.contains(&address)
            || same_host(host, &self.name)
            || (self.is_this_host() && self.own_addresses.contains(&address))
    }

    /// `localhost`, the own name or any own address means every server of this host.
    fn is_this_host(&self) -> bool {
        self.name.eq_ignore_ascii_case("localhost")
            || same_host(&self.name, &self.own_name)
            || self
                .addresses
                .iter()
                .any(|ip| ip.is_loopback() || self.own_addresses.contains(ip))
    }
}

/// Asks the system, so that `/etc/hosts` counts and an IPv6 address may have an interface.
pub(crate) async fn resolve(name: &str, port: u16) -> Vec<SocketAddr> {
    match lookup_host((name, port)).await {
        Ok(addresses) => addresses.take(MAX_ADDRESSES).collect(),
        // The caller says that the name cannot be resolved; there is no more to say.
        Err(_) => Vec::new(),
    }
}

fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(if_addrs::Interface::ip).collect()
}

/// Host names are equal in any case, with or without `.local`, and never in part.
fn same_host(one: &str, other: &str) -> bool {
    bare(one).eq_ignore_ascii_case(bare(other)) && !bare(one).is_empty()
}

fn bare(name: &str) -> &str {
    let name = name.strip_suffix('.').unwrap_or(name);
    let at = name.len().saturating_sub(LOCAL.len());
    match name.get(at..) {
        Some(end) if end.eq_ignore_ascii_case(LOCAL) => &name[..at],
        _ => name,
    }
}

/// More addresses of one host than anybody waits for.
const MAX_ADDRESSES: usize = 16;
const LOCAL: &str = ".local";
const SERIAL_OCTETS: usize = 5;

/// A DNS name and a port with room to spare.
const MAX_SPEC: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stap_protocol::announcement::Announcement;

    use super::*;
    use crate::discovery::Address;

    fn host(name: &str, port: Option<u16>) -> Result<ServerSpec, ServerSpecError> {
        Ok(ServerSpec::Host {
            name: name.to_owned(),
            port,
        })
    }

    fn serial(serial: &str, port: Option<u16>) -> Result<ServerSpec, ServerSpecError> {
        Ok(ServerSpec::Serial {
            serial: serial.to_owned(),
            port,
        })
    }

    #[test]
    fn every_documented_form_is_read() {
        for (text, expected) in [
            ("labhost", host("labhost", None)),
            ("labhost.local:65000", host("labhost.local", Some(65000))),
            ("10.77.0.1", host("10.77.0.1", None)),
            ("10.77.0.1:1", host("10.77.0.1", Some(1))),
            ("fe80::1", host("fe80::1", None)),
            ("fe80::1%eth0", host("fe80::1%eth0", None)),
            ("1:2:3:4:5:6:7:8", host("1:2:3:4:5:6:7:8", None)),
            ("[fe80::1%eth0]", host("fe80::1%eth0", None)),
            ("[::1]:65535", host("::1", Some(65535))),
            ("00:cc:1b:64:0D", serial("00:cc:1b:64:0d", None)),
            ("00:cc:1b:64:0d:1234", serial("00:cc:1b:64:0d", Some(1234))),
        ] {
            assert_eq!(ServerSpec::parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_bad_port_is_named() {
        for (text, port) in [
            ("h:", ""),
            ("h:0", "0"),
            ("h:65536", "65536"),
            ("h:+1", "+1"),
            ("h:1x", "1x"),
            ("[::1]:x", "x"),
            ("00:cc:1b:64:0d:70000", "70000"),
        ] {
            let expected = ServerSpecError::Port(port.to_owned());
            assert_eq!(ServerSpec::parse(text.as_bytes()), Err(expected), "{text}");
        }
    }

    #[test]
    fn what_names_no_server_is_refused() {
        assert_eq!(ServerSpec::parse(b""), Err(ServerSpecError::Missing));
        for text in [
            &b":1"[..],
            b"a:b:1",
            b"[x]:1",
            b"[::1]x",
            b"a b",
            b"a\nb",
            b"\xff",
        ] {
            let parsed = ServerSpec::parse(text);
            assert!(
                matches!(parsed, Err(ServerSpecError::Shape(_))),
                "{text:?}: {parsed:?}"
            );
        }
    }

    fn server(advertised: &str, ip: &str) -> Server {
        let sysinfo = ("sysinfo".to_owned(), b"6.1 x86_64".to_vec());
        Server {
            host: advertised.to_owned(),
            address: Address {
                ip: ip.parse().unwrap(),
                zone: None,
            },
            port: 1,
            announcement: Announcement::from_txt(&[sysinfo]).unwrap(),
        }
    }

    fn named(name: &str, addresses: &[&str]) -> NamedHost {
        NamedHost {
            name: name.to_owned(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            own_addresses: vec!["127.0.0.1".parse().unwrap(), "10.77.0.1".parse().unwrap()],
            own_name: "labhost".to_owned(),
        }
    }

    #[test]
    fn an_address_is_compared_as_a_whole() {
        assert!(named("10.0.0.1", &["10.0.0.1"]).is_host_of(&server("a.local", "10.0.0.1")));
        assert!(!named("10.0.0.1", &["10.0.0.1"]).is_host_of(&server("a.local", "10.0.0.12")));
    }

    #[test]
    fn a_name_is_compared_with_and_without_local() {
        assert!(named("BUILD", &[]).is_host_of(&server("build.local", "10.0.0.1")));
        assert!(named("build.local", &[]).is_host_of(&server("build.local", "10.0.0.1")));
        assert!(!named("build", &[]).is_host_of(&server("build2.local", "10.0.0.1")));
        assert!(!named("buil", &[]).is_host_of(&server("build.local", "10.0.0.1")));
    }

    #[test]
    fn localhost_means_every_server_of_this_host() {
        let ours = server("labhost.local", "10.77.0.1");
        let theirs = server("other.local", "10.77.0.2");
        for this in [
            named("localhost", &["127.0.0.1"]),
            named("10.77.0.1", &["10.77.0.1"]),
        ] {
            assert!(this.is_host_of(&ours), "{this:?}");
            assert!(!this.is_host_of(&theirs), "{this:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let parsed = ServerSpec::parse(&bytes);
            prop_assert!(parsed.is_ok() || !parsed.unwrap_err().to_string().is_empty());
        }

        #[test]
        fn likely_specifications_are_read_or_refused(text in "[\\[\\]a-f0-9:.%]{0,24}") {
            if let Ok(ServerSpec::Host { name, port }) = ServerSpec::parse(text.as_bytes()) {
                prop_assert!(!name.is_empty() && port != Some(0));
                prop_assert!(is_ip(&name) || !name.contains(':'));
            }
        }
    }
}
