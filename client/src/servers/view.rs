//! What this host knows of servers, and which of them a name means.

use std::net::SocketAddr;
use std::path::Path;

use stap_certs::client::ClientDatabase;
use stap_certs::{Certificate, DatabaseError, Environment, OwnerRule, Paths};
use stap_transport::Deadlines;
use stap_transport::client::probe_certificate;

use super::known::{Known, Reachable};
use super::{Errand, Failure};
use crate::diagnostics::Diagnostics;
use crate::discovery::{self, DiscoveryError, Patience, Server};
use crate::host::Host;
use crate::server_spec::{NamedHost, ServerSpec, resolve};

/// What this host knows of servers.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) errand: &'a Errand,
    pub(super) diagnostics: &'a Diagnostics,
    host: Host,
    pub(super) paths: Paths,
    online: Vec<Known>,
}

impl<'a> View<'a> {
    /// Looks around.
    pub(super) async fn of(
        errand: &'a Errand,
        diagnostics: &'a Diagnostics,
    ) -> Result<Self, Failure> {
        let host = Host::this().map_err(|error| Failure::Host(error.to_string()))?;
        let paths = Paths::discover(&Environment::current())?;
        let online = if errand.needs_no_announcement() {
            Ok(Vec::new())
        } else {
            announced().await
        };
        let online = match online {
            Ok(servers) => servers.into_iter().filter_map(Known::announced).collect(),
            Err(error) => {
                diagnostics.warning(format_args!(
                    "{error}. Only servers that are named with a port, and trusted ones, are known"
                ));
                Vec::new()
            }
        };
        Ok(Self {
            errand,
            diagnostics,
            host,
            paths,
            online,
        })
    }

    /// Those that announce themselves, and behind them those that are only trusted.
    pub(super) fn everything(&self, signers: &[Certificate]) -> Vec<Known> {
        let mut all = self.online.clone();
        for certificate in self.trusted().iter().chain(signers) {
            let offline = Known::offline(certificate);
            if !all.iter().any(|one| one.serial == offline.serial) {
                all.push(offline);
            }
        }
        all
    }

    /// Those that the command line names, each once.
    pub(super) async fn specified(&self) -> Vec<Known> {
        let mut all: Vec<Known> = Vec::new();
        for spec in &self.errand.named {
            for one in self.meant_by(spec).await {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
        all
    }

    /// The servers that one `--server=` means: announced ones, or the one at that port, or those that are
    /// trusted under that number.
    async fn meant_by(&self, spec: &ServerSpec) -> Vec<Known> {
        match spec {
            ServerSpec::Host {
                name,
                port: Some(port),
            } => {
                let mut reached = Vec::new();
                for address in resolve(name, *port).await {
                    if let Ok(certificate) = Self::certificate_at(address).await {
                        reached.push(Known::reached(name, address, &certificate));
                        break;
                    }
                }
                reached
            }
            ServerSpec::Host { name, port: None } => {
                let wanted = NamedHost::resolve(name, &self.host.name).await;
                let there = |one: &&Known| {
                    one.address
                        .as_ref()
                        .is_some_and(|at| wanted.is_host_at(&one.host, at.socket.ip()))
                };
                self.online.iter().filter(there).cloned().collect()
            }
            ServerSpec::Serial { serial, port } => {
                let is_meant = |one: &&Known| {
                    let at_port = |at: &Reachable| port.is_none_or(|port| port == at.socket.port());
                    one.serial == *serial && one.address.as_ref().is_some_and(at_port)
                };
                let online: Vec<_> = self.online.iter().filter(is_meant).cloned().collect();
                if !online.is_empty() {
                    return online;
                }
                let trusted = self.trusted().into_iter();
                let known = trusted.filter(|one| one.serial_text() == *serial);
                known
                    .map(|certificate| Known::offline(&certificate))
                    .collect()
            }
        }
    }

    pub(super) fn is_compatible(&self, one: &Known) -> bool {
        let serves = |announcement| self.host.would_be_served(&self.errand.target, announcement);
        one.announcement.as_ref().is_some_and(serves)
    }

    /// The certificates that this user's clients believe.
    pub(super) fn trusted(&self) -> Vec<Certificate> {
        let private = self.paths.private_client().into_iter();
        let private = private.flat_map(|path| self.certificates(path, OwnerRule::EffectiveUser));
        let global = self.certificates(self.paths.global_client(), OwnerRule::Root);
        private.chain(global).collect()
    }

    pub(super) fn certificates(&self, path: &Path, rule: OwnerRule) -> Vec<Certificate> {
        match ClientDatabase::open(path, rule) {
            Ok(opened) => opened.certificates,
            Err(DatabaseError::Missing { .. }) => Vec::new(),
            Err(error) => {
                error
                    .lines()
                    .iter()
                    .for_each(|line| self.diagnostics.warning(line));
                Vec::new()
            }
        }
    }

    /// The certificate of whatever is there.
    pub(super) async fn certificate_at(address: SocketAddr) -> Result<Certificate, String> {
        let der = probe_certificate(address, &Deadlines::default()).await;
        let der = der.map_err(|error| error.to_string())?;
        Certificate::from_der(&der)
            .map_err(|error| format!("the certificate of {address}: {error}"))
    }
}

async fn announced() -> Result<Vec<Server>, DiscoveryError> {
    let search = tokio::task::spawn_blocking(|| discovery::search(Patience::UntilComplete));
    search
        .await
        .expect("the search is neither cancelled nor does it panic")
}
