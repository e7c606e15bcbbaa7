//! The ladder: every step from the worker's process to the job, in the one order that works.
//!
//! Each rung gives something up or takes it from the job for good, and fails when it cannot do all
//! of it. There is no rung whose failure is a warning.

mod adopt;
mod capabilities;
mod descriptors;
mod devices;
mod enter;
mod execute;
mod expendable;
mod hide;
mod huge_pages;
mod identity;
mod landlock;
mod namespaces;
mod no_new_privs;
mod proc;
mod rlimits;
mod root;
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod seccomp;
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
#[path = "ladder/no_seccomp.rs"]
mod seccomp;
mod session;
mod workspace;

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;

pub(crate) use self::capabilities::{give_up as give_up_capabilities, shrink_bounding_set};
#[cfg(test)]
pub(crate) use self::seccomp::allowed as jobs_calls;
use crate::channel::{Inherited, Status};
use crate::descendants::Descendants;
use crate::layer::{HeldLayer, Layer};
use crate::mounts::NewRoot;
use crate::plan::JailPlan;

/// One step.
pub(crate) struct Rung {
    /// Its name in reports.
    pub(crate) name: &'static str,
    /// The process that takes it.
    stage: Stage,
    /// For which plans it is taken.
    when: When,
    take: fn(&mut Climb) -> Result<(), Fault>,
}

/// The three processes between the worker and the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The one that the worker started. It stays outside the job's pid namespace and watches.
    Launcher,
    /// Its child, pid 1 of the namespace. It builds the root, and stays to reap and to die.
    Init,
    /// Its child, which becomes the job.
    Job,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    With(Layer),
    Without(Layer),
}

#[rustfmt::skip]
const LADDER: &[Rung] = &[
    // Nothing that the worker left open reaches the job.
    rung("descriptors", Stage::Launcher, When::Always, descriptors::shed),
    // Where there is no pid namespace to do it, the launcher must be able to find all of the job's.
    rung("adopt", Stage::Launcher, When::Without(Layer::Pid), adopt::orphans),
    // Root is gone before anything is built, so that what follows is the same with and without it.
    rung("slot-uid", Stage::Launcher, When::With(Layer::SlotUid), identity::take_slot),
    rung("unprivileged", Stage::Launcher, When::Always, identity::refuse_root),
    rung("expendable", Stage::Launcher, When::Always, expendable::come_first),
    // The user namespace comes first: its capabilities are what the other namespaces need.
    rung("user", Stage::Launcher, When::With(Layer::User), namespaces::user),
    rung("mount", Stage::Launcher, When::With(Layer::Mount), namespaces::mount),
    rung("pid", Stage::Launcher, When::With(Layer::Pid), namespaces::pid),
    rung("net", Stage::Launcher, When::With(Layer::Net), namespaces::net),
    rung("ipc", Stage::Launcher, When::With(Layer::Ipc), namespaces::ipc),
    rung("uts", Stage::Launcher, When::With(Layer::Uts), namespaces::uts),
    rung("cgroup", Stage::Launcher, When::With(Layer::CgroupNamespace), namespaces::cgroup),
    // From here on this is pid 1 of the job's namespace.
    rung("session", Stage::Init, When::Always, session::leave),
    rung("root", Stage::Init, When::With(Layer::Mount), root::build),
    rung("devices", Stage::Init, When::With(Layer::Mount), devices::show),
    // A /proc can be mounted only while the host's is still in view: the kernel compares them.
    rung("proc", Stage::Init, When::With(Layer::Proc), proc::mount),
    rung("workspace", Stage::Init, When::Always, workspace::make),
    // The files are the user's, written while no process of the user's runs yet.
    rung("files", Stage::Init, When::Always, workspace::fill),
    rung("handover", Stage::Init, When::Always, workspace::hand_over),
    rung("enter", Stage::Init, When::With(Layer::Mount), enter::pivot),
    rung("rlimits", Stage::Init, When::With(Layer::Rlimits), rlimits::lower),
    // The last thing done with capabilities was the pivot.
    rung("capabilities", Stage::Init, When::With(Layer::Capabilities), capabilities::drop_all),
    rung("no-new-privs", Stage::Init, When::With(Layer::NoNewPrivs), no_new_privs::promise),
    // Needs the promise, and paths as the job sees them.
    rung("landlock", Stage::Init, When::With(Layer::Landlock), landlock::restrict),
    rung("hide", Stage::Init, When::Always, hide::from_the_job),
    // From here on this is the process that becomes the job. The filter comes last, because it
    // forbids most of what the rungs above do.
    rung("seccomp", Stage::Job, When::With(Layer::Seccomp), seccomp::filter),
    rung("announce", Stage::Job, When::Always, execute::announce),
    rung("execute", Stage::Job, When::Always, execute::become_the_job),
];

/// The names of all rungs, in their order.
pub fn names() -> impl Iterator<Item = &'static str> {
    LADDER.iter().map(|rung| rung.name)
}

const fn rung(
    name: &'static str,
    stage: Stage,
    when: When,
    take: fn(&mut Climb) -> Result<(), Fault>,
) -> Rung {
    Rung {
        name,
        stage,
        when,
        take,
    }
}

/// What a process carries from rung to rung; each fork copies it.
pub(crate) struct Climb {
    pub(crate) plan: JailPlan,
    pub(crate) status: Status,
    /// The read end of the worker's lifeline.
    pub(crate) lifeline: OwnedFd,
    /// Where the workspace's descriptor goes; gone once it is sent.
    workspace_socket: Option<OwnedFd>,
    /// The file system that becomes `/`, while it is being built.
    root: Option<NewRoot>,
    /// The workspace, until it has been handed over.
    workspace: Option<OwnedFd>,
    /// The launcher's way to end the job where it has no pid namespace.
    pub(crate) descendants: Option<Descendants>,
    held: Vec<HeldLayer>,
}

/// A rung that could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct Fall {
    pub(crate) rung: &'static str,
    pub(crate) cause: Fault,
}

/// What went wrong on a rung.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The kernel refused something.
    #[error("{doing}: {cause}")]
    Refused {
        doing: Cow<'static, str>,
        cause: io::Error,
    },
    /// Something is not as the plan needs it.
    #[error("{0}")]
    Unfit(Cow<'static, str>),
}

impl Climb {
    pub(crate) fn new(plan: JailPlan, inherited: Inherited) -> Self {
        Self {
            plan,
            status: inherited.status,
            lifeline: inherited.lifeline,
            workspace_socket: Some(inherited.workspace),
            root: None,
            workspace: None,
            descendants: None,
            held: Vec::new(),
        }
    }

    /// Takes every rung of one stage that the plan asks for.
    pub(crate) fn take(&mut self, stage: Stage) -> Result<(), Fall> {
        for rung in LADDER.iter().filter(|rung| rung.stage == stage) {
            let wanted = match rung.when {
                When::Always => true,
                When::With(layer) => self.plan.wants(layer),
                When::Without(layer) => !self.plan.wants(layer),
            };
            if wanted {
                (rung.take)(self).map_err(|cause| Fall {
                    rung: rung.name,
                    cause,
                })?;
            }
        }
        Ok(())
    }

    /// Lets go of what only the new process needs: after a fork the parent keeps the plan's frame,
    /// the status and the lifeline.
    pub(crate) fn lighten(&mut self) {
        self.plan.workspace.files = Vec::new();
        self.workspace_socket = None;
        self.root = None;
        self.workspace = None;
    }

    /// Records that a layer is in force.
    fn hold(&mut self, layer: Layer, detail: impl Into<String>) {
        self.held.push(HeldLayer {
            layer,
            detail: detail.into(),
        });
    }

    fn new_root(&self) -> Result<&NewRoot, Fault> {
        self.root
            .as_ref()
            .ok_or_else(|| Fault::unfit("the new root has not been made yet"))
    }
}

impl Fault {
    pub(crate) fn unfit(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Unfit(what.into())
    }
}

/// Says what was being done when the kernel refused.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Into<Cow<'static, str>>) -> Result<T, Fault>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Into<Cow<'static, str>>) -> Result<T, Fault> {
        self.map_err(|cause| Fault::Refused {
            doing: what.into(),
            cause: cause.into(),
        })
    }
}

#[cfg(test)]
mod tests;
