//! What a job leaves where results are taken from.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode};

use crate::{Attempt, number};

pub(crate) fn attack(arguments: &[&str]) -> Option<Attempt> {
    let left = |what: io::Result<()>| what.map(|()| "left it".to_owned());
    Some(left(match arguments {
        ["leave-link", results, target] => symlink(target, module_in(results)),
        ["leave-hard-link", results, target] => fs::hard_link(target, module_in(results)),
        ["leave-second-name", results] => second_name(results),
        ["leave-fifo", results] => node(results, FileType::Fifo),
        ["leave-device", results] => node(results, FileType::CharacterDevice),
        ["leave-socket", results] => socket(results),
        ["leave-directory", results] => fs::create_dir(module_in(results)),
        ["leave-hole", results, mebibytes] => hole(results, mebibytes),
        ["leave-names", results] => names(results),
        ["leave-many", results, count] => many(results, count),
        ["leave-modules", results, count] => modules(results, count),
        ["leave-module", results, kind] => fs::write(module_in(results), module(kind)),
        ["leave-module-named", results, name] => {
            fs::write(Path::new(results).join(name), module("good"))
        }
        ["replace-results-by-link", results, target] => replaced(results, target),
        ["replace-results-by-file", results] => {
            fs::remove_dir_all(results).and_then(|()| fs::write(results, module("good")))
        }
        ["leave-writer", results] => writer(results),
        ["write-on", path] => write_on(path),
        _ => return None,
    }))
}

fn module_in(results: &str) -> std::path::PathBuf {
    Path::new(results).join("x.ko")
}

fn second_name(results: &str) -> io::Result<()> {
    let first = Path::new(results).join("first");
    fs::write(&first, module("good"))?;
    fs::hard_link(first, module_in(results))
}

fn node(results: &str, kind: FileType) -> io::Result<()> {
    let mode = Mode::RUSR | Mode::WUSR;
    // The device is the one of endless zeros.
    let device = rustix::fs::makedev(1, 5);
    Ok(rustix::fs::mknodat(
        CWD,
        module_in(results),
        kind,
        mode,
        device,
    )?)
}

fn socket(results: &str) -> io::Result<()> {
    // Paths of sockets are short.
    std::env::set_current_dir(results)?;
    UnixListener::bind("x.ko").map(drop)
}

fn hole(results: &str, mebibytes: &str) -> io::Result<()> {
    let length = u64::try_from(number(mebibytes)?).map_err(io::Error::other)?;
    File::create(module_in(results))?.set_len(length << 20)
}

/// Names that a shell, a list or a terminal would take for something else.
fn names(results: &str) -> io::Result<()> {
    let long = [&[b'a'; 200][..], b".ko"].concat();
    let odd: [&[u8]; 10] = [
        b"-rf.ko",
        b".hidden.ko",
        b"a b.ko",
        b"line\n.ko",
        b"\x1b[2J.ko",
        b"\xff\xfe.ko",
        b"..ko.ko",
        b"a\x01b.ko",
        b"$(id).ko",
        &long,
    ];
    odd.iter().try_for_each(|name| {
        let name = std::ffi::OsStr::from_bytes(name);
        fs::write(Path::new(results).join(name), module("good"))
    })
}

fn many(results: &str, count: &str) -> io::Result<()> {
    (0..number(count)?)
        .try_for_each(|at| File::create(Path::new(results).join(format!("many-{at}"))).map(drop))
}

fn modules(results: &str, count: &str) -> io::Result<()> {
    (0..number(count)?)
        .try_for_each(|at| fs::write(Path::new(results).join(format!("m{at}.ko")), module("good")))
}

fn replaced(results: &str, target: &str) -> io::Result<()> {
    fs::remove_dir_all(results)?;
    symlink(target, results)
}

/// Leaves a good module, and a process that goes on writing to it.
fn writer(results: &str) -> io::Result<()> {
    fs::write(module_in(results), module("good"))?;
    Command::new(std::env::current_exe()?)
        .arg("write-on")
        .arg(module_in(results))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
}

/// Changes every byte of a file, again and again, whether it is still there or not. It ends by itself,
/// where nobody ends it.
fn write_on(path: &str) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    let (good, late) = (module("good"), module("late"));
    while Instant::now() < end {
        for content in [&late, &good] {
            drop(File::create(path).and_then(|mut file| file.write_all(content)));
        }
    }
    Ok(())
}

/// A relocatable object without sections for this machine, or something that is not quite one; elf(5).
fn module(kind: &str) -> Vec<u8> {
    let own: u16 = if cfg!(target_arch = "aarch64") {
        183
    } else {
        62
    };
    let other: u16 = if own == 62 { 183 } else { 62 };
    let machine = if kind == "other-machine" { other } else { own };
    let form: u16 = if kind == "executable" { 2 } else { 1 };
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend(form.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.resize(52, 0);
    bytes.extend([64, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0]);
    match kind {
        "cut" => bytes.truncate(30),
        "text" => bytes = b"#!/bin/sh\nid\n".to_vec(),
        "late" => bytes.extend(b"the-late-module"),
        _ => {}
    }
    bytes
}
