//! The uids that jobs of a worker of root's run as, each of them in the hands of one worker.
//!
//! Two servers that root starts with one policy count their uids from the same base. A uid that two
//! jobs had at the same time would be one user, so each is locked, on a file that only root can open;
//! the kernel takes the lock away at the worker's death, however that comes.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};

use crate::slots::{MAX_SLOTS, Slot};

/// The uids of all slots of this worker.
#[derive(Debug)]
pub struct SlotUids {
    /// With the lock that keeps it.
    of_slots: Vec<(u32, Option<OwnedFd>)>,
}

/// Why there are no uids for jobs.
#[derive(Debug, thiserror::Error)]
pub enum UidError {
    /// The locks have no place.
    #[error(
        "the uids of jobs cannot be kept apart from those of other servers by {path}; make /run writable \
         for root, or start the server as an ordinary user"
    )]
    Unusable {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could hold the locks.
    #[error(
        "{0} must be a directory that belongs to root and is closed to everybody else; remove it"
    )]
    NotPrivate(PathBuf),
    /// Other servers have them.
    #[error(
        "only {free} of the uids {base} to {last} are free for the jobs of {wanted} slots; other servers \
         of root use the rest: stop one of them, set another `uid-base` in the policy's [slots], or \
         start this server with fewer threads"
    )]
    Taken {
        /// The policy's first.
        base: u32,
        /// The last that belongs to it.
        last: u32,
        /// How many nobody has.
        free: usize,
        /// How many are needed.
        wanted: usize,
    },
}

impl SlotUids {
    /// The last of the policy's uids for one slot, for somebody who only asks trusted programs what they are
    /// and may leave no lock behind. Workers come to it when all others are taken.
    #[must_use]
    pub fn unlocked(base: u32) -> Self {
        Self {
            of_slots: vec![(base + (MAX_SLOTS - 1), None)],
        }
    }

    /// Takes one uid for each of so many slots, from `base` on.
    ///
    /// # Errors
    ///
    /// When there are too few that no other server has.
    pub fn claim(base: u32, slots: usize) -> Result<Self, UidError> {
        Self::claim_in(Path::new(LOCKS), base, slots)
    }

    fn claim_in(directory: &Path, base: u32, slots: usize) -> Result<Self, UidError> {
        make_private(directory)?;
        let most = usize::try_from(MAX_SLOTS).unwrap_or(usize::MAX);
        let wanted = slots.clamp(1, most);
        let mut of_slots = Vec::with_capacity(wanted);
        for uid in base..base + MAX_SLOTS {
            if of_slots.len() == wanted {
                break;
            }
            let path = directory.join(uid.to_string());
            let lock = lock(&path).map_err(|source| UidError::Unusable { path, source })?;
            of_slots.extend(lock.map(|lock| (uid, Some(lock))));
        }
        if of_slots.len() < wanted {
            return Err(UidError::Taken {
                base,
                last: base + (MAX_SLOTS - 1),
                free: of_slots.len(),
                wanted,
            });
        }
        Ok(Self { of_slots })
    }

    /// The uid of a slot, which is its gid, too.
    ///
    /// # Panics
    ///
    /// For a slot that the worker does not have.
    #[must_use]
    pub fn of(&self, slot: Slot) -> u32 {
        let (uid, _) = &self.of_slots[slot.0 as usize];
        *uid
    }
}

fn make_private(directory: &Path) -> Result<(), UidError> {
    let unusable = |source| UidError::Unusable {
        path: directory.to_owned(),
        source,
    };
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(error)),
        _ => {}
    }
    let metadata = directory.symlink_metadata().map_err(unusable)?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_dir() || !ours || metadata.mode() & 0o077 != 0 {
        return Err(UidError::NotPrivate(directory.to_owned()));
    }
    Ok(())
}

/// `None` when another worker has it.
fn lock(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file.into())),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// In memory, and of root's.
const LOCKS: &str = "/run/stap-server-uids";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("uids");
        (parent, place)
    }

    fn uids(held: &SlotUids) -> Vec<u32> {
        held.of_slots.iter().map(|(uid, _)| *uid).collect()
    }

    #[test]
    fn two_workers_never_have_the_same_uid() {
        let (_parent, place) = place();
        let first = SlotUids::claim_in(&place, 64_000, 2).unwrap();
        let second = SlotUids::claim_in(&place, 64_000, 2).unwrap();
        assert_eq!(uids(&first), [64_000, 64_001]);
        assert_eq!(uids(&second), [64_002, 64_003]);
        drop(first);
        let third = SlotUids::claim_in(&place, 64_000, 3).unwrap();
        assert_eq!(uids(&third), [64_000, 64_001, 64_004]);
        assert_eq!(third.of(Slot(2)), 64_004);
    }

    #[test]
    fn a_worker_that_finds_too_few_says_what_to_do_and_keeps_none() {
        let (_parent, place) = place();
        let most = usize::try_from(MAX_SLOTS).unwrap();
        let all_but_one = SlotUids::claim_in(&place, 64_000, most - 1).unwrap();
        let error = SlotUids::claim_in(&place, 64_000, 2).expect_err("one is not two");
        assert!(
            error
                .to_string()
                .contains("only 1 of the uids 64000 to 65023"),
            "{error}"
        );
        assert!(error.to_string().contains("uid-base"), "{error}");
        assert_eq!(
            uids(&SlotUids::claim_in(&place, 64_000, 1).unwrap()),
            [65_023]
        );
        drop(all_but_one);
    }

    #[test]
    fn what_keeps_uids_from_being_claimed_is_told_once() {
        let (_parent, place) = place();
        let error = SlotUids::claim_in(&place.join("below"), 64_000, 1).expect_err("nowhere");
        let chain = format!("{:#}", anyhow::Error::from(error));
        assert_eq!(chain.matches("os error").count(), 1, "{chain}");
    }

    #[test]
    fn locks_that_others_could_hold_are_none() {
        let (_parent, place) = place();
        std::fs::create_dir(&place).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = SlotUids::claim_in(&place, 64_000, 1).expect_err("it is open to all");
        assert!(matches!(error, UidError::NotPrivate(_)), "{error}");
    }
}
