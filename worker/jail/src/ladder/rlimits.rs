//! Bounds that the kernel keeps for each process, and for a user's processes together.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Climb, Doing, Fault};
use crate::layer::Layer;
use crate::seclusion::NO_CORE;

/// Signals that may wait for the job, and file locks that it may hold.
const PENDING_SIGNALS: u64 = 256;
const FILE_LOCKS: u64 = 256;

pub(super) fn lower(climb: &mut Climb) -> Result<(), Fault> {
    let limits = climb.plan.limits;
    let chosen = [
        (Resource::Nofile, limits.open_files),
        (Resource::Nproc, limits.processes),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Cpu, whole_seconds(limits.cpu)),
        (Resource::Sigpending, PENDING_SIGNALS),
        (Resource::Locks, FILE_LOCKS),
        (Resource::Core, NO_CORE),
    ];
    // Locked memory is what io_uring and BPF are paid with; the other three are ways to weigh more
    // than one's share.
    let none = [
        Resource::Memlock,
        Resource::Msgqueue,
        Resource::Rtprio,
        Resource::Nice,
    ];
    let none = none.map(|resource| (resource, 0));
    let memory = limits.address_space.map(|bytes| (Resource::As, bytes));
    for (resource, most) in chosen.into_iter().chain(none).chain(memory) {
        lower_one(resource, most)?;
    }
    let Resources {
        files,
        processes,
        seconds,
    } = read_back();
    let detail = format!("{files} files, {processes} processes, {seconds} s of CPU each");
    climb.hold(Layer::Rlimits, detail);
    Ok(())
}

/// Sets both limits; a lower one that the worker already runs under stays.
fn lower_one(resource: Resource, most: u64) -> Result<(), Fault> {
    let most = getrlimit(resource)
        .maximum
        .map_or(most, |inherited| most.min(inherited));
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(resource, limit).doing(format!("limiting {resource:?} to {most}"))
}

struct Resources {
    files: u64,
    processes: u64,
    seconds: u64,
}

fn read_back() -> Resources {
    let read = |resource| getrlimit(resource).maximum.unwrap_or(u64::MAX);
    Resources {
        files: read(Resource::Nofile),
        processes: read(Resource::Nproc),
        seconds: read(Resource::Cpu),
    }
}

/// The kernel counts CPU time limits in seconds, and takes 0 for 1.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
