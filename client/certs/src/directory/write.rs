//! Changing a database: one writer at a time, and never half a file.
//!
//! A file is written under a temporary name with its final mode, synchronised, and renamed. The lock
//! makes one temporary name per directory enough, so what a crash left behind is found and removed by
//! the next writer. Readers need no lock for one file; a reader of a pair takes it.

use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RawMode, SeekFrom, fchmod, fchown, flock, fsync, openat,
    renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Uid, geteuid};

use super::{Directory, is_regular, stat};
use crate::error::DatabaseError;

/// The right to change a directory, until dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    held: OwnedFd,
}

impl Lock {
    /// The same lock once more: it stays taken until whoever gets this has closed it, too. Whoever reads from it finds
    /// its end, whatever somebody has written there.
    pub(super) fn shared(&self) -> std::io::Result<OwnedFd> {
        rustix::fs::seek(&self.held, SeekFrom::End(0))?;
        self.held.try_clone()
    }
}

/// How long another writer may take. Making a key is the longest work under the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(15);

/// How often the lock is asked for meanwhile: flock(2) has no time limit of its own.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// The lock is a file of its own, because NFS locks only files that are open for writing.
const LOCK_NAME: &str = ".lock";

/// Where the next file of this directory is written before it gets its name.
const NEW_NAME: &str = ".new";

impl Directory {
    /// Waits for the right to change this directory, and clears what an interrupted writer left.
    pub(crate) fn lock(&self) -> Result<Lock, DatabaseError> {
        self.lock_within(LOCK_PATIENCE)
    }

    /// The same, if nobody else has it now.
    pub(crate) fn try_lock(&self) -> Result<Lock, DatabaseError> {
        self.lock_within(Duration::ZERO)
    }

    fn lock_within(&self, patience: Duration) -> Result<Lock, DatabaseError> {
        let fd = self.lock_file()?;
        self.wait_for(&fd, patience)?;
        let lock = Lock { held: fd };
        self.remove(&lock, NEW_NAME)?;
        self.remove_private(&lock)?;
        Ok(lock)
    }

    fn lock_file(&self) -> Result<OwnedFd, DatabaseError> {
        let path = self.file_path(LOCK_NAME);
        let failed = |errno| DatabaseError::io("open", &path, errno);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(
            &self.fd,
            LOCK_NAME,
            flags | OFlags::CREATE | OFlags::EXCL,
            SECRET,
        ) {
            Ok(fd) => {
                self.give_to_owner(&fd)?;
                Ok(fd)
            }
            Err(Errno::EXIST) => {
                let fd = openat(&self.fd, LOCK_NAME, flags, SECRET).map_err(failed)?;
                if is_regular(&stat(&fd, &path)?) {
                    Ok(fd)
                } else {
                    Err(failed(Errno::INVAL))
                }
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    /// A lock that root makes in a user's directory must not lock its owner out.
    fn give_to_owner(&self, new_lock: &OwnedFd) -> Result<(), DatabaseError> {
        let owner = stat(&self.fd, &self.path)?.st_uid;
        if !geteuid().is_root() || owner == 0 {
            return Ok(());
        }
        fchown(new_lock, Some(Uid::from_raw(owner)), None)
            .map_err(|errno| DatabaseError::io("give away", &self.file_path(LOCK_NAME), errno))
    }

    fn wait_for(&self, fd: &OwnedFd, patience: Duration) -> Result<(), DatabaseError> {
        let deadline = Instant::now() + patience;
        loop {
            match flock(fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(LOCK_INTERVAL),
                Err(Errno::WOULDBLOCK) => {
                    return Err(DatabaseError::Busy {
                        path: self.path.clone(),
                    });
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(DatabaseError::io("lock", &self.file_path(LOCK_NAME), errno));
                }
            }
        }
    }

    /// Gives `name` this content and mode at once, on disk before it returns.
    pub(crate) fn write(
        &self,
        _lock: &Lock,
        name: &str,
        mode: RawMode,
        content: &[u8],
    ) -> Result<(), DatabaseError> {
        let path = self.file_path(name);
        let failed = |source: std::io::Error| DatabaseError::io("write", &path, source);
        // Secret from the first instant; opened to others only when complete.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = openat(&self.fd, NEW_NAME, flags | OFlags::CLOEXEC, SECRET)
            .map_err(|errno| failed(errno.into()))?;
        let mut file = File::from(fd);
        let written = file
            .write_all(content)
            .and_then(|()| Ok(fchmod(&file, Mode::from_raw_mode(mode))?))
            .and_then(|()| file.sync_all())
            .and_then(|()| Ok(renameat(&self.fd, NEW_NAME, &self.fd, name)?))
            .and_then(|()| Ok(fsync(&self.fd)?));
        written.map_err(|source| {
            // The first error is the one to report; what is left is cleared by the next writer.
            unlinkat(&self.fd, NEW_NAME, AtFlags::empty()).ok();
            failed(source)
        })
    }

    /// Gives an existing file of this user another mode. Somebody else's is left alone: the rules tell
    /// its owner.
    pub(crate) fn set_mode(&self, name: &str, mode: RawMode) -> Result<(), DatabaseError> {
        let path = self.file_path(name);
        let failed = |errno| DatabaseError::io("change the permissions of", &path, errno);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::empty()).map_err(failed)?;
        let status = stat(&fd, &path)?;
        let is_ours = is_regular(&status) && status.st_uid == geteuid().as_raw();
        if !is_ours || status.st_mode & 0o777 == mode {
            return Ok(());
        }
        fchmod(&fd, Mode::from_raw_mode(mode)).map_err(failed)
    }

    /// Gives an entry another name, replacing what has it.
    pub(crate) fn rename(&self, _lock: &Lock, from: &str, to: &str) -> Result<(), DatabaseError> {
        renameat(&self.fd, from, &self.fd, to)
            .and_then(|()| fsync(&self.fd))
            .map_err(|errno| DatabaseError::io("rename", &self.file_path(from), errno))
    }

    /// Removes an entry; tells whether it was there.
    pub(crate) fn remove(&self, _lock: &Lock, name: &str) -> Result<bool, DatabaseError> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(DatabaseError::io("remove", &self.file_path(name), errno)),
        }
    }
}

/// The mode of a file that only its owner may read.
const SECRET: Mode = Mode::from_raw_mode(0o600);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let home = tempfile::tempdir().unwrap();
        let mut findings = Vec::new();
        let directory = Directory::examine(home.path(), None, &mut findings)
            .unwrap()
            .unwrap();
        (home, directory)
    }

    #[test]
    fn a_writer_that_does_not_finish_is_not_waited_for_without_end() {
        let (home, directory) = directory();
        let held = directory.lock().unwrap();
        let second = File::options()
            .write(true)
            .open(home.path().join(LOCK_NAME))
            .unwrap();
        let second = OwnedFd::from(second);
        let error = directory.wait_for(&second, Duration::ZERO).unwrap_err();
        assert!(matches!(error, DatabaseError::Busy { .. }), "{error:?}");
        assert!(
            error.lines()[0].contains("try again"),
            "{:?}",
            error.lines()
        );

        drop(held);
        directory.wait_for(&second, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there_and_nothing_beside_it() {
        let (home, directory) = directory();
        let lock = directory.lock().unwrap();
        // A directory of that name cannot be replaced by a file.
        fs::create_dir(home.path().join("name")).unwrap();
        let error = directory
            .write(&lock, "name", 0o644, b"content")
            .unwrap_err();
        assert!(
            matches!(
                error,
                DatabaseError::Io {
                    action: "write",
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(home.path().join("name").is_dir());
        assert!(!home.path().join(NEW_NAME).exists());
    }
}
