//! The checked form of a policy.

use std::fmt;

use serde::Deserialize;

use crate::builtin;
use crate::compile::Compile;
use crate::document::Document;
use crate::doubts::{self, Host};
use crate::fault::{Fault, PolicyError};
use crate::layers::Layers;
use crate::options::Options;
use crate::quantity::{Count, Size, Time};
use crate::signing::Signing;
use crate::store::Store;

/// Everything that an operator decides, in one value that cannot be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    class: ClassName,
    layers: Layers,
    limits: Limits,
    slots: Slots,
    request: Request,
    options: Options,
    admission: Admission,
    signing: Signing,
    store: Store,
    compile: Compile,
}

impl Policy {
    /// Reads a policy; the only way to one.
    ///
    /// # Errors
    ///
    /// When the text is too long, is no TOML, lacks a field, has one that does not exist, or has a
    /// value that makes no sense. The error shows every place.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_TEXT {
            let length = text.len();
            let reason = format!("the policy is {length} bytes long; the limit is {MAX_TEXT}");
            return Err(PolicyError::whole(reason));
        }
        Document::parse(text)?.policy()
    }

    /// Returns a policy that is part of the program.
    ///
    /// # Errors
    ///
    /// When there is none of that name; the error lists those that exist.
    pub fn builtin(name: &str) -> Result<Self, PolicyError> {
        let known = || builtin::ALL.map(|(name, _)| name).join(", ");
        let text = builtin::text(name).ok_or_else(|| {
            PolicyError::whole(format!(
                "there is no policy {name:?}; there are {}",
                known()
            ))
        })?;
        Self::parse(text)
    }

    /// What is allowed on this host by the letter, and probably not meant; each shown at its place.
    /// `text` is what this policy was read from.
    #[must_use]
    pub fn doubts(&self, text: &str, host: &Host) -> Vec<Fault> {
        let Ok(document) = Document::parse(text) else {
            return Vec::new();
        };
        let mut faults: Vec<_> = doubts::of(self, host)
            .into_iter()
            .map(|(field, reason)| document.remark(field, reason))
            .collect();
        faults.sort_by_key(Fault::line);
        faults
    }

    /// The name of the class, as it appears in reports.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.class.0
    }

    /// The layers that a job must have.
    #[must_use]
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    /// What one job may use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Who runs jobs.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// What one request may hold.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// What one request may ask for.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How many requests are taken in.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// How modules are compiled.
    #[must_use]
    pub fn compile(&self) -> &Compile {
        &self.compile
    }

    /// Which modules are signed.
    #[must_use]
    pub fn signing(&self) -> &Signing {
        &self.signing
    }

    /// What is kept of finished jobs.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// What one job, with all its processes, may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// From the start of the jail to the end of its last process.
    pub wall: Time<1, DAY>,
    /// User and system time of the whole tree.
    pub cpu: Time<1, DAY>,
    /// Memory of the whole tree, its workspace included.
    pub memory: Size<{ 16 * MIB }, { 256 * GIB }>,
    /// Processes and threads at once.
    pub processes: Count<8, 32768>,
    /// Share of the processors, in percent of one.
    pub cpu_percent: Count<1, 102_400>,
    /// Bytes in the workspace.
    pub workspace: Size<MIB, { 64 * GIB }>,
    /// Files and directories in the workspace.
    pub workspace_files: Count<64, 10_000_000>,
    /// The largest file that a process may write.
    pub file: Size<MIB, { 64 * GIB }>,
    /// Files that one process may hold open.
    pub open_files: Count<32, 65536>,
    /// Bytes kept of what stap writes to stdout.
    pub stdout: Size<KIB, { 16 * MIB }>,
    /// Bytes kept of what stap writes to stderr.
    pub stderr: Size<KIB, { 16 * MIB }>,
    /// What happens when it writes more.
    pub on_flood: OnFlood,
    /// Result files taken from one job.
    pub results: Count<1, 1024>,
    /// Bytes of all result files of one job.
    pub result_bytes: Size<KIB, { 128 * MIB }>,
}

impl Limits {
    /// These limits, and where `others` are tighter, those.
    #[must_use]
    pub fn tightened_by(&self, others: &Self) -> Self {
        Self {
            wall: self.wall.min(others.wall),
            cpu: self.cpu.min(others.cpu),
            memory: self.memory.min(others.memory),
            processes: self.processes.min(others.processes),
            cpu_percent: self.cpu_percent.min(others.cpu_percent),
            workspace: self.workspace.min(others.workspace),
            workspace_files: self.workspace_files.min(others.workspace_files),
            file: self.file.min(others.file),
            open_files: self.open_files.min(others.open_files),
            stdout: self.stdout.min(others.stdout),
            stderr: self.stderr.min(others.stderr),
            on_flood: self.on_flood.max(others.on_flood),
            results: self.results.min(others.results),
            result_bytes: self.result_bytes.min(others.result_bytes),
        }
    }
}

/// What happens to a job that writes more than is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFlood {
    /// The rest is read and dropped.
    Truncate,
    /// The job is killed.
    Kill,
}

/// Who runs jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Slots {
    /// The first of the user ids that a worker started by root gives to its jobs, one for each
    /// slot. Nobody else on the host may have them.
    pub uid_base: Count<1000, 4_000_000_000>,
}

/// What one request may hold, counted before it is unpacked and while it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// Bytes on the wire.
    pub compressed: Size<KIB, { 64 * MIB }>,
    /// Bytes when unpacked.
    pub unpacked: Size<KIB, { 128 * MIB }>,
    /// Script and tapset files; the most that one jail takes, with some of its own.
    pub files: Count<1, 16_000>,
    /// Arguments for stap; the most that one jail takes, with some of the server's.
    pub arguments: Count<1, 4_000>,
    /// Targets; the most that the protocol takes.
    pub targets: Count<1, 64>,
}

/// How many requests are taken in at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Admission {
    /// Open connections.
    pub connections: Count<1, 65536>,
    /// Open connections from one address.
    pub connections_per_peer: Count<1, 65536>,
    /// Jobs that wait for a slot.
    pub queue: Count<1, 65536>,
    /// Jobs of one peer, waiting or running.
    pub jobs_per_peer: Count<1, 65536>,
    /// From the first byte to the end of the request.
    pub request_time: Time<1, HOUR>,
}

/// The name of a policy class: lower-case letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ClassName(String);

impl TryFrom<String> for ClassName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=MAX_CLASS).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text));
        }
        Err(format!(
            "a class name is 1 to {MAX_CLASS} lower-case letters, digits and hyphens, not {text:?}"
        ))
    }
}

impl fmt::Display for ClassName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A policy is a page of text; this leaves room for comments.
const MAX_TEXT: usize = 256 << 10;
const MAX_CLASS: usize = 32;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
