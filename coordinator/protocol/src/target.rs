//! Names of what a module is built for: a kernel release on an architecture.

mod pattern;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use pattern::TargetPattern;

/// A kernel release as `uname -r` prints it, for example `6.12.107+deb13-amd64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KernelRelease(String);

/// An architecture in the kernel's own spelling (`x86_64`, `arm64`, `powerpc`, ...), normalised from
/// what `uname -m` prints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Arch(String);

/// What a client asks for and a server announces: `<release> <arch>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetName {
    /// The kernel release.
    pub release: KernelRelease,
    /// The architecture.
    pub arch: Arch,
}

/// Stands for everything that a job of a target can read besides its request: two jobs with equal
/// requests and equal identities give equal results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TargetIdentity(pub [u8; 32]);

/// Why a text is not a kernel release or an architecture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetNameError {
    /// Nothing was given.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// More than [`MAX_NAME`] bytes.
    #[error("the {0} is longer than {MAX_NAME} bytes")]
    TooLong(&'static str),
    /// A character that could change the meaning of a path or an option.
    #[error("the {0} contains a character other than letters, digits and . _ + ~ -")]
    BadCharacter(&'static str),
    /// It starts with `.` or `-`, or holds `..`, and could be taken for a path or an option.
    #[error("the {0} may not start with . or - and may not contain ..")]
    BadShape(&'static str),
}

/// The longest release or architecture, in bytes. `struct utsname` holds 64 of each; the kernel's
/// own build refuses longer releases.
pub const MAX_NAME: usize = 64;

impl KernelRelease {
    /// The text as `uname -r` prints it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Arch {
    /// The normalised text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KernelRelease {
    type Err = TargetNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        plain("kernel release", text).map(|text| Self(text.to_owned()))
    }
}

impl FromStr for Arch {
    type Err = TargetNameError;

    /// Accepts what `uname -m` prints, and the kernel's own spelling.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        plain("architecture", text).map(|text| Self(normalised(text)))
    }
}

impl TryFrom<String> for KernelRelease {
    type Error = TargetNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for Arch {
    type Error = TargetNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<KernelRelease> for String {
    fn from(release: KernelRelease) -> Self {
        release.0
    }
}

impl From<Arch> for String {
    fn from(arch: Arch) -> Self {
        arch.0
    }
}

impl fmt::Display for KernelRelease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.release, self.arch)
    }
}

fn plain<'a>(what: &'static str, text: &'a str) -> Result<&'a str, TargetNameError> {
    if text.is_empty() {
        return Err(TargetNameError::Empty(what));
    }
    if text.len() > MAX_NAME {
        return Err(TargetNameError::TooLong(what));
    }
    if !text.bytes().all(is_plain) {
        return Err(TargetNameError::BadCharacter(what));
    }
    if text.starts_with(['.', '-']) || text.contains("..") {
        return Err(TargetNameError::BadShape(what));
    }
    Ok(text)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte)
}

/// The mapping that SystemTap and the kernel's `scripts/subarch.include` apply to `uname -m`.
fn normalised(machine: &str) -> String {
    let bytes = machine.as_bytes();
    let name = match bytes {
        [b'i', _, b'8', b'6'] => "i386",
        b"sun4u" => "sparc64",
        b"aarch64" => "arm64",
        b"arm64" => "arm64",
        [b'a', b'r', b'm', ..] | [b's', b'a', b'1', ..] => "arm",
        [b's', b'3', b'9', b'0', ..] => "s390",
        [b'p', b'p', b'c', ..] => "powerpc",
        [b'm', b'i', b'p', b's', ..] => "mips",
        [b's', b'h', _] => "sh",
        _ => machine,
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_could_be_a_path_or_an_option_is_refused() {
        for text in [
            "", "../etc", "/usr/src", "-rf", ".hidden", "6.1..2", "6.1 2", "6.1\n", "é",
        ] {
            assert!(
                text.parse::<KernelRelease>().is_err(),
                "{text:?} was accepted"
            );
        }
        assert_eq!(
            "a".repeat(MAX_NAME + 1).parse::<KernelRelease>(),
            Err(TargetNameError::TooLong("kernel release"))
        );
    }

    #[test]
    fn machines_are_spelled_as_the_kernel_spells_them() {
        for (machine, arch) in [
            ("x86_64", "x86_64"),
            ("i686", "i386"),
            ("aarch64", "arm64"),
            ("armv7l", "arm"),
            ("s390x", "s390"),
            ("ppc64le", "powerpc"),
            ("mips64", "mips"),
            ("sh4", "sh"),
            ("riscv64", "riscv64"),
        ] {
            assert_eq!(machine.parse::<Arch>().unwrap().as_str(), arch);
        }
    }

    #[test]
    fn a_target_name_prints_as_sysinfo() {
        let name = TargetName {
            release: "7.2.12+deb14-amd64".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        };
        assert_eq!(name.to_string(), "7.2.12+deb14-amd64 x86_64");
    }
}
