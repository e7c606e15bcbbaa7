//! Writes an archive that `unzip`, and the reader beside this file, accept.
//!
//! Times are left at the format's first day, 1980-01-01, so that equal content makes equal bytes.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

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
    archive: ZipWriter<Cursor<Vec<u8>>>,
}

const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Archives are written to memory, under names that are distinct and shorter than any limit of the
/// format.
const CANNOT_FAIL: &str = "writing distinct, checked names to memory does not fail";

impl Writer {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            compression,
            archive: ZipWriter::new(Cursor::new(Vec::new())),
        }
    }

    /// Adds a regular file.
    pub(crate) fn file(&mut self, name: &[u8], content: &[u8]) {
        let worth_it = (self.compression.from..=self.compression.up_to).contains(&content.len());
        let method = match worth_it {
            true => CompressionMethod::Deflated,
            false => CompressionMethod::Stored,
        };
        self.add(name, content, method);
    }

    /// Adds a regular file as it is, however large it is.
    pub(crate) fn stored(&mut self, name: &[u8], content: &[u8]) {
        self.add(name, content, CompressionMethod::Stored);
    }

    fn add(&mut self, name: &[u8], content: &[u8], method: CompressionMethod) {
        let options = options(FILE_MODE).compression_method(method).name(name);
        self.archive
            .start_file_with_options(options)
            .expect(CANNOT_FAIL);
        self.archive.write_all(content).expect(CANNOT_FAIL);
    }

    /// Adds a directory; `name` has no trailing slash.
    pub(crate) fn directory(&mut self, name: &str) {
        let options = options(DIRECTORY_MODE).compression_method(CompressionMethod::Stored);
        self.archive
            .add_directory(name, options)
            .expect(CANNOT_FAIL);
    }

    /// Ends the archive.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.archive.finish().expect(CANNOT_FAIL).into_inner()
    }
}

fn options(mode: u32) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .last_modified_time(DateTime::default())
        .unix_permissions(mode)
}
