//! Copies a workspace to disk for somebody who wants to look at it (`-k`).
//!
//! Best effort: what cannot be copied is logged, and the job's outcome stays what it is. Only plain
//! files and directories are copied; their content is bounded by the size of the workspace, their
//! depth here.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Dir, OFlags};

use super::collect::open;

/// Makes `stap-server.XXXXXX` below `parent` and copies the workspace into it.
pub(super) fn keep(workspace: &OwnedFd, parent: &Path) {
    let made = tempfile::Builder::new()
        .prefix("stap-server.")
        .tempdir_in(parent);
    let copied = made.and_then(|directory| {
        let directory = directory.keep();
        copy_directory(workspace, &directory, MAX_DEPTH)?;
        Ok(directory)
    });
    match copied {
        Ok(directory) => tracing::info!(directory = %directory.display(), "the workspace is kept"),
        Err(error) => tracing::warn!(%error, "the workspace could not be kept as a whole"),
    }
}

fn copy_directory(from: impl AsFd, to: &Path, depth: usize) -> io::Result<()> {
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
        if metadata.is_dir() {
            fs::create_dir(to.join(name))?;
            copy_directory(&opened, &to.join(name), depth - 1)?;
        } else if metadata.is_file() && metadata.len() <= MAX_FILE {
            io::copy(&mut &opened, &mut File::create_new(to.join(name))?)?;
        }
    }
    Ok(())
}

const MAX_DEPTH: usize = 32;
/// A sparse file may claim to be larger than the workspace is.
const MAX_FILE: u64 = 256 << 20;
