//! Zip archives, read with suspicion.
//!
//! Requests and replies are zip archives, and both come from strangers. The `zip` crate does the
//! reading; what is added here is what a service needs that shares a host with its peers: every
//! announced number is judged before memory is spent on it and held against what is really there,
//! and archives on which two readers could disagree are refused rather than interpreted.

mod end_record;
mod error;
mod names;
mod read;
mod write;

pub use error::ArchiveError;
pub(crate) use read::{Entry, Kind, read};
pub(crate) use write::{Compression, Writer};

/// What an archive may cost to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArchiveLimits {
    /// Bytes of all members together, unpacked.
    pub(crate) unpacked: u64,
    /// Members, directories included.
    pub(crate) entries: usize,
}

/// How much better than its compressed form a member may be, when it is big enough to matter.
/// Scripts and C code shrink to a tenth; only bombs reach this.
pub(crate) const MAX_RATIO: u64 = 250;

/// Up to this size a member may compress as well as it likes.
pub(crate) const RATIO_MATTERS_FROM: u64 = 1 << 20;
