//! The servers that were started by this tool: one file `PID.stat` each, in the syntax of a
//! configuration.
//!
//! A file outlives its server when nobody stopped that with this tool, so a number counts only together
//! with the time at which its process was started.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::process::Pid;

use super::Failure;
use super::places::{files_in, read_if_there};
use super::settings::Settings;
use crate::server_process::{ServerProcess, process_id};

/// The directory of state files, while nobody else changes it.
#[derive(Debug)]
pub(super) struct Registry {
    directory: PathBuf,
    /// `None` where there was nothing to lock, and so nothing to read.
    _lock: Option<File>,
}

/// A server that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pid: Pid,
    pub(super) settings: Settings,
    started: u64,
}

impl Registry {
    /// Opens the directory to look at what is in it, or to change what is there.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn open(directory: &Path) -> Result<Self, Failure> {
        let lock = match lock(directory) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Who may not write there can still ask for the status.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
            Err(error) => return Err(Failure::states(directory, error)),
        };
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
        })
    }

    /// Opens it to add to it, and makes it if necessary.
    ///
    /// # Errors
    /// When it cannot be made or written to.
    pub(super) fn open_for_starting(directory: &Path) -> Result<Self, Failure> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory);
        let lock = made.and_then(|()| lock(directory));
        Ok(Self {
            directory: directory.to_owned(),
            _lock: Some(lock.map_err(|error| Failure::states(directory, error))?),
        })
    }

    /// All that were started, running or not, in the order of their files.
    ///
    /// # Errors
    /// When the directory or a file cannot be read or is not to be trusted.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::new();
        for file in files_in(&self.directory, EXTENSION)? {
            let pid = file
                .file_stem()
                .and_then(|stem| process_id(stem.as_encoded_bytes()));
            let (Some(pid), Some(text)) = (pid, read_if_there(&file)?) else {
                continue;
            };
            entries.push(Entry::parse(pid, &text, &file)?);
        }
        Ok(entries)
    }

    /// Records a server that has just been started.
    ///
    /// # Errors
    /// When nothing was written.
    pub(super) fn record(&self, pid: Pid, settings: Settings) -> Result<(), Failure> {
        let process = ServerProcess::of(pid)
            .ok_or_else(|| Failure::DiedAtOnce(pid.as_raw_nonzero().get()))?;
        let entry = Entry {
            pid,
            settings,
            started: process.started(),
        };
        let written = (|| {
            let mut file = tempfile::Builder::new()
                .prefix(".")
                .tempfile_in(&self.directory)?;
            file.write_all(entry.text().as_bytes())?;
            fchmod(&file, Mode::from_raw_mode(0o644))?;
            file.persist(self.file_of(pid))?;
            Ok(())
        })();
        written.map_err(|error: io::Error| Failure::states(&self.directory, error))
    }

    /// Forgets a server that has ended.
    ///
    /// # Errors
    /// When its file cannot be removed.
    pub(super) fn forget(&self, entry: &Entry) -> Result<(), Failure> {
        match fs::remove_file(self.file_of(entry.pid)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::states(&self.directory, error))
            }
            _ => Ok(()),
        }
    }

    fn file_of(&self, pid: Pid) -> PathBuf {
        let name = format!("{}.{EXTENSION}", pid.as_raw_nonzero());
        self.directory.join(name)
    }
}

impl Entry {
    /// The server's process, if it still runs.
    pub(super) fn process(&self) -> Option<ServerProcess> {
        ServerProcess::of(self.pid).filter(|process| process.started() == self.started)
    }

    /// What it is called: its nickname, else its process id.
    pub(super) fn is_called(&self, nickname: &str) -> bool {
        use super::settings::Setting::Nickname;
        match self.settings.one(Nickname) {
            Some(own) => own == nickname,
            None => self.pid.as_raw_nonzero().to_string() == nickname,
        }
    }

    fn parse(pid: Pid, text: &str, file: &Path) -> Result<Self, Failure> {
        let (mark, settings) = text.split_once('\n').unwrap_or((text, ""));
        let started = mark
            .strip_prefix(STARTED)
            .and_then(|ticks| ticks.parse().ok());
        Ok(Self {
            pid,
            started: started.ok_or_else(|| Failure::invalid(mark, file))?,
            settings: Settings::parse(settings).map_err(|invalid| invalid.in_file(file))?,
        })
    }

    fn text(&self) -> String {
        format!("{STARTED}{}\n{}", self.started, self.settings.lines())
    }
}

/// Two managers at once would start a server twice. The second waits for the first, and for nobody who
/// may only read: a lock needs no right to write.
fn lock(directory: &Path) -> io::Result<File> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(LOCK_MODE)
        .open(directory.join(LOCK))?;
    // It may be one that an older version made.
    fchmod(&file, Mode::from_raw_mode(LOCK_MODE))?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

const EXTENSION: &str = "stat";
const LOCK: &str = ".lock";
const LOCK_MODE: u32 = 0o600;
/// The first line: the kernel's clock when the process was started.
const STARTED: &str = "STARTED=";

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(started: u64) -> Entry {
        Entry {
            pid: rustix::process::getpid(),
            settings: Settings::parse("RELEASE+=6.1\nNICKNAME=n\n").unwrap(),
            started,
        }
    }

    #[test]
    fn a_state_file_is_read_back() {
        let entry = entry(77);
        let read = Entry::parse(entry.pid, &entry.text(), Path::new("f")).unwrap();
        assert_eq!(read, entry);
        assert!(read.is_called("n") && !read.is_called("m"));
    }

    #[test]
    fn a_process_that_is_no_server_is_not_one_that_was_started() {
        assert!(entry(77).process().is_none());
    }

    #[test]
    fn a_damaged_file_is_named() {
        for text in ["", "ARCH=x\n", "STARTED=x\n", "STARTED=1\nCOLOR=red\n"] {
            let error = Entry::parse(entry(1).pid, text, Path::new("/s/1.stat")).unwrap_err();
            assert!(error.to_string().ends_with("in /s/1.stat"), "{error}");
        }
    }

    #[test]
    fn nobody_else_can_make_a_manager_wait() {
        use std::os::unix::fs::PermissionsExt;
        let states = tempfile::tempdir().unwrap();
        let lock = states.path().join(LOCK);
        fs::write(&lock, "").unwrap();
        fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
        let _registry = Registry::open_for_starting(states.path()).unwrap();
        assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn nothing_is_started_where_nothing_was() {
        let empty = tempfile::tempdir().unwrap();
        let registry = Registry::open(&empty.path().join("missing")).unwrap();
        assert_eq!(registry.entries().unwrap(), []);
        let registry = Registry::open_for_starting(&empty.path().join("a/b")).unwrap();
        assert_eq!(registry.entries().unwrap(), []);
    }
}
