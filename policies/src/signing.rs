//! Which modules a server signs.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::layers::{Demand, Layers};
use crate::options::Privilege;

/// Signatures that may be asked for. Whatever they are, a module is only signed when it is made of one
/// script and nothing else that its user chose.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Signing {
    /// Below `stapdev`, for whom the server's own key signs.
    privileges: BTreeSet<Unprivileged>,
    /// Whether the keys that the operator made sign for kernels that load nothing else.
    pub machine_owner_keys: bool,
    /// How well the jail has to hold while such a module is made.
    pub isolation: Isolation,
}

/// What is asked of the jail of a job whose module is to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Every layer that the class `strict` requires has to be in force.
    Strict,
    /// What this policy requires of every job is enough.
    Any,
}

/// Those for whom `staprun` asks for a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unprivileged {
    Stapusr,
    Stapsys,
}

impl Signing {
    /// Whether modules for people of this privilege are signed.
    #[must_use]
    pub fn signs_for(&self, privilege: Privilege) -> bool {
        let named = match privilege {
            Privilege::Stapusr => Unprivileged::Stapusr,
            Privilege::Stapsys => Unprivileged::Stapsys,
            Privilege::Stapdev => return false,
        };
        self.privileges.contains(&named)
    }
}

impl Layers {
    /// The layers that these require and `enforced` does not tell of.
    pub fn missing<'a>(
        &'a self,
        enforced: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = &'static str> + 'a {
        let demands = self.demands().into_iter();
        demands
            .filter(move |(name, demand)| *demand == Demand::Require && !enforced(name))
            .map(|(name, _)| name)
    }
}
