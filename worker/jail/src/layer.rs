//! The names of the isolation layers, shared by plans, reports, probes and policies.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One thing that the kernel holds a job to, in the order in which a job meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// A uid of its own, which owns nothing and which no other job of the same server has at the
    /// same time.
    SlotUid,
    /// A user namespace: the capabilities used while the jail is built mean nothing outside it.
    User,
    /// A mount namespace with a root of its own: the job sees only what the plan shows.
    Mount,
    /// A pid namespace: other processes do not exist, and all of the job's die with its pid 1.
    Pid,
    /// A network namespace without any interface that is up.
    Net,
    /// Its own System V and POSIX message queues, semaphores and shared memory.
    Ipc,
    /// Its own host name.
    Uts,
    /// Its own view of the cgroup tree.
    CgroupNamespace,
    /// A `/proc` that shows the job's own processes and nothing of the kernel.
    Proc,
    /// Bounds on open files, processes, file sizes, CPU time and locked memory.
    Rlimits,
    /// No capability in any set, and none to be had again.
    Capabilities,
    /// Executing a file never grants anything.
    NoNewPrivs,
    /// Files, TCP ports, signals and abstract sockets beyond the plan are refused by the kernel.
    Landlock,
    /// System calls that a compile does not make do not exist.
    Seccomp,
}

/// A word that is no layer's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no isolation layer {0:?}")]
pub struct UnknownLayer(pub String);

impl Layer {
    /// Every layer, in order.
    pub const ALL: [Self; 14] = [
        Self::SlotUid,
        Self::User,
        Self::Mount,
        Self::Pid,
        Self::Net,
        Self::Ipc,
        Self::Uts,
        Self::CgroupNamespace,
        Self::Proc,
        Self::Rlimits,
        Self::Capabilities,
        Self::NoNewPrivs,
        Self::Landlock,
        Self::Seccomp,
    ];

    /// Its name in policies and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SlotUid => "slot-uid",
            Self::User => "user",
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::CgroupNamespace => "cgroup-namespace",
            Self::Proc => "proc",
            Self::Rlimits => "rlimits",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivs => "no-new-privs",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }

    /// The layers without which this one cannot be had, whoever starts the jail.
    #[must_use]
    pub fn needs(self) -> &'static [Self] {
        match self {
            // The kernel shows a pid namespace only through a /proc mounted inside it.
            Self::Proc => &[Self::Mount, Self::Pid],
            // The kernel lets an unprivileged process filter itself only after this promise.
            Self::Landlock | Self::Seccomp => &[Self::NoNewPrivs],
            _ => &[],
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Layer {
    type Err = UnknownLayer;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|layer| layer.name() == name)
            .ok_or_else(|| UnknownLayer(name.to_owned()))
    }
}

/// A layer that is in force, and what exactly that means here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLayer {
    /// Which.
    pub layer: Layer,
    /// What holds, read back from the kernel where it can be: `ABI 7, fully enforced`.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_is_found_by_its_name_and_listed_in_order() {
        for layer in Layer::ALL {
            assert_eq!(layer.name().parse(), Ok(layer));
        }
        assert!(Layer::ALL.is_sorted());
        assert_eq!(
            "network".parse::<Layer>(),
            Err(UnknownLayer("network".to_owned()))
        );
    }

    #[test]
    fn a_layer_needs_only_layers_that_come_before_it() {
        for layer in Layer::ALL {
            assert!(
                layer.needs().iter().all(|needed| *needed < layer),
                "{layer}"
            );
        }
    }
}
