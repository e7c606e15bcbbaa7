//! What modules are to be built for: one target, or several.

use std::borrow::Cow;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use stap_protocol::announcement::Announcement;
use stap_protocol::target::{Arch, KernelRelease, TargetName, TargetNameError, TargetPattern};
use stap_protocol::text::escape;

use super::command_line::Plan;
use crate::host::Host;

/// What modules are to be built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// As every server understands it.
    One(TargetName),
    /// All that fit one of these patterns.
    Several(Vec<TargetPattern>),
}

/// Why it is not known what to build for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("Invalid kernel release '{given}': {source}")]
    Release {
        given: String,
        source: TargetNameError,
    },
    #[error("Invalid architecture in '{given}': {source}")]
    Arch {
        given: String,
        source: TargetNameError,
    },
    #[error(
        "The kernel release of the build tree {} is not known: {source}\n\
         Build the kernel there first, or give -r its release",
        tree.display()
    )]
    Tree { tree: PathBuf, source: io::Error },
}

impl Wanted {
    /// What a plan asks for.
    ///
    /// # Errors
    ///
    /// When a release is none, or a build tree does not say which it has.
    pub(crate) fn of(plan: &Plan, host: &Host) -> Result<Self, TargetError> {
        if !plan.is_for_several() {
            return Ok(Self::One(target(plan, host)?));
        }
        let arch = plan.arch.as_ref().unwrap_or(&host.target.arch);
        let mut patterns = Vec::new();
        for given in &plan.releases {
            let name = named(given, arch)?;
            patterns.push(TargetPattern::exactly(&name));
        }
        let with_arch = plan.patterns.iter().cloned();
        patterns.extend(with_arch.map(|pattern| pattern.or_arch(arch)));
        if patterns.is_empty() {
            patterns.push(TargetPattern::exactly(&target(plan, host)?));
        }
        Ok(Self::Several(patterns))
    }

    /// Whether a server says that it builds for this, or for one of these.
    pub(crate) fn is_served_by(&self, announcement: &Announcement, host: &Host) -> bool {
        match self {
            Self::One(target) => host.would_be_served(target, announcement),
            Self::Several(patterns) => {
                let target = announcement.target();
                let fits = |pattern: &TargetPattern| {
                    target
                        .as_ref()
                        .is_some_and(|target| pattern.matches(target))
                };
                patterns.iter().any(fits)
            }
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(target) => target.fmt(formatter),
            Self::Several(patterns) => {
                let shown: Vec<_> = patterns.iter().map(ToString::to_string).collect();
                formatter.write_str(&shown.join(", "))
            }
        }
    }
}

/// The target of a plan for one: `-r`, else `SYSTEMTAP_RELEASE`, else the running kernel.
///
/// # Errors
///
/// When the release is none, or a build tree does not say which it has.
pub(crate) fn target(plan: &Plan, host: &Host) -> Result<TargetName, TargetError> {
    let arch = plan.arch.as_ref().unwrap_or(&host.target.arch);
    match given(plan) {
        Some(given) => named(&given, arch),
        None => Ok(TargetName {
            release: host.target.release.clone(),
            arch: arch.clone(),
        }),
    }
}

/// The variable counts as if `-r` had been given, for the server's stap too.
pub(crate) fn given(plan: &Plan) -> Option<OsString> {
    let from_environment =
        || env::var_os("SYSTEMTAP_RELEASE").filter(|release| !release.is_empty());
    plan.releases.last().cloned().or_else(from_environment)
}

/// The architecture behind the release of `-r RELEASE:ARCH`.
pub(crate) fn arch_of_release(plan: &Plan) -> Option<Arch> {
    let (_, arch) = split(plan.releases.last()?);
    arch?.parse().ok()
}

fn named(given: &OsStr, arch: &Arch) -> Result<TargetName, TargetError> {
    let (first, second) = split(given);
    let bad_arch = |source| TargetError::Arch {
        given: escape(given.as_encoded_bytes()),
        source,
    };
    let arch = match second {
        Some(text) => text.parse().map_err(bad_arch)?,
        None => arch.clone(),
    };
    let release = release(&first)?;
    Ok(TargetName { release, arch })
}

/// `RELEASE:ARCH`; the name of a build tree may have colons of its own.
fn split(given: &OsStr) -> (Cow<'_, OsStr>, Option<String>) {
    if Path::new(given).is_absolute() {
        return (Cow::Borrowed(given), None);
    }
    let text = given.to_string_lossy();
    match text.split_once(':') {
        Some((release, arch)) => (Cow::Owned(OsString::from(release)), Some(arch.to_owned())),
        None => (Cow::Borrowed(given), None),
    }
}

fn release(given: &OsStr) -> Result<KernelRelease, TargetError> {
    let tree = Path::new(given);
    let text = if tree.is_absolute() {
        let read = |source| TargetError::Tree {
            tree: tree.to_owned(),
            source,
        };
        release_of_tree(tree).map_err(read)?
    } else {
        given.to_string_lossy().into_owned()
    };
    text.trim().parse().map_err(|source| TargetError::Release {
        given: escape(text.as_bytes()),
        source,
    })
}

fn release_of_tree(tree: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(tree.join("include/config/kernel.release"))?
        .take(MAX_RELEASE_FILE)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// One line with a release.
const MAX_RELEASE_FILE: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn host() -> Host {
        Host {
            target: TargetName {
                release: "6.1".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
            },
            uname_rvm: String::new(),
            name: "h".to_owned(),
        }
    }

    fn wanted(releases: &[&str], patterns: &[&str]) -> String {
        let plan = Plan {
            releases: releases.iter().map(OsString::from).collect(),
            patterns: patterns.iter().map(|text| text.parse().unwrap()).collect(),
            ..Plan::default()
        };
        match Wanted::of(&plan, &host()) {
            Ok(Wanted::One(target)) => format!("one: {target}"),
            Ok(several) => several.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn one_release_is_one_target_and_more_are_patterns() {
        assert_eq!(wanted(&["6.9"], &[]), "one: 6.9 x86_64");
        assert_eq!(wanted(&["6.9:aarch64"], &[]), "one: 6.9 arm64");
        assert_eq!(
            wanted(&["6.9", "6.9:aarch64"], &[]),
            "6.9:x86_64, 6.9:arm64"
        );
        assert_eq!(
            wanted(&["6.9"], &["7.*", "*:arm*"]),
            "6.9:x86_64, 7.*:x86_64, *:arm*"
        );
        let bad = wanted(&["6.9:", "6.8"], &[]);
        assert!(
            bad.contains("'6.9:'") && bad.contains("architecture"),
            "{bad}"
        );
    }

    #[test]
    fn a_server_fits_that_announces_one_of_several() {
        let wanted = Wanted::Several(vec!["6.9".parse().unwrap(), "7.*:arm64".parse().unwrap()]);
        let announced = |text: &str| {
            let pairs = [("sysinfo".to_owned(), text.as_bytes().to_vec())];
            Announcement::from_txt(&pairs).unwrap()
        };
        for (text, expected) in [
            ("6.9 x86_64", true),
            ("7.1 arm64", true),
            ("7.1 x86_64", false),
            ("arm64", false),
            ("../x arm64", false),
        ] {
            assert_eq!(
                wanted.is_served_by(&announced(text), &host()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_release_is_sent_as_a_release_and_not_as_a_tree() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("include/config")).unwrap();
        fs::write(
            tree.path().join("include/config/kernel.release"),
            "6.9.9-x\n",
        )
        .unwrap();
        assert_eq!(
            release(tree.path().as_os_str()).unwrap().as_str(),
            "6.9.9-x"
        );

        let missing = release(OsStr::new("/nonexistent/tree")).unwrap_err();
        assert!(
            missing.to_string().contains("/nonexistent/tree"),
            "{missing}"
        );
        assert!(matches!(
            release(OsStr::new("../x")),
            Err(TargetError::Release { .. })
        ));
    }
}
