//! The directory in which entries lie.
//!
//! An entry is written under another name, put on disk, and renamed; so it is there whole or not at
//! all, whenever the server is killed. All of that, and removing what there is no room for, happens
//! under a lock on the directory: several servers may share it, and what a dead one left half done is
//! removed by the next who writes. Reading needs no lock. How recently an entry was used is the time of
//! its file, which decides nothing but the order in which entries go.

mod room;

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use stap_protocol::job::Report;

use crate::entry::{self, Flaw};
use crate::key::Key;

/// An opened directory of entries.
#[derive(Debug)]
pub struct Shelf {
    directory: OwnedFd,
    path: PathBuf,
    bounds: Bounds,
    /// The lock on the directory is the process's; this one is between its threads.
    writing: Mutex<()>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all entries together.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
}

/// Whose the directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user that will serve.
    pub uid: Uid,
    /// Its group.
    pub gid: Gid,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made or opened.
    #[error("the directory of results {path} cannot be used: {source}")]
    Unusable {
        /// As configured.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Others could put modules there.
    #[error(
        "the directory of results {0} must belong to the server's user and be closed to everybody else; correct it \
         with `chown` and `chmod 700`, or remove it"
    )]
    NotPrivate(PathBuf),
}

/// Why a result was not kept. The client has it all the same.
#[derive(Debug, thiserror::Error)]
pub enum NotStored {
    /// It is none that may be kept.
    #[error("it did not end well")]
    NotWorthKeeping,
    /// It would fill the store.
    #[error("it is larger than a quarter of the store")]
    TooLarge,
    /// Another server holds the lock.
    #[error("another server writes into the same store, and does not come to an end")]
    Locked,
    /// The disk is full, or anything else.
    #[error("it cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// The steps of keeping a result, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Waiting for other servers.
    Lock,
    /// Removing leftovers, and entries that were not used for longest.
    MakeRoom,
    /// Making the file under its passing name.
    Create,
    /// Filling it.
    Write,
    /// Waiting until it is on disk.
    Sync,
    /// Giving it its name.
    Rename,
    /// Waiting until the name is on disk.
    SyncDirectory,
    /// Nothing is left to do.
    Done,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Lock,
        Self::MakeRoom,
        Self::Create,
        Self::Write,
        Self::Sync,
        Self::Rename,
        Self::SyncDirectory,
        Self::Done,
    ];
}

impl Shelf {
    /// Opens the directory, and makes it if necessary. A process of root's gives it to the `owner` who
    /// will serve.
    ///
    /// # Errors
    /// When it is not, and cannot be made, a directory that only the owner can reach.
    pub fn open(path: &Path, bounds: Bounds, owner: Option<Owner>) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Unusable {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| unusable(errno.into()))?;
        let stat = rustix::fs::fstat(&directory).map_err(|errno| unusable(errno.into()))?;
        let own = rustix::process::geteuid();
        let expected = owner.map_or(own, |owner| owner.uid);
        let found = Uid::from_raw(stat.st_uid);
        if (found != own && found != expected) || stat.st_mode & 0o077 != 0 {
            return Err(OpenError::NotPrivate(path.to_owned()));
        }
        if let Some(owner) = owner.filter(|owner| owner.uid != found) {
            rustix::fs::fchown(&directory, Some(owner.uid), Some(owner.gid))
                .map_err(|errno| unusable(errno.into()))?;
        }
        Ok(Self {
            directory,
            path: path.to_owned(),
            bounds,
            writing: Mutex::default(),
        })
    }

    /// The directory itself, for a process that is about to lose all others.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what is kept under a key.
    ///
    /// # Errors
    /// When there is something that is not as it was written; it is removed.
    pub fn get(&self, key: &Key) -> Result<Option<Report>, Flaw> {
        let name = key.to_string();
        let read = self.read(&name).and_then(|content| {
            content
                .map(|content| entry::decode(&content, key))
                .transpose()
        });
        if read.is_err() {
            // What cannot be removed is found again by whoever asks next, and never believed.
            self.remove(&name);
        }
        read
    }

    /// Bytes of what is kept under a key, without a look into it.
    #[must_use]
    pub fn size(&self, key: &Key) -> Option<u64> {
        let name = key.to_string();
        let stat = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        u64::try_from(stat.st_size).ok()
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Flaw> {
        // A FIFO would be waited for without NONBLOCK.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            // This process or the host lacks something just now, which says nothing of the entry.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => return Ok(None),
            Err(Errno::LOOP) => return Err(Flaw::Irregular("a link")),
            Err(_) => return Err(Flaw::Irregular("not to be opened")),
        };
        let metadata = file
            .metadata()
            .map_err(|_lost| Flaw::Irregular("not to be looked at"))?;
        if !metadata.is_file() || metadata.nlink() != 1 {
            return Err(Flaw::Irregular("no plain file with one name"));
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(Flaw::Irregular("another user's"));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(Flaw::Irregular("open to others"));
        }
        if metadata.len() > entry::LARGEST {
            return Err(Flaw::Longer);
        }
        let mut content = Vec::new();
        (&file)
            .take(entry::LARGEST + 1)
            .read_to_end(&mut content)
            .map_err(|_broken| Flaw::Irregular("not to be read"))?;
        note_use(&file);
        Ok(Some(content))
    }

    fn remove(&self, name: &str) {
        if rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()).is_err() {
            rustix::fs::unlinkat(&self.directory, name, AtFlags::REMOVEDIR).ok();
        }
    }

    /// Keeps a result under a key; what was there is replaced.
    ///
    /// # Errors
    /// Why it is not kept; nothing of it is then left.
    pub fn put(&self, key: &Key, report: &Report) -> Result<(), NotStored> {
        self.put_in_steps(key, report, |_| {})
    }

    /// Does what [`Self::put`] does, and tells of each step before it is taken.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_in_steps(
        &self,
        key: &Key,
        report: &Report,
        mut before: impl FnMut(Step),
    ) -> Result<(), NotStored> {
        let content = entry::encode(key, report).ok_or(NotStored::NotWorthKeeping)?;
        let length = content.len() as u64;
        if length > self.bounds.bytes / 4 || length > entry::LARGEST {
            return Err(NotStored::TooLarge);
        }
        let name = key.to_string();
        before(Step::Lock);
        // A panic under the lock cannot have left more than a leftover.
        let _ours = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let _locked = Locked::wait(&self.directory)?;
        before(Step::MakeRoom);
        self.make_room(&name, length)?;
        before(Step::Create);
        let written = self.write(&content, &mut before).and_then(|()| {
            before(Step::Rename);
            Ok(rustix::fs::renameat(
                &self.directory,
                PENDING,
                &self.directory,
                &*name,
            )?)
        });
        if written.is_err() {
            self.remove(PENDING);
        }
        written?;
        before(Step::SyncDirectory);
        rustix::fs::fsync(&self.directory).map_err(io::Error::from)?;
        before(Step::Done);
        Ok(())
    }

    fn write(&self, content: &[u8], before: &mut impl FnMut(Step)) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(rustix::fs::openat(&self.directory, PENDING, flags, mode)?);
        before(Step::Write);
        file.write_all(content)?;
        before(Step::Sync);
        file.sync_all()
    }
}

/// The directory's lock, held.
struct Locked<'a>(&'a OwnedFd);

impl<'a> Locked<'a> {
    /// Others hold it for as long as writing one entry takes. One that was stopped in the middle must
    /// not stop us.
    fn wait(directory: &'a OwnedFd) -> Result<Self, NotStored> {
        for _ in 0..LOCK_ATTEMPTS {
            match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(directory)),
                Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(LOCK_PAUSE),
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
        }
        Err(NotStored::Locked)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Closing the directory would give it back, too.
        rustix::fs::flock(self.0, FlockOperation::Unlock).ok();
    }
}

/// Best effort: an entry whose time stays goes earlier than it should.
fn note_use(file: &File) {
    let times = Timestamps {
        last_access: NOW,
        last_modification: NOW,
    };
    rustix::fs::futimens(file.as_fd(), &times).ok();
}

fn is_plain(mode: u32) -> bool {
    FileType::from_raw_mode(mode) == FileType::RegularFile
}

const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: rustix::fs::UTIME_NOW,
};
/// The name of what is not complete; there is at most one, because writing takes the lock.
const PENDING: &str = ".pending";
/// Half a second.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;
