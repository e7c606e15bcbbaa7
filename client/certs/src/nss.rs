//! The NSS store that may lie in the same directory as our files.
//!
//! Stock stap, staprun and certutil share a database through it, so it is kept in step with our files
//! in both directions. It is read here (`sqlite`, `contents`) and changed by NSS's own programs
//! (`programs`), on a private copy that replaces it when it is finished (`stage`, `store`). Which side
//! follows which is decided by `merge`, from a `record` of what was in step. Its files' owners and
//! permissions are judged like those of ours.

mod client;
mod contents;
mod merge;
mod pkcs12;
mod programs;
mod record;
mod server;
mod sqlite;
mod stage;
mod store;

use std::fs::File;
use std::path::Path;

use crate::directory::Directory;
use crate::error::{DatabaseError, with_hint};
use crate::permissions::{Finding, Kind};
use crate::text::{quoted, shown};

pub(crate) use client::{View, Wanted, follow, view};
use programs::ProgramError;
pub use programs::Programs;
pub(crate) use server::{Context, ServerStore, Takeover, taken_over};
use sqlite::SqliteError;

const CERTIFICATES: &str = "cert9.db";
const KEYS: &str = "key4.db";
const MODULES: &str = "pkcs11.txt";

/// The format of NSS since 3.35.
const SQL: [&str; 3] = [CERTIFICATES, KEYS, MODULES];

/// The format before.
const LEGACY: [&str; 3] = ["cert8.db", "key3.db", "secmod.db"];

/// The nickname under which stock programs look for a server's certificate.
const NICKNAME: &str = "stap-server";

/// Why a store cannot be read or changed. Our own files are not concerned.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error("it cannot be read: {0}")]
    Format(#[from] SqliteError),
    #[error("it cannot be read: {0}")]
    Read(#[source] std::io::Error),
    #[error("a program that was changing it was killed")]
    Interrupted,
    #[error("another program keeps changing it")]
    Busy,
    #[error("another program has just changed it")]
    Changed,
    #[error("one of its files is missing")]
    Incomplete,
    #[error("it has a password")]
    Password,
    #[error("it belongs to another user")]
    NotOwn,
    #[error("the record of what it has in common with our own files is damaged")]
    Record,
    #[error("it holds private keys, or certificates that are no server's")]
    Foreign,
    #[error("{0}")]
    Program(#[from] ProgramError),
    #[error("what {0} made of it is not what was asked for")]
    NotAsAsked(&'static str),
    #[error("{0}")]
    Pkcs12(#[from] pkcs12::Pkcs12Error),
    #[error("{0}")]
    Database(Box<DatabaseError>),
}

impl StoreError {
    /// What a person sees, without a `WARNING:` prefix: what is so, why, and what to do.
    fn warning(&self, directory: &Path, what: &str) -> String {
        let store = directory.join(CERTIFICATES);
        let sentence = format!("{what} '{}': {self}", shown(&store));
        match self.hint(directory) {
            Some(hint) => with_hint(&sentence, &hint),
            None => sentence,
        }
    }

    /// What to do about it.
    fn hint(&self, directory: &Path) -> Option<String> {
        let dir = quoted(directory);
        Some(match self {
            Self::Interrupted => {
                format!("certutil -L -d {dir}, which undoes what was not finished")
            }
            Self::Format(_) | Self::NotAsAsked(_) | Self::Program(_) => format!(
                "certutil -L -d {dir}; if that fails too, move {CERTIFICATES}, {KEYS} and {MODULES} away"
            ),
            Self::Incomplete => {
                format!("move {CERTIFICATES}, {KEYS} and {MODULES} away from {dir}")
            }
            Self::Busy | Self::Changed => "do it again when the other program has ended".to_owned(),
            Self::Password => format!("certutil -W -d {dir}, with an empty new password"),
            Self::NotOwn => "do it as that user, or have that user do it".to_owned(),
            Self::Record => format!(
                "rm {}, if every certificate in either is to be trusted",
                quoted(&directory.join(record::RECORD))
            ),
            Self::Foreign => format!("certutil -D -n {NICKNAME} -d {dir}, or move it away"),
            Self::Pkcs12(_) | Self::Read(_) | Self::Database(_) => return None,
        })
    }
}

/// Judges the set of files of the format in use, and the record. A set that is there in part is an
/// error; without any there is no NSS store and nothing to judge.
pub(crate) fn examine(
    directory: &Directory,
    kind: Kind,
    owner: Option<u32>,
    findings: &mut Vec<Finding>,
) -> Result<(), DatabaseError> {
    for name in set_in_use(directory)? {
        let _opened: Option<File> = directory.examine_file(name, kind, owner, findings)?;
    }
    if directory.has(record::RECORD)? {
        let _opened: Option<File> =
            directory.examine_file(record::RECORD, kind, owner, findings)?;
    }
    Ok(())
}

/// Tells whether these are the certificates of a store that can be read.
pub(crate) fn is_store(bytes: &[u8]) -> bool {
    contents::Contents::read(bytes).is_ok()
}

/// Tells whether a file belongs to an NSS store.
pub(crate) fn is_store_name(name: &str) -> bool {
    SQL.contains(&name) || LEGACY.contains(&name)
}

fn set_in_use(directory: &Directory) -> Result<&'static [&'static str], DatabaseError> {
    if directory.has(SQL[0])? {
        return Ok(&SQL);
    }
    for name in LEGACY {
        if directory.has(name)? {
            return Ok(&LEGACY);
        }
    }
    Ok(&[])
}

#[cfg(test)]
mod tests;
