//! The conversation with a running signer.
//!
//! One task owns the socket: it asks one question, waits for its answer, and asks the next. Whoever stops
//! waiting for an answer does not disturb the order.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use stap_protocol::signing::messages::{FromSigner, Keys, MAX_FRAME, Order, Signed, ToSigner};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;

/// Asks the signer.
#[derive(Clone, Debug)]
pub struct Signer {
    questions: mpsc::Sender<Question>,
}

/// The signer does not answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signer is gone")]
pub struct SignerGone;

#[derive(Debug)]
struct Question {
    message: ToSigner,
    answer: oneshot::Sender<FromSigner>,
}

impl Signer {
    /// Makes the one who asks and the task that serves him. The task ends with the reason why the signer
    /// cannot be used any more; when `stop` is cancelled it closes the socket, which ends the signer.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub fn connect(
        socket: UnixStream,
        stop: CancellationToken,
    ) -> io::Result<(Self, impl Future<Output = io::Error> + Send)> {
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UnixStream::from_std(socket)?;
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(MAX_FRAME)
            .new_codec();
        let mut frames = Framed::new(socket, codec);
        let (sender, mut questions) = mpsc::channel::<Question>(WAITING);
        let task = async move {
            loop {
                let next = tokio::select! {
                    next = questions.recv() => next,
                    // An end between two questions is told at once, and not when somebody asks.
                    said = frames.next() => return unasked(said),
                    () = stop.cancelled() => None,
                };
                let Some(Question { message, answer }) = next else {
                    return io::Error::other("the server stops");
                };
                match timeout(PATIENCE, exchange(&mut frames, &message)).await {
                    // Whoever asked may have left.
                    Ok(Ok(said)) => drop(answer.send(said)),
                    Ok(Err(error)) => return error,
                    Err(_elapsed) => return io::Error::other("it does not answer"),
                }
            }
        };
        Ok((Self { questions: sender }, task))
    }

    /// The keys that the signer could use now.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn keys(&self) -> Result<Keys, SignerGone> {
        match self.ask(ToSigner::ListKeys).await? {
            FromSigner::Keys(keys) => Ok(keys),
            _ => Err(SignerGone),
        }
    }

    /// Has a module signed; the inner error says why not.
    ///
    /// # Errors
    /// When the signer is gone.
    pub async fn sign(&self, order: Order) -> Result<Result<Signed, String>, SignerGone> {
        match self.ask(ToSigner::Sign(Box::new(order))).await? {
            FromSigner::Signed(signed) => Ok(Ok(*signed)),
            FromSigner::Refused { reason } => Ok(Err(reason)),
            _ => Err(SignerGone),
        }
    }

    /// Tells of changes among the keys, until nobody listens or the signer is gone.
    pub async fn watch_keys(self, known: watch::Sender<Keys>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !known.is_closed() {
            ticks.tick().await;
            let Ok(keys) = self.keys().await else { return };
            known.send_if_modified(|known| {
                let changed = *known != keys;
                *known = keys;
                changed
            });
        }
    }

    async fn ask(&self, message: ToSigner) -> Result<FromSigner, SignerGone> {
        let (answer, said) = oneshot::channel();
        let question = Question { message, answer };
        self.questions
            .send(question)
            .await
            .map_err(|_closed| SignerGone)?;
        said.await.map_err(|_dropped| SignerGone)
    }
}

type Frames = Framed<tokio::net::UnixStream, LengthDelimitedCodec>;

async fn exchange(frames: &mut Frames, message: &ToSigner) -> io::Result<FromSigner> {
    let message = postcard::to_stdvec(message).map_err(io::Error::other)?;
    frames.send(Bytes::from(message)).await?;
    let frame = frames.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
    postcard::from_bytes(&frame).map_err(io::Error::other)
}

/// Why what came without a question ends the conversation.
fn unasked(said: Option<io::Result<BytesMut>>) -> io::Error {
    match said {
        None => io::ErrorKind::UnexpectedEof.into(),
        Some(Err(error)) => error,
        Some(Ok(_)) => io::Error::other("it speaks before it is asked"),
    }
}

/// Questions that may wait; a signature takes milliseconds.
const WAITING: usize = 64;
/// How long a signature may take on a very busy host.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the keys are looked at, so that a new one is announced.
const LOOK: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn the_signer_s_end_is_noticed_although_nobody_asks() {
        let (ours, signers) = UnixStream::pair().unwrap();
        let (_signer, link) = Signer::connect(ours, CancellationToken::new()).unwrap();
        drop(signers);
        assert_eq!(link.await.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_signer_that_speaks_unasked_is_not_listened_to() {
        let (ours, mut signers) = UnixStream::pair().unwrap();
        let (_signer, link) = Signer::connect(ours, CancellationToken::new()).unwrap();
        signers.write_all(&[0, 0, 0, 1, 0]).unwrap();
        assert_eq!(link.await.to_string(), "it speaks before it is asked");
    }
}
