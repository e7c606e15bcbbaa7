//! Modules of our own making, for tests: as much of one as the signer looks at.

/// A section: its name, its type, its flags, its bytes.
pub(crate) type Section<'a> = (&'a str, u32, u64, Vec<u8>);

pub(crate) const PROGBITS: u32 = 1;
pub(crate) const NOBITS: u32 = 8;
pub(crate) const COMPRESSED: u64 = 0x800;

/// The sections that a module of stap has.
pub(crate) fn sections(name: &str, release: &str, privilege: u32) -> Vec<Section<'static>> {
    let information = format!("license=GPL\0name={name}\0vermagic={release} SMP preempt \0");
    vec![
        (".modinfo", PROGBITS, 0, information.into_bytes()),
        (
            ".stap_privilege",
            PROGBITS,
            0,
            privilege.to_le_bytes().to_vec(),
        ),
    ]
}

/// A module for x86_64 with the kernel release 6.1.0-9 and this privilege.
pub(crate) fn module(name: &str, privilege: u32) -> Vec<u8> {
    elf(1, 62, &sections(name, "6.1.0-9", privilege))
}

/// An ELF file of 64 bits, least significant byte first: the header, the sections' bytes, their names,
/// their table; elf(5).
pub(crate) fn elf(kind: u16, machine: u16, sections: &[Section<'_>]) -> Vec<u8> {
    let mut names = vec![0];
    let mut body: Vec<u8> = Vec::new();
    let mut table = vec![header(0, 0, 0, 0, 0)];
    for (name, kind, flags, bytes) in sections {
        let at = HEADER + body.len() as u64;
        table.push(header(
            u32::try_from(names.len()).unwrap(),
            *kind,
            *flags,
            at,
            bytes.len() as u64,
        ));
        names.extend(name.as_bytes());
        names.push(0);
        body.extend(bytes);
    }
    let at = HEADER + body.len() as u64;
    let own_name = u32::try_from(names.len()).unwrap();
    names.extend(b".shstrtab\0");
    table.push(header(own_name, STRTAB, 0, at, names.len() as u64));
    body.extend(&names);
    let table_at = HEADER + body.len() as u64;

    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend(kind.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend([0; 16]);
    file.extend(table_at.to_le_bytes());
    file.extend([0; 4]);
    let count = u16::try_from(table.len()).unwrap();
    for field in [64, 0, 0, 64, count, count - 1] {
        file.extend(field.to_le_bytes());
    }
    file.extend(body);
    file.extend(table.concat());
    file
}

fn header(name: u32, kind: u32, flags: u64, at: u64, size: u64) -> Vec<u8> {
    let mut header: Vec<u8> = Vec::new();
    header.extend(name.to_le_bytes());
    header.extend(kind.to_le_bytes());
    for field in [flags, 0, at, size] {
        header.extend(field.to_le_bytes());
    }
    header.extend([0; 8]);
    header.extend(1_u64.to_le_bytes());
    header.extend([0; 8]);
    header
}

const HEADER: u64 = 64;
const STRTAB: u32 = 3;
