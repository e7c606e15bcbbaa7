//! The store as it lies in a database: reading it while nobody changes it, and replacing it.
//!
//! NSS's SQLite takes record locks on the files that it reads or changes. The same locks are taken
//! here, on whole files, so that no half-written state is ever read, and no change of another program
//! is lost in between.

use std::fs::File;
use std::io::{Read, Seek};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::RawMode;

use super::contents::Contents;
use super::sqlite::{Database, SqliteError};
use super::{CERTIFICATES, KEYS, MODULES, StoreError};
use crate::certificate::Fingerprint;
use crate::directory::{Directory, Private};
use crate::error::DatabaseError;

/// A store's certificates, read at one moment.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Fingerprint,
    pub(super) contents: Contents,
}

/// The largest file of a store. A thousand certificates take five megabytes.
pub(super) const MAX_STORE_BYTES: usize = 32 * 1024 * 1024;

/// How long a program that changes the store is waited for. NSS itself gives up after a while.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How often the lock is asked for meanwhile: record locks have no time limit of their own.
const LOCK_INTERVAL: Duration = Duration::from_millis(5);

impl Store {
    /// Reads the store of a database. `None` when there is none.
    pub(super) fn read(directory: &Directory) -> Result<Option<Self>, StoreError> {
        let Some(bytes) = read_locked(directory, CERTIFICATES)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            digest: Fingerprint::of(&bytes),
            contents: Contents::read(&bytes)?,
            bytes,
        }))
    }

    /// Reads the other file, which holds the keys and the proofs of what is trusted.
    pub(super) fn read_keys(directory: &Directory) -> Result<Vec<u8>, StoreError> {
        read_locked(directory, KEYS)?.ok_or(StoreError::Incomplete)
    }

    /// Puts a finished store in place of the one with this digest, or of none. Its certificates come
    /// last: until then, the former ones are in force.
    pub(super) fn replace(
        directory: &Directory,
        before: Option<Fingerprint>,
        finished: &Private<'_>,
        mode: RawMode,
    ) -> Result<(), StoreError> {
        let current = directory.open_in_place(CERTIFICATES)?;
        let _held = match (&current, before) {
            (None, None) => None,
            (Some(file), Some(digest)) => {
                wait_for(file, Access::Change)?;
                let unchanged = Fingerprint::of(&read_all(file)?) == digest;
                Some(unchanged.then_some(file).ok_or(StoreError::Changed)?)
            }
            _ => return Err(StoreError::Changed),
        };
        if !directory.has(MODULES)? {
            finished.publish(MODULES, mode)?;
        }
        finished.publish(KEYS, mode)?;
        finished.publish(CERTIFICATES, mode)?;
        Ok(())
    }
}

/// Tells whether a `key4.db` holds the private key with this identifier, or with none given any.
pub(super) fn holds_key(bytes: &[u8], id: Option<&[u8]>) -> Result<bool, SqliteError> {
    const PRIVATE_KEY: &[u8] = &[0, 0, 0, 3];
    let database = Database::open(bytes)?;
    let Some(table) = database.table("nssPrivate")? else {
        return Ok(false);
    };
    let is_meant = |row: &super::sqlite::Row<'_>| {
        row.blob("a0") == Some(PRIVATE_KEY) && (id.is_none() || row.blob("a102") == id)
    };
    Ok(database.rows(&table)?.iter().any(is_meant))
}

fn read_locked(directory: &Directory, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(file) = directory.open_followed(name)? else {
        return Ok(None);
    };
    wait_for(&file, Access::Read)?;
    // Nobody is changing it now. What a program that was killed had not finished is in its journal.
    if directory.size(&format!("{name}-journal"))? > 0 {
        return Err(StoreError::Interrupted);
    }
    let bytes = read_all(&file)?;
    Ok(Some(bytes))
}

fn read_all(mut file: &File) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| {
            file.take(MAX_STORE_BYTES as u64 + 1)
                .read_to_end(&mut bytes)
        })
        .map_err(StoreError::Read)?;
    if bytes.len() > MAX_STORE_BYTES {
        return Err(SqliteError::TooMuch.into());
    }
    Ok(bytes)
}

#[derive(Clone, Copy)]
enum Access {
    Read,
    Change,
}

/// Waits for a lock on the whole file. It is held until the file is closed, and belongs to this open
/// file alone: others in this process cannot lose it.
fn wait_for(file: &File, access: Access) -> Result<(), StoreError> {
    let kind = match access {
        Access::Read => libc::F_RDLCK,
        Access::Change => libc::F_WRLCK,
    };
    let whole = libc::flock {
        l_type: i16::try_from(kind).expect("lock kinds are 0, 1 and 2"),
        l_whence: i16::try_from(libc::SEEK_SET).expect("SEEK_SET is 0"),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
            Ok(_) => return Ok(()),
            Err(nix::Error::EAGAIN | nix::Error::EACCES) if Instant::now() < deadline => {
                thread::sleep(LOCK_INTERVAL);
            }
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => return Err(StoreError::Busy),
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(StoreError::Read(errno.into())),
        }
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Box::new(error))
    }
}
