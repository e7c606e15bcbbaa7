//! How full a workspace in memory was, seen from outside while its job ran.
//!
//! A compiler that finds no room left removes what it wrote and fails, and stap says only that the
//! compilation failed; at the end there is room again. No kernel counts how often a file system had
//! none, so it is looked at: the more often, the sooner it can be full.

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
    /// Looks once, and returns when to look again.
    pub(super) fn look(&mut self, workspace: &OwnedFd) -> Duration {
        let Ok(room) = rustix::fs::fstatvfs(workspace) else {
            return RARELY;
        };
        let bytes = room.f_blocks.saturating_sub(room.f_bfree);
        self.bytes = self.bytes.max(bytes.saturating_mul(room.f_frsize));
        self.files = self.files.max(room.f_files.saturating_sub(room.f_ffree));
        if room.f_bavail == 0 {
            self.met = Some(Limit::Workspace);
        } else if room.f_favail == 0 && room.f_files > 0 {
            self.met = Some(Limit::WorkspaceFiles);
        }
        let files = (room.f_files > 0).then_some(room.f_favail);
        until_full(room.f_bavail.saturating_mul(room.f_frsize), files)
    }
}

/// How long it takes at least until so many bytes and files are there.
fn until_full(bytes: u64, files: Option<u64>) -> Duration {
    let bytes = Duration::from_nanos(bytes / BYTES_PER_NANOSECOND);
    let files =
        files.map(|files| Duration::from_micros(files.saturating_mul(MICROSECONDS_PER_FILE)));
    files
        .map_or(bytes, |files| files.min(bytes))
        .clamp(OFTEN, RARELY)
}

/// Faster than a compiler writes; a program that does nothing else comes near it.
const BYTES_PER_NANOSECOND: u64 = 1;
const MICROSECONDS_PER_FILE: u64 = 10;
/// One system call, and a compiler that writes as fast as it can adds some megabytes.
const OFTEN: Duration = Duration::from_millis(20);
/// Each look wakes the worker up.
const RARELY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_full_is_looked_at_more_often() {
        let (plenty, little) = (1 << 40, 1 << 20);
        assert_eq!(until_full(plenty, None), RARELY);
        assert_eq!(until_full(plenty, Some(plenty)), RARELY);
        assert_eq!(until_full(little, Some(plenty)), OFTEN);
        assert_eq!(until_full(plenty, Some(100)), OFTEN);
        assert_eq!(until_full(0, Some(0)), OFTEN);
        let between = until_full(100 << 20, Some(16_384));
        assert!(OFTEN < between && between < RARELY, "{between:?}");
    }
}
