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
        let taken = Taken {
            path: self.fresh()?,
            adding: Mutex::default(),
        };
        let shown = Shown(Arc::new(taken));
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
struct Taken {
    path: PathBuf,
    adding: Mutex<()>,
}

impl Shown {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Adds a file, unless there is one of that name, which jobs may be reading.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn add(&self, name: &str, content: &[u8]) -> io::Result<()> {
        // Several may want to add the same file. Whoever finds it is to find all of it.
        let _alone = self.0.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path().join(name);
        if path.try_exists()? {
            return Ok(());
        }
        let written = self.write(ADDING, content, 0o444);
        let own = self.path().join(ADDING);
        written
            .and_then(|()| fs::rename(&own, &path))
            .inspect_err(|_full| {
                // What is left of it would be in the way of the next.
                fs::remove_file(&own).unwrap_or_default();
            })
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
        if let Err(error) = fs::remove_dir_all(&self.path) {
            let directory = self.path.display();
            tracing::debug!(%directory, %error, "a directory stays until the worker ends");
        }
    }
}

/// The name of a file that is being added.
const ADDING: &str = ".adding";

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
        second.add("more", b"1").unwrap();
        second
            .add(
                "more",
                b"another, which jobs that read the first do not see",
            )
            .unwrap();
        assert_eq!(fs::read(second.path().join("more")).unwrap(), b"1");
        assert_eq!(mode(second.path().join("more")), 0o444);
        second.add("no/such/place", b"").unwrap_err();
        second.add("after a failure", b"2").unwrap();
        assert_eq!(fs::read_dir(second.path()).unwrap().count(), 3);
        drop(first);
        assert!(!path.exists() && second.path().exists());
        drop((second, shelf));
        assert_eq!(count(), 0);
    }
}
