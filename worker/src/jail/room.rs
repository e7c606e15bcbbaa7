//! The place where an errand works, and how it is removed.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use stap_jail::handover;
use stap_jail::plan::{self, Identity};
use tempfile::TempDir;

use super::{Fault, Jail};

/// Where an errand will work; made first, because its arguments name paths in it.
#[derive(Debug)]
pub struct Room {
    /// Where the errand sees it.
    pub path: PathBuf,
    /// On hosts where it cannot be in memory; removed when this goes.
    pub(super) directory: Option<OnDisk>,
}

/// A directory of this worker's that is removed when this goes, or else by the next worker. An errand
/// may fill it as it likes.
#[derive(Debug)]
pub struct OnDisk {
    path: PathBuf,
    /// The kernel lets go of it when the worker dies, however that comes.
    _lock: OwnedFd,
}

impl OnDisk {
    /// Makes one that only its owner can enter.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn below(temporary: &Path) -> io::Result<Self> {
        let (directory, lock) = temporary_locked_in(temporary)?;
        let path = directory.keep();
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Jail {
    /// Makes the place where an errand will work.
    ///
    /// # Errors
    ///
    /// When a directory is needed and cannot be made.
    pub fn room(&self, identity: Identity) -> Result<Room, Fault> {
        if self.has_own_view() {
            return Ok(Room {
                path: PathBuf::from(plan::WORKSPACE),
                directory: None,
            });
        }
        let failed = |error: io::Error| Fault::Io("making a workspace", error);
        let directory = OnDisk::below(&self.temporary).map_err(failed)?;
        if let Identity::Slot { uid, gid } = identity {
            std::os::unix::fs::chown(&directory.path, Some(uid), Some(gid)).map_err(failed)?;
        }
        Ok(Room {
            path: directory.path.clone(),
            directory: Some(directory),
        })
    }
}

/// Removes the workspaces on disk of workers that were killed. Whose they may be is for
/// `is_ours` to say; the directory may be one in which everybody can make some.
pub fn sweep(temporary: &Path, is_ours: impl Fn(u32) -> bool) {
    let entries = fs::read_dir(temporary).into_iter().flatten();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let owner = path.symlink_metadata().map(|metadata| metadata.uid());
        if !name.starts_with(PREFIX.as_bytes()) || !owner.is_ok_and(&is_ours) {
            continue;
        }
        let directory = path.display().to_string();
        match locked(&path).and_then(|_lock| remove(&path)) {
            Ok(()) => tracing::warn!(directory, "removed what a dead worker left"),
            Err(error) if is_in_other_hands(&error) => {}
            Err(error) => tracing::error!(directory, %error, "a dead worker's files remain"),
        }
    }
}

impl Room {
    /// Whether the kernel bounds what it holds.
    pub(super) fn is_in_memory(&self) -> bool {
        self.directory.is_none()
    }

    /// The workspace of a launcher that said what holds, or is dead: a descriptor that it sent is in
    /// the socket already, or never comes.
    pub(super) fn opened(&self, socket: &OwnedFd) -> Result<Option<OwnedFd>, Fault> {
        let opened = match &self.directory {
            None => match handover::receive_workspace(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                received => received,
            },
            Some(OnDisk { path, .. }) => {
                let opened = rustix::fs::open(path, DIRECTORY, Mode::empty());
                opened.map(Some).map_err(io::Error::from)
            }
        };
        opened.map_err(|error| Fault::Io("opening the workspace", error))
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            let directory = self.path.display();
            tracing::error!(%directory, %error, "a workspace is left on the disk; remove it");
        }
    }
}

/// Removes a directory that was built to resist: one without permissions, or so deep that a
/// recursion runs out of descriptors or of stack. Every directory is moved into one of ours before
/// it is emptied, so that none is ever deeper than one level.
fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let (flat, _lock) = temporary_locked_in(parent)?;
    let outside = rustix::fs::open(parent, DIRECTORY, Mode::empty())?;
    let inside = rustix::fs::open(flat.path(), DIRECTORY, Mode::empty())?;
    let mut moved = Moved::default();
    moved.take(&outside, name.as_bytes(), &inside)?;
    while let Some(name) = moved.waiting.pop_front() {
        let directory = rustix::fs::openat(&inside, &name, DIRECTORY, Mode::empty())?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let entry = entry.file_name().to_bytes();
            if matches!(entry, b"." | b"..") {
                continue;
            }
            match rustix::fs::unlinkat(&directory, entry, AtFlags::empty()) {
                Err(Errno::ISDIR) => moved.take(&directory, entry, &inside)?,
                unlinked => unlinked?,
            }
        }
        rustix::fs::unlinkat(&inside, &name, AtFlags::REMOVEDIR)?;
    }
    flat.close()
}

/// Directories that still have to be emptied, by the numbers that they got.
#[derive(Default)]
struct Moved {
    waiting: VecDeque<OsString>,
    count: u64,
}

impl Moved {
    fn take(&mut self, from: &OwnedFd, name: &[u8], to: &OwnedFd) -> io::Result<()> {
        open_up(from, name)?;
        let number = OsString::from(self.count.to_string());
        rustix::fs::renameat(from, name, to, &number)?;
        self.count += 1;
        self.waiting.push_back(number);
        Ok(())
    }
}

/// Lets its owner list, empty and move a directory.
fn open_up(parent: impl AsFd, name: &[u8]) -> io::Result<()> {
    // Through a descriptor, so that it is this directory whatever a survivor puts in its place.
    let look = OFlags::PATH | DIRECTORY;
    let directory = rustix::fs::openat(parent, name, look, Mode::empty())?;
    let itself = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    Ok(rustix::fs::chmod(itself, Mode::RWXU)?)
}

/// Opens a directory, whatever its permissions, and locks it; would block where another worker has
/// it, whose jails may need its permissions as they are. It is not found where another worker took it for a dead
/// one's and removed it before it was locked.
fn locked(path: &Path) -> io::Result<OwnedFd> {
    let open = || rustix::fs::open(path, DIRECTORY, Mode::empty());
    let directory = match open() {
        Err(Errno::ACCESS) => {
            open_up(CWD, path.as_os_str().as_bytes())?;
            open()?
        }
        opened => opened?,
    };
    rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    let (locked, there) = (rustix::fs::fstat(&directory)?, rustix::fs::lstat(path)?);
    if (locked.st_dev, locked.st_ino) != (there.st_dev, there.st_ino) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(directory)
}

/// Whether another worker has the directory, or has just removed it.
fn is_in_other_hands(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotFound
    )
}

/// A directory is nobody's between its making and its lock, and a worker that starts at that moment
/// removes it; then another is made.
fn temporary_locked_in(parent: &Path) -> io::Result<(TempDir, OwnedFd)> {
    let mut attempts = 1..=MOST_ATTEMPTS;
    loop {
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        match locked(directory.path()) {
            Err(error) if is_in_other_hands(&error) && attempts.next().is_some() => {}
            locked => return locked.map(|lock| (directory, lock)),
        }
    }
}

/// Not what kept workspaces are called.
const PREFIX: &str = "stap-workspace.";
/// Far more workers than ever start within the same microseconds.
const MOST_ATTEMPTS: u32 = 100;
const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Another server starts beside one whose jails, of other uids, walk through its directory.
    #[test]
    fn what_another_worker_has_is_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let theirs = OnDisk::below(parent.path()).unwrap();
        fs::set_permissions(theirs.path(), fs::Permissions::from_mode(0o755)).unwrap();
        sweep(parent.path(), |_| true);
        let mode = theirs.path().metadata().unwrap().mode();
        assert_eq!(mode & 0o7777, 0o755);
        let path = theirs.path().to_owned();
        let OnDisk { _lock: lock, .. } = &theirs;
        rustix::fs::flock(lock, FlockOperation::Unlock).unwrap();
        sweep(parent.path(), |_| true);
        assert!(!path.exists(), "a dead worker's is removed");
        std::mem::forget(theirs);
    }

    /// Ten servers of one user start at once: each sweeps while others make directories.
    #[test]
    fn a_directory_that_is_being_made_is_not_swept_away() {
        let parent = tempfile::tempdir().unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        let over = || done.load(std::sync::atomic::Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over() {
                    sweep(parent.path(), |_| true);
                }
            });
            let made: Vec<_> = (0..500).map(|_| OnDisk::below(parent.path())).collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            for one in &made {
                let one = one.as_ref().expect("one that a sweep took is made again");
                assert!(
                    one.path().is_dir(),
                    "{} was swept away",
                    one.path().display()
                );
            }
        });
    }

    #[test]
    fn nothing_outside_of_a_directory_is_touched_by_its_removal() {
        let parent = tempfile::tempdir().unwrap();
        let other = parent.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("file"), "x").unwrap();
        let doomed = parent.path().join("doomed");
        fs::create_dir_all(doomed.join("0/1/2")).unwrap();
        symlink(&other, doomed.join("0/link")).unwrap();
        fs::hard_link(other.join("file"), doomed.join("0/1/name")).unwrap();
        remove(&doomed).unwrap();
        let left: Vec<_> = fs::read_dir(parent.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["other"]);
        assert_eq!(fs::read(other.join("file")).unwrap(), b"x");
    }
}
