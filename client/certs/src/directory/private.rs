//! A directory inside a database that only this process enters, for work that is not finished.
//!
//! There is one name for it, and the lock is held while it exists, so what a crash left behind is
//! found and removed by the next writer. It is used through its descriptor: whoever owns the
//! database could put another directory in its place.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, RawMode, fchmod, fchown, fsync, mkdirat, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};

use super::{Directory, Lock, MAX_ENTRIES, is_regular, stat};
use crate::error::DatabaseError;

/// The directory; it and what is in it vanish when this is dropped.
#[derive(Debug)]
pub(crate) struct Private<'a> {
    directory: &'a Directory,
    lock: &'a Lock,
    fd: OwnedFd,
}

/// Its name.
const NAME: &str = ".nss.new";

impl Directory {
    /// Makes the private directory, empty.
    pub(crate) fn private<'a>(&'a self, lock: &'a Lock) -> Result<Private<'a>, DatabaseError> {
        let path = self.file_path(NAME);
        let failed = |errno| DatabaseError::io("create", &path, errno);
        self.remove_private(lock)?;
        mkdirat(&self.fd, NAME, Mode::RWXU).map_err(failed)?;
        let fd = openat(&self.fd, NAME, ENTERING, Mode::empty()).map_err(failed)?;
        let status = stat(&fd, &path)?;
        // Between the two calls its name may have been given to a directory of somebody else.
        if status.st_uid != geteuid().as_raw() || status.st_mode & 0o077 != 0 {
            return Err(failed(Errno::PERM));
        }
        // The umask may have taken rights of ours away.
        fchmod(&fd, Mode::RWXU).map_err(failed)?;
        Ok(Private {
            directory: self,
            lock,
            fd,
        })
    }

    /// Removes what was left of it, which may hold a key.
    pub(super) fn remove_private(&self, _lock: &Lock) -> Result<(), DatabaseError> {
        let failed = |errno| DatabaseError::io("remove", &self.file_path(NAME), errno);
        self.unlink_private().map_err(failed)
    }

    fn unlink_private(&self) -> Result<(), Errno> {
        let fd = match openat(&self.fd, NAME, ENTERING, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(()),
            // Not ours, whatever it is, but the name is.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return unlinkat(&self.fd, NAME, AtFlags::empty());
            }
            Err(errno) => return Err(errno),
        };
        empty(&fd)?;
        unlinkat(&self.fd, NAME, AtFlags::REMOVEDIR)
    }
}

/// Removes every file of a directory that has no others below it.
fn empty(fd: &OwnedFd) -> Result<(), Errno> {
    for entry in Dir::read_from(fd)?.take(MAX_ENTRIES) {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            unlinkat(fd, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

impl Private<'_> {
    /// A name of the directory that stays right whatever happens to its path. It holds for this
    /// process and, until it starts a program, for a child of it.
    pub(crate) fn working_directory(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd()).into()
    }

    /// The lock, for a program that works here: when this process is killed, the program goes on for a
    /// moment, and the next writer is not to start beside it. It reads as an empty file.
    pub(crate) fn shared_lock(&self) -> Result<OwnedFd, DatabaseError> {
        let failed = |source| DatabaseError::io("share", &self.file_path("."), source);
        self.lock.shared().map_err(failed)
    }

    /// Writes a file that only this user can read.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), DatabaseError> {
        let failed = |source| DatabaseError::io("write", &self.file_path(name), source);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = openat(&self.fd, name, flags | OFlags::CLOEXEC, mode)
            .map_err(|errno| failed(errno.into()))?;
        File::from(fd).write_all(content).map_err(failed)
    }

    /// Reads a file that is there, not beyond a limit.
    pub(crate) fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, DatabaseError> {
        let path = self.file_path(name);
        let file = openat(&self.fd, name, READING, Mode::empty())
            .map_err(|errno| DatabaseError::io("read", &path, errno))?;
        super::read_bounded(file.into(), &path, limit)
    }

    /// Removes every file in it.
    pub(crate) fn remove_all(&self) -> Result<(), DatabaseError> {
        empty(&self.fd).map_err(|errno| DatabaseError::io("empty", &self.file_path("."), errno))
    }

    /// Moves a finished file into the database, with its final mode, in place of the one that has its
    /// name there. It keeps that one's owner, so that what root changes for a user stays the user's.
    pub(crate) fn publish(&self, name: &str, mode: RawMode) -> Result<(), DatabaseError> {
        let path = self.directory.file_path(name);
        let failed = |errno| DatabaseError::io("replace", &path, errno);
        let file = openat(&self.fd, name, READING, Mode::empty()).map_err(failed)?;
        if let Some(before) = self.directory.in_place(name)?
            && geteuid().is_root()
        {
            let (uid, gid) = (Uid::from_raw(before.st_uid), Gid::from_raw(before.st_gid));
            fchown(&file, Some(uid), Some(gid)).map_err(failed)?;
        }
        fchmod(&file, Mode::from_raw_mode(mode)).map_err(failed)?;
        fsync(&file).map_err(failed)?;
        renameat(&self.fd, name, &self.directory.fd, name).map_err(failed)?;
        fsync(&self.directory.fd).map_err(failed)
    }

    fn file_path(&self, name: &str) -> PathBuf {
        self.directory.file_path(NAME).join(name)
    }
}

impl Directory {
    /// The regular file of this name. Through a link nothing is replaced.
    fn in_place(&self, name: &str) -> Result<Option<rustix::fs::Stat>, DatabaseError> {
        let failed = |errno| DatabaseError::io("replace", &self.file_path(name), errno);
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) if is_regular(&status) => Ok(Some(status)),
            Ok(_) => Err(failed(Errno::LOOP)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }
}

impl Drop for Private<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next writer.
        self.directory.remove_private(self.lock).ok();
    }
}

const ENTERING: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const READING: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
