//! The server's end of a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use stap_protocol::frame::{FrameError, HEADER, Progress, RequestFrame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::deadlines::{Deadlines, Interrupted, Late, Pace, Step};
use crate::provider::{VERSIONS, provider};
use crate::trust;

/// Makes connections out of accepted sockets.
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct ServerStream<S> {
    tls: TlsStream<S>,
    deadlines: Deadlines,
    accepted: Instant,
    /// How much arrived behind the request.
    surplus: usize,
    /// What is still to be sent of lines that the client was begun to be told.
    unsent: Vec<u8>,
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing: it wanted to see the certificate. Nothing is replied.
    ProbeOnly,
    /// A request package.
    Request(Vec<u8>),
}

/// Why a connection came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The server's certificate cannot be used.
    #[error("the server's certificate cannot be read: {0}")]
    Certificate(#[from] trust::BadCertificate),
    /// The server's key cannot be used.
    #[error("the server's private key cannot be used: {0}")]
    PrivateKey(#[source] rustls::Error),
    /// The key does not belong to the certificate.
    #[error("the server's private key does not belong to its certificate")]
    KeyMismatch,
    /// There is no key for the tickets of sessions.
    #[error("no key can be made for session tickets: {0}")]
    Ticketer(#[source] rustls::Error),
    /// The handshake failed: the client speaks something else, or does not trust us.
    #[error("the handshake failed: {0}")]
    Handshake(#[source] io::Error),
    /// The client was too slow.
    #[error(transparent)]
    Late(#[from] Late),
    /// The client announced a request that is not accepted. It can still be told so.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The client closed the connection without asking for anything.
    #[error("the client closed the connection without a request")]
    Closed,
    /// The client closed the connection in the middle of a request.
    #[error("the client closed the connection {missing} bytes before the end of its request")]
    Truncated {
        /// What was still expected.
        missing: usize,
    },
    /// There is no room for what the client sends. It can still be told so.
    #[error("there is no room for the request")]
    NoRoom,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[source] io::Error),
}

impl From<Interrupted> for TransportError {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Late(late) => Self::Late(late),
            Interrupted::Failed(error) => Self::Io(error),
        }
    }
}

impl Acceptor {
    /// Serves under this certificate.
    pub fn new(
        certificate_der: Vec<u8>,
        private_key_pkcs8_der: Vec<u8>,
    ) -> Result<Self, TransportError> {
        let provider = provider();
        let public_key = trust::public_key(&certificate_der)?;
        let private_key = PrivatePkcs8KeyDer::from(private_key_pkcs8_der).into();
        let private_key = provider
            .key_provider
            .load_private_key(private_key)
            .map_err(TransportError::PrivateKey)?;
        if private_key
            .public_key()
            .is_some_and(|key| key.as_ref() != public_key)
        {
            return Err(TransportError::KeyMismatch);
        }
        let chain = vec![CertificateDer::from(certificate_der)];
        let identity = SingleCertAndKey::from(CertifiedKey::new(chain, private_key));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(VERSIONS)
            .expect("our provider has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(identity));
        // All that has to be remembered of a session is in the ticket, which the client keeps.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(TransportError::Ticketer)?;
        config.send_tls13_tickets = 1;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Does the handshake.
    pub async fn accept<S>(
        &self,
        stream: S,
        deadlines: &Deadlines,
    ) -> Result<ServerStream<S>, TransportError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = Instant::now();
        let handshake = TlsAcceptor::from(Arc::clone(&self.config))
            .accept(stream)
            .into_fallible();
        let limit = deadlines.handshake.min(deadlines.whole);
        match tokio::time::timeout(limit, handshake).await {
            Ok(Ok(tls)) => Ok(ServerStream {
                tls,
                deadlines: *deadlines,
                accepted,
                surplus: 0,
                unsent: Vec::new(),
            }),
            Ok(Err((error, stream))) => {
                drain(stream, AFTER_FAILED_HANDSHAKE).await;
                Err(TransportError::Handshake(error))
            }
            Err(_elapsed) => Err(Late {
                step: Step::Handshake,
                limit,
            }
            .into()),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerStream<S> {
    /// Reads one request of at most `max` bytes. After an error the client can still be replied to.
    pub async fn read_request(&mut self, max: u32) -> Result<Received, TransportError> {
        self.read_request_within(max, |_bytes| true).await
    }

    /// The same, as long as `room` has room for the bytes that have arrived.
    pub async fn read_request_within(
        &mut self,
        max: u32,
        mut room: impl FnMut(usize) -> bool,
    ) -> Result<Received, TransportError> {
        let pace = Pace::new(
            Step::Send,
            self.deadlines.read,
            self.deadlines.whole,
            self.accepted,
        );
        let mut frame = RequestFrame::new(max);
        // Thousands may be silent in front of a body, so they get no buffer for one.
        let mut header = [0; HEADER];
        let mut body = Vec::new();
        while frame.needs() > 0 {
            let wanted = frame.needs().min(READ);
            let buffer = match header.get_mut(..wanted) {
                Some(header) => header,
                None => {
                    body.resize(body.len().max(wanted), 0);
                    &mut body[..wanted]
                }
            };
            let read = pace.keep(self.tls.read(buffer)).await;
            match end_without_notice(read)? {
                0 => return Err(cut_short(&frame)),
                count if !room(count) => return Err(TransportError::NoRoom),
                count => frame.feed(&buffer[..count])?,
            };
        }
        match frame.progress() {
            Progress::Request(request) => Ok(Received::Request(request)),
            Progress::Probe | Progress::Needs(_) => Ok(Received::ProbeOnly),
        }
    }

    /// Waits until the client has gone away, while its job runs. What it still sends is thrown away,
    /// up to a bound: a client that goes on talking is not waiting for an answer. Can be dropped and
    /// called again.
    pub async fn gone(&mut self) {
        silence(&mut self.tls, &mut self.surplus).await;
    }

    /// The same, and meanwhile sends what `next` gives in front of the reply. It is asked again only when the client
    /// has taken what it was sent, so a client that reads nothing costs one of these pieces, and nobody
    /// waits for it.
    pub async fn gone_while_told<F>(&mut self, next: impl FnMut() -> F)
    where
        F: Future<Output = Vec<u8>>,
    {
        let (mut reader, mut writer) = tokio::io::split(&mut self.tls);
        tokio::select! {
            () = silence(&mut reader, &mut self.surplus) => {}
            () = tell(&mut writer, &mut self.unsent, next) => {}
        }
    }

    /// Sends the reply, ends the stream and waits, within bounds, for the client to do the same.
    ///
    /// Closing a socket while the client's bytes lie unread in it makes the kernel reset the
    /// connection, which can destroy the reply on its way, and makes a stock client send its whole
    /// request again, five times. So what the client still sends is read and thrown away.
    pub async fn reply(mut self, package: &[u8]) -> Result<(), TransportError> {
        let Deadlines { write, whole, .. } = self.deadlines;
        let pace = Pace::new(Step::Receive, write, whole, Instant::now());
        pace.keep(self.tls.write_all(&self.unsent)).await?;
        for chunk in package.chunks(CHUNK) {
            pace.keep(self.tls.write_all(chunk)).await?;
        }
        pace.keep(self.tls.flush()).await?;
        self.close().await
    }

    /// Ends the stream without a reply, as after a probe.
    pub async fn close(mut self) -> Result<(), TransportError> {
        let Deadlines {
            read, write, whole, ..
        } = self.deadlines;
        let pace = Pace::new(Step::Receive, write, whole, Instant::now());
        pace.keep(self.tls.shutdown()).await?;
        let (stream, _session) = self.tls.into_inner();
        drain(
            stream,
            Drain {
                bytes: MAX_DRAINED,
                idle: read,
                whole,
            },
        )
        .await;
        Ok(())
    }
}

/// Reads until the client ends its stream, or has sent more than it may.
async fn silence(stream: &mut (impl AsyncRead + Unpin), surplus: &mut usize) {
    let mut buffer = [0; WORD];
    while *surplus < MAX_SURPLUS {
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => *surplus += count,
            Ok(0) | Err(_) => return,
        }
    }
}

/// Sends piece after piece until the connection breaks. It can be dropped anywhere: what the connection has not taken
/// is in `unsent`.
async fn tell<F>(
    stream: &mut (impl AsyncWrite + Unpin),
    unsent: &mut Vec<u8>,
    mut next: impl FnMut() -> F,
) where
    F: Future<Output = Vec<u8>>,
{
    loop {
        while !unsent.is_empty() {
            match stream.write(unsent).await {
                Ok(count @ 1..) => drop(unsent.drain(..count)),
                Ok(0) | Err(_) => return,
            }
        }
        if stream.flush().await.is_err() {
            return;
        }
        *unsent = next().await;
    }
}

/// A client that just closes its socket, as stock ones may, has ended its stream as well. With our ticket unread in it,
/// that is a reset.
fn end_without_notice(read: Result<usize, Interrupted>) -> Result<usize, Interrupted> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match read {
        Err(Interrupted::Failed(error))
            if matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe) =>
        {
            Ok(0)
        }
        other => other,
    }
}

fn cut_short(frame: &RequestFrame) -> TransportError {
    match (frame.is_untouched(), frame.needs()) {
        (true, _) => TransportError::Closed,
        (false, missing) => TransportError::Truncated { missing },
    }
}

/// How much is read from a client that has nothing more to say to us.
#[derive(Clone, Copy, Debug)]
struct Drain {
    bytes: usize,
    idle: Duration,
    whole: Duration,
}

/// Stock clients send nothing behind their request.
const MAX_SURPLUS: usize = 64 << 10;

/// A client with a request above our limit sends all of it before it reads why it is refused.
const MAX_DRAINED: usize = 256 << 20;

/// Enough for a hello and an alert of any length.
const AFTER_FAILED_HANDSHAKE: Drain = Drain {
    bytes: 64 << 10,
    idle: Duration::from_secs(1),
    whole: Duration::from_secs(2),
};

/// What is written at once: four TLS records.
const CHUNK: usize = 64 << 10;

/// What is read at once: one TLS record.
const READ: usize = 16 << 10;

/// What is read at once of a client that should be silent.
const WORD: usize = 512;

async fn drain<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bounds: Drain) {
    let pace = Pace::new(Step::Send, bounds.idle, bounds.whole, Instant::now());
    if pace.keep(stream.shutdown()).await.is_err() {
        return;
    }
    let mut buffer = vec![0; READ];
    let mut left = bounds.bytes;
    while left > 0 {
        match pace.keep(stream.read(&mut buffer)).await {
            Ok(count @ 1..) => left = left.saturating_sub(count),
            Ok(0) | Err(_) => return,
        }
    }
}
