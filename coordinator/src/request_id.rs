//! The name of a request: what a user quotes and an operator searches for.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// `<start>-<number>`, for example `3fa2c1-17`; of one of several targets `3fa2c1-17.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    start: u64,
    number: u64,
    part: Option<usize>,
}

impl RequestId {
    /// The name of a part of the request.
    #[must_use]
    pub fn part(self, part: usize) -> Self {
        Self {
            part: Some(part),
            ..self
        }
    }
}

/// Gives out ids that no earlier start of the server has given out, as far as chance goes.
#[derive(Debug)]
pub struct RequestIds {
    start: u64,
    last: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        // The standard library's hasher is seeded by the system's randomness.
        Self {
            start: RandomState::new().hash_one(0_u8) & START_BITS,
            last: AtomicU64::new(0),
        }
    }
}

impl RequestIds {
    /// Returns a new id.
    pub fn next(&self) -> RequestId {
        RequestId {
            start: self.start,
            number: self.last.fetch_add(1, Ordering::Relaxed) + 1,
            part: None,
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:06x}-{}", self.start, self.number)?;
        match self.part {
            Some(part) => write!(formatter, ".{part}"),
            None => Ok(()),
        }
    }
}

/// Six hexadecimal digits: short enough to read out, enough to tell starts apart.
const START_BITS: u64 = 0xff_ffff;
