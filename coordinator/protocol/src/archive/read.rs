//! Reads an archive: the end record, then the directory, then, one by one, the members.

use std::io::Read;

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::error::ArchiveError;
use super::format::{self, CentralHeader, Cursor, EndRecord, Facts};
use super::{ArchiveLimits, MAX_RATIO, RATIO_MATTERS_FROM, names};
use crate::path::RelativePath;
use crate::text;

/// An archive whose directory has been read and believed; no member is unpacked yet.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    /// The members in the order of the archive, no two of which get in each other's way.
    pub(crate) entries: Vec<Entry<'a>>,
}

/// A member.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// Where it belongs.
    pub(crate) path: RelativePath,
    /// What it is.
    pub(crate) kind: Kind,
    is_deflated: bool,
    checksum: u32,
    unpacked: u32,
    data: &'a [u8],
}

/// What a member is; there is no third kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

impl<'a> Archive<'a> {
    /// Reads the directory of `bytes` and judges it by `limits`.
    pub(crate) fn open(bytes: &'a [u8], limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let (directory, entries) = find_directory(bytes, limits)?;
        let headers = read_directory(&bytes[directory..], entries)?;
        judge_sizes(&headers, limits)?;
        let entries = locate_members(&bytes[..directory], &headers)?;
        names::check_conflicts(&entries)?;
        Ok(Self { entries })
    }
}

impl Entry<'_> {
    /// Unpacks the member. Never yields more than the directory announced, nor less.
    pub(crate) fn content(&self) -> Result<Vec<u8>, ArchiveError> {
        let content = if self.is_deflated {
            self.inflate()?
        } else {
            self.data.to_vec()
        };
        if content.len() as u64 != u64::from(self.unpacked) {
            return Err(self.lying_size());
        }
        let mut crc = Crc::new();
        crc.update(&content);
        if crc.sum() != self.checksum {
            return Err(ArchiveError::DamagedMember(self.path.to_string()));
        }
        Ok(content)
    }

    /// One byte more than announced is enough to know that the announcement was a lie.
    fn inflate(&self) -> Result<Vec<u8>, ArchiveError> {
        let mut decoder = DeflateDecoder::new(self.data);
        let mut content = Vec::new();
        let read = decoder
            .by_ref()
            .take(u64::from(self.unpacked) + 1)
            .read_to_end(&mut content);
        read.map_err(|_invalid| ArchiveError::DamagedMember(self.path.to_string()))?;
        let used_up = decoder.total_in() == self.data.len() as u64;
        match content.len() as u64 > u64::from(self.unpacked) {
            true => Err(self.lying_size()),
            false if !used_up => Err(ArchiveError::DamagedMember(self.path.to_string())),
            false => Ok(content),
        }
    }

    fn lying_size(&self) -> ArchiveError {
        let announced = u64::from(self.unpacked);
        ArchiveError::LyingSize {
            name: self.path.to_string(),
            announced,
        }
    }
}

/// Returns where the directory begins and how many entries it has. The end record must be the very
/// last thing: with anything behind it, two readers could find two different archives.
fn find_directory(bytes: &[u8], limits: &ArchiveLimits) -> Result<(usize, usize), ArchiveError> {
    let end = bytes
        .len()
        .checked_sub(format::END_SIZE)
        .ok_or(ArchiveError::NotAnArchive)?;
    let record = EndRecord::parse(&bytes[end..]).filter(|record| record.comment == 0);
    let Some(record) = record else {
        return Err(no_end_record(bytes));
    };
    let has_locator = end
        .checked_sub(format::LOCATOR64_SIZE)
        .is_some_and(|at| bytes[at..].starts_with(format::LOCATOR64));
    if has_locator || record.entries == u16::MAX || record.directory_start == u32::MAX {
        return Err(ArchiveError::Zip64);
    }
    if record.part != 0 || record.directory_part != 0 || record.entries != record.entries_here {
        return Err(ArchiveError::SeveralParts);
    }
    let announced = usize::from(record.entries);
    if announced > limits.entries {
        return Err(ArchiveError::TooManyEntries {
            announced,
            limit: limits.entries,
        });
    }
    if u64::from(record.directory_start) + u64::from(record.directory_size) != end as u64 {
        return Err(ArchiveError::MisplacedDirectory);
    }
    let start = usize::try_from(record.directory_start)
        .expect("the directory begins in front of the end record, which is in memory");
    Ok((start, announced))
}

/// Tells an archive with something behind it from what never was an archive.
fn no_end_record(bytes: &[u8]) -> ArchiveError {
    let tail = &bytes[bytes
        .len()
        .saturating_sub(format::END_SIZE + usize::from(u16::MAX))..];
    let found = tail
        .windows(format::END.len())
        .rposition(|window| window == format::END);
    match found.map(|at| tail.len() - at) {
        Some(size) if size > format::END_SIZE => {
            ArchiveError::TrailingBytes(size - format::END_SIZE)
        }
        _ => ArchiveError::NotAnArchive,
    }
}

fn read_directory(
    directory: &[u8],
    entries: usize,
) -> Result<Vec<CentralHeader<'_>>, ArchiveError> {
    let (directory, _end) = directory.split_at(directory.len() - format::END_SIZE);
    let mut cursor = Cursor(directory);
    let mut headers = Vec::new();
    for number in 1..=entries {
        let header = CentralHeader::parse(&mut cursor);
        headers.push(header.ok_or(ArchiveError::DamagedDirectory(number))?);
    }
    if !cursor.0.is_empty() {
        return Err(ArchiveError::MisplacedDirectory);
    }
    Ok(headers)
}

fn judge_sizes(headers: &[CentralHeader<'_>], limits: &ArchiveLimits) -> Result<(), ArchiveError> {
    let unpacked: u64 = headers
        .iter()
        .map(|header| u64::from(header.facts.unpacked))
        .sum();
    if unpacked > limits.unpacked {
        return Err(ArchiveError::TooLarge {
            unpacked,
            limit: limits.unpacked,
        });
    }
    headers
        .iter()
        .try_for_each(|header| judge_ratio(&header.facts))
}

fn judge_ratio(facts: &Facts<'_>) -> Result<(), ArchiveError> {
    let (packed, unpacked) = (u64::from(facts.packed), u64::from(facts.unpacked));
    if unpacked > RATIO_MATTERS_FROM && unpacked > packed * MAX_RATIO {
        return Err(ArchiveError::Bomb {
            name: text::escape(facts.name),
            unpacked,
            packed,
        });
    }
    Ok(())
}

/// Walks the members. Each must begin where the one before it ended, so that no two of them share
/// bytes and no bytes belong to nobody.
fn locate_members<'a>(
    bytes: &'a [u8],
    headers: &[CentralHeader<'_>],
) -> Result<Vec<Entry<'a>>, ArchiveError> {
    let mut cursor = Cursor(bytes);
    let mut entries = Vec::with_capacity(headers.len());
    for header in headers {
        entries.push(locate_member(&mut cursor, bytes.len(), header)?);
    }
    match cursor.0.is_empty() {
        true => Ok(entries),
        false => Err(ArchiveError::MisplacedDirectory),
    }
}

fn locate_member<'a>(
    cursor: &mut Cursor<'a>,
    whole: usize,
    header: &CentralHeader<'_>,
) -> Result<Entry<'a>, ArchiveError> {
    let facts = &header.facts;
    let shown = || text::escape(facts.name);
    let (path, kind) = names::classify(header)?;
    if facts.flags & format::ENCRYPTED != 0 {
        return Err(ArchiveError::Encrypted(shown()));
    }
    if ![format::STORED, format::DEFLATED].contains(&facts.method) {
        return Err(ArchiveError::Method {
            name: shown(),
            method: facts.method,
        });
    }
    let misplaced = || ArchiveError::MisplacedMember(shown());
    let position = whole - cursor.0.len();
    if u64::from(header.start) != position as u64 {
        return Err(misplaced());
    }
    let local = format::parse_local_header(cursor).ok_or_else(misplaced)?;
    let data = usize::try_from(facts.packed)
        .ok()
        .and_then(|size| cursor.take(size));
    let data = data.ok_or_else(misplaced)?;
    let agreed = match facts.flags & format::DESCRIBED {
        0 => local == *facts,
        _ => agrees_later(cursor, &local, facts),
    };
    if !agreed {
        return Err(ArchiveError::Contradiction(shown()));
    }
    let is_deflated = facts.method == format::DEFLATED;
    Ok(Entry {
        path,
        kind,
        is_deflated,
        checksum: facts.checksum,
        unpacked: facts.unpacked,
        data,
    })
}

/// A member that was written without knowing its sizes: they follow it, after an optional signature,
/// and its header has zeros.
fn agrees_later(cursor: &mut Cursor<'_>, local: &Facts<'_>, facts: &Facts<'_>) -> bool {
    if cursor.0.starts_with(format::DESCRIPTOR) {
        cursor.0 = &cursor.0[format::DESCRIPTOR.len()..];
    }
    let described = (cursor.u32(), cursor.u32(), cursor.u32());
    let announced = (
        Some(facts.checksum),
        Some(facts.packed),
        Some(facts.unpacked),
    );
    let zeros = Facts {
        checksum: 0,
        packed: 0,
        unpacked: 0,
        ..*facts
    };
    described == announced && (*local == zeros || local == facts)
}
