//! Attacks on what is in files, and on the space for them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::calls::call;
use crate::{Attempt, number, stopped};

pub(crate) fn attack(arguments: &[&str]) -> Option<Attempt> {
    Some(match arguments {
        ["read", path] => fs::read(path).map(|bytes| format!("{} bytes", bytes.len())),
        ["write", path] => fs::write(path, "x").map(|()| format!("wrote {path}")),
        ["list", path] => list(path),
        ["open", path] => File::open(path).map(|_file| format!("opened {path}")),
        ["search", path, text] => search(path, text),
        ["plant", path] => plant(path),
        ["remove-file", path] => fs::remove_file(path).map(|()| format!("removed {path}")),
        ["resist", depth] => resist(depth),
        ["append", path] => append(path),
        ["rewrite", path] => rewrite(path),
        ["join-group", path] => join_group(path),
        ["make-device", path] => make_device(path),
        ["make-handle", path] => hard_link(path),
        ["run-copy", path] => run_copy(path),
        ["run", path] => Command::new(format!("./{path}"))
            .status()
            .map(|end| format!("it ran: {end}")),
        ["read-descriptor", number] => read_descriptor(number),
        ["write-descriptor", number] => write_descriptor(number),
        ["count-descriptors"] => count_descriptors(),
        ["namespace", kind, known] => shares_namespace(kind, known),
        ["open-files", path, count] => open_files(path, count),
        ["fill", path, mebibytes] => fill(path, mebibytes),
        ["many-files", directory, count] => many_files(directory, count),
        _ => return None,
    })
}

fn list(path: &str) -> Attempt {
    let names: io::Result<Vec<_>> = fs::read_dir(path)?.collect();
    Ok(format!("{} names", names?.len()))
}

fn search(path: &str, text: &str) -> Attempt {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let found = bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes());
    if found {
        Ok(format!("{path} holds it"))
    } else {
        stopped(format!("{path} does not hold it"))
    }
}

/// Makes a file where there was none, and takes it away again.
fn plant(path: &str) -> Attempt {
    File::create_new(path)?.write_all(b"planted")?;
    fs::remove_file(path)?;
    Ok(format!("planted {path}"))
}

/// Makes directories that nobody may list, in which a recursion runs out of descriptors or stack.
fn resist(depth: &str) -> Attempt {
    let start = std::env::current_dir()?;
    let mut levels = vec![start];
    for _ in 0..number(depth)? {
        fs::create_dir("d")?;
        std::env::set_current_dir("d")?;
        levels.push("..".into());
    }
    fs::write("last", "x")?;
    for level in 1..levels.len() {
        std::env::set_current_dir("..")?;
        fs::set_permissions("d", fs::Permissions::from_mode(0o0))
            .map_err(|error| io::Error::other(format!("level {level}: {error}")))?;
    }
    Ok(format!("{depth} directories that resist"))
}

/// Opens a file for more; whoever can, can write.
fn append(path: &str) -> Attempt {
    let file = OpenOptions::new().append(true).open(path);
    file.map(|_file| format!("could write to {path}"))
}

/// Writes what is there already.
fn rewrite(path: &str) -> Attempt {
    let content = fs::read(path)?;
    OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(&content)?;
    Ok(format!("wrote {path}"))
}

fn join_group(members: &str) -> Attempt {
    let own = std::process::id().to_string();
    OpenOptions::new()
        .write(true)
        .open(members)?
        .write_all(own.as_bytes())?;
    Ok(format!("joined {members}"))
}

/// The numbers of `/dev/zero`, which harms nobody.
fn make_device(path: &str) -> Attempt {
    let (mode, zero) = (Mode::RUSR, rustix::fs::makedev(1, 5));
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, zero)?;
    let opened = File::open(path);
    fs::remove_file(path)?;
    opened.map(|_device| "a device of its own".to_owned())
}

/// A second name for somebody else's file, which keeps it and opens another way to it.
fn hard_link(path: &str) -> Attempt {
    fs::hard_link(path, "second-name")?;
    fs::remove_file("second-name")?;
    Ok(format!("a second name for {path}"))
}

/// Executes what was written by the job itself.
fn run_copy(path: &str) -> Attempt {
    fs::copy("/usr/bin/true", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    let ran = Command::new(format!("./{path}")).status();
    fs::remove_file(path)?;
    ran.map(|status| format!("it ran: {status}"))
}

fn read_descriptor(descriptor: &str) -> Attempt {
    let mut bytes = [0_u8; 256];
    let room = [
        number(descriptor)?,
        bytes.as_mut_ptr().expose_provenance(),
        bytes.len(),
    ];
    call(libc::SYS_pread64, &room)?;
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

fn write_descriptor(descriptor: &str) -> Attempt {
    let word = b"forged";
    call(
        libc::SYS_write,
        &[
            number(descriptor)?,
            word.as_ptr().expose_provenance(),
            word.len(),
        ],
    )
}

fn count_descriptors() -> Attempt {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let is_listing = target.ends_with("fd") && target.starts_with("/proc");
        if !["0", "1", "2"].contains(&name.as_str()) && !is_listing {
            found.push(format!("{name} is {}", target.display()));
        }
    }
    if found.is_empty() {
        stopped("only its input and output are open")
    } else {
        Ok(found.join(", "))
    }
}

fn shares_namespace(kind: &str, known: &str) -> Attempt {
    let own = fs::read_link(format!("/proc/self/ns/{kind}"))?;
    if own.as_os_str() == known {
        Ok("the host's".to_owned())
    } else {
        stopped(own)
    }
}

/// As many as it may raise its own limit to.
fn open_files(path: &str, count: &str) -> Attempt {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let opened: io::Result<Vec<_>> = (0..number(count)?).map(|_| File::open(path)).collect();
    opened.map(|files| format!("{} files at once", files.len()))
}

fn fill(path: &str, mebibytes: &str) -> Attempt {
    let mut file = File::create(path)?;
    for _ in 0..number(mebibytes)? {
        file.write_all(&[7; 1 << 20])?;
    }
    fs::remove_file(path)?;
    Ok(format!("{mebibytes} MiB"))
}

fn many_files(directory: &str, count: &str) -> Attempt {
    let count = number(count)?;
    let path = |at: usize| format!("{directory}/many-{at}");
    let made = (0..count).try_for_each(|at| fs::write(path(at), ""));
    for at in (0..count).take_while(|at| fs::exists(path(*at)).is_ok_and(|there| there)) {
        fs::remove_file(path(at))?;
    }
    made.map(|()| format!("{count} files"))
}
