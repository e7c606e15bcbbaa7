//! What a job may know of the host's huge pages.
//!
//! A C library that was told to have its heap in huge pages (the tunable `glibc.malloc.hugetlb` of glibc) first asks two
//! files of `/sys` whether the host has any. A jail has no `/sys`; it gets copies of these two.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Fault;
use crate::mounts::NewRoot;

/// Below the root, of the host and of the jail.
const DIRECTORY: &str = "sys/kernel/mm/transparent_hugepage";
/// When they are used, and how large they are.
const FILES: [&str; 2] = ["enabled", "hpage_pmd_size"];
/// More than either is long.
const LIMIT: u64 = 64;

/// Writes the copies, or nothing where the host lacks one or says something unusual: programs then do without.
pub(super) fn tell(root: &NewRoot) -> Result<(), Fault> {
    let said: Option<Vec<_>> = paths()
        .into_iter()
        .map(|path| Some((read(&Path::new("/").join(&path))?, path)))
        .collect();
    for (said, path) in said.unwrap_or_default() {
        root.write(Path::new(&path), &said)?;
    }
    Ok(())
}

/// Where the copies are, without the slash in front.
pub(super) fn paths() -> [String; 2] {
    FILES.map(|name| format!("{DIRECTORY}/{name}"))
}

/// What the host says, if it is the word or number that it should be.
fn read(path: &Path) -> Option<String> {
    let mut said = String::new();
    let file = File::open(path).ok()?;
    file.take(LIMIT).read_to_string(&mut said).ok()?;
    let is_usual =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b" []\n".contains(&byte);
    said.bytes().all(is_usual).then_some(said)
}
