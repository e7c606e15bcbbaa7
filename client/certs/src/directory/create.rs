//! Making a database's directory, with the mode that the rules ask for whatever the umask.

use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, fchmod, mkdirat, openat};
use rustix::io::Errno;

use super::Directory;
use crate::error::DatabaseError;

/// The mode of a database and of parents that had to be made.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

impl Directory {
    /// Makes the directory and its missing parents. What exists is left as it is.
    pub(crate) fn create(path: &Path) -> Result<(), DatabaseError> {
        match mkdirat(CWD, path, DIRECTORY_MODE) {
            Ok(()) => widen(path),
            Err(Errno::EXIST) => Ok(()),
            Err(Errno::NOENT) => {
                let parent = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                let Some(parent) = parent else {
                    return Err(uncreated(path, Errno::NOENT));
                };
                Self::create(parent)?;
                match mkdirat(CWD, path, DIRECTORY_MODE) {
                    Ok(()) => widen(path),
                    // Another process of this user was quicker.
                    Err(Errno::EXIST) => Ok(()),
                    Err(errno) => Err(uncreated(path, errno)),
                }
            }
            Err(errno) => Err(uncreated(path, errno)),
        }
    }
}

/// The umask took bits away from the mode; it cannot have added any.
fn widen(path: &Path) -> Result<(), DatabaseError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
        .and_then(|directory| fchmod(directory, DIRECTORY_MODE))
        .map_err(|errno| uncreated(path, errno))
}

fn uncreated(path: &Path, errno: Errno) -> DatabaseError {
    DatabaseError::Create {
        path: path.to_owned(),
        source: errno.into(),
    }
}
