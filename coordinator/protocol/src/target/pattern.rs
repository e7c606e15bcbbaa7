//! Patterns of target names: how one request names several.

use std::fmt;
use std::str::FromStr;

use super::{Arch, KernelRelease, MAX_NAME, TargetName, TargetNameError};
use crate::request::SysInfo;

/// `RELEASE[:ARCH]`, in each of which `*` stands for any text and `?` for one character.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetPattern {
    release: String,
    arch: Option<String>,
}

impl TargetPattern {
    /// The pattern that means `target` and nothing else.
    #[must_use]
    pub fn exactly(target: &TargetName) -> Self {
        Self {
            release: target.release.as_str().to_owned(),
            arch: Some(target.arch.as_str().to_owned()),
        }
    }

    /// The same pattern, for `arch` where it names no architecture.
    #[must_use]
    pub fn or_arch(mut self, arch: &Arch) -> Self {
        self.arch.get_or_insert_with(|| arch.as_str().to_owned());
        self
    }

    /// Whether `target` is one of those that are meant.
    #[must_use]
    pub fn matches(&self, target: &TargetName) -> bool {
        let arch = self.arch.as_deref();
        fits(&self.release, target.release.as_str())
            && arch.is_none_or(|arch| fits(arch, target.arch.as_str()))
    }

    /// The one target that is meant, if the pattern has no wildcard.
    #[must_use]
    pub fn single(&self) -> Option<SysInfo> {
        let arch = self.arch.as_deref();
        if has_wildcard(&self.release) || arch.is_some_and(has_wildcard) {
            return None;
        }
        Some(SysInfo {
            release: self.release.parse().ok()?,
            arch: arch.map(str::parse).transpose().ok()?,
        })
    }
}

impl FromStr for TargetPattern {
    type Err = TargetNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (release, arch) = match text.split_once(':') {
            Some((release, arch)) => (release, Some(arch)),
            None => (text, None),
        };
        let release = match has_wildcard(release) {
            true => globbed("kernel release", release)?,
            false => release.parse::<KernelRelease>()?.into(),
        };
        let arch = arch.map(|arch| match has_wildcard(arch) {
            true => globbed("architecture", arch),
            false => arch.parse::<Arch>().map(String::from),
        });
        Ok(Self {
            release,
            arch: arch.transpose()?,
        })
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.arch {
            Some(arch) => write!(formatter, "{}:{arch}", self.release),
            None => formatter.write_str(&self.release),
        }
    }
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// A pattern is never a path or an option, so only its length and characters matter.
fn globbed(what: &'static str, text: &str) -> Result<String, TargetNameError> {
    if text.len() > MAX_NAME {
        return Err(TargetNameError::TooLong(what));
    }
    let allowed = |byte: u8| super::is_plain(byte) || b"*?".contains(&byte);
    if !text.bytes().all(allowed) {
        return Err(TargetNameError::BadCharacter(what));
    }
    Ok(text.to_owned())
}

/// Whether `text` fits `glob`. On a mismatch the last `*` takes one character more, so the time is at
/// most the product of both lengths, whatever the glob.
fn fits(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    let mut star = None;
    while seen < text.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at + 1, seen));
                at += 1;
            }
            Some(b'?') => (at, seen) = (at + 1, seen + 1),
            Some(byte) if *byte == text[seen] => (at, seen) = (at + 1, seen + 1),
            _ => match star {
                Some((behind, taken)) => {
                    star = Some((behind, taken + 1));
                    (at, seen) = (behind, taken + 1);
                }
                None => return false,
            },
        }
    }
    glob[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> TargetPattern {
        text.parse().unwrap()
    }

    fn target(release: &str, arch: &str) -> TargetName {
        TargetName {
            release: release.parse().unwrap(),
            arch: arch.parse().unwrap(),
        }
    }

    #[test]
    fn wildcards_stand_for_text() {
        let cloud = target("6.12.107+deb13-cloud-amd64", "x86_64");
        for text in [
            "*",
            "*:*",
            "6.12.*",
            "6.12.*-amd64:x86_*",
            "*cloud*",
            "?.12.107+deb13-cloud-amd64",
            "6.12.107+deb13-cloud-amd64",
            "**6**64",
        ] {
            assert!(pattern(text).matches(&cloud), "{text}");
        }
        for text in ["6.12", "6.1?", "*rt*", "*:arm64", "?", "6.12.*-amd6", "*x"] {
            assert!(!pattern(text).matches(&cloud), "{text}");
        }
    }

    #[test]
    fn what_has_no_wildcard_is_one_target() {
        let one = pattern("6.1-arm64:aarch64");
        assert_eq!(one.to_string(), "6.1-arm64:arm64");
        assert_eq!(
            one.single(),
            Some(SysInfo::from(target("6.1-arm64", "arm64")))
        );
        let any = pattern("6.1").single().unwrap();
        assert_eq!(any.arch, None);
        assert_eq!(pattern("6.1*").single(), None);
        assert_eq!(pattern("6.1:*").single(), None);
    }

    #[test]
    fn an_architecture_is_only_added_where_there_is_none() {
        let arch = "s390x".parse().unwrap();
        assert_eq!(pattern("6.*").or_arch(&arch).to_string(), "6.*:s390");
        assert_eq!(pattern("6.*:*").or_arch(&arch).to_string(), "6.*:*");
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "", ":", "6.1:", ":x86_64", "../etc", "[6]*", "6 *", "6*\n", "-r*:a:b", "{a,b}", "é*",
        ] {
            assert!(text.parse::<TargetPattern>().is_err(), "{text:?}");
        }
        let long = "*".repeat(MAX_NAME + 1);
        assert_eq!(
            long.parse::<TargetPattern>(),
            Err(TargetNameError::TooLong("kernel release"))
        );
    }

    /// As slow as it likes to be, and plainly right.
    fn fits_plainly(glob: &[u8], text: &[u8]) -> bool {
        match (glob.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => fits_plainly(rest, text),
            (Some((b'*', rest)), Some((_, after))) => {
                fits_plainly(rest, text) || fits_plainly(glob, after)
            }
            (Some((one, rest)), Some((other, after))) => {
                (*one == b'?' || one == other) && fits_plainly(rest, after)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_glob_fits_what_the_plain_definition_fits(glob in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let plainly = fits_plainly(glob.as_bytes(), text.as_bytes());
            prop_assert_eq!(fits(&glob, &text), plainly);
        }

        #[test]
        fn a_pattern_is_read_as_it_is_printed(text in "[a-z0-9.*?]{1,9}(:[a-z0-9*?]{1,6})?") {
            let Ok(pattern) = text.parse::<TargetPattern>() else { return Ok(()) };
            prop_assert_eq!(pattern.to_string().parse::<TargetPattern>(), Ok(pattern));
        }
    }
}
