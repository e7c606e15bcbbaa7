//! Modules that a server signs: for whom, under which rules, and what coordinator and signer say to
//! each other about it.
//!
//! A signature is worth what its signer looked at. So the rules of [`rules`] are applied twice to the
//! same job: by the intake, before anything is compiled, and by `stap-signer`, which believes the
//! coordinator nothing that it can find out by itself.

pub mod messages;
pub mod rules;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::options::{CommandLine, Item};
use crate::request::Fingerprint;

/// Whom a module is made for. stap writes it into the module, and `staprun` compares it with the
/// groups of whoever loads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Privilege {
    /// Members of `stapusr`: what touches their own processes.
    Stapusr,
    /// Members of `stapsys`.
    Stapsys,
    /// Members of `stapdev`, and root: everything. Their `staprun` asks for no signature.
    Stapdev,
}

/// The signatures that a job's module is to get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// What stap is to enforce, and what the module must say that it enforced.
    pub privilege: Privilege,
    /// The machine owner key that is to sign it for a kernel that loads nothing else.
    pub machine_owner_key: Option<Fingerprint>,
}

/// `--privilege` and `--unprivileged` say different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Privilege level may be set only once.")]
pub struct PrivilegeConflict;

/// The digest that a kernel's own build uses for the signatures of its modules, and that it can
/// compute for certain when one is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignatureHash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512: what stock servers use for every kernel.
    #[default]
    Sha512,
}

impl Privilege {
    /// The privilege of a command line as stap reads it; `None` when it names none. A word that is no
    /// privilege is left to stap, which refuses it.
    ///
    /// # Errors
    /// When it is given twice with different meanings, which stap refuses too.
    pub fn of(line: &CommandLine) -> Result<Option<Self>, PrivilegeConflict> {
        let named = line.options().filter_map(|item| match item {
            Item::Long {
                name: "privilege",
                value: Some(value),
            } => Self::from_word(value),
            Item::Long {
                name: "unprivileged",
                ..
            } => Some(Self::Stapusr),
            _ => None,
        });
        let mut first = None;
        for privilege in named {
            match first {
                Some(other) if other != privilege => return Err(PrivilegeConflict),
                _ => first = Some(privilege),
            }
        }
        Ok(first)
    }

    /// The privilege that a word of the command line stands for.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Option<Self> {
        match word {
            b"stapusr" => Some(Self::Stapusr),
            b"stapsys" => Some(Self::Stapsys),
            b"stapdev" => Some(Self::Stapdev),
            _ => None,
        }
    }

    /// The number in the module's section [`PRIVILEGE_SECTION`].
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Stapusr => 2,
            Self::Stapsys => 4,
            Self::Stapdev => 8,
        }
    }

    /// Whether `staprun` asks for the signature of a server that it trusts.
    #[must_use]
    pub const fn needs_signature(self) -> bool {
        matches!(self, Self::Stapusr | Self::Stapsys)
    }
}

impl Demand {
    /// Whether there is anything to sign.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.privilege.needs_signature() || self.machine_owner_key.is_some()
    }
}

impl SignatureHash {
    /// The one that a kernel's `CONFIG_MODULE_SIG_HASH` names, if we make such signatures.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "sha256" => Some(Self::Sha256),
            "sha384" => Some(Self::Sha384),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stapusr => "stapusr",
            Self::Stapsys => "stapsys",
            Self::Stapdev => "stapdev",
        })
    }
}

impl fmt::Display for SignatureHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        })
    }
}

/// The section in which stap writes down what it enforced, as a number of 32 bits.
pub const PRIVILEGE_SECTION: &str = ".stap_privilege";

/// What is appended to a module's name for its signature.
pub const SIGNATURE_SUFFIX: &str = ".sgn";
