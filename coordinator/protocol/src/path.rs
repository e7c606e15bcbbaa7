//! Names of files that come from a peer.
//!
//! Whoever holds one of these types can join it below a directory of its own without looking again:
//! the only way to make one, serde included, is through the checks here. Names are bytes, because
//! file names on Linux are; nothing is ever guessed about their encoding.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::text;

/// The longest relative path in bytes. Linux takes 4096 for a whole path, of which the directory
/// that a peer's files are put into needs a part.
pub const MAX_PATH: usize = 2048;

/// The longest single name in bytes, as in every file system that we could meet.
pub const MAX_NAME: usize = 255;

/// The deepest relative path, in components.
pub const MAX_DEPTH: usize = 64;

/// A path that stays below whatever directory it is joined to: relative, with normal components
/// only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct RelativePath(Vec<u8>);

/// One name without any directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct FileName(Vec<u8>);

/// Why bytes are not a safe name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No bytes at all.
    #[error("it is empty")]
    Empty,
    /// It starts with `/`.
    #[error("it is absolute")]
    Absolute,
    /// It holds `..` as a component.
    #[error("it contains ..")]
    Parent,
    /// It holds `.`, or two slashes in a row, or ends with a slash, so that two spellings would name
    /// one file.
    #[error("it contains . or an empty component")]
    NotNormal,
    /// It holds a NUL byte, at which C programs would cut it.
    #[error("it contains a NUL byte")]
    Nul,
    /// More than [`MAX_PATH`] bytes in all.
    #[error("it is longer than {MAX_PATH} bytes")]
    TooLong,
    /// A component of more than [`MAX_NAME`] bytes.
    #[error("one of its components is longer than {MAX_NAME} bytes")]
    ComponentTooLong,
    /// More than [`MAX_DEPTH`] components.
    #[error("it is deeper than {MAX_DEPTH} directories")]
    TooDeep,
    /// A directory where one name was expected.
    #[error("it contains a slash")]
    Slash,
}

impl RelativePath {
    /// Checks `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        check_path(&bytes)?;
        Ok(Self(bytes))
    }

    /// The path's own bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a path of the operating system.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Its components, all of them normal.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }

    /// Orders like components, not like bytes: whatever is below `a` comes directly behind `a`.
    #[must_use]
    pub fn cmp_by_components(&self, other: &Self) -> Ordering {
        self.components().cmp(other.components())
    }

    /// Whether this path is a directory above `other`.
    #[must_use]
    pub fn is_above(&self, other: &Self) -> bool {
        other
            .0
            .strip_prefix(&self.0[..])
            .is_some_and(|rest| rest.starts_with(b"/"))
    }

    /// Returns a path that cannot be the path of a file beside all the others, because another file
    /// has the same one or one below it.
    pub fn first_conflict<'a>(paths: impl Iterator<Item = &'a Self>) -> Option<&'a Self> {
        let mut sorted: Vec<_> = paths.collect();
        sorted.sort_by(|a, b| a.cmp_by_components(b));
        let conflict = |pair: &&[&'a Self]| pair[0] == pair[1] || pair[0].is_above(pair[1]);
        sorted.windows(2).find(conflict).map(|pair| pair[0])
    }
}

impl FileName {
    /// Checks `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        if bytes.contains(&b'/') {
            return Err(PathError::Slash);
        }
        check_path(&bytes)?;
        Ok(Self(bytes))
    }

    /// The name's own bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a path of the operating system.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The name as text, for messages and for names that are known to be ASCII.
    #[must_use]
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Whether it ends in `suffix`, for example `.ko`.
    #[must_use]
    pub fn has_suffix(&self, suffix: &str) -> bool {
        self.0.ends_with(suffix.as_bytes())
    }
}

/// The traits that both names have in common.
macro_rules! name_traits {
    ($name:ident) => {
        impl AsRef<Path> for $name {
            fn as_ref(&self) -> &Path {
                self.as_path()
            }
        }

        impl TryFrom<Vec<u8>> for $name {
            type Error = PathError;

            fn try_from(bytes: Vec<u8>) -> Result<Self, Self::Error> {
                Self::new(bytes)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = PathError;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl TryFrom<&Path> for $name {
            type Error = PathError;

            fn try_from(path: &Path) -> Result<Self, Self::Error> {
                Self::new(path.as_os_str().as_bytes())
            }
        }

        impl From<$name> for Vec<u8> {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            /// Escaped: safe in a log line or a message.
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&text::escape(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({self})", stringify!($name))
            }
        }
    };
}

name_traits!(RelativePath);
name_traits!(FileName);

fn check_path(bytes: &[u8]) -> Result<(), PathError> {
    if bytes.is_empty() {
        return Err(PathError::Empty);
    }
    if bytes.len() > MAX_PATH {
        return Err(PathError::TooLong);
    }
    if bytes.contains(&0) {
        return Err(PathError::Nul);
    }
    if bytes.starts_with(b"/") {
        return Err(PathError::Absolute);
    }
    if bytes.split(|byte| *byte == b'/').count() > MAX_DEPTH {
        return Err(PathError::TooDeep);
    }
    bytes
        .split(|byte| *byte == b'/')
        .try_for_each(check_component)
}

fn check_component(component: &[u8]) -> Result<(), PathError> {
    match component {
        b".." => Err(PathError::Parent),
        b"" | b"." => Err(PathError::NotNormal),
        long if long.len() > MAX_NAME => Err(PathError::ComponentTooLong),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_bad_shape_is_refused_for_its_own_reason() {
        let deep = ["d"; MAX_DEPTH + 1].join("/");
        for (text, reason) in [
            ("", PathError::Empty),
            ("/etc/passwd", PathError::Absolute),
            ("..", PathError::Parent),
            ("script/../../x", PathError::Parent),
            ("script/./x", PathError::NotNormal),
            ("script//x", PathError::NotNormal),
            ("script/", PathError::NotNormal),
            ("a\0b", PathError::Nul),
            (&"x".repeat(MAX_NAME + 1), PathError::ComponentTooLong),
            (&"x/".repeat(MAX_PATH), PathError::TooLong),
            (&deep, PathError::TooDeep),
        ] {
            assert_eq!(RelativePath::try_from(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn a_file_name_has_no_directory() {
        assert_eq!(FileName::try_from("a/b"), Err(PathError::Slash));
        assert_eq!(FileName::try_from(".."), Err(PathError::Parent));
        assert_eq!(
            FileName::try_from("stap_1.ko").unwrap().as_bytes(),
            b"stap_1.ko"
        );
    }

    #[test]
    fn a_file_cannot_be_the_directory_of_another() {
        let conflict = |names: &[&str]| {
            let paths: Vec<_> = names
                .iter()
                .map(|n| RelativePath::try_from(*n).unwrap())
                .collect();
            RelativePath::first_conflict(paths.iter()).map(ToString::to_string)
        };
        assert_eq!(conflict(&["a", "a-b", "a.b", "ab", "b/a"]), None);
        assert_eq!(conflict(&["a/b", "a-b", "a"]).as_deref(), Some("a"));
        assert_eq!(conflict(&["a/b/c", "x", "a"]).as_deref(), Some("a"));
        assert_eq!(conflict(&["x", "a", "x"]).as_deref(), Some("x"));
    }

    #[test]
    fn a_bad_path_does_not_come_out_of_postcard() {
        let bytes = postcard::to_stdvec(&b"../x".to_vec()).unwrap();
        postcard::from_bytes::<RelativePath>(&bytes).unwrap_err();
    }

    proptest! {
        #[test]
        fn an_accepted_path_never_leaves_the_directory_it_is_joined_to(bytes: Vec<u8>) {
            if let Ok(path) = RelativePath::new(bytes) {
                let all_normal = path.as_path().components().all(|c| matches!(c, Component::Normal(_)));
                prop_assert!(all_normal);
                prop_assert_eq!(path.as_path().components().count(), path.components().count());
            }
        }

        #[test]
        fn likely_paths_are_normal_too(text in "[a./\\x00 -]{0,12}") {
            if let Ok(path) = RelativePath::new(text) {
                let all_normal = path.as_path().components().all(|c| matches!(c, Component::Normal(_)));
                prop_assert!(all_normal);
            }
        }
    }
}
