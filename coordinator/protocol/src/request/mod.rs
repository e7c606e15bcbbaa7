//! A request: everything that the other side needs in order to run passes 1-4 for a client.
//!
//! A [`Request`] cannot be malformed. Its [`Parts`] can be read through it but not changed, and both
//! ways of making one, [`Request::new`] and [`Request::decode`], check them all.

mod decode;
mod encode;
mod keys;
mod sysinfo;

use std::ops::Deref;

use crate::job::InputFile;
use crate::path::RelativePath;
use crate::target::TargetPattern;
use crate::version::ProtocolVersion;

pub use decode::{DecodeError, Limits};
pub use keys::{Fingerprint, MAX_KEYS, MachineOwnerKeys, NotAFingerprint};
pub use sysinfo::{MAX_SYSINFO, SysInfo, SysInfoError};

/// The most arguments of a request.
pub const MAX_ARGUMENTS: usize = 4096;

/// The longest argument in bytes. Linux takes 128 KiB for one, its terminating NUL included.
pub const MAX_ARGUMENT: usize = (128 << 10) - 1;

/// The most bytes of all arguments together, a part of what Linux takes for arguments and
/// environment.
pub const MAX_ARGUMENT_BYTES: usize = 1 << 20;

/// The most files of a request; the format counts members in 16 bits.
pub const MAX_FILES: usize = 60_000;

/// The most bytes of all files of a request together; the format counts bytes in 32 bits, and the
/// frame in 31.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// The directories of a request: scripts and tapsets.
pub const DIRECTORIES: [&[u8]; 2] = [b"script", b"tapset"];

/// The most targets of a request, and the most patterns that name them.
pub const MAX_TARGETS: usize = 64;

/// The release in the `sysinfo` of a request for several targets, whose names are in a member that only
/// our own servers read. No kernel is called so: any other server refuses before it compiles anything.
pub const SEVERAL: &str = "several-targets";

/// Lines of the `wants` member, in which a client asks for what stock servers do not have.
const ORIGIN: &[u8] = b"store";
const PROGRESS: &[u8] = b"progress";

/// A well-formed request. Dereferences to its [`Parts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request(Parts);

/// What a request consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The client's version.
    pub version: ProtocolVersion,
    /// What to build for, unless `targets` says it.
    pub target: SysInfo,
    /// What to build for when that may be more than one target. Empty in the requests that stock
    /// servers know, too; they do not look at it.
    pub targets: Vec<TargetPattern>,
    /// stap's arguments, exactly as they are to be given to it.
    pub arguments: Vec<Vec<u8>>,
    /// Scripts below `script/` and tapsets below `tapset/`.
    pub files: Vec<InputFile>,
    /// Locale variables, known names with legal values only.
    pub locale: Vec<(String, String)>,
    /// Which keys the client's firmware trusts, if its kernel insists on signed modules.
    pub machine_owner_keys: MachineOwnerKeys,
    /// Whether the client wants to know where its result is from. Stock clients never do, and stock
    /// servers do not look at it.
    pub wants_origin: bool,
    /// Whether the client wants to be told, before its reply, where its request stands:
    /// [`crate::notice`]. The same holds.
    pub wants_progress: bool,
    /// What was tolerated while decoding: sentences for the client's stderr. Not sent.
    pub notices: Vec<String>,
}

/// Why parts do not make a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// More than [`MAX_ARGUMENTS`].
    #[error("there are {0} arguments and the limit is {MAX_ARGUMENTS}")]
    TooManyArguments(usize),
    /// One of more than [`MAX_ARGUMENT`] bytes.
    #[error("argument {number} is {size} bytes long and the limit is {MAX_ARGUMENT}")]
    ArgumentTooLong {
        /// Which, counted from 1.
        number: usize,
        /// Its length in bytes.
        size: usize,
    },
    /// More than [`MAX_ARGUMENT_BYTES`].
    #[error("the arguments together are {0} bytes long and the limit is {MAX_ARGUMENT_BYTES}")]
    ArgumentsTooLong(usize),
    /// An argument with a NUL byte, at which a C program would cut it.
    #[error("argument {0} contains a NUL byte")]
    ArgumentWithNul(usize),
    /// A file that is neither below `script/` nor below `tapset/`.
    #[error("file {0} is neither below script/ nor below tapset/")]
    MisplacedFile(RelativePath),
    /// Two files of one name, or one that is the directory of another.
    #[error("two files cannot both exist: {0} and one at or below the same name")]
    Conflict(RelativePath),
    /// More than [`MAX_TARGETS`].
    #[error("there are {0} targets and the limit is {MAX_TARGETS}")]
    TooManyTargets(usize),
    /// More than [`MAX_FILES`].
    #[error("there are {0} files and the limit is {MAX_FILES}")]
    TooManyFiles(usize),
    /// More than [`MAX_FILE_BYTES`].
    #[error("the files together are {0} bytes and the limit is {MAX_FILE_BYTES}")]
    FilesTooLarge(u64),
}

impl Request {
    /// Checks `parts`.
    pub fn new(parts: Parts) -> Result<Self, InvalidRequest> {
        check_arguments(&parts.arguments)?;
        check_files(&parts.files)?;
        match parts.targets.len() > MAX_TARGETS {
            true => Err(InvalidRequest::TooManyTargets(parts.targets.len())),
            false => Ok(Self(parts)),
        }
    }

    /// Reads a request package.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        decode::decode(bytes, limits)
    }

    /// Writes a request package that stock servers accept, too.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode::encode(self)
    }

    /// Gives the parts away.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        self.0
    }
}

impl Parts {
    /// Parts of a request for all targets that fit one of `targets`.
    ///
    /// # Panics
    ///
    /// Never: [`SEVERAL`] has the shape of a release.
    #[must_use]
    pub fn for_several(targets: Vec<TargetPattern>, arguments: Vec<Vec<u8>>) -> Self {
        let target = SysInfo {
            release: SEVERAL.parse().expect("it has the shape of a release"),
            arch: None,
        };
        Self {
            targets,
            ..Self::new(target, arguments)
        }
    }

    /// Parts of a request of our own version, with nothing but a target and arguments.
    #[must_use]
    pub fn new(target: SysInfo, arguments: Vec<Vec<u8>>) -> Self {
        Self {
            version: ProtocolVersion::CURRENT,
            target,
            targets: Vec::new(),
            arguments,
            files: Vec::new(),
            locale: Vec::new(),
            machine_owner_keys: MachineOwnerKeys::NotAsked,
            wants_origin: false,
            wants_progress: false,
            notices: Vec::new(),
        }
    }
}

impl Deref for Request {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl TryFrom<Parts> for Request {
    type Error = InvalidRequest;

    fn try_from(parts: Parts) -> Result<Self, Self::Error> {
        Self::new(parts)
    }
}

fn check_arguments(arguments: &[Vec<u8>]) -> Result<(), InvalidRequest> {
    if arguments.len() > MAX_ARGUMENTS {
        return Err(InvalidRequest::TooManyArguments(arguments.len()));
    }
    for (number, argument) in (1..).zip(arguments) {
        if argument.len() > MAX_ARGUMENT {
            return Err(InvalidRequest::ArgumentTooLong {
                number,
                size: argument.len(),
            });
        }
        if argument.contains(&0) {
            return Err(InvalidRequest::ArgumentWithNul(number));
        }
    }
    let total = arguments.iter().map(|argument| argument.len() + 1).sum();
    if total > MAX_ARGUMENT_BYTES {
        return Err(InvalidRequest::ArgumentsTooLong(total));
    }
    Ok(())
}

fn check_files(files: &[InputFile]) -> Result<(), InvalidRequest> {
    if files.len() > MAX_FILES {
        return Err(InvalidRequest::TooManyFiles(files.len()));
    }
    let total = files.iter().map(|file| file.content.len() as u64).sum();
    if total > MAX_FILE_BYTES {
        return Err(InvalidRequest::FilesTooLarge(total));
    }
    if let Some(file) = files.iter().find(|file| !is_in_place(&file.path)) {
        return Err(InvalidRequest::MisplacedFile(file.path.clone()));
    }
    let paths = files.iter().map(|file| &file.path);
    match RelativePath::first_conflict(paths) {
        Some(path) => Err(InvalidRequest::Conflict(path.clone())),
        None => Ok(()),
    }
}

/// Below, not at: `script` itself is a directory.
fn is_in_place(path: &RelativePath) -> bool {
    let mut components = path.components();
    let top = components.next();
    top.is_some_and(|top| DIRECTORIES.contains(&top)) && components.next().is_some()
}
