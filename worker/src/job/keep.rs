//! Copies a workspace to disk for somebody who wants to look at it (`-k`).
//!
//! Best effort: what cannot be copied is logged, and the job's outcome stays what it is. Only plain
//! files and directories are copied, no more of them, and of bytes in them, than the policy lets a
//! workspace hold: holes and second names cost a job nothing, and a copy their full length.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Dir, OFlags};
use stap_policy::Limits;

use super::collect::open;

/// Makes `stap-server.XXXXXX` below `parent` and copies the workspace into it.
pub(super) fn keep(workspace: &OwnedFd, parent: &Path, limits: &Limits) {
    let made = tempfile::Builder::new()
        .prefix("stap-server.")
        .tempdir_in(parent);
    let copied = made.and_then(|directory| {
        let directory = directory.keep();
        let mut left = Left {
            files: limits.workspace_files.get(),
            bytes: limits.workspace.bytes(),
        };
        copy_directory(workspace, &directory, MAX_DEPTH, &mut left)?;
        Ok(directory)
    });
    match copied {
        Ok(directory) => tracing::info!(directory = %directory.display(), "the workspace is kept"),
        Err(error) => tracing::warn!(%error, "the workspace could not be kept as a whole"),
    }
}

/// What a copy may still take.
struct Left {
    files: u64,
    bytes: u64,
}

fn copy_directory(from: impl AsFd, to: &Path, depth: usize, left: &mut Left) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("it is too deep"));
    }
    // The descriptor of a fresh mount cannot be read itself.
    let directory = open(&from, Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY)?;
    for entry in Dir::new(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if matches!(name, "." | "..") {
            continue;
        }
        // Anything but a file or a directory has nothing to be looked at, and a link is refused.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let Ok(opened) = open(&from, Path::new(name), flags) else {
            continue;
        };
        let opened = File::from(opened);
        let metadata = opened.metadata()?;
        let too_many = || io::Error::other("it holds more files than a workspace may");
        left.files = left.files.checked_sub(1).ok_or_else(too_many)?;
        if metadata.is_dir() {
            fs::create_dir(to.join(name))?;
            copy_directory(&opened, &to.join(name), depth - 1, left)?;
        } else if metadata.is_file() && metadata.len() <= left.bytes {
            let mut copy = File::create_new(to.join(name))?;
            left.bytes -= io::copy(&mut opened.take(left.bytes), &mut copy)?;
        }
    }
    Ok(())
}

const MAX_DEPTH: usize = 32;
