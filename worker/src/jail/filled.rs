//! How full a workspace in memory was, seen from outside while its job ran.
//!
//! A compiler that finds no room left removes what it wrote and fails, and stap says only that the
//! compilation failed; at the end there is room again. No kernel counts how often a file system had
//! none, so it is looked at often.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::Limit;

/// The fullest that a workspace was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Bytes.
    pub bytes: u64,
    /// Files, directories and links.
    pub files: u64,
    /// What it had no more room for.
    pub(super) met: Option<Limit>,
}

impl Filled {
    /// Looks once.
    pub(super) fn look(&mut self, workspace: &OwnedFd) {
        let Ok(room) = rustix::fs::fstatvfs(workspace) else {
            return;
        };
        let bytes = room.f_blocks.saturating_sub(room.f_bfree);
        self.bytes = self.bytes.max(bytes.saturating_mul(room.f_frsize));
        self.files = self.files.max(room.f_files.saturating_sub(room.f_ffree));
        if room.f_bavail == 0 {
            self.met = Some(Limit::Workspace);
        } else if room.f_favail == 0 && room.f_files > 0 {
            self.met = Some(Limit::WorkspaceFiles);
        }
    }
}

/// How often: one system call, and a compiler that writes as fast as it can adds some megabytes.
pub(super) const LOOK: Duration = Duration::from_millis(20);
