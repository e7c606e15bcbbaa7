//! Makes the new root the only one.

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, fchdir, pivot_root};

use super::{Climb, Doing, Fault};

/// After this neither the job nor the launcher, which shares the mount namespace, has any path or
/// working directory on the host.
pub(super) fn pivot(climb: &mut Climb) -> Result<(), Fault> {
    let root = climb.new_root()?;
    root.seal()?;
    fchdir(root.descriptor()).doing("entering the new root")?;
    // With both names the same, the old root ends up on top of the new one, and the unmount that
    // follows takes it away.
    pivot_root(".", ".").doing("making the new root the root")?;
    unmount(".", UnmountFlags::DETACH).doing("leaving the old root")?;
    chdir("/").doing("entering the new root")?;
    climb.root = None;
    Ok(())
}
