//! What making a base changed besides the base, so that a trial can take it back.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::Pid;

use super::{CgroupError, file};

/// Whether groups are made to be used, or only to see whether they can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// What dead workers left is removed, and what has to be changed stays.
    Work,
    /// Nothing of others is touched, and everything is as before when the hierarchy goes.
    Trial,
}

/// Changes to groups that are not ours, in their order.
#[derive(Debug, Default)]
pub(super) struct Traces(Vec<Trace>);

#[derive(Debug)]
enum Trace {
    Made(PathBuf),
    Moved {
        from: PathBuf,
        process: Pid,
    },
    Enabled {
        control: PathBuf,
        controller: &'static str,
    },
}

impl Traces {
    pub(super) fn made(&mut self, group: &Path) {
        self.0.push(Trace::Made(group.to_owned()));
    }

    pub(super) fn moved(&mut self, from: &Path, process: Pid) {
        let from = from.to_owned();
        self.0.push(Trace::Moved { from, process });
    }

    pub(super) fn enabled(&mut self, control: &Path, controller: &'static str) {
        let control = control.to_owned();
        self.0.push(Trace::Enabled {
            control,
            controller,
        });
    }

    /// Takes everything back, the last change first: processes may return to a group only when its
    /// controllers are off again, and leave one only before it is removed.
    pub(super) fn take_back(&mut self) {
        while let Some(trace) = self.0.pop() {
            if let Err(error) = trace.take_back() {
                tracing::warn!(%error, "a trial of control groups left something behind");
            }
        }
    }
}

impl Trace {
    fn take_back(&self) -> Result<(), CgroupError> {
        match self {
            Self::Made(group) => file::remove(group),
            Self::Moved { from, process } => {
                // One that has ended needs no place any more.
                let gone = rustix::process::test_kill_process(*process) == Err(Errno::SRCH);
                if gone {
                    Ok(())
                } else {
                    file::enter(from, *process)
                }
            }
            Self::Enabled {
                control,
                controller,
            } => file::write(control, &format!("-{controller}")),
        }
    }
}
