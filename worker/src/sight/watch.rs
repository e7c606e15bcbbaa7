//! Hears from the kernel that something changed in directories that were looked at; inotify(7).
//!
//! It answers one question: whether anything happened since it began. Where the kernel cannot tell for
//! certain, for want of watches or because another host can change the files, there is no watch, and
//! whoever asks has to look again.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// A watch over directories; dropping it ends it.
#[derive(Debug)]
pub(super) struct Watch {
    queue: OwnedFd,
    gap: Option<Gap>,
}

/// What a watch does not cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// The kernel gives no more watches, or none at all.
    Refused(Errno),
    /// Files that another host, or a program, can change unheard; the number of their file system.
    Elsewhere(i64),
}

impl Watch {
    /// Begins to watch nothing.
    pub(super) fn begin() -> Result<Self, Gap> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        Ok(Self {
            queue: queue.map_err(Gap::Refused)?,
            gap: None,
        })
    }

    /// Adds an opened directory.
    pub(super) fn directory(&mut self, directory: BorrowedFd<'_>) {
        if self.gap.is_some() {
            return;
        }
        match rustix::fs::fstatfs(directory) {
            Ok(about) if is_local(about.f_type) => {}
            Ok(about) => self.gap = Some(Gap::Elsewhere(about.f_type)),
            Err(errno) => self.gap = Some(Gap::Refused(errno)),
        }
        let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
        self.add(name.as_bytes(), WatchFlags::ONLYDIR);
    }

    /// Adds a file that has several names.
    pub(super) fn file(&mut self, directory: BorrowedFd<'_>, name: &[u8]) {
        if self.gap.is_some() {
            return;
        }
        let path = format!("/proc/self/fd/{}/", directory.as_raw_fd());
        self.add(&[path.as_bytes(), name].concat(), WatchFlags::DONT_FOLLOW);
    }

    fn add(&mut self, path: &[u8], how: WatchFlags) {
        if let Err(errno) = inotify::add_watch(&self.queue, path, CHANGES | how) {
            // What is gone or closed to us was noted as such by whoever looks.
            if !matches!(errno, Errno::NOENT | Errno::ACCESS) {
                self.gap = Some(Gap::Refused(errno));
            }
        }
    }

    /// What is not covered, if anything.
    pub(super) fn gap(&self) -> Option<Gap> {
        self.gap
    }

    /// Whether nothing at all has happened. Once this is false, the watch is of no more use.
    pub(super) fn is_quiet(&self) -> bool {
        let mut event = [0_u8; LONGEST_EVENT];
        matches!(rustix::io::read(&self.queue, &mut event), Err(Errno::AGAIN))
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(Errno::NOSPC | Errno::MFILE) => formatter.write_str(
                "the kernel gives this user no more watches; raise fs.inotify.max_user_watches and \
                 fs.inotify.max_user_instances (sysctl)",
            ),
            Self::Refused(errno) => write!(formatter, "they cannot be watched: {errno}"),
            Self::Elsewhere(number) => write!(
                formatter,
                "some are on a file system (type {number:#x}) of which this kernel does not hear every change"
            ),
        }
    }
}

/// File systems that only this kernel changes.
fn is_local(kind: i64) -> bool {
    LOCAL.contains(&kind)
}

/// ext2 to ext4, XFS, btrfs, tmpfs, overlayfs, F2FS, ZFS, squashfs, EROFS, bcachefs, ramfs, ISO 9660;
/// statfs(2).
const LOCAL: [i64; 12] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x794c_7630,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0x7371_7368,
    0xe0f5_e1e2,
    0xca45_1a4e,
    0x8584_58f6,
    0x9660,
];

/// Everything that changes a listing, a file or what may be done with it.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

/// An event with the longest name.
const LONGEST_EVENT: usize = 16 + 256;

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd as _;

    use super::*;

    fn watched() -> (tempfile::TempDir, Watch) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("old"), "1").unwrap();
        let mut watch = Watch::begin().unwrap();
        watch.directory(File::open(directory.path()).unwrap().as_fd());
        (directory, watch)
    }

    #[test]
    fn reading_is_no_change() {
        let (directory, watch) = watched();
        assert_eq!(watch.gap(), None);
        assert_eq!(fs::read(directory.path().join("old")).unwrap(), b"1");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(watch.is_quiet());
    }

    #[test]
    fn a_change_is_heard_before_anybody_can_ask() {
        let changes: [fn(&std::path::Path); 4] = [
            |directory| fs::write(directory.join("old"), "2").unwrap(),
            |directory| fs::write(directory.join("new"), "").unwrap(),
            |directory| fs::remove_file(directory.join("old")).unwrap(),
            |directory| {
                fs::rename(directory, directory.with_extension("moved")).unwrap();
                fs::rename(directory.with_extension("moved"), directory).unwrap();
            },
        ];
        for change in changes {
            let (directory, watch) = watched();
            assert!(watch.is_quiet());
            change(directory.path());
            assert!(!watch.is_quiet());
        }
    }

    #[test]
    fn a_file_is_heard_of_by_another_name_too() {
        let (directory, mut watch) = watched();
        let elsewhere = tempfile::tempdir_in(directory.path().parent().unwrap()).unwrap();
        let other = elsewhere.path().join("other");
        fs::hard_link(directory.path().join("old"), &other).unwrap();
        watch.file(File::open(directory.path()).unwrap().as_fd(), b"old");
        while !watch.is_quiet() {}
        fs::write(other, "2").unwrap();
        assert!(!watch.is_quiet());
    }
}
