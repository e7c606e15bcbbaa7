//! The one temporary directory of a client: private, and gone at the end on every path.

use std::env;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::diagnostics::Diagnostics;

/// `stapXXXXXX`, readable by its owner only, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    directory: TempDir,
}

/// Why there is no temporary directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScratchError {
    #[error("TMPDIR must be an absolute path, and is '{0}'")]
    Relative(String),
    #[error("Cannot create a temporary directory in {}: {source}", parent.display())]
    Create { parent: PathBuf, source: io::Error },
}

impl Scratch {
    /// Makes it below `$TMPDIR`, or `/tmp`.
    pub(crate) fn new() -> Result<Self, ScratchError> {
        let parent = parent(env::var_os("TMPDIR").map(PathBuf::from))?;
        tempfile::Builder::new()
            .prefix("stap")
            .rand_bytes(6)
            .permissions(Permissions::from_mode(PRIVATE))
            .tempdir_in(&parent)
            .map(|directory| Self { directory })
            .map_err(|source| ScratchError::Create { parent, source })
    }

    /// Its path, absolute.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a new file below it. `name` is relative and plain by its type or by being ours.
    pub(crate) fn write(&self, name: &Path, contents: &[u8]) -> io::Result<PathBuf> {
        let path = self.path().join(name);
        if let Some(parent) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(PRIVATE)
                .create(parent)?;
        }
        // Never over a file that is already there, and never through a link.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path)?;
        file.write_all(contents)?;
        Ok(path)
    }

    /// Leaves it behind for the user, as `-k` asks, and says where it is.
    pub(crate) fn keep(self, diagnostics: &Diagnostics) {
        let path = self.directory.keep();
        diagnostics.plain(format_args!(
            "Keeping temporary directory \"{}\"",
            path.display()
        ));
    }
}

fn parent(tmpdir: Option<PathBuf>) -> Result<PathBuf, ScratchError> {
    match tmpdir.filter(|path| !path.as_os_str().is_empty()) {
        None => Ok("/tmp".into()),
        Some(path) if path.is_absolute() => Ok(path),
        Some(path) => Err(ScratchError::Relative(path.display().to_string())),
    }
}

/// Puts a result into the current directory, complete or not at all.
///
/// # Errors
///
/// When the current directory cannot be written.
pub(crate) fn save_here(name: &Path, contents: &[u8]) -> io::Result<()> {
    save_in(Path::new("."), name, contents)
}

/// The same for any directory.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn save_in(directory: &Path, name: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(".stap")
        // Modified by the caller's umask.
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(plain)?;
    file.write_all(contents).map_err(plain)?;
    file.flush()?;
    // The rename replaces a link of that name instead of writing through it.
    file.persist(directory.join(name))
        .map_err(|error| error.error)?;
    Ok(())
}

/// Without the name of a file that nobody asked for, which the library adds.
fn plain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => error,
        None => error.kind().into(),
    }
}

const PRIVATE: u32 = 0o700;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_relative_tmpdir_is_refused() {
        assert!(matches!(
            parent(Some("tmp".into())),
            Err(ScratchError::Relative(_))
        ));
        assert_eq!(parent(Some("".into())).unwrap(), Path::new("/tmp"));
        assert_eq!(parent(None).unwrap(), Path::new("/tmp"));
    }

    #[test]
    fn what_cannot_be_saved_is_told_without_names_that_nobody_gave() {
        let place = tempfile::tempdir().unwrap();
        let missing = place.path().join("missing");
        let error = save_in(&missing, Path::new("m.ko"), b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!error.to_string().contains(".stap"), "{error}");
    }

    #[test]
    fn it_is_private_and_goes_away() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        scratch.write(Path::new("server/a/b"), b"x").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            PRIVATE
        );
        assert!(
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("stap")
        );
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn nothing_is_written_over_or_through_a_link() {
        let scratch = Scratch::new().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), scratch.path().join("x")).unwrap();
        let refused = scratch.write(Path::new("x"), b"new").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(outside.path()).unwrap(), b"");
    }
}
