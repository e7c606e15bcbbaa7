//! Looks at a kernel module or a bpf object that came out of a job, without any trust in it.

use object::elf::ELFMAG;
use object::{Architecture, File, Object as _, ObjectKind};
use stap_protocol::job::OutputFile;
use stap_protocol::target::Arch;

/// What a result file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A relocatable object for the target's machine, or for that of bpf.
    Module,
    /// No ELF file at all.
    NotElf,
    /// An ELF file, but not one that the target's kernel could load.
    Wrong(&'static str),
}

/// Judges a result by what its name says that it is; `None` for one that nobody loads.
#[must_use]
pub fn judge(file: &OutputFile, arch: &Arch) -> Option<Verdict> {
    let machines = match &file.name {
        name if name.has_suffix(".ko") => machines(arch),
        name if name.has_suffix(".bo") => &[Architecture::Bpf],
        _ => return None,
    };
    Some(judge_for(&file.content, machines))
}

/// Judges what kind of file `content` is, and for which machine; elf(5).
fn judge_for(content: &[u8], machines: &[Architecture]) -> Verdict {
    if !content.starts_with(&ELFMAG) {
        return Verdict::NotElf;
    }
    let Ok(file) = File::parse(content) else {
        return Verdict::Wrong("it is cut off, or no proper ELF file");
    };
    if file.kind() != ObjectKind::Relocatable {
        return Verdict::Wrong("it is not a relocatable object");
    }
    if !machines.is_empty() && !machines.contains(&file.architecture()) {
        return Verdict::Wrong("it is for another machine than the target");
    }
    Verdict::Module
}

/// What an architecture in the kernel's spelling runs; one that is not listed is not judged.
fn machines(arch: &Arch) -> &'static [Architecture] {
    match arch.as_str() {
        "x86_64" => &[Architecture::X86_64],
        "i386" => &[Architecture::I386],
        "arm64" => &[Architecture::Aarch64],
        "arm" => &[Architecture::Arm],
        "s390" => &[Architecture::S390x],
        "riscv" | "riscv64" => &[Architecture::Riscv64, Architecture::Riscv32],
        "powerpc" => &[Architecture::PowerPc64, Architecture::PowerPc],
        "mips" => &[Architecture::Mips64, Architecture::Mips],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The header of an ELF file of 64 bits without sections.
    fn elf(kind: u16, machine: u16) -> Vec<u8> {
        let mut content = b"\x7fELF\x02\x01\x01".to_vec();
        content.resize(16, 0);
        content.extend(kind.to_le_bytes());
        content.extend(machine.to_le_bytes());
        content.resize(HEADER, 0);
        content
    }

    fn verdict(content: &[u8]) -> Verdict {
        named("x.ko", content).unwrap()
    }

    fn named(name: &str, content: &[u8]) -> Option<Verdict> {
        let file = OutputFile {
            name: name.try_into().unwrap(),
            content: content.to_vec(),
        };
        judge(&file, &"x86_64".parse().unwrap())
    }

    #[test]
    fn a_bpf_object_is_for_the_machine_of_bpf_on_any_target() {
        assert_eq!(named("x.bo", &elf(1, 247)), Some(Verdict::Module));
        assert!(matches!(
            named("x.bo", &elf(1, 62)),
            Some(Verdict::Wrong(_))
        ));
        assert!(matches!(
            named("x.ko", &elf(1, 247)),
            Some(Verdict::Wrong(_))
        ));
        assert_eq!(named("x.ko.sgn", b"signature"), None);
    }

    #[test]
    fn a_relocatable_object_of_the_right_machine_is_a_module() {
        assert_eq!(verdict(&elf(1, 62)), Verdict::Module);
    }

    #[test]
    fn other_objects_are_not() {
        let mut without_end = elf(1, 62);
        // The section table is said to begin behind the end.
        without_end[40] = 200;
        without_end[60] = 9;
        without_end[58] = 64;
        let mut order_of_its_own = elf(1, 62);
        order_of_its_own[5] = 7;
        for (content, what) in [
            (elf(2, 62), "an executable"),
            (elf(1, 183), "another machine"),
            (elf(1, 62)[..HEADER - 1].to_vec(), "a cut-off header"),
            (without_end, "a cut-off file"),
            (order_of_its_own, "a byte order of its own"),
        ] {
            assert!(matches!(verdict(&content), Verdict::Wrong(_)), "{what}");
        }
        assert_eq!(verdict(b"ELF\n"), Verdict::NotElf);
        assert_eq!(verdict(b""), Verdict::NotElf);
    }

    proptest! {
        #[test]
        fn any_bytes_get_a_verdict(tail in proptest::collection::vec(any::<u8>(), 0..512), class in 0..4_u8, order in 0..4_u8) {
            let content = [&b"\x7fELF"[..], &[class, order, 1], &tail].concat();
            prop_assert_ne!(verdict(&content), Verdict::NotElf);
        }
    }

    const HEADER: usize = 64;
}
