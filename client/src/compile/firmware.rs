//! Whether this host's kernel loads only signed modules, and which keys its owner enrolled.
//!
//! The list is the firmware's variable `MokListRT`, which shim makes of the keys that were confirmed at the
//! console. It is read for the server's information only: the kernel decides by itself what it loads.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use stap_certs::certificate::sha1_of;
use stap_protocol::request::{Fingerprint, MAX_KEYS, MachineOwnerKeys};

/// What a server has to know to sign for this host.
pub(crate) fn machine_owner_keys() -> MachineOwnerKeys {
    let is_set = env::var_os("SYSTEMTAP_SIGN").is_some_and(|value| !value.is_empty());
    let parameter = read(Path::new(SIG_ENFORCE)).unwrap_or_default();
    let lockdown = read(Path::new(LOCKDOWN)).unwrap_or_default();
    if !is_set && !is_enforced(&parameter, &lockdown) {
        return MachineOwnerKeys::NotAsked;
    }
    // A host without such firmware has no such keys.
    let variable = read(Path::new(MOK_LIST)).unwrap_or_default();
    let lists = variable.get(ATTRIBUTES..).unwrap_or_default();
    let mut keys: Vec<_> = certificates(lists)
        .map(|der| Fingerprint::new(sha1_of(der)))
        .take(MAX_KEYS)
        .collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return MachineOwnerKeys::Missing;
    }
    MachineOwnerKeys::Enrolled(keys)
}

/// Either the kernel was told to insist, or it is locked down, of which that is a part.
fn is_enforced(parameter: &[u8], lockdown: &[u8]) -> bool {
    let lockdown = String::from_utf8_lossy(lockdown);
    parameter.starts_with(b"Y")
        || lockdown.contains("[integrity]")
        || lockdown.contains("[confidentiality]")
}

/// The X.509 certificates in a sequence of `EFI_SIGNATURE_LIST` (UEFI 32.4.1): a type, three lengths, a
/// header, and entries of one size, each of them an owner and its data.
fn certificates(mut lists: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut entries: &[u8] = &[];
    let mut size = 0;
    std::iter::from_fn(move || {
        loop {
            if size > OWNER && entries.len() >= size {
                let (entry, rest) = entries.split_at(size);
                entries = rest;
                return entry.get(OWNER..);
            }
            let list = List::at_start_of(lists)?;
            lists = list.rest;
            let is_x509 = list.kind == X509;
            entries = if is_x509 { list.entries } else { &[] };
            size = list.size;
        }
    })
}

struct List<'a> {
    kind: &'a [u8],
    size: usize,
    entries: &'a [u8],
    rest: &'a [u8],
}

impl<'a> List<'a> {
    fn at_start_of(lists: &'a [u8]) -> Option<Self> {
        let number = |at: usize| {
            let bytes = lists.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        let (length, header) = (number(16)?, number(20)?);
        let list = lists.get(..length)?;
        Some(Self {
            kind: list.get(..16)?,
            size: number(24)?,
            // A list without progress would never end; its header alone has this many bytes.
            entries: list.get(LIST_HEADER.checked_add(header)?..)?,
            rest: lists.get(length..)?,
        })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(MAX_VARIABLE)
        .read_to_end(&mut content)?;
    Ok(content)
}

const SIG_ENFORCE: &str = "/sys/module/module/parameters/sig_enforce";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const MOK_LIST: &str = "/sys/firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23";
/// A file of efivarfs begins with the variable's attributes.
const ATTRIBUTES: usize = 4;
const LIST_HEADER: usize = 28;
const OWNER: usize = 16;
/// a5c059a1-94e4-4aa7-87b5-ab155c2bf072, as UEFI stores it.
const X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
/// Firmware has a few dozen kilobytes for all its variables.
const MAX_VARIABLE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(kind: [u8; 16], entries: &[&[u8]]) -> Vec<u8> {
        let size = OWNER + entries.first().map_or(0, |entry| entry.len());
        let length = LIST_HEADER + size * entries.len();
        let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
        let mut list = kind.to_vec();
        list.extend([number(length), number(0), number(size)].concat());
        for entry in entries {
            list.extend([0xee; OWNER]);
            list.extend(*entry);
        }
        list
    }

    fn found(lists: &[u8]) -> Vec<&[u8]> {
        certificates(lists).collect()
    }

    #[test]
    fn certificates_of_all_lists_are_found_and_other_entries_are_not() {
        let lists = [
            list(X509, &[b"first"]),
            list([7; 16], &[b"a digest"]),
            list(X509, &[b"two", b"six"]),
        ];
        assert_eq!(found(&lists.concat()), [&b"first"[..], b"two", b"six"]);
    }

    #[test]
    fn a_kernel_insists_by_parameter_or_by_lockdown() {
        assert!(is_enforced(b"Y\n", b""));
        assert!(is_enforced(b"N\n", b"none [integrity] confidentiality\n"));
        assert!(is_enforced(b"", b"none integrity [confidentiality]\n"));
        assert!(!is_enforced(b"N\n", b"[none] integrity confidentiality\n"));
        assert!(!is_enforced(b"", b""));
    }

    proptest! {
        #[test]
        fn any_variable_is_read_to_its_end(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), length in 0..80_u32, size in 0..80_u32) {
            let mut lists = list(X509, &[b"one"]);
            lists.extend(X509);
            lists.extend([length.to_le_bytes(), 0_u32.to_le_bytes(), size.to_le_bytes()].concat());
            lists.append(&mut bytes);
            prop_assert!(found(&lists).len() < 200);
        }
    }
}
