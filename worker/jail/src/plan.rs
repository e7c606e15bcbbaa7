//! The plan of one jail: all that the launcher knows about a job.
//!
//! The worker writes it, the launcher reads it from descriptor 3 and trusts nothing else. A value of
//! these types is well formed: paths are normal, counts are bounded, layers fit together.

mod path;
mod shape;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::path::{HostPath, JailPath, PathError, WorkspacePath};
use crate::layer::Layer;

/// How a job is confined, what it sees and what it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailPlan {
    /// The layers that must hold. A layer that is named here and cannot be had ends the job before
    /// it starts; a layer that is not named is not tried. What to do on a host that lacks one is the
    /// worker's decision, taken once at its start, not each job's.
    pub layers: BTreeSet<Layer>,
    /// The lowest Landlock ABI that counts as having [`Layer::Landlock`].
    pub landlock_floor: u32,
    /// Whose processes the job's are, seen from outside.
    pub identity: Identity,
    /// What the job sees of the file system.
    pub view: View,
    /// Where the job may write.
    pub workspace: Workspace,
    /// What the kernel bounds for each process.
    pub limits: Limits,
    /// What runs.
    pub command: Command,
}

/// The uid and gid of the job outside its user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// The launcher's own; refused when that is root.
    Keep,
    /// One of a slot, taken by a launcher that root started. Belongs with [`Layer::SlotUid`].
    Slot {
        /// The user id, never 0.
        uid: u32,
        /// The group id, never 0; there are no supplementary groups.
        gid: u32,
    },
}

/// The read-only part of what the job sees. It takes effect with [`Layer::Mount`]; without that
/// layer the root must be `/`, no bind may change its place, and Landlock grants the same paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// `/` or an unpacked distribution root; [`VISIBLE`] and [`VISIBLE_ETC`] of it are shown.
    pub root: HostPath,
    /// More files and directories, for example the warm caches of a target.
    pub binds: Vec<Bind>,
}

/// A file or directory of the host, shown read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Where it is on the host.
    pub source: HostPath,
    /// Where the job sees it.
    pub target: JailPath,
    /// What the job may do with it.
    pub access: Access,
}

/// What may be done with a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Read files and list directories.
    Read,
    /// That, and execute files.
    ReadExecute,
}

/// The only place where the job may write; it is never executable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// What holds it.
    pub place: Place,
    /// Files put into it before the job starts, on behalf of the job's owner.
    pub files: Vec<WorkspaceFile>,
    /// Names in it for files that a bind shows, so that programs find these where they look, and
    /// nobody copies them. Needs [`Layer::Mount`].
    pub links: Vec<WorkspaceLink>,
}

/// What holds a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A file system in memory, made for this job and gone with it, seen at [`WORKSPACE`] and, its
    /// `tmp`, at `/tmp`. Needs [`Layer::Mount`].
    Tmpfs {
        /// The most that it holds.
        bytes: u64,
        /// The most files, directories and links in it.
        inodes: u64,
    },
    /// An empty directory that the worker made for this job, owned by the job's identity; seen
    /// under its own path. For hosts without [`Layer::Mount`].
    Directory(HostPath),
    /// Nothing: the job may write nowhere, and has no files. For trying out layers.
    Nowhere,
}

/// A file of the workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceFile {
    /// Where, relative to the workspace; missing directories are made.
    pub path: WorkspacePath,
    /// What it holds.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
}

/// A symbolic link of the workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceLink {
    /// Where, relative to the workspace; missing directories are made.
    pub path: WorkspacePath,
    /// What it leads to: something below the target of a bind.
    pub target: JailPath,
}

/// Resource limits of each process, and for `processes` of all of the job's together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Descriptors that one process may have open.
    pub open_files: u64,
    /// Processes and threads of the job's uid (of its user namespace, where it has one).
    pub processes: u64,
    /// Size of the largest file, in bytes.
    pub file_bytes: u64,
    /// CPU time of one process, rounded up to seconds.
    pub cpu: Duration,
    /// Address space of one process in bytes, for hosts where no cgroup bounds memory.
    pub address_space: Option<u64>,
}

/// What runs in the jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program, as the job sees it.
    pub program: JailPath,
    /// Its arguments after its own name, any bytes but NUL.
    pub arguments: Vec<Vec<u8>>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// Its working directory, as the job sees it.
    pub directory: JailPath,
}

/// Why a plan is refused. Nothing has been done for the job at that point.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// More bytes than [`MAX_PLAN`].
    #[error("the plan is larger than {MAX_PLAN} bytes")]
    TooLarge,
    /// A plan of another worker than this launcher belongs to.
    #[error(
        "worker and stap-jail are of different builds; start the server again after an upgrade"
    )]
    OtherBuild,
    /// Bytes that are no plan.
    #[error("the plan cannot be decoded")]
    Undecodable(#[source] postcard::Error),
    /// A plan, and then more.
    #[error("the plan is followed by {0} more bytes")]
    TrailingBytes(usize),
    /// A plan that cannot be written down.
    #[error("the plan cannot be encoded")]
    Unencodable(#[source] postcard::Error),
    /// More of something than a plan may hold.
    #[error("the plan holds {count} {what}; the most is {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A layer without one that it rests on.
    #[error("the layer {layer} needs the layer {needed}, which the plan leaves out")]
    LayerNeeds {
        /// The layer that is wanted.
        layer: Layer,
        /// The layer that is missing.
        needed: Layer,
    },
    /// `identity` and `layers` disagree.
    #[error("the layer slot-uid and the identity of a slot must be named together")]
    IdentityMismatch,
    /// A slot that is root.
    #[error("a slot may not have uid 0 or gid 0")]
    RootSlot,
    /// A view or workspace that only a mount namespace can give.
    #[error("{0} needs the layer mount, which the plan leaves out")]
    NeedsMount(&'static str),
    /// A bind at a place that the jail itself fills.
    #[error("{0:?} cannot be shown: the job has its own {1}")]
    Covered(PathBuf, &'static str),
    /// A link to something that no bind shows.
    #[error("a link leads to {0:?}, which nothing shows")]
    LeadsElsewhere(PathBuf),
    /// Files and nowhere to put them.
    #[error("the plan has files and no workspace for them")]
    NoWorkspace,
    /// A workspace on a disk although a private one is to be had.
    #[error("with the layer mount the workspace must be a tmpfs")]
    NeedsTmpfs,
}

/// The descriptors on which the worker hands things to the launcher.
pub mod descriptor {
    /// The plan, encoded, in a memfd; read from its start.
    pub const PLAN: i32 = 3;
    /// The read end of a pipe. The worker writes [`super::GO`] once the launcher is in its cgroup;
    /// the end of the stream, at any time, means that the job must die.
    pub const LIFELINE: i32 = 4;
    /// The write end of a pipe, for framed [`crate::report::Event`]s.
    pub const STATUS: i32 = 5;
    /// A Unix socket; the launcher sends one descriptor, the workspace, before the job starts.
    pub const WORKSPACE: i32 = 6;
}

/// The byte on the lifeline that starts the work.
pub const GO: u8 = b'g';

/// Where the job sees its workspace.
pub const WORKSPACE: &str = "/work";
/// Directories that every workspace has: the client's files, stap's results, `$HOME` and `$TMPDIR`.
pub const WORKSPACE_DIRECTORIES: [&str; 4] = ["request", "response", "home", "tmp"];

/// What is shown of a root, where it exists.
pub const VISIBLE: [&str; 8] = [
    "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "boot",
];
/// What is shown of its `/etc`, where it exists: what the dynamic loader and Debian's compiler
/// names need.
pub const VISIBLE_ETC: [&str; 2] = ["ld.so.cache", "alternatives"];

/// The largest encoded plan, in bytes: one request at the largest bound that a coordinator's frame
/// allows, and some room.
pub const MAX_PLAN: u64 = 260 << 20;
const MAX_BINDS: usize = 64;
const MAX_FILES: usize = 16_384;
const MAX_ARGUMENTS: usize = 4_096;
const MAX_ENVIRONMENT: usize = 256;

impl JailPlan {
    /// Whether a layer must hold.
    #[must_use]
    pub fn wants(&self, layer: Layer) -> bool {
        self.layers.contains(&layer)
    }

    /// Where the job sees its workspace, if it has one.
    #[must_use]
    pub fn workspace_path(&self) -> Option<&Path> {
        match &self.workspace.place {
            Place::Tmpfs { .. } => Some(Path::new(WORKSPACE)),
            Place::Directory(path) => Some(path.as_path()),
            Place::Nowhere => None,
        }
    }

    /// The bytes for descriptor 3.
    pub fn encode(&self) -> Result<Vec<u8>, PlanError> {
        self.judge()?;
        let bytes =
            postcard::to_extend(self, shape::MARK.to_vec()).map_err(PlanError::Unencodable)?;
        if bytes.len() as u64 > MAX_PLAN {
            return Err(PlanError::TooLarge);
        }
        Ok(bytes)
    }

    /// Reads a plan that [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, PlanError> {
        if bytes.len() as u64 > MAX_PLAN {
            return Err(PlanError::TooLarge);
        }
        let bytes = bytes.strip_prefix(&shape::MARK);
        let (plan, rest): (Self, _) =
            postcard::take_from_bytes(bytes.ok_or(PlanError::OtherBuild)?)
                .map_err(PlanError::Undecodable)?;
        if !rest.is_empty() {
            return Err(PlanError::TrailingBytes(rest.len()));
        }
        plan.judge()?;
        Ok(plan)
    }

    fn judge(&self) -> Result<(), PlanError> {
        at_most("binds", self.view.binds.len(), MAX_BINDS)?;
        at_most("workspace files", self.workspace.files.len(), MAX_FILES)?;
        at_most("workspace links", self.workspace.links.len(), MAX_FILES)?;
        at_most("arguments", self.command.arguments.len(), MAX_ARGUMENTS)?;
        at_most(
            "environment variables",
            self.command.environment.len(),
            MAX_ENVIRONMENT,
        )?;
        let Workspace {
            place,
            files,
            links,
        } = &self.workspace;
        if *place == Place::Nowhere && !(files.is_empty() && links.is_empty()) {
            return Err(PlanError::NoWorkspace);
        }
        self.judge_layers()?;
        self.judge_identity()?;
        self.judge_mount()
    }

    fn judge_layers(&self) -> Result<(), PlanError> {
        for &layer in &self.layers {
            if let Some(&needed) = layer.needs().iter().find(|needed| !self.wants(**needed)) {
                return Err(PlanError::LayerNeeds { layer, needed });
            }
        }
        Ok(())
    }

    fn judge_identity(&self) -> Result<(), PlanError> {
        match (self.identity, self.wants(Layer::SlotUid)) {
            (Identity::Slot { uid: 0, .. } | Identity::Slot { gid: 0, .. }, _) => {
                Err(PlanError::RootSlot)
            }
            (Identity::Slot { .. }, true) | (Identity::Keep, false) => Ok(()),
            _ => Err(PlanError::IdentityMismatch),
        }
    }

    fn judge_mount(&self) -> Result<(), PlanError> {
        let on_disk = matches!(self.workspace.place, Place::Directory(_));
        let in_memory = matches!(self.workspace.place, Place::Tmpfs { .. });
        if self.wants(Layer::Mount) {
            return if on_disk {
                Err(PlanError::NeedsTmpfs)
            } else {
                self.judge_places()
            };
        }
        if in_memory {
            return Err(PlanError::NeedsMount("a workspace in memory"));
        }
        if self.view.root.as_path() != Path::new("/") {
            return Err(PlanError::NeedsMount("a root other than /"));
        }
        let moved = |bind: &Bind| bind.source.as_path() != bind.target.as_path();
        if self.view.binds.iter().any(moved) {
            return Err(PlanError::NeedsMount("a bind at another path"));
        }
        if !self.workspace.links.is_empty() {
            return Err(PlanError::NeedsMount("a link in the workspace"));
        }
        Ok(())
    }

    /// A bind below what is mounted later would not be seen, and nobody would know why.
    fn judge_places(&self) -> Result<(), PlanError> {
        for target in self.view.binds.iter().map(|bind| bind.target.as_path()) {
            let own = OWN_PLACES.into_iter().find(|own| target.starts_with(own));
            if let Some(own) = own {
                return Err(PlanError::Covered(target.to_owned(), own));
            }
        }
        for target in self
            .workspace
            .links
            .iter()
            .map(|link| link.target.as_path())
        {
            let mut binds = self.view.binds.iter();
            if !binds.any(|bind| target.starts_with(bind.target.as_path())) {
                return Err(PlanError::LeadsElsewhere(target.to_owned()));
            }
        }
        Ok(())
    }
}

/// What the jail mounts itself, over anything that a plan would show there.
const OWN_PLACES: [&str; 4] = [WORKSPACE, "/tmp", "/dev", "/proc"];

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), PlanError> {
    if count > most {
        return Err(PlanError::TooMany { what, count, most });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
