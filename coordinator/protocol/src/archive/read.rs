//! Reads an archive into memory, within limits.

use std::io::{Cursor, Read};

use zip::read::{ArchiveOffset, Config, ZipFile};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

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
    // The archive begins at the first byte: one that is found behind something else has two readings.
    let config = Config {
        archive_offset: ArchiveOffset::Known(0),
    };
    let mut archive =
        ZipArchive::with_config(config, Cursor::new(bytes)).map_err(ArchiveError::unreadable)?;
    if archive.has_duplicate_names() {
        return Err(ArchiveError::Duplicate);
    }
    judge_directory(&mut archive, limits)?;
    archive
        .validate_header_consistency()
        .map_err(ArchiveError::unreadable)?;
    let mut entries = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(ArchiveError::unreadable)?;
        entries.push(unpack(file)?);
    }
    names::check_conflicts(&entries)?;
    Ok(entries)
}

/// Judges the announced number of members before the crate reads that many, and insists that the end
/// record is the end, so that there is only one place where a directory can be.
///
/// PKWARE's APPNOTE.TXT, sections 4.3.15 and 4.3.16, for the two records that are looked at.
fn judge_end_record(bytes: &[u8], limits: &ArchiveLimits) -> Result<(), ArchiveError> {
    let (rest, record) = bytes
        .split_last_chunk::<END_SIZE>()
        .ok_or(ArchiveError::NotAnArchive)?;
    if !record.starts_with(END) || !record.ends_with(NO_COMMENT) {
        return Err(ArchiveError::NoEndRecord);
    }
    let announced = usize::from(u16::from_le_bytes([record[10], record[11]]));
    let points_to_64_bit = rest
        .last_chunk::<LOCATOR64_SIZE>()
        .is_some_and(|locator| locator.starts_with(LOCATOR64));
    if points_to_64_bit || announced == usize::from(u16::MAX) {
        return Err(ArchiveError::Zip64);
    }
    if announced > limits.entries {
        return Err(ArchiveError::TooManyEntries {
            announced,
            limit: limits.entries,
        });
    }
    Ok(())
}

/// Judges everything that the directory says, before anything is unpacked.
fn judge_directory(
    archive: &mut ZipArchive<Reader<'_>>,
    limits: &ArchiveLimits,
) -> Result<(), ArchiveError> {
    let mut unpacked = 0_u64;
    for index in 0..archive.len() {
        let file = archive
            .by_index_raw(index)
            .map_err(ArchiveError::unreadable)?;
        judge_member(&file)?;
        unpacked = unpacked.saturating_add(file.size());
    }
    if unpacked > limits.unpacked {
        return Err(ArchiveError::TooLarge {
            unpacked,
            limit: limits.unpacked,
        });
    }
    Ok(())
}

fn judge_member(file: &ZipFile<'_, Reader<'_>>) -> Result<(), ArchiveError> {
    let shown = || text::escape(file.name_raw());
    if file.encrypted() {
        return Err(ArchiveError::Encrypted(shown()));
    }
    if ![CompressionMethod::Stored, CompressionMethod::Deflated].contains(&file.compression()) {
        return Err(ArchiveError::Method {
            name: shown(),
            method: file.compression().to_string(),
        });
    }
    let (packed, unpacked) = (file.compressed_size(), file.size());
    if unpacked > RATIO_MATTERS_FROM && unpacked > packed.saturating_mul(MAX_RATIO) {
        return Err(ArchiveError::Bomb {
            name: shown(),
            unpacked,
            packed,
        });
    }
    Ok(())
}

/// Never yields more than the directory announced, nor less: one byte more is enough to know that
/// the announcement was a lie.
fn unpack(mut file: ZipFile<'_, Reader<'_>>) -> Result<Entry, ArchiveError> {
    let (path, kind) = names::classify(&file)?;
    let announced = file.size();
    let mut content = Vec::new();
    let read = file
        .by_ref()
        .take(announced.saturating_add(1))
        .read_to_end(&mut content);
    if let Err(error) = read {
        return Err(ArchiveError::DamagedMember {
            name: path.to_string(),
            reason: ZipError::from(error).to_string(),
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

/// Begins the end record, which is this long without a comment and then ends with a length of zero.
const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const NO_COMMENT: &[u8] = &[0, 0];
/// Begins the record, in front of the end record, that points to a 64-bit end record.
const LOCATOR64: &[u8] = b"PK\x06\x07";
const LOCATOR64_SIZE: usize = 20;
