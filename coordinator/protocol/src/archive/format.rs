//! The three records of the zip format that matter to us, as they lie in memory.
//!
//! Numbers are little-endian. The layout is PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16.

/// Begins a member.
pub(super) const LOCAL: &[u8; 4] = b"PK\x03\x04";
/// Begins an entry of the directory.
pub(super) const CENTRAL: &[u8; 4] = b"PK\x01\x02";
/// Begins the end record.
pub(super) const END: &[u8; 4] = b"PK\x05\x06";
/// Begins the record behind a member whose sizes were not known when it was begun.
pub(super) const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";
/// Begins the record that points to a 64-bit end record.
pub(super) const LOCATOR64: &[u8; 4] = b"PK\x06\x07";

/// Bytes of the end record without a comment.
pub(super) const END_SIZE: usize = 22;
/// Bytes of the record that points to a 64-bit end record.
pub(super) const LOCATOR64_SIZE: usize = 20;

/// Flag bits that mean some kind of encryption: classic, strong, masked header.
pub(super) const ENCRYPTED: u16 = 1 << 0 | 1 << 6 | 1 << 13;
/// Flag bit of a member that is followed by a descriptor.
pub(super) const DESCRIBED: u16 = 1 << 3;

/// The member is there as it is.
pub(super) const STORED: u16 = 0;
/// The member is a deflate stream.
pub(super) const DEFLATED: u16 = 8;

/// Cuts numbers and byte strings off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(super) fn signature(&mut self, expected: &[u8; 4]) -> Option<()> {
        (self.take(4)? == expected).then_some(())
    }
}

/// The end record.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndRecord {
    pub(super) part: u16,
    pub(super) directory_part: u16,
    pub(super) entries_here: u16,
    pub(super) entries: u16,
    pub(super) directory_size: u32,
    pub(super) directory_start: u32,
    pub(super) comment: u16,
}

impl EndRecord {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        cursor.signature(END)?;
        Some(Self {
            part: cursor.u16()?,
            directory_part: cursor.u16()?,
            entries_here: cursor.u16()?,
            entries: cursor.u16()?,
            directory_size: cursor.u32()?,
            directory_start: cursor.u32()?,
            comment: cursor.u16()?,
        })
    }
}

/// What both a member's own header and the directory say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts<'a> {
    pub(super) name: &'a [u8],
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) checksum: u32,
    pub(super) packed: u32,
    pub(super) unpacked: u32,
}

/// An entry of the directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct CentralHeader<'a> {
    pub(super) facts: Facts<'a>,
    /// The kind of system on which the archive was made; 3 is Unix.
    pub(super) made_on: u8,
    /// On Unix the upper half is `st_mode`.
    pub(super) attributes: u32,
    /// Where the member begins.
    pub(super) start: u32,
}

impl<'a> CentralHeader<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>) -> Option<Self> {
        cursor.signature(CENTRAL)?;
        let [_version, made_on] = cursor.u16()?.to_le_bytes();
        let mut facts = parse_facts(cursor)?;
        let name = usize::from(cursor.u16()?);
        let extra = usize::from(cursor.u16()?);
        let comment = usize::from(cursor.u16()?);
        let _part_and_internal_attributes = cursor.take(4)?;
        let attributes = cursor.u32()?;
        let start = cursor.u32()?;
        facts.name = cursor.take(name)?;
        let _ignored = cursor.take(extra + comment)?;
        Some(Self {
            facts,
            made_on,
            attributes,
            start,
        })
    }
}

/// Parses a member's own header and leaves the cursor at its data.
pub(super) fn parse_local_header<'a>(cursor: &mut Cursor<'a>) -> Option<Facts<'a>> {
    cursor.signature(LOCAL)?;
    let mut facts = parse_facts(cursor)?;
    let name = usize::from(cursor.u16()?);
    let extra = usize::from(cursor.u16()?);
    facts.name = cursor.take(name)?;
    let _ignored = cursor.take(extra)?;
    Some(facts)
}

/// The run of numbers that both headers have in common; the name follows later.
fn parse_facts<'a>(cursor: &mut Cursor<'a>) -> Option<Facts<'a>> {
    let _version_needed = cursor.u16()?;
    let flags = cursor.u16()?;
    let method = cursor.u16()?;
    let _time_and_date = cursor.take(4)?;
    Some(Facts {
        name: &[],
        flags,
        method,
        checksum: cursor.u32()?,
        packed: cursor.u32()?,
        unpacked: cursor.u32()?,
    })
}
