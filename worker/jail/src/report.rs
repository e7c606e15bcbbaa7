//! What the launcher says about a job on its status descriptor.
//!
//! Each event is one frame: a big-endian 32-bit length, then the event in postcard's encoding. The
//! stream is `Enforced`, then `Ended`; or it stops at the first `SetupFailed`, before any of the
//! job's code ran. `Lost`, or an end of the stream before either end, means that the jail itself was
//! killed; the job is dead then, and how it would have ended is not known.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::layer::HeldLayer;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Every layer of the plan holds; the next thing is the job itself.
    Enforced {
        /// The layers, in the order in which they were taken.
        layers: Vec<HeldLayer>,
    },
    /// The jail could not be built as planned; nothing of the job ran.
    SetupFailed {
        /// The rung of the ladder.
        rung: String,
        /// What failed, why, and what to do where we know.
        reason: String,
    },
    /// The job ended, and so did every process that it left behind.
    Ended {
        /// How its first process ended.
        end: JobEnd,
        /// What all of its processes used.
        usage: TreeUsage,
    },
    /// The process that watches the job died without saying how the job ended.
    Lost {
        /// How it died.
        reason: String,
    },
}

/// The end of the job's first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobEnd {
    /// It exited with this status.
    Exited(i32),
    /// It was killed by this signal.
    Signalled(i32),
}

/// What the processes of a job used, as the kernel counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeUsage {
    /// Time in user code.
    pub user: Duration,
    /// Time in the kernel on their behalf.
    pub system: Duration,
    /// The largest resident size of a single process, in bytes.
    pub largest_process: u64,
}

/// Why bytes are no event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// A frame that says it is longer than [`MAX_EVENT`].
    #[error("an event of {0} bytes was announced; the most is {MAX_EVENT}")]
    TooLarge(usize),
    /// A frame that holds no event of this version.
    #[error("an event cannot be decoded; worker and stap-jail must come from the same build")]
    Undecodable(#[source] postcard::Error),
}

/// The longest event, in bytes without its length.
pub const MAX_EVENT: usize = 16 << 10;
/// Reasons are cut to this many bytes, so that every event fits.
pub const MAX_REASON: usize = 4 << 10;

const HEADER: usize = size_of::<u32>();

impl Event {
    /// The event as one frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_stdvec(self).expect("events hold only plain data");
        let length = u32::try_from(body.len()).expect("reasons and layers are bounded");
        [length.to_be_bytes().as_slice(), &body].concat()
    }

    /// Reads the body of one frame.
    pub fn decode(body: &[u8]) -> Result<Self, EventError> {
        if body.len() > MAX_EVENT {
            return Err(EventError::TooLarge(body.len()));
        }
        postcard::from_bytes(body).map_err(EventError::Undecodable)
    }

    /// Takes the first whole frame off `bytes`, or returns `None` until there is one.
    pub fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, EventError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*header) as usize;
        if length > MAX_EVENT {
            return Err(EventError::TooLarge(length));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let event = Self::decode(body)?;
        bytes.drain(..HEADER + length);
        Ok(Some(event))
    }

    /// A failed set-up, its reason cut to [`MAX_REASON`].
    #[must_use]
    pub fn setup_failed(rung: &str, reason: &str) -> Self {
        let end = reason.floor_char_boundary(MAX_REASON);
        Self::SetupFailed {
            rung: rung.to_owned(),
            reason: reason[..end].to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_of_the_stream_as_they_went_in() {
        let events = [
            Event::Enforced { layers: Vec::new() },
            Event::setup_failed("mount", "a reason"),
            Event::Ended {
                end: JobEnd::Signalled(9),
                usage: TreeUsage::default(),
            },
        ];
        let mut stream = Vec::new();
        let mut seen = Vec::new();
        for byte in events.iter().flat_map(Event::encode) {
            stream.push(byte);
            seen.extend(Event::take(&mut stream).unwrap());
        }
        assert_eq!(seen, events);
        assert!(stream.is_empty());
    }

    #[test]
    fn a_length_is_judged_before_the_body_is_waited_for() {
        let mut stream = u32::MAX.to_be_bytes().to_vec();
        assert!(matches!(
            Event::take(&mut stream),
            Err(EventError::TooLarge(_))
        ));
    }

    #[test]
    fn the_longest_reason_fits_an_event() {
        let event = Event::setup_failed("mount", &"\u{20ac}".repeat(MAX_REASON));
        assert!(event.encode().len() <= MAX_EVENT);
    }
}
