//! The one shape of zip archive that we read and write.
//!
//! Requests and replies are zip archives, and both come from strangers. General readers are generous:
//! they look for a directory among junk, follow 64-bit extensions, let extra fields rename entries and
//! let one of two equal names win. Every such kindness is a place where two readers disagree about
//! what an archive holds. So this reader accepts only what `zip -r` and the writer beside it make:
//! entries one after another from the first byte, then their directory in the same order, then the
//! end record, and nothing else. Everything that the directory claims is judged before memory is
//! spent on it, and held against what is really there while it is unpacked.

mod error;
mod format;
mod names;
mod read;
mod write;

pub use error::ArchiveError;
pub(crate) use read::{Archive, Entry, Kind};
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
