//! From a package to a reply, believing nothing.

use super::{InvalidReply, Origin, Parts, Reply};
use crate::archive::{self, ArchiveError, ArchiveLimits, Entry, Kind};
use crate::job::OutputFile;
use crate::path::{FileName, PathError};
use crate::text;
use crate::version::ProtocolVersion;

/// What a reply may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Bytes of the package; the transport stops reading there.
    pub compressed: u64,
    /// Bytes of all members, unpacked.
    pub unpacked: u64,
    /// Members, directories included. A stock server sends its whole build directory, about forty.
    pub entries: usize,
}

impl ReplyLimits {
    /// For the reply to a request for several targets.
    #[must_use]
    pub fn for_several() -> Self {
        Self {
            entries: 4096,
            ..Self::default()
        }
    }
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self {
            compressed: 128 << 20,
            unpacked: 512 << 20,
            entries: 1000,
        }
    }
}

/// Why bytes are not a reply. In each case nothing of it is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The server closed the connection without a word.
    #[error("the server's reply is empty; it may have refused the request without saying why")]
    Empty,
    /// The package is longer than allowed.
    #[error("the server's reply is {size} bytes long and the limit is {limit}")]
    TooLong {
        /// Its length.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The package is not an archive that we read.
    #[error("Cannot unpack server response: {0}")]
    Archive(#[from] ArchiveError),
    /// `rc`, `stdout` or `stderr` is not there. A stock server that does not serve the target
    /// answers so.
    #[error(
        "the server's reply is incomplete: {0} is missing; the server may not serve this kernel"
    )]
    Missing(&'static str),
    /// A member that should be a file is a directory, or the other way round.
    #[error("the server's reply is malformed: {0} is not a regular file")]
    NotAFile(String),
    /// A member at the top that no server has a reason to send.
    #[error("the server's reply contains {0}, which does not belong there")]
    Unexpected(String),
    /// Two directories of results.
    #[error("the server's reply contains two directories of results: {0} and {1}")]
    SeveralResultDirectories(String, String),
    /// A reply for one of several targets that does not say for which.
    #[error("the server's reply does not say which target its part {0} is for")]
    NoTarget(String),
    /// The status is no number.
    #[error("the server's reply is malformed: its rc is '{0}', which is not a number")]
    BadStatus(String),
    /// A result whose name is not accepted.
    #[error("the server's reply contains a result with a name that is not accepted: {0}")]
    Name(PathError),
    /// The results contradict each other.
    #[error("the server's reply is not accepted: {0}")]
    Invalid(#[from] InvalidReply),
}

pub(super) fn decode(bytes: &[u8], limits: &ReplyLimits) -> Result<Reply, ReplyError> {
    let mut members = Members::default();
    for entry in unpacked(bytes, limits)? {
        members.take(entry)?;
    }
    Ok(Reply::new(members.into_parts()?)?)
}

pub(super) fn unpacked(bytes: &[u8], limits: &ReplyLimits) -> Result<Vec<Entry>, ReplyError> {
    let size = bytes.len() as u64;
    if size == 0 {
        return Err(ReplyError::Empty);
    }
    if size > limits.compressed {
        return Err(ReplyError::TooLong {
            size,
            limit: limits.compressed,
        });
    }
    let archive_limits = ArchiveLimits {
        unpacked: limits.unpacked,
        entries: limits.entries,
    };
    Ok(archive::read(bytes, &archive_limits)?)
}

/// The members that a reply may have.
#[derive(Debug, Default)]
pub(super) struct Members {
    version: Option<Vec<u8>>,
    rc: Option<Vec<u8>>,
    stdout: Option<Vec<u8>>,
    stderr: Option<Vec<u8>>,
    signing_key: Option<Vec<u8>>,
    store: Option<Vec<u8>>,
    results: Option<Vec<u8>>,
    files: Vec<OutputFile>,
}

impl Members {
    pub(super) fn take(&mut self, entry: Entry) -> Result<(), ReplyError> {
        let path = entry.path.clone();
        let mut components = path.components();
        let top = components.next().unwrap_or_default();
        let inside: Vec<_> = components.collect();
        match (top, inside.as_slice()) {
            (b"version", []) => self.version = Some(file(entry)?),
            (b"rc", []) => self.rc = Some(file(entry)?),
            (b"stdout", []) => self.stdout = Some(file(entry)?),
            (b"stderr", []) => self.stderr = Some(file(entry)?),
            (b"signing_key.x509", []) => self.signing_key = Some(file(entry)?),
            (b"store", []) => self.store = Some(file(entry)?),
            // Servers before 1.6 put this module for old kernels here; we have no use for it.
            (b"uprobes.ko" | b"uprobes.ko.sgn", []) => drop(file(entry)?),
            (top, inside) if is_result_directory(top) => self.take_result(entry, top, inside)?,
            _ => return Err(ReplyError::Unexpected(entry.path.to_string())),
        }
        Ok(())
    }

    /// Results lie directly in their directory. What is deeper comes from the server's build and is
    /// of no use here.
    fn take_result(
        &mut self,
        entry: Entry,
        top: &[u8],
        inside: &[&[u8]],
    ) -> Result<(), ReplyError> {
        let known = self.results.get_or_insert_with(|| top.to_vec());
        if known != top {
            let (first, second) = (text::escape(known), text::escape(top));
            return Err(ReplyError::SeveralResultDirectories(first, second));
        }
        match (entry.kind, inside) {
            (Kind::File, []) => Err(ReplyError::NotAFile(entry.path.to_string())),
            (Kind::File, [name]) => {
                let name = FileName::new(*name).map_err(ReplyError::Name)?;
                self.files.push(OutputFile {
                    name,
                    content: entry.content,
                });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn into_parts(self) -> Result<Parts, ReplyError> {
        let rc = self.rc.ok_or(ReplyError::Missing("rc"))?;
        let version = self
            .version
            .and_then(|bytes| ProtocolVersion::parse_lenient(&bytes));
        Ok(Parts {
            version: version.unwrap_or(ProtocolVersion::OLDEST),
            rc: parse_status(&rc)?,
            stdout: self.stdout.ok_or(ReplyError::Missing("stdout"))?,
            stderr: self.stderr.ok_or(ReplyError::Missing("stderr"))?,
            files: self.files,
            signing_key: self.signing_key,
            origin: self.store.and_then(|word| Origin::of_word(&word)),
        })
    }
}

pub(super) fn file(entry: Entry) -> Result<Vec<u8>, ReplyError> {
    match entry.kind {
        Kind::File => Ok(entry.content),
        Kind::Directory => Err(ReplyError::NotAFile(entry.path.to_string())),
    }
}

/// `stap` and exactly six more bytes, as `mkdtemp` makes it.
fn is_result_directory(name: &[u8]) -> bool {
    name.len() == super::RESULTS.len() && name.starts_with(b"stap")
}

fn parse_status(bytes: &[u8]) -> Result<i32, ReplyError> {
    let text = std::str::from_utf8(bytes).ok().map(str::trim_ascii);
    let number = text
        .filter(|text| !text.starts_with('+'))
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| ReplyError::BadStatus(text::escape(bytes)))
}
