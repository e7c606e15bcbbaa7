//! What members are called, what they are, and whether they can exist side by side.

use zip::System;
use zip::read::ZipFileEntry;

use super::error::ArchiveError;
use super::read::{Entry, Kind};
use crate::path::RelativePath;
use crate::text;

/// The bits of `st_mode` that say what kind of file it is, and their values.
const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;

/// Returns the member's path and kind.
///
/// The mode is looked at whatever system made the archive: an honest one without modes has zeros
/// there, and a link is a link whoever claims to have made it.
pub(super) fn classify(member: &ZipFileEntry<'_>) -> Result<(RelativePath, Kind), ArchiveError> {
    let shown = || text::escape(member.name_raw());
    if member.name_raw().contains(&b'\\') && member.system() != System::Unix {
        return Err(ArchiveError::Backslash(shown()));
    }
    let (bytes, named) = match member.name_raw() {
        [directory @ .., b'/'] => (directory, Kind::Directory),
        file => (file, Kind::File),
    };
    let kind = match ((member.external_attributes() >> 16) & FILE_TYPE, named) {
        (0, named) => named,
        (REGULAR, Kind::File) => Kind::File,
        (DIRECTORY, Kind::Directory) => Kind::Directory,
        (SYMLINK, _) => return Err(ArchiveError::Symlink(shown())),
        _ => return Err(ArchiveError::Special(shown())),
    };
    if kind == Kind::Directory && member.size() != 0 {
        return Err(ArchiveError::Special(shown()));
    }
    let path = RelativePath::new(bytes);
    path.map(|path| (path, kind))
        .map_err(|reason| ArchiveError::Name {
            name: shown(),
            reason,
        })
}

/// Refuses two members of one name, and a file that is also a directory.
///
/// Sorted by components, everything below `a` comes directly behind `a`, so that neighbours are all
/// that has to be compared.
pub(super) fn check_conflicts(entries: &[Entry]) -> Result<(), ArchiveError> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp_by_components(&b.path));
    sorted
        .windows(2)
        .try_for_each(|pair| check_neighbours(pair[0], pair[1]))
}

fn check_neighbours(first: &Entry, second: &Entry) -> Result<(), ArchiveError> {
    if first.path == second.path {
        let name = first.path.to_string();
        return Err(match first.kind == second.kind {
            true => ArchiveError::Duplicate,
            false => ArchiveError::FileAsDirectory(name),
        });
    }
    if first.kind == Kind::File && first.path.is_above(&second.path) {
        return Err(ArchiveError::FileAsDirectory(first.path.to_string()));
    }
    Ok(())
}
