//! Makes the launcher the parent of last resort for all that the job may leave behind.

use super::{Climb, Doing, Fault};
use crate::descendants::Descendants;

pub(super) fn orphans(climb: &mut Climb) -> Result<(), Fault> {
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).doing("adopting the job's orphans")?;
    // Opened now: later this process has the job's view of the file system.
    climb.descendants = Some(Descendants::open().doing("opening /proc")?);
    Ok(())
}
