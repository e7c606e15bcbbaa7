//! The server's announcement on the local network: one DNS-SD instance for each target.
//!
//! We answer mDNS ourselves and need no daemon; beside one we share its port. The library follows
//! changes of interfaces and addresses. An announcement counts only when a second responder, with
//! sockets of its own, has heard it: that is what a client will do next.

mod name;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures_util::future::select_all;
use mdns_sd::{
    DaemonEvent, IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo,
    TxtProperty,
};
use stap_protocol::announcement::{Announcement, SERVICE_TYPE};
use tokio::time::{Instant, sleep_until, timeout_at};

pub use name::Host;

/// Why the server cannot be found by clients.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The responder does not run.
    #[error(
        "mDNS is not available: {0}; use --no-advertise to serve clients that name this server"
    )]
    Unavailable(#[from] mdns_sd::Error),
    /// Announced, but not heard.
    #[error(
        "the announcement was not heard on any network interface within {} s; bring up an interface with multicast \
         (loopback is enough), or use --no-advertise to serve clients that name this server", .0.as_secs()
    )]
    Unheard(Duration),
}

/// Running responders that announce nothing yet.
#[derive(Debug)]
pub struct Announcer {
    responders: [Responder; 2],
    observer: Observer,
}

/// The announcements of one server.
#[derive(Debug)]
pub struct Announced {
    responders: [Responder; 2],
    /// What each of them tells about itself.
    monitors: Vec<Receiver<DaemonEvent>>,
    host: Host,
    port: u16,
    names: Vec<String>,
    /// Names that others had, now or before.
    taken: BTreeSet<String>,
    renamings: usize,
}

impl Announcer {
    /// Starts to listen for other servers, so that their names are known when ours are chosen.
    ///
    /// # Errors
    /// When there is no way to send and hear multicast.
    pub fn start() -> Result<Self, AnnounceError> {
        Ok(Self {
            responders: [
                Responder::without(IfKind::IPv6)?,
                Responder::without(IfKind::IPv4)?,
            ],
            observer: Observer::start()?,
        })
    }

    /// Announces each target and waits until all of them were heard.
    ///
    /// # Errors
    /// When they are not heard in time; then nothing stays announced.
    pub async fn announce(
        mut self,
        host: Host,
        port: u16,
        announcements: &[Announcement],
    ) -> Result<Announced, AnnounceError> {
        let taken = self.observer.names_in_use().await;
        let names = host.instance_names(announcements.len(), &taken);
        let monitors = self
            .responders
            .iter()
            .map(|responder| responder.0.monitor());
        let announced = Announced {
            monitors: monitors.collect::<Result<_, _>>()?,
            responders: self.responders,
            host,
            port,
            names,
            taken,
            renamings: 0,
        };
        announced.publish(announcements)?;
        let heard = self.observer.hears(&announced).await;
        if heard {
            return Ok(announced);
        }
        announced.withdraw().await;
        Err(AnnounceError::Unheard(PATIENCE))
    }
}

impl Announced {
    /// Logs the names of the instances in the words that test-suites look for.
    pub fn log(&self) {
        for name in &self.names {
            tracing::info!("Adding Avahi service '{name}'");
        }
    }

    /// Replaces what is announced, after a new certificate was made.
    ///
    /// # Errors
    /// When the responder is gone.
    pub fn publish(&self, announcements: &[Announcement]) -> Result<(), AnnounceError> {
        for (name, announcement) in self.names.iter().zip(announcements) {
            let properties: Vec<TxtProperty> = announcement
                .txt()
                .into_iter()
                .map(TxtProperty::from)
                .collect();
            let info = ServiceInfo::new(
                &service_domain(),
                name,
                self.host.domain_name(),
                "",
                self.port,
                properties,
            )?;
            let info = info.enable_addr_auto();
            for responder in &self.responders {
                responder.0.register(info.clone())?;
            }
        }
        Ok(())
    }

    /// Waits until another server turns out to have one of our names: two of one name may start at the
    /// same moment, or their networks are joined later. Who announces nothing waits for ever. Cancelling it
    /// loses nothing.
    pub async fn name_taken(announced: Option<&Self>) {
        let Some(announced) = announced.filter(|announced| announced.renamings < MOST_RENAMINGS)
        else {
            return std::future::pending().await;
        };
        // A responder also goes on with names that were given up meanwhile.
        let ours = announced.fullnames();
        loop {
            let events = announced.monitors.iter().map(Receiver::recv_async);
            match select_all(events).await {
                (Ok(DaemonEvent::NameChange(change)), ..) if ours.contains(&change.original) => {
                    return;
                }
                (Ok(_), ..) => {}
                (Err(_), ..) => return std::future::pending().await,
            }
        }
    }

    /// Announces the same under other names. The responder has found free ones already, but on each
    /// interface for itself, and who is on two of them would take one server for another. The other server
    /// may be looking for a name, too, so the number is left to chance.
    ///
    /// # Errors
    /// When the responder is gone.
    pub fn rename(&mut self, announcements: &[Announcement]) -> Result<(), AnnounceError> {
        for fullname in self.fullnames() {
            for responder in &self.responders {
                drop(responder.0.unregister(&fullname)?);
            }
        }
        let chance = RandomState::new().hash_one(self.port);
        let number = FIRST_NUMBER + usize::from(chance.to_le_bytes()[0]) % NUMBERS;
        // Two hosts of one name are the likeliest reason.
        self.host.rename(number);
        self.renamings += 1;
        self.taken.extend(self.names.drain(..));
        self.names = self
            .host
            .instance_names_from(number, announcements.len(), &self.taken);
        self.publish(announcements)
    }

    fn fullnames(&self) -> Vec<String> {
        let domain = service_domain();
        let fullname = |name: &String| format!("{}.{domain}", name::escaped(name));
        self.names.iter().map(fullname).collect()
    }

    /// Also when the responder had to change a name because somebody took it at the same moment.
    fn contains(&self, service: &ResolvedService) -> bool {
        let name = name::instance_of(&service.fullname, &service_domain()).unwrap_or_default();
        service.port == self.port
            && !service.addresses.is_empty()
            && self.names.iter().any(|ours| name.starts_with(ours))
    }

    /// Says goodbye on every interface, for at most [`GOODBYE`].
    pub async fn withdraw(self) {
        let deadline = Instant::now() + GOODBYE;
        for fullname in self.fullnames() {
            for responder in &self.responders {
                if let Ok(status) = responder.0.unregister(&fullname)
                    && timeout_at(deadline, status.recv_async()).await.is_err()
                {
                    tracing::warn!(
                        "the network may list this server for a while, as it did not take the goodbye in time"
                    );
                }
            }
        }
    }
}

/// Listens as a client does.
#[derive(Debug)]
struct Observer {
    _responder: Responder,
    events: Receiver<ServiceEvent>,
    started: Instant,
}

impl Observer {
    fn start() -> Result<Self, AnnounceError> {
        let responder = Responder::start()?;
        let events = responder.0.browse(&service_domain())?;
        Ok(Self {
            _responder: responder,
            events,
            started: Instant::now(),
        })
    }

    /// The instance names that answered until now. The start of the worker has been a part of that
    /// time.
    async fn names_in_use(&mut self) -> BTreeSet<String> {
        let deadline = self.started + SURVEY;
        let mut names = BTreeSet::new();
        while let Ok(Ok(event)) = timeout_at(deadline, self.events.recv_async()).await {
            names.extend(found(event));
            if names.len() > MOST_NAMES {
                break;
            }
        }
        while let Ok(event) = self.events.try_recv() {
            names.extend(found(event));
        }
        names
    }

    /// Whether all instances were heard, and had the time to be announced on every interface.
    async fn hears(&mut self, announced: &Announced) -> bool {
        let begin = Instant::now();
        let mut heard = BTreeSet::new();
        while heard.len() < announced.names.len() {
            match timeout_at(begin + PATIENCE, self.events.recv_async()).await {
                Ok(Ok(ServiceEvent::ServiceResolved(service))) if announced.contains(&service) => {
                    heard.insert(service.fullname.clone());
                }
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return false,
            }
        }
        sleep_until(begin + PROBING).await;
        true
    }
}

fn found(event: ServiceEvent) -> Option<String> {
    match event {
        ServiceEvent::ServiceFound(_, fullname) => Some(fullname),
        ServiceEvent::ServiceResolved(service) => Some(service.fullname.clone()),
        _ => None,
    }
    .and_then(|fullname| name::instance_of(&fullname, &service_domain()))
}

/// The library's thread with its sockets, which ends with this value.
struct Responder(ServiceDaemon);

impl Responder {
    fn start() -> Result<Self, AnnounceError> {
        Ok(Self(ServiceDaemon::new()?))
    }

    /// One that speaks the other protocol only, and tells the addresses of that protocol only. Who is
    /// asked by IPv6 is not to answer with an IPv4 address, which stock clients would take for `::`.
    fn without(protocol: IfKind) -> Result<Self, AnnounceError> {
        let responder = Self::start()?;
        responder.0.disable_interface(protocol)?;
        Ok(responder)
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Responder")
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::debug!(%error, "an mDNS responder did not stop");
        }
    }
}

fn service_domain() -> String {
    format!("{SERVICE_TYPE}.local.")
}

/// How long other servers get to tell their names: a responder is silent for one second after it said
/// the same (RFC 6762 6), which a server that has just been announced did; then comes our second
/// question, and its answer after up to 120 ms.
const SURVEY: Duration = Duration::from_millis(1500);
/// Names of other servers that are remembered; a network with more of them gets numbers by chance.
const MOST_NAMES: usize = 4096;
/// How long each interface takes to find out that nobody else has our names: a random wait of up to
/// 250 ms, then three probes 250 ms apart (RFC 6762 8.1).
const PROBING: Duration = Duration::from_millis(1250);
/// Where a server looks for a free number when it had to give up its name.
const FIRST_NUMBER: usize = 2;
const NUMBERS: usize = 32;
/// How often it does. Who still has no name of its own then may be in conflict with itself, by way of two
/// interfaces on one link.
const MOST_RENAMINGS: usize = 4;
/// How long an announcement may take until it is heard.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
