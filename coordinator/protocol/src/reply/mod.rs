//! A reply: what became of a request.
//!
//! A [`Reply`] is always complete, a refusal too: clients unpack it before they look at anything, and
//! a package without `rc`, `stdout` and `stderr` gives their users complaints about file names
//! instead of the reason.

mod decode;
mod encode;
mod origin;
mod several;

use std::collections::BTreeSet;
use std::ops::Deref;

use crate::job::OutputFile;
use crate::path::FileName;
use crate::request::MAX_TARGETS;
use crate::target::TargetName;
use crate::version::ProtocolVersion;

pub use decode::{ReplyError, ReplyLimits};
pub use origin::Origin;
pub use several::{Answer, MAX_SEVERAL_BYTES, OfTarget, Replies};

/// The directory of the results. Clients take any name of this shape.
pub const RESULTS: &str = "stap000000";

/// What clients keep beside the results in the directory where they link each of them.
const RESERVED: [&[u8]; 4] = [b"client", b"server", b"client.zip", b"server.zip"];

/// The most results.
pub const MAX_RESULTS: usize = 1024;

/// The most bytes of a whole reply; the format counts them in 32 bits.
pub const MAX_BYTES: u64 = 2 << 30;

/// A complete reply. Dereferences to its [`Parts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(Parts);

/// What a reply consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The server's version.
    pub version: ProtocolVersion,
    /// The exit status of stap, or 1 for a refusal.
    pub rc: i32,
    /// What stap wrote to stdout.
    pub stdout: Vec<u8>,
    /// What stap wrote to stderr, or why the request was refused.
    pub stderr: Vec<u8>,
    /// The module and what belongs to it.
    pub files: Vec<OutputFile>,
    /// The certificate (DER) of the key with which the server signs for Secure Boot, when the client
    /// has to enrol it first.
    pub signing_key: Option<Vec<u8>>,
    /// Where the result is from, for a client that asked.
    pub origin: Option<Origin>,
}

/// Why parts do not make a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidReply {
    /// A result whose name clients use themselves.
    #[error("a result may not be called {0}: clients keep their own files under this name")]
    ReservedName(FileName),
    /// Two results of one name.
    #[error("there are two results called {0}")]
    Duplicate(FileName),
    /// Two modules, of which clients could not choose.
    #[error("there is more than one module: {0} and {1}")]
    SeveralModules(FileName, FileName),
    /// Two replies for one target.
    #[error("there are two results for {0}")]
    SameTarget(TargetName),
    /// More than [`MAX_TARGETS`].
    #[error("there are {0} targets and the limit is {MAX_TARGETS}")]
    TooManyTargets(usize),
    /// More than [`MAX_RESULTS`].
    #[error("there are {0} results and the limit is {MAX_RESULTS}")]
    TooManyResults(usize),
    /// More than [`MAX_BYTES`].
    #[error("the reply holds {0} bytes and the limit is {MAX_BYTES}")]
    TooLarge(u64),
}

impl Reply {
    /// Checks `parts`.
    pub fn new(parts: Parts) -> Result<Self, InvalidReply> {
        check_names(&parts.files)?;
        match parts.bytes() {
            total if total > MAX_BYTES => Err(InvalidReply::TooLarge(total)),
            _ => Ok(Self(parts)),
        }
    }

    /// A reply without results: status 1, nothing on stdout, and `lines` on stderr.
    #[must_use]
    pub fn refusal(lines: &str) -> Self {
        let mut stderr = lines.as_bytes().to_vec();
        if !stderr.ends_with(b"\n") {
            stderr.push(b'\n');
        }
        Self(Parts {
            rc: 1,
            stderr,
            ..Parts::default()
        })
    }

    /// Adds the certificate that the client has to enrol.
    #[must_use]
    pub fn with_signing_key(mut self, certificate: Vec<u8>) -> Self {
        self.0.signing_key = Some(certificate);
        self
    }

    /// Reads a reply package.
    pub fn decode(bytes: &[u8], limits: &ReplyLimits) -> Result<Self, ReplyError> {
        decode::decode(bytes, limits)
    }

    /// Writes a reply package that stock clients accept, too.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode::encode(self)
    }

    /// The module or the bpf object, if there is one.
    #[must_use]
    pub fn module(&self) -> Option<&OutputFile> {
        self.files.iter().find(|file| is_module(&file.name))
    }

    /// Gives the parts away.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        self.0
    }
}

impl Parts {
    /// Bytes of everything that it holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let files = self.files.iter().map(|file| file.content.len());
        let key = self.signing_key.as_ref().map(Vec::len);
        let texts = [self.stdout.len(), self.stderr.len()];
        let lengths = files.chain(key).chain(texts);
        lengths.map(|length| length as u64).sum()
    }
}

impl Default for Parts {
    /// A reply of our own version that says nothing: status 0, no output, no results.
    fn default() -> Self {
        Self {
            version: ProtocolVersion::CURRENT,
            rc: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            files: Vec::new(),
            signing_key: None,
            origin: None,
        }
    }
}

impl Deref for Reply {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl TryFrom<Parts> for Reply {
    type Error = InvalidReply;

    fn try_from(parts: Parts) -> Result<Self, Self::Error> {
        Self::new(parts)
    }
}

fn is_module(name: &FileName) -> bool {
    name.has_suffix(".ko") || name.has_suffix(".bo")
}

fn check_names(files: &[OutputFile]) -> Result<(), InvalidReply> {
    if files.len() > MAX_RESULTS {
        return Err(InvalidReply::TooManyResults(files.len()));
    }
    let mut names = BTreeSet::new();
    for OutputFile { name, .. } in files {
        if RESERVED.contains(&name.as_bytes()) {
            return Err(InvalidReply::ReservedName(name.clone()));
        }
        if !names.insert(name) {
            return Err(InvalidReply::Duplicate(name.clone()));
        }
    }
    let mut modules = names.into_iter().filter(|name| is_module(name));
    match (modules.next(), modules.next()) {
        (Some(first), Some(second)) => {
            Err(InvalidReply::SeveralModules(first.clone(), second.clone()))
        }
        _ => Ok(()),
    }
}
