//! The launcher's ends of what leads to the worker.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::FileType;

use crate::plan::{self, JailPlan, MAX_PLAN, PlanError, descriptor};
use crate::report::Event;
use crate::sys;

/// What the worker started the launcher with.
pub(crate) struct Inherited {
    pub(crate) plan: OwnedFd,
    pub(crate) lifeline: OwnedFd,
    pub(crate) status: Status,
    pub(crate) workspace: OwnedFd,
}

/// The way of events to the worker.
#[derive(Debug)]
pub(crate) struct Status(OwnedFd);

/// Why there is no plan to follow.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("reading the plan: {0}")]
    Read(#[from] io::Error),
    #[error("the descriptor of the plan is not a file in memory")]
    NotAFile,
    #[error("{0}")]
    Plan(#[from] PlanError),
}

impl Inherited {
    /// Takes the four descriptors by their numbers. Works once in the life of a process.
    pub(crate) fn take() -> io::Result<Self> {
        Ok(Self {
            plan: sys::take_inherited(descriptor::PLAN)?,
            lifeline: sys::take_inherited(descriptor::LIFELINE)?,
            status: Status(sys::take_inherited(descriptor::STATUS)?),
            workspace: sys::take_inherited(descriptor::WORKSPACE)?,
        })
    }

    /// Waits until the worker says that this process is where it should be. `false` means that the
    /// worker went away instead.
    pub(crate) fn wait_for_go(&self) -> io::Result<bool> {
        let mut byte = [0];
        let mut lifeline = File::from(self.lifeline.try_clone()?);
        match lifeline.read(&mut byte)? {
            0 => Ok(false),
            _ if byte[0] == plan::GO => Ok(true),
            _ => Err(io::Error::other(
                "the lifeline carries something other than the go-ahead",
            )),
        }
    }

    pub(crate) fn read_plan(&self) -> Result<JailPlan, ReceiveError> {
        let stat = rustix::fs::fstat(&self.plan).map_err(io::Error::from)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(ReceiveError::NotAFile);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if size > MAX_PLAN {
            return Err(PlanError::TooLarge.into());
        }
        let size = usize::try_from(size).map_err(|_wider| PlanError::TooLarge)?;
        let mut bytes = vec![0; size];
        // From its start, wherever the worker's own writing left the offset.
        File::from(self.plan.try_clone()?).read_exact_at(&mut bytes, 0)?;
        Ok(JailPlan::decode(&bytes)?)
    }
}

impl Status {
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Tells the worker, and returns whether it could be told. A worker that does not listen any
    /// more has closed the lifeline too or is about to.
    pub(crate) fn send(&self, event: &Event) -> bool {
        let descriptor = self.0.try_clone();
        descriptor
            .and_then(|pipe| File::from(pipe).write_all(&event.encode()))
            .is_ok()
    }
}
