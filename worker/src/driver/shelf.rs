//! Trusted files that jobs see, read-only.
//!
//! The store is closed to everybody but the server's user, and jobs may have uids of their own. So
//! what they are to see is written to a directory for temporary files, of this worker alone, each
//! time that a worker starts. Nobody but the worker can write to it; jobs see it through a mount
//! that is read-only.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::jail::OnDisk;

/// A directory of directories, made when the first is needed and removed with the worker.
#[derive(Debug)]
pub struct Shelf {
    temporary: PathBuf,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    directory: OnDisk,
    count: u32,
}

impl Shelf {
    /// A shelf below `temporary`.
    #[must_use]
    pub fn below(temporary: PathBuf) -> Self {
        Self {
            temporary,
            made: Mutex::default(),
        }
    }

    /// Makes a directory that holds these files, each with its name, content, and whether it is a
    /// program.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn put(&self, files: &[(&str, &[u8], bool)]) -> io::Result<Shown> {
        let shown = Shown(Arc::new(Taken(self.fresh()?)));
        for (name, content, is_program) in files {
            shown.write(name, content, if *is_program { 0o555 } else { 0o444 })?;
        }
        Ok(shown)
    }

    fn fresh(&self) -> io::Result<PathBuf> {
        // A directory is whole or not there, whatever panicked.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match &mut *made {
            Some(made) => made,
            none => {
                let directory = OnDisk::below(&self.temporary)?;
                open_to_all(directory.path())?;
                none.insert(Made {
                    directory,
                    count: 0,
                })
            }
        };
        made.count += 1;
        let directory = made.directory.path().join(made.count.to_string());
        fs::create_dir(&directory)?;
        open_to_all(&directory)?;
        Ok(directory)
    }
}

/// A directory of a shelf, which goes when nobody shows it any more.
#[derive(Clone, Debug)]
pub struct Shown(Arc<Taken>);

#[derive(Debug)]
struct Taken(PathBuf);

impl Shown {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.0
    }

    /// Adds a file, unless there is one of that name, which jobs may be reading.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn add(&self, name: &str, content: &[u8]) -> io::Result<()> {
        match self.write(name, content, 0o444) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            written => written,
        }
    }

    fn write(&self, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path().join(name))?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            let directory = self.0.display();
            tracing::debug!(%directory, %error, "a directory stays until the worker ends");
        }
    }
}

/// Lets everybody look, and nobody else change anything.
fn open_to_all(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_can_be_seen_by_all_and_changed_by_none_and_go_with_the_shelf() {
        let parent = tempfile::tempdir().unwrap();
        let shelf = Shelf::below(parent.path().to_owned());
        let count = || fs::read_dir(parent.path()).unwrap().count();
        assert_eq!(count(), 0, "nothing is made before it is needed");
        let first = shelf.put(&[("env", b"program", true), ("recipe", b"text", false)]);
        let first = first.unwrap();
        let second = shelf.put(&[("recipe", b"other", false)]).unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let path = first.path().to_owned();
        assert_eq!(mode(path.clone()), 0o755);
        assert_eq!(mode(path.join("env")), 0o555);
        assert_eq!(mode(path.join("recipe")), 0o444);
        assert_eq!(fs::read(path.join("recipe")).unwrap(), b"text");
        assert_eq!(fs::read(second.path().join("recipe")).unwrap(), b"other");
        drop(first);
        assert!(!path.exists() && second.path().exists());
        drop((second, shelf));
        assert_eq!(count(), 0);
    }
}
