//! Paths that cannot lead anywhere but where they say: no `.`, `..`, NUL or surprise in length.
//!
//! They travel as bytes, since a client's file names are in whatever encoding he likes.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// An absolute path on the host, chosen by the operator or the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ByteBuf", into = "ByteBuf")]
pub struct HostPath(PathBuf);

/// An absolute path as the job sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ByteBuf", into = "ByteBuf")]
pub struct JailPath(PathBuf);

/// A path below the workspace, as it may come from a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ByteBuf", into = "ByteBuf")]
pub struct WorkspacePath(PathBuf);

/// Why a path is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Longer or deeper than a path may be, or with a name that is too long for any file system.
    #[error("the path {0:?} is too long or too deep")]
    TooLong(PathBuf),
    /// Relative where it must be absolute.
    #[error("the path {0:?} is not absolute")]
    Relative(PathBuf),
    /// Absolute where it must be relative.
    #[error("the path {0:?} is not relative")]
    Absolute(PathBuf),
    /// Empty, or with a component that is not a plain name.
    #[error("the path {0:?} has components that are not plain names")]
    Irregular(PathBuf),
}

/// The longest path, in bytes; the kernel takes 4096 with the final NUL, and the job's view adds a
/// little in front.
pub(super) const MAX_PATH: usize = 4_000;
/// The longest name in a path, in bytes, as on every Linux file system.
pub(super) const MAX_NAME: usize = 255;
/// The most names in a path. Each may cost a directory.
pub(super) const MAX_DEPTH: usize = 64;

impl TryFrom<PathBuf> for HostPath {
    type Error = PathError;

    fn try_from(path: PathBuf) -> Result<Self, Self::Error> {
        absolute(path).map(Self)
    }
}

impl TryFrom<PathBuf> for JailPath {
    type Error = PathError;

    fn try_from(path: PathBuf) -> Result<Self, Self::Error> {
        absolute(path).map(Self)
    }
}

impl TryFrom<PathBuf> for WorkspacePath {
    type Error = PathError;

    fn try_from(path: PathBuf) -> Result<Self, Self::Error> {
        if path.is_absolute() {
            return Err(PathError::Absolute(path));
        }
        let names = plain_names(&path, &path)?;
        if names == 0 {
            return Err(PathError::Irregular(path));
        }
        Ok(Self(path))
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, PathError> {
    let Ok(below) = path.strip_prefix("/") else {
        return Err(PathError::Relative(path));
    };
    plain_names(&path, below)?;
    Ok(path)
}

/// Counts the names of `relative`, which is all or part of `whole`.
fn plain_names(whole: &Path, relative: &Path) -> Result<usize, PathError> {
    let bytes = whole.as_os_str().as_bytes();
    let mut names = 0;
    for component in relative.components() {
        let Component::Normal(name) = component else {
            return Err(PathError::Irregular(whole.to_owned()));
        };
        if name.len() > MAX_NAME {
            return Err(PathError::TooLong(whole.to_owned()));
        }
        names += 1;
    }
    if bytes.len() > MAX_PATH || names > MAX_DEPTH {
        return Err(PathError::TooLong(whole.to_owned()));
    }
    // `components` forgives what the kernel would not see the same way: a `.` inside, a slash at
    // the end, slashes in a row.
    let as_read: PathBuf = whole.components().collect();
    let spelled_otherwise = as_read.as_os_str() != whole.as_os_str();
    if bytes.contains(&0) || spelled_otherwise {
        return Err(PathError::Irregular(whole.to_owned()));
    }
    Ok(names)
}

macro_rules! path_type {
    ($($name:ident)*) => {$(
        impl $name {
            /// The path itself.
            #[must_use]
            pub fn as_path(&self) -> &Path {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = PathError;

            fn try_from(path: &str) -> Result<Self, Self::Error> {
                PathBuf::from(path).try_into()
            }
        }

        impl TryFrom<&Path> for $name {
            type Error = PathError;

            fn try_from(path: &Path) -> Result<Self, Self::Error> {
                path.to_owned().try_into()
            }
        }

        impl TryFrom<ByteBuf> for $name {
            type Error = PathError;

            fn try_from(path: ByteBuf) -> Result<Self, Self::Error> {
                PathBuf::from(OsString::from_vec(path.into_vec())).try_into()
            }
        }

        impl From<$name> for ByteBuf {
            fn from(path: $name) -> Self {
                Self::from(path.0.into_os_string().into_vec())
            }
        }

        impl From<$name> for PathBuf {
            fn from(path: $name) -> Self {
                path.0
            }
        }
    )*};
}
path_type! { HostPath JailPath WorkspacePath }
