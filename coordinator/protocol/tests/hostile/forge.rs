//! Forges zip archives: every number and name can be a lie.

/// The modes of `struct stat` in the upper half of a member's attributes.
const REGULAR: u32 = 0o100_644 << 16;
pub(crate) const DIRECTORY: u32 = 0o040_755 << 16;
pub(crate) const SYMLINK: u32 = 0o120_777 << 16;
pub(crate) const DEVICE: u32 = 0o020_666 << 16;

/// What an archive says that was made where files have no mode.
pub(crate) const NO_MODE: u32 = 0;

/// The kind of system; 3 would be Unix.
pub(crate) const MS_DOS: u16 = 0;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
pub(crate) const BZIP2: u16 = 12;

/// A member as the archive tells it. An honest one is made by [`file()`].
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    /// The name in front of the data, when it is not the same.
    pub(crate) local_name: Option<Vec<u8>>,
    /// Checksum and sizes in front of the data, when they are not the same.
    pub(crate) local_numbers: Option<[u32; 3]>,
    /// Extra fields, in front of the data and in the directory.
    pub(crate) extra: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) checksum: u32,
    pub(crate) packed: u32,
    pub(crate) unpacked: u32,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) attributes: u32,
    pub(crate) made_on: u16,
    /// Where the member begins, when that is a lie.
    pub(crate) start: Option<u32>,
}

/// A stored file.
pub(crate) fn file(name: &str, content: &[u8]) -> Member {
    let size = u32::try_from(content.len()).unwrap();
    Member {
        name: name.as_bytes().to_vec(),
        local_name: None,
        local_numbers: None,
        extra: Vec::new(),
        data: content.to_vec(),
        checksum: crc32(content),
        packed: size,
        unpacked: size,
        method: STORED,
        flags: 0,
        attributes: REGULAR,
        made_on: 3,
        start: None,
    }
}

impl Member {
    pub(crate) fn attributes(self, attributes: u32) -> Self {
        Self { attributes, ..self }
    }

    pub(crate) fn made_on(self, made_on: u16) -> Self {
        Self { made_on, ..self }
    }

    pub(crate) fn flags(self, flags: u16) -> Self {
        Self { flags, ..self }
    }

    pub(crate) fn extra(self, tag: u16, content: &[u8]) -> Self {
        let mut extra = self.extra;
        push16(&mut extra, &[tag, u16::try_from(content.len()).unwrap()]);
        extra.extend_from_slice(content);
        Self { extra, ..self }
    }

    pub(crate) fn method(self, method: u16) -> Self {
        Self { method, ..self }
    }

    /// The same content as a deflate stream, though not compressed.
    pub(crate) fn deflated(self) -> Self {
        let data = deflated(&self.data);
        let packed = u32::try_from(data.len()).unwrap();
        Self {
            data,
            packed,
            method: DEFLATED,
            ..self
        }
    }
}

/// What the end record tells, when it is not the truth.
#[derive(Clone, Copy, Default)]
pub(crate) struct End {
    pub(crate) entries: Option<u16>,
    pub(crate) entries_here: Option<u16>,
    pub(crate) part: u16,
    pub(crate) directory_start: Option<u32>,
    pub(crate) directory_size: Option<u32>,
    pub(crate) comment: &'static [u8],
}

/// Writes an archive with an honest end.
pub(crate) fn archive(members: &[Member]) -> Vec<u8> {
    ending(members, |_end| ())
}

/// Writes an archive whose end record tells what `lie` makes of it.
pub(crate) fn ending(members: &[Member], lie: impl FnOnce(&mut End)) -> Vec<u8> {
    let mut end = End::default();
    lie(&mut end);
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        let start = u32::try_from(bytes.len()).unwrap();
        local_header(&mut bytes, member);
        bytes.extend_from_slice(&member.data);
        central_header(&mut directory, member, member.start.unwrap_or(start));
    }
    let start = u32::try_from(bytes.len()).unwrap();
    let size = u32::try_from(directory.len()).unwrap();
    let entries = u16::try_from(members.len()).unwrap();
    bytes.extend_from_slice(&directory);
    bytes.extend_from_slice(b"PK\x05\x06");
    let here = end.entries_here.or(end.entries).unwrap_or(entries);
    push16(
        &mut bytes,
        &[end.part, end.part, here, end.entries.unwrap_or(entries)],
    );
    push32(
        &mut bytes,
        &[
            end.directory_size.unwrap_or(size),
            end.directory_start.unwrap_or(start),
        ],
    );
    push16(&mut bytes, &[u16::try_from(end.comment.len()).unwrap()]);
    bytes.extend_from_slice(end.comment);
    bytes
}

fn local_header(bytes: &mut Vec<u8>, member: &Member) {
    let name = member.local_name.as_ref().unwrap_or(&member.name);
    bytes.extend_from_slice(b"PK\x03\x04");
    push16(bytes, &[20, member.flags, member.method, 0, 0x21]);
    push32(
        bytes,
        &member
            .local_numbers
            .unwrap_or([member.checksum, member.packed, member.unpacked]),
    );
    push16(
        bytes,
        &[
            u16::try_from(name.len()).unwrap(),
            u16::try_from(member.extra.len()).unwrap(),
        ],
    );
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(&member.extra);
}

fn central_header(bytes: &mut Vec<u8>, member: &Member, start: u32) {
    bytes.extend_from_slice(b"PK\x01\x02");
    push16(
        bytes,
        &[
            member.made_on << 8 | 20,
            20,
            member.flags,
            member.method,
            0,
            0x21,
        ],
    );
    push32(bytes, &[member.checksum, member.packed, member.unpacked]);
    push16(
        bytes,
        &[
            u16::try_from(member.name.len()).unwrap(),
            u16::try_from(member.extra.len()).unwrap(),
            0,
            0,
            0,
        ],
    );
    push32(bytes, &[member.attributes, start]);
    bytes.extend_from_slice(&member.name);
    bytes.extend_from_slice(&member.extra);
}

/// A deflate stream of stored blocks: `content`, without any compression.
fn deflated(content: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let blocks = content.chunks(usize::from(u16::MAX));
    let last = blocks.len().saturating_sub(1);
    for (number, block) in blocks.enumerate() {
        let length = u16::try_from(block.len()).unwrap();
        stream.push(u8::from(number == last));
        push16(&mut stream, &[length, !length]);
        stream.extend_from_slice(block);
    }
    stream
}

/// The checksum of the format, computed bit by bit.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0xedb8_8320
        } else {
            crc >> 1
        }
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), step)
    })
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
