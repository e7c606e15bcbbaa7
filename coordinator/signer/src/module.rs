//! Looks at a module that is to be signed, without any trust in it.
//!
//! The worker that returned it may have been taken over by the script that it compiled. What can be
//! found out is found out here: that it is a module for the target's machine and kernel, that it is
//! called what its file is called, and which privilege stap enforced.

use object::read::elf::{ElfFile32, ElfFile64, FileHeader, SectionHeader as _};
use object::{Architecture, Endianness, FileKind, Object as _, ObjectKind, elf};
use stap_protocol::path::FileName;
use stap_protocol::signing::{PRIVILEGE_SECTION, Privilege};
use stap_protocol::target::{Arch, TargetName};

use crate::signature::is_signed;

/// What a module is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleFault {
    /// More bytes than any module of stap has.
    #[error("it is larger than {MAX_MODULE} bytes")]
    TooLarge,
    /// Not what a kernel loads.
    #[error("it is no kernel module: {0}")]
    NotAModule(&'static str),
    /// For another machine.
    #[error("it is for another machine than {0}")]
    Machine(Arch),
    /// It has a signature already.
    #[error("it is signed already")]
    SignedAlready,
    /// A section that must be there once.
    #[error("it has {count} sections {section} instead of one")]
    Sections {
        /// Which.
        section: &'static str,
        /// How many there are.
        count: usize,
    },
    /// A section that holds something else than it should.
    #[error("its section {0} is malformed")]
    Malformed(&'static str),
    /// A number that is no privilege.
    #[error("it enforces {0:#x}, which is no privilege")]
    Privilege(u32),
    /// stap did not enforce what was asked for.
    #[error("it enforces {found} and not {wanted}")]
    OtherPrivilege {
        /// What it says.
        found: Privilege,
        /// What was asked for.
        wanted: Privilege,
    },
    /// It is called something else than its file, or something that stap calls no module.
    #[error("its name is not the one of its file")]
    Name,
    /// It is for another kernel.
    #[error("it is not for the kernel {0}")]
    Release(String),
}

/// Judges a module for what it was made for.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn judge(
    name: &FileName,
    content: &[u8],
    target: &TargetName,
    wanted: Privilege,
) -> Result<(), ModuleFault> {
    if content.len() > MAX_MODULE {
        return Err(ModuleFault::TooLarge);
    }
    if is_signed(content) {
        return Err(ModuleFault::SignedAlready);
    }
    let seen = look(content, &target.arch)?;
    let found = [Privilege::Stapusr, Privilege::Stapsys, Privilege::Stapdev]
        .into_iter()
        .find(|privilege| privilege.number() == seen.privilege)
        .ok_or(ModuleFault::Privilege(seen.privilege))?;
    if found != wanted {
        return Err(ModuleFault::OtherPrivilege { found, wanted });
    }
    let stem = stem(name).ok_or(ModuleFault::Name)?;
    if seen.information.value(b"name")? != stem {
        return Err(ModuleFault::Name);
    }
    let release = target.release.as_str();
    let magic = seen.information.value(b"vermagic")?;
    match magic.strip_prefix(release.as_bytes()) {
        Some([b' ', ..]) => Ok(()),
        _ => Err(ModuleFault::Release(release.to_owned())),
    }
}

/// The name without its ending, if stap could have chosen it: `stap_` and letters, digits, `_`.
fn stem(name: &FileName) -> Option<&[u8]> {
    let stem = name.as_bytes().strip_suffix(b".ko")?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    (stem.starts_with(b"stap_") && stem.len() <= MAX_NAME && stem.iter().all(plain)).then_some(stem)
}

/// What a module says of itself.
struct Seen<'a> {
    privilege: u32,
    information: Information<'a>,
}

fn look<'a>(content: &'a [u8], arch: &Arch) -> Result<Seen<'a>, ModuleFault> {
    let unreadable = |_opaque| ModuleFault::NotAModule("it is cut off, or no proper ELF file");
    match FileKind::parse(content) {
        Ok(FileKind::Elf64) => look_at(
            &ElfFile64::<Endianness>::parse(content).map_err(unreadable)?,
            arch,
        ),
        Ok(FileKind::Elf32) => look_at(
            &ElfFile32::<Endianness>::parse(content).map_err(unreadable)?,
            arch,
        ),
        _ => Err(ModuleFault::NotAModule("it is no ELF file")),
    }
}

fn look_at<'a, E: FileHeader<Endian = Endianness>>(
    file: &object::read::elf::ElfFile<'a, E>,
    arch: &Arch,
) -> Result<Seen<'a>, ModuleFault> {
    if file.kind() != ObjectKind::Relocatable {
        return Err(ModuleFault::NotAModule("it is not a relocatable object"));
    }
    if !is_machine_of(file.architecture(), arch) {
        return Err(ModuleFault::Machine(arch.clone()));
    }
    let privilege = only_section(file, PRIVILEGE_SECTION)?;
    let privilege: [u8; 4] = privilege
        .try_into()
        .map_err(|_length| ModuleFault::Malformed(PRIVILEGE_SECTION))?;
    let privilege = match file.endian() {
        Endianness::Little => u32::from_le_bytes(privilege),
        Endianness::Big => u32::from_be_bytes(privilege),
    };
    Ok(Seen {
        privilege,
        information: Information(only_section(file, MODINFO)?),
    })
}

/// The bytes of the one section of this name. Two of them could be read differently by two readers, and
/// one whose bytes are not in the file as they will be in memory is read by nobody.
fn only_section<'a, E: FileHeader<Endian = Endianness>>(
    file: &object::read::elf::ElfFile<'a, E>,
    wanted: &'static str,
) -> Result<&'a [u8], ModuleFault> {
    let malformed = |_opaque| ModuleFault::Malformed(wanted);
    let endian = file.endian();
    let table = file.elf_section_table();
    let mut found = Vec::new();
    for header in table.iter() {
        if table.section_name(endian, header).map_err(malformed)? == wanted.as_bytes() {
            found.push(header);
        }
    }
    let [header] = found[..] else {
        return Err(ModuleFault::Sections {
            section: wanted,
            count: found.len(),
        });
    };
    if header.sh_type(endian) != elf::SHT_PROGBITS
        || header.sh_flags(endian).contains(elf::SHF_COMPRESSED)
    {
        return Err(ModuleFault::Malformed(wanted));
    }
    header.data(endian, file.data()).map_err(malformed)
}

/// `key=value` strings, each ended by a NUL.
struct Information<'a>(&'a [u8]);

impl<'a> Information<'a> {
    /// The only value of a key.
    fn value(&self, key: &[u8]) -> Result<&'a [u8], ModuleFault> {
        let with_key = |entry: &'a [u8]| entry.strip_prefix(key)?.strip_prefix(b"=");
        let mut values = self.0.split(|byte| *byte == 0).filter_map(with_key);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(ModuleFault::Malformed(MODINFO)),
        }
    }
}

/// What an architecture in the kernel's spelling runs. Nothing is signed for one that is not listed.
fn is_machine_of(found: Architecture, arch: &Arch) -> bool {
    let expected: &[Architecture] = match arch.as_str() {
        "x86_64" => &[Architecture::X86_64],
        "i386" => &[Architecture::I386],
        "arm64" => &[Architecture::Aarch64],
        "arm" => &[Architecture::Arm],
        "s390" => &[Architecture::S390x],
        "riscv" | "riscv64" => &[Architecture::Riscv64, Architecture::Riscv32],
        "powerpc" => &[Architecture::PowerPc64, Architecture::PowerPc],
        "mips" => &[Architecture::Mips64, Architecture::Mips],
        _ => &[],
    };
    expected.contains(&found)
}

const MODINFO: &str = ".modinfo";
/// Twenty times the largest module that stap made of all its tapsets' probes.
const MAX_MODULE: usize = 64 << 20;
/// The kernel's own bound on a module's name.
const MAX_NAME: usize = 56;

#[cfg(test)]
mod tests;
