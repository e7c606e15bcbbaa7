//! Leaves the job with an empty stdin, the worker's pipes as stdout and stderr, and nothing else.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::FdFlags;

use super::{Climb, Doing, Fault};
use crate::sys;

pub(super) fn shed(climb: &mut Climb) -> Result<(), Fault> {
    let kept = [
        Some(&climb.lifeline),
        Some(climb.status.descriptor()),
        climb.workspace_socket.as_ref(),
    ];
    let kept: Vec<&OwnedFd> = kept.into_iter().flatten().collect();
    for descriptor in &kept {
        rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC).doing("marking a descriptor")?;
    }
    close_all_but(
        kept.iter()
            .map(|descriptor| descriptor.as_raw_fd())
            .collect(),
    )?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .doing("opening /dev/null")?;
    let stat = rustix::fs::fstat(&null).doing("looking at /dev/null")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice {
        return Err(Fault::unfit("/dev/null is no device on this host"));
    }
    rustix::stdio::dup2_stdin(&null).doing("emptying stdin")
}

/// Closes everything from 3 up but `kept`, including what is not close-on-exec and what nobody knew
/// of.
fn close_all_but(mut kept: Vec<RawFd>) -> Result<(), Fault> {
    kept.sort_unstable();
    let mut first = 3;
    for number in kept
        .into_iter()
        .filter_map(|number| u32::try_from(number).ok())
    {
        if number > first {
            sys::close_range(first, number - 1).doing("closing inherited descriptors")?;
        }
        first = first.max(number + 1);
    }
    sys::close_range(first, u32::MAX).doing("closing inherited descriptors")
}
