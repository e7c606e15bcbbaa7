//! Which layers of isolation a job must have.

use std::fmt;

use serde::Deserialize;

use crate::quantity::Count;

/// The demand for each layer, in the order in which a job meets them.
///
/// The names are those that the worker and the jail use in their reports.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Layers {
    /// Memory, processes and processor time of the whole tree are limited by a control group.
    pub cgroup: Demand,
    /// Each slot has a uid of its own; only a worker that root started can give it.
    pub slot_uid: Demand,
    /// A user namespace: what a job may do in it means nothing outside.
    pub user: Demand,
    /// A file system of the target's root, read-only, and the workspace; nothing else.
    pub mount: Demand,
    /// Processes see and signal only those of their own job, and none outlives it.
    pub pid: Demand,
    /// No network device, no abstract socket of the host.
    pub net: Demand,
    /// No shared memory or message queue of the host.
    pub ipc: Demand,
    /// A host name of its own.
    pub uts: Demand,
    /// No view of the host's control groups.
    pub cgroup_namespace: Demand,
    /// A `/proc` of the job's own processes only.
    pub proc: Demand,
    /// Limits of each process.
    pub rlimits: Demand,
    /// No capability, and none to be had.
    pub capabilities: Demand,
    /// No program gains rights by being started.
    pub no_new_privs: Demand,
    /// The kernel checks file access a second time, by path.
    pub landlock: Demand,
    /// Only the system calls that a compile needs.
    pub seccomp: Demand,
    /// The lowest version of Landlock's interface that counts as having `landlock`.
    pub landlock_abi: Count<1, 64>,
}

/// How much a layer matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Demand {
    /// Refuse to start where the host cannot give it.
    Require,
    /// Use it where the host can give it; say so once where it cannot.
    Try,
    /// Do not use it.
    Off,
}

impl Layers {
    /// Every layer with its demand, in order.
    #[must_use]
    pub const fn demands(&self) -> [(&'static str, Demand); 15] {
        [
            ("cgroup", self.cgroup),
            ("slot-uid", self.slot_uid),
            ("user", self.user),
            ("mount", self.mount),
            ("pid", self.pid),
            ("net", self.net),
            ("ipc", self.ipc),
            ("uts", self.uts),
            ("cgroup-namespace", self.cgroup_namespace),
            ("proc", self.proc),
            ("rlimits", self.rlimits),
            ("capabilities", self.capabilities),
            ("no-new-privs", self.no_new_privs),
            ("landlock", self.landlock),
            ("seccomp", self.seccomp),
        ]
    }

    /// The demand for one layer; `None` for a name that is no layer.
    #[must_use]
    pub fn demand(&self, name: &str) -> Option<Demand> {
        self.demands()
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, demand)| demand)
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Require => "require",
            Self::Try => "try",
            Self::Off => "off",
        })
    }
}
