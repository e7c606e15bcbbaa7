//! Readers that believe what an archive says: the library that our reader is made of, without any of our
//! checks around it.

use std::io::{self, Cursor};
use std::path::{Component, Path};

use anyhow::{Context as _, bail};
use zip::ZipArchive;

/// Where a member would be written outside of the directory for it.
pub(super) fn leaves(bytes: &[u8]) -> anyhow::Result<String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    for at in 0..archive.len() {
        let member = archive.by_index(at)?;
        let name = member.name()?.into_owned();
        let mut depth = 0_i32;
        let leaves = Path::new(&name).components().any(|component| {
            depth += match component {
                Component::ParentDir => -1,
                Component::Normal(_) => 1,
                _ => 0,
            };
            depth < 0 || component == Component::RootDir
        });
        if leaves {
            return Ok(format!("it writes {name}"));
        }
    }
    bail!("no member leaves")
}

/// Which link it would make.
pub(super) fn links(bytes: &[u8]) -> anyhow::Result<String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    for at in 0..archive.len() {
        let mut member = archive.by_index(at)?;
        if member.is_symlink() {
            let target = io::read_to_string(&mut member)?;
            return Ok(format!("it makes {} a link to {target}", member.name()?));
        }
    }
    bail!("no member is a link")
}

/// How much it would write.
pub(super) fn inflates(bytes: &[u8]) -> anyhow::Result<String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    let mut written = 0;
    for at in 0..archive.len() {
        let mut member = archive.by_index(at)?;
        written += io::copy(&mut member, &mut io::sink()).context("inflating a member")?;
    }
    let sent = bytes.len() as u64;
    if written < 100 * sent {
        bail!("{sent} bytes become only {written}");
    }
    Ok(format!("it writes {written} bytes for {sent}"))
}
