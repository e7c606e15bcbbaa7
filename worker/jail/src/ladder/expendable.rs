//! When the host runs out of memory, jobs go first; when one of their programs crashes, nobody looks
//! at it.

use std::fs;
use std::io;

use super::{Climb, Doing, Fault};

/// Both hold for all that is started from here, and the job's `/proc` is read-only.
pub(super) fn come_first(_climb: &mut Climb) -> Result<(), Fault> {
    write(OOM_SCORE, FIRST)?;
    match write(CORE_CONTENT, NOTHING) {
        // A kernel that writes no cores has no such file.
        Err(Fault::Refused { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written,
    }
}

fn write(path: &str, value: &str) -> Result<(), Fault> {
    fs::write(path, value).doing(format!("writing {value} to {path}"))
}

const OOM_SCORE: &str = "/proc/self/oom_score_adj";
/// The kernel's largest: before any process of the host that did not ask for the same.
const FIRST: &str = "1000";
/// Which memory goes into a core; a core can be asked for by the host whatever the limits are.
const CORE_CONTENT: &str = "/proc/self/coredump_filter";
const NOTHING: &str = "0";
