//! Reads an archive into memory, within limits.

use std::io::{Cursor, Read};

use zip::read::{ArchiveOffset, Config, ZipFileEntry};
use zip::{CompressionMethod, ZipArchive};

use super::end_record::{END_SIZE, ENTRY, EndRecord};
use super::error::ArchiveError;
use super::{ArchiveLimits, MAX_RATIO, RATIO_MATTERS_FROM, names};
use crate::path::RelativePath;
use crate::text;

/// A member.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Where it belongs.
    pub(crate) path: RelativePath,
    /// What it is.
    pub(crate) kind: Kind,
    /// What it holds; nothing, for a directory.
    pub(crate) content: Vec<u8>,
}

/// What a member is; there is no third kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

type Reader<'a> = Cursor<&'a [u8]>;

/// Unpacks `bytes`. No two of the members that are returned get in each other's way.
pub(crate) fn read(bytes: &[u8], limits: &ArchiveLimits) -> Result<Vec<Entry>, ArchiveError> {
    judge_end_record(bytes, limits)?;
    let config = Config {
        archive_offset: ArchiveOffset::Known(0),
    };
    let mut archive =
        ZipArchive::with_config(config, Cursor::new(bytes)).map_err(ArchiveError::unreadable)?;
    if archive.has_duplicate_names() {
        return Err(ArchiveError::Duplicate);
    }
    judge_directory(&archive, limits)?;
    archive
        .validate_header_consistency()
        .map_err(ArchiveError::unreadable)?;
    let mut entries = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        entries.push(unpack(&mut archive, index)?);
    }
    names::check_conflicts(&entries)?;
    Ok(entries)
}

/// Judges the announced number of members before the crate reads that many, and leaves it no choice.
///
/// The crate looks for an earlier end record when it does not like the last one, and for a directory
/// elsewhere when there is none in the announced place. Then what was judged here would not be what
/// is read there. So the end record must be the last thing in the archive, and the directory must
/// fill exactly the space in front of it.
fn judge_end_record(bytes: &[u8], limits: &ArchiveLimits) -> Result<(), ArchiveError> {
    let record = EndRecord::parse(bytes)?;
    if record.is_64_bit {
        return Err(ArchiveError::Zip64);
    }
    if record.part != 0 || record.directory_part != 0 || record.entries != record.entries_here {
        return Err(ArchiveError::SeveralParts);
    }
    if record.entries > limits.entries {
        return Err(ArchiveError::TooManyEntries {
            announced: record.entries,
            limit: limits.entries,
        });
    }
    let (body, _record) = bytes.split_at(bytes.len() - END_SIZE);
    let directory = body.split_at_checked(record.directory_start);
    match directory.map(|(_members, directory)| directory) {
        Some([]) if record.entries == 0 && record.directory_size == 0 => Ok(()),
        Some(directory)
            if directory.len() == record.directory_size && directory.starts_with(ENTRY) =>
        {
            Ok(())
        }
        _ => Err(ArchiveError::MisplacedDirectory),
    }
}

/// Judges everything that the directory says, before anything is unpacked.
fn judge_directory(
    archive: &ZipArchive<Reader<'_>>,
    limits: &ArchiveLimits,
) -> Result<(), ArchiveError> {
    let mut unpacked = 0_u64;
    for index in 0..archive.len() {
        unpacked = unpacked.saturating_add(facts(archive, index)?.size());
    }
    if unpacked > limits.unpacked {
        return Err(ArchiveError::TooLarge {
            unpacked,
            limit: limits.unpacked,
        });
    }
    (0..archive.len()).try_for_each(|index| judge_member(&facts(archive, index)?))
}

/// What the directory says about a member.
fn facts<'a>(
    archive: &'a ZipArchive<Reader<'_>>,
    index: usize,
) -> Result<ZipFileEntry<'a>, ArchiveError> {
    archive
        .by_index_data(index)
        .map_err(ArchiveError::unreadable)
}

fn judge_member(member: &ZipFileEntry<'_>) -> Result<(), ArchiveError> {
    let shown = || text::escape(member.name_raw());
    if member.encrypted() {
        return Err(ArchiveError::Encrypted(shown()));
    }
    if ![CompressionMethod::Stored, CompressionMethod::Deflated].contains(&member.compression()) {
        return Err(ArchiveError::Method {
            name: shown(),
            method: member.compression().to_string(),
        });
    }
    let (packed, unpacked) = (member.compressed_size(), member.size());
    if unpacked > RATIO_MATTERS_FROM && unpacked > packed.saturating_mul(MAX_RATIO) {
        return Err(ArchiveError::Bomb {
            name: shown(),
            unpacked,
            packed,
        });
    }
    names::classify(member).map(drop)
}

/// Never yields more than the directory announced, nor less: one byte more is enough to know that
/// the announcement was a lie.
fn unpack(archive: &mut ZipArchive<Reader<'_>>, index: usize) -> Result<Entry, ArchiveError> {
    let (path, kind) = names::classify(&facts(archive, index)?)?;
    let mut member = archive.by_index(index).map_err(ArchiveError::unreadable)?;
    let announced = member.size();
    let mut content = Vec::new();
    let read = member
        .by_ref()
        .take(announced.saturating_add(1))
        .read_to_end(&mut content);
    if let Err(error) = read {
        return Err(ArchiveError::DamagedMember {
            name: path.to_string(),
            reason: text::escape(error.to_string().as_bytes()),
        });
    }
    if content.len() as u64 != announced {
        return Err(ArchiveError::LyingSize {
            name: path.to_string(),
            announced,
        });
    }
    Ok(Entry {
        path,
        kind,
        content,
    })
}
