//! From service instances to the documented list: one entry an address, no duplicates, in order.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Address, Announced, Server};

/// Flattens and sorts what was found.
pub(super) fn servers(announced: Vec<Announced>) -> Vec<Server> {
    let mut list: Vec<Server> = merged(announced)
        .into_iter()
        .flat_map(at_each_address)
        .collect();
    list.sort_by(|a, b| {
        let newest_first = b.announcement.version().cmp(&a.announcement.version());
        newest_first
            .then_with(|| a.host.cmp(&b.host))
            .then_with(|| order(&a.address).cmp(&order(&b.address)))
            .then_with(|| a.port.cmp(&b.port))
            .then_with(|| a.announcement.sysinfo().cmp(b.announcement.sysinfo()))
    });
    list
}

/// The same server may be resolved once for each interface.
fn merged(announced: Vec<Announced>) -> Vec<Announced> {
    let mut servers: BTreeMap<_, Announced> = BTreeMap::new();
    for one in announced {
        let identity = (
            one.host.clone(),
            one.port,
            one.announcement.sysinfo().to_owned(),
        );
        match servers.get_mut(&identity) {
            Some(known) => {
                known.addresses.extend(one.addresses);
                if one.announcement.version() > known.announcement.version() {
                    known.announcement = one.announcement;
                }
            }
            None => {
                servers.insert(identity, one);
            }
        }
    }
    servers.into_values().collect()
}

fn at_each_address(server: Announced) -> Vec<Server> {
    let Announced {
        host,
        port,
        addresses,
        announcement,
    } = server;
    let at = |address| Server {
        host: host.clone(),
        address,
        port,
        announcement: announcement.clone(),
    };
    reachable(addresses).into_iter().map(at).collect()
}

/// The best kind of address that a server has: IPv4, else IPv6, and loopback only for want of both.
fn reachable(addresses: Vec<Address>) -> Vec<Address> {
    let mut kinds: [Vec<Address>; 4] = Default::default();
    for address in addresses {
        let kind = match (address.ip, address.ip.is_loopback()) {
            (IpAddr::V4(_), false) => 0,
            (IpAddr::V6(_), false) => 1,
            (IpAddr::V4(_), true) => 2,
            (IpAddr::V6(_), true) => 3,
        };
        if !address.ip.is_unspecified() && !kinds[kind].contains(&address) {
            kinds[kind].push(address);
        }
    }
    kinds
        .into_iter()
        .find(|kind| !kind.is_empty())
        .unwrap_or_default()
}

fn order(address: &Address) -> impl Ord {
    (address.ip, address.zone.clone())
}

#[cfg(test)]
mod tests {
    use stap_protocol::announcement::Announcement;

    use super::super::Zone;
    use super::*;

    fn announcement(speaks: &str) -> Announcement {
        let pair = |key: &str, value: &str| (key.to_owned(), value.as_bytes().to_vec());
        let text = [pair("sysinfo", "6.1 x86_64"), pair("version", speaks)];
        Announcement::from_txt(&text).unwrap()
    }

    fn announced(host: &str, port: u16, addresses: &[&str], speaks: &str) -> Announced {
        let address = |text: &&str| Address {
            ip: text.parse().unwrap(),
            zone: None,
        };
        Announced {
            host: host.to_owned(),
            port,
            addresses: addresses.iter().map(address).collect(),
            announcement: announcement(speaks),
        }
    }

    fn lines(list: Vec<Announced>) -> Vec<String> {
        servers(list).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_line_has_the_documented_fields() {
        assert_eq!(
            lines(vec![announced(
                "labhost.local",
                65000,
                &["10.77.0.1"],
                "5.1"
            )]),
            ["labhost.local 10.77.0.1 65000 'sysinfo=6.1 x86_64'"]
        );
    }

    #[test]
    fn the_same_server_is_listed_once() {
        let twice = vec![
            announced("a.local", 1, &["10.0.0.1", "10.0.0.1"], "5.1"),
            announced("a.local", 1, &["10.0.0.1", "127.0.0.1"], "5.1"),
        ];
        assert_eq!(lines(twice), ["a.local 10.0.0.1 1 'sysinfo=6.1 x86_64'"]);
    }

    #[test]
    fn loopback_is_listed_for_want_of_another_address() {
        let alone = announced("a.local", 1, &["::1", "127.0.0.1"], "5.1");
        assert_eq!(
            lines(vec![alone]),
            ["a.local 127.0.0.1 1 'sysinfo=6.1 x86_64'"]
        );
    }

    #[test]
    fn an_ipv6_address_is_listed_for_want_of_an_ipv4_one() {
        let mut link_local = announced("a.local", 1, &["fe80::1", "127.0.0.1"], "5.1");
        link_local.addresses[0].zone = Some(Zone {
            name: "eth0".to_owned(),
            index: 2,
        });
        assert_eq!(
            lines(vec![link_local.clone()]),
            ["a.local fe80::1%eth0 1 'sysinfo=6.1 x86_64'"]
        );
        assert_eq!(
            servers(vec![link_local])[0].socket_address().to_string(),
            "[fe80::1%2]:1"
        );
    }

    #[test]
    fn the_newest_protocol_comes_first_and_addresses_sort_as_numbers() {
        let list = vec![
            announced("b.local", 1, &["10.0.0.10", "10.0.0.9"], "5.1"),
            announced("a.local", 2, &["10.0.0.1"], "5.1"),
            announced("z.local", 1, &["10.0.0.1"], "5.10"),
        ];
        let order: Vec<String> = servers(list)
            .iter()
            .map(|server| format!("{} {}", server.host, server.address))
            .collect();
        assert_eq!(
            order,
            [
                "z.local 10.0.0.1",
                "a.local 10.0.0.1",
                "b.local 10.0.0.9",
                "b.local 10.0.0.10"
            ]
        );
    }

    #[test]
    fn an_announcement_without_an_address_is_not_listed() {
        assert!(lines(vec![announced("a.local", 1, &["0.0.0.0"], "5.1")]).is_empty());
    }
}
