//! The record at the end of an archive that says where its directory is.
//!
//! PKWARE's APPNOTE.TXT, sections 4.3.15 and 4.3.16. The `zip` crate reads it, too, but only together
//! with everything that it announces.

use super::error::ArchiveError;

/// Bytes of the record when it has no comment.
pub(super) const END_SIZE: usize = 22;

/// Begins each entry of the directory.
pub(super) const ENTRY: &[u8] = b"PK\x01\x02";

/// Begins the record itself.
const END: &[u8] = b"PK\x05\x06";

/// Begins the record, in front of this one, that points to a 64-bit end record.
const LOCATOR64: &[u8] = b"PK\x06\x07";
const LOCATOR64_SIZE: usize = 20;

/// What the record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndRecord {
    /// Another end record, for numbers that do not fit, is in front of this one.
    pub(super) is_64_bit: bool,
    /// Which part of a set of archives this is.
    pub(super) part: usize,
    /// In which part the directory begins.
    pub(super) directory_part: usize,
    /// Entries of the directory that are in this part.
    pub(super) entries_here: usize,
    /// Entries of the directory.
    pub(super) entries: usize,
    /// Bytes of the directory.
    pub(super) directory_size: usize,
    /// Where the directory begins.
    pub(super) directory_start: usize,
}

impl EndRecord {
    /// Parses the last bytes of an archive.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let (rest, record) = bytes
            .split_last_chunk::<END_SIZE>()
            .ok_or(ArchiveError::NotAnArchive)?;
        let no_comment = [0, 0];
        if !record.starts_with(END) || !record.ends_with(&no_comment) {
            return Err(ArchiveError::NoEndRecord);
        }
        let has_locator = rest
            .last_chunk::<LOCATOR64_SIZE>()
            .is_some_and(|locator| locator.starts_with(LOCATOR64));
        let entries = u16_at(record, 10);
        Ok(Self {
            is_64_bit: has_locator || entries == usize::from(u16::MAX),
            part: u16_at(record, 4),
            directory_part: u16_at(record, 6),
            entries_here: u16_at(record, 8),
            entries,
            directory_size: u32_at(record, 12),
            directory_start: u32_at(record, 16),
        })
    }
}

fn u16_at(record: &[u8; END_SIZE], at: usize) -> usize {
    usize::from(u16::from_le_bytes([record[at], record[at + 1]]))
}

fn u32_at(record: &[u8; END_SIZE], at: usize) -> usize {
    u16_at(record, at) | u16_at(record, at + 2) << 16
}
