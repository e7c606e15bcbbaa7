//! Looks at a kernel module that came out of a job, without any trust in it.

use stap_protocol::target::Arch;

/// What a result file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A relocatable object for the target's machine.
    Module,
    /// No ELF file at all.
    NotElf,
    /// An ELF file, but not one that the target's kernel could load.
    Wrong(&'static str),
}

/// Judges the header of `content`; elf(5).
#[must_use]
pub fn judge(content: &[u8], arch: &Arch) -> Verdict {
    if !content.starts_with(b"\x7fELF") {
        return Verdict::NotElf;
    }
    let Some(header) = Header::parse(content) else {
        return Verdict::Wrong("its ELF header is cut off or has an unknown byte order");
    };
    if header.kind != ET_REL {
        return Verdict::Wrong("it is not a relocatable object");
    }
    match machine(arch) {
        Some(machine) if machine != header.machine => {
            Verdict::Wrong("it is for another machine than the target")
        }
        _ => Verdict::Module,
    }
}

struct Header {
    kind: u16,
    machine: u16,
}

impl Header {
    fn parse(content: &[u8]) -> Option<Self> {
        let field = |at: usize| {
            content
                .get(at..at + 2)
                .and_then(|bytes| bytes.try_into().ok())
        };
        let read: fn([u8; 2]) -> u16 = match content.get(EI_DATA)? {
            1 => u16::from_le_bytes,
            2 => u16::from_be_bytes,
            _ => return None,
        };
        Some(Self {
            kind: read(field(E_TYPE)?),
            machine: read(field(E_MACHINE)?),
        })
    }
}

/// The numbers of elf.h for the architectures in the kernel's spelling; an architecture that is not
/// listed is not judged. 32-bit and 64-bit PowerPC and MIPS share a name but not always a number.
fn machine(arch: &Arch) -> Option<u16> {
    Some(match arch.as_str() {
        "x86_64" => 62,
        "i386" => 3,
        "arm64" => 183,
        "arm" => 40,
        "s390" => 22,
        "riscv" | "riscv64" => 243,
        "mips" => 8,
        _ => return None,
    })
}

const EI_DATA: usize = 5;
const E_TYPE: usize = 16;
const E_MACHINE: usize = 18;
const ET_REL: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kind: u16, machine: u16) -> Vec<u8> {
        let mut content = b"\x7fELF\x02\x01\x01".to_vec();
        content.resize(E_TYPE, 0);
        content.extend(kind.to_le_bytes());
        content.extend(machine.to_le_bytes());
        content
    }

    fn verdict(content: &[u8]) -> Verdict {
        judge(content, &"x86_64".parse().unwrap())
    }

    #[test]
    fn a_relocatable_object_of_the_right_machine_is_a_module() {
        assert_eq!(verdict(&elf(ET_REL, 62)), Verdict::Module);
    }

    #[test]
    fn other_objects_are_not() {
        assert!(
            matches!(verdict(&elf(2, 62)), Verdict::Wrong(_)),
            "an executable"
        );
        assert!(
            matches!(verdict(&elf(ET_REL, 183)), Verdict::Wrong(_)),
            "another machine"
        );
        assert!(
            matches!(verdict(b"\x7fELF\x02\x01"), Verdict::Wrong(_)),
            "a cut-off header"
        );
        assert!(
            matches!(verdict(b"\x7fELF\x02\x07............."), Verdict::Wrong(_)),
            "a byte order of its own"
        );
        assert_eq!(verdict(b"ELF\n"), Verdict::NotElf);
        assert_eq!(verdict(b""), Verdict::NotElf);
    }
}
