//! Reading and writing the small files of a control group.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal};

use super::CgroupError;

/// Reads a file of the kernel, at most [`MAX_FILE`] bytes of it.
pub(super) fn read(path: &Path) -> Result<String, CgroupError> {
    let mut content = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_string(&mut content))
        .map_err(|source| failed("reading", path, source))?;
    Ok(content)
}

/// Writes a value with one system call, as the kernel wants it.
pub(super) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| failed("writing to", path, source))
}

/// Writes a value and makes sure that the kernel took it.
pub(super) fn set(path: &Path, value: &str) -> Result<(), CgroupError> {
    write(path, value)?;
    confirm(path, value)
}

/// Makes sure that a value is in force.
pub(super) fn confirm(path: &Path, wanted: &str) -> Result<(), CgroupError> {
    let found = read(path)?.trim().to_owned();
    if found == wanted {
        return Ok(());
    }
    Err(CgroupError::NotInForce {
        path: path.to_owned(),
        wanted: wanted.to_owned(),
        found,
    })
}

/// The number after a name in a file of lines `name number`.
pub(super) fn counter(path: &Path, name: &str) -> Option<u64> {
    let content = read(path).ok()?;
    content.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

/// A file that holds one number.
pub(super) fn number(path: &Path) -> Option<u64> {
    read(path).ok()?.trim().parse().ok()
}

/// Makes a directory; one that exists already is an error, as it would bring its own limits. Nobody
/// else may open it: whoever can, could hold its lock.
pub(super) fn create(path: &Path) -> Result<(), CgroupError> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|source| failed("making", path, source))
}

/// Removes a directory; one that is gone already is fine.
pub(super) fn remove(path: &Path) -> Result<(), CgroupError> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("removing", path, error))
        }
        _ => Ok(()),
    }
}

/// The processes in a group.
pub(super) fn members(group: &Path) -> Result<Vec<Pid>, CgroupError> {
    let content = read(&group.join("cgroup.procs"))?;
    Ok(content
        .lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
        .collect())
}

/// Moves a process into a group and makes sure that it is there.
pub(super) fn enter(group: &Path, process: Pid) -> Result<(), CgroupError> {
    let wanted = process.as_raw_nonzero().to_string();
    write(&group.join("cgroup.procs"), &wanted)?;
    if members(group)?.contains(&process) {
        return Ok(());
    }
    let path = group.join("cgroup.procs");
    Err(CgroupError::NotInForce {
        path,
        wanted,
        found: "other processes".to_owned(),
    })
}

/// Kills the members of a group one by one.
///
/// A number may be given to a stranger between reading it and using it. So each member is opened
/// first and then looked for again: one that is still listed is a member, whoever opened it.
pub(super) fn kill_members(group: &Path) -> Result<(), CgroupError> {
    let opened: Vec<_> = members(group)?
        .into_iter()
        .filter_map(|pid| {
            Some((
                pid,
                rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?,
            ))
        })
        .collect();
    let still_there = members(group)?;
    for (pid, process) in opened {
        if !still_there.contains(&pid) {
            continue;
        }
        match rustix::process::pidfd_send_signal(process, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(failed("killing a process of", group, error.into())),
        }
    }
    Ok(())
}

/// The groups directly below one, by path.
pub(super) fn children(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(group) else {
        return Vec::new();
    };
    let directory = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries
        .flatten()
        .filter(directory)
        .map(|entry| entry.path())
        .take(MAX_CHILDREN)
        .collect()
}

/// Removes bases at the end of a worker. The next one sweeps what is left.
pub(super) fn release<'a>(bases: impl Iterator<Item = &'a PathBuf>) {
    for base in bases {
        if let Err(error) = remove(base) {
            tracing::warn!(%error, "a control group is left behind");
        }
    }
}

pub(super) fn failed(action: &'static str, path: &Path, source: std::io::Error) -> CgroupError {
    CgroupError::Kernel {
        action,
        path: path.to_owned(),
        source,
    }
}

/// More than any of these files holds; the longest lists the processes of a group.
const MAX_FILE: u64 = 1 << 20;
/// More groups than any host has below one.
const MAX_CHILDREN: usize = 65536;
