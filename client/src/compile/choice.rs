//! Which servers are asked: the named ones, or those that announce themselves.

use std::time::Duration;

use stap_protocol::request::MachineOwnerKeys;
use tokio::task::spawn_blocking;

use super::exchange::{AT_FIRST, Answer, Attempts, Candidate, WHILE_BUSY, ask};
use super::progress::Display;
use super::trust::TrustedDatabase;
use super::wanted::Wanted;
use crate::discovery::{self, DiscoveryError, Patience, Server};
use crate::host::Host;
use crate::server_spec::{NamedHost, ServerSpec, resolve};

/// Everything that asking needs, and what came of it so far.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    /// This machine.
    pub(crate) host: &'a Host,
    /// What the server must build for.
    pub(crate) wanted: &'a Wanted,
    /// The keys with which a server may sign for this machine.
    pub(crate) keys: &'a MachineOwnerKeys,
    /// Whom to trust.
    pub(crate) databases: &'a [TrustedDatabase],
    /// The packed request.
    pub(crate) request: &'a [u8],
    /// The most bytes of a reply.
    pub(crate) max_reply: u64,
    /// Who hears what a server says before its reply.
    pub(crate) display: &'a Display,
    /// What was tried.
    pub(crate) attempts: Attempts,
}

/// Why nobody answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// Nobody to ask.
    #[error("Unable to find a server\n{reason}")]
    NotFound { reason: String },
    /// Everybody was asked.
    #[error("Unable to connect to a server{}", hint(*.untrusted))]
    NotConnected { untrusted: bool },
}

fn hint(untrusted: bool) -> &'static str {
    if untrusted {
        "\nA server is there, but its certificate is in none of your databases.\n\
         If you trust it, get its stap.cert from whoever runs it and call\n\
         stap-authorize-server-cert stap.cert"
    } else {
        "\nSee whether the server runs and its port is open from here;\n\
         stap-find-servers --all lists those that announce themselves"
    }
}

impl Choice<'_> {
    /// The same as [`Self::answer`] for somebody who looks on while he waits.
    pub(crate) async fn shown(
        mut self,
        named: &[ServerSpec],
    ) -> Result<Answer, (NoAnswer, Attempts)> {
        let what = format!("Waiting for a compile server for {}", self.wanted);
        let display = self.display;
        let answer = display.while_waiting(&what, self.answer(named)).await;
        answer.map_err(|error| (error, self.attempts))
    }

    /// Asks those that there are, and in the end waits for those that may only be busy.
    async fn answer(&mut self, named: &[ServerSpec]) -> Result<Answer, NoAnswer> {
        let answer = self.at_once(named).await;
        let mute = std::mem::take(&mut self.attempts.mute);
        match answer {
            Err(error) if !mute.is_empty() => {
                let late = self.ask_within(WHILE_BUSY, &mute).await;
                late.ok_or(error)
            }
            answer => answer,
        }
    }

    /// Asks the named servers in their order, or with no names any that fits.
    async fn at_once(&mut self, named: &[ServerSpec]) -> Result<Answer, NoAnswer> {
        if named.is_empty() {
            return self.any().await;
        }
        for spec in named {
            let candidates = self.named(spec).await;
            if let Some(answer) = self.ask(&candidates).await {
                return Ok(answer);
            }
        }
        Err(self.not_connected())
    }

    /// The first compatible server that answers the search is usually the one to use. Only when it
    /// and those that came with it fail, the search is taken to its end.
    async fn any(&mut self) -> Result<Answer, NoAnswer> {
        let quick = self
            .compatible(Search::Quick)
            .await
            .map_err(NoAnswer::from)?;
        let first: Vec<Candidate> = self
            .signers_first(&quick)
            .into_iter()
            .map(candidate)
            .collect();
        if let Some(answer) = self.ask(&first).await {
            return Ok(answer);
        }
        if first.is_empty() {
            return Err(NoAnswer::NotFound {
                reason: format!(
                    "No server on the local network announces that it builds for {}.\n\
                     Start one with stap-start-server, or name one with --server=HOST:PORT; \
                     stap-find-servers --all lists what there is",
                    self.wanted
                ),
            });
        }
        let all = self
            .compatible(Search::Complete)
            .await
            .map_err(NoAnswer::from)?;
        let late: Vec<Candidate> = self
            .signers_first(&all)
            .into_iter()
            .map(candidate)
            .filter(|server| !first.contains(server))
            .collect();
        match self.ask(&late).await {
            Some(answer) => Ok(answer),
            None => Err(self.not_connected()),
        }
    }

    /// Servers that announce a key which this machine trusts come before those that would only tell how to
    /// enrol theirs.
    fn signers_first<'s>(&self, servers: &'s [Server]) -> Vec<&'s Server> {
        let MachineOwnerKeys::Enrolled(keys) = self.keys else {
            return servers.iter().collect();
        };
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let signs = |server: &&Server| {
            let mut theirs = server.announcement.mok_fingerprints().iter();
            theirs.any(|key| keys.contains(key))
        };
        let (signers, others): (Vec<_>, Vec<_>) = servers.iter().partition(signs);
        [signers, others].concat()
    }

    async fn named(&mut self, spec: &ServerSpec) -> Vec<Candidate> {
        match spec {
            ServerSpec::Host {
                name,
                port: Some(port),
            } => self.direct(name, *port).await,
            ServerSpec::Host { name, port: None } => self.announced_on(name).await,
            ServerSpec::Serial { serial, port } => self.announced_under(serial, *port).await,
        }
    }

    /// With a port nothing is looked for, and the server itself says what it builds for.
    async fn direct(&mut self, name: &str, port: u16) -> Vec<Candidate> {
        let addresses = resolve(name, port).await;
        if addresses.is_empty() {
            self.attempts.note(format!("Cannot resolve server {name}"));
            return Vec::new();
        }
        vec![Candidate {
            host: name.to_owned(),
            port,
            addresses,
        }]
    }

    async fn announced_on(&mut self, name: &str) -> Vec<Candidate> {
        let wanted = NamedHost::resolve(name, &self.host.name).await;
        let servers = self.compatible_or_noted().await;
        let there: Vec<&Server> = servers
            .iter()
            .filter(|server| wanted.is_host_of(server))
            .collect();
        if there.is_empty() {
            // A name that only mDNS knows need not resolve, so this is said only in vain.
            self.attempts.note(match wanted.addresses.is_empty() {
                true => format!("Cannot resolve server {name}"),
                false => format!(
                    "No server is available on {name}\n  \
                     none there announces that it builds for {}; stap-find-servers --all lists what there is",
                    self.wanted
                ),
            });
        }
        there.into_iter().map(candidate).collect()
    }

    async fn announced_under(&mut self, serial: &str, port: Option<u16>) -> Vec<Candidate> {
        let servers = self.compatible_or_noted().await;
        let is_meant = |server: &&Server| {
            server.announcement.certificate_serial() == Some(serial)
                && port.is_none_or(|port| port == server.port)
        };
        let there: Vec<&Server> = servers.iter().filter(is_meant).collect();
        if there.is_empty() {
            self.attempts
                .note(format!("No server is available with certificate {serial}"));
        }
        there.into_iter().map(candidate).collect()
    }

    async fn compatible_or_noted(&mut self) -> Vec<Server> {
        let found = self.compatible(Search::Complete).await;
        found.unwrap_or_else(|error| {
            self.attempts.note(error.to_string());
            Vec::new()
        })
    }

    async fn compatible(&self, search: Search) -> Result<Vec<Server>, DiscoveryError> {
        let (host, wanted) = (self.host.clone(), self.wanted.clone());
        let searching = spawn_blocking(move || {
            let one = |announced: &discovery::Announced| {
                wanted.is_served_by(&announced.announcement, &host)
            };
            let patience = match search {
                Search::Quick => Patience::UntilOneOf(&one),
                Search::Complete => Patience::UntilComplete,
            };
            let mut servers = discovery::search(patience)?;
            servers.retain(|server| wanted.is_served_by(&server.announcement, &host));
            // A server announces each of its targets by itself; who has most of what is wanted is first.
            if let Wanted::Several(_) = wanted {
                servers = most_first(servers);
            }
            Ok(servers)
        });
        searching
            .await
            .expect("the search is neither cancelled nor does it panic")
    }

    async fn ask(&mut self, candidates: &[Candidate]) -> Option<Answer> {
        self.ask_within(AT_FIRST, candidates).await
    }

    async fn ask_within(&mut self, patience: Duration, candidates: &[Candidate]) -> Option<Answer> {
        ask(
            candidates,
            patience,
            self.databases,
            self.request,
            self.max_reply,
            self.display,
            &mut self.attempts,
        )
        .await
    }

    fn not_connected(&self) -> NoAnswer {
        NoAnswer::NotConnected {
            untrusted: self.attempts.untrusted,
        }
    }
}

#[derive(Clone, Copy)]
enum Search {
    Quick,
    Complete,
}

impl From<DiscoveryError> for NoAnswer {
    fn from(error: DiscoveryError) -> Self {
        let reason = format!("{error}.\nName a server with --server=HOST:PORT");
        Self::NotFound { reason }
    }
}

fn most_first(servers: Vec<Server>) -> Vec<Server> {
    let address = |server: &Server| (server.host.clone(), server.socket_address());
    let mut counted: Vec<(usize, Server)> = Vec::new();
    for server in servers {
        let known = counted.iter_mut();
        match known
            .into_iter()
            .find(|(_, one)| address(one) == address(&server))
        {
            Some((count, _)) => *count += 1,
            None => counted.push((1, server)),
        }
    }
    counted.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    counted.into_iter().map(|(_, server)| server).collect()
}

fn candidate(server: &Server) -> Candidate {
    Candidate {
        host: server.host.clone(),
        port: server.port,
        addresses: vec![server.socket_address()],
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// As a stock server does, all of whose threads have jobs: the kernel takes the connection.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_waited_for_when_there_is_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let host = Host::this().unwrap();
        let (display, wanted) = (Display::new(0), Wanted::One(host.target.clone()));
        let database = TrustedDatabase {
            directory: "database".into(),
            certificates: Vec::new(),
        };
        let choice = Choice {
            host: &host,
            wanted: &wanted,
            keys: &MachineOwnerKeys::NotAsked,
            databases: &[database],
            request: b"",
            max_reply: 0,
            display: &display,
            attempts: Attempts::default(),
        };
        let named = [ServerSpec::parse(address.as_bytes()).unwrap()];
        let (error, attempts) = choice.shown(&named).await.unwrap_err();
        assert!(matches!(error, NoAnswer::NotConnected { untrusted: false }));
        let lines = attempts.lines().iter();
        let late: Vec<_> = lines.filter(|line| line.contains("longer than")).collect();
        assert_eq!(late.len(), 2, "{late:?}");
        assert!(
            late[0].contains("handshake took longer than 10s") && late[1].contains("600s"),
            "{late:?}"
        );
    }
}
