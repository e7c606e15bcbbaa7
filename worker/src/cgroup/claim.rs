//! The base directory of a worker, and what dead workers left behind.
//!
//! A worker holds an advisory lock on its base for as long as it lives; the kernel takes it away at
//! death, however that comes. So a base without a lock belongs to nobody, and whatever still runs in
//! it is killed by the next worker that starts.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::{CgroupError, file};

/// A locked base directory.
#[derive(Debug)]
pub(super) struct Claim {
    /// The directory.
    pub(super) base: PathBuf,
    /// Only for its life time.
    _lock: OwnedFd,
}

impl Claim {
    /// Makes and locks a base below `parent`. A worker that starts at the same time may take it for a dead one's
    /// before it is locked, and one in another pid namespace may have its name; so there are several names.
    pub(super) fn below(parent: &Path) -> Result<Self, CgroupError> {
        let name = format!("{PREFIX}{}", std::process::id());
        let claim = Self::named(parent.join(&name));
        (1..NAMES).fold(claim, |claim, number| {
            claim.or_else(|_taken| Self::named(parent.join(format!("{name}-{number}"))))
        })
    }

    fn named(base: PathBuf) -> Result<Self, CgroupError> {
        file::create(&base)?;
        let lock = locked(&base)?.filter(|lock| is_still(lock, &base));
        let lock = lock.ok_or_else(|| {
            CgroupError::Unavailable(format!("{} was taken by another worker", base.display()))
        })?;
        Ok(Self { base, _lock: lock })
    }

    /// The name of the base, the same in each hierarchy.
    pub(super) fn name(&self) -> &Path {
        Path::new(
            self.base
                .file_name()
                .expect("a base was joined from a name"),
        )
    }
}

/// Removes the bases below `parent` that no living worker holds. `guardian` is the directory in
/// which workers hold their locks; it is `parent` itself except where there are several hierarchies.
pub(super) fn sweep(parent: &Path, guardian: &Path) {
    for base in file::children(parent)
        .into_iter()
        .filter(|path| is_ours(path))
    {
        let name = base.file_name().expect("a child has a name");
        // Holding the lock while removing keeps two workers that start together apart.
        let lock = match locked(&guardian.join(name)) {
            Ok(None) => continue,
            Ok(Some(lock)) => Some(lock),
            Err(_) => None,
        };
        tracing::warn!(cgroup.path = %base.display(), "removing what a dead worker left");
        if let Err(error) = clear(&base) {
            tracing::error!(cgroup.path = %base.display(), %error, "a dead worker's jobs remain");
        }
        drop(lock);
    }
}

/// Kills and removes a base with its groups.
fn clear(base: &Path) -> Result<(), CgroupError> {
    for group in file::children(base) {
        let deadline = Instant::now() + PATIENCE;
        file::kill_members(&group)?;
        while let Err(error) = file::remove(&group) {
            if Instant::now() > deadline {
                return Err(error);
            }
            file::kill_members(&group)?;
            std::thread::sleep(PAUSE);
        }
    }
    file::remove(base)
}

/// Locks a directory; `None` when somebody else has it.
fn locked(path: &Path) -> Result<Option<OwnedFd>, CgroupError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| file::failed("opening", path, error.into()))?;
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(directory)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(file::failed("locking", path, error.into())),
    }
}

/// Whether a name leads to what was opened.
fn is_still(directory: &OwnedFd, path: &Path) -> bool {
    let named = rustix::fs::lstat(path).map(|stat| (stat.st_dev, stat.st_ino));
    let opened = rustix::fs::fstat(directory).map(|stat| (stat.st_dev, stat.st_ino));
    named.is_ok() && named == opened
}

/// Whether a group is the base of a worker of this user. Those of others are theirs to remove.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let user = rustix::process::geteuid().as_raw();
    name.is_some_and(|name| name.starts_with(PREFIX))
        && path
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.uid() == user)
}

const PREFIX: &str = "stap-worker-";
const NAMES: u32 = 8;
/// How long killed processes may take to disappear; a big one gives back its memory first.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);
