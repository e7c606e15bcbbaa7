//! The line that says what to build for: `sysinfo: <release> <arch>`.

use std::fmt;

use crate::target::{Arch, KernelRelease, TargetName, TargetNameError};

/// What a client wants its module built for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SysInfo {
    /// The kernel release.
    pub release: KernelRelease,
    /// The architecture; a client that leaves it out takes whatever the server has.
    pub arch: Option<Arch>,
}

/// Why a line says no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SysInfoError {
    /// More than [`MAX_SYSINFO`] bytes.
    #[error("it is longer than {MAX_SYSINFO} bytes")]
    TooLong,
    /// Not text.
    #[error("it is not text")]
    NotText,
    /// No second word.
    #[error("it has no second word, which would be the kernel release")]
    TooShort,
    /// The second or third word is not what it should be.
    #[error(transparent)]
    Target(#[from] TargetNameError),
}

/// The longest line, in bytes: a label, a release, an architecture, and the `uname -v` that clients
/// of 2009 put between them.
pub const MAX_SYSINFO: usize = 512;

impl SysInfo {
    /// Reads a `sysinfo` member. The label in front may be any word, and the architecture is the
    /// word behind the release.
    pub fn parse(bytes: &[u8]) -> Result<Self, SysInfoError> {
        if bytes.len() > MAX_SYSINFO {
            return Err(SysInfoError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_invalid| SysInfoError::NotText)?;
        let mut words = text.split_ascii_whitespace().skip(1);
        let release = words.next().ok_or(SysInfoError::TooShort)?.parse()?;
        let arch = words.next().map(str::parse).transpose()?;
        Ok(Self { release, arch })
    }

    /// Whether a module for `target` is what this client wants.
    #[must_use]
    pub fn is(&self, target: &TargetName) -> bool {
        self.release == target.release && self.arch.as_ref().is_none_or(|arch| *arch == target.arch)
    }
}

impl From<TargetName> for SysInfo {
    fn from(target: TargetName) -> Self {
        Self {
            release: target.release,
            arch: Some(target.arch),
        }
    }
}

impl fmt::Display for SysInfo {
    /// The release, and the architecture if it is known, as people are shown it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.arch {
            Some(arch) => write!(formatter, "{} {arch}", self.release),
            None => write!(formatter, "{}", self.release),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> TargetName {
        TargetName {
            release: "6.12.107+deb13-amd64".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        }
    }

    #[test]
    fn the_label_does_not_matter() {
        for line in [
            "sysinfo: 6.12.107+deb13-amd64 x86_64",
            "anything 6.12.107+deb13-amd64 x86_64\n",
            "sysinfo:\t6.12.107+deb13-amd64   x86_64 and more",
        ] {
            assert_eq!(
                SysInfo::parse(line.as_bytes()),
                Ok(SysInfo::from(target())),
                "{line:?}"
            );
        }
    }

    #[test]
    fn without_an_architecture_any_will_do() {
        let wanted = SysInfo::parse(b"sysinfo: 6.12.107+deb13-amd64").unwrap();
        assert_eq!(wanted.arch, None);
        assert!(wanted.is(&target()));
    }

    #[test]
    fn another_architecture_is_another_target() {
        let wanted = SysInfo::parse(b"sysinfo: 6.12.107+deb13-amd64 s390x").unwrap();
        assert!(!wanted.is(&target()));
    }

    #[test]
    fn lines_without_a_target_are_refused() {
        assert_eq!(SysInfo::parse(b""), Err(SysInfoError::TooShort));
        assert_eq!(SysInfo::parse(b"sysinfo:"), Err(SysInfoError::TooShort));
        assert_eq!(SysInfo::parse(b"x \xff"), Err(SysInfoError::NotText));
        assert_eq!(
            SysInfo::parse(&[b'x'; MAX_SYSINFO + 1]),
            Err(SysInfoError::TooLong)
        );
        assert!(matches!(
            SysInfo::parse(b"x ../../etc"),
            Err(SysInfoError::Target(_))
        ));
    }
}
