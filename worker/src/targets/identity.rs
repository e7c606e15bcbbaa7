//! A name for one exact build: the same release with other headers, another stap or another compiler
//! has another one.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::root::Root;
use super::tree::{CONFIG_FILE, Tree};

/// Returns the digest, in hexadecimal, of all that decides what this target's modules look like.
///
/// # Errors
///
/// When a file of the tree that must be there cannot be read.
pub fn build_id(root: &Root, tree: &Tree, stap: &Stap) -> io::Result<String> {
    let mut digest = Fields(Sha256::new());
    digest.field(FORMAT);
    digest.field(tree.release.as_str().as_bytes());
    digest.field(tree.arch.as_str().as_bytes());
    digest.field(tree.path.as_os_str().as_encoded_bytes());
    digest.field(&content(root, &tree.path.join(CONFIG_FILE))?);
    for optional in [SYMBOLS_FILE, COMPILE_FILE, VERSION_FILE] {
        digest.field(&content(root, &tree.path.join(optional)).unwrap_or_default());
    }
    // stap does not read these, but names its probes and queries after their sizes and times.
    let of_tree = NAMED_AFTER_IN_TREE.map(|name| tree.path.join(name));
    let of_root = NAMED_AFTER.map(PathBuf::from);
    for path in of_tree.into_iter().chain(of_root) {
        digest.field(&stamp(root, &path).unwrap_or_default());
    }
    digest.field(&stamp(root, &tree.compiler)?);
    digest.field(stap.version.as_bytes());
    digest.field(stap.path.as_os_str().as_encoded_bytes());
    digest.field(&stap.stamp);
    Ok(digest.hexadecimal())
}

/// The stap of a target, as far as it matters to what comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stap {
    /// Inside the root, or on this host where it is an override.
    pub path: PathBuf,
    /// What it says of itself.
    pub version: String,
    /// Size and time of the program; stap's own cache goes by these too.
    pub stamp: Vec<u8>,
}

/// Returns the size and the time of change of a file or a directory, for programs that are too large to be read at
/// every start.
///
/// # Errors
///
/// When there is none.
pub fn stamp(root: &Root, path: &Path) -> io::Result<Vec<u8>> {
    let metadata = root.metadata(path)?;
    let stamp = format!(
        "{} {}.{}",
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    Ok(stamp.into_bytes())
}

/// Each field is preceded by its length, so that no two lists of fields give the same bytes.
struct Fields(Sha256);

impl Fields {
    fn field(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn hexadecimal(self) -> String {
        self.0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The digest of a file, read in pieces because a table of symbols has megabytes.
fn content(root: &Root, path: &Path) -> io::Result<Vec<u8>> {
    let mut digest = Sha256::new();
    let copied = io::copy(&mut root.file(path)?.take(MAX_FILE + 1), &mut digest)?;
    if copied > MAX_FILE {
        return Err(io::Error::other(format!("{} is too long", path.display())));
    }
    Ok(digest.finalize().to_vec())
}

/// Changes whenever the list of fields does, so that warm state of older versions is not taken.
const FORMAT: &[u8] = b"stap target 2";
const SYMBOLS_FILE: &str = "Module.symvers";
const COMPILE_FILE: &str = "include/generated/compile.h";
const VERSION_FILE: &str = "include/generated/utsversion.h";
/// Of a build tree, and the tree itself.
const NAMED_AFTER_IN_TREE: [&str; 6] = [
    "",
    CONFIG_FILE,
    ".version",
    "include/linux/compile.h",
    "include/linux/version.h",
    "include/linux/utsrelease.h",
];
/// Of the rest of a root: the compiler under the name by which stap looks for it, and the runtime.
const NAMED_AFTER: [&str; 5] = [
    "/usr/bin/gcc",
    "/usr/share/systemtap/runtime",
    "/usr/share/systemtap/runtime/transport",
    "/usr/share/systemtap/runtime/unwind",
    "/usr/share/systemtap/runtime/linux",
];
/// Several times the symbol table of a distribution's kernel.
const MAX_FILE: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_byte_from_one_field_to_the_next_changes_the_digest() {
        let digest = |fields: [&[u8]; 2]| {
            let mut digest = Fields(Sha256::new());
            fields.iter().for_each(|field| digest.field(field));
            digest.hexadecimal()
        };
        assert_ne!(digest([b"ab", b"c"]), digest([b"a", b"bc"]));
        assert_eq!(digest([b"ab", b"c"]).len(), 64);
    }
}
