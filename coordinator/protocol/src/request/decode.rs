//! From a package to a request.

use std::collections::BTreeMap;

use super::keys::MachineOwnerKeys;
use super::sysinfo::{SysInfo, SysInfoError};
use super::{
    DIRECTORIES, InvalidRequest, MAX_ARGUMENTS, MAX_TARGETS, ORIGIN, PROGRESS, Parts, Request,
};
use crate::archive::{self, ArchiveError, ArchiveLimits, Entry, Kind};
use crate::frame::FrameError;
use crate::job::InputFile;
use crate::locale::Locale;
use crate::target::{TargetNameError, TargetPattern};
use crate::text;
use crate::version::ProtocolVersion;

/// What a request may cost. Stock servers stop at 5 kB compressed and 50 kB unpacked, which a dozen
/// tapset files exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the package (`--max-compressed-request`).
    pub compressed: u32,
    /// Bytes of all members, unpacked (`--max-request-size`).
    pub unpacked: u64,
    /// Members, directories included. The widest tapset directory in use, SystemTap's own, has
    /// about five hundred.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            compressed: 8 << 20,
            unpacked: 64 << 20,
            entries: 10_000,
        }
    }
}

/// Why bytes are not a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The package is longer than allowed, or than it could be.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The members would unpack to more than allowed.
    #[error(
        "Uncompressed request size of {unpacked} bytes is more than the limit of {limit} bytes \
         (server option --max-request-size)"
    )]
    TooLarge {
        /// Bytes announced.
        unpacked: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The package is not an archive that we read.
    #[error("the request package is not accepted: {0}")]
    Archive(ArchiveError),
    /// A member that must be a file is a directory.
    #[error("the request is malformed: {0} is a directory")]
    DirectoryInsteadOfFile(String),
    /// Nothing says what to build for.
    #[error("the request is malformed: it has no sysinfo, which says what to build for")]
    NoSysInfo,
    /// What to build for cannot be understood.
    #[error("the request is malformed: its sysinfo is not accepted: {0}")]
    SysInfo(#[from] SysInfoError),
    /// The names of several targets cannot be understood.
    #[error("the request is malformed: the target '{given}' is not accepted: {reason}")]
    Target {
        /// The line, escaped.
        given: String,
        /// What is wrong with it.
        reason: TargetNameError,
    },
    /// It is said that there are several targets, and none is named.
    #[error("the request is malformed: its list of targets is empty")]
    NoTargets,
    /// A gap in the numbered arguments, of which stock servers would silently drop the rest.
    #[error(
        "the request is malformed: argument {missing} is missing, but argument {present} is there"
    )]
    MissingArgument {
        /// The first that is missing.
        missing: usize,
        /// One that comes later.
        present: usize,
    },
    /// The parts do not make a request.
    #[error("the request is not accepted: {0}")]
    Invalid(#[from] InvalidRequest),
}

impl From<ArchiveError> for DecodeError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::TooLarge { unpacked, limit } => Self::TooLarge { unpacked, limit },
            other => Self::Archive(other),
        }
    }
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Request, DecodeError> {
    judge_package(bytes, limits.compressed)?;
    let archive_limits = ArchiveLimits {
        unpacked: limits.unpacked,
        entries: limits.entries,
    };
    let mut members = Members::default();
    for entry in archive::read(bytes, &archive_limits)? {
        members.take(entry)?;
    }
    Ok(Request::new(members.into_parts()?)?)
}

fn judge_package(bytes: &[u8], limit: u32) -> Result<(), DecodeError> {
    match u32::try_from(bytes.len()) {
        Ok(announced) if announced > limit => Err(FrameError::TooLarge { announced, limit }.into()),
        Ok(_) => Ok(()),
        Err(_) => Err(FrameError::Unannounceable(bytes.len()).into()),
    }
}

/// The members that mean something. Others are ignored, so that a newer client may say more.
#[derive(Debug, Default)]
struct Members {
    version: Option<Vec<u8>>,
    sysinfo: Option<Vec<u8>>,
    targets: Option<Vec<u8>>,
    locale: Vec<u8>,
    keys: Option<Vec<u8>>,
    wants: Vec<u8>,
    arguments: BTreeMap<usize, Vec<u8>>,
    files: Vec<InputFile>,
}

impl Members {
    fn take(&mut self, entry: Entry) -> Result<(), DecodeError> {
        let name = entry.path.as_bytes();
        if is_below_a_directory(name) {
            self.take_file(entry);
            return Ok(());
        }
        match name {
            b"version" => self.version = Some(file(entry)?),
            b"sysinfo" => self.sysinfo = Some(file(entry)?),
            b"targets" => self.targets = Some(file(entry)?),
            b"locale" => self.locale = file(entry)?,
            b"mok_fingerprints" => self.keys = Some(file(entry)?),
            b"wants" => self.wants = file(entry)?,
            _ => {
                if let Some(number) = argument_number(name) {
                    self.arguments.insert(number, file(entry)?);
                }
            }
        }
        Ok(())
    }

    fn take_file(&mut self, entry: Entry) {
        if entry.kind == Kind::File {
            self.files.push(InputFile {
                path: entry.path,
                content: entry.content,
            });
        }
    }

    fn into_parts(self) -> Result<Parts, DecodeError> {
        let sysinfo = self.sysinfo.ok_or(DecodeError::NoSysInfo)?;
        let version = self
            .version
            .and_then(|bytes| ProtocolVersion::parse_lenient(&bytes));
        let locale = Locale::parse(&self.locale);
        let keys = self.keys.map(|bytes| MachineOwnerKeys::parse(&bytes));
        let (machine_owner_keys, key_notices) = keys.unwrap_or_default();
        Ok(Parts {
            version: version.unwrap_or(ProtocolVersion::OLDEST),
            target: SysInfo::parse(&sysinfo)?,
            targets: self.targets.as_deref().map_or(Ok(Vec::new()), patterns)?,
            arguments: contiguous(self.arguments)?,
            files: self.files,
            locale: locale.variables,
            machine_owner_keys,
            wants_origin: has_line(&self.wants, ORIGIN),
            wants_progress: has_line(&self.wants, PROGRESS),
            notices: [locale.notices, key_notices].concat(),
        })
    }
}

fn has_line(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes
        .split(|byte| *byte == b'\n')
        .any(|line| line == wanted)
}

/// One pattern a line.
fn patterns(bytes: &[u8]) -> Result<Vec<TargetPattern>, DecodeError> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    match lines.len() {
        0 => return Err(DecodeError::NoTargets),
        number if number > MAX_TARGETS => {
            return Err(InvalidRequest::TooManyTargets(number).into());
        }
        _ => (),
    }
    lines.into_iter().map(pattern).collect()
}

fn pattern(line: &[u8]) -> Result<TargetPattern, DecodeError> {
    let parsed = match std::str::from_utf8(line) {
        Ok(text) => text.parse(),
        Err(_) => Err(TargetNameError::BadCharacter("target")),
    };
    parsed.map_err(|reason| DecodeError::Target {
        given: text::escape(&line[..line.len().min(MAX_SHOWN)]),
        reason,
    })
}

/// Bytes of a bad line that its client is shown.
const MAX_SHOWN: usize = 160;

fn file(entry: Entry) -> Result<Vec<u8>, DecodeError> {
    match entry.kind {
        Kind::File => Ok(entry.content),
        Kind::Directory => Err(DecodeError::DirectoryInsteadOfFile(entry.path.to_string())),
    }
}

fn is_below_a_directory(name: &[u8]) -> bool {
    let below = |directory: &&[u8]| {
        name.strip_prefix(*directory)
            .is_some_and(|rest| rest.starts_with(b"/"))
    };
    DIRECTORIES.iter().any(below)
}

/// The number of an `argvN` member, written without leading zeros.
fn argument_number(name: &[u8]) -> Option<usize> {
    let digits = name.strip_prefix(b"argv")?;
    let plain = digits.iter().all(u8::is_ascii_digit) && !digits.starts_with(b"0");
    plain
        .then(|| std::str::from_utf8(digits).ok()?.parse().ok())
        .flatten()
}

fn contiguous(arguments: BTreeMap<usize, Vec<u8>>) -> Result<Vec<Vec<u8>>, DecodeError> {
    let gap = (1..)
        .zip(arguments.keys())
        .find(|(expected, number)| expected != *number);
    if let Some((missing, present)) = gap {
        return Err(DecodeError::MissingArgument {
            missing,
            present: *present,
        });
    }
    if arguments.len() > MAX_ARGUMENTS {
        return Err(InvalidRequest::TooManyArguments(arguments.len()).into());
    }
    Ok(arguments.into_values().collect())
}
