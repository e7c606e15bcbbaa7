//! Limits that hold for a whole process tree, and the one way to kill such a tree for certain.
//!
//! Two drivers share one shape. [`v1`] is for hosts where each controller has a hierarchy of its
//! own, and there it uses `cgroups-rs` to set limits; [`v2`] is our own, for the unified hierarchy
//! and a subtree that systemd delegated. Whatever sets a limit, it is read back from the kernel
//! before a job enters: a controller that is not there must not look like a limit that is.
//!
//! Every worker has one base directory that it holds a lock on; see [`claim`].

mod claim;
mod file;
mod mounts;
mod traces;
pub mod v1;
pub mod v2;

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Pid;
use stap_policy::Limits;

use self::traces::Purpose;

/// Where this worker may make groups; its base is removed when this goes.
#[derive(Debug)]
pub enum Hierarchy {
    /// One hierarchy per controller, perhaps with an empty unified one beside them.
    V1(v1::Hierarchy),
    /// The unified hierarchy.
    V2(v2::Hierarchy),
}

/// The group of one job.
#[derive(Debug)]
pub enum Group {
    /// A directory in each of several hierarchies.
    V1(v1::Group),
    /// One directory.
    V2(v2::Group),
}

/// What the kernel counted for a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Peak memory in bytes, where this kernel tells.
    pub peak_memory: Option<u64>,
    /// The most processes at once, where this kernel tells.
    pub peak_processes: Option<u64>,
}

/// A limit that the kernel enforced on a group, seen in its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// A process was killed because the group had no memory left.
    Memory,
    /// A process could not be started.
    Processes,
}

/// Why there are no groups, or one could not be made, entered or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No controller, or no right to use it.
    #[error("{0}")]
    Unavailable(String),
    /// A file or directory of the kernel refused.
    #[error("{action} {path}")]
    Kernel {
        /// What was tried, as a gerund.
        action: &'static str,
        /// Of the group.
        path: PathBuf,
        /// How the kernel refused.
        source: io::Error,
    },
    /// The kernel holds another value than the one that was written.
    #[error("{path} says {found:?} after {wanted:?} was written to it")]
    NotInForce {
        /// The file of the limit.
        path: PathBuf,
        /// What was written.
        wanted: String,
        /// What is in force.
        found: String,
    },
    /// `cgroups-rs` refused.
    #[error("setting {limit}")]
    Library {
        /// Which limit.
        limit: &'static str,
        /// Why.
        source: cgroups_rs::error::Error,
    },
}

impl Hierarchy {
    /// Finds the groups that this process may use, removes what dead workers left there, and makes
    /// the base of this one.
    ///
    /// # Errors
    ///
    /// When there are none; the error says what would help.
    pub fn claim() -> Result<Self, CgroupError> {
        Self::made_for(Purpose::Work)
    }

    /// The same, to see whether it can be done: nothing of others is removed, and when this goes, all
    /// groups are as they were.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim).
    pub fn trial() -> Result<Self, CgroupError> {
        Self::made_for(Purpose::Trial)
    }

    fn made_for(purpose: Purpose) -> Result<Self, CgroupError> {
        let mounts = mounts::Mounts::of_this_process()?;
        if let Some(unified) = mounts.unified_with_controllers() {
            return v2::Hierarchy::claim(&unified, purpose).map(Self::V2);
        }
        v1::Hierarchy::claim(&mounts, purpose).map(Self::V1)
    }

    /// Makes a group with these limits and removes it: the kernel may let a group be made and refuse
    /// what it is for.
    ///
    /// # Errors
    ///
    /// When a limit does not take.
    pub fn rehearse(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.create("rehearsal", limits)?.remove()
    }

    /// Says what is used, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::V1(hierarchy) => hierarchy.describe(),
            Self::V2(hierarchy) => hierarchy.describe(),
        }
    }

    /// Whether a limit of memory also holds for what the kernel swaps out. It does not where swap is
    /// not accounted; a job's memory can then go on in swap.
    #[must_use]
    pub fn bounds_swap(&self) -> bool {
        match self {
            Self::V1(hierarchy) => hierarchy.bounds_swap(),
            Self::V2(hierarchy) => hierarchy.bounds_swap(),
        }
    }

    /// Whether removing the base takes more than owning what is above it: the kernel makes the top of a
    /// hierarchy without the right to write.
    #[must_use]
    pub fn is_below_what_nobody_may_write(&self) -> bool {
        let bases = match self {
            Self::V1(hierarchy) => hierarchy.bases(),
            Self::V2(hierarchy) => hierarchy.bases(),
        };
        let parents = bases.into_iter().filter_map(|base| base.parent());
        let mut modes = parents
            .filter_map(|parent| parent.metadata().ok())
            .map(|of| of.mode());
        modes.any(|mode| mode & OWNER_WRITES == 0)
    }

    /// Makes a group with limits that are in force when this returns.
    ///
    /// # Errors
    ///
    /// When a limit could not be set or did not take.
    pub fn create(&self, name: &str, limits: &Limits) -> Result<Group, CgroupError> {
        match self {
            Self::V1(hierarchy) => hierarchy.create(name, limits).map(Group::V1),
            Self::V2(hierarchy) => hierarchy.create(name, limits).map(Group::V2),
        }
    }
}

impl Group {
    /// Moves a process into the group; what it starts from then on is in it too.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or does not say afterwards that the process is a member.
    pub fn enter(&self, process: Pid) -> Result<(), CgroupError> {
        match self {
            Self::V1(group) => group.enter(process),
            Self::V2(group) => group.enter(process),
        }
    }

    /// Kills every member. They are gone only when [`Self::is_empty`] says so.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn kill(&self) -> Result<(), CgroupError> {
        match self {
            Self::V1(group) => group.kill(),
            Self::V2(group) => group.kill(),
        }
    }

    /// Whether no process is left.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub fn is_empty(&self) -> Result<bool, CgroupError> {
        match self {
            Self::V1(group) => group.is_empty(),
            Self::V2(group) => group.is_empty(),
        }
    }

    /// What its members used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        match self {
            Self::V1(group) => group.usage(),
            Self::V2(group) => group.usage(),
        }
    }

    /// The limit that was enforced, if one was.
    #[must_use]
    pub fn hit(&self) -> Option<Hit> {
        match self {
            Self::V1(group) => group.hit(),
            Self::V2(group) => group.hit(),
        }
    }

    /// Removes the empty group.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; it is not empty then.
    pub fn remove(&self) -> Result<(), CgroupError> {
        match self {
            Self::V1(group) => group.remove(),
            Self::V2(group) => group.remove(),
        }
    }
}

const OWNER_WRITES: u32 = 0o200;

/// The period in which a share of the processors is counted, in microseconds; the kernel's own
/// default.
const CPU_PERIOD: u64 = 100_000;

/// The processor time of one period that a share in percent amounts to, in microseconds.
fn quota(limits: &Limits) -> u64 {
    limits.cpu_percent.get() * (CPU_PERIOD / 100)
}

#[cfg(test)]
mod tests;
