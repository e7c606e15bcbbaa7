//! The socket to the coordinator: whole messages in, whole messages out.

use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;

use futures_util::{SinkExt, StreamExt};
use rustix::process::PidfdFlags;
use stap_protocol::job::{FromWorker, MAX_FRAME, ToWorker};
use tokio::net::UnixStream;
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// The socket, before there is a runtime to wait on it.
#[derive(Debug)]
pub struct Unopened(StdUnixStream);

/// A conversation with the coordinator.
#[derive(Debug)]
pub struct Link {
    frames: Framed<UnixStream, LengthDelimitedCodec>,
}

/// Why there is no conversation.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Somebody typed the name of this program.
    #[error(
        "stap-worker is started by stap-serverd, which gives it a socket on descriptor {}; start \
         `stap-serverd` instead",
        crate::SOCKET
    )]
    NoSocket(#[source] io::Error),
    /// The socket broke.
    #[error("talking to the coordinator")]
    Broken(#[from] io::Error),
    /// A message of a length that no coordinator of this version sends.
    #[error("a message of {0} bytes is announced; all programs must come from the same build")]
    TooLong(u32),
    /// A message that is none of this version.
    #[error("a message cannot be read or written; all programs must come from the same build")]
    Language(#[from] postcard::Error),
}

impl Unopened {
    /// Takes the socket that the coordinator left on a descriptor with a fixed number.
    ///
    /// # Errors
    ///
    /// When there is no socket there.
    pub fn inherited() -> Result<Self, LinkError> {
        let socket = inherited(crate::SOCKET).map_err(LinkError::NoSocket)?;
        rustix::net::sockopt::socket_type(&socket)
            .map_err(|error| LinkError::NoSocket(error.into()))?;
        Ok(Self(StdUnixStream::from(socket)))
    }

    /// Waits for the first message; `None` when the coordinator is gone.
    ///
    /// # Errors
    ///
    /// When the socket broke or the message is none.
    pub fn first(&self) -> Result<Option<ToWorker>, LinkError> {
        let mut length = [0; 4];
        match (&self.0).read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let length = u32::from_be_bytes(length);
        if usize::try_from(length).is_ok_and(|length| length > MAX_FRAME) {
            return Err(LinkError::TooLong(length));
        }
        let mut frame = Vec::new();
        (&self.0).take(length.into()).read_to_end(&mut frame)?;
        Ok(Some(postcard::from_bytes(&frame)?))
    }

    /// Says the only thing that can be said so early, an answer after which there is no conversation.
    ///
    /// # Errors
    ///
    /// When the socket broke.
    pub fn answer(&self, answer: &FromWorker) -> Result<(), LinkError> {
        let frame = postcard::to_stdvec(answer)?;
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        (&self.0).write_all(&length.to_be_bytes())?;
        Ok((&self.0).write_all(&frame)?)
    }

    /// Begins the conversation.
    ///
    /// # Errors
    ///
    /// When there is no runtime.
    pub fn open(self) -> Result<Link, LinkError> {
        self.0.set_nonblocking(true)?;
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(MAX_FRAME)
            .new_codec();
        Ok(Link {
            frames: Framed::new(UnixStream::from_std(self.0)?, codec),
        })
    }
}

impl Link {
    /// Returns the next message; `None` when the coordinator is gone. Cancel-safe.
    ///
    /// # Errors
    ///
    /// When the socket broke or the message is none.
    pub async fn next(&mut self) -> Result<Option<ToWorker>, LinkError> {
        match self.frames.next().await {
            None => Ok(None),
            // A coordinator that dies with unread messages in its socket resets it.
            Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Some(frame) => Ok(Some(postcard::from_bytes(&frame?)?)),
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// When the socket broke.
    pub async fn send(&mut self, message: &FromWorker) -> Result<(), LinkError> {
        let frame = postcard::to_stdvec(message)?;
        Ok(self.frames.send(Bytes::from(frame)).await?)
    }
}

/// A descriptor of our own with the number that somebody else chose.
///
/// Asking the kernel for it through ourselves is the way to name a descriptor that is only a number
/// without any unsafe code. The original stays open; whoever starts programs puts something else in
/// its place.
fn inherited(number: i32) -> io::Result<OwnedFd> {
    let myself = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let flags = rustix::process::PidfdGetfdFlags::empty();
    Ok(rustix::process::pidfd_getfd(myself, number, flags)?)
}
