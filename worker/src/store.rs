//! A private directory of small trusted files that outlives the worker.
//!
//! An entry is a directory that is filled under another name and renamed when it is complete and on
//! disk, so that an interrupted worker leaves an entry either whole or not at all. Workers of several
//! servers may share a store.

mod absence;
mod pending;
mod sealed;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, OFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use self::pending::Pending;
pub use self::sealed::{Files, Unfit};

/// An opened store.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
}

/// What can be said of an entry without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// What its files take.
    pub bytes: u64,
    /// When it was last of use.
    pub used: SystemTime,
}

/// Why a directory cannot be a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be made or looked at.
    #[error(
        "the cache directory {path} cannot be used; let the user of the server write there, or give him another HOME \
         or XDG_CACHE_HOME"
    )]
    Unusable {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could put files there that end up in everybody's modules.
    #[error(
        "the cache directory {0} must belong to the server's user and be closed to everybody else; \
         correct it with `chown` and `chmod 700`, or remove it"
    )]
    NotPrivate(PathBuf),
}

impl Store {
    /// Opens the store, makes it if necessary, and removes what interrupted workers left half done.
    ///
    /// # Errors
    ///
    /// When it is not, and cannot be made, a directory that only we can write to.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::Unusable {
            path: directory.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(MODE)
            .create(directory)
            .map_err(unusable)?;
        let metadata = fs::symlink_metadata(directory).map_err(unusable)?;
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_dir() || !ours || metadata.mode() & 0o077 != 0 {
            return Err(StoreError::NotPrivate(directory.to_owned()));
        }
        pending::remove_abandoned(directory).map_err(unusable)?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// One that is there already, to be looked at; nothing is made, changed or removed for that.
    #[must_use]
    pub fn existing(directory: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(directory).ok()?;
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        let is_safe = metadata.is_dir() && ours && metadata.mode() & 0o077 == 0;
        is_safe.then(|| Self {
            directory: directory.to_owned(),
        })
    }

    /// Returns the files of an entry, all of which `is_wanted` must know, with at most `max` bytes
    /// each; none when there is no such entry, or anything about it is not as [`Self::publish`]
    /// leaves it.
    #[must_use]
    pub fn load_as(
        &self,
        key: &str,
        is_wanted: impl Fn(&Path) -> bool,
        max: u64,
    ) -> Vec<(PathBuf, Vec<u8>)> {
        let files = self.files_of(key, is_wanted, max);
        files.unwrap_or_default()
    }

    /// The same, or that it cannot be told now.
    fn files_of(
        &self,
        key: &str,
        is_wanted: impl Fn(&Path) -> bool,
        max: u64,
    ) -> Result<Files, Passing> {
        let entry = self.directory.join(key);
        let names = match fs::read_dir(&entry) {
            Ok(names) => names,
            Err(error) if passes(&error) => return Err(Passing),
            Err(_) => return Ok(Vec::new()),
        };
        let mut files = Vec::new();
        for name in names.flatten().take(MAX_FILES) {
            let name = name.file_name();
            let Some(path) = name
                .to_str()
                .map(|name| PathBuf::from(name.replacen('-', "/", 1)))
            else {
                return Ok(Vec::new());
            };
            match read(&entry.join(&name), max) {
                Ok(content) if is_wanted(&path) => files.push((path, content)),
                Err(error) if passes(&error) => return Err(Passing),
                _ => {
                    tracing::warn!(entry = %entry.display(), "a damaged cache entry is not used");
                    return Ok(Vec::new());
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// The one file of an entry whose name is in `directory`, if it has at most `max` bytes.
    #[must_use]
    pub fn load_one(&self, key: &str, directory: &str, max: u64) -> Option<(PathBuf, Vec<u8>)> {
        let entry = self.directory.join(key);
        let names = fs::read_dir(&entry).ok()?.flatten().take(MAX_FILES);
        let mut paths = names.filter_map(|name| {
            let path = name.file_name().to_str()?.replacen('-', "/", 1);
            Path::new(&path)
                .starts_with(directory)
                .then_some((name.path(), path))
        });
        let (file, path) = paths.next()?;
        Some((PathBuf::from(path), read(&file, max).ok()?))
    }

    /// Whether there is an entry of this name, in whatever state.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.directory.join(key).symlink_metadata().is_ok()
    }

    /// The entries whose keys begin so. After the clock was set back, what is from a time that has not
    /// come again counts as used long ago; it would stay for ever, and everything new would go.
    #[must_use]
    pub fn entries(&self, prefix: &str) -> Vec<Entry> {
        let modified = |path: &Path| {
            path.symlink_metadata()
                .and_then(|found| found.modified())
                .ok()
        };
        let names = fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten();
        let entry = |name: fs::DirEntry| {
            let key = name.file_name().to_str()?.to_owned();
            let used = modified(&name.path()).unwrap_or(SystemTime::UNIX_EPOCH);
            let files = fs::read_dir(name.path()).ok()?.flatten();
            let length = |file: fs::DirEntry| file.metadata().map_or(0, |found| found.len());
            let bytes = files.map(length).sum();
            key.starts_with(prefix)
                .then_some(Entry { key, bytes, used })
        };
        let mut entries: Vec<_> = names.filter_map(entry).collect();
        // The clock is read last: others use entries meanwhile.
        self.touch("");
        let now = modified(&self.directory);
        for entry in &mut entries {
            if Some(entry.used) > now {
                entry.used = SystemTime::UNIX_EPOCH;
            }
        }
        entries
    }

    /// Notes that an entry is of use.
    pub fn touch(&self, key: &str) {
        let now = Timestamps {
            last_access: NOW,
            last_modification: NOW,
        };
        let path = self.directory.join(key);
        // Without it, the entry only goes earlier.
        let _noted = rustix::fs::utimensat(CWD, &path, &now, AtFlags::SYMLINK_NOFOLLOW);
    }

    /// Removes an entry, at once as far as anybody can see.
    pub fn remove(&self, key: &str) {
        if let Err(error) = self.discard(key) {
            tracing::warn!(key, %error, "a cache entry cannot be removed");
        }
    }

    /// Adds an entry. One that another worker published meanwhile is as good as ours and stays.
    ///
    /// # Errors
    ///
    /// When it cannot be written; nothing of it is then visible.
    pub fn publish(&self, key: &str, files: &[(PathBuf, Vec<u8>)]) -> io::Result<()> {
        let pending = Pending::below(&self.directory)?;
        for (path, content) in files {
            let name = path.to_string_lossy().replacen('/', "-", 1);
            let path = pending.path().join(name);
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(content)?;
            file.sync_all()?;
        }
        File::open(pending.path())?.sync_all()?;
        match fs::rename(pending.path(), self.directory.join(key)) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
            renamed => renamed?,
        }
        File::open(&self.directory)?.sync_all()
    }

    /// Takes away an entry, at once as far as anybody can see, so that another may have its name.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be moved.
    pub fn discard(&self, key: &str) -> io::Result<()> {
        let grave = Pending::below(&self.directory)?;
        match fs::rename(self.directory.join(key), grave.path().join("entry")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Bytes as digits.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        return Err(io::Error::other("it is too long"));
    }
    Ok(content)
}

/// This process or the host lacks something just now; that says nothing of an entry.
struct Passing;

fn passes(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

const MODE: u32 = 0o700;
const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: UTIME_NOW,
};
/// Files of one entry: a batch of queries has sixteen and a seal.
const MAX_FILES: usize = 64;

#[cfg(test)]
mod tests;
