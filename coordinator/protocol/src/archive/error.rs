//! Why an archive is not read, one variant per reason.

use zip::result::ZipError;

use crate::archive::{MAX_RATIO, RATIO_MATTERS_FROM};
use crate::path::PathError;
use crate::text;

/// Why an archive is not read. Names are already escaped for display.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Too short to be one.
    #[error("this is not a zip archive, or its end is missing")]
    NotAnArchive,
    /// The last bytes are no end record: a comment, another archive, anything may follow it, or it
    /// never was an archive.
    #[error("the last 22 bytes are not a zip archive's end record without a comment")]
    NoEndRecord,
    /// The archive uses the 64-bit extensions, which nothing below 4 GiB needs.
    #[error("64-bit zip archives are not accepted")]
    Zip64,
    /// The archive claims to be a part of a set.
    #[error("zip archives in several parts are not accepted")]
    SeveralParts,
    /// The directory is not where the end record says, or does not reach up to it.
    #[error("the directory of the zip archive is not where the archive says")]
    MisplacedDirectory,
    /// The directory, or what it says of the members, does not hold together.
    #[error("the zip archive is damaged or contradicts itself: {0}")]
    Unreadable(String),
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
        "member {name} is compressed by the method {method}; only Stored and Deflated are accepted"
    )]
    Method {
        /// The member.
        name: String,
        /// The name of its compression method, or its number.
        method: String,
    },
    /// Two members of the same name.
    #[error("two members of the zip archive have the same name")]
    Duplicate,
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
    #[error("member {name} is damaged: {reason}")]
    DamagedMember {
        /// The member.
        name: String,
        /// What the reader says.
        reason: String,
    },
}

impl ArchiveError {
    /// What the zip reader says may quote the archive, so it is escaped like everything foreign.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "handed to map_err, which gives the error away"
    )]
    pub(super) fn unreadable(error: ZipError) -> Self {
        Self::Unreadable(text::escape(error.to_string().as_bytes()))
    }
}
