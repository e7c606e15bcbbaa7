//! Why an archive is not read, one variant per reason.

use crate::archive::{MAX_RATIO, RATIO_MATTERS_FROM};
use crate::path::PathError;

/// Why an archive is not read. Names are already escaped for display.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// No end record anywhere near the end.
    #[error("this is not a zip archive, or its end is missing")]
    NotAnArchive,
    /// An end record, and then more bytes: a comment, another archive, anything.
    #[error("there are {0} bytes behind the end of the zip archive")]
    TrailingBytes(usize),
    /// The archive uses the 64-bit extensions, which nothing below 4 GiB needs.
    #[error("64-bit zip archives are not accepted")]
    Zip64,
    /// The archive claims to be a part of a set.
    #[error("zip archives in several parts are not accepted")]
    SeveralParts,
    /// The directory is not where the end record says, or does not reach up to it.
    #[error("the directory of the zip archive is not where the archive says")]
    MisplacedDirectory,
    /// The end record announces more members than allowed. Judged before the directory is read.
    #[error("the zip archive has {announced} members and the limit is {limit}")]
    TooManyEntries {
        /// Members announced.
        announced: usize,
        /// Members allowed.
        limit: usize,
    },
    /// The members would unpack to more than allowed. Judged before any of them is unpacked.
    #[error("the zip archive unpacks to {unpacked} bytes and the limit is {limit}")]
    TooLarge {
        /// Bytes announced.
        unpacked: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A member is compressed so well that it must be a bomb.
    #[error(
        "member {name} is {unpacked} bytes made of {packed}; above {RATIO_MATTERS_FROM} bytes a \
         ratio of more than {MAX_RATIO} is not accepted"
    )]
    Bomb {
        /// The member.
        name: String,
        /// Its announced size.
        unpacked: u64,
        /// Its compressed size.
        packed: u64,
    },
    /// The directory ends in the middle of an entry, or holds something else.
    #[error("entry {0} of the zip archive's directory is damaged")]
    DamagedDirectory(usize),
    /// A member does not begin where the one before it ended.
    #[error("member {0} is not where the directory of the zip archive says")]
    MisplacedMember(String),
    /// A member's own header says something else than the directory.
    #[error("member {0} and the directory of the zip archive contradict each other")]
    Contradiction(String),
    /// A member's name cannot be used as a path.
    #[error("member {name} has a name that is not accepted: {reason}")]
    Name {
        /// The member.
        name: String,
        /// What is wrong with its name.
        reason: PathError,
    },
    /// Backslashes in an archive whose maker uses them between directories.
    #[error("member {0} has a name with a backslash, which could be meant as a slash")]
    Backslash(String),
    /// A symbolic link.
    #[error("member {0} is a symbolic link; only regular files and directories are accepted")]
    Symlink(String),
    /// A device, a pipe, a socket, a directory with content, or a directory that is called a file.
    #[error("member {0} is neither a regular file nor a directory")]
    Special(String),
    /// Encrypted.
    #[error("member {0} is encrypted")]
    Encrypted(String),
    /// Compressed otherwise than by storing or deflating.
    #[error(
        "member {name} is compressed by method {method}; only 0 (stored) and 8 (deflated) are accepted"
    )]
    Method {
        /// The member.
        name: String,
        /// The number of its compression method.
        method: u16,
    },
    /// Two members of the same name.
    #[error("member {0} is there twice")]
    Duplicate(String),
    /// A name is used both for a file and for a directory.
    #[error("member {0} is used both as a file and as a directory")]
    FileAsDirectory(String),
    /// A member unpacks to more, or less, than the directory says.
    #[error(
        "member {name} does not unpack to the {announced} bytes that the zip archive announces"
    )]
    LyingSize {
        /// The member.
        name: String,
        /// What was announced.
        announced: u64,
    },
    /// A member's compressed data is not valid, or its checksum differs.
    #[error("member {0} is damaged")]
    DamagedMember(String),
}
