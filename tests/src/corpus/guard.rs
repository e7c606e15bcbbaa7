//! What holds an attack.

use std::fmt;

use stap_jail::layer::Layer;

use super::Who;

/// Something that holds an attack, alone if need be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A layer of the jail. A jail can be built without it.
    Layer(Layer),
    /// Landlock, from this version of its interface on.
    Landlock(u32),
    /// The namespace of control groups, which bounds groups of the server's user where the host says so
    /// (`nsdelegate`, as under systemd). Groups of root's are refused before that is asked.
    NamespaceOfGroups,
    /// The limit of locked memory, on kernels that count the rings of `io_uring` against it.
    LockedRings,
    /// The job's control group.
    Group,
    /// A rung of the ladder that every jail takes; to do without it is to do without a jail.
    Rung(&'static str),
    /// That a job is nobody: the kernel itself refuses an ordinary user, jail or not. Taken away by
    /// being root.
    Unprivileged,
    /// That the group of the server is root's; it is not where it was given to the server's user.
    Undelegated,
    /// A limit of the policy. Taken away by a policy that allows more.
    Limit(&'static str),
    /// A check that our programs make, in a few words.
    Check(&'static str),
}

/// A guard, and how it answers.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// What holds.
    pub by: Guard,
    /// Words of the reason that it gives when no other guard is there.
    pub says: &'static str,
    /// Whose server has this guard; `None` means everybody's.
    pub only: Option<Who>,
}

impl Held {
    /// Whether this guard is there where `who` runs the server.
    #[must_use]
    pub fn applies_to(&self, who: Who) -> bool {
        self.only.is_none_or(|only| only == who)
    }
}

impl Guard {
    /// The layer to leave out of a jail to be without this guard.
    #[must_use]
    pub fn layer(self) -> Option<Layer> {
        match self {
            Self::Layer(layer) => Some(layer),
            Self::Landlock(_) => Some(Layer::Landlock),
            Self::NamespaceOfGroups => Some(Layer::CgroupNamespace),
            Self::LockedRings => Some(Layer::Rlimits),
            _ => None,
        }
    }

    /// Whether it still holds in a jail without any of the layers.
    #[must_use]
    pub fn is_beyond_layers(self) -> bool {
        matches!(
            self,
            Self::Rung(_) | Self::Unprivileged | Self::Undelegated | Self::Check(_)
        )
    }
}

impl From<Layer> for Guard {
    fn from(layer: Layer) -> Self {
        Self::Layer(layer)
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(layer) => write!(formatter, "{layer}"),
            Self::Landlock(1) => write!(formatter, "landlock"),
            Self::Landlock(abi) => write!(formatter, "landlock (ABI {abi})"),
            Self::NamespaceOfGroups => write!(formatter, "cgroup-namespace, under nsdelegate"),
            Self::LockedRings => write!(formatter, "rlimits, where rings count"),
            Self::Group => write!(formatter, "cgroup"),
            Self::Rung(rung) => write!(formatter, "{rung}"),
            Self::Unprivileged => write!(formatter, "being nobody"),
            Self::Undelegated => write!(formatter, "root's ownership, if it is root's"),
            Self::Limit(limit) => write!(formatter, "limit {limit}"),
            Self::Check(check) => write!(formatter, "{check}"),
        }
    }
}
