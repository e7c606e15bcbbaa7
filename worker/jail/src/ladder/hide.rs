//! Keeps the watching processes out of the job's reach.

use rustix::process::DumpableBehavior;

use super::{Climb, Doing, Fault};

/// A process that cannot be dumped can neither be traced nor looked into by its equals, and the
/// job's `/proc` does not list it. The job itself becomes ordinary again with `execve`.
pub(super) fn from_the_job(_climb: &mut Climb) -> Result<(), Fault> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .doing("hiding from the job")
}
