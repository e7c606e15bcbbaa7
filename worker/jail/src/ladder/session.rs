//! No terminal, no shared process group, no file that others could read.

use rustix::fs::Mode;

use super::{Climb, Doing, Fault};

/// A new session has no controlling terminal, so the job can neither read from one nor type into
/// it, and no signal that is meant for the worker's process group reaches the job.
pub(super) fn leave(_climb: &mut Climb) -> Result<(), Fault> {
    rustix::process::setsid().doing("starting a session")?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    Ok(())
}
