//! Zip archives that no well-meaning program would write.
//!
//! Members are stored as they are; what the directory says about them can be made to differ.

use std::io::{Cursor, Read};

/// One member.
#[derive(Clone, Debug)]
pub struct Member {
    name: Vec<u8>,
    content: Vec<u8>,
    mode: u32,
    declared: Option<u32>,
}

/// A regular file with its permission bits.
const FILE: u32 = 0o100_644;
/// A symbolic link.
const SYMLINK: u32 = 0o120_777;
/// A character device.
const DEVICE: u32 = 0o020_666;

impl Member {
    /// A regular file.
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            content: content.as_ref().to_owned(),
            mode: FILE,
            declared: None,
        }
    }

    /// A symbolic link.
    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            mode: SYMLINK,
            ..Self::file(name, target)
        }
    }

    /// A character device.
    pub fn device(name: impl AsRef<[u8]>) -> Self {
        Self {
            mode: DEVICE,
            ..Self::file(name, "")
        }
    }

    /// The same, but the archive's directory claims another size.
    #[must_use]
    pub fn declared(self, size: u32) -> Self {
        Self {
            declared: Some(size),
            ..self
        }
    }
}

/// Writes an archive of these members, in their order, doubles included.
///
/// # Panics
/// When a name or content is too long for a zip archive without extensions.
#[must_use]
pub fn of(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        let offset = length(&bytes);
        let common = common_header(member);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(&member.name);
        bytes.extend(&member.content);

        // Made on Unix, so that the mode below is believed.
        directory.extend(b"PK\x01\x02\x1e\x03");
        directory.extend(&common);
        // No comment, the first disk, not a text.
        directory.extend([0; 6]);
        directory.extend((member.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&member.name);
    }
    let start = length(&bytes);
    let count = u16::try_from(members.len())
        .expect("few members are written")
        .to_le_bytes();
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
    bytes.extend(count);
    bytes.extend(count);
    bytes.extend(length(&directory).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

/// Writes an archive whose only member unpacks to this many zeros.
///
/// # Panics
/// Never: it is written to memory.
#[must_use]
pub fn bomb(name: &str, size: u64) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    archive
        .start_file(name, options)
        .expect("memory takes everything");
    std::io::copy(&mut std::io::repeat(0).take(size), &mut archive)
        .expect("memory takes everything");
    archive
        .finish()
        .expect("memory takes everything")
        .into_inner()
}

/// The fields that a member's own header and its directory entry share: version, flags, method, time,
/// date, checksum, both sizes and both lengths.
fn common_header(member: &Member) -> Vec<u8> {
    let stored = length(&member.content);
    let mut header = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    header.extend(checksum(&member.content).to_le_bytes());
    header.extend(stored.to_le_bytes());
    header.extend(member.declared.unwrap_or(stored).to_le_bytes());
    let name = u16::try_from(member.name.len()).expect("names in tests are short");
    header.extend(name.to_le_bytes());
    header.extend([0; 2]);
    header
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("archives in tests are small")
}

/// CRC-32 as zip defines it.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                (sum >> 1) ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    })
}
