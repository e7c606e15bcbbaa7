//! Sending a request to one of several servers, and getting its reply.
//!
//! Servers are tried in their order, and for each the databases in theirs. A server that answered is
//! final, whatever it answered; only what prevents an answer leads to the next one.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use stap_certs::Certificate;
use stap_protocol::text::escape;
use stap_transport::client::{ClientStream, ConnectError, ExchangeError, connect};
use stap_transport::{Deadlines, Late, Step};
use tokio::time::sleep;

use super::progress::Display;
use super::trust::TrustedDatabase;
use crate::server_spec::is_ip;

/// A server that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The host as people know it.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// Where to connect, in order.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// A complete reply, not yet looked into.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Who answered.
    pub(crate) server: String,
    /// The package.
    pub(crate) reply: Vec<u8>,
    /// What is odd about the server but does not matter.
    pub(crate) warning: Option<String>,
}

/// What was tried, for the case that all of it fails.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    lines: Vec<String>,
    /// Whether some server was there but not trusted.
    pub(crate) untrusted: bool,
    /// Servers that took a connection and said nothing for [`AT_FIRST`].
    pub(crate) mute: Vec<Candidate>,
}

impl Attempts {
    /// Notes one line, if there is room.
    pub(crate) fn note(&mut self, line: String) {
        if self.lines.len() < MAX_LINES {
            self.lines.push(line);
        }
    }

    /// All lines in their order.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl Candidate {
    /// `HOST:PORT`, with brackets where the colons of an address need them.
    pub(crate) fn label(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    fn only_at(&self, address: SocketAddr) -> Self {
        Self {
            addresses: vec![address],
            ..self.clone()
        }
    }

    /// The name to compare with the certificate; an address in digits has none.
    fn dns_name(&self) -> Option<&str> {
        (!is_ip(&self.host)).then_some(self.host.as_str())
    }
}

/// Asks the candidates in turn, each of which has so long to begin with it. The certificate of a server that has just expired is being renewed,
/// so the whole list is tried once more in that case.
pub(crate) async fn ask(
    candidates: &[Candidate],
    patience: Duration,
    databases: &[TrustedDatabase],
    request: &[u8],
    max_reply: u64,
    display: &Display,
    attempts: &mut Attempts,
) -> Option<Answer> {
    let mut asking = Asking {
        patience,
        databases,
        request,
        max_reply,
        display,
        attempts,
        expired: false,
    };
    if let Some(answer) = asking.in_turn(candidates).await {
        return Some(answer);
    }
    if asking.expired {
        sleep(RENEWAL).await;
        return asking.in_turn(candidates).await;
    }
    None
}

struct Asking<'a> {
    /// For the handshake.
    patience: Duration,
    databases: &'a [TrustedDatabase],
    request: &'a [u8],
    max_reply: u64,
    display: &'a Display,
    attempts: &'a mut Attempts,
    expired: bool,
}

impl Asking<'_> {
    async fn in_turn(&mut self, candidates: &[Candidate]) -> Option<Answer> {
        for candidate in candidates {
            for address in &candidate.addresses {
                if let Some(answer) = self.at(candidate, *address).await {
                    return Some(answer);
                }
            }
        }
        None
    }

    async fn at(&mut self, candidate: &Candidate, address: SocketAddr) -> Option<Answer> {
        let label = candidate.label();
        for database in self.databases {
            self.attempts.note(format!(
                "Attempting connection with {label} using certificate database in '{}'",
                database.directory.display()
            ));
            match self.persistently(candidate, address, database).await {
                Ok((reply, certificate)) => {
                    let warning = name_warning(candidate.dns_name(), &certificate);
                    return Some(Answer {
                        server: label,
                        reply,
                        warning,
                    });
                }
                Err(failure) => {
                    self.attempts.note(format!("  {failure}"));
                    match failure {
                        // Another database may hold the certificate.
                        Failure::Untrusted(_) => self.attempts.untrusted = true,
                        Failure::Expired(_) => self.expired = true,
                        Failure::Busy(_) => {
                            let mute = candidate.only_at(address);
                            self.attempts.mute.push(mute);
                            return None;
                        }
                        // No database helps where there is no server.
                        Failure::Mute(_) | Failure::Reset(_) | Failure::Other(_) => return None,
                    }
                }
            }
        }
        None
    }

    /// A connection that was reset is tried again: the server may have been starting.
    async fn persistently(
        &self,
        candidate: &Candidate,
        address: SocketAddr,
        database: &TrustedDatabase,
    ) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let mut left = RESETS;
        loop {
            match self.once(candidate, address, database).await {
                Err(Failure::Reset(_)) if left > 1 => {
                    left -= 1;
                    sleep(AFTER_RESET).await;
                }
                other => return other,
            }
        }
    }

    async fn once(
        &self,
        candidate: &Candidate,
        address: SocketAddr,
        database: &TrustedDatabase,
    ) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let deadlines = Deadlines {
            handshake: self.patience,
            ..Deadlines::default()
        };
        let trusted = &database.certificates;
        let stream: ClientStream =
            connect(address, candidate.dns_name(), trusted, &deadlines).await?;
        let certificate = stream.peer_certificate().to_vec();
        self.display.forget();
        let (request, most) = (self.request, self.max_reply);
        let reply = match self.display.is_watched() {
            true => {
                let hear = |notice| self.display.hear(notice);
                stream.exchange_hearing(request, most, hear).await?
            }
            false => stream.exchange(request, most).await?,
        };
        if reply.is_empty() {
            return Err(Failure::Mute(address));
        }
        Ok((reply, certificate))
    }
}

/// Why a try gave no reply, by what to do about it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Untrusted(ConnectError),
    #[error("{0}")]
    Expired(ConnectError),
    #[error(
        "the server at {0} closed the connection without an answer; it may have died, or refused the request \
         without saying why"
    )]
    Mute(SocketAddr),
    #[error("{0}")]
    Reset(String),
    #[error("{0}; it may be busy with others")]
    Busy(Late),
    #[error("{0}")]
    Other(String),
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Untrusted(_) => Self::Untrusted(error),
            ConnectError::Expired(_) => Self::Expired(error),
            ConnectError::Reset(_) => Self::Reset(error.to_string()),
            ConnectError::Late(late) if late.step == Step::Handshake => Self::Busy(late),
            // A server that resets what it has just accepted is seen as early as this, or later.
            ConnectError::Unreachable { ref source, .. }
                if source.kind() == ErrorKind::ConnectionReset =>
            {
                Self::Reset(error.to_string())
            }
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<ExchangeError> for Failure {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Reset => Self::Reset(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// A certificate made for another name is still exactly the one that is trusted.
fn name_warning(name: Option<&str>, certificate: &[u8]) -> Option<String> {
    let name = name?;
    let certificate = Certificate::from_der(certificate).ok()?;
    let names = certificate.dns_names();
    let matches = |candidate: &String| candidate.eq_ignore_ascii_case(name);
    (!names.iter().any(matches)).then(|| {
        let names: Vec<String> = names
            .iter()
            .map(|name| format!("\n  {}", escape(name.as_bytes())))
            .collect();
        format!(
            "The domain name, {name}, does not match the DNS name(s) on the server certificate:{}",
            names.concat()
        )
    })
}

/// Tries at one server that resets connections, and the pause between them.
const RESETS: u32 = 5;
const AFTER_RESET: Duration = Duration::from_secs(1);

/// How long servers have for a handshake as long as there may be others to ask.
pub(crate) const AT_FIRST: Duration = Duration::from_secs(10);
/// How long one has that is the only hope: a stock server begins with nobody while each of its threads has a job.
pub(crate) const WHILE_BUSY: Duration = Duration::from_secs(600);

/// How long a server needs to replace its expired certificate.
const RENEWAL: Duration = Duration::from_secs(2);

/// Enough to see what is wrong, also where hundreds of servers announce themselves.
const MAX_LINES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(host: &str) -> Candidate {
        Candidate {
            host: host.to_owned(),
            port: 65000,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_label_can_be_given_to_the_server_option() {
        assert_eq!(candidate("labhost.local").label(), "labhost.local:65000");
        assert_eq!(candidate("10.77.0.1").label(), "10.77.0.1:65000");
        assert_eq!(candidate("::1").label(), "[::1]:65000");
    }

    #[test]
    fn only_names_are_compared_with_the_certificate() {
        assert_eq!(candidate("labhost").dns_name(), Some("labhost"));
        for address in ["10.77.0.1", "::1", "fe80::1%eth0"] {
            assert_eq!(candidate(address).dns_name(), None, "{address}");
        }
    }

    #[test]
    fn the_log_of_attempts_is_bounded() {
        let mut attempts = Attempts::default();
        (0..10 * MAX_LINES).for_each(|line| attempts.note(line.to_string()));
        assert_eq!(attempts.lines().len(), MAX_LINES);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_tried_once_and_noted() {
        // The port is free again when the listener is dropped.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let gone = Candidate {
            host: "127.0.0.1".to_owned(),
            port: address.port(),
            addresses: vec![address],
        };
        let database = |name: &str| TrustedDatabase {
            directory: name.into(),
            certificates: Vec::new(),
        };
        let mut attempts = Attempts::default();
        let databases = [database("one"), database("two")];

        let display = Display::new(0);
        let answer = ask(
            &[gone],
            AT_FIRST,
            &databases,
            b"",
            0,
            &display,
            &mut attempts,
        )
        .await;

        assert!(answer.is_none());
        let expected =
            format!("Attempting connection with {address} using certificate database in 'one'");
        assert_eq!(attempts.lines()[0], expected);
        assert_eq!(attempts.lines().len(), 2, "another database does not help");
    }
}
