//! How long each step of a connection may take.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// How long a peer may take. A peer that sends one byte at a time stays within `read` for ever, which
/// is what `whole` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For the handshake; on the client's side also, separately, for reaching the server.
    pub handshake: Duration,
    /// Between two arrivals of bytes.
    pub read: Duration,
    /// Between two departures of bytes.
    pub write: Duration,
    /// For a whole request from the first byte of the handshake to the last of its body; and again
    /// for a whole reply from its first byte to its last. The time in between belongs to the
    /// compile.
    pub whole: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            read: Duration::from_secs(10),
            write: Duration::from_secs(10),
            whole: Duration::from_secs(120),
        }
    }
}

/// What a peer was too slow at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Accepting a connection.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// Sending us bytes.
    Send,
    /// Taking our bytes.
    Receive,
}

/// A peer was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side was too slow: {step} took longer than {limit:?}")]
pub struct Late {
    /// At what.
    pub step: Step,
    /// What it was given.
    pub limit: Duration,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connect => "connecting",
            Self::Handshake => "the handshake",
            Self::Send => "sending",
            Self::Receive => "receiving",
        })
    }
}

/// An input or output operation that did not come to its end.
#[derive(Debug)]
pub(crate) enum Interrupted {
    Late(Late),
    Failed(io::Error),
}

/// Bounds each operation of one kind, and all of them together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    step: Step,
    each: Duration,
    whole: Duration,
    end: Instant,
}

impl Pace {
    /// Starts the clock for `whole` at `start`.
    pub(crate) fn new(step: Step, each: Duration, whole: Duration, start: Instant) -> Self {
        Self {
            step,
            each,
            whole,
            end: start + whole,
        }
    }

    /// Waits for `operation` as long as both bounds allow.
    pub(crate) async fn keep<T>(
        &self,
        operation: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Interrupted> {
        let idle = after(Instant::now(), self.each);
        match timeout_at(idle.min(self.end), operation).await {
            Ok(result) => result.map_err(Interrupted::Failed),
            Err(_elapsed) => {
                let limit = if idle < self.end {
                    self.each
                } else {
                    self.whole
                };
                Err(Interrupted::Late(Late {
                    step: self.step,
                    limit,
                }))
            }
        }
    }
}

/// A limit too long for the clock is as good as a year.
fn after(start: Instant, limit: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    start + limit.min(YEAR)
}
