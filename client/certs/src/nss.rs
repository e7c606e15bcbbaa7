//! The files of an NSS store that may lie in the same directory.
//!
//! They are not read here. Their owners and permissions are judged like our own files', since stock
//! programs and certutil share a database through them.

use std::fs::File;

use crate::directory::Directory;
use crate::error::DatabaseError;
use crate::permissions::{Finding, Kind};

/// The format of NSS since 3.35.
const SQL: [&str; 3] = ["cert9.db", "key4.db", "pkcs11.txt"];

/// The format before.
const LEGACY: [&str; 3] = ["cert8.db", "key3.db", "secmod.db"];

/// Judges the set of files of the format in use. A set that is there in part is an error; without
/// any there is no NSS store and nothing to judge.
pub(crate) fn examine(
    directory: &Directory,
    kind: Kind,
    owner: Option<u32>,
    findings: &mut Vec<Finding>,
) -> Result<(), DatabaseError> {
    for name in set_in_use(directory)? {
        let _opened: Option<File> = directory.examine_file(name, kind, owner, findings)?;
    }
    Ok(())
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
