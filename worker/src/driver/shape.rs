//! What two modules have in common when one was compiled with a precompiled header.
//!
//! The compiler then takes the same decisions, but numbers some names otherwise, and orders some
//! instructions that do not depend on each other otherwise; so a register may be another one, and an
//! instruction a byte longer. What code is, where in it something is, and what says so, is therefore not compared;
//! everything else must be the same.

use std::collections::BTreeMap;

use object::read::elf::{ElfFile64, FileHeader};
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionKind,
    SymbolKind,
};
use sha2::{Digest as _, Sha256};

use crate::store::hexadecimal;

/// Something that only one of two modules has: sections, symbols, relocations by what they mean, the
/// sizes of all that is no code, the data (`.data` and `.rodata`) with what it points to, and text for people or the
/// kernel's loader.
/// `None` when they are alike.
pub(super) fn difference(one: &[u8], other: &[u8]) -> Option<String> {
    let (Some(one), Some(other)) = (shape(one), shape(other)) else {
        return Some("one is no module".to_owned());
    };
    let only = |(line, count): (&String, &u32), others: &Shape| {
        (others.get(line) != Some(count)).then(|| line.clone())
    };
    let first = one.iter().find_map(|entry| only(entry, &other));
    first.or_else(|| other.iter().find_map(|entry| only(entry, &one)))
}

/// How often each line occurs.
type Shape = BTreeMap<String, u32>;

fn shape(module: &[u8]) -> Option<Shape> {
    let file = ElfFile64::<Endianness>::parse(module).ok()?;
    let mut shape = Shape::new();
    let header = file.elf_header();
    let kind = (
        header.e_type(file.endian()),
        header.e_machine(file.endian()),
    );
    note(&mut shape, format!("file {kind:?} {:?}", file.flags()));
    for section in file.sections() {
        let name = section.name().ok()?;
        // The tables of names and symbols are held against each other by their meaning.
        let is_table = matches!(name, ".strtab" | ".symtab" | ".shstrtab" | "");
        let is_code = section.kind() == SectionKind::Text;
        let size = if is_table || is_code {
            0
        } else {
            section.size()
        };
        let flags = section.flags();
        note(
            &mut shape,
            format!("section {name} {size} {flags:?} {}", section.align()),
        );
        let is_text = name == ".modinfo"
            || name == "__versions"
            || name == ".gnu.linkonce.this_module"
            || name.starts_with(".rodata.str");
        let is_data = name.starts_with(".data") || name.starts_with(".rodata");
        if is_text || is_data {
            note(
                &mut shape,
                format!("content {name} {}", digest(section.data().ok()?)),
            );
        }
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else {
                return None;
            };
            let symbol = file.symbol_by_index(index).ok()?;
            let within = symbol.section_index();
            let within = within.and_then(|index| file.section_by_index(index).ok());
            let target = match &within {
                Some(section) if symbol.name().ok()?.is_empty() => section.name().ok()?.to_owned(),
                _ => plain(symbol.name().ok()?),
            };
            let is_in_code = within.is_some_and(|section| section.kind() == SectionKind::Text);
            let from = is_data.then_some(offset);
            let to = (is_data || is_code) && !is_in_code;
            let to = to.then(|| relocation.addend());
            let kind = relocation.flags();
            note(
                &mut shape,
                format!("relocation {name} {from:?} {kind:?} {target} {to:?}"),
            );
        }
    }
    for symbol in file.symbols() {
        let section = match symbol.section_index() {
            Some(index) => file.section_by_index(index).ok()?.name().ok()?.to_owned(),
            None => format!("{:?}", symbol.section()),
        };
        let is_code = symbol.kind() == SymbolKind::Text;
        let size = if is_code { 0 } else { symbol.size() };
        let name = plain(symbol.name().ok()?);
        let (kind, flags) = (symbol.kind(), symbol.flags());
        note(
            &mut shape,
            format!("symbol {name} {size} {section} {kind:?} {flags:?}"),
        );
    }
    Some(shape)
}

fn note(shape: &mut Shape, line: String) {
    *shape.entry(line).or_default() += 1;
}

fn digest(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}

/// A name without the numbers that tell names of one kind apart.
fn plain(name: &str) -> String {
    let is_numbered = name.starts_with("__UNIQUE_ID_") || name.contains('.');
    if !is_numbered {
        return name.to_owned();
    }
    name.chars()
        .filter(|character| !character.is_ascii_digit())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_like_nothing() {
        assert!(difference(b"", b"").is_some());
        assert!(difference(b"\x7fELF", b"\x7fELF").is_some());
    }

    #[test]
    fn a_program_is_like_itself_and_not_like_one_with_another_symbol() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(difference(&own, &own), None);
        let file = ElfFile64::<Endianness>::parse(own.as_slice()).unwrap();
        let names = file.section_by_name(".strtab").unwrap();
        let (start, size) = names.file_range().unwrap();
        // The last letter of the last name, in front of its NUL.
        let mut changed = own.clone();
        changed[usize::try_from(start + size).unwrap() - 2] ^= 1;
        let found = difference(&own, &changed).unwrap();
        assert!(found.starts_with("symbol "), "{found}");
        for name in [".data", ".rodata"] {
            let section = file.section_by_name(name).unwrap();
            let (start, size) = section.file_range().unwrap();
            let mut changed = own.clone();
            changed[usize::try_from(start + size / 2).unwrap()] ^= 1;
            let found = difference(&own, &changed).unwrap();
            assert!(found.starts_with(&format!("content {name} ")), "{name}");
        }
    }

    /// An object whose data points to one byte of its text for people, and has a function that points to another.
    fn pointing(from_data: i64, from_code: i64, behind: u64) -> Vec<u8> {
        use object::write::{Object, Relocation, StandardSection};
        use object::{Architecture, BinaryFormat, RelocationFlags, elf};
        let mut file = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let text = file.section_id(StandardSection::ReadOnlyData);
        file.append_section_data(text, b"text for people", 1);
        let symbol = file.section_symbol(text);
        for (section, offset, addend) in [
            (StandardSection::Data, 0, from_data),
            (StandardSection::Text, behind, from_code),
        ] {
            let section = file.section_id(section);
            file.append_section_data(section, &[0; 32], 8);
            let flags = RelocationFlags::Elf {
                r_type: elf::R_X86_64_64,
            };
            let relocation = Relocation {
                offset,
                symbol,
                addend,
                flags,
            };
            file.add_relocation(section, relocation).unwrap();
        }
        file.write().unwrap()
    }

    #[test]
    fn what_data_and_code_point_to_counts_and_where_in_code_it_says_so_does_not() {
        let one = pointing(1, 2, 0);
        assert_eq!(difference(&one, &pointing(1, 2, 8)), None);
        for other in [pointing(2, 2, 0), pointing(1, 1, 0)] {
            let found = difference(&one, &other).unwrap();
            assert!(found.starts_with("relocation "), "{found}");
        }
    }

    #[test]
    fn only_numbers_that_the_compiler_chose_are_left_out() {
        assert_eq!(plain("__UNIQUE_ID_name_7"), plain("__UNIQUE_ID_name_12"));
        assert_eq!(plain("stp_lock.17"), plain("stp_lock.4"));
        assert_ne!(plain("probe_1"), plain("probe_2"));
    }
}
