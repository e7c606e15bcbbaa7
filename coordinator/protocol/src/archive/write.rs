//! Writes an archive that `unzip`, and the reader beside this file, accept.
//!
//! Names are bytes and are written as they are: marked as UTF-8, an `unzip` in the C locale would
//! rename what is not ASCII, and then the arguments that name these files would miss them. Times are
//! left at the format's zero, 1980, so that equal content makes equal bytes.

use std::io::Write;

use flate2::Crc;
use flate2::write::DeflateEncoder;

use super::format;

/// Which members are deflated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compression {
    /// Smaller members are stored: deflating them saves nothing that matters.
    pub(crate) from: usize,
    /// Bigger members are stored: they would be waited for.
    pub(crate) up_to: usize,
}

/// An archive being written.
#[derive(Debug)]
pub(crate) struct Writer {
    compression: Compression,
    bytes: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

/// Version 2.0 of the format, the first with directories and deflating; made on Unix.
const VERSION: u16 = 20;
const MADE_ON_UNIX: u16 = 3 << 8 | VERSION;

/// 1980-01-01, the earliest day that the format knows; 0 would be no day at all.
const FIRST_DAY: u16 = 0x21;

const FILE_MODE: u32 = 0o100_644 << 16;
/// The mode, and the bit by which MS-DOS marks a directory.
const DIRECTORY_MODE: u32 = 0o040_755 << 16 | 0x10;

impl Writer {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            compression,
            bytes: Vec::new(),
            directory: Vec::new(),
            entries: 0,
        }
    }

    /// Adds a regular file.
    pub(crate) fn file(&mut self, name: &[u8], content: &[u8]) {
        let mut crc = Crc::new();
        crc.update(content);
        let worth_it = (self.compression.from..=self.compression.up_to).contains(&content.len());
        let deflated = worth_it
            .then(|| deflate(content))
            .filter(|d| d.len() < content.len());
        match deflated {
            Some(data) => {
                let sizes = [crc.sum(), size32(data.len()), size32(content.len())];
                self.member(name, format::DEFLATED, sizes, &data, FILE_MODE);
            }
            None => {
                let sizes = [crc.sum(), size32(content.len()), size32(content.len())];
                self.member(name, format::STORED, sizes, content, FILE_MODE);
            }
        }
    }

    /// Adds a directory; `name` has no trailing slash.
    pub(crate) fn directory(&mut self, name: &[u8]) {
        let name = [name, b"/"].concat();
        self.member(&name, format::STORED, [0; 3], &[], DIRECTORY_MODE);
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let start = size32(self.bytes.len());
        let size = size32(self.directory.len());
        self.bytes.append(&mut self.directory);
        self.bytes.extend_from_slice(format::END);
        push16(&mut self.bytes, &[0, 0, self.entries, self.entries]);
        push32(&mut self.bytes, &[size, start]);
        push16(&mut self.bytes, &[0]);
        self.bytes
    }

    /// `sizes` are the checksum, the packed and the unpacked size.
    fn member(&mut self, name: &[u8], method: u16, sizes: [u32; 3], data: &[u8], mode: u32) {
        let start = size32(self.bytes.len());
        let length = u16::try_from(name.len()).expect("names are shorter than the longest path");

        self.bytes.extend_from_slice(format::LOCAL);
        push16(&mut self.bytes, &[VERSION, 0, method, 0, FIRST_DAY]);
        push32(&mut self.bytes, &sizes);
        push16(&mut self.bytes, &[length, 0]);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(data);

        self.directory.extend_from_slice(format::CENTRAL);
        push16(
            &mut self.directory,
            &[MADE_ON_UNIX, VERSION, 0, method, 0, FIRST_DAY],
        );
        push32(&mut self.directory, &sizes);
        push16(&mut self.directory, &[length, 0, 0, 0, 0]);
        push32(&mut self.directory, &[mode, start]);
        self.directory.extend_from_slice(name);
        self.entries = self
            .entries
            .checked_add(1)
            .expect("callers bound the number of their files");
    }
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder
        .write_all(content)
        .expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

fn size32(size: usize) -> u32 {
    u32::try_from(size).expect("callers bound the size of all their files")
}

fn push16(bytes: &mut Vec<u8>, numbers: &[u16]) {
    numbers
        .iter()
        .for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

fn push32(bytes: &mut Vec<u8>, numbers: &[u32]) {
    numbers
        .iter()
        .for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}
