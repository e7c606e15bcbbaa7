//! Directories that are being filled, or taken away: each is locked by whoever does it.
//!
//! What an interrupted worker left has no lock any more, and is removed by the next that opens the
//! store. What another server's worker is filling at this moment has one, and stays.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use tempfile::TempDir;

/// One of ours, which goes with this value unless it was renamed.
#[derive(Debug)]
pub(super) struct Pending {
    directory: TempDir,
    _locked: File,
}

impl Pending {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(super) fn below(store: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix(NAME).tempdir_in(store)?;
        // Whoever takes it for abandoned before it is locked has removed it, or holds the lock: then
        // nothing can be put into it, and nothing of it is ever seen.
        let locked = File::open(directory.path())?;
        rustix::fs::flock(&locked, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self {
            directory,
            _locked: locked,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes what interrupted workers left half done.
///
/// # Errors
///
/// When the store cannot be read, or something in it cannot be removed.
pub(super) fn remove_abandoned(store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(NAME.as_bytes())
        {
            // Its owner may have come to an end meanwhile.
            match remove(&entry.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(path, flags, rustix::fs::Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOTDIR | Errno::LOOP) => return fs::remove_file(path),
        Err(errno) => return Err(errno.into()),
    };
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(()),
        Err(errno) => Err(errno.into()),
        Ok(()) => fs::remove_dir_all(path),
    }
}

/// How their names begin.
const NAME: &str = ".pending-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_fills_any_more_is_removed() {
        let store = tempfile::tempdir().unwrap();
        let filled = Pending::below(store.path()).unwrap();
        fs::write(filled.path().join("half"), "").unwrap();
        let path = |name: &str| store.path().join(format!("{NAME}{name}"));
        fs::create_dir(path("dead")).unwrap();
        fs::write(path("dead").join("half"), "").unwrap();
        fs::write(path("file"), "").unwrap();
        std::os::unix::fs::symlink(store.path(), path("link")).unwrap();
        remove_abandoned(store.path()).unwrap();
        assert!(filled.path().join("half").exists());
        assert_eq!(fs::read_dir(store.path()).unwrap().count(), 1);
        drop(filled);
        assert_eq!(fs::read_dir(store.path()).unwrap().count(), 0);
    }
}
