//! A database's directory as an open descriptor: looking, reading, and changing whole files.
//!
//! The directory is opened once; everything after that goes through its descriptor, so that what was
//! judged is what is used. Symbolic links to the directory and to files in it are followed when
//! reading, and the checks see their targets; nothing is ever written through one. Opening never
//! blocks on a FIFO. What is a certificate or a key is for the modules above.

mod create;
mod private;
mod write;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

use crate::error::DatabaseError;
use crate::permissions::{Fault, Finding, Kind, Seen, extend, judge};

pub(crate) use private::Private;
pub(crate) use write::Lock;

/// An open directory and the name by which it was opened.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// The most entries that a database's directory may have. Ours have a handful; the bound keeps a
/// directory that is no database from being read to its end.
pub(crate) const MAX_ENTRIES: usize = 8192;

impl Directory {
    /// Opens a directory, adding what is wrong with it to the findings. `None` when it cannot be used,
    /// in which case a finding says why.
    pub(crate) fn examine(
        path: &Path,
        owner: Option<u32>,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Self>, DatabaseError> {
        Self::examine_as(Kind::Directory, path, owner, findings)
    }

    /// The same for a directory under rules of its own.
    pub(crate) fn examine_as(
        kind: Kind,
        path: &Path,
        owner: Option<u32>,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Self>, DatabaseError> {
        let handle = match openat(CWD, path, HANDLE | OFlags::DIRECTORY, Mode::empty()) {
            Ok(handle) => handle,
            Err(errno) => return unopened(path, kind, errno, findings),
        };
        let status = stat(&handle, path)?;
        // The descriptor above only names the directory. This one reads it, and is the access test.
        let reading = match openat(&handle, ".", READING | OFlags::DIRECTORY, Mode::empty()) {
            Ok(fd) => Some(fd),
            Err(Errno::ACCESS) => None,
            Err(errno) => return Err(DatabaseError::io("open", path, errno)),
        };
        let seen = seen(&status, reading.is_some());
        extend(findings, path, kind, &judge(kind, seen, owner));
        Ok(reading.map(|fd| Self {
            fd,
            path: path.to_owned(),
        }))
    }

    /// Opens a file for reading, adding what is wrong with it to the findings. `None` when there is
    /// nothing to read.
    pub(crate) fn examine_file(
        &self,
        name: &str,
        kind: Kind,
        owner: Option<u32>,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<File>, DatabaseError> {
        let path = self.file_path(name);
        // A descriptor that only names the file: opening a device for reading can have effects.
        let handle = match openat(&self.fd, name, HANDLE, Mode::empty()) {
            Ok(handle) => handle,
            Err(errno) => return unopened(&path, kind, errno, findings),
        };
        let mut status = stat(&handle, &path)?;
        let mut reading = None;
        if is_regular(&status) {
            reading = self.open_for_reading(name, &path)?;
        }
        if let Some(file) = &reading {
            // What counts is what will be read, should the name have been given to another file.
            status = stat(file, &path)?;
        }
        if !is_regular(&status) {
            extend(findings, &path, kind, &[Fault::WrongType]);
            return Ok(None);
        }
        extend(
            findings,
            &path,
            kind,
            &judge(kind, seen(&status, reading.is_some()), owner),
        );
        Ok(reading.map(File::from))
    }

    fn open_for_reading(&self, name: &str, path: &Path) -> Result<Option<OwnedFd>, DatabaseError> {
        match openat(&self.fd, name, READING | OFlags::NONBLOCK, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::ACCESS) => Ok(None),
            Err(errno) => Err(DatabaseError::io("open", path, errno)),
        }
    }

    /// Tells whether the directory has an entry of this name, whatever it is.
    pub(crate) fn has(&self, name: &str) -> Result<bool, DatabaseError> {
        match rustix::fs::statat(&self.fd, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_entry) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(DatabaseError::io("look for", &self.file_path(name), errno)),
        }
    }

    /// Opens a file for reading, following a link to it. `None` when there is none.
    pub(crate) fn open_followed(&self, name: &str) -> Result<Option<File>, DatabaseError> {
        self.open_regular(name, READING | OFlags::NONBLOCK)
    }

    /// Opens a file for reading and changing, unless it is a link. `None` when there is none.
    pub(crate) fn open_in_place(&self, name: &str) -> Result<Option<File>, DatabaseError> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        self.open_regular(name, flags | OFlags::CLOEXEC | OFlags::NOCTTY)
    }

    fn open_regular(&self, name: &str, flags: OFlags) -> Result<Option<File>, DatabaseError> {
        let path = self.file_path(name);
        let failed = |errno| DatabaseError::io("open", &path, errno);
        match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) if is_regular(&stat(&fd, &path)?) => Ok(Some(fd.into())),
            Ok(_) => Err(failed(Errno::INVAL)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The size of a file; nothing when there is none.
    pub(crate) fn size(&self, name: &str) -> Result<u64, DatabaseError> {
        match rustix::fs::statat(&self.fd, name, rustix::fs::AtFlags::empty()) {
            Ok(status) => Ok(u64::try_from(status.st_size).unwrap_or_default()),
            Err(Errno::NOENT) => Ok(0),
            Err(errno) => Err(DatabaseError::io("examine", &self.file_path(name), errno)),
        }
    }

    /// Tells whether the directory belongs to the user whose rights this process has.
    pub(crate) fn is_own(&self) -> bool {
        stat(&self.fd, &self.path)
            .is_ok_and(|status| status.st_uid == rustix::process::geteuid().as_raw())
    }

    /// Returns the names of the entries that `wanted` keeps, sorted; names that are not text are no
    /// names of ours.
    pub(crate) fn names(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, DatabaseError> {
        let unlisted = |errno| DatabaseError::io("list", &self.path, errno);
        let mut names = Vec::new();
        for (count, entry) in Dir::read_from(&self.fd).map_err(unlisted)?.enumerate() {
            if count >= MAX_ENTRIES {
                return Err(self.too_many("files", MAX_ENTRIES));
            }
            match entry.map_err(unlisted)?.file_name().to_str() {
                Ok(name) if wanted(name) => names.push(name.to_owned()),
                _ => {}
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) fn too_many(&self, what: &'static str, limit: usize) -> DatabaseError {
        DatabaseError::TooMany {
            path: self.path.clone(),
            what,
            limit,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file_path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Reads a file to its end, and not beyond the limit.
pub(crate) fn read_bounded(
    file: File,
    path: &Path,
    limit: usize,
) -> Result<Vec<u8>, DatabaseError> {
    let limit = limit as u64;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| DatabaseError::io("read", path, source))?;
    if bytes.len() as u64 > limit {
        return Err(DatabaseError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// Turns an open that failed into a finding where the rules have one.
fn unopened<T>(
    path: &Path,
    kind: Kind,
    errno: Errno,
    findings: &mut Vec<Finding>,
) -> Result<Option<T>, DatabaseError> {
    let fault = match errno {
        Errno::NOENT => Fault::Missing,
        Errno::NOTDIR => Fault::WrongType,
        Errno::ACCESS => Fault::Unreadable,
        _ => return Err(DatabaseError::io("open", path, errno)),
    };
    extend(findings, path, kind, &[fault]);
    Ok(None)
}

fn stat(fd: impl rustix::fd::AsFd, path: &Path) -> Result<Stat, DatabaseError> {
    fstat(fd).map_err(|errno| DatabaseError::io("examine", path, errno))
}

fn seen(status: &Stat, readable: bool) -> Seen {
    Seen {
        mode: status.st_mode & 0o777,
        owner: status.st_uid,
        readable,
    }
}

fn is_regular(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode).is_file()
}

const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const READING: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY);
