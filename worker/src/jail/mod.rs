//! Runs one program in one jail, under the limits of the policy, and ends it for certain.
//!
//! This is what a client's job, a warm-up and a question to stap have in common. What runs, on which
//! files, and what is made of the result is the callers' matter.

mod events;
mod filled;
mod launch;
mod output;
mod room;
mod run;
mod stop;
mod watch;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use stap_jail::layer::Layer;
use stap_jail::plan::{
    self, Command, Identity, JailPlan, Limits as ProcessLimits, Place, PlanError, View, Workspace,
    WorkspaceFile, WorkspaceLink,
};
use stap_policy::Limits;
use stap_protocol::job::Usage;

pub use self::filled::Filled;
pub use self::launch::LaunchError;
pub use self::output::Kept;
pub use self::room::{OnDisk, Room, sweep};
use crate::cgroup::{CgroupError, Hierarchy};
use crate::layers::InForce;

/// Everything that jails on this host have in common.
#[derive(Debug)]
pub struct Jail {
    program: PathBuf,
    layers: BTreeSet<Layer>,
    landlock_floor: u32,
    hierarchy: Option<Hierarchy>,
    limits: Limits,
    temporary: PathBuf,
}

/// What runs in one jail.
#[derive(Debug)]
pub struct Errand {
    /// Tells it from every other that this worker ever runs; part of a directory's name.
    pub name: String,
    /// Whose processes they are, seen from outside.
    pub identity: Identity,
    /// What it sees.
    pub view: View,
    /// What it is given.
    pub files: Vec<WorkspaceFile>,
    /// Names for what binds show.
    pub links: Vec<WorkspaceLink>,
    /// The program.
    pub command: Command,
    /// Limits of its own instead of the policy's.
    pub limits: Option<Limits>,
}

/// What an errand came to. Nothing of it runs any more.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub end: End,
    /// What it wrote.
    pub stdout: Kept,
    /// What it wrote.
    pub stderr: Kept,
    /// Its workspace; `None` when it ended before there was one.
    pub workspace: Option<OwnedFd>,
    /// What it cost.
    pub usage: Usage,
    /// The most processes that it had at once, where that is counted.
    pub peak_processes: Option<u64>,
    /// Whether a control group counted what its processes used together.
    pub is_counted: bool,
    /// How full its workspace was; `None` where the workspace is on a disk.
    pub filled: Option<Filled>,
    /// Keeps the directory of a workspace that is not in memory until this goes.
    _room: Room,
}

/// How an errand ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited(i32),
    /// By a signal that is not ours.
    Signalled(i32),
    /// By us, because it hit a limit.
    Limit(Limit),
    /// By us, because nobody wants it any more.
    Cancelled,
}

/// A limit of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Time.
    Wall,
    /// Processor time.
    Cpu,
    /// Memory of the tree.
    Memory,
    /// Number of processes.
    Processes,
    /// Bytes of the workspace.
    Workspace,
    /// Files of the workspace.
    WorkspaceFiles,
    /// Bytes of one file.
    File,
    /// Files that one process has open.
    OpenFiles,
    /// Bytes of stdout.
    Stdout,
    /// Bytes of stderr.
    Stderr,
    /// Number of results.
    Results,
    /// Bytes of all results.
    ResultBytes,
}

impl Limit {
    /// Its name in the policy file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Workspace => "workspace",
            Self::WorkspaceFiles => "workspace-files",
            Self::File => "file",
            Self::OpenFiles => "open-files",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Results => "results",
            Self::ResultBytes => "result-bytes",
        }
    }
}

/// What broke on our side; the job is not to blame.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The launcher did not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The control group did not do as it was told.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The jail could not be built.
    #[error("setting up the jail failed at {rung}: {reason}")]
    Setup {
        /// Where on the ladder.
        rung: String,
        /// Why.
        reason: String,
    },
    /// The launcher said nothing, or nonsense, before it ended.
    #[error("the launcher ended without saying how the job did: {0}")]
    Silent(String),
    /// Something of the job is still there.
    #[error("a job cannot be removed: {0}")]
    Leak(String),
    /// The launcher could not be waited for.
    #[error("waiting for the launcher")]
    Wait(#[source] io::Error),
    /// A directory or descriptor was refused.
    #[error("{0}")]
    Io(&'static str, #[source] io::Error),
    /// What is to run makes no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl Jail {
    /// Takes the layers that were found to hold.
    #[must_use]
    pub fn new(program: PathBuf, in_force: InForce, limits: Limits, temporary: PathBuf) -> Self {
        let InForce {
            layers,
            landlock_floor,
            hierarchy,
            ..
        } = in_force;
        Self {
            program,
            layers,
            landlock_floor,
            hierarchy,
            limits,
            temporary,
        }
    }

    /// The limits of every errand that has none of its own.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether errands see a `/proc` without anything of the kernel.
    #[must_use]
    pub fn has_own_proc(&self) -> bool {
        self.layers.contains(&Layer::Proc)
    }

    /// Whether errands see a file system of their own.
    #[must_use]
    pub fn has_own_view(&self) -> bool {
        self.layers.contains(&Layer::Mount)
    }

    /// Whether each slot has a uid of its own.
    #[must_use]
    pub fn has_slot_uids(&self) -> bool {
        self.layers.contains(&Layer::SlotUid)
    }

    /// What the kernel bounds for each process. Where a group bounds the whole tree, these are only
    /// there for a worker that is too busy to look, and are looser, so that it is the group that
    /// says which limit was hit.
    fn process_limits(&self, limits: &Limits) -> ProcessLimits {
        let (processes, cpu) = (limits.processes.get(), limits.cpu.duration());
        let address_space = limits.memory.bytes() * ADDRESS_SPACE_FACTOR;
        let grouped = self.hierarchy.is_some();
        ProcessLimits {
            open_files: limits.open_files.get(),
            processes: if grouped { processes * 2 } else { processes },
            file_bytes: limits.file.bytes(),
            cpu: if grouped { cpu + CPU_SPARE } else { cpu },
            address_space: (!grouped).then_some(address_space),
        }
    }

    fn plan(&self, errand: Errand, room: &Room) -> Result<JailPlan, Fault> {
        let limits = &errand.limits.unwrap_or(self.limits);
        let place = match room.directory {
            Some(_) => Place::Directory(room.path.as_path().try_into().map_err(unusual)?),
            None => Place::Tmpfs {
                bytes: limits.workspace.bytes(),
                inodes: limits.workspace_files.get(),
            },
        };
        Ok(JailPlan {
            layers: self.layers.clone(),
            landlock_floor: self.landlock_floor,
            identity: errand.identity,
            view: errand.view,
            workspace: Workspace {
                place,
                files: errand.files,
                links: errand.links,
            },
            limits: self.process_limits(limits),
            command: errand.command,
        })
    }
}

fn unusual(error: plan::PathError) -> Fault {
    Fault::Io("naming a workspace", io::Error::other(error))
}

const CPU_SPARE: Duration = Duration::from_secs(2);
/// Threads reserve address space that they never use, so a bound on it must be looser than one on
/// memory.
const ADDRESS_SPACE_FACTOR: u64 = 4;
