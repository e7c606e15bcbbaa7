//! The client's end of a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, HandshakeKind};
use socket2::{SockRef, TcpKeepalive};
use stap_protocol::frame::{self, FrameError};
use stap_protocol::notice::{Notice, NoticeError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::deadlines::{Deadlines, Interrupted, Late, Pace, Step};
use crate::hearing::Hearing;
use crate::provider::{VERSIONS, provider};
use crate::trust::{self, Trust, Verifier};

/// A connection to a server that is trusted.
#[derive(Debug)]
pub struct ClientStream<S = TcpStream> {
    tls: TlsStream<S>,
    certificate: Vec<u8>,
    deadlines: Deadlines,
}

/// Connects again and again to servers that present one of the same certificates.
///
/// A server that has been spoken with is known again by a secret of that session, which spares it a signature; its certificate
/// is then judged as it was at that time, for as long as this lives and the server says (12 hours, if it is ours). So this
/// is for a program that asks often and ends soon. [`connect`] judges each time.
#[derive(Clone, Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
    deadlines: Deadlines,
}

/// Why there is no connection to a server. Each kind asks for something else: another server, another
/// attempt, or a decision of the user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody answers at the address.
    #[error("{address} cannot be reached: {source}")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The server reset the connection: it may be overloaded or restarting, so try again.
    #[error("the server at {0} reset the connection")]
    Reset(SocketAddr),
    /// The server was too slow.
    #[error(transparent)]
    Late(#[from] Late),
    /// The server's certificate is in none of the databases.
    #[error("the certificate of the server at {0} is not trusted")]
    Untrusted(SocketAddr),
    /// The server's certificate is trusted, but its time is over. Servers renew theirs, so try
    /// again.
    #[error("the certificate of the server at {0} has expired")]
    Expired(SocketAddr),
    /// The server's certificate is trusted, but its time has not come; one of the two clocks is
    /// wrong.
    #[error(
        "the certificate of the server at {0} is not valid yet; check the clocks of both hosts"
    )]
    NotYetValid(SocketAddr),
    /// The handshake failed for another reason: this is no compile server, or a very old one.
    #[error("the handshake with the server at {address} failed: {source}")]
    Handshake {
        /// The address.
        address: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The request cannot be sent.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The server reset the connection: try again.
    #[error("the server reset the connection")]
    Reset,
    /// The server was too slow.
    #[error(transparent)]
    Late(#[from] Late),
    /// The server sends more than a reply may have.
    #[error("the server's reply is longer than {limit} bytes")]
    ReplyTooLong {
        /// What is allowed.
        limit: u64,
    },
    /// The server tells more than it may before its reply.
    #[error("the server's reply is not waited for any longer: {0}")]
    Notice(#[from] NoticeError),
    /// The connection broke.
    #[error("the connection to the server broke: {0}")]
    Io(#[source] io::Error),
}

impl Connector {
    /// Has not spoken with any server yet.
    #[must_use]
    pub fn new(trusted: &[Vec<u8>], deadlines: Deadlines) -> Self {
        let mut config = config(Trust::Exactly(trusted.to_vec()));
        config.resumption = Resumption::in_memory_sessions(MOST_SESSIONS);
        Self {
            config: Arc::new(config),
            deadlines,
        }
    }

    /// Connects to the server at `address`.
    pub async fn connect(&self, address: SocketAddr) -> Result<ClientStream, ConnectError> {
        let socket = reach(address, &self.deadlines).await?;
        let config = Arc::clone(&self.config);
        handshake(socket, address, None, config, &self.deadlines).await
    }
}

/// Connects to the server at `address`, which must present one of the certificates `trusted`.
///
/// `name` is what the user called the server; a server that lives behind several names may want to
/// know. Whether the certificate carries it is not judged here: see [`ClientStream::dns_names`].
pub async fn connect(
    address: SocketAddr,
    name: Option<&str>,
    trusted: &[Vec<u8>],
    deadlines: &Deadlines,
) -> Result<ClientStream, ConnectError> {
    let socket = reach(address, deadlines).await?;
    connect_over(socket, address, name, trusted, deadlines).await
}

/// Like [`connect`], over a stream that leads to the server at `address` already.
pub async fn connect_over<S>(
    stream: S,
    address: SocketAddr,
    name: Option<&str>,
    trusted: &[Vec<u8>],
    deadlines: &Deadlines,
) -> Result<ClientStream<S>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = Arc::new(config(Trust::Exactly(trusted.to_vec())));
    handshake(stream, address, name, config, deadlines).await
}

/// Returns the certificate of whatever server is at `address`, in DER, without trusting it and
/// without sending it anything.
pub async fn probe_certificate(
    address: SocketAddr,
    deadlines: &Deadlines,
) -> Result<Vec<u8>, ConnectError> {
    let socket = reach(address, deadlines).await?;
    let config = Arc::new(config(Trust::LookOnly));
    let mut stream = handshake(socket, address, None, config, deadlines).await?;
    let pace = Pace::new(
        Step::Receive,
        deadlines.write,
        deadlines.whole,
        Instant::now(),
    );
    let farewell = async {
        stream.tls.write_all(&frame::PROBE).await?;
        stream.tls.shutdown().await?;
        // A socket that is closed before the server's ticket was read would be reset, and the farewell with it.
        let rest = async {
            while stream.tls.read(&mut [0; 64]).await? > 0 {}
            Ok(())
        };
        tokio::time::timeout(LINGER, rest).await.unwrap_or(Ok(()))
    };
    // The certificate has been seen and its key proven; how the server takes the farewell changes
    // nothing.
    drop(pace.keep(farewell).await);
    Ok(stream.certificate)
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientStream<S> {
    /// The certificate that the server presented, in DER.
    #[must_use]
    pub fn peer_certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Whether this goes on with an earlier session of a [`Connector`].
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        let (_, session) = self.tls.get_ref();
        session.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The DNS names that the server's certificate carries.
    #[must_use]
    pub fn dns_names(&self) -> Vec<String> {
        trust::dns_names(&self.certificate).unwrap_or_default()
    }

    /// Sends a request package and returns the reply package, of at most `max_reply` bytes.
    ///
    /// The answer may take as long as a compile takes. Once it has begun, it must keep coming.
    pub async fn exchange(
        self,
        request_zip: &[u8],
        max_reply: u64,
    ) -> Result<Vec<u8>, ExchangeError> {
        self.converse(request_zip, max_reply, Hearing::none()).await
    }

    /// The same for a request that asks for notices. They go to `hear` as they come. A server may send a few at
    /// once, and about one a second.
    pub async fn exchange_hearing(
        self,
        request_zip: &[u8],
        max_reply: u64,
        hear: impl FnMut(Notice),
    ) -> Result<Vec<u8>, ExchangeError> {
        self.converse(request_zip, max_reply, Hearing::new(hear))
            .await
    }

    async fn converse<H: FnMut(Notice)>(
        mut self,
        request_zip: &[u8],
        max_reply: u64,
        hearing: Hearing<H>,
    ) -> Result<Vec<u8>, ExchangeError> {
        let header = frame::header(request_zip)?;
        let sent = self.send(&header, request_zip).await;
        if let Err(Interrupted::Late(late)) = sent {
            return Err(late.into());
        }
        // A server may answer and close before it has read everything: it refused. Its reason may
        // be there even though sending failed.
        match (self.receive(max_reply, hearing).await, sent) {
            (Ok(reply), _) if !reply.is_empty() => Ok(reply),
            (_, Err(Interrupted::Failed(error))) => Err(broken(error)),
            (received, _) => received,
        }
    }

    async fn send(&mut self, header: &[u8], request_zip: &[u8]) -> Result<(), Interrupted> {
        let Deadlines { write, whole, .. } = self.deadlines;
        let pace = Pace::new(Step::Receive, write, whole, Instant::now());
        pace.keep(self.tls.write_all(header)).await?;
        for chunk in request_zip.chunks(CHUNK) {
            pace.keep(self.tls.write_all(chunk)).await?;
        }
        pace.keep(self.tls.flush()).await
    }

    async fn receive<H: FnMut(Notice)>(
        &mut self,
        max_reply: u64,
        mut hearing: Hearing<H>,
    ) -> Result<Vec<u8>, ExchangeError> {
        let Deadlines {
            read: idle, whole, ..
        } = self.deadlines;
        let mut buffer = vec![0; CHUNK];
        let mut reply = Vec::new();
        // Nobody knows how long a compile takes, but what has begun to arrive must keep coming.
        let mut pace: Option<Pace> = None;
        loop {
            let reading = self.tls.read(&mut buffer);
            let read = match &pace {
                Some(pace) => pace.keep(reading).await,
                None => reading.await.map_err(Interrupted::Failed),
            };
            match read {
                Ok(0) => return Ok(hearing.end(reply)),
                Ok(count) => reply.extend(hearing.pass(&buffer[..count])?),
                // Servers may just close; whether the package is whole shows when it is unpacked.
                Err(Interrupted::Failed(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(hearing.end(reply));
                }
                Err(Interrupted::Failed(error)) => return Err(broken(error)),
                Err(Interrupted::Late(late)) => return Err(late.into()),
            }
            if reply.len() as u64 > max_reply {
                return Err(ExchangeError::ReplyTooLong { limit: max_reply });
            }
            pace = match reply.is_empty() && !hearing.is_within() {
                true => None,
                false => {
                    let begun = || Pace::new(Step::Send, idle, whole, Instant::now());
                    Some(pace.unwrap_or_else(begun))
                }
            };
        }
    }
}

/// What is read or written at once: four TLS records.
const CHUNK: usize = 64 << 10;

/// An answer is waited for without a deadline, so a server whose host has vanished must be found out
/// otherwise: after five minutes of silence from its kernel.
fn keepalive() -> TcpKeepalive {
    let minute = Duration::from_secs(60);
    TcpKeepalive::new()
        .with_time(minute)
        .with_interval(minute)
        .with_retries(4)
}

async fn reach(address: SocketAddr, deadlines: &Deadlines) -> Result<TcpStream, ConnectError> {
    let limit = deadlines.handshake;
    let pace = Pace::new(Step::Connect, limit, limit, Instant::now());
    let connecting = async {
        let socket = TcpStream::connect(address).await?;
        // A request is sent in a few pieces and then waited for; holding one back until the one
        // before it is acknowledged would only add to the wait.
        socket.set_nodelay(true)?;
        SockRef::from(&socket).set_tcp_keepalive(&keepalive())?;
        Ok(socket)
    };
    pace.keep(connecting)
        .await
        .map_err(|interrupted| match interrupted {
            Interrupted::Late(late) => late.into(),
            Interrupted::Failed(source) => ConnectError::Unreachable { address, source },
        })
}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    address: SocketAddr,
    name: Option<&str>,
    config: Arc<ClientConfig>,
    deadlines: &Deadlines,
) -> Result<ClientStream<S>, ConnectError> {
    let connector = TlsConnector::from(config);
    let limit = deadlines.handshake;
    let pace = Pace::new(Step::Handshake, limit, limit, Instant::now());
    let tls = pace
        .keep(connector.connect(server_name(address, name), stream))
        .await;
    let tls = tls.map_err(|interrupted| match interrupted {
        Interrupted::Late(late) => late.into(),
        Interrupted::Failed(error) => why_no_handshake(address, error),
    })?;
    let (_, session) = tls.get_ref();
    let chain = session.peer_certificates().unwrap_or_default();
    let certificate = chain
        .first()
        .expect("a handshake ends with the server's certificate")
        .to_vec();
    Ok(ClientStream {
        tls,
        certificate,
        deadlines: *deadlines,
    })
}

fn config(trust: Trust) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .expect("our provider has suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(Verifier::new(trust))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// A name that DNS could not hold, such as one with an underscore, is not told to the server.
fn server_name(address: SocketAddr, name: Option<&str>) -> ServerName<'static> {
    let named = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
    named.unwrap_or_else(|| ServerName::IpAddress(address.ip().into()))
}

fn why_no_handshake(address: SocketAddr, error: io::Error) -> ConnectError {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(reason)) => match reason {
            CertificateError::UnknownIssuer => ConnectError::Untrusted(address),
            CertificateError::Expired => ConnectError::Expired(address),
            CertificateError::NotValidYet => ConnectError::NotYetValid(address),
            _ => ConnectError::Handshake {
                address,
                source: error,
            },
        },
        _ if is_reset(&error) => ConnectError::Reset(address),
        _ => ConnectError::Handshake {
            address,
            source: error,
        },
    }
}

fn broken(error: io::Error) -> ExchangeError {
    match is_reset(&error) {
        true => ExchangeError::Reset,
        false => ExchangeError::Io(error),
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// How long a server may take to end a connection on which nothing was asked.
const LINGER: Duration = Duration::from_secs(1);
/// Servers whose sessions a [`Connector`] keeps.
const MOST_SESSIONS: usize = 8;
