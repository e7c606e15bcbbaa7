//! One search with the mDNS library: the loop around its events, and the bounds on what it tells.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use if_addrs::Interface;
use mdns_sd::{
    HostnameResolutionEvent, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent,
};
use stap_protocol::announcement::Announcement;

use super::patience::{HARD_LIMIT, Progress};
use super::{Address, Announced, DiscoveryError, Patience, Zone};

/// Asks on every interface, loopback included, until the patience is over.
pub(super) fn browse(patience: Patience<'_>) -> Result<Vec<Announced>, DiscoveryError> {
    let interfaces = interfaces_in_use()?;
    // The library uses every interface that is up. Loopback among them is what finds the servers
    // of a host without a network.
    let daemon = ServiceDaemon::new()?;
    let events = daemon.browse(SERVICE)?;
    let start = Instant::now();
    let mut search = Search {
        hears_wanted: interfaces.iter().any(|interface| is_wanted(interface.ip())),
        daemon: &daemon,
        questions: BTreeMap::new(),
        patience,
        started: false,
        progress: Progress::default(),
        found: BTreeMap::new(),
    };
    loop {
        let left = search.progress.end().saturating_sub(start.elapsed());
        match events.recv_timeout(left) {
            Ok(event) => search.hear(event, start.elapsed()),
            // Either the time is over or the library's thread is; both end the search.
            Err(_) => break,
        }
        if search.progress.end() <= start.elapsed() {
            break;
        }
    }
    let found = search.found.into_values().collect();
    // Nobody waits for the thread: it holds sockets only, and the process ends soon.
    drop(daemon.shutdown());
    Ok(found)
}

fn interfaces_in_use() -> Result<Vec<Interface>, DiscoveryError> {
    let mut interfaces = if_addrs::get_if_addrs().map_err(DiscoveryError::Interfaces)?;
    interfaces.retain(Interface::is_oper_up);
    if interfaces.is_empty() {
        Err(DiscoveryError::NoInterface)
    } else {
        Ok(interfaces)
    }
}

/// An address that other hosts may use, of the family that everybody can read.
fn is_wanted(address: IpAddr) -> bool {
    address.is_ipv4() && !address.is_loopback()
}

struct Search<'a> {
    /// Whether this host has an address of its own that [`is_wanted`]; else servers' are not heard.
    hears_wanted: bool,
    daemon: &'a ServiceDaemon,
    /// Hosts whose addresses were asked for, with the answers, which also come as events of the
    /// instances and are not read here.
    questions: BTreeMap<String, Receiver<HostnameResolutionEvent>>,
    patience: Patience<'a>,
    started: bool,
    progress: Progress,
    found: BTreeMap<String, Announced>,
}

impl Search<'_> {
    fn hear(&mut self, event: ServiceEvent, at: Duration) {
        match event {
            // The library says this once when it is told to browse, and then for each question.
            ServiceEvent::SearchStarted(_) if !self.started => self.started = true,
            ServiceEvent::SearchStarted(_) => self.progress.asked(at),
            ServiceEvent::ServiceFound(_, instance) => self.progress.found(instance, at),
            ServiceEvent::ServiceRemoved(_, instance) => {
                self.progress.settled(&instance, at);
                self.found.remove(&instance);
            }
            ServiceEvent::ServiceResolved(service) => {
                if self.is_complete(&service) {
                    self.progress.settled(service.get_fullname(), at);
                } else {
                    self.progress.found(service.get_fullname().to_owned(), at);
                    self.ask_for_addresses(service.get_hostname());
                }
                self.resolved(&service);
            }
            _ => (),
        }
    }

    fn is_complete(&self, service: &ResolvedService) -> bool {
        let mut addresses = service.get_addresses().iter().map(ScopedIp::to_ip_addr);
        !self.hears_wanted || addresses.any(is_wanted)
    }

    /// A responder tells the addresses of each interface there alone, and may keep silent on one of
    /// them because it has just told somebody else; then the library does not ask again, as it has an
    /// address.
    fn ask_for_addresses(&mut self, host: &str) {
        if self.questions.len() < MAX_INSTANCES && !self.questions.contains_key(host) {
            let limit = u64::try_from(HARD_LIMIT.as_millis()).ok();
            if let Ok(answers) = self.daemon.resolve_hostname(host, limit) {
                self.questions.insert(host.to_owned(), answers);
            }
        }
    }

    fn resolved(&mut self, service: &ResolvedService) {
        let Some(announced) = announced(service) else {
            return;
        };
        if let Patience::UntilOneOf(fits) = self.patience
            && fits(&announced)
        {
            self.progress.satisfied();
        }
        let instance = service.get_fullname();
        if self.found.len() < MAX_INSTANCES || self.found.contains_key(instance) {
            self.found.insert(instance.to_owned(), announced);
        }
    }
}

fn announced(service: &ResolvedService) -> Option<Announced> {
    let text: Vec<(String, Vec<u8>)> = service
        .get_properties()
        .iter()
        .map(|property| {
            (
                property.key().to_owned(),
                property.val().unwrap_or_default().to_vec(),
            )
        })
        .collect();
    let addresses = service
        .get_addresses()
        .iter()
        .take(MAX_ADDRESSES)
        .map(address)
        .collect();
    Some(Announced {
        host: host_name(service.get_hostname())?,
        port: service.get_port(),
        addresses,
        announcement: Announcement::from_txt(&text)?,
    })
}

fn address(scoped: &ScopedIp) -> Address {
    let zone = match scoped {
        ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => Some(Zone {
            name: v6.scope_id().name.clone(),
            index: v6.scope_id().index,
        }),
        _ => None,
    };
    Address {
        ip: scoped.to_ip_addr(),
        zone,
    }
}

/// A name that would break the fields of a line, or a terminal, is no host name.
fn host_name(advertised: &str) -> Option<String> {
    let name = advertised.strip_suffix('.').unwrap_or(advertised);
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && c != '\'';
    (!name.is_empty() && name.len() <= MAX_HOST_NAME && name.chars().all(plain))
        .then(|| name.to_owned())
}

const SERVICE: &str = "_stap._tcp.local.";

/// More servers than anybody can choose from; the rest is not listened to.
pub(super) const MAX_INSTANCES: usize = 256;
const MAX_ADDRESSES: usize = 32;
const MAX_HOST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_cannot_break_a_line() {
        assert_eq!(
            host_name("labhost.local.").as_deref(),
            Some("labhost.local")
        );
        for name in ["", ".", "a b.local.", "a\nb", "a\x1b[2J", "a'b"] {
            assert_eq!(host_name(name), None, "{name:?} was accepted");
        }
        assert_eq!(host_name(&"a".repeat(300)), None);
    }
}
