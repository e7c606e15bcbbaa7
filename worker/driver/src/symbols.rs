//! What `modpost` has to know of the kernel's symbols: those that a module uses.
//!
//! The kernel's table names tens of thousands, and reading it takes longer than everything else that
//! `modpost` does. It looks up the symbols that a module leaves undefined, and one of its own, unless
//! the module exports some itself.

use std::collections::HashSet;

/// The lines of a table of exported symbols that matter to an object. `None` when the object is none
/// that can be read, or exports symbols.
#[must_use]
pub fn needed(object: &[u8], table: &[u8]) -> Option<Vec<u8>> {
    let wanted = undefined(object)?;
    let mut kept = Vec::new();
    for line in table.split_inclusive(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b'\t').nth(1)?;
        if wanted.contains(name) || name == OF_ALL {
            kept.extend_from_slice(line);
        }
    }
    Some(kept)
}

/// The names that an object leaves undefined, in the ELF format of 64 bits with the least byte first.
fn undefined(object: &[u8]) -> Option<HashSet<&[u8]>> {
    if !object.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let sections = number(object, 0x28, 8)?;
    let length = number(object, 0x3a, 2)?;
    let count = number(object, 0x3c, 2)?;
    let section = |index: usize| object.get(sections.checked_add(index.checked_mul(length)?)?..);
    let content = |header: &[u8]| {
        let start = number(header, 0x18, 8)?;
        object.get(start..start.checked_add(number(header, 0x20, 8)?)?)
    };
    let mut names = HashSet::new();
    for index in 0..count {
        let header = section(index)?;
        if number(header, 4, 4)? != SYMBOLS {
            continue;
        }
        let texts = content(section(number(header, 0x28, 4)?)?)?;
        for symbol in content(header)?.chunks_exact(SYMBOL) {
            let text = texts.get(number(symbol, 0, 4)?..)?;
            let name = text.split(|byte| *byte == 0).next()?;
            let exports = EXPORTS.iter().any(|start| name.starts_with(start));
            if exports {
                return None;
            }
            if number(symbol, 6, 2)? == 0 && !name.is_empty() {
                names.insert(name);
            }
        }
    }
    Some(names)
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    usize::try_from(bytes.iter().rev().fold(0, add)).ok()
}

/// What `modpost` adds by itself, so that the version of the structure that describes modules counts.
const OF_ALL: &[u8] = b"module_layout";
/// `SHT_SYMTAB`.
const SYMBOLS: usize = 2;
/// Bytes of one of them.
const SYMBOL: usize = 24;
/// What the names of exported symbols are marked with.
const EXPORTS: [&[u8]; 2] = [b"__ksymtab_", b"__export_symbol_"];

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    const TABLE: &[u8] = b"0x0\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n\
                           0x1\tmsleep\tvmlinux\tEXPORT_SYMBOL_GPL\tNS\n\
                           0x2\town\tvmlinux\tEXPORT_SYMBOL\t\n\
                           0x3\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n";

    fn object(source: &str) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("a.c"), directory.path().join("a.o"));
        std::fs::write(&from, source).unwrap();
        let mut compiler = Command::new("gcc");
        let compiled = compiler.args(["-c", "-o"]).arg(&to).arg(&from).status();
        assert!(compiled.unwrap().success());
        std::fs::read(to).unwrap()
    }

    #[test]
    fn only_the_lines_of_undefined_symbols_are_needed() {
        let source = "void msleep(int); void own(void) { msleep(1); }";
        let needed = needed(&object(source), TABLE).unwrap();
        let lines = "0x1\tmsleep\tvmlinux\tEXPORT_SYMBOL_GPL\tNS\n\
                     0x3\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n";
        assert_eq!(String::from_utf8(needed).unwrap(), lines);
    }

    #[test]
    fn an_object_that_exports_needs_all() {
        for start in ["__ksymtab_", "__export_symbol_"] {
            let source = format!("int {start}own; void msleep(int); void f(void) {{ msleep(1); }}");
            assert_eq!(needed(&object(&source), TABLE), None, "{start}");
        }
    }

    #[test]
    fn what_is_cut_short_is_not_read_as_if_it_were_whole() {
        let whole = object("void msleep(int); void f(void) { msleep(1); }");
        assert!(needed(&whole, TABLE).is_some());
        // The last of the headers of sections is at the end.
        assert_eq!(needed(&whole[..whole.len() - 64], TABLE), None);
        assert_eq!(needed(b"", TABLE), None);
        assert_eq!(needed(&whole, b"no table\n"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in any::<Vec<u8>>(), table in any::<Vec<u8>>()) {
            let _needed = needed(&[b"\x7fELF\x02\x01", tail.as_slice()].concat(), &table);
        }
    }
}
