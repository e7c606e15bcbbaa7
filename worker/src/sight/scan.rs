//! Looks at every file that jobs see, without opening one.
//!
//! Of a file count its path, kind, mode, size, inode and the times of its last change; of a link, what
//! it says. A program that sets the time of last modification back still changes the inode's own time,
//! which only the kernel sets. What a file system keeps for itself (device numbers, times of reading) is
//! left out, so that a restart changes nothing.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::watch::Watch;

/// Stands for everything that was looked at.
pub(super) type Digest256 = [u8; 32];

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// More than a job can sensibly need.
    #[error("jobs see more than {MOST_FILES} files; serve an unpacked root (deploy/target-root)")]
    TooMany,
    /// Directories in each other.
    #[error("directories below {0} lie deeper than {DEEPEST} in each other")]
    TooDeep(PathBuf),
    /// A directory could not be looked at.
    #[error("{0} cannot be looked at: {1}")]
    Io(PathBuf, Errno),
}

/// Looks at `places` and all that is below them; one that does not exist counts as such. `watch`, if it
/// is given, watches each directory before it is read, so that no change goes unseen.
pub(super) fn scan(places: &[PathBuf], watch: Option<&mut Watch>) -> Result<Digest256, ScanError> {
    let mut scan = Scan {
        digest: Sha256::new(),
        watch,
        files: 0,
    };
    for place in places {
        scan.field(place.as_os_str().as_encoded_bytes());
        match rustix::fs::statat(CWD, place, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => scan.entry(CWD, place.as_os_str().as_encoded_bytes(), &stat, place, 0)?,
            Err(Errno::NOENT) => scan.field(b"absent"),
            Err(errno) => return Err(ScanError::Io(place.clone(), errno)),
        }
    }
    Ok(scan.digest.finalize().into())
}

struct Scan<'a> {
    digest: Sha256,
    watch: Option<&'a mut Watch>,
    files: usize,
}

impl Scan<'_> {
    /// Each field is preceded by its length, so that no two lists of fields give the same bytes.
    fn field(&mut self, bytes: &[u8]) {
        self.digest.update((bytes.len() as u64).to_be_bytes());
        self.digest.update(bytes);
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
        path: &Path,
        depth: usize,
    ) -> Result<(), ScanError> {
        self.files += 1;
        if self.files > MOST_FILES {
            return Err(ScanError::TooMany);
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        self.field(name);
        match kind {
            FileType::Directory => {
                self.field(format!("{:o} {}", stat.st_mode, stat.st_ino).as_bytes());
                return self.directory(directory, name, path, depth);
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())
                    .map_err(|errno| ScanError::Io(path.to_owned(), errno))?;
                self.field(target.as_bytes());
            }
            _ => self.field(stamp(stat).as_bytes()),
        }
        // Such a file can be changed by another name, in a directory that nobody watches.
        if kind == FileType::RegularFile
            && stat.st_nlink > 1
            && let Some(watch) = &mut self.watch
        {
            watch.file(directory, name);
        }
        Ok(())
    }

    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &Path,
        depth: usize,
    ) -> Result<(), ScanError> {
        if depth == DEEPEST {
            return Err(ScanError::TooDeep(path.to_owned()));
        }
        let failed = |errno| ScanError::Io(path.to_owned(), errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Ok(opened) => File::from(opened),
            // Jobs have no more rights than this process, so they cannot read it either.
            Err(Errno::ACCESS | Errno::PERM) => {
                self.field(b"closed");
                return Ok(());
            }
            Err(errno) => return Err(failed(errno)),
        };
        if let Some(watch) = &mut self.watch {
            watch.directory(opened.as_fd());
        }
        let mut names = names(&opened).map_err(failed)?;
        names.sort_unstable();
        self.field(&(names.len() as u64).to_be_bytes());
        for name in names {
            let stat = rustix::fs::statat(&opened, &name[..], AtFlags::SYMLINK_NOFOLLOW);
            let below = path.join(as_path(&name));
            match stat {
                Ok(stat) => self.entry(opened.as_fd(), &name, &stat, &below, depth + 1)?,
                // It went away meanwhile; whoever comes next finds another listing.
                Err(Errno::NOENT) => self.field(b"absent"),
                Err(errno) => return Err(ScanError::Io(below, errno)),
            }
        }
        Ok(())
    }
}

fn names(directory: &File) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
        if names.len() > MOST_FILES {
            return Err(Errno::FBIG);
        }
    }
    Ok(names)
}

/// Everything about a file that changes when its content does.
fn stamp(stat: &Stat) -> String {
    format!(
        "{:o} {} {} {}.{} {}.{}",
        stat.st_mode,
        stat.st_ino,
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec
    )
}

fn as_path(name: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(name))
}

/// The stamp of one file, for programs that decide about results without being seen by jobs.
pub(super) fn stamp_of(path: &Path) -> io::Result<String> {
    Ok(stamp(&rustix::fs::stat(path)?))
}

/// Eight times what a large development machine has below `/usr`.
const MOST_FILES: usize = 1 << 20;
const DEEPEST: usize = 64;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, [PathBuf; 2]) {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("usr/include/linux")).unwrap();
        fs::write(tree.path().join("usr/include/linux/module.h"), "1").unwrap();
        fs::write(tree.path().join("usr/stap"), "stap").unwrap();
        symlink("usr/lib", tree.path().join("lib")).unwrap();
        let places = [tree.path().join("usr"), tree.path().join("lib")];
        (tree, places)
    }

    #[test]
    fn looking_twice_gives_the_same() {
        let (_tree, places) = tree();
        assert_eq!(scan(&places, None).unwrap(), scan(&places, None).unwrap());
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 7] = [
            ("written in place, same length and time", |tree| {
                let header = tree.join("usr/include/linux/module.h");
                let before = fs::metadata(&header).unwrap().modified().unwrap();
                fs::write(&header, "2").unwrap();
                let file = File::options().write(true).open(&header).unwrap();
                file.set_modified(before).unwrap();
            }),
            ("replaced", |tree| {
                fs::write(tree.join("new"), "stap").unwrap();
                fs::rename(tree.join("new"), tree.join("usr/stap")).unwrap();
            }),
            ("added", |tree| {
                fs::write(tree.join("usr/include/a.h"), "").unwrap();
            }),
            ("removed", |tree| {
                fs::remove_file(tree.join("usr/stap")).unwrap();
            }),
            ("renamed", |tree| {
                fs::rename(tree.join("usr/stap"), tree.join("usr/stap2")).unwrap();
            }),
            ("a link turned", |tree| {
                fs::remove_file(tree.join("lib")).unwrap();
                symlink("usr/lib64", tree.join("lib")).unwrap();
            }),
            ("a place gone", |tree| {
                fs::remove_file(tree.join("lib")).unwrap();
            }),
        ];
        for (what, change) in changes {
            let (tree, places) = tree();
            let before = scan(&places, None).unwrap();
            change(tree.path());
            assert_ne!(scan(&places, None).unwrap(), before, "{what}");
        }
    }

    #[test]
    fn a_name_that_moves_into_its_directory_s_name_is_another_tree() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (tree, name) in [(&first, "ab"), (&second, "a")] {
            fs::create_dir(tree.path().join(name)).unwrap();
        }
        let places = |tree: &tempfile::TempDir| [tree.path().to_owned()];
        assert_ne!(
            scan(&places(&first), None).unwrap(),
            scan(&places(&second), None).unwrap()
        );
    }

    #[test]
    fn a_tree_without_a_bottom_is_an_error() {
        let tree = tempfile::tempdir().unwrap();
        let deep = (0..=DEEPEST).fold(tree.path().to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(deep).unwrap();
        let error = scan(&[tree.path().to_owned()], None).unwrap_err();
        assert!(matches!(error, ScanError::TooDeep(_)), "{error}");
    }
}
